package arc

import "strconv"

// MaxAgentID is the longest agent id in bytes.
const MaxAgentID = 128

// ValidAgentID tells whether s can be the id of an agent: 1 to 128 ASCII
// letters, digits and the characters - _ . : @ / , beginning with a letter or a
// digit. The ARC specification leaves the form open; this is arcd's reading.
func ValidAgentID(s string) bool {
	if s == "" || len(s) > MaxAgentID {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case i > 0 && (c == '-' || c == '_' || c == '.' || c == ':' || c == '@' || c == '/'):
		default:
			return false
		}
	}
	return true
}

// AgentStatus says whether an agent takes work.
type AgentStatus string

// The states of an agent.
const (
	AgentActive   AgentStatus = "active"
	AgentDraining AgentStatus = "draining"
	AgentInactive AgentStatus = "inactive" // registered, but not heard of for too long
)

// Agent is the card of an agent that can be a targetAgent.
type Agent struct {
	ID           string      `json:"agentId"`
	Name         string      `json:"name,omitempty"`
	Description  string      `json:"description,omitempty"`
	Version      string      `json:"version,omitempty"`
	Capabilities []string    `json:"capabilities"`
	Status       AgentStatus `json:"status"`
}

// AgentIDIssue is the sentence that goes with a refused agent id.
var AgentIDIssue = "must be 1 to " + strconv.Itoa(MaxAgentID) +
	" ASCII letters, digits or -_.:@/ and begin with a letter or digit"

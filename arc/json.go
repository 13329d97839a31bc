package arc

import (
	"encoding/json"
	"slices"
	"strconv"
)

// The values that every task and every piece of a chat needs are encoded here
// without reflection; the result is what encoding/json would write, besides its
// escapes for HTML.

// AppendJSON appends the message as JSON.
func (m Message) AppendJSON(b []byte) ([]byte, error) {
	b = appendText(append(b, `{"role":`...), string(m.Role))
	b = append(b, `,"parts":[`...)
	for i, p := range m.Parts {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = p.AppendJSON(b); err != nil {
			return nil, err
		}
	}
	b = append(b, ']')
	b = appendTime(b, "timestamp", m.Timestamp)
	b = appendMember(b, "agentId", m.AgentID)
	return append(b, '}'), nil
}

// AppendJSON appends the part as JSON: type, content, mimeType, filename, then
// the members of Extra. Content must be JSON.
func (p Part) AppendJSON(b []byte) ([]byte, error) {
	b = appendText(append(b, `{"type":`...), p.Type)
	b = appendRaw(b, "content", p.Content)
	b = appendMember(b, "mimeType", p.MimeType)
	b = appendMember(b, "filename", p.Filename)
	if len(p.Extra) > 0 {
		extra, err := json.Marshal(p.Extra) // sorted by name
		if err != nil {
			return nil, err
		}
		b = append(append(b, ','), extra[1:len(extra)-1]...)
	}
	return append(b, '}'), nil
}

// AppendJSON appends the data as JSON.
func (d StreamDone) AppendJSON(b []byte) ([]byte, error) {
	b = append(b, '{')
	if d.ChatID != "" {
		b = append(appendText(append(b, `"chatId":`...), d.ChatID), ',')
	}
	if d.TaskID != "" {
		b = append(appendText(append(b, `"taskId":`...), d.TaskID), ',')
	}
	b = appendText(append(b, `"status":`...), d.Status)
	b = strconv.AppendBool(append(b, `,"done":`...), d.Done)
	b = appendMember(b, "requestId", d.RequestID)
	return append(b, '}'), nil
}

// AppendJSON appends the data as JSON.
func (d EventData) AppendJSON(b []byte) ([]byte, error) {
	b = appendText(append(b, `{"status":`...), d.Status)
	b = appendText(append(b, `,"message":`...), d.Message)
	b = appendMember(b, "priority", string(d.Priority))
	b = appendMember(b, "assignedAgent", d.AssignedAgent)
	b = appendTime(b, "createdAt", d.CreatedAt)
	b = appendTime(b, "startedAt", d.StartedAt)
	b = appendTime(b, "pausedAt", d.PausedAt)
	b = appendTime(b, "resumedAt", d.ResumedAt)
	b = appendTime(b, "completedAt", d.CompletedAt)
	b = appendTime(b, "failedAt", d.FailedAt)
	b = appendTime(b, "canceledAt", d.CanceledAt)
	b = appendTime(b, "changedAt", d.ChangedAt)
	b = appendMember(b, "previousStatus", d.PreviousStatus)
	b = appendRaw(b, "requiredInput", d.RequiredInput)
	b = appendNumber(b, "pauseDuration", d.PauseDuration)
	b = appendNumber(b, "duration", d.Duration)
	b = appendNumber(b, "artifactCount", int64(d.ArtifactCount))
	b = appendNumber(b, "messageCount", int64(d.MessageCount))
	if d.Error != nil {
		e, err := json.Marshal(d.Error)
		if err != nil {
			return nil, err
		}
		b = appendRaw(b, "error", e)
	}
	b = appendMember(b, "canceledBy", d.CanceledBy)
	b = appendMember(b, "reason", d.Reason)
	b = appendRaw(b, "messageContent", d.MessageContent)
	b = appendRaw(b, "artifact", d.Artifact)
	return append(b, '}'), nil
}

// appendName appends the name of a member that is not the first.
func appendName(b []byte, name string) []byte {
	return append(append(append(b, ',', '"'), name...), '"', ':')
}

func appendMember(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	return appendText(appendName(b, name), value)
}

func appendTime(b []byte, name string, t Time) []byte {
	if t.IsZero() {
		return b
	}
	b = append(appendName(b, name), '"')
	return append(t.UTC().AppendFormat(b, timeLayout), '"')
}

func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(appendName(b, name), n, 10)
}

func appendRaw(b []byte, name string, value json.RawMessage) []byte {
	if value == nil {
		return b
	}
	return append(appendName(b, name), value...)
}

// appendText appends s as a JSON text.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			quoted, _ := json.Marshal(s) // a string always encodes
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// AgentInfos is a list of registered agents.
type AgentInfos []AgentInfo

// AppendJSON appends the list as JSON, without reflection for agents that have a
// Card.
func (l AgentInfos) AppendJSON(b []byte) ([]byte, error) {
	const rest, metrics = 160, 300 // bytes of an agent besides its card
	size := 2
	for i := range l {
		if size += len(l[i].Card) + rest; l[i].Metrics != nil {
			size += metrics
		}
	}
	b = append(slices.Grow(b, size), '[')
	for i := range l {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = l[i].AppendJSON(b); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// MarshalJSON gives the list as JSON.
func (l AgentInfos) MarshalJSON() ([]byte, error) { return l.AppendJSON(nil) }

// AppendJSON appends the agent as JSON.
func (a AgentInfo) AppendJSON(b []byte) ([]byte, error) {
	card := a.Card
	if card == nil {
		var err error
		if card, err = json.Marshal(a.Registration); err != nil {
			return nil, err
		}
	}
	b = append(b, card[:len(card)-1]...) // without the closing brace
	b = appendText(append(b, `,"status":`...), a.Status)
	b = append(append(b, `,"last_seen":"`...), a.LastSeen.String()...)
	b = append(append(b, `","registered_at":"`...), a.RegisteredAt.String()...)
	b = append(b, `","similarity":null,"metrics":`...)
	if a.Similarity != nil {
		b = b[:len(b)-len(`null,"metrics":`)]
		b = strconv.AppendFloat(b, *a.Similarity, 'f', -1, 64)
		b = append(b, `,"metrics":`...)
	}
	if a.Metrics == nil {
		return append(b, "null}"...), nil
	}
	metrics, err := json.Marshal(a.Metrics)
	if err != nil {
		return nil, err
	}
	return append(append(b, metrics...), '}'), nil
}

// MarshalJSON gives the agent as JSON.
func (a AgentInfo) MarshalJSON() ([]byte, error) { return a.AppendJSON(nil) }

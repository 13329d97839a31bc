package arc

import (
	"encoding/json"
	"slices"
)

// The nouns of the registry API (ARCP). Names are snake_case there, lists are
// never null, and what is absent is null: the published client reads every
// record with the same rules that a registration is checked by.

// Registration is what an agent says of itself (ARCP AgentRegistration). Limits
// are those of the contract, section 4.1.
type Registration struct {
	AgentID           string         `json:"agent_id"`           // 3 to 100 of A-Z a-z 0-9 _ -
	Name              string         `json:"name"`               // 2 to 32 characters
	AgentType         string         `json:"agent_type"`         // 2 to 50 of A-Z a-z 0-9 _ -
	Endpoint          string         `json:"endpoint"`           // http or https URL, at most 2,048 bytes
	ContextBrief      string         `json:"context_brief"`      // 10 to 1,000 characters
	Capabilities      []string       `json:"capabilities"`       // 1 to 50 of 2 to 100 characters
	Owner             string         `json:"owner"`              // 2 to 50 characters
	PublicKey         string         `json:"public_key"`         // 32 to 1,024 characters of base64, hex or PEM
	Metadata          map[string]any `json:"metadata"`           // 1 to 50 members
	Version           string         `json:"version"`            // N.N.N, optionally -suffix
	CommunicationMode string         `json:"communication_mode"` // remote, local or hybrid
	Features          []string       `json:"features"`           // at most 100 of at most 100 characters
	MaxTokens         *int           `json:"max_tokens"`         // 1 to 1,000,000
	LanguageSupport   []string       `json:"language_support"`   // at most 20 codes of 2 to 5 characters; nil: null
	RateLimit         *int           `json:"rate_limit"`         // 1 to 10,000
	Requirements      Requirements   `json:"requirements"`
	PolicyTags        []string       `json:"policy_tags"` // at most 20 of at most 50 characters
	AIContext         *string        `json:"ai_context"`  // at most 5,000 characters
}

// Has tells whether the agent names the capability.
func (r *Registration) Has(capability string) bool {
	return slices.Contains(r.Capabilities, capability)
}

// The states of a registered agent (ARCP).
const (
	AgentAlive = "alive"
	AgentDead  = "dead"
)

// AgentInfo is a registered agent as the registry shows it (ARCP AgentInfo).
type AgentInfo struct {
	Registration `json:",inline"`
	// Card is the registration as JSON, where it is encoded already: it spares
	// doing it again for each answer.
	Card         json.RawMessage `json:"-"`
	Status       string          `json:"status"` // [AgentAlive] or [AgentDead]
	LastSeen     Time            `json:"last_seen"`
	RegisteredAt Time            `json:"registered_at"`
	Similarity   *float64        `json:"similarity"`
	Metrics      *AgentMetrics   `json:"metrics"`
}

// Heartbeat is the answer to a sign of life.
type Heartbeat struct {
	AgentID  string        `json:"agent_id"`
	Status   string        `json:"status"` // "success"
	LastSeen Time          `json:"last_seen"`
	Metrics  *AgentMetrics `json:"metrics"` // null
}

// Status is the answer of what has nothing else to say.
type Status struct {
	Status  string `json:"status"` // "success"
	Message string `json:"message"`
}

// SessionStatus says how a login stands.
type SessionStatus struct {
	Valid         bool   `json:"valid"`
	UserID        string `json:"user_id"`
	Role          string `json:"role"`
	AgentID       string `json:"agent_id"`
	Expires       int64  `json:"expires"` // seconds since 1970
	IsAdmin       bool   `json:"is_admin"`
	SessionExists bool   `json:"session_exists"`
	PINSet        bool   `json:"pin_set"` // false: arcd has no PINs
}

// MetricsUpdated is the answer to an agent's word about its work.
type MetricsUpdated struct {
	Status  string        `json:"status"` // "success"
	Message string        `json:"message"`
	Metrics *AgentMetrics `json:"metrics"`
}

// MetricsReported is the answer to the report of one answer.
type MetricsReported struct {
	Status  string        `json:"status"` // "success"
	Message string        `json:"message"`
	Current *AgentMetrics `json:"current_metrics"`
}

// AgentMetrics is what is known of an agent's work (ARCP AgentMetrics).
type AgentMetrics struct {
	AgentID             string  `json:"agent_id"`
	SuccessRate         float64 `json:"success_rate"`      // 0 to 1
	AvgResponseTime     float64 `json:"avg_response_time"` // seconds, 0 to 3,600
	TotalRequests       int64   `json:"total_requests"`
	LastActive          *Time   `json:"last_active"`
	ReputationScore     float64 `json:"reputation_score"` // 0 to 10, made by the server
	RequestsProcessed   int64   `json:"requests_processed"`
	AverageResponseTime float64 `json:"average_response_time"` // seconds, 0 to 3,600
	ErrorRate           float64 `json:"error_rate"`            // 0 to 1
}

// LoginParams are those of POST /auth/login. The three agent members are there
// to be refused: agents have no login.
type LoginParams struct {
	Username  string `json:"username"` // at most 255 bytes
	Password  string `json:"password"` // at most 1,024 bytes
	AgentID   string `json:"agent_id"`
	AgentType string `json:"agent_type"`
	AgentKey  string `json:"agent_key"`
}

// TokenGrant is the answer of whatever gives out a token.
type TokenGrant struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"` // "bearer"
	ExpiresIn   int    `json:"expires_in"` // seconds
	AgentID     string `json:"agent_id,omitempty"`
}

// TempTokenParams are those of POST /auth/agent/request_temp_token.
type TempTokenParams struct {
	AgentID   string `json:"agent_id"`
	AgentType string `json:"agent_type"`
	AgentKey  string `json:"agent_key"`
}

// TempToken is a token to register with.
type TempToken struct {
	TempToken   string `json:"temp_token"`
	AccessToken string `json:"access_token"` // the same
	TokenType   string `json:"token_type"`   // "bearer"
	ExpiresIn   int    `json:"expires_in"`   // seconds
	Message     string `json:"message"`
}

// TokenParams hold a token to be looked at.
type TokenParams struct {
	Token string `json:"token"`
}

// TokenVerdict says what a good token holds.
type TokenVerdict struct {
	Valid   bool           `json:"valid"`
	AgentID string         `json:"agent_id"`
	Payload map[string]any `json:"payload"` // all claims
}

// MintParams are those of POST /tokens/mint.
type MintParams struct {
	UserID           string   `json:"user_id"`  // 2 to 100 of A-Z a-z 0-9 _ @ . -
	AgentID          string   `json:"agent_id"` // 3 to 100 of A-Z a-z 0-9 _ -
	Scopes           []string `json:"scopes"`   // at most 50 of at most 100 of A-Z a-z 0-9 _ . : -
	Role             string   `json:"role"`     // "user" (default) or "agent"
	TempRegistration bool     `json:"temp_registration"`
	AgentType        string   `json:"agent_type"`
	UsedKey          string   `json:"used_key"`
	AgentKeyHash     string   `json:"agent_key_hash"`
	Audience         string   `json:"aud"`
	TokenType        string   `json:"token_type"`
}

// RevokeParams are those of POST /tokens/revoke: exactly one of them.
type RevokeParams struct {
	Token   string `json:"token"`    // a whole token
	TokenID string `json:"token_id"` // claim jti of a token of arcd
	Subject string `json:"subject"`  // claim sub: all tokens that arcd gave it until now
}

// ComplianceParams are those of POST /auth/agent/validate_compliance.
type ComplianceParams struct {
	AgentID           string   `json:"agent_id"` // 3 to 64 of A-Z a-z 0-9 _ -; that of the token
	AgentType         string   `json:"agent_type"`
	Endpoint          string   `json:"endpoint"`
	Capabilities      []string `json:"capabilities"` // 1 to 64
	CommunicationMode string   `json:"communication_mode"`
	Version           string   `json:"version"`
}

// Compliance is the outcome of a validation (ARCP phase 2).
type Compliance struct {
	Status         string            `json:"status"` // "passed"
	ValidationID   string            `json:"validation_id"`
	Message        string            `json:"message"`
	ValidatedToken *string           `json:"validated_token"` // shown once
	ExpiresIn      *int              `json:"expires_in"`      // seconds
	RetryAfter     *int              `json:"retry_after"`
	Progress       *int              `json:"progress"` // percent
	CurrentStep    *string           `json:"current_step"`
	Errors         []ComplianceIssue `json:"errors"`
	Warnings       []ComplianceIssue `json:"warnings"`
	EndpointChecks map[string]any    `json:"endpoint_checks"`
	DurationMS     *int64            `json:"duration_ms"`
}

// ComplianceIssue is something that a validation found.
type ComplianceIssue struct {
	Type    string `json:"type"`
	Message string `json:"message"`
	Field   string `json:"field,omitempty"`
}

// Registered is the answer to a registration.
type Registered struct {
	Status      string `json:"status"` // "success"
	Message     string `json:"message"`
	AgentID     string `json:"agent_id"`
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"` // "bearer"
	ExpiresIn   int    `json:"expires_in"` // seconds
}

// Unregistered is the answer to the end of a registration.
type Unregistered struct {
	Status  string `json:"status"` // "success"
	Message string `json:"message"`
	By      string `json:"unregistered_by"`
}

// SearchParams are those of a search (ARCP SearchRequest).
type SearchParams struct {
	Query         string   `json:"query"`          // 2 to 1,000 characters
	TopK          *int     `json:"top_k"`          // 1 to 100; default 10
	MinSimilarity *float64 `json:"min_similarity"` // 0 to 1; default 0.5
	Capabilities  []string `json:"capabilities"`   // all must be there; at most 20
	Weighted      bool     `json:"weighted"`       // good reputation goes first
	AgentType     string   `json:"agent_type"`     // exactly; "": any
}

// SearchHit is an agent that a search found (ARCP SearchResponse).
type SearchHit struct {
	ID           string        `json:"id"`
	Name         string        `json:"name"`
	URL          string        `json:"url"`
	Capabilities []string      `json:"capabilities"`
	Version      string        `json:"version"`
	Owner        string        `json:"owner"`
	Similarity   float64       `json:"similarity"` // 0 to 1: the share of the query's words that was found
	Metrics      *AgentMetrics `json:"metrics"`
}

// ConnectParams are those of POST /public/connect/{agent_id}.
type ConnectParams struct {
	UserID         string         `json:"user_id"`       // 2 to 100 of A-Z a-z 0-9 _ @ . -
	UserEndpoint   string         `json:"user_endpoint"` // http or https URL, at most 2,048 bytes
	DisplayName    string         `json:"display_name"`  // at most 200 characters
	AdditionalInfo map[string]any `json:"additional_info"`
}

// AuditEntry is a line of the audit log.
type AuditEntry struct {
	ID        int64  `json:"id"` // rises with time
	At        Time   `json:"at"`
	Event     string `json:"event"`   // login, logout, token_issued, token_refreshed, token_revoked, registered, unregistered, validated, refused, …
	Outcome   string `json:"outcome"` // "ok" or "refused"
	Actor     string `json:"actor"`   // subject of the token, or the name that was given; may be ""
	AgentID   string `json:"agent_id"`
	Remote    string `json:"remote"`
	RequestID string `json:"request_id"`
	Reason    string `json:"reason"` // error_code of a refusal
	// Detail holds what else is to be known. Never a secret; ids of tokens are
	// hashed.
	Detail json.RawMessage `json:"detail,omitempty"`
}

// AuditPage is the answer of GET /audit, newest first.
type AuditPage struct {
	Entries []AuditEntry `json:"entries"`
	// Next is the cursor of the next page; "": there is none.
	Next string `json:"next,omitempty"`
}

// ConnectReply is the answer to a wish to be contacted by an agent.
type ConnectReply struct {
	Status    string       `json:"status"` // "connection_requested"
	Message   string       `json:"message"`
	NextSteps string       `json:"next_steps"`
	Agent     ConnectAgent `json:"agent_info"`
	RequestID string       `json:"request_id"`
	Timestamp Time         `json:"timestamp"`
}

// ConnectAgent is what a ConnectReply shows of the agent.
type ConnectAgent struct {
	Name         string         `json:"name"`
	AgentType    string         `json:"agent_type"`
	Capabilities []string       `json:"capabilities"`
	Requirements map[string]any `json:"requirements"`
}

// RegistryStats counts the registered agents.
type RegistryStats struct {
	Total int            `json:"total_agents"`
	Alive int            `json:"alive_agents"`
	Dead  int            `json:"dead_agents"`
	Types map[string]int `json:"agent_types"`
}

// NotifyParams are those of POST /agents/{agent_id}/connection/notify.
type NotifyParams struct {
	AgentID       string         `json:"agent_id"`
	AgentEndpoint string         `json:"agent_endpoint"`
	AgentInfo     map[string]any `json:"agent_info"`
}

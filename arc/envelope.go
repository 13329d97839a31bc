package arc

import "encoding/json"

// Version is the protocol version in the ARC envelope.
const Version = "1.0"

// Media types of requests and answers.
const (
	MediaARC  = "application/arc+json"
	MediaJSON = "application/json"
	MediaSSE  = "text/event-stream"
)

// HopsHeader says, in calls to agents, through how many agents the work has come: an
// extension of arcd that an agent may pass on in its own calls.
const HopsHeader = "X-Arc-Hops"

// Dialect is the envelope that a call came in and is answered in.
type Dialect uint8

// The two envelopes.
const (
	ARC     Dialect = iota // "arc":"1.0"
	JSONRPC                // "jsonrpc":"2.0"
)

// ID is the id of a call as the raw JSON text that was received, so that
// numbers beyond 64 bits, fractions and negative numbers come back byte for
// byte. "" means that there is none: in JSON-RPC, a notification.
type ID string

// Request is one decoded call, whichever envelope it came in.
type Request struct {
	Dialect Dialect
	ID      ID
	Method  string
	From    string // requestAgent: who speaks
	To      string // targetAgent: who is asked
	TraceID string // "" if not sent
	Params  json.RawMessage
}

// Response is one answer. Exactly one of Result and Err is set.
type Response struct {
	Dialect Dialect
	ID      ID     // "" where the request's could not be read
	From    string // responseAgent
	To      string // targetAgent: the request's requestAgent
	TraceID string
	Result  any
	Err     *Error
}

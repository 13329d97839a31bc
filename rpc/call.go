package rpc

import (
	"context"
	"encoding/json"
	"iter"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// Call is one invocation of a method: who asks, as whom, of whom.
type Call struct {
	arc.Request
	Principal *auth.Principal
	RequestID string // names the HTTP request in log and answers

	// IdempotencyKey is the Idempotency-Key header; "" if not sent.
	IdempotencyKey string
	// Replayed is set by a method that answered from an earlier call's result.
	Replayed bool

	// TraceParent is the W3C traceparent that the call came with; "": none.
	TraceParent string
	// Hops is how many agents have passed on the work before (header X-Arc-Hops): 0 for
	// one who begins.
	Hops int

	// Streaming says that the transport can carry a stream and the caller
	// accepts one.
	Streaming bool
	// Resume says that the caller has seen the events up to LastSeq of the
	// stream that it asks for (Last-Event-ID).
	Resume  bool
	LastSeq int64
	// Tick is the longest silence of a stream: it yields an empty Event after
	// that time, for a keep-alive. 0: never.
	Tick time.Duration
	// Gap is the least time between two events of a stream. 0: none.
	Gap time.Duration

	mux *Mux // set by Dispatch
}

// Stream is a result that comes piece by piece.
//
// A stream that fails before its first event yields the error, and the
// transport answers as for a failed call. After that it reports failures as
// "error" events and ends with exactly one "done" event. It ends early when its
// context does.
type Stream = iter.Seq2[StreamEvent, error]

// StreamEvent is one event of a Stream; with Name "" it is a tick and carries
// nothing.
type StreamEvent struct {
	Name string // "stream", "error" or "done"
	Seq  int64  // the stored sequence number, 0 if it has none
	Data any    // encoded as JSON
	More bool   // the next event is there already and follows at once
}

// Handler does a method's work. The result is encoded as JSON, unless it is a
// Stream.
type Handler func(ctx context.Context, c *Call, params json.RawMessage) (any, error)

// Handle makes a Handler of a typed operation: it decodes the params strictly
// (exact names, no doubles) and reports what does not fit as
// -32602 with the field's name.
func Handle[P, R any](operation func(context.Context, *Call, P) (R, error)) Handler {
	return func(ctx context.Context, c *Call, raw json.RawMessage) (any, error) {
		var params P
		if err := decodeParams(raw, &params); err != nil {
			return nil, err
		}
		result, err := operation(ctx, c, params)
		if err != nil {
			return nil, err
		}
		return result, nil
	}
}

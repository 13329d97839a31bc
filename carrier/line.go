package carrier

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/arcd-io/arcd/arc"
)

// A Line is a way to call one agent.
type Line interface {
	// Call makes a call of the protocol and gives its result, as it stands in the
	// envelope. What the agent itself reports is an [*arc.Error]. Any other error says
	// that there was no answer, or none that can be read; errors.Is tells
	// [arc.ErrUnavailable] and [arc.ErrTimeout] from the rest.
	Call(ctx context.Context, c Call) (json.RawMessage, error)
}

// Call is one call of an agent.
type Call struct {
	Method      string
	From        string // requestAgent
	To          string // targetAgent: the agent
	TraceID     string // may be ""
	TraceParent string // W3C traceparent; may be ""
	Hops        int    // how many agents have passed the work on, this call included
	Key         string // names the call among its repetitions; "": it has none
	// Params are encoded as JSON. An agent that dialled in finds arcd's own ids in
	// them (taskId, chatId), and the history.
	Params any
	// Thread is arcd's own id of the task or chat, and Attempt counts how often the
	// task was begun, from 1. Both say what the params do not have to.
	Thread  string
	Attempt int
	// Piece, if not nil, gets the pieces of an answer that comes as a stream, in their
	// order; an error of it ends the call. The call then asks for a stream; an agent may
	// answer whole all the same.
	Piece func(arc.Message) error
	// Named, if not nil, is called at most once, behind the first piece, with the id
	// that the agent gives the chat of its stream.
	Named func(chatID string) error
}

// How a line fails that has lost its agent, or never had it.
var (
	// errAway says that an agent that dials in is not there. The call was not made.
	errAway error = &lineError{"the agent is not connected"}
	// errLost says that the connection ended while the agent had the call in hand.
	errLost error = &lineError{"the connection to the agent was lost"}
)

// lineError is a failure of the way to the agent.
type lineError struct{ text string }

func (e *lineError) Error() string { return "carrier: " + e.text }

// Is makes it [arc.ErrUnavailable].
func (e *lineError) Is(target error) bool {
	class, ok := target.(arc.Class)
	return ok && errors.Is(arc.ErrUnavailable, class)
}

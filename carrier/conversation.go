package carrier

import (
	"context"
	"encoding/json"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/internal/tracing"
	"github.com/arcd-io/arcd/methods"
)

// conversation does the work of one agent elsewhere: it is the agent's
// [methods.Runner].
//
//	Run
//	├─ delegation   a task of an agent with a server: create, tell, ask, take over
//	├─ stretch      a task of an agent that dialled in: one call until it has an end
//	└─ dialogue     one turn of a chat
type conversation struct {
	id string
	// reach gives the way to the agent as it is now; dialled tells that the agent
	// dialled in and keeps no tasks of its own.
	reach func() (line Line, dialled bool, err error)
	poll  time.Duration // the first pause between two looks at a task
	log   zerolog.Logger
}

// Times of a conversation.
const (
	usualPoll = 500 * time.Millisecond
	// longestPoll is how many first pauses the longest one has: 15 s usually.
	longestPoll = 30
	// mutePoll is the pause before the next look at an agent that knows no task.info:
	// whether it is still there.
	mutePoll = time.Minute
	// lastWord is how long a call may still be answered that nobody wants any more, and
	// how long the agent may take to hear of that. Together they are less than what a
	// runner is given to end.
	lastWord = 2 * time.Second
)

// Run works on a task or a turn of a chat.
func (c *conversation) Run(ctx context.Context, t *methods.Turn) error {
	line, dialled, err := c.reach()
	switch {
	case err != nil:
		return methods.Unreachable(err, 0)
	case t.Chat != nil:
		return c.newDialogue(t, line, dialled).run(ctx)
	case dialled:
		return c.newStretch(t, line).run(ctx)
	}
	return c.newDelegation(t, line).run(ctx)
}

// EndChat tells the agent that a chat was closed.
func (c *conversation) EndChat(ctx context.Context, chatID string, b methods.Binding, reason string) {
	line, _, err := c.reach()
	if err == nil {
		call := Call{Method: "chat.end", From: arcdAgent, To: c.id, Thread: chatID, Params: endParams{b.ID, reason}}
		_, err = line.Call(ctx, call)
	}
	if err != nil {
		c.log.Debug().Str("agent", c.id).Str("chat", chatID).Err(err).Msg("an agent was not told that a chat is over")
	}
}

// arcdAgent is the requestAgent of calls that are made for nobody in particular.
const arcdAgent = "arcd"

// endParams are the params of chat.end.
type endParams struct {
	ChatID string `json:"chatId"`
	Reason string `json:"reason,omitempty"`
}

// call makes a call for a turn.
func (c *conversation) call(ctx context.Context, t *methods.Turn, line Line, call Call) (json.RawMessage, error) {
	call.From, call.To = t.From, t.Agent
	call.TraceID, call.Hops, call.Attempt = t.TraceID, t.Hops, t.Attempt
	if t.Task != nil {
		call.Thread = t.Task.ID
	} else {
		call.Thread = t.Chat.ID
	}
	ctx, span := tracing.Child(ctx, call.Method, tracing.Client)
	call.TraceParent = tracing.Parent(ctx, t.TraceID, t.TraceParent)
	span.Set(tracing.System, "arc")
	span.Set(tracing.Method, call.Method)
	span.Set(tracing.Agent, call.To)
	span.Set(tracing.Trace, call.TraceID)
	result, err := line.Call(ctx, call)
	span.End(err)
	return result, err
}

// lingering gives a context that outlives ctx by lastWord: what was begun may be
// heard of, so that it can be taken back.
func lingering(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(lastWord)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-longer.Done():
		}
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// unwanted tells the agent that nobody wants its work any more, if that is why ctx
// ended. id is the agent's own id of the task.
func (c *conversation) unwanted(ctx context.Context, t *methods.Turn, line Line, id string) {
	if ctx.Err() == nil || id == "" || !methods.Unwanted(ctx) {
		return
	}
	why := methods.WhyUnwanted(ctx)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	c.callOff(ctx, t, line, id, why)
}

// EndTask tells an agent with a server of its own that nobody wants a task any more
// that it waits with. One that dialled in has nothing in hand then.
func (c *conversation) EndTask(ctx context.Context, t *methods.Turn) {
	line, dialled, err := c.reach()
	switch {
	case err != nil:
		c.log.Debug().Str("agent", c.id).Str("task", t.Task.ID).Err(err).Msg("an agent was not told that a task is canceled")
	case !dialled:
		c.callOff(ctx, t, line, t.Binding.ID, t.Task.Reason)
	}
}

// callOff cancels the agent's task.
func (c *conversation) callOff(ctx context.Context, t *methods.Turn, line Line, id, why string) {
	params := cancelParams{TaskID: id, Reason: why}
	if _, err := c.call(ctx, t, line, Call{Method: "task.cancel", Params: params}); err != nil {
		c.log.Debug().Str("agent", c.id).Str("task", t.Task.ID).Err(err).Msg("an agent was not told that a task is canceled")
	}
}

// cancelParams are the params of task.cancel.
type cancelParams struct {
	TaskID string `json:"taskId"`
	Reason string `json:"reason,omitempty"`
}

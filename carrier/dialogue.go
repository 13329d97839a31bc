package carrier

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// dialogue is one turn of a chat. When ctx ends the call does, and with it the
// connection: that is how the agent sees that nobody reads any more.
type dialogue struct {
	c       *conversation
	t       *methods.Turn
	line    Line
	dialled bool
	spoke   bool // the agent has said something in this turn
}

func (c *conversation) newDialogue(t *methods.Turn, line Line, dialled bool) *dialogue {
	return &dialogue{c: c, t: t, line: line, dialled: dialled}
}

// startParams are the params of chat.start. ChatID and History are for agents that
// dialled in: others choose the id themselves, and have the history.
type startParams struct {
	InitialMessage *arc.Message    `json:"initialMessage"`
	Stream         bool            `json:"stream,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitzero"`
	ChatID         string          `json:"chatId,omitempty"`
	History        []arc.Message   `json:"history,omitempty"`
}

// sayParams are the params of chat.message.
type sayParams struct {
	ChatID  string        `json:"chatId"`
	Message *arc.Message  `json:"message"`
	Stream  bool          `json:"stream,omitempty"`
	History []arc.Message `json:"history,omitempty"`
}

// run has the agent answer. An agent that has forgotten the chat is told the last
// message as the first one of a new chat.
func (d *dialogue) run(ctx context.Context) error {
	if d.t.Binding.ID == "" {
		return d.end(ctx, d.start(ctx))
	}
	message := d.t.Message()
	params := sayParams{ChatID: d.t.Binding.ID, Message: &message, Stream: d.t.Streams}
	if d.dialled {
		params.ChatID, params.History = d.t.Chat.ID, recent(d.t.History)
	}
	err := d.say(ctx, "chat.message", params)
	if !d.spoke && hasCode(err, arc.CodeChatNotFound, arc.CodeChatClosed, arc.CodeChatTimeout) {
		err = d.start(ctx)
	}
	return d.end(ctx, err)
}

// start begins a chat at the agent.
func (d *dialogue) start(ctx context.Context) error {
	message := d.t.Message()
	params := startParams{InitialMessage: &message, Stream: d.t.Streams, Metadata: d.t.Chat.Metadata}
	if d.dialled {
		params.ChatID, params.History = d.t.Chat.ID, recent(d.t.History)
	}
	return d.say(ctx, "chat.start", params)
}

// say makes the call and passes the answer on.
func (d *dialogue) say(ctx context.Context, method string, params any) error {
	call := Call{Method: method, Params: params}
	var ownErr error // of taking the answer over: not the agent's
	if d.t.Streams {
		call.Piece = func(m arc.Message) error {
			ownErr = d.take(ctx, m)
			return ownErr
		}
		call.Named = func(id string) error {
			ownErr = d.named(ctx, method, id)
			return ownErr
		}
	}
	result, err := d.c.call(ctx, d.t, d.line, call)
	if ownErr != nil {
		return &takeError{ownErr}
	}
	if err != nil {
		return err
	}
	id, whole, err := readChat(result)
	if err != nil {
		return err
	}
	if !d.spoke { // else it is what the pieces were
		if err := d.take(ctx, whole); err != nil {
			return &takeError{err}
		}
	}
	if err := d.named(ctx, method, id); err != nil {
		return &takeError{err}
	}
	return nil
}

// takeError is a failure to take over what the agent said.
type takeError struct{ err error }

func (e *takeError) Error() string { return "carrier: taking over an answer: " + e.err.Error() }
func (e *takeError) Unwrap() error { return e.err }

// take passes on what the agent says.
func (d *dialogue) take(ctx context.Context, m arc.Message) error {
	for _, p := range m.Parts {
		d.spoke = true
		if err := d.t.WritePart(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// named remembers the id that the agent has for the chat.
func (d *dialogue) named(ctx context.Context, method, id string) error {
	known := d.t.Binding.ID
	switch {
	case d.dialled:
		id = d.t.Chat.ID
	case id == "", id == known:
		return nil
	case !validID(id) || method == "chat.message":
		return arc.Errorf(arc.CodeAgentIdentity, "the agent answered for another chat").
			With("reason", "foreign_chat").With("retryable", false)
	}
	if id == known {
		return nil
	}
	return d.t.Bind(ctx, methods.Binding{ID: id, Again: d.t.Binding.Again})
}

// end gives the error with which the turn ends.
func (d *dialogue) end(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	if own, ok := errors.AsType[*takeError](err); ok {
		return own.err
	}
	how, wait := judge(err)
	switch {
	case how == said:
		e, _ := errors.AsType[*arc.Error](err)
		return own(e).Because(err)
	case how == forbidden:
		return forbiddenError(err)
	case how == garbled:
		return badAnswer(err)
	case d.spoke:
		return arc.Errorf(arc.CodeAgentTimeout, "the agent's answer was cut off").
			With("reason", "interrupted").With("retryable", true).Because(err)
	case how == locked:
		d.c.log.Error().Str("agent", d.c.id).Err(err).Msg("an agent does not take arcd's credential")
	}
	return methods.Unreachable(err, wait)
}

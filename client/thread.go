package client

import (
	"context"
	"errors"
	"iter"

	"github.com/arcd-io/arcd/arc"
)

// Thread is a conversation that outlives its chat: the first message starts a
// chat, later ones go on in it, and when the server has lost or closed it the
// next message starts another. The agent of the new chat knows nothing of the old
// one. A Thread is for one speaker at a time.
type Thread struct {
	// Client makes the calls. It is needed.
	Client *Client
	// To is the agent. It is needed.
	To string
	// ChatID is the chat that the next message goes to; "" starts one. It is kept up
	// to date, so it can be stored to go on later.
	ChatID string
	// Lost, if not nil, is told the id of a chat that is gone.
	Lost func(old string)
}

// Say says something and gives the chat with the agent's whole answer.
//
// If the chat is gone, which the server says before it takes a message (-43001,
// -43002, -43003), the message starts a new chat, once. A message that may have
// been taken is not said again: that error is returned, and what is next is up to
// the caller.
func (t *Thread) Say(ctx context.Context, m arc.Message) (*arc.Chat, error) {
	if t.ChatID != "" {
		chat, err := t.Client.SendChat(ctx, t.To, arc.SendChatParams{ChatID: t.ChatID, Message: &m})
		gone, taken := chatGone(err)
		if gone {
			t.lose()
		}
		if !gone || taken {
			return chat, err
		}
	}
	chat, err := t.Client.StartChat(ctx, t.To, arc.StartChatParams{InitialMessage: &m})
	if err == nil {
		t.ChatID = chat.ID
	}
	return chat, err
}

// Stream is [Thread.Say] with the agent's answer piece by piece, as
// [Client.StreamChat] gives it. A chat that ends in the middle of an answer is
// reported; the next message starts a new one.
func (t *Thread) Stream(ctx context.Context, m arc.Message) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		if t.ChatID != "" && !t.stream(ctx, m, yield) {
			return
		}
		gone := false
		for event, err := range t.Client.StreamChat(ctx, t.To, arc.StartChatParams{InitialMessage: &m}) {
			if id := chatOf(event); id != "" && !gone {
				t.ChatID = id
			}
			gone = t.watch(event, err) || gone
			if !yield(event, err) {
				return
			}
		}
	}
}

// stream says something in the chat. It tells whether the message has to start a
// new one.
func (t *Thread) stream(ctx context.Context, m arc.Message, yield func(Event, error) bool) (anew bool) {
	begun := false
	for event, err := range t.Client.StreamMessage(ctx, t.To, arc.SendChatParams{ChatID: t.ChatID, Message: &m}) {
		if gone, taken := chatGone(err); gone && !taken && !begun && event.Name == "" {
			t.lose()
			return true
		}
		begun = true
		t.watch(event, err)
		if !yield(event, err) {
			return false
		}
	}
	return false
}

// End closes the chat, if there is one. A chat that is gone is ended.
func (t *Thread) End(ctx context.Context, reason string) error {
	if t.ChatID == "" {
		return nil
	}
	_, err := t.Client.EndChat(ctx, t.To, arc.EndChatParams{ChatID: t.ChatID, Reason: reason})
	if gone, _ := chatGone(err); err == nil || gone {
		t.ChatID, err = "", nil
	}
	return err
}

// watch notes, and tells, that the chat ended with an event: it was closed in the
// middle of the answer.
func (t *Thread) watch(event Event, err error) (gone bool) {
	var done arc.StreamDone
	if event.Name == "done" {
		_ = event.Decode(&done) // one that cannot be read says nothing of the chat
	}
	if gone, _ = chatGone(err); !gone && done.Status != string(arc.ChatClosed) {
		return false
	}
	t.lose()
	return true
}

// lose forgets the chat.
func (t *Thread) lose() {
	old := t.ChatID
	t.ChatID = ""
	if old != "" && t.Lost != nil {
		t.Lost(old)
	}
}

// reasonClosedInTurn is the reason of arcd's -43002 when the chat was closed while
// the agent was answering.
const reasonClosedInTurn = "closed_in_turn"

// chatGone tells whether an error says that the chat takes no more messages, and
// whether it had taken the one at hand.
func chatGone(err error) (gone, taken bool) {
	e, ok := errors.AsType[*arc.Error](err)
	if !ok {
		return false, false
	}
	switch e.Code {
	case arc.CodeChatNotFound, arc.CodeChatClosed, arc.CodeChatTimeout:
		return true, e.Reason() == reasonClosedInTurn
	}
	return false, false
}

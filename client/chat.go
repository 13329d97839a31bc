package client

import (
	"cmp"
	"context"
	"iter"

	"github.com/arcd-io/arcd/arc"
)

// StartChat starts a chat and gives it with the agent's whole answer
// (chat.start).
func (c *Client) StartChat(ctx context.Context, to string, p arc.StartChatParams) (*arc.Chat, error) {
	p.Stream, p.ParentTaskID = false, cmp.Or(p.ParentTaskID, c.work)
	return c.chat(ctx, "chat.start", to, p)
}

// SendChat says something in a chat and gives it with the agent's whole answer
// (chat.message).
func (c *Client) SendChat(ctx context.Context, to string, p arc.SendChatParams) (*arc.Chat, error) {
	p.Stream = false
	return c.chat(ctx, "chat.message", to, p)
}

// EndChat closes a chat (chat.end).
func (c *Client) EndChat(ctx context.Context, to string, p arc.EndChatParams) (*arc.Chat, error) {
	return c.chat(ctx, "chat.end", to, p)
}

// StreamChat starts a chat and gives the agent's answer piece by piece: "stream"
// events with an [arc.ChatChunk] each, and one "done" event at the end.
//
// A connection that breaks after the first event is made anew and goes on where
// it broke. An "error" event comes with its [*arc.Error]; the done event still
// follows it. Any other error ends the iteration. Leaving the loop early ends
// the call.
func (c *Client) StreamChat(ctx context.Context, to string, p arc.StartChatParams) iter.Seq2[Event, error] {
	p.Stream, p.ParentTaskID = true, cmp.Or(p.ParentTaskID, c.work)
	s := &stream{client: c, chatID: p.ChatID}
	s.call = call{method: "chat.start", to: to, params: p}
	return s.events(ctx)
}

// StreamMessage says something in a chat and gives the agent's answer like
// [Client.StreamChat].
func (c *Client) StreamMessage(ctx context.Context, to string, p arc.SendChatParams) iter.Seq2[Event, error] {
	p.Stream = true
	s := &stream{client: c, chatID: p.ChatID}
	s.call = call{method: "chat.message", to: to, params: p}
	return s.events(ctx)
}

// chat makes a call whose result is a chat.
func (c *Client) chat(ctx context.Context, method, to string, params any) (*arc.Chat, error) {
	var result arc.ChatResult
	if err := c.Call(ctx, method, to, params, &result); err != nil {
		return nil, err
	}
	if result.Chat == nil {
		return nil, errEmpty
	}
	return result.Chat, nil
}

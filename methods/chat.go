package methods

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/tracing"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// chatView is an arc.Chat whose message is still encoded as the store keeps it.
type chatView struct {
	arc.Chat
	Message json.RawMessage `json:"message,omitzero"`
}

type chatResult struct {
	Type string    `json:"type"`
	Chat *chatView `json:"chat"`
}

// StartChat is chat.start: it opens a chat and has the agent answer the first
// message, as one result or, with params.stream, piece by piece (rpc.Stream).
// A streaming call that carries Last-Event-ID says nothing new: it goes on with
// the stream of an earlier call, which chatId names.
//
// Errors: -41001, -41002, -41011, -32602 (reason chat_id_in_use among others),
// -43005, and what the agent answers with.
func (s *Service) StartChat(ctx context.Context, c *rpc.Call, p arc.StartChatParams) (any, error) {
	if c.Resume && p.Stream {
		return s.resumeChat(ctx, c, p.ChatID, "initialMessage", p.InitialMessage)
	}
	a, err := s.target(c)
	if err != nil {
		return nil, err
	}
	if err := checkMessage("initialMessage", p.InitialMessage, arc.CodeInvalidMessage); err != nil {
		return nil, err
	}
	if err := checkObject("metadata", &p.Metadata); err != nil {
		return nil, err
	}
	now := s.now()
	th := &thread{
		Thread: store.Thread{
			ID: newID("chat-", now), Kind: store.Chat, Owner: c.Principal.Owner(),
			From: c.From, Agent: a.id, Trace: c.TraceID,
			Status: string(arc.ChatActive), Priority: arc.PriorityNormal, Created: now,
		},
		rec: record{Metadata: p.Metadata, TraceParent: c.TraceParent},
	}
	if err := s.adopt(ctx, c, th, p.ParentTaskID); err != nil {
		return nil, err
	}
	if p.ChatID != "" {
		if err := s.chooseChatID(ctx, c, th, p.ChatID); err != nil {
			return nil, err
		}
	}
	return s.takeTurn(ctx, c, a, th, p.InitialMessage, p.Stream)
}

// chooseChatID gives the chat the id that its caller wants. The row's key then
// holds the owner too, so that callers cannot run into each other's ids.
func (s *Service) chooseChatID(ctx context.Context, c *rpc.Call, th *thread, id string) error {
	if len(id) > arc.MaxAgentID || !arc.ValidAgentID(id) {
		return arc.InvalidParam("chatId", arc.AgentIDIssue)
	}
	_, err := s.readChat(ctx, c, id)
	switch {
	case err == nil:
		return chatIDInUse(id)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	th.ID, th.rec.ChatID = ownKey(th.Owner, id), id
	return nil
}

func chatIDInUse(id string) error {
	return arc.InvalidParam("chatId", "is in use").
		With("reason", "chat_id_in_use").With("chatId", id).With("retryable", false)
}

// ownKey is the key of a chat whose id its owner chose.
func ownKey(owner, id string) string {
	sum := sha256.Sum256([]byte(owner))
	return hex.EncodeToString(sum[:16]) + ":" + id
}

// SendChat is chat.message: one more turn of a chat, answered like chat.start.
//
// Errors: -43001, -43002, -43003 (closed after idling), -43005, -43006 (the chat
// is full, or a turn is still running), -41002, -41011, -32602, and what the
// agent answers with.
func (s *Service) SendChat(ctx context.Context, c *rpc.Call, p arc.SendChatParams) (any, error) {
	if c.Resume && p.Stream {
		return s.resumeChat(ctx, c, p.ChatID, "message", p.Message)
	}
	th, err := s.chat(ctx, c, p.ChatID)
	if err != nil {
		return nil, err
	}
	if err := checkMessage("message", p.Message, arc.CodeInvalidMessage); err != nil {
		return nil, err
	}
	if err := th.chatOpen(); err != nil {
		return nil, err
	}
	if th.rec.Lease != "" {
		return nil, turnInProgress(th.chatID())
	}
	if th.full() {
		return nil, arc.Errorf(arc.CodeChatOverflow, "the chat holds as many messages as it may").
			With("chatId", th.chatID()).With("max_items", maxItems).With("max_bytes", maxBytes).With("retryable", false)
	}
	a, ok := s.agent(th.Agent)
	if !ok {
		return nil, noAgent(th.Agent, "no_runner")
	}
	th.Status = string(arc.ChatActive)
	return s.takeTurn(ctx, c, a, th, p.Message, p.Stream)
}

// EndChat is chat.end: it closes a chat. A turn that is still running is ended.
//
// Errors: -43001, -43002, -43003, -32602.
func (s *Service) EndChat(ctx context.Context, c *rpc.Call, p arc.EndChatParams) (*chatResult, error) {
	th, err := s.chat(ctx, c, p.ChatID)
	if err != nil {
		return nil, err
	}
	if err := checkReason(p.Reason); err != nil {
		return nil, err
	}
	if w := s.work(th.ID); w != nil {
		w.cancel(errClosed)
		s.settled(ctx, w)
	}
	th, err = s.edit(ctx, th.ID, func(th *thread) (*change, error) {
		if err := th.chatOpen(); err != nil {
			return nil, err
		}
		ch := &change{}
		s.closeChat(th, ch, s.now(), p.Reason)
		return ch, nil
	})
	if err != nil {
		return nil, err
	}
	s.endElsewhere(th, p.Reason)
	return th.chatResult(), nil
}

// endElsewhere tells the agent of a chat, if it is elsewhere, that the chat is
// closed, unless another replica does. Nobody waits for that.
func (s *Service) endElsewhere(th *thread, reason string) {
	a, ok := s.agent(th.Agent)
	if !ok || th.rec.Binding.ID == "" || th.Ready {
		return
	}
	if ender, ok := a.Runner.(ChatEnder); ok {
		s.aside(func(ctx context.Context) { ender.EndChat(ctx, th.chatID(), th.rec.Binding, reason) })
	}
}

// aside does what nobody waits for, for at most ten seconds.
func (s *Service) aside(f func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	s.runs.Go(func() {
		ctx, cancel := context.WithTimeout(s.background, 10*time.Second)
		defer cancel()
		f(ctx)
	})
}

// settled waits until a turn is over, but not for a runner that does not stop.
func (s *Service) settled(ctx context.Context, w *work) {
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-w.done:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// close ends a chat; a turn that somebody else still holds ends with it.
func (th *thread) close(ch *change, now time.Time, reason string) {
	if th.rec.Lease != "" {
		th.endTurn(ch, now, 0, arc.Errorf(arc.CodeChatClosed, "the chat was closed").With("reason", "closed_in_turn").With("retryable", false))
	}
	ch.event(now, arc.StatusChangeEvent, arc.EventData{
		Status: string(arc.ChatClosed), Message: "the chat is closed",
		PreviousStatus: th.Status, ChangedAt: arc.At(now), Reason: reason,
	})
	th.Status, th.Ended = string(arc.ChatClosed), now
	th.rec.Reason, th.rec.Deadline = reason, 0
}

// chatOpen reports why a chat takes no more calls; nil while it does.
func (th *thread) chatOpen() error {
	if th.Ended.IsZero() {
		return nil
	}
	e := arc.Errorf(arc.CodeChatClosed, "the chat is already closed")
	if th.rec.Reason == "idle" {
		e = arc.Errorf(arc.CodeChatTimeout, "the chat was closed because nobody said anything for long")
	}
	return e.With("chatId", th.chatID()).With("retryable", false)
}

func (th *thread) chatID() string {
	if th.rec.ChatID != "" {
		return th.rec.ChatID
	}
	return th.ID
}

// chat reads a chat for its owner. Whatever the caller may not see answers like
// what does not exist: -43001.
func (s *Service) chat(ctx context.Context, c *rpc.Call, id string) (*thread, error) {
	if id == "" {
		return nil, arc.InvalidParam("chatId", "is required")
	}
	tracing.Current(ctx).Set(tracing.Chat, id)
	th, err := s.readChat(ctx, c, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && c.To != "" && c.To != th.Agent {
		if err := s.knownTarget(c); err != nil {
			return nil, err
		}
		return nil, arc.Errorf(arc.CodeChatNotFound, "there is no such chat").
			With("chatId", id).With("retryable", false)
	}
	if err != nil {
		return nil, err
	}
	if err := c.Permit(th.Agent); err != nil {
		return nil, err
	}
	return th, nil
}

// readChat finds a chat of the caller by its public id; store.ErrNotFound.
func (s *Service) readChat(ctx context.Context, c *rpc.Call, id string) (*thread, error) {
	owner := c.Principal.Owner()
	keys := []string{ownKey(owner, id)}
	if madeID(id, "chat-") {
		keys = append(keys, id)
	}
	for _, key := range keys {
		t, err := s.store.Thread(ctx, key)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return nil, err
		case t.Kind == store.Chat && t.Owner == owner:
			return decode(t)
		}
	}
	return nil, store.ErrNotFound
}

func (th *thread) chatResult() *chatResult {
	v := &chatView{Chat: arc.Chat{
		ID: th.chatID(), Status: arc.ChatStatus(th.Status), Participants: []string{th.From, th.Agent},
		CreatedAt: arc.At(th.Created), UpdatedAt: arc.At(th.Updated), Reason: th.rec.Reason,
		Metadata: th.rec.Metadata,
	}, Message: th.answer}
	if !th.Ended.IsZero() {
		v.ClosedAt = arc.At(th.Ended)
	}
	return &chatResult{Type: "chat", Chat: v}
}

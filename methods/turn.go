package methods

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/tracing"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// takeTurn stores the caller's message and has the agent answer it.
//
//	takeTurn
//	├─ askThere    if the agent is connected to another replica: the turn runs there
//	├─ begin       one turn at a time, within the agent's limit
//	├─ saveChat    the message, and the lease
//	├─ go runChat  the agent's work, beyond the caller's connection if need be
//	└─ a stream of the turn's tail, or the whole answer when it is there
func (s *Service) takeTurn(ctx context.Context, c *rpc.Call, a *agent, th *thread, m *arc.Message, stream bool) (any, error) {
	if err := a.unavailable(); err != nil {
		return nil, err
	}
	if c.TraceParent != "" {
		th.rec.TraceParent = c.TraceParent // of this turn, and of what comes without one
	}
	if a.onlyThere() {
		tracing.Current(ctx).Set(tracing.Chat, th.chatID())
		return s.askThere(ctx, c, th, m, stream)
	}
	select {
	case a.turn <- struct{}{}:
	default:
		return nil, arc.Errorf(arc.CodeAgentCapacity, "the agent has as many chats in hand as it may").
			With("agentId", a.id).With("reason", "capacity").With("retryable", true)
	}
	w := s.newChatWork(th, a)
	tracing.Current(ctx).Set(tracing.Chat, w.chatID)
	w.streams = stream && c.Streaming
	made, done := store.Thread{ID: th.ID, Kind: store.Chat}, s.takeOn(th)
	if th.Rev == 0 {
		made.Parent = th.Parent
	}
	if err := s.openTurn(ctx, w, th, m); err != nil {
		done()
		<-a.turn
		return nil, err
	}
	w.tail.attach() // for the caller, who is waiting from now on
	go func() {
		defer done()
		s.runChat(w, m)
	}()
	if err := s.orphan(ctx, c, made); err != nil {
		w.tail.detach()
		return nil, err
	}
	if stream && c.Streaming {
		return s.chatStream(ctx, c, w, -1), nil
	}
	defer w.tail.detach()
	select {
	case <-w.done:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if w.failed != nil {
		return nil, w.failed
	}
	return w.chat.chatResult(), nil
}

func (s *Service) newChatWork(th *thread, a *agent) *work {
	w := s.newWork(th.ID, a)
	w.chatID = th.chatID()
	grace := s.cfg.TurnGrace
	if a.KeepTurns {
		grace = -1
	}
	w.tail = newTail(grace, func() {
		select {
		case <-s.draining: // we sent its readers away; they will come back for the rest
		default:
			w.cancel(errGone)
		}
	})
	w.tail.hears = func() bool { return s.answers(w.id) }
	w.buf.events = make([]arc.Event, 0, usualPieces)
	return w
}

// openTurn begins the work and commits the caller's message under its lease.
func (s *Service) openTurn(ctx context.Context, w *work, th *thread, m *arc.Message) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	if err := w.begin(); err != nil {
		w.cancel(err)
		if errors.Is(err, errBusy) && th.Rev == 0 { // a start that lost against another
			err = store.ErrExists
		}
		return w.refused(err)
	}
	now := s.now()
	ch := th.open(m, now)
	th.rec.Lease, th.rec.LeaseEnd = w.lease, now.Add(s.cfg.Lease).UnixMilli()
	w.chat = th
	if err := w.saveChat(ctx, ch); err != nil {
		w.take(true)
		w.release()
		return w.refused(err)
	}
	w.tail.start(th.Seq)
	return nil
}

// open begins a turn with the caller's message.
func (th *thread) open(m *arc.Message, now time.Time) *change {
	th.rec.TurnSeq, th.rec.TurnHash = th.Seq+1, messageHash(m)
	th.rec.Deadline = 0
	th.rec.Messages++
	body := storedMessage(m, now)
	ch := &change{}
	ch.item(store.MessageItem, body)
	ch.event(now, arc.NewMessageEvent, arc.EventData{
		Status: th.Status, Message: "message received", MessageContent: body,
	})
	return ch
}

// refused is what the caller learns of a turn that could not begin.
func (w *work) refused(err error) error {
	switch {
	case errors.Is(err, store.ErrExists):
		return chatIDInUse(w.chatID)
	case errors.Is(err, errLost), errors.Is(err, errBusy):
		return turnInProgress(w.chatID)
	case errors.Is(err, errDraining):
		return stopping(w.agent.id)
	}
	return err
}

func stopping(agent string) error {
	return arc.Errorf(arc.CodeAgentUnavailable, "the server is stopping").
		With("agentId", agent).With("reason", "draining").With("retryable", true)
}

func turnInProgress(chatID string) error {
	return arc.Errorf(arc.CodeChatOverflow, "the agent is still answering the message before").
		With("chatId", chatID).With("reason", "turn_in_progress").With("retryable", true)
}

// saveChat commits a change of the turn's chat. While a turn runs nobody else
// writes to the chat, so a lost race means a lost lease.
func (w *work) saveChat(ctx context.Context, ch *change) error {
	w.chat.Updated = w.s.now()
	err := w.s.commit(ctx, w.chat, ch)
	if errors.Is(err, store.ErrConflict) {
		return errLost
	}
	return err
}

// runChat has the runner answer and stores how the turn ended. It returns when
// the runner has, which is later than the end of the turn if that was abandoned. m is
// what the caller has said; nil: it is the last of the stored messages.
func (s *Service) runChat(w *work, m *arc.Message) {
	ctx := context.WithoutCancel(w.ctx)
	end := w.endOnce(func(err error) { s.finishChat(ctx, w, err) })
	err := errVanished
	defer func() {
		<-w.agent.turn // before the end is told: who hears of it may come back at once
		end(err)
	}()
	var turn *Turn
	if turn, err = s.chatTurn(w, m); err == nil {
		err = errVanished
		err = w.run(turn)
	}
	if cause := context.Cause(w.ctx); cause != nil && err != nil {
		err = cause
	}
}

// finishChat stores what is left in the buffer, the whole answer and how the
// turn ended, in one commit.
func (s *Service) finishChat(ctx context.Context, w *work, err error) {
	w.saving.Lock()
	defer w.saving.Unlock()
	b := w.take(true)
	w.failed = s.turnError(w, err)
	now := s.now()
	if len(w.parts) > 0 {
		body := storedMessage(&arc.Message{Role: arc.RoleAgent, Parts: w.parts, AgentID: w.agent.id}, now)
		w.chat.answer = body
		w.chat.rec.Messages++
		b.item(store.MessageItem, body)
	}
	w.chat.endTurn(&b.change, now, s.cfg.ChatIdle, w.failed)
	end := b.events[len(b.events)-1]
	if err := w.persistChat(ctx, &b.change); err != nil {
		if !errors.Is(err, errLost) {
			s.logFailure(err, "ending a chat turn", w.agent.id)
		}
		err = s.whyOver(ctx, w, err)
		if w.failed == nil || errors.Is(err, errClosed) {
			w.failed = s.turnError(w, err)
		}
		end.Data = encode(turnEnd(w.failed))
	}
	w.withdraw() // before its readers know, who may say the next thing at once
	w.tail.append(end)
	w.tail.close()
}

// whyOver tells why the end of a turn could not be stored: the cause for which its work
// ended, or that somebody has closed the chat.
func (s *Service) whyOver(ctx context.Context, w *work, err error) error {
	if cause := context.Cause(w.ctx); cause != nil {
		err = cause
	}
	if !errors.Is(err, errLost) && !errors.Is(err, errClosed) {
		return err
	}
	th, failed := s.read(ctx, w.id)
	if failed != nil || th.Ended.IsZero() {
		return err
	}
	if th.rec.Binding.ID == "" { // who closed it did not know that the agent has it
		th.rec.Binding = w.chat.rec.Binding
		s.endElsewhere(th, th.rec.Reason)
	}
	return errClosed
}

// endTurn ends the turn that holds the chat's lease.
func (th *thread) endTurn(ch *change, now time.Time, idle time.Duration, failed *arc.Error) {
	th.rec.Lease, th.rec.LeaseEnd = "", 0
	th.rec.Deadline = now.Add(idle).UnixMilli()
	th.Ready = false
	ch.event(now, arc.TurnEndEvent, turnEnd(failed))
}

// saysNotBegun tells the errors after which callers make a call again, with a fresh
// token or in a new chat, because it did nothing. An agent can have such an error
// from elsewhere, but its turn has begun, so it is not passed on as the call's own.
func saysNotBegun(e *arc.Error) bool {
	switch e.Code {
	case arc.CodeChatNotFound, arc.CodeChatClosed, arc.CodeChatTimeout:
		return true
	}
	return errors.Is(e.Code.Class(), arc.ErrAuthentication)
}

// sendable gives a runner's error as it can be sent: details that do not encode
// are left out.
func sendable(own *arc.Error) *arc.Error {
	e := own.Clone()
	e.Message = valid(e.Message)
	if _, err := jsonv2.Marshal(e.Details); err != nil {
		e.Details = map[string]any{"reason": valid(own.Reason())}
	}
	return e
}

func turnEnd(failed *arc.Error) arc.TurnEnd {
	if failed == nil {
		return arc.TurnEnd{}
	}
	o := failed.Object()
	return arc.TurnEnd{Error: &o}
}

func (s *Service) chatTurn(w *work, m *arc.Message) (*Turn, error) {
	w.saving.Lock()
	defer w.saving.Unlock()
	chat := w.chat.chatResult().Chat.Chat
	t := &Turn{
		Chat: &chat, Agent: w.chat.Agent, From: w.chat.From, TraceID: w.chat.Trace, Attempt: 1, Streams: w.streams,
		TraceParent: w.chat.rec.TraceParent, Hops: w.chat.rec.Hops + 1, Binding: w.chat.rec.Binding, w: w,
	}
	if w.chat.Items == 1 && m != nil {
		t.History = []arc.Message{*m}
		return t, nil
	}
	items, err := w.items(w.chat.Thread)
	if err != nil {
		return nil, err
	}
	for _, item := range items {
		var m arc.Message
		if err := json.Unmarshal(item.Body, &m); err != nil {
			return nil, err
		}
		t.History = append(t.History, m)
	}
	return t, nil
}

// turnError is what the caller learns of how a chat turn ended; nil if well.
func (s *Service) turnError(w *work, err error) *arc.Error {
	var e *arc.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errClosed):
		e = arc.Errorf(arc.CodeChatClosed, "the chat was closed").With("reason", "closed_in_turn").With("retryable", false)
	case errors.Is(err, errGone):
		e = arc.Errorf(arc.CodeAgentTimeout, "the answer was canceled because its reader was gone").
			With("reason", "canceled").With("retryable", true)
	case errors.Is(err, errDraining), errors.Is(err, errLost), errors.Is(err, ErrOutage):
		e = arc.Errorf(arc.CodeAgentTimeout, "the agent's answer was cut off").
			With("reason", "interrupted").With("retryable", true)
	default:
		s.log.Warn().Str("chat", w.id).Str("agent", w.agent.id).Err(err).Msg("an agent failed")
		if _, away := errors.AsType[*unreachableError](err); away {
			e = arc.Errorf(arc.CodeAgentUnreachable, "the agent cannot be reached").
				With("reason", "agent_unreachable").With("retryable", true)
			break
		}
		if own, ok := errors.AsType[*arc.Error](err); ok && !saysNotBegun(own) {
			e = sendable(own)
		} else {
			e = arc.Errorf(arc.CodeInternal, "the agent failed").With("reason", "agent_error").With("retryable", false)
		}
	}
	return e.With("chatId", w.chatID)
}

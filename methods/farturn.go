package methods

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// A chat's turn runs at the replica to which its agent is connected. Where a call
// comes to another one, the turn goes through the agent's queue:
//
//	here                                      there
//	askThere   message, lease of the queue
//	           Ready                     ──→  claimTurn   a lease of its own
//	reads the stored log                 ←──  runChat     stores what the agent says
//	followTurn somebody reads it         ──→  followed    goes on
//
// That the agent has to hear of the end of its chat goes the same way: an ended chat
// that is Ready.

// claimTime is how long a turn waits for a replica to claim it.
const claimTime = 10 * time.Second

// askThere stores the caller's message for the replica that has the agent, and gives
// the answer as the log has it.
//
// Errors: -43006 (a turn is still running), -32602 (chatId in use), -41003 (nobody
// claims it), and what the agent answers with.
func (s *Service) askThere(ctx context.Context, c *rpc.Call, th *thread, m *arc.Message, stream bool) (any, error) {
	done, ok := s.takeRun()
	if !ok {
		return nil, stopping(th.Agent)
	}
	defer done()
	made := store.Thread{ID: th.ID, Kind: store.Chat}
	if th.Rev == 0 {
		made.Parent = th.Parent
	}
	now := s.now()
	ch := th.open(m, now)
	th.rec.Lease, th.rec.LeaseEnd = s.replicas.lease(), now.Add(claimTime).UnixMilli()
	th.rec.Streams = stream && c.Streaming
	th.Ready, th.Rank, th.Updated = true, rank(th.Priority, now), now
	err := s.commit(ctx, th, ch)
	switch {
	case errors.Is(err, store.ErrConflict):
		return nil, turnInProgress(th.chatID())
	case errors.Is(err, store.ErrExists):
		return nil, chatIDInUse(th.chatID())
	case err != nil:
		return nil, err
	}
	if err := s.orphan(ctx, c, made); err != nil {
		return nil, err
	}
	if th.rec.Streams {
		return s.storedTurn(ctx, c, th, th.rec.TurnSeq), nil
	}
	return s.answerThere(ctx, th)
}

// takeRun counts something that has to be waited for when the service drains; false
// if it does already.
func (s *Service) takeRun() (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.runs.Add(1)
	return s.runs.Done, true
}

// answerThere waits for the end of a turn that runs elsewhere and gives the whole
// answer.
func (s *Service) answerThere(ctx context.Context, th *thread) (any, error) {
	end, err := s.endOfTurn(ctx, th.ID, th.rec.TurnSeq)
	if err != nil {
		return nil, err
	}
	if e := end.Error; e != nil {
		return nil, &arc.Error{Code: e.Code, Message: e.Message, Details: e.Details}
	}
	now, err := s.read(ctx, th.ID)
	if err != nil {
		return nil, err
	}
	items, err := s.store.Items(ctx, now.Thread)
	if err != nil {
		return nil, err
	}
	if len(items) > th.Items { // the message was the last one when it was stored
		var m arc.Message
		if err := json.Unmarshal(items[th.Items].Body, &m); err != nil {
			return nil, err
		}
		if m.Role == arc.RoleAgent {
			now.answer = items[th.Items].Body
		}
	}
	return now.chatResult(), nil
}

// endOfTurn waits until the log has the end of the turn that begins with an event,
// however long the service drains.
func (s *Service) endOfTurn(ctx context.Context, id string, after int64) (end arc.TurnEnd, err error) {
	defer s.followTurn(id)()
	waiter := s.hub.join(id)
	defer waiter.leave()
	for {
		evs, gap, err := s.store.Events(ctx, id, after, eventBatch)
		if err == nil && gap {
			err = gapError("after", after, 0)
		}
		if errors.Is(err, ErrOutage) && wait(ctx, lookAgain, s.background.Done()) && s.background.Err() == nil {
			continue // the turn goes on meanwhile
		}
		if err != nil {
			return end, err
		}
		for _, ev := range evs {
			if after = ev.Seq; ev.Type == arc.TurnEndEvent {
				return end, jsonv2.Unmarshal(ev.Data, &end)
			}
		}
		if waiter.read(after); len(evs) > 0 {
			continue
		}
		select {
		case <-waiter.wake:
		case <-ctx.Done():
			return end, ctx.Err()
		case <-s.background.Done():
			return end, arc.Errorf(arc.CodeAgentTimeout, "the agent's answer was cut off").
				With("reason", "interrupted").With("retryable", true)
		}
	}
}

// nobodyCame is how a turn ends that no replica has claimed.
func nobodyCame() *arc.Error {
	return arc.Errorf(arc.CodeAgentUnreachable, "the agent cannot be reached").
		With("reason", "agent_unreachable").With("retryable", true)
}

// readyChat has a chat looked at that became ready elsewhere or here; false if the
// thread is none.
func (s *Service) readyChat(h store.Hint) bool {
	if h.Thread == "" || strings.HasPrefix(h.Thread, "task-") {
		return false
	}
	a, ok := s.agent(h.Ready)
	if !ok || !a.atHand() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	ctx := s.dispatching
	if ctx == nil || s.closed {
		return true
	}
	s.looks.Go(func() {
		before := s.work(h.Thread)
		if s.claimTurn(ctx, a, h.Thread, true) || before == nil {
			return
		}
		select { // of the turn before the rest is about to be over
		case <-before.done:
			s.claimTurn(ctx, a, h.Thread, true)
		case <-time.After(claimTime):
		case <-ctx.Done():
		}
	})
	return true
}

// lookForTurns claims the turns that wait for an agent that is connected here and takes no
// more tasks now: they have places of their own.
func (s *Service) lookForTurns(ctx context.Context, a *agent) {
	if !s.shared() || !a.atHand() || a.room() > 0 {
		return
	}
	ready, err := s.store.Ready(ctx, store.ReadyQuery{Agent: a.id, Owners: owners, Each: 16})
	if err != nil {
		s.logFailure(err, "reading an agent's queue", a.id)
		return
	}
	s.claimTurns(ctx, a, ready)
}

// claimTurns claims the chats among an agent's ready threads and gives the rest; all is
// false if some have to wait.
func (s *Service) claimTurns(ctx context.Context, a *agent, ready []store.Thread) (tasks []store.Thread, all bool) {
	var claims sync.WaitGroup
	var left sync.Once
	all = true
	for _, t := range ready {
		if t.Kind == store.Task {
			tasks = append(tasks, t)
			continue
		}
		claims.Go(func() {
			if !s.claimTurn(ctx, a, t.ID, false) {
				left.Do(func() { all = false })
			}
		})
	}
	claims.Wait()
	return tasks, all
}

// claimTurn claims what is ready of a chat: the turn that its caller waits for, or the
// word that it is closed. hinted says that the caller's replica can be heard. It reports
// false if the chat has to be looked at again.
func (s *Service) claimTurn(ctx context.Context, a *agent, id string, hinted bool) bool {
	th, err := s.read(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return true
	case err != nil:
		s.logFailure(err, "reading a chat", a.id)
		return false
	case !th.Ready:
		return true
	case !th.Ended.IsZero():
		return s.bidFarewell(ctx, a, th)
	}
	select {
	case a.turn <- struct{}{}:
	default:
		return false
	}
	w := s.newChatWork(th, a)
	w.streams = th.rec.Streams
	if err := w.claimTurn(ctx, th); err != nil {
		<-a.turn
		if errors.Is(err, errLost) { // another replica was faster
			return true
		}
		if !errors.Is(err, errBusy) && !errors.Is(err, errDraining) {
			s.logFailure(err, "claiming a chat", a.id)
		}
		return false
	}
	if hinted {
		w.tail.hold(s.heldFor())
	}
	done := s.takeOn(th)
	go func() {
		defer done()
		s.runChat(w, nil)
	}()
	return true
}

// claimTurn begins the work on a turn that waits.
func (w *work) claimTurn(ctx context.Context, th *thread) error {
	w.saving.Lock()
	defer w.saving.Unlock()
	if err := w.begin(); err != nil {
		w.cancel(err)
		return err
	}
	th.Ready = false
	th.rec.Lease, th.rec.LeaseEnd = w.lease, w.s.now().Add(w.s.cfg.Lease).UnixMilli()
	w.chat = th
	if err := w.saveChat(ctx, &change{}); err != nil {
		w.take(true)
		w.release()
		return err
	}
	w.tail.start(th.Seq)
	return nil
}

// closeChat closes a chat. Where only another replica reaches its agent, that is told
// through the queue.
func (s *Service) closeChat(th *thread, ch *change, now time.Time, reason string) {
	th.close(ch, now, reason)
	a, ok := s.agent(th.Agent)
	if !ok || th.rec.Binding.ID == "" || !a.onlyThere() {
		return
	}
	if _, ok := a.Runner.(ChatEnder); ok {
		th.Ready, th.Rank = true, rank(th.Priority, now)
	}
}

// bidFarewell tells an agent that is connected here that its chat is closed: one
// replica does.
func (s *Service) bidFarewell(ctx context.Context, a *agent, th *thread) bool {
	mine := false
	th, err := s.edit(ctx, th.ID, func(th *thread) (*change, error) {
		if mine = th.Ready && !th.Ended.IsZero(); !mine {
			return nil, nil
		}
		th.Ready = false
		return &change{}, nil
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		s.logFailure(err, "telling an agent that a chat is closed", a.id)
		return false
	}
	if err == nil && mine {
		s.endElsewhere(th, th.rec.Reason)
	}
	return true
}

// giveUpChat ends the wait of a chat for an agent that is away for long.
func (th *thread) giveUpChat(now time.Time, idle time.Duration) *change {
	ch := &change{}
	if th.Ready = false; th.Ended.IsZero() {
		th.endTurn(ch, now, idle, nobodyCame().With("chatId", th.chatID()))
	}
	return ch
}

package methods

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// receive waits for a message of the caller that the runner has not got yet.
func (w *work) receive(ctx context.Context) (arc.Message, error) {
	changes := w.s.hub.join(w.id)
	defer changes.leave()
	for {
		if w.tail == nil { // the next message of a chat is a turn of its own
			switch m, ok, err := w.unread(ctx); {
			case errors.Is(err, ErrOutage):
				wait(ctx, lookAgain, w.ctx.Done())
				continue // if one of them has ended, unread tells why
			case ok || err != nil:
				return m, err
			}
		}
		select {
		case <-changes.wake:
		case <-w.nudged:
			return arc.Message{}, ErrNudged
		case <-ctx.Done():
			return arc.Message{}, context.Cause(ctx)
		case <-w.ctx.Done():
			return arc.Message{}, context.Cause(w.ctx)
		}
	}
}

// unread takes the next message of the caller from the task's history, if there is
// one.
func (w *work) unread(ctx context.Context) (m arc.Message, ok bool, err error) {
	if err := ended(ctx, w.ctx); err != nil {
		return m, false, err
	}
	w.reading.Lock()
	defer w.reading.Unlock()
	t, err := w.s.store.Thread(ctx, w.id)
	if err != nil || int64(t.Items) <= w.given.Load() {
		return m, false, err
	}
	items, err := w.s.store.Items(ctx, t)
	if err != nil {
		return m, false, err
	}
	for i := int(w.given.Load()); i < len(items); i++ {
		w.given.Store(int64(i + 1))
		if items[i].Kind != store.MessageItem {
			continue
		}
		m = arc.Message{}
		if err := json.Unmarshal(items[i].Body, &m); err != nil {
			return m, false, err
		}
		if m.Role != arc.RoleAgent || m.AgentID != w.agent.id { // else the agent said it
			return m, true, nil
		}
	}
	return arc.Message{}, false, nil
}

// hear buffers the n-th message of an agent elsewhere.
func (w *work) hear(ctx context.Context, n int, m arc.Message) error {
	return w.add(ctx, func(now time.Time) error {
		m.AgentID = w.agent.id
		body := storedMessage(&m, now)
		if w.made += len(body); w.made > maxMade {
			return errors.New("methods: the agent says too much")
		}
		w.heard = append(w.heard, heard{n, m})
		w.buf.item(store.MessageItem, body)
		w.size += len(body)
		return nil
	})
}

// bind stores what a carrier has to know.
func (w *work) bind(ctx context.Context, b Binding) error {
	if err := ended(ctx, w.ctx); err != nil {
		return err
	}
	ctx = context.WithoutCancel(ctx)
	if w.tail == nil { // what was heard so far is counted as by the binding before
		if err := w.flush(); err != nil {
			return err
		}
	}
	w.saving.Lock()
	defer w.saving.Unlock()
	if w.tail != nil {
		w.chat.rec.Binding = b // stored with the next pieces, or the end of the turn
		return nil
	}
	return w.persist(ctx, func() error { return w.bindTask(ctx, b) })
}

func (w *work) bindTask(ctx context.Context, b Binding) error {
	key := &store.Key{Owner: agentKey(w.agent.id), Name: b.ID}
	for {
		_, err := w.s.edit(ctx, w.id, w.fenced(func(th *thread) (*change, error) {
			ch := &change{}
			if b.ID != "" && b.ID != th.rec.Binding.ID && b.ID != th.ID {
				key.Expires = w.s.now().Add(bindingTTL)
				ch.key = key
			}
			b.Heard = 0
			if b.ID == th.rec.Binding.ID {
				b.Heard = th.rec.Binding.Heard
			}
			th.rec.Binding = b
			if b.ID != "" {
				th.begin(ch, w.s.now())
			}
			return ch, nil
		}))
		held, taken := errors.AsType[*store.ReplayError](err)
		if !taken {
			return err
		}
		if err := w.s.mayTakeOver(ctx, w, held.Thread); err != nil {
			return err
		}
		key.Replace = true
	}
}

// bindingTTL is how long an agent's id of a task leads to the task.
const bindingTTL = 30 * 24 * time.Hour

// agentKey is the owner of the keys that lead from an agent's ids to ours.
func agentKey(agent string) string { return "agent\n" + agent }

// mayTakeOver tells whether an agent may use an id that it had for another task:
// only when that has ended. Agents that count from 1 do so after a restart.
func (s *Service) mayTakeOver(ctx context.Context, w *work, other string) error {
	t, err := s.store.Thread(ctx, other)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && (!t.Ended.IsZero() || t.ID == w.id):
		return nil
	case err != nil:
		return err
	}
	return arc.Errorf(arc.CodeAgentIdentity, "the agent answered with the id of another task that it has in hand").
		With("reason", "foreign_task").With("retryable", false)
}

// callOff ends the work on a task that has ended: that of whoever had the lease, or, if
// nobody works on it, here or at another replica that finds out by itself, what an agent
// elsewhere has in hand.
func (s *Service) callOff(th *thread, lease string, cause error) {
	w := s.work(th.ID)
	if w != nil {
		w.cancel(cause)
	}
	if th.rec.Binding.ID == "" || w != nil && w.lease == lease || s.replicas.holds(lease) {
		return
	}
	a, ok := s.agent(th.Agent)
	if !ok {
		return
	}
	if ender, ok := a.Runner.(TaskEnder); ok {
		task := th.view().Task
		t := &Turn{
			Task: &task, Agent: th.Agent, From: th.From, TraceID: th.Trace, Attempt: th.rec.Attempt,
			TraceParent: th.rec.TraceParent, Hops: th.rec.Hops + 1, Binding: th.rec.Binding,
		}
		s.aside(func(ctx context.Context) { ender.EndTask(ctx, t) })
	}
}

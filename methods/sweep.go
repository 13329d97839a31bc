package methods

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// renew extends the leases of all work in this process.
func (s *Service) renew(ctx context.Context) {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.running))
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, w := range all {
		wg.Go(func() {
			// Of a store that is away nobody can take the work over.
			if err := w.renew(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrUnavailable) {
				w.cancel(errLost)
			}
		})
	}
	wg.Wait()
}

func (w *work) renew(ctx context.Context) error {
	if !w.saving.lockUntil(ctx.Done()) {
		return ctx.Err()
	}
	defer w.saving.Unlock()
	w.mu.Lock()
	over := w.over
	w.mu.Unlock()
	if over {
		return nil
	}
	end := w.s.now().Add(w.s.cfg.Lease).UnixMilli()
	if w.tail != nil {
		if w.chat == nil {
			return nil // not begun yet
		}
		w.chat.rec.LeaseEnd = end
		return w.persistChat(ctx, &change{})
	}
	if !w.news.begun() {
		return nil // not claimed yet
	}
	_, err := w.edit(ctx, func(th *thread) (*change, error) {
		if th.rec.Notice != nil {
			poke(w.nudged)
		}
		th.rec.LeaseEnd = end
		return &change{}, nil
	})
	return err
}

// sweepBatch is how many due threads are looked at in one go.
const sweepBatch = 200

// sweep looks at every thread whose time has come: a deadline, a lease, a retry
// or a chat's idle time.
func (s *Service) sweep(ctx context.Context) {
	for {
		due, err := s.store.Due(ctx, s.now(), sweepBatch)
		if !s.steady(err) {
			return
		}
		if err != nil {
			s.logFailure(err, "looking for what is due", "")
			return
		}
		var wg sync.WaitGroup
		var failed atomic.Bool
		for _, t := range due {
			wg.Go(func() {
				if err := s.settle(ctx, t); err != nil && !errors.Is(err, store.ErrNotFound) {
					failed.Store(true)
					s.logFailure(err, "settling "+t.ID, t.Agent)
				}
			})
		}
		wg.Wait()
		// Those that failed are still due: they wait for the next sweep.
		if len(due) < sweepBatch || failed.Load() || ctx.Err() != nil {
			return
		}
	}
}

func (s *Service) settle(ctx context.Context, t store.Thread) error {
	if t.Kind == store.Chat {
		return s.settleChat(ctx, t)
	}
	expired, lease, cause := false, "", errLost
	w := s.work(t.ID) // that of the lease; after the commit it may be another
	th, err := s.editFrom(ctx, t, false, func(th *thread) (*change, error) {
		now := s.now()
		expired, lease, cause = false, th.rec.Lease, errLost
		switch {
		case th.status().Terminal() || th.Due.IsZero() || th.Due.After(now):
			return nil, nil
		case th.rec.Deadline != 0 && th.rec.Deadline <= now.UnixMilli():
			expired, cause = true, errDeadline
			return th.fail(now, timeout()), nil
		case th.rec.RetryAt != 0:
			th.rec.RetryAt = 0
			th.Ready = true
			return &change{}, nil
		case th.hasOwnID():
			th.rec.Attempt-- // the agent goes on with it: that we are gone is no attempt of its
		case th.rec.Attempt >= s.cfg.MaxAttempts:
			expired = true
			return th.fail(now, attemptsExhausted(th.rec.Attempt)), nil
		}
		expired = true
		return th.requeue(now, time.Time{}, "the process that worked on it is gone"), nil
	})
	switch {
	case !expired || err != nil:
	case !th.Ended.IsZero():
		s.callOff(th, lease, cause)
	case w != nil:
		w.cancel(errLost)
	}
	return err
}

// hasOwnID tells whether the agent has the task on a server of its own.
func (th *thread) hasOwnID() bool { return th.rec.Binding.ID != "" && th.rec.Binding.ID != th.ID }

// prune forgets what has been kept long enough.
func (s *Service) prune(ctx context.Context) {
	s.forgetAgents()
	const batch = 500
	now := s.now()
	ended := time.Time{} // nothing is older than that
	if s.cfg.Retention > 0 {
		ended = now.Add(-s.cfg.Retention)
	}
	for ctx.Err() == nil {
		n, err := s.store.Prune(ctx, now, ended, batch)
		if err != nil {
			s.logFailure(err, "pruning", "")
			return
		}
		if n < batch {
			return
		}
	}
}

// settleChat ends a chat's turn whose process is gone, and closes a chat that
// has been silent too long.
func (s *Service) settleChat(ctx context.Context, t store.Thread) error {
	closed := false
	th, err := s.editFrom(ctx, t, false, func(th *thread) (*change, error) {
		closed = false
		now := s.now()
		if !th.Ended.IsZero() || th.Due.IsZero() || th.Due.After(now) {
			return nil, nil
		}
		ch := &change{}
		if th.rec.Lease != "" {
			if th.rec.LeaseEnd > now.UnixMilli() {
				return nil, nil
			}
			why := arc.Errorf(arc.CodeAgentTimeout, "the agent's answer was cut off").
				With("reason", "interrupted").With("retryable", true)
			if th.Ready {
				why = nobodyCame()
			}
			th.endTurn(ch, now, s.cfg.ChatIdle, why.With("chatId", th.chatID()))
			return ch, nil
		}
		closed = true
		s.closeChat(th, ch, now, "idle")
		return ch, nil
	})
	if err == nil && closed {
		s.endElsewhere(th, "idle")
	}
	return err
}

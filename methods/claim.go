package methods

import (
	"context"
	"errors"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// All replicas see the same queues. So that they do not fight for every task, who made
// it ready takes it first; the others help when it has waited for helpAfter, each a
// little later than the next, up to helpSpread.
const (
	helpAfter  = 250 * time.Millisecond
	helpSpread = 50 * time.Millisecond
)

// made knows what this process made ready lately. Nobody looks for what is older than
// helpAfter: anybody may take that.
type made struct {
	mu         sync.Mutex // guards what follows
	young, old map[string]struct{}
	since      time.Time // when young was begun
}

// maxMadeReady is how many threads a generation holds. Those beyond are taken as if
// another replica had made them ready.
const maxMadeReady = 1 << 14

func (m *made) turn(now time.Time) {
	if age := now.Sub(m.since); age < 2*helpAfter && m.young != nil {
		return
	} else if m.old = m.young; age >= 4*helpAfter {
		m.old = nil
	}
	m.young, m.since = make(map[string]struct{}), now
}

func (m *made) add(id string, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.turn(now); len(m.young) < maxMadeReady {
		m.young[id] = struct{}{}
	}
}

func (m *made) has(id string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, young := m.young[id]
	_, old := m.old[id]
	return young || old
}

// owners is of how many owners the ready tasks are compared at once.
const owners = 32

// claim claims as many ready tasks as there is room for. It reports whether there may
// be more to claim now, and, else, whether nothing is left in the queue.
func (s *Service) claim(ctx context.Context, a *agent) (more, clear bool) {
	room := a.room()
	if room <= 0 || ctx.Err() != nil {
		return false, false
	}
	each := room
	if !s.alone() && !a.atHand() { // the others' shares are among them
		_, of := s.replicas.place()
		each *= min(of, 4)
	}
	q := store.ReadyQuery{Agent: a.id, After: a.share.after, Owners: owners, Each: min(each, 64)}
	ready, err := s.store.Ready(ctx, q)
	if err != nil {
		s.logFailure(err, "reading an agent's queue", a.id)
		return false, false
	}
	all := !cut(ready, q)
	ready, turns := s.claimTurns(ctx, a, ready)
	chosen := a.share.choose(ready, room, s.standing(a, ready))
	lost, failed := s.claimAll(ctx, a, chosen)
	more = len(chosen) > 0 && (len(chosen) < room && !all || lost) && turns && !failed
	return more, len(chosen) == len(ready) && all && turns && !failed
}

// mineFirst is by how much the tasks of the others' shares stand behind those of one's
// own: replicas that help each other with a long queue each begin with another part of
// it.
const mineFirst = time.Second

// standing tells how an agent's ready threads stand to this replica.
func (s *Service) standing(a *agent, ready []store.Thread) standing {
	if s.alone() || a.atHand() {
		return func(*store.Thread) (int64, bool) { return 0, true }
	}
	left := s.leave(a, ready)
	place, of := s.replicas.place()
	return func(t *store.Thread) (int64, bool) {
		if _, foreign := left[t.ID]; foreign {
			return 0, false
		}
		h := fnv.New32a()
		_, _ = h.Write([]byte(t.ID)) // never fails
		if h.Sum32()%uint32(of) == uint32(place) {
			return 0, true
		}
		return mineFirst.Milliseconds(), true
	}
}

// leave gives those of the ready threads that another replica takes first, with the
// time when they were first left to it, and has the queue looked at again when they
// have waited long enough.
func (s *Service) leave(a *agent, ready []store.Thread) map[string]time.Time {
	var left map[string]time.Time
	now, before := s.now(), a.left
	wait := helpAfter
	for i := range ready {
		t := &ready[i]
		since, seen := before[t.ID]
		if !seen {
			since = now
		}
		// A thread that is changed all the time is never old, but is seen again.
		rest := helpAfter - max(now.Sub(t.Updated), now.Sub(since))
		if rest <= 0 || s.made.has(t.ID) {
			continue
		}
		if left == nil {
			left = make(map[string]time.Time)
		}
		left[t.ID] = since
		wait = min(wait, rest)
	}
	if a.left = left; left != nil {
		s.lookLater(a, wait)
	}
	return left
}

// lookLater has the agent's queue looked at after a while, and a little more.
func (s *Service) lookLater(a *agent, wait time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.later {
		return
	}
	a.later = true
	time.AfterFunc(wait+rand.N(helpSpread), func() {
		a.mu.Lock()
		a.later = false
		a.mu.Unlock()
		s.look(a)
	})
}

// alone tells that no other replica is known to be there.
func (s *Service) alone() bool { return !s.shared() || s.replicas.alone() }

// readyElsewhere says that another replica made a task of an agent ready.
func (s *Service) readyElsewhere(id string) {
	switch a, ok := s.agent(id); {
	case !ok || a.Runner == nil:
	case a.atHand():
		s.look(a)
	case a.room() >= 0:
		s.lookLater(a, helpAfter)
	}
}

// claimAll claims tasks and has them worked on. It reports whether others were faster
// with some, so that there is room for more, and whether the queue has to be left alone
// for a while.
func (s *Service) claimAll(ctx context.Context, a *agent, chosen []store.Thread) (someLost, hasFailed bool) {
	var claims sync.WaitGroup
	var lost, failed atomic.Bool
	for i := range chosen {
		w := s.occupy(a, chosen[i].ID)
		if w == nil {
			failed.Store(true)
			break
		}
		claims.Add(1)
		go func() {
			th, err := s.start(ctx, w, chosen[i])
			switch {
			case errors.Is(err, errNotReady):
				lost.Store(true)
				s.log.Debug().Str("task", w.id).Str("agent", a.id).Msg("another was faster to claim a task")
			case err != nil:
				failed.Store(true)
				s.logFailure(err, "claiming a task", a.id)
			}
			if err != nil { // the place is free before anybody looks for one
				w.release()
				<-a.slots
				claims.Done()
				return
			}
			claims.Done()
			s.attend(w, th)
		}()
	}
	claims.Wait()
	return lost.Load(), failed.Load()
}

// occupy takes one of the agent's places for work on a task; nil if there is none, or
// the service takes no more work.
func (s *Service) occupy(a *agent, task string) *work {
	select {
	case a.slots <- struct{}{}:
	default:
		return nil
	}
	w := s.newWork(task, a)
	if w.begin() != nil {
		w.cancel(errDraining)
		<-a.slots
		return nil
	}
	return w
}

// vacate gives the place back of work that was never begun.
func (s *Service) vacate(w *work) {
	w.release()
	<-w.agent.slots
	s.freed(w.agent)
}

// attend works on a claimed task and gives the agent's place back.
func (s *Service) attend(w *work, th *thread) {
	defer func() {
		<-w.agent.slots
		s.freed(w.agent)
	}()
	s.runTask(w, th)
}

// freed has the agent's queue looked at, now that there is room, if anything is known
// to wait there.
func (s *Service) freed(a *agent) {
	a.mu.Lock()
	clear := a.clear
	a.mu.Unlock()
	if !clear {
		s.look(a)
	}
}

// seize claims a task that is about to be made: the change that makes it puts it under
// our lease too, which is one change less, and nobody else tries to. It gives nil where
// the task has to take its turn in the queue: something waits there, or there is no
// room, or only the agent knows how much.
func (s *Service) seize(th *thread, a *agent, ch *change) *work {
	if a.Runner == nil || a.Room != nil && a.Room() <= cap(a.slots) {
		return nil
	}
	s.mu.Lock()
	open := s.dispatching != nil
	s.mu.Unlock()
	a.mu.Lock()
	clear := a.clear
	a.mu.Unlock()
	if !open || !clear {
		return nil
	}
	w := s.occupy(a, th.ID)
	if w == nil {
		return nil
	}
	ch.and(th.take(w, th.Created))
	w.history = ch.items
	return w
}

// cut tells whether there may be more ready threads than a query gave.
func cut(ready []store.Thread, q store.ReadyQuery) bool {
	found, same := 0, 0 // owners, and threads of the last one
	for i := range ready {
		if i == 0 || ready[i].Owner != ready[i-1].Owner {
			found, same = found+1, 0
		}
		if same++; same == q.Each {
			return true
		}
	}
	return found == q.Owners
}

var errNotReady = errors.New("the task is not ready")

// start claims a task that was found in the queue.
func (s *Service) start(ctx context.Context, w *work, t store.Thread) (*thread, error) {
	return s.editFrom(ctx, t, false, func(th *thread) (*change, error) {
		if !th.Ready || th.Kind != store.Task || th.status().Terminal() {
			return nil, errNotReady
		}
		return th.take(w, s.now()), nil
	})
}

// take puts a ready task under the lease of the work, and makes it WORKING if the
// agent is in this process. One elsewhere has to be reached first.
func (th *thread) take(w *work, now time.Time) *change {
	th.Ready = false
	th.rec.Lease, th.rec.LeaseEnd, th.rec.Step = w.lease, now.Add(w.s.cfg.Lease).UnixMilli(), 0
	th.rec.Noted = nil // the runner is given them with the history
	if th.rec.Attempt++; th.rec.Attempt > 1 && th.rec.Away == 0 {
		th.rec.Progress = nil // that was the attempt before
	}
	ch := &change{}
	if w.agent.atHand() {
		th.rec.Binding.ID, th.rec.Binding.Told = th.ID, th.rec.Inputs
		th.begin(ch, now)
	} else if !w.agent.Elsewhere {
		th.begin(ch, now)
	}
	return ch
}

// begin makes a task WORKING that was not yet begun.
func (th *thread) begin(ch *change, now time.Time) {
	if th.status() != arc.TaskSubmitted {
		return
	}
	th.Status = string(arc.TaskWorking)
	ch.event(now, arc.TaskStartedEvent, arc.EventData{
		Status: th.Status, Message: "the agent has started", StartedAt: arc.At(now),
	})
	ch.event(now, arc.StatusChangeEvent, arc.EventData{
		Status: th.Status, Message: "status is now WORKING",
		PreviousStatus: string(arc.TaskSubmitted), ChangedAt: arc.At(now),
	})
}

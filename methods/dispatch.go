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

// lookAgain is how often the queues are looked at without a hint: hints may get
// lost.
const lookAgain = time.Second

// Wake says that an agent may take tasks that it did not take before: it came, or
// has room again.
func (s *Service) Wake(agent string) {
	if a, ok := s.agent(agent); ok {
		s.look(a)
	}
}

// look has the agent's queue looked at by a goroutine, which ends when there is
// nothing more to claim: an agent at rest costs none.
func (s *Service) look(a *agent) {
	if a.Runner == nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.again = true; a.looking {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dispatching == nil || s.closed {
		return
	}
	a.looking = true
	ctx := s.dispatching
	s.looks.Go(func() { s.dispatch(ctx, a) })
}

// dispatch claims an agent's ready tasks while it has room, and runs them.
func (s *Service) dispatch(ctx context.Context, a *agent) {
	for {
		a.mu.Lock()
		a.looking = a.again && ctx.Err() == nil
		a.again = false
		looking := a.looking
		a.mu.Unlock()
		if !looking {
			return
		}
		for s.claim(ctx, a) {
		}
	}
}

// owners is of how many owners the ready tasks are compared at once.
const owners = 32

// claim claims as many ready tasks as there is room for and reports whether there
// may be more to claim now.
func (s *Service) claim(ctx context.Context, a *agent) bool {
	room := a.room()
	if room <= 0 || ctx.Err() != nil {
		return false
	}
	q := store.ReadyQuery{Agent: a.id, After: a.share.after, Owners: owners, Each: min(room, 64)}
	ready, err := s.store.Ready(ctx, q)
	if err != nil {
		s.logFailure(err, "reading an agent's queue", a.id)
		return false
	}
	chosen := a.share.choose(ready, room)
	var claims sync.WaitGroup
	var failed atomic.Bool
	for _, t := range chosen {
		w := s.newWork(t.ID, a)
		if w.begin() != nil {
			w.cancel(errDraining)
			failed.Store(true)
			break
		}
		a.slots <- struct{}{}
		claims.Add(1)
		go func() {
			th, err := s.start(ctx, w)
			if err != nil && !errors.Is(err, errNotReady) {
				failed.Store(true) // so the queue is left alone for a while
				s.logFailure(err, "claiming a task", a.id)
			}
			claims.Done()
			if err != nil {
				w.release()
				<-a.slots
				return
			}
			defer func() {
				<-a.slots
				s.look(a)
			}()
			s.runTask(w, th)
		}()
	}
	claims.Wait()
	return len(chosen) < room && cut(ready, q) && !failed.Load()
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

// start claims a task: the commit that puts it under our lease, and makes it
// WORKING if the agent is in this process. One elsewhere has to be reached first.
func (s *Service) start(ctx context.Context, w *work) (*thread, error) {
	return s.edit(ctx, w.id, func(th *thread) (*change, error) {
		if !th.Ready || th.status().Terminal() {
			return nil, errNotReady
		}
		now := s.now()
		th.Ready = false
		th.rec.Lease, th.rec.LeaseEnd = w.lease, now.Add(s.cfg.Lease).UnixMilli()
		th.rec.Noted = nil // the runner is given them with the history
		if th.rec.Attempt++; th.rec.Attempt > 1 && th.rec.Away == 0 {
			th.rec.Progress = nil // that was the attempt before
		}
		ch := &change{}
		if w.agent.AtHand != nil && w.agent.AtHand() {
			th.rec.Binding.ID, th.rec.Binding.Told = th.ID, th.rec.Inputs
			th.begin(ch, now)
		} else if !w.agent.Elsewhere {
			th.begin(ch, now)
		}
		return ch, nil
	})
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

// share divides an agent's room among the owners of its tasks. Each claimed task
// puts its owner back by [shareStep] against the others, as if its next tasks were
// that much younger: within one priority the owners take turns, urgency and age
// still count between them, and nobody waits for ever.
type share struct {
	after string           // the owner with which the last look ended; "": it saw all
	round int              // of looks, from the first owner to the last
	taken map[string]turns // that the owners had
}

// turns are how many an owner had, and in which round it was last seen to wait.
type turns struct{ n, round int }

// shareStep is by how much an owner stands back for each task that it had before
// the others: the lead of one priority over the next.
const shareStep = 5 * time.Minute

// choose takes up to room of the ready threads, whose owners stand together, best
// first.
func (sh *share) choose(ready []store.Thread, room int) []store.Thread {
	var queues [][]store.Thread
	for from := 0; from < len(ready); {
		to := from + 1
		for to < len(ready) && ready[to].Owner == ready[from].Owner {
			to++
		}
		queues = append(queues, ready[from:to])
		from = to
	}
	sh.settle(queues)
	sh.after = ""
	if len(queues) == owners {
		sh.after = queues[owners-1][0].Owner
	}
	var chosen []store.Thread
	for len(chosen) < room && len(queues) > 0 {
		best := 0
		for i := range queues {
			if sh.rank(&queues[i][0]) < sh.rank(&queues[best][0]) {
				best = i
			}
		}
		t := queues[best][0]
		chosen = append(chosen, t)
		had := sh.taken[t.Owner]
		sh.taken[t.Owner] = turns{had.n + 1, had.round}
		if queues[best] = queues[best][1:]; len(queues[best]) == 0 {
			queues = slices.Delete(queues, best, best+1)
		}
	}
	return chosen
}

func (sh *share) rank(t *store.Thread) int64 {
	return t.Rank + int64(sh.taken[t.Owner].n)*shareStep.Milliseconds()
}

// settle counts whoever is new as the one who had fewest turns, and forgets those who
// wait for nothing: who is not among the owners when they are all, or in a whole round
// if they are too many for one look.
func (sh *share) settle(queues [][]store.Thread) {
	if sh.taken == nil {
		sh.taken = make(map[string]turns)
	}
	least := -1
	for _, q := range queues {
		if had, ok := sh.taken[q[0].Owner]; ok && (least < 0 || had.n < least) {
			least = had.n
		}
	}
	for _, q := range queues {
		had, ok := sh.taken[q[0].Owner]
		if !ok {
			had.n = max(least, 0)
		}
		sh.taken[q[0].Owner] = turns{had.n, sh.round}
	}
	oldest := sh.round - 1
	switch n := len(queues); {
	case n < owners:
		oldest = sh.round
	case queues[n-1][0].Owner > sh.after:
		return // the round goes on
	}
	sh.round++
	maps.DeleteFunc(sh.taken, func(_ string, had turns) bool { return had.round < oldest })
}

// lookAll looks at the queues of all agents that have ready tasks. Those of agents
// that are away for too long end.
func (s *Service) lookAll(ctx context.Context) {
	const page = 1000
	away := map[string]time.Time{}
	for after := ""; ; {
		ids, err := s.store.ReadyAgents(ctx, after, page)
		if err != nil {
			s.logFailure(err, "looking for waiting tasks", "")
			return
		}
		for _, id := range ids {
			if a, ok := s.agent(id); ok && a.room() >= 0 {
				s.look(a)
				continue
			}
			away[id] = s.absence(id)
			if away[id].IsZero() { // since some time after the look before
				away[id] = s.now().Add(-lookAgain)
			}
		}
		if len(ids) < page {
			break
		}
		after = ids[page-1]
	}
	s.absentMu.Lock()
	s.absent = away
	s.absentMu.Unlock()
	for id, since := range away {
		if s.now().Sub(since) >= s.cfg.Patience {
			s.giveUpOn(ctx, id)
		}
	}
}

// absence tells since when an agent with waiting tasks is away; zero: it is not,
// or nobody has looked yet.
func (s *Service) absence(agent string) time.Time {
	s.absentMu.Lock()
	defer s.absentMu.Unlock()
	return s.absent[agent]
}

// giveUpOn ends the tasks that have waited too long for an agent that is away.
func (s *Service) giveUpOn(ctx context.Context, agent string) {
	for after := ""; ; {
		ready, err := s.store.Ready(ctx, store.ReadyQuery{Agent: agent, After: after, Owners: owners, Each: 100})
		if err != nil {
			s.logFailure(err, "reading an agent's queue", agent)
			return
		}
		ended := 0
		for _, t := range ready {
			_, err := s.edit(ctx, t.ID, func(th *thread) (*change, error) {
				now := s.now()
				if !th.Ready || now.Sub(th.Updated) < s.cfg.Patience {
					return nil, nil
				}
				ended++
				return th.unreachable(now, "agent_away"), nil
			})
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				s.logFailure(err, "ending a task whose agent is away", agent)
				return
			}
		}
		if ended == 0 || ctx.Err() != nil { // the next look goes on
			return
		}
		after = ready[len(ready)-1].Owner
	}
}

// unreachable ends a task whose agent was waited for in vain: as the agent has
// said, if it has.
func (th *thread) unreachable(now time.Time, reason string) *change {
	if th.rec.Notice != nil {
		return th.endNoticed(now)
	}
	return th.fail(now, &arc.TaskError{
		Code: arc.CodeAgentUnreachable, Reason: reason,
		Message: "the agent could not be reached in the time that a task waits for it",
	})
}

// stopDispatch lets no new look begin and waits for those that are under way.
func (s *Service) stopDispatch() {
	s.mu.Lock()
	s.dispatching = nil
	s.mu.Unlock()
	s.looks.Wait()
}

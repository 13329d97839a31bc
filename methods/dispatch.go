package methods

import (
	"context"
	"errors"
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
	a.clear = false
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
		more, clear := true, false
		for more {
			more, clear = s.claim(ctx, a)
		}
		a.mu.Lock()
		a.clear = clear && !a.again
		a.mu.Unlock()
	}
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
			if a, ok := s.agent(id); ok && !a.away() {
				s.look(a) // of one that only another replica reaches this claims nothing
				s.lookForTurns(ctx, a)
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
			gone := 0
			_, err := s.editFrom(ctx, t, false, func(th *thread) (*change, error) {
				now := s.now()
				if gone = 0; !th.Ready || now.Sub(th.Updated) < s.cfg.Patience {
					return nil, nil
				}
				gone = 1
				if th.Kind == store.Chat {
					return th.giveUpChat(now, s.cfg.ChatIdle), nil
				}
				return th.unreachable(now, "agent_away"), nil
			})
			ended += gone
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

package methods

import (
	"context"
	"sync"
	"time"

	"github.com/arcd-io/arcd/store"
)

// follows are the turns of chats that callers of this process read in the stored log,
// because another replica runs them. That one must know: it ends a turn that nobody
// reads.
type follows struct {
	mu     sync.Mutex     // guards counts
	counts map[string]int // readers, by thread
}

// followEvery is how often the replica that runs a turn is told that it is read.
const followEvery = time.Second

// follow says that somebody reads a thread's turn in the log, from now until leave is
// called.
func (s *Service) followTurn(id string) (leave func()) {
	f := &s.follows
	f.mu.Lock()
	if f.counts == nil {
		f.counts = make(map[string]int)
	}
	f.counts[id]++
	f.mu.Unlock()
	s.store.Tell(store.Hint{Thread: id, Follow: true})
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.counts[id]--; f.counts[id] <= 0 {
			delete(f.counts, id)
		}
	}
}

// tellFollows says it again of all.
func (s *Service) tellFollows(context.Context) {
	f := &s.follows
	f.mu.Lock()
	ids := make([]string, 0, len(f.counts))
	for id := range f.counts {
		ids = append(ids, id)
	}
	f.mu.Unlock()
	for _, id := range ids {
		s.store.Tell(store.Hint{Thread: id, Follow: true})
	}
}

// heldFor is how long a turn goes on since somebody elsewhere was last heard to read
// it: one word may get lost.
func (s *Service) heldFor() time.Duration { return s.cfg.TurnGrace + followEvery }

// answers tells whether the store answers right now. Hints come the same way.
func (s *Service) answers(id string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), followEvery)
	defer cancel()
	_, err := s.store.Heads(ctx, []string{id})
	return err == nil
}

// followed keeps a turn going that runs here, if one does, for a reader elsewhere.
func (s *Service) followed(id string) {
	if w := s.work(id); w != nil && w.tail != nil {
		w.tail.hold(s.heldFor())
	}
}

// hinted takes what other replicas say of turns that are read, and of themselves.
func (s *Service) hinted(h store.Hint) {
	if h.Follow {
		s.followed(h.Thread)
	}
	if h.Registry && h.Elsewhere {
		poke(s.replicas.look)
	}
}

// storeTime is how long what a stream has told may take until it is in the store.
const storeTime = 2 * time.Second

// upTo waits until what a reader has seen of a running turn is stored: pieces reach
// the readers at the replica that runs it first.
func (s *Service) upTo(ctx context.Context, th *thread, seq int64) (*thread, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	waiter := s.hub.join(th.ID)
	defer waiter.leave()
	for th.Seq < seq && th.rec.Lease != "" {
		waiter.read(th.Seq)
		if s.await(ctx, waiter.wake, 0) == stopped {
			return th, nil
		}
		now, err := s.read(context.WithoutCancel(ctx), th.ID)
		if err != nil {
			return nil, err
		}
		th = now
	}
	return th, nil
}

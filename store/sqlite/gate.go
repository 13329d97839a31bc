package sqlite

import (
	"sync"
	"sync/atomic"

	"github.com/arcd-io/arcd/store"
)

// gate lets calls in while the store works, and lets Close wait for those that
// are in.
type gate struct {
	mu     sync.RWMutex // held for reading by every call that is in
	closed atomic.Bool  // set under mu
	// fatal is set once, when a transaction may have got lost: what is in the
	// file is unknown then, so nothing is acknowledged from there on.
	fatal atomic.Pointer[error]
}

// enter lets a call in. Unless it gives an error, leave must follow.
func (g *gate) enter() error {
	g.mu.RLock()
	if err := g.check(); err != nil {
		g.mu.RUnlock()
		return err
	}
	return nil
}

func (g *gate) leave() { g.mu.RUnlock() }

// check tells whether the store works.
func (g *gate) check() error {
	if g.closed.Load() {
		return store.ErrClosed
	}
	return g.broken()
}

// broken gives the fatal error, if there was one.
func (g *gate) broken() error {
	if err := g.fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// shut lets nobody in any more and waits for those that are. Only the first
// call gives true.
func (g *gate) shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed.CompareAndSwap(false, true)
}

package engine

import (
	"sync"
	"sync/atomic"

	"github.com/arcd-io/arcd/store"
)

// Gate lets calls in while the store works, and lets Close wait for those that
// are in.
type Gate struct {
	mu     sync.RWMutex // held for reading by every call that is in
	closed atomic.Bool  // set under mu
	// Fatal is set once, when a transaction may have got lost: what is in the
	// file is unknown then, so nothing is acknowledged from there on.
	Fatal atomic.Pointer[error]
}

// Enter lets a call in. Unless it gives an error, Leave must follow.
func (g *Gate) Enter() error {
	g.mu.RLock()
	if err := g.Check(); err != nil {
		g.mu.RUnlock()
		return err
	}
	return nil
}

// Leave lets it out again.
func (g *Gate) Leave() { g.mu.RUnlock() }

// Check tells whether the store works.
func (g *Gate) Check() error {
	if g.closed.Load() {
		return store.ErrClosed
	}
	return g.Broken()
}

// Broken gives the Fatal error, if there was one.
func (g *Gate) Broken() error {
	if err := g.Fatal.Load(); err != nil {
		return *err
	}
	return nil
}

// Shut lets nobody in any more and waits for those that are. Only the first
// call gives true.
func (g *Gate) Shut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.closed.CompareAndSwap(false, true)
}

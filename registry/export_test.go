package registry

import (
	"context"
	"time"
)

// Shown to the tests of this package only: the steps of Run, so that a test decides when
// a replica looks, listens and writes.

// LookNow reads what was written until now.
func (r *Registry) LookNow(ctx context.Context) error { return r.look(ctx) }

// Hear reads what other replicas heard since then.
func (r *Registry) Hear(ctx context.Context, since time.Time) error { return r.hear(ctx, since) }

// Flush writes what was said.
func (r *Registry) Flush(ctx context.Context) { r.flush(ctx) }

// Sweep looks for silence.
func (r *Registry) Sweep(ctx context.Context) { r.sweep(ctx) }

// Pending counts the observations that wait to be written.
func (r *Registry) Pending() (n int) {
	r.agents.mu.RLock()
	defer r.agents.mu.RUnlock()
	for _, a := range r.agents.byID {
		n += len(a.pending)
	}
	return n
}

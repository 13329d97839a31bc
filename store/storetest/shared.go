package storetest

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Shared is a store that several processes may have open at once: each is a replica.
type Shared interface {
	store.Store
	store.Registry
}

// OpenShared opens the store that lives in dir, or makes it; it may be open already,
// and is then opened once more. An open that fails ends the test.
type OpenShared func(t testing.TB, dir string) Shared

// RunShared runs the suite of what replicas of one store see of each other, for
// engines that can be shared. Each part has a store of its own that is open twice;
// RunShared closes both.
func RunShared(t *testing.T, open OpenShared) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, a, b Shared)
	}{
		{"changes", testChanges},
		{"changes that are gone", testChangesGone},
		{"changes while all write", testChangesRace},
		{"hints of the registry", testRegistryHint},
		{"hints of threads", testThreadHints},
		{"what a replica remembers", testStale},
	} {
		t.Run(part.name, func(t *testing.T) {
			dir := t.TempDir()
			a, b := open(t, dir), open(t, dir)
			t.Cleanup(func() { closeStore(t, a); closeStore(t, b) })
			part.test(t, a, b)
		})
	}
	t.Run("threads, two replicas in turn", func(t *testing.T) { runSharedThreads(t, open) })
	t.Run("registry, two replicas in turn", func(t *testing.T) {
		RunRegistry(t, func(t testing.TB, dir string) Registry { return &turns{a: open(t, dir), b: open(t, dir)} })
	})
}

// testRegistryHint: a replica hears of what another has changed. A hint may get lost,
// and those of the first moments do; so there are many.
func testRegistryHint(t *testing.T, a, b Shared) {
	heard := make(chan struct{})
	var once atomic.Bool
	stop := b.Watch(func(h store.Hint) {
		if h.Registry && h.Elsewhere && once.CompareAndSwap(false, true) {
			close(heard)
		}
	})
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for {
		check(t, a.SetMark(ctx, store.Mark{Kind: "k", Value: "v"}))
		select {
		case <-heard:
			return
		case <-ctx.Done():
			t.Fatal("no hint has come")
		case <-again.C:
		}
	}
}

// turns is a registry whose calls go to two replicas in turn: what one has done, the
// next call finds at the other.
type turns struct {
	a, b  Shared
	calls atomic.Int64
}

func (r *turns) next() Shared {
	if r.calls.Add(1)%2 == 0 {
		return r.a
	}
	return r.b
}

func (r *turns) Close() error { return errors.Join(r.a.Close(), r.b.Close()) }

func (r *turns) PutAgent(ctx context.Context, a store.Agent) (store.Agent, error) {
	return r.next().PutAgent(ctx, a)
}

func (r *turns) DeleteAgent(ctx context.Context, id string, rev int64) error {
	return r.next().DeleteAgent(ctx, id, rev)
}

func (r *turns) Agents(ctx context.Context, after string, limit int) ([]store.Agent, error) {
	return r.next().Agents(ctx, after, limit)
}

func (r *turns) Beat(ctx context.Context, beats []store.Beat) error { return r.next().Beat(ctx, beats) }

func (r *turns) Beats(ctx context.Context, since time.Time) ([]store.Beat, error) {
	return r.next().Beats(ctx, since)
}

func (r *turns) SearchAgents(ctx context.Context, q store.Search) ([]store.Hit, error) {
	return r.next().SearchAgents(ctx, q)
}

func (r *turns) Mark(ctx context.Context, m store.Mark, now time.Time) (*store.Mark, error) {
	return r.next().Mark(ctx, m, now)
}

func (r *turns) SetMark(ctx context.Context, m store.Mark) error { return r.next().SetMark(ctx, m) }

func (r *turns) Unmark(ctx context.Context, kind, value string) (bool, error) {
	return r.next().Unmark(ctx, kind, value)
}

func (r *turns) Marks(ctx context.Context, kind string, now time.Time) ([]store.Mark, error) {
	return r.next().Marks(ctx, kind, now)
}

func (r *turns) FindMark(ctx context.Context, kind, value string, now time.Time) (*store.Mark, error) {
	return r.next().FindMark(ctx, kind, value, now)
}

func (r *turns) Revoke(ctx context.Context, x store.Revocation) error { return r.next().Revoke(ctx, x) }

func (r *turns) Revocations(ctx context.Context, now time.Time) ([]store.Revocation, error) {
	return r.next().Revocations(ctx, now)
}

func (r *turns) Changes(ctx context.Context, since int64) (store.Changes, error) {
	return r.next().Changes(ctx, since)
}

func (r *turns) AppendAudit(ctx context.Context, entries []store.AuditEntry) error {
	return r.next().AppendAudit(ctx, entries)
}

func (r *turns) Audit(ctx context.Context, q store.AuditQuery) ([]store.AuditEntry, error) {
	return r.next().Audit(ctx, q)
}

func (r *turns) PruneRegistry(ctx context.Context, now, auditBefore time.Time, limit int) (int, error) {
	return r.next().PruneRegistry(ctx, now, auditBefore, limit)
}

package methods_test

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// view is a store as one of several replicas has it: what the others do it hears as
// from elsewhere, or not at all, and what it knows of a thread may be old.
type view struct {
	store.Store
	bus   *bus
	deaf  atomic.Bool // hints of the others get lost
	away  atomic.Bool // the store cannot be reached
	blind atomic.Bool // items cannot be read
	lost  atomic.Bool // what is committed is committed, but the word of it gets lost

	commits, reads atomic.Int64 // that went to the store; Ready and its like are reads too
	conflicts      atomic.Int64
	heads          atomic.Int64 // looks for news

	mu    sync.Mutex // guards what follows
	known map[string]store.Thread
	heard []func(store.Hint)
}

// bus tells the views of one store who has done what.
type bus struct {
	store.Store
	views []*view

	mu     sync.Mutex // held during a commit
	author *view
}

// shareSQLite makes views of one SQLite database, which by itself knows no replicas.
func shareSQLite(t testing.TB, n int) []*view {
	t.Helper()
	db, err := sqlite.Open(context.Background(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	if err != nil {
		t.Fatal(err)
	}
	b := &bus{Store: db}
	for range n {
		b.views = append(b.views, &view{Store: db, bus: b, known: map[string]store.Thread{}})
	}
	stop := db.Watch(func(h store.Hint) {
		for _, v := range b.views {
			v.tell(h, b.author)
		}
	})
	t.Cleanup(func() {
		stop()
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return b.views
}

// sharePostgres opens one PostgreSQL database n times.
func sharePostgres(t testing.TB, n int) []*view {
	t.Helper()
	url := pgtest.Database(t)
	var views []*view
	for range n {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: url, Unsafe: true})
		if err != nil {
			t.Fatal(err)
		}
		views = append(views, &view{Store: db})
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Errorf("closing the store: %v", err)
			}
		})
	}
	return views
}

// replicas runs a service on each view.
func replicas(t testing.TB, views []*view, cfg methods.Config) []*world {
	t.Helper()
	var worlds []*world
	for _, v := range views {
		worlds = append(worlds, replica(t, v, cfg))
	}
	return worlds
}

func replica(t testing.TB, v *view, cfg methods.Config) *world {
	t.Helper()
	cfg.Store = v
	cfg.Marks = v.Store.(methods.Marks)
	s, err := methods.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	w := &world{t: t, db: v, s: s}
	w.stop = sync.OnceFunc(func() {
		stop()
		running.Wait()
	})
	t.Cleanup(w.stop)
	return w
}

func (v *view) tell(h store.Hint, author *view) {
	if v != author && author != nil {
		if v.deaf.Load() {
			return
		}
		h.Elsewhere = true
	}
	v.mu.Lock()
	heard := slices.Clone(v.heard)
	v.mu.Unlock()
	for _, f := range heard {
		f(h)
	}
}

func (v *view) Watch(f func(store.Hint)) (stop func()) {
	if v.bus == nil {
		return v.Store.Watch(func(h store.Hint) {
			if !h.Elsewhere || !v.deaf.Load() {
				f(h)
			}
		})
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.heard = append(v.heard, f)
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		v.heard = nil
	}
}

func (v *view) Tell(h store.Hint) {
	if v.bus == nil {
		v.Store.Tell(h)
		return
	}
	for _, other := range v.bus.views {
		other.tell(h, v)
	}
}

// unavailable is the error of a store that is away.
func (v *view) unavailable() error {
	if v.away.Load() {
		return fmt.Errorf("%w: connection refused", store.ErrUnavailable)
	}
	return nil
}

func (v *view) Commit(ctx context.Context, c store.Change) (store.Thread, error) {
	if err := v.unavailable(); err != nil {
		return store.Thread{}, err
	}
	v.commits.Add(1)
	if v.bus != nil {
		v.bus.mu.Lock()
		defer v.bus.mu.Unlock()
		v.bus.author = v
		defer func() { v.bus.author = nil }()
	}
	t, err := v.Store.Commit(ctx, c)
	if err != nil {
		if v.forget(c.Thread.ID); err == store.ErrConflict {
			v.conflicts.Add(1)
		}
		return t, err
	}
	if v.lost.Load() {
		v.forget(t.ID)
		return store.Thread{}, fmt.Errorf("%w: connection reset", store.ErrUnavailable)
	}
	v.remember(t)
	return t, nil
}

func (v *view) remember(t store.Thread) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.known != nil {
		v.known[t.ID] = t
	}
}

func (v *view) forget(id string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.known, id)
}

func (v *view) Recent(ctx context.Context, id string) (store.Thread, bool, error) {
	if v.bus == nil {
		if err := v.unavailable(); err != nil {
			return store.Thread{}, false, err
		}
		t, current, err := v.Store.Recent(ctx, id)
		if current {
			v.reads.Add(1)
		}
		return t, current, err
	}
	v.mu.Lock()
	t, ok := v.known[id]
	v.mu.Unlock()
	if ok {
		return t, false, nil
	}
	t, err := v.Thread(ctx, id)
	return t, true, err
}

func (v *view) Thread(ctx context.Context, id string) (store.Thread, error) {
	if err := v.unavailable(); err != nil {
		return store.Thread{}, err
	}
	v.reads.Add(1)
	t, err := v.Store.Thread(ctx, id)
	if err == nil {
		v.remember(t)
	}
	return t, err
}

func (v *view) Items(ctx context.Context, t store.Thread) ([]store.Item, error) {
	if err := v.unavailable(); err != nil {
		return nil, err
	}
	if v.blind.Load() {
		return nil, fmt.Errorf("%w: connection reset", store.ErrUnavailable)
	}
	v.reads.Add(1)
	return v.Store.Items(ctx, t)
}

func (v *view) Events(ctx context.Context, id string, after int64, limit int) ([]arc.Event, bool, error) {
	if err := v.unavailable(); err != nil {
		return nil, false, err
	}
	v.reads.Add(1)
	return v.Store.Events(ctx, id, after, limit)
}

func (v *view) Ready(ctx context.Context, q store.ReadyQuery) ([]store.Thread, error) {
	if err := v.unavailable(); err != nil {
		return nil, err
	}
	v.reads.Add(1)
	return v.Store.Ready(ctx, q)
}

func (v *view) ReadyAgents(ctx context.Context, after string, limit int) ([]string, error) {
	if err := v.unavailable(); err != nil {
		return nil, err
	}
	return v.Store.ReadyAgents(ctx, after, limit)
}

func (v *view) Due(ctx context.Context, now time.Time, limit int) ([]store.Thread, error) {
	if err := v.unavailable(); err != nil {
		return nil, err
	}
	return v.Store.Due(ctx, now, limit)
}

func (v *view) Heads(ctx context.Context, ids []string) (map[string]int64, error) {
	if err := v.unavailable(); err != nil {
		return nil, err
	}
	v.heads.Add(1)
	return v.Store.Heads(ctx, ids)
}

func (v *view) Replay(ctx context.Context, owner, name string, now time.Time) (*store.ReplayError, error) {
	if err := v.unavailable(); err != nil {
		return nil, err
	}
	v.reads.Add(1)
	return v.Store.Replay(ctx, owner, name, now)
}

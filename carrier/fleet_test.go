package carrier_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
)

func TestMain(m *testing.M) { pgtest.Main(m) }

// fleet is several replicas: services on one store, each with the agents that dialled
// in to it.
type fleet struct {
	t        *testing.T
	replicas []*member
	lost     *atomic.Bool   // hints do not arrive
	dead     []*atomic.Bool //  of each replica: it can write nothing any more (one file only)
}

// member is one replica.
type member struct {
	*world
	sockets *carrier.Sockets
	stop    func() // ends it as if its process had died: what it has in hand stays so
}

// keeper is what a replica has of the store.
type keeper interface {
	store.Store
	methods.Marks
}

// sharedStore opens a store for n replicas. lost has their hints dropped.
type sharedStore func(t *testing.T, n int, lost *atomic.Bool) []keeper

// engines are the stores that the tests of this file run on.
var engines = map[string]sharedStore{"sqlite": oneFile, "postgres": oneDatabase}

// eachEngine runs a test of three replicas on each store.
func eachEngine(t *testing.T, cfg methods.Config, test func(t *testing.T, f *fleet)) {
	for name, open := range engines {
		t.Run(name, func(t *testing.T) { test(t, launch(t, open, 3, cfg)) })
	}
}

// oneFile gives each replica a view of one engine that a process has for itself.
func oneFile(t *testing.T, n int, lost *atomic.Bool) []keeper {
	db, err := sqlite.Open(context.Background(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	views := &viewers{lost: lost}
	keepers := make([]keeper, n)
	for i := range keepers {
		v := &view{Engine: db, others: views, watchers: map[*func(store.Hint)]bool{}}
		views.all = append(views.all, v)
		keepers[i] = v
	}
	return keepers
}

var errDead = errors.New("the process is dead")

// view is an engine as one replica sees it: what the others did is from elsewhere.
type view struct {
	*sqlite.Engine
	others *viewers
	dead   atomic.Bool

	mu       sync.Mutex // guards watchers
	watchers map[*func(store.Hint)]bool
}

type viewers struct {
	all  []*view
	lost *atomic.Bool
}

func (v *view) Watch(f func(store.Hint)) (stop func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.watchers[&f] = true
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watchers, &f)
	}
}

func (v *view) Tell(h store.Hint) {
	for _, to := range v.others.all {
		if h.Elsewhere = to != v; h.Elsewhere && v.others.lost.Load() {
			continue
		}
		to.mu.Lock()
		for f := range to.watchers {
			(*f)(h)
		}
		to.mu.Unlock()
	}
}

func (v *view) Commit(ctx context.Context, c store.Change) (store.Thread, error) {
	if v.dead.Load() {
		return store.Thread{}, errDead
	}
	t, err := v.Engine.Commit(ctx, c)
	if err == nil {
		h := store.Hint{Thread: t.ID, Seq: t.Seq}
		if t.Ready {
			h.Ready = t.Agent
		}
		v.Tell(h)
	}
	return t, err
}

func (v *view) SetMark(ctx context.Context, m store.Mark) error {
	if v.dead.Load() {
		return errDead
	}
	err := v.Engine.SetMark(ctx, m)
	v.Tell(store.Hint{Registry: true})
	return err
}

func (v *view) Unmark(ctx context.Context, kind, value string) (bool, error) {
	was, err := v.Engine.Unmark(ctx, kind, value)
	v.Tell(store.Hint{Registry: true})
	return was, err
}

// oneDatabase opens one database n times, as n processes do.
func oneDatabase(t *testing.T, n int, lost *atomic.Bool) []keeper {
	url := pgtest.Database(t)
	keepers := make([]keeper, n)
	for i := range keepers {
		cfg := postgres.Config{URL: url, Unsafe: true}
		if lost.Load() {
			cfg.Hints = deaf{}
		}
		db, err := postgres.Open(context.Background(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := db.Close(); err != nil {
				t.Errorf("closing the store: %v", err)
			}
		})
		keepers[i] = db
	}
	return keepers
}

// deaf loses all hints.
type deaf struct{}

func (deaf) Publish(...store.Hint) {}

func (deaf) Subscribe(ctx context.Context, _ func(store.Hint)) error {
	<-ctx.Done()
	return nil
}

// launch starts n replicas, and waits until each has looked for the others.
func launch(t *testing.T, open sharedStore, n int, cfg methods.Config) *fleet {
	return launchWith(t, open, n, false, func(int) methods.Config { return cfg })
}

func launchWith(t *testing.T, open sharedStore, n int, lost bool, config func(i int) methods.Config) *fleet {
	t.Helper()
	f := &fleet{t: t, lost: new(atomic.Bool)}
	f.lost.Store(lost)
	for i, db := range open(t, n, f.lost) {
		if v, ok := db.(*view); ok {
			f.dead = append(f.dead, &v.dead)
		}
		sockets := &carrier.Sockets{}
		cfg := config(i)
		cfg.Store, cfg.Marks, cfg.Presence, cfg.Now = db, db, sockets, db.Now
		cfg.Remote = carrier.NewDirectory(carrier.Config{Sockets: sockets, Log: zerolog.Nop()})
		s, err := methods.New(cfg)
		if err != nil {
			t.Fatal(err)
		}
		sockets.Wake = s.Wake
		ctx, stop := context.WithCancel(context.Background())
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			if err := s.Run(ctx); err != nil {
				t.Errorf("Run: %v", err)
			}
		}()
		m := &member{world: &world{t: t, s: s}, sockets: sockets, stop: sync.OnceFunc(func() {
			stop()
			<-stopped
		})}
		t.Cleanup(m.stop)
		f.replicas = append(f.replicas, m)
	}
	f.until("the replicas know each other", func() bool {
		for _, m := range f.replicas {
			if m.s.Ready(context.Background()) != nil {
				return false
			}
		}
		return true
	})
	return f
}

// until waits for something to become true that nobody tells.
func (f *fleet) until(what string, is func() bool) {
	f.t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !is() {
		select {
		case <-look.C:
		case <-deadline.C:
			f.t.Fatalf("in vain: %s", what)
		}
	}
}

// dialIn connects the agent far to a replica and waits until all know it.
func (f *fleet) dialIn(i int, p *peer) *carrier.Post {
	f.t.Helper()
	post := f.replicas[i].sockets.Join(p)
	post.Serve([]string{"far"}, 16)
	f.until("all know the agent", func() bool {
		for _, m := range f.replicas {
			if card, ok := m.s.Agent("far"); !ok || card.Status != arc.AgentActive {
				return false
			}
		}
		return true
	})
	return post
}

// events follows a task's events through a replica until f says enough.
func (m *member) until(id string, status arc.TaskStatus) arc.Task {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c := &rpc.Call{
		Request:   arc.Request{Dialect: arc.JSONRPC, Method: "task.events", Params: json.RawMessage(`{"taskId":"` + id + `"}`)},
		Principal: caller(), Streaming: true,
	}
	result, err := m.s.Mux().Dispatch(ctx, c)
	if err != nil {
		m.t.Fatalf("task.events: %v", err)
	}
	for _, err := range result.(rpc.Stream) {
		if err != nil {
			m.t.Fatalf("task.events: %v", err)
		}
		if task := m.info(id); task.Status == status {
			return task
		} else if task.Status.Terminal() {
			break
		}
	}
	task := m.info(id)
	if task.Status != status {
		m.t.Fatalf("the task is %s, want %s: %+v", task.Status, status, task)
	}
	return task
}

// count tells how often a method was called.
func (p *peer) count(method string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.Method == method {
			n++
		}
	}
	return n
}

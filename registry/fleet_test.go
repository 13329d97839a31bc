package registry_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
)

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// replica is one of several registries on one database: a world without a folder.
type replica struct {
	*world
	shared *postgres.Engine
	issuer *auth.Issuer
	late   *lateStore
	url    string
	change func(*registry.Config)
}

// another opens one more registry on the same database.
func (x *replica) another() *replica {
	x.t.Helper()
	y := openReplica(x.t, x.url, x.clock, x.change)
	if x.t.Failed() {
		x.t.FailNow()
	}
	return y
}

// lateStore is what a replica sees of the store. With deaf set it learns nothing of what
// others changed.
type lateStore struct {
	store.Registry
	mu      sync.Mutex // guards what follows
	deaf    bool
	whole   bool             // answers once that all has to be read again
	setMark func(store.Mark) // before each SetMark; nil: nothing
	beat    func()           // before each Beat; nil: nothing
}

func (l *lateStore) Changes(ctx context.Context, since int64) (store.Changes, error) {
	l.mu.Lock()
	deaf, whole := l.deaf, l.whole
	l.whole = false
	l.mu.Unlock()
	if deaf {
		return store.Changes{Version: since}, nil
	}
	c, err := l.Registry.Changes(ctx, since)
	if whole {
		c = store.Changes{Version: c.Version, Whole: true}
	}
	return c, err
}

func (l *lateStore) setWhole() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.whole = true
}

func (l *lateStore) SetMark(ctx context.Context, m store.Mark) error {
	l.mu.Lock()
	f := l.setMark
	l.mu.Unlock()
	if f != nil {
		f(m)
	}
	return l.Registry.SetMark(ctx, m)
}

func (l *lateStore) Beat(ctx context.Context, beats []store.Beat) error {
	l.mu.Lock()
	f := l.beat
	l.mu.Unlock()
	if f != nil {
		f()
	}
	return l.Registry.Beat(ctx, beats)
}

func (l *lateStore) setDeaf(deaf bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.deaf = deaf
}

// fleet opens several registries on one new database, all at once. They share a clock,
// and have the administrators and keys of start.
func fleet(t *testing.T, n int, change func(*registry.Config)) []*replica {
	t.Helper()
	url, shared := pgtest.Database(t), &clock{at: time.Now()}
	all := make([]*replica, n)
	var wg sync.WaitGroup
	for i := range all {
		wg.Go(func() { all[i] = openReplica(t, url, shared, change) })
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	return all
}

// openReplica opens one registry. What fails it reports; it is called on goroutines of
// a test.
func openReplica(t *testing.T, url string, c *clock, change func(*registry.Config)) *replica {
	w := &world{t: t, clock: c, closed: true}
	x := &replica{world: w, url: url, change: change}
	fail := func(err error) bool {
		if err != nil {
			t.Errorf("opening a replica: %v", err)
		}
		return err != nil
	}
	var err error
	x.shared, err = postgres.Open(context.Background(), postgres.Config{URL: url, Unsafe: true, Now: c.Now})
	if fail(err) {
		return x
	}
	t.Cleanup(func() { _ = x.shared.Close() })
	x.issuer, err = auth.OpenIssuer(auth.IssuerConfig{
		URL: issuerURL, Keys: registry.NewSigningKeys(x.shared, c.Now), LongestTTL: time.Hour, Now: c.Now,
		Clients: map[string]auth.Client{
			"root":   {SecretHash: cheapHash("pass word"), Admin: true},
			"second": {SecretHash: cheapHash("pass word"), Admin: true},
		},
	})
	if fail(err) {
		return x
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: []string{"key-1", "key-2", "key-3", "bound=key-b"}, Now: c.Now})
	if fail(err) {
		return x
	}
	x.late = &lateStore{Registry: x.shared}
	cfg := registry.Config{Store: x.late, Issuer: x.issuer, Keys: keys, Now: c.Now, PublicURL: issuerURL}
	if change != nil {
		change(&cfg)
	}
	if w.reg, err = registry.Open(context.Background(), cfg); fail(err) {
		return x
	}
	providers, err := auth.NewProviders(auth.Config{
		Providers: []auth.Provider{x.issuer.Provider()}, Revoked: w.reg.Revoked, Now: c.Now,
	})
	if fail(err) {
		return x
	}
	w.arcOnly, w.all = providers, providers.For(auth.IssuerName, registry.AudienceValidate, registry.AudienceRegister)
	return x
}

// look has a replica see what was written until now.
func (x *replica) look() {
	x.t.Helper()
	if err := x.reg.LookNow(x.t.Context()); err != nil {
		x.t.Fatalf("looking: %v", err)
	}
}

// follow runs a replica until the test ends. Hints reach it as in a server.
func (x *replica) follow() {
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	unwatch := x.shared.Watch(func(h store.Hint) {
		if h.Registry && h.Elsewhere {
			x.reg.Look()
		}
	})
	go func() { done <- x.reg.Run(ctx) }()
	x.t.Cleanup(func() {
		stop()
		unwatch()
		if err := <-done; err != nil {
			x.t.Errorf("Run: %v", err)
		}
	})
}

// audited counts the entries of an event. It is asked at one replica, when the others
// have written theirs.
func audited(t *testing.T, all []*replica, event string) (n int) {
	t.Helper()
	for _, x := range all {
		page, err := x.reg.Audit(t.Context(), registry.AuditFilter{Event: event, Outcome: "ok"})
		if err != nil {
			t.Fatal(err)
		}
		n = len(page.Entries)
	}
	return n
}

// together calls f for each replica at once.
func together(all []*replica, f func(n int, x *replica)) {
	var wg sync.WaitGroup
	for n, x := range all {
		wg.Go(func() { f(n, x) })
	}
	wg.Wait()
}

// join registers an agent, or tells why not; it is called on goroutines of a test.
func (x *replica) join(id, key string) (*arc.Registered, error) {
	got, err := x.reg.RequestTempToken(x.t.Context(), nobody(), arc.TempTokenParams{AgentID: id, AgentType: "testing", AgentKey: key})
	if err != nil {
		return nil, err
	}
	p, err := x.all.Validate(x.t.Context(), got.TempToken)
	if err != nil {
		return nil, err
	}
	return x.reg.Register(x.t.Context(), &registry.Caller{Principal: p, Remote: "127.0.0.1"}, form(id))
}

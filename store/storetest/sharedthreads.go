package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// runSharedThreads runs the suite of [store.Store] with calls that go to two replicas
// in turn, and what one sees of the other's threads.
func runSharedThreads(t *testing.T, open OpenShared) {
	Run(t, func(t testing.TB, dir string) store.Store {
		return &threadTurns{turns{a: open(t, dir), b: open(t, dir)}}
	})
}

// testThreadHints: a replica hears of what another has committed, and of what it is
// told.
func testThreadHints(t *testing.T, a, b Shared) {
	hints := make(chan store.Hint, 1000)
	stop := b.Watch(func(h store.Hint) {
		select {
		case hints <- h:
		default:
		}
	})
	defer stop()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	x := commit(t, a, store.Change{Thread: thread("a"), Events: events(1)})
	check(t, a.Subscribe(ctx, store.Subscription{ID: "s", Thread: "a", Owner: "owner", Created: at(1), Cursor: 1}, at(2)))
	want := map[string]func(h store.Hint) bool{
		"events":   func(h store.Hint) bool { return h.Thread == "a" && h.Seq >= 2 },
		"ready":    func(h store.Hint) bool { return h.Ready == "agent" },
		"a wake":   func(h store.Hint) bool { return h.Thread == "a" && h.Wake },
		"a follow": func(h store.Hint) bool { return h.Thread == "b" && h.Follow },
	}
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for len(want) > 0 {
		select {
		case h := <-hints:
			if !h.Elsewhere {
				t.Fatalf("%+v is said to be of this replica", h)
			}
			for name, fits := range want {
				if fits(h) {
					delete(want, name)
				}
			}
		case <-again.C: // hints get lost, those of the first moments do
			x.Ready = !x.Ready
			x = commit(t, a, store.Change{Thread: x, Events: events(1), Wake: true})
			_, err := a.ClaimSubscriptions(ctx, at(1e9), at(1e9), "l", 1)
			check(t, err)
			check(t, a.SettleSubscription(ctx, store.Subscription{ID: "s", Lease: "l", Cursor: x.Seq}, at(2), nil))
			a.Tell(store.Hint{Thread: "b", Follow: true})
		case <-ctx.Done():
			t.Fatalf("no hint of %v", want)
		}
	}
}

// testStale: what a replica remembers may be old; a change that is based on it is
// refused, and then it looks.
func testStale(t *testing.T, a, b Shared) {
	x := commit(t, a, store.Change{Thread: thread("a")})
	same(t, "the thread at the other replica", read(t, b, "a"), x)
	x.Status = "WORKING"
	x = commit(t, a, store.Change{Thread: x, Events: events(2)})
	old, current, err := b.Recent(t.Context(), "a")
	check(t, err)
	if !current && old.Rev == x.Rev {
		t.Log("the replica looked by itself")
	}
	if current && old.Rev != x.Rev {
		t.Fatalf("Recent gives rev %d and says that it is current; it is %d", old.Rev, x.Rev)
	}
	if old.Rev != x.Rev {
		if _, err := b.Commit(t.Context(), store.Change{Thread: old}); !errors.Is(err, store.ErrConflict) {
			t.Fatalf("Commit based on an old thread: %v, want ErrConflict", err)
		}
	}
	fresh, _, err := b.Recent(t.Context(), "a")
	check(t, err)
	same(t, "the thread after a conflict", fresh, x)
	same(t, "events at the other replica", len(allEvents(t, b, "a")), 2)
	heads, err := b.Heads(t.Context(), []string{"a", "none"})
	check(t, err)
	same(t, "Heads", heads, map[string]int64{"a": 2})
}

// threadTurns is a store whose calls go to two replicas in turn.
type threadTurns struct{ turns }

func (r *threadTurns) Commit(ctx context.Context, c store.Change) (store.Thread, error) {
	return r.next().Commit(ctx, c)
}

func (r *threadTurns) Thread(ctx context.Context, id string) (store.Thread, error) {
	return r.next().Thread(ctx, id)
}

func (r *threadTurns) Recent(ctx context.Context, id string) (store.Thread, bool, error) {
	return r.next().Recent(ctx, id)
}

func (r *threadTurns) Heads(ctx context.Context, ids []string) (map[string]int64, error) {
	return r.next().Heads(ctx, ids)
}

func (r *threadTurns) Threads(ctx context.Context, q store.Query) ([]store.Thread, error) {
	return r.next().Threads(ctx, q)
}

func (r *threadTurns) Items(ctx context.Context, t store.Thread) ([]store.Item, error) {
	return r.next().Items(ctx, t)
}

func (r *threadTurns) Events(ctx context.Context, id string, after int64, limit int) ([]arc.Event, bool, error) {
	return r.next().Events(ctx, id, after, limit)
}

func (r *threadTurns) Ready(ctx context.Context, q store.ReadyQuery) ([]store.Thread, error) {
	return r.next().Ready(ctx, q)
}

func (r *threadTurns) ReadyAgents(ctx context.Context, after string, limit int) ([]string, error) {
	return r.next().ReadyAgents(ctx, after, limit)
}

func (r *threadTurns) Children(ctx context.Context, parent, after string, limit int) ([]store.Thread, error) {
	return r.next().Children(ctx, parent, after, limit)
}

func (r *threadTurns) Due(ctx context.Context, now time.Time, limit int) ([]store.Thread, error) {
	return r.next().Due(ctx, now, limit)
}

func (r *threadTurns) Replay(ctx context.Context, owner, name string, now time.Time) (*store.ReplayError, error) {
	return r.next().Replay(ctx, owner, name, now)
}

func (r *threadTurns) Prune(ctx context.Context, now, before time.Time, limit int) (int, error) {
	return r.next().Prune(ctx, now, before, limit)
}

func (r *threadTurns) Subscribe(ctx context.Context, s store.Subscription, now time.Time) error {
	return r.next().Subscribe(ctx, s, now)
}

func (r *threadTurns) Subscription(ctx context.Context, id string) (store.Subscription, error) {
	return r.next().Subscription(ctx, id)
}

func (r *threadTurns) Subscriptions(ctx context.Context, q store.SubscriptionQuery) ([]store.Subscription, error) {
	return r.next().Subscriptions(ctx, q)
}

func (r *threadTurns) ClaimSubscriptions(ctx context.Context, now, until time.Time, lease string, limit int) ([]store.Subscription, error) {
	return r.next().ClaimSubscriptions(ctx, now, until, lease, limit)
}

func (r *threadTurns) SettleSubscription(ctx context.Context, s store.Subscription, now time.Time, made []store.Delivery) error {
	return r.next().SettleSubscription(ctx, s, now, made)
}

func (r *threadTurns) EditSubscription(ctx context.Context, was, s store.Subscription) error {
	return r.next().EditSubscription(ctx, was, s)
}

func (r *threadTurns) AddDeliveries(ctx context.Context, made []store.Delivery) error {
	return r.next().AddDeliveries(ctx, made)
}

func (r *threadTurns) Deliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	return r.next().Deliveries(ctx, q)
}

func (r *threadTurns) Delivery(ctx context.Context, id string) (store.Delivery, error) {
	return r.next().Delivery(ctx, id)
}

// Watch hears of each change once: where it was made.
func (r *threadTurns) Watch(f func(store.Hint)) (stop func()) {
	here := func(h store.Hint) {
		if !h.Elsewhere {
			f(h)
		}
	}
	a, b := r.a.Watch(here), r.b.Watch(here)
	return func() { a(); b() }
}

func (r *threadTurns) Tell(h store.Hint) { r.next().Tell(h) }
func (r *threadTurns) Now() time.Time    { return r.a.Now() }

func (r *threadTurns) Check(ctx context.Context) error { return r.next().Check(ctx) }

// Package storetest proves that an engine keeps the contract of package store.
// Every engine runs the same suite, so that callers need not know which one
// they have.
package storetest

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// Open opens the store that lives in dir, or makes it. After Close, the same
// dir must give the same content again. An open that fails ends the test.
type Open func(t testing.TB, dir string) store.Store

// Run runs the suite of [store.Store]; that of [store.Registry] is
// [RunRegistry]. Each part has a store of its own, which Run closes.
func Run(t *testing.T, open Open) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, s store.Store)
	}{
		{"create and read", testCreate},
		{"update", testUpdate},
		{"id in use", testExists},
		{"conflict", testConflict},
		{"a refused change leaves no trace", testAtomic},
		{"one thread, 32 writers", testRace},
		{"many threads, 32 writers", testParallel},
		{"events from every cursor", testEvents},
		{"items keep their order", testItems},
		{"large bodies", testLarge},
		{"keys", testKeys},
		{"one key, 32 callers", testKeyRace},
		{"keys that are taken over", testReplace},
		{"ready", testReady},
		{"ready threads of many owners", testReadyOwners},
		{"owners take turns", testReadyTurns},
		{"agents with ready threads", testReadyAgents},
		{"children", testChildren},
		{"due", testDue},
		{"filters", testFilters},
		{"pages while rows arrive", testPages},
		{"subscribe", testSubscribe},
		{"pages of subscriptions", testSubscriptionPages},
		{"wake", testWake},
		{"wake during a lease", testWakeDuringLease},
		{"claims", testClaim},
		{"claims of 16", testClaimRace},
		{"a lease that passes on", testLease},
		{"edits", testEdit},
		{"edits of 16", testEditRace},
		{"delivering while events arrive", testDelivering},
		{"deliveries", testDeliveries},
		{"deliveries without a subscription", testStrayDeliveries},
		{"prune", testPrune},
		{"prune with subscriptions", testPruneSubscriptions},
		{"prune with very many deliveries", testPruneMany},
		{"watch", testWatch},
		{"context", testContext},
		{"check", testCheck},
	} {
		t.Run(part.name, func(t *testing.T) {
			s := open(t, t.TempDir())
			t.Cleanup(func() { closeStore(t, s) })
			part.test(t, s)
		})
	}
	t.Run("restart", func(t *testing.T) { testRestart(t, open) })
	t.Run("close", func(t *testing.T) { testClose(t, open) })
	t.Run("model", func(t *testing.T) { testModel(t, open) })
	t.Run("model of subscriptions", func(t *testing.T) { testSubscriptionModel(t, open) })
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// start is the time at which the tests' threads begin: not far from the real
// one, since an engine tells by its own clock whether a key has expired.
var start = time.Now().UTC().Truncate(time.Millisecond)

// at gives a time some milliseconds after start.
func at(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }

// never is when keys expire that should not.
var never = start.Add(1000 * time.Hour)

// thread gives a new task with all fields of its own.
func thread(id string) store.Thread {
	return store.Thread{
		ID: id, Kind: store.Task, Owner: "owner", From: "caller", Agent: "agent", Trace: "trace-" + id,
		Parent: "parent of all",
		Status: "SUBMITTED", Priority: arc.PriorityHigh, Created: at(1), Updated: at(2),
		Ready: true, Rank: 7, Due: at(3), Body: []byte("body of " + id),
	}
}

// events gives n events whose data name them.
func events(n int) []arc.Event {
	evs := make([]arc.Event, n)
	for i := range evs {
		evs[i] = arc.Event{Type: arc.StatusChangeEvent, At: arc.At(at(i)), Data: json.RawMessage(fmt.Sprintf(`{"i":%d}`, i))}
	}
	return evs
}

func item(kind store.ItemKind, body string) store.Item {
	return store.Item{Kind: kind, Body: []byte(body)}
}

// commit makes a change that must be accepted.
func commit(t testing.TB, s store.Store, c store.Change) store.Thread {
	t.Helper()
	got, err := s.Commit(t.Context(), c)
	if err != nil {
		t.Fatalf("Commit of %s at rev %d: %v", c.Thread.ID, c.Thread.Rev, err)
	}
	return got
}

// read gives what must be there.
func read(t testing.TB, s store.Store, id string) store.Thread {
	t.Helper()
	got, err := s.Thread(t.Context(), id)
	if err != nil {
		t.Fatalf("Thread(%s): %v", id, err)
	}
	return got
}

// allEvents reads a log from the beginning in pieces.
func allEvents(t testing.TB, s store.Store, id string) []arc.Event {
	t.Helper()
	var all []arc.Event
	for {
		var after int64
		if len(all) > 0 {
			after = all[len(all)-1].Seq
		}
		evs, gap, err := s.Events(t.Context(), id, after, 7)
		if err != nil || gap {
			t.Fatalf("Events(%s, %d): gap %v, %v", id, after, gap, err)
		}
		if len(evs) == 0 {
			return all
		}
		all = append(all, evs...)
	}
}

func allItems(t testing.TB, s store.Store, id string) []store.Item {
	t.Helper()
	items, err := s.Items(t.Context(), read(t, s, id))
	if err != nil {
		t.Fatalf("Items(%s): %v", id, err)
	}
	return items
}

// same compares; nil and empty are alike.
func same[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("%s (-want +got):\n%s", what, d)
	}
}

func ids(ts []store.Thread) []string {
	var out []string
	for i := range ts {
		out = append(out, ts[i].ID)
	}
	return out
}

// must wraps a call that lists threads and must not fail.
func must(t testing.TB) func([]store.Thread, error) []store.Thread {
	return func(ts []store.Thread, err error) []store.Thread {
		t.Helper()
		if err != nil {
			t.Fatalf("listing: %v", err)
		}
		return ts
	}
}

func canceled(t testing.TB) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

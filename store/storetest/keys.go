package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/store"
)

func testKeys(t *testing.T, s store.Store) {
	key := store.Key{Owner: "o", Name: "k", Hash: []byte("hash"), Reply: []byte("reply"), Expires: never}
	commit(t, s, store.Change{Thread: thread("a"), Key: &key})
	want := &store.ReplayError{Thread: "a", Hash: []byte("hash"), Reply: []byte("reply")}

	for name, c := range map[string]store.Change{
		"another thread": {Thread: thread("b"), Key: &key},
		"the same one":   {Thread: thread("a"), Key: &key}, // the key comes before ErrExists
		"an update":      {Thread: func() store.Thread { x := thread("a"); x.Rev = 9; return x }(), Key: &key},
	} {
		_, err := s.Commit(t.Context(), c)
		got, ok := errors.AsType[*store.ReplayError](err)
		if !ok {
			t.Fatalf("%s: %v, want a ReplayError", name, err)
		}
		same(t, name, got, want)
	}
	for _, owner := range []string{"o", "p"} {
		for _, name := range []string{"k", "K"} {
			got, err := s.Replay(t.Context(), owner, name, start)
			if err != nil {
				t.Fatal(err)
			}
			if owner == "o" && name == "k" {
				same(t, "Replay", got, want)
			} else if got != nil {
				t.Errorf("Replay(%s, %s) = %v, want nothing", owner, name, got)
			}
		}
	}
	if got, err := s.Replay(t.Context(), "o", "k", never); got != nil || err != nil {
		t.Errorf("Replay at its expiry = %v, %v, want nothing", got, err)
	}
	other := key
	other.Owner = "p"
	commit(t, s, store.Change{Thread: thread("c"), Key: &other})

	old := store.Key{Owner: "o", Name: "old", Expires: start.Add(-1)}
	commit(t, s, store.Change{Thread: thread("d"), Key: &old})
	old.Expires = never
	commit(t, s, store.Change{Thread: thread("e"), Key: &old})
	got, err := s.Replay(t.Context(), "o", "old", start)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "an expired key is used again", got, &store.ReplayError{Thread: "e"})
}

// testKeyRace lets 32 callers make the same change at once.
func testKeyRace(t *testing.T, s store.Store) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var winners []string
	var losers []*store.ReplayError
	for i := range 32 {
		wg.Go(func() {
			id := fmt.Sprint("t-", i)
			_, err := s.Commit(t.Context(), store.Change{
				Thread: thread(id), Events: events(1),
				Key: &store.Key{Owner: "o", Name: "k", Hash: []byte("h"), Reply: []byte(id), Expires: never},
			})
			mu.Lock()
			defer mu.Unlock()
			if replay, ok := errors.AsType[*store.ReplayError](err); ok {
				losers = append(losers, replay)
			} else if err != nil {
				t.Error(err)
			} else {
				winners = append(winners, id)
			}
		})
	}
	wg.Wait()
	if len(winners) != 1 || len(losers) != 31 {
		t.Fatalf("%d changes made and %d refused, want 1 and 31", len(winners), len(losers))
	}
	for _, r := range losers {
		same(t, "what the others got", r, &store.ReplayError{Thread: winners[0], Hash: []byte("h"), Reply: []byte(winners[0])})
	}
	got := ids(must(t)(s.Threads(t.Context(), store.Query{Owner: "owner", Kind: store.Task, Limit: 99})))
	same(t, "threads", got, winners)
}

// testReplace takes keys over from other threads.
func testReplace(t *testing.T, s store.Store) {
	key := func(hash string, replace bool) *store.Key {
		return &store.Key{Owner: "o", Name: "k", Hash: []byte(hash), Expires: never, Replace: replace}
	}
	replay := func(thread, hash string) {
		t.Helper()
		got, err := s.Replay(t.Context(), "o", "k", start)
		check(t, err)
		same(t, "Replay", got, &store.ReplayError{Thread: thread, Hash: []byte(hash)})
	}
	a := commit(t, s, store.Change{Thread: thread("a"), Key: key("1", true)})
	replay("a", "1")
	commit(t, s, store.Change{Thread: thread("b"), Key: key("2", true)})
	replay("b", "2")
	a = commit(t, s, store.Change{Thread: a, Key: key("3", true)})
	replay("a", "3")
	stale := a
	stale.Rev--
	for what, c := range map[string]store.Change{
		"an old revision": {Thread: stale, Key: key("4", true)},
		"an id in use":    {Thread: thread("b"), Key: key("5", true)},
		"without Replace": {Thread: thread("c"), Key: key("6", false)},
	} {
		if _, err := s.Commit(t.Context(), c); err == nil {
			t.Errorf("%s: the change was made", what)
		}
		replay("a", "3")
	}
}

package storetest

import (
	"errors"
	"maps"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/store"
)

func testPrune(t *testing.T, s store.Store) {
	for i, id := range []string{"a", "b", "c", "d"} {
		x := thread(id)
		x.Ended = at(10 * (i + 1))
		commit(t, s, store.Change{
			Thread: x, Events: events(2), Items: []store.Item{item(store.MessageItem, id)},
			Key: &store.Key{Owner: "o", Name: id, Expires: at(10 * (i + 1))},
		})
	}
	commit(t, s, store.Change{Thread: thread("open"), Events: events(1)})
	prune := func(before, limit int) int {
		n, err := s.Prune(t.Context(), at(0), at(before), limit)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	same(t, "before any has ended", prune(10, 9), 0)
	same(t, "up to one", prune(35, 1), 1)
	same(t, "the oldest went first", exists(t, s), []string{"b", "c", "d", "open"})
	same(t, "the rest", prune(35, 9), 2)
	same(t, "left", exists(t, s), []string{"d", "open"})
	same(t, "number of items kept", len(allItems(t, s, "d")), 1)
	same(t, "listed", ids(must(t)(s.Threads(t.Context(), store.Query{Owner: "owner", Kind: store.Task, Limit: 9}))),
		[]string{"open", "d"})
	if _, err := s.Commit(t.Context(), store.Change{Thread: func() store.Thread { x := thread("a"); x.Rev = 1; return x }()}); !errors.Is(err, store.ErrConflict) {
		t.Errorf("update of a pruned thread: %v, want ErrConflict", err)
	}
	again := commit(t, s, store.Change{Thread: thread("a"), Events: events(1)})
	same(t, "a new thread with a pruned id", again.Seq, int64(1))
	same(t, "its items", allItems(t, s, "a"), nil)
	if _, err := s.Prune(t.Context(), at(25), at(0), 9); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"a": false, "b": false, "c": true, "d": true} {
		got, err := s.Replay(t.Context(), "o", name, at(0))
		if err != nil || (got != nil) != want {
			t.Errorf("Replay(%s) after Prune = %v, %v", name, got, err)
		}
	}
}

// exists gives which of the test's threads can be read in all three ways.
func exists(t *testing.T, s store.Store) []string {
	var there []string
	for _, id := range []string{"a", "b", "c", "d", "open"} {
		th, err := s.Thread(t.Context(), id)
		if errors.Is(err, store.ErrNotFound) {
			th = store.Thread{ID: id, Items: 1}
		}
		_, ierr := s.Items(t.Context(), th)
		_, _, eerr := s.Events(t.Context(), id, 0, 1)
		gone := errors.Is(err, store.ErrNotFound)
		if gone != errors.Is(ierr, store.ErrNotFound) || gone != errors.Is(eerr, store.ErrNotFound) {
			t.Fatalf("%s is half there: %v, %v, %v", id, err, ierr, eerr)
		}
		if !gone {
			there = append(there, id)
		}
	}
	return there
}

func testWatch(t *testing.T, s store.Store) {
	hints := make(chan store.Hint, 100)
	stop := s.Watch(func(h store.Hint) { hints <- h })
	var second sync.Once
	woken := make(chan struct{})
	stopSecond := s.Watch(func(store.Hint) { second.Do(func() { close(woken) }) })
	defer stopSecond()

	x := commit(t, s, store.Change{Thread: thread("a"), Events: events(3)})
	same(t, "hint of a creation", <-hints, store.Hint{Thread: "a", Seq: 3, Ready: "agent"})
	<-woken
	x.Ready = false
	x = commit(t, s, store.Change{Thread: x, Events: events(1)})
	same(t, "hint of a claim", <-hints, store.Hint{Thread: "a", Seq: 4})
	x.Ready = true
	x = commit(t, s, store.Change{Thread: x, Events: events(1)})
	same(t, "hint of a return", <-hints, store.Hint{Thread: "a", Seq: 5, Ready: "agent"})
	if _, err := s.Commit(t.Context(), store.Change{Thread: thread("a")}); err == nil {
		t.Fatal("a second creation was accepted")
	}
	stop()
	commit(t, s, store.Change{Thread: x, Events: events(1)})
	same(t, "hints after stop", len(hints), 0)
}

func testContext(t *testing.T, s store.Store) {
	commit(t, s, store.Change{Thread: thread("a")})
	_, err := s.Commit(canceled(t), store.Change{Thread: thread("b")})
	_, rerr := s.Thread(t.Context(), "b")
	if made := rerr == nil; made != (err == nil) {
		t.Errorf("with a context that has ended, Commit gave %v, but the thread reads %v", err, rerr)
	}
}

func testCheck(t *testing.T, s store.Store) {
	for range 3 {
		if err := s.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}

// testRestart looks at everything again after a restart.
func testRestart(t *testing.T, open Open) {
	dir := t.TempDir()
	s := open(t, dir)
	x := commit(t, s, store.Change{
		Thread: thread("a"), Events: events(2), Items: []store.Item{item(store.MessageItem, "m")},
		Key: &store.Key{Owner: "o", Name: "k", Hash: []byte("h"), Expires: never},
	})
	x.Status, x.Updated = "WORKING", at(8)
	x = commit(t, s, store.Change{Thread: x, Events: events(2)})
	log := allEvents(t, s, "a")
	closeStore(t, s)

	s = open(t, dir)
	defer closeStore(t, s)
	same(t, "Events", allEvents(t, s, "a"), log)
	same(t, "Thread", read(t, s, "a"), x)
	same(t, "Items", allItems(t, s, "a"), []store.Item{item(store.MessageItem, "m")})
	same(t, "Ready", ready(t, s, "agent", "", 9, 9), []store.Thread{x})
	r, err := s.Replay(t.Context(), "o", "k", start)
	same(t, "Replay", r, &store.ReplayError{Thread: "a", Hash: []byte("h")})
	if err != nil {
		t.Fatal(err)
	}
	same(t, "the next commit", commit(t, s, store.Change{Thread: x, Events: events(1)}).Seq, int64(5))
	commit(t, s, store.Change{Thread: thread("b"), Events: events(1)})
	same(t, "number of events", len(allEvents(t, s, "a")), 5)
}

// testClose closes while 16 goroutines work: each change is either made and
// acknowledged, or refused with ErrClosed and not made.
func testClose(t *testing.T, open Open) {
	dir := t.TempDir()
	s := open(t, dir)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := make(map[string]int64)
	running := make(chan struct{}, 16)
	for i := range 16 {
		wg.Go(func() {
			x := thread(string(rune('a' + i)))
			for first := true; ; first = false {
				got, err := s.Commit(t.Context(), store.Change{Thread: x, Events: events(1)})
				if first {
					running <- struct{}{}
				}
				if err != nil {
					if !errors.Is(err, store.ErrClosed) {
						t.Errorf("Commit while closing: %v", err)
					}
					return
				}
				x = got
				mu.Lock()
				made[x.ID] = x.Rev
				mu.Unlock()
			}
		})
	}
	for range 16 {
		<-running
	}
	closeStore(t, s)
	wg.Wait()
	closedCalls(t, s)

	s = open(t, dir)
	defer closeStore(t, s)
	for id, rev := range made {
		same(t, "Rev of "+id, read(t, s, id).Rev, rev)
	}
}

// closedCalls expects ErrClosed of every method.
func closedCalls(t *testing.T, s store.Store) {
	ctx := t.Context()
	calls := map[string]error{"Close": s.Close(), "Check": s.Check(ctx)}
	_, calls["Commit"] = s.Commit(ctx, store.Change{Thread: thread("z")})
	_, calls["Thread"] = s.Thread(ctx, "a")
	_, calls["Threads"] = s.Threads(ctx, store.Query{Owner: "owner", Kind: store.Task, Limit: 1})
	_, calls["Items"] = s.Items(ctx, thread("a"))
	_, _, calls["Events"] = s.Events(ctx, "a", 0, 1)
	_, calls["Ready"] = s.Ready(ctx, store.ReadyQuery{Agent: "agent", Owners: 1, Each: 1})
	_, calls["ReadyAgents"] = s.ReadyAgents(ctx, "", 1)
	_, calls["Children"] = s.Children(ctx, "a", "", 1)
	_, calls["Due"] = s.Due(ctx, start, 1)
	_, calls["Replay"] = s.Replay(ctx, "o", "k", start)
	_, calls["Prune"] = s.Prune(ctx, start, start, 1)
	_, _, calls["Recent"] = s.Recent(ctx, "a")
	_, calls["Heads"] = s.Heads(ctx, []string{"a"})
	maps.Copy(calls, closedSubscriptions(ctx, s))
	for name, err := range calls {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
	s.Watch(func(store.Hint) {})()
}

package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

func testCreate(t *testing.T, s store.Store) {
	c := store.Change{
		Thread: thread("a"), Events: events(2),
		Items: []store.Item{item(store.MessageItem, "hello"), item(store.ArtifactItem, "")},
	}
	c.Thread.Created = c.Thread.Created.Add(300 * time.Microsecond).In(time.FixedZone("east", 3600))
	got := commit(t, s, c)
	want := thread("a")
	want.Rev, want.Seq, want.Items = 1, 2, 2
	same(t, "Commit", got, want)
	same(t, "Thread", read(t, s, "a"), want)
	same(t, "Items", allItems(t, s, "a"), c.Items)
	evs := events(2)
	evs[0].Seq, evs[1].Seq = 1, 2
	same(t, "Events", allEvents(t, s, "a"), evs)

	bare := store.Thread{ID: "bare", Kind: store.Chat, Owner: "o", Status: "ACTIVE"}
	commit(t, s, store.Change{Thread: bare})
	bare.Rev = 1
	same(t, "a thread of zero values", read(t, s, "bare"), bare)
	same(t, "its items", allItems(t, s, "bare"), nil)
	same(t, "its events", allEvents(t, s, "bare"), nil)

	for _, id := range []string{"", "A", "a "} {
		if _, err := s.Thread(t.Context(), id); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Thread(%q): %v, want ErrNotFound", id, err)
		}
		if _, err := s.Items(t.Context(), store.Thread{ID: id, Items: 1}); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Items(%q): %v, want ErrNotFound", id, err)
		}
		if _, _, err := s.Events(t.Context(), id, 0, 1); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("Events(%q): %v, want ErrNotFound", id, err)
		}
	}
}

// testUpdate changes one field after the other, then all at once.
func testUpdate(t *testing.T, s store.Store) {
	want := commit(t, s, store.Change{Thread: thread("a"), Events: events(1)})
	steps := []func(*store.Thread){
		func(x *store.Thread) { x.Status, x.Updated = "WORKING", at(10) },
		func(x *store.Thread) { x.Ready, x.Rank = false, 0 },
		func(x *store.Thread) { x.Due = at(99) },
		func(x *store.Thread) { x.Due = time.Time{} },
		func(x *store.Thread) { x.Body = nil },
		func(x *store.Thread) { x.Ended, x.Body = at(50), []byte("end") },
		func(x *store.Thread) { x.Ended = time.Time{} },
		func(x *store.Thread) { x.Rank = -5; x.Ready = true },
		func(x *store.Thread) { x.Parent = "" },
		func(x *store.Thread) {
			*x = store.Thread{ID: x.ID, Rev: x.Rev, Kind: store.Chat, Owner: "other", From: "f", Agent: "b",
				Parent: "p", Status: "PAUSED", Created: at(4), Updated: at(5), Ended: at(6), Rank: 1, Due: at(7), Body: []byte("new")}
		},
	}
	for i, step := range steps {
		step(&want)
		c := store.Change{Thread: want, Events: events(i % 3)}
		if i%2 == 0 {
			c.Items = []store.Item{item(store.MessageItem, fmt.Sprint(i))}
		}
		c.Thread.Seq, c.Thread.Items = 77, 77 // the store's own numbers count
		if i == 0 {
			want.Seq, want.Items = 1, 0
		}
		prev := read(t, s, "a")
		want.Rev, want.Seq, want.Items = prev.Rev+1, prev.Seq+int64(len(c.Events)), prev.Items+len(c.Items)
		same(t, fmt.Sprintf("Commit of step %d", i), commit(t, s, c), want)
		same(t, fmt.Sprintf("Thread after step %d", i), read(t, s, "a"), want)
	}
	got := ids(must(t)(s.Threads(t.Context(), store.Query{Owner: "owner", Kind: store.Task, Limit: 9})))
	same(t, "threads of the owner before", got, nil)
	got = ids(must(t)(s.Threads(t.Context(), store.Query{Owner: "other", Kind: store.Chat, Limit: 9})))
	same(t, "threads of the owner after", got, []string{"a"})
}

func testExists(t *testing.T, s store.Store) {
	first := commit(t, s, store.Change{Thread: thread("a"), Events: events(1)})
	again := thread("a")
	again.Owner = "other"
	if _, err := s.Commit(t.Context(), store.Change{Thread: again, Events: events(3)}); !errors.Is(err, store.ErrExists) {
		t.Fatalf("second creation: %v, want ErrExists", err)
	}
	same(t, "Thread", read(t, s, "a"), first)
	same(t, "number of events", len(allEvents(t, s, "a")), 1)
}

func testConflict(t *testing.T, s store.Store) {
	v1 := commit(t, s, store.Change{Thread: thread("a"), Events: events(1)})
	v2 := commit(t, s, store.Change{Thread: v1, Events: events(1)})
	for name, c := range map[string]store.Change{
		"old revision":     {Thread: v1, Events: events(1)},
		"future revision":  {Thread: func() store.Thread { x := v2; x.Rev++; return x }()},
		"no such thread":   {Thread: func() store.Thread { x := thread("b"); x.Rev = 1; return x }()},
		"another's thread": {Thread: func() store.Thread { x := thread("A"); x.Rev = v2.Rev; return x }()},
	} {
		if _, err := s.Commit(t.Context(), c); !errors.Is(err, store.ErrConflict) {
			t.Errorf("%s: %v, want ErrConflict", name, err)
		}
	}
	same(t, "Thread", read(t, s, "a"), v2)
}

// testAtomic makes changes that must be refused, among others that must not.
func testAtomic(t *testing.T, s store.Store) {
	base := commit(t, s, store.Change{Thread: thread("a"), Key: &store.Key{Owner: "o", Name: "taken", Hash: []byte("h"), Expires: never}})
	refused := func(name string) store.Change {
		c := store.Change{Thread: thread(name), Events: events(2), Items: []store.Item{item(store.MessageItem, "x")}}
		c.Key = &store.Key{Owner: "o", Name: "fresh-" + name, Expires: never}
		return c
	}
	keyed := refused("b")
	keyed.Key.Name = "taken"
	exists := refused("a")
	conflict := refused("a")
	conflict.Thread.Rev = base.Rev + 5
	var wg sync.WaitGroup
	for i := range 30 {
		wg.Go(func() { commit(t, s, store.Change{Thread: thread(fmt.Sprint("good-", i)), Events: events(1)}) })
		wg.Go(func() {
			if _, err := s.Commit(t.Context(), []store.Change{keyed, exists, conflict}[i%3]); err == nil {
				t.Error("a change was made that should have been refused")
			}
		})
	}
	wg.Wait()
	same(t, "Thread a", read(t, s, "a"), base)
	same(t, "events of a", allEvents(t, s, "a"), nil)
	if _, err := s.Thread(t.Context(), "b"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Thread(b): %v, want ErrNotFound", err)
	}
	for _, name := range []string{"fresh-a", "fresh-b"} {
		if r, err := s.Replay(t.Context(), "o", name, start); r != nil || err != nil {
			t.Errorf("Replay(%s) = %v, %v, want nothing", name, r, err)
		}
	}
	for i := range 30 {
		same(t, "Seq of a good one", read(t, s, fmt.Sprint("good-", i)).Seq, int64(1))
	}
}

// testRace lets 32 writers append to one thread by compare-and-set.
func testRace(t *testing.T, s store.Store) {
	const writers, each = 32, 8
	commit(t, s, store.Change{Thread: thread("a")})
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				appendOne(t, s, "a", fmt.Sprintf("%d/%d", w, i))
			}
		})
	}
	wg.Wait()
	got := read(t, s, "a")
	same(t, "Rev", got.Rev, int64(writers*each+1))
	seen := make(map[string]bool)
	for i, e := range allEvents(t, s, "a") {
		same(t, "Seq", e.Seq, int64(i+1))
		seen[string(e.Type)] = true
	}
	same(t, "events of different writers", len(seen), writers*each)
	same(t, "items", len(allItems(t, s, "a")), writers*each)
}

// appendOne tries until its change is made, and reads its own write.
func appendOne(t *testing.T, s store.Store, id, name string) {
	for {
		x, err := s.Thread(t.Context(), id)
		if err != nil {
			t.Error(err)
			return
		}
		got, err := s.Commit(t.Context(), store.Change{
			Thread: x, Events: []arc.Event{{Type: arc.EventType(name)}}, Items: []store.Item{item(store.MessageItem, name)},
		})
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			t.Error(err)
			return
		}
		evs, _, err := s.Events(t.Context(), id, got.Seq-1, 1)
		if err != nil || len(evs) != 1 || string(evs[0].Type) != name {
			t.Errorf("own event %s at %d: %v, %v", name, got.Seq, evs, err)
		}
		return
	}
}

func testParallel(t *testing.T, s store.Store) {
	const writers, each = 32, 10
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			x := thread(fmt.Sprintf("t-%02d", w))
			for i := range each {
				var err error
				if x, err = s.Commit(t.Context(), store.Change{Thread: x, Events: events(2)}); err != nil {
					t.Error(err)
					return
				}
				back, err := s.Thread(t.Context(), x.ID)
				if err != nil || back.Rev != int64(i+1) || back.Seq != int64(2*i+2) {
					t.Errorf("own write: rev %d seq %d, %v", back.Rev, back.Seq, err)
				}
			}
		})
	}
	wg.Wait()
	for w := range writers {
		same(t, "number of events", len(allEvents(t, s, fmt.Sprintf("t-%02d", w))), 2*each)
	}
}

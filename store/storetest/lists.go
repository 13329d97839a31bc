package storetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

func testDue(t *testing.T, s store.Store) {
	for id, due := range map[string]time.Time{"a": at(30), "b": at(10), "c": {}, "d": at(20)} {
		x := thread(id)
		x.Due = due
		commit(t, s, store.Change{Thread: x})
	}
	due := func(ms, limit int) []string { return ids(must(t)(s.Due(t.Context(), at(ms), limit))) }
	same(t, "Due before all", due(9, 9), nil)
	same(t, "Due at the time", due(10, 9), []string{"b"})
	same(t, "Due after all", due(99, 9), []string{"b", "d", "a"})
	same(t, "Due with a limit", due(99, 2), []string{"b", "d"})
	x := read(t, s, "b")
	x.Due = at(50)
	x = commit(t, s, store.Change{Thread: x})
	same(t, "Due after a change", due(40, 9), []string{"d", "a"})
	x.Due = time.Time{}
	commit(t, s, store.Change{Thread: x})
	same(t, "Due after it was cleared", due(99, 9), []string{"d", "a"})
}

// testFilters compares every combination of conditions with a plain loop.
func testFilters(t *testing.T, s store.Store) {
	var all []store.Thread
	for i := range 48 {
		x := thread(fmt.Sprintf("t-%02d", i))
		x.Kind = store.Kind(1 + i%7/6)
		x.Owner = []string{"owner", "other"}[i%5/4]
		x.Agent = []string{"a", "b"}[i%2]
		x.Status = []string{"SUBMITTED", "WORKING", "FAILED"}[i%3]
		x.Trace = []string{"", "x", "y"}[i/4%3]
		x.Created = at(i / 3) // some are equal
		all = append(all, commit(t, s, store.Change{Thread: x}))
	}
	for _, status := range [][]string{nil, {"WORKING"}, {"FAILED", "SUBMITTED", "FAILED"}, {"NONE"}} {
		for _, agent := range []string{"", "a", "b", "c"} {
			for _, trace := range []string{"", "x", "z"} {
				for _, span := range [][2]time.Time{{}, {at(3), {}}, {{}, at(9)}, {at(3), at(9)}} {
					q := store.Query{Owner: "owner", Kind: store.Task, Status: status, Agent: agent, Trace: trace,
						From: span[0], To: span[1], Limit: 5}
					checkPages(t, s, all, q)
				}
			}
		}
	}
}

// checkPages reads all pages of a query and compares them with want.
func checkPages(t *testing.T, s store.Store, all []store.Thread, q store.Query) {
	t.Helper()
	want := choose(all, q)
	var got []store.Thread
	for {
		page, err := s.Threads(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, page...)
		if len(page) < q.Limit {
			break
		}
		q.BeforeTime, q.BeforeID = page[len(page)-1].Created, page[len(page)-1].ID
	}
	same(t, fmt.Sprintf("Threads(%+v)", q), got, want)
}

// testPages pages while others create threads: what was there at the start is
// seen once, and nothing is seen twice.
func testPages(t *testing.T, s store.Store) {
	const before, during = 60, 60
	create := func(i int) {
		x := thread(fmt.Sprintf("t-%03d", i))
		x.Created = at(i)
		if _, err := s.Commit(t.Context(), store.Change{Thread: x}); err != nil {
			t.Error(err)
		}
	}
	for i := range before {
		create(i)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range during {
			create(before + i)
		}
	})
	seen := make(map[string]int)
	q := store.Query{Owner: "owner", Kind: store.Task, Limit: 3}
	for {
		page, err := s.Threads(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range page {
			seen[x.ID]++
			q.BeforeTime, q.BeforeID = x.Created, x.ID
		}
		if len(page) < q.Limit {
			break
		}
	}
	wg.Wait()
	for i := range before {
		if id := fmt.Sprintf("t-%03d", i); seen[id] != 1 {
			t.Errorf("%s was seen %d times", id, seen[id])
		}
	}
	for id, n := range seen {
		if n > 1 {
			t.Errorf("%s was seen %d times", id, n)
		}
	}
}

package storetest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// entries gives n audit entries, a millisecond apart.
func entries(n int) []store.AuditEntry {
	es := make([]store.AuditEntry, n)
	for i := range es {
		es[i] = store.AuditEntry{
			At: at(i), Body: fmt.Append(nil, "entry ", i),
			Event:   []string{"login", "logout", "registered"}[i%3],
			Outcome: []string{"ok", "refused"}[i%2],
			Actor:   []string{"", "ann", "bob"}[i/2%3],
			Agent:   []string{"", "a-1"}[i/3%2],
		}
	}
	return es
}

// audit reads one page.
func audit(t testing.TB, r store.Registry, q store.AuditQuery) []store.AuditEntry {
	t.Helper()
	es, err := r.Audit(t.Context(), q)
	if err != nil {
		t.Fatalf("Audit(%+v): %v", q, err)
	}
	return es
}

// checkAudit compares all pages of a query with a plain loop over all entries,
// which are newest first.
func checkAudit(t testing.TB, r store.Registry, all []store.AuditEntry, q store.AuditQuery) {
	t.Helper()
	var want, got []store.AuditEntry
	for _, e := range all {
		if (q.Event == "" || e.Event == q.Event) && (q.Outcome == "" || e.Outcome == q.Outcome) &&
			(q.Actor == "" || e.Actor == q.Actor) && (q.Agent == "" || e.Agent == q.Agent) &&
			!e.At.Before(q.From) && (q.To.IsZero() || e.At.Before(q.To)) && (q.Before == 0 || e.ID < q.Before) {
			want = append(want, e)
		}
	}
	what := fmt.Sprintf("Audit(%+v)", q)
	for {
		page := audit(t, r, q)
		got = append(got, page...)
		if len(page) < q.Limit {
			break
		}
		q.Before = page[len(page)-1].ID
	}
	same(t, what, got, want)
}

func testAudit(t *testing.T, r store.Registry) {
	same(t, "an empty log", audit(t, r, store.AuditQuery{Limit: 9}), nil)
	check(t, r.AppendAudit(t.Context(), nil))
	es := entries(36)
	check(t, r.AppendAudit(t.Context(), es[:1]))
	check(t, r.AppendAudit(t.Context(), es[1:]))
	all := audit(t, r, store.AuditQuery{Limit: 99})
	if len(all) != len(es) || !slices.IsSortedFunc(all, func(a, b store.AuditEntry) int { return int(b.ID - a.ID) }) {
		t.Fatalf("%d entries of %d, or not newest first", len(all), len(es))
	}
	for i := range es { // numbers rise, but may have holes
		es[i].ID = all[len(all)-1-i].ID
	}
	slices.Reverse(es)
	same(t, "Audit", all, es)
	for _, event := range []string{"", "login", "none"} {
		for _, outcome := range []string{"", "ok"} {
			for _, actor := range []string{"", "ann", "Ann"} {
				for _, agent := range []string{"", "a-1"} {
					checkAudit(t, r, all, store.AuditQuery{Event: event, Outcome: outcome, Actor: actor, Agent: agent, Limit: 4})
					checkAudit(t, r, all, store.AuditQuery{Event: event, Outcome: outcome, Actor: actor, Agent: agent, Limit: 4,
						From: at(7), To: at(23), Before: all[10].ID})
				}
			}
		}
	}
}

// testAuditPages pages while others append: what was there at the start is seen
// once, and nothing else.
func testAuditPages(t *testing.T, r store.Registry) {
	check(t, r.AppendAudit(t.Context(), entries(60)))
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 10 {
				if err := r.AppendAudit(t.Context(), entries(3)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	first := audit(t, r, store.AuditQuery{Limit: 1})[0].ID
	got := 1
	for q := (store.AuditQuery{Limit: 7, Before: first}); ; {
		page := audit(t, r, q)
		got += len(page)
		for _, e := range page {
			if e.ID >= q.Before {
				t.Fatalf("entry %d comes after %d", e.ID, q.Before)
			}
			q.Before = e.ID
		}
		if len(page) < q.Limit {
			break
		}
	}
	wg.Wait()
	all := audit(t, r, store.AuditQuery{Limit: 999})
	same(t, "entries in all", len(all), 60+4*10*3)
	below := slices.IndexFunc(all, func(e store.AuditEntry) bool { return e.ID == first })
	same(t, "entries seen", got, len(all)-below)
	// Those of one call are together and in order.
	slices.Reverse(all)
	for i := 60; i < len(all); i += 3 {
		for k := range 3 {
			same(t, "an entry of a call", string(all[i+k].Body), fmt.Sprint("entry ", k))
		}
	}
}

// testAuditDisorder writes entries whose times are not in the order of writing,
// as concurrent callers and clocks that are put back make them.
func testAuditDisorder(t *testing.T, r store.Registry) {
	var es []store.AuditEntry
	for i, ms := range []int{50, 51, 49, 52, 10, 11, 60, 60, 30, 70, 69, 90, 71, 5, 100, 99} {
		e := entries(i + 1)[i]
		e.At = at(ms)
		es = append(es, e)
		if i%3 == 2 {
			check(t, r.AppendAudit(t.Context(), es[i-2:i+1]))
		}
	}
	check(t, r.AppendAudit(t.Context(), es[15:]))
	all := audit(t, r, store.AuditQuery{Limit: 99})
	for i, e := range all {
		same(t, "time of an entry", e.At, es[len(es)-1-i].At)
	}
	bounds := []time.Time{{}, at(5), at(6), at(11), at(30), at(49), at(50), at(60), at(71), at(90), at(100), at(101)}
	for _, from := range bounds {
		for _, to := range bounds {
			checkAudit(t, r, all, store.AuditQuery{From: from, To: to, Limit: 5})
			checkAudit(t, r, all, store.AuditQuery{From: from, To: to, Event: "login", Limit: 5})
		}
	}
}

func testPruneRegistry(t *testing.T, r store.Registry) {
	for i, name := range []string{"a", "b", "c", "d"} {
		put(t, r, agent(name))
		check(t, r.SetMark(t.Context(), store.Mark{Kind: "k", Value: name, Expires: at(10 * (i + 1))}))
		check(t, r.Revoke(t.Context(), store.Revocation{Kind: "jti", Value: name, Expires: at(10 * (i + 1))}))
	}
	check(t, r.SetMark(t.Context(), store.Mark{Kind: "k", Value: "for ever"}))
	check(t, r.AppendAudit(t.Context(), entries(40)))
	prune := func(now, before int) int {
		n, err := r.PruneRegistry(t.Context(), at(now), at(before), 1000)
		check(t, err)
		return n
	}
	same(t, "nothing is old", prune(9, 0), 0)
	same(t, "a mark and a revocation", prune(10, 0), 2)
	same(t, "two more of both, and entries", prune(30, 25), 4+25)
	same(t, "marks left", marks(t, r, "k", 0), []store.Mark{{Kind: "k", Value: "d", Expires: at(40)}, {Kind: "k", Value: "for ever"}})
	rs, err := r.Revocations(t.Context(), at(0))
	check(t, err)
	same(t, "revocations left", rs, []store.Revocation{{Kind: "jti", Value: "d", Expires: at(40)}})
	left := audit(t, r, store.AuditQuery{Limit: 99})
	same(t, "entries left", len(left), 15)
	same(t, "the oldest entry left", left[14].At, at(25))
	same(t, "agents left", len(allAgents(t, r)), 4)

	last := left[0].ID
	same(t, "all entries", prune(0, 1000), 15)
	same(t, "an empty log", audit(t, r, store.AuditQuery{Limit: 9}), nil)
	check(t, r.AppendAudit(t.Context(), entries(1)))
	if es := audit(t, r, store.AuditQuery{Limit: 9}); es[0].ID <= last {
		t.Errorf("number %d was given again after a prune, the last was %d", es[0].ID, last)
	}
}

// testPruneLimit prunes a few rows at a time, the oldest first.
func testPruneLimit(t *testing.T, r store.Registry) {
	for i := range 5 {
		check(t, r.SetMark(t.Context(), store.Mark{Kind: "k", Value: fmt.Sprint(i), Expires: at(10 - i)}))
	}
	check(t, r.AppendAudit(t.Context(), entries(7)))
	for round, want := range []int{4, 4, 3, 1, 0} {
		n, err := r.PruneRegistry(t.Context(), at(50), at(50), 2)
		check(t, err)
		same(t, fmt.Sprintf("removed in round %d", round), n, want)
		if round == 0 {
			same(t, "marks left", len(marks(t, r, "k", 0)), 3)
			same(t, "the mark that expires last", findMark(t, r, "k", "0", 0) != nil, true)
			same(t, "the entry left last", audit(t, r, store.AuditQuery{Limit: 9})[4].At, at(2))
		}
	}
}

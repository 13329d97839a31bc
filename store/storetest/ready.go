package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// ready reads ready threads of an agent.
func ready(t testing.TB, s store.Store, agent, after string, owners, each int) []store.Thread {
	t.Helper()
	return must(t)(s.Ready(t.Context(), store.ReadyQuery{Agent: agent, After: after, Owners: owners, Each: each}))
}

func testReady(t *testing.T, s store.Store) {
	for id, rank := range map[string]int64{"c": 1, "a": 2, "b": 1, "d": -3} {
		x := thread(id)
		x.Rank = rank
		commit(t, s, store.Change{Thread: x})
	}
	x := thread("e")
	x.Agent = "other"
	commit(t, s, store.Change{Thread: x})
	x = thread("f")
	x.Ready = false
	commit(t, s, store.Change{Thread: x})

	each := func(agent string, each int) []string { return ids(ready(t, s, agent, "", 9, each)) }
	same(t, "Ready", each("agent", 9), []string{"d", "b", "c", "a"})
	same(t, "Ready with a limit", each("agent", 2), []string{"d", "b"})
	same(t, "Ready of another agent", each("other", 9), []string{"e"})
	same(t, "Ready of nobody", each("nobody", 9), nil)
	same(t, "a ready thread, whole", ready(t, s, "other", "", 1, 1)[0], read(t, s, "e"))

	claimed := read(t, s, "b")
	claimed.Ready = false
	claimed = commit(t, s, store.Change{Thread: claimed})
	same(t, "Ready after a claim", each("agent", 9), []string{"d", "c", "a"})
	claimed.Ready, claimed.Rank = true, 5
	claimed = commit(t, s, store.Change{Thread: claimed})
	same(t, "Ready after it came back", each("agent", 9), []string{"d", "c", "a", "b"})
	claimed.Owner = "zoe"
	commit(t, s, store.Change{Thread: claimed})
	same(t, "Ready after it got another owner", ids(ready(t, s, "agent", "owner", 1, 9)), []string{"b"})
}

// testReadyOwners has one owner with a thousand ready threads stand between two
// with few.
func testReadyOwners(t *testing.T, s store.Store) {
	add := func(owner string, n int, rank int64) {
		for i := range n {
			x := thread(fmt.Sprintf("%s-%04d", owner, i))
			x.Owner, x.Rank = owner, rank+int64(i)
			commit(t, s, store.Change{Thread: x})
		}
	}
	add("ann", 1, 9000)
	add("bob", 1000, 0)
	add("bo\x00", 1, 0) // a name that begins like one and is not it
	add("eve", 3, 5000)
	for _, tc := range []struct {
		after        string
		owners, each int
		want         []string
	}{
		{"", 9, 1, []string{"ann-0000", "bo\x00-0000", "bob-0000", "eve-0000"}},
		{"", 9, 2, []string{"ann-0000", "bo\x00-0000", "bob-0000", "bob-0001", "eve-0000", "eve-0001"}},
		{"", 1, 9, []string{"ann-0000"}},
		{"", 3, 1, []string{"ann-0000", "bo\x00-0000", "bob-0000"}},
		{"bob", 1, 9, []string{"eve-0000", "eve-0001", "eve-0002"}},
		{"bob", 2, 1, []string{"eve-0000", "ann-0000"}},
		{"bob", 9, 1, []string{"eve-0000", "ann-0000", "bo\x00-0000", "bob-0000"}},
		{"bo", 2, 1, []string{"bo\x00-0000", "bob-0000"}},
		{"bo\x00", 1, 1, []string{"bob-0000"}},
		{"eve", 2, 1, []string{"ann-0000", "bo\x00-0000"}},
		{"zoe", 1, 1, []string{"ann-0000"}},
		{"a", 1, 1, []string{"ann-0000"}},
	} {
		what := fmt.Sprintf("Ready behind %q, %d of %d owners", tc.after, tc.each, tc.owners)
		same(t, what, ids(ready(t, s, "agent", tc.after, tc.owners, tc.each)), tc.want)
	}
}

// testReadyTurns claims one thread after the other and goes on behind the owner
// of the last: the owners take turns, and the last one of all is reached.
func testReadyTurns(t *testing.T, s store.Store) {
	left := map[string]int{"a": 5, "b": 2, "c": 1}
	for owner, n := range left {
		for i := range n {
			x := thread(fmt.Sprint(owner, i))
			x.Owner = owner
			commit(t, s, store.Change{Thread: x})
		}
	}
	var order []string
	for after := ""; ; {
		got := ready(t, s, "agent", after, 1, 1)
		if len(got) == 0 {
			break
		}
		after = got[0].Owner
		order = append(order, got[0].ID)
		got[0].Ready = false
		commit(t, s, store.Change{Thread: got[0]})
	}
	same(t, "order of the claims", order, []string{"a0", "b0", "c0", "a1", "b1", "a2", "a3", "a4"})
}

func testReadyAgents(t *testing.T, s store.Store) {
	var all []string
	for i := range 25 {
		agent := fmt.Sprintf("agent-%02d", i)
		for k := range 3 {
			x := thread(fmt.Sprintf("%s/%d", agent, k))
			x.Agent, x.Owner, x.Ready = agent, fmt.Sprint("owner-", k), i%5 != 0
			commit(t, s, store.Change{Thread: x})
		}
		if i%5 != 0 {
			all = append(all, agent)
		}
	}
	agents := func(after string, limit int) []string {
		got, err := s.ReadyAgents(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	for limit := 1; limit <= len(all)+1; limit++ {
		var got []string
		for after := ""; ; {
			page := agents(after, limit)
			got = append(got, page...)
			if len(page) < limit {
				break
			}
			after = page[len(page)-1]
		}
		same(t, fmt.Sprintf("ReadyAgents, pages of %d", limit), got, all)
	}
	same(t, "ReadyAgents behind one that has none", agents("agent-05", 2), []string{"agent-06", "agent-07"})
	same(t, "ReadyAgents behind the last", agents("agent-24", 2), nil)
}

func testChildren(t *testing.T, s store.Store) {
	add := func(id, parent string, ended time.Time) store.Thread {
		x := thread(id)
		x.Parent, x.Ended = parent, ended
		return commit(t, s, store.Change{Thread: x})
	}
	add("p", "", time.Time{})
	var want []string
	for i := range 7 {
		add(fmt.Sprint("open-", i), "p", time.Time{})
		add(fmt.Sprint("other-", i), "P", time.Time{})
		want = append(want, fmt.Sprint("open-", i))
	}
	add("ended", "p", at(5))
	want = append([]string{"ended"}, want...)
	children := func(parent, after string, limit int) []store.Thread {
		return must(t)(s.Children(t.Context(), parent, after, limit))
	}
	same(t, "Children", ids(children("p", "", 99)), want)
	same(t, "Children with a limit", ids(children("p", "", 2)), want[:2])
	same(t, "Children, the next page", ids(children("p", want[1], 99)), want[2:])
	same(t, "Children of none", children("nobody", "", 9), nil)
	same(t, "those without a parent", children("", "", 9), nil)
	same(t, "a child, whole", children("p", "", 1)[0], read(t, s, "ended"))

	x := read(t, s, "open-3")
	x.Status, x.Ended = "CANCELED", at(9)
	x = commit(t, s, store.Change{Thread: x})
	same(t, "Parent after an update", x.Parent, "p")
	same(t, "Children after one has ended", ids(children("p", "", 99)), want)
}

package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// model is the contract in its simplest form: maps, and loops over them.
type model struct {
	threads map[string]*history
	keys    map[string]modelKey
}

type history struct {
	t     store.Thread
	evs   []arc.Event
	items []store.Item
}

type modelKey struct {
	expires time.Time
	replay  store.ReplayError
}

// commit does what Commit must do.
func (m *model) commit(c store.Change) (store.Thread, error) {
	if c.Key != nil && !c.Key.Replace {
		k, ok := m.keys[c.Key.Owner+" "+c.Key.Name]
		if ok && k.expires.After(start) {
			return store.Thread{}, &k.replay
		}
	}
	h := m.threads[c.Thread.ID]
	switch {
	case c.Thread.Rev == 0 && h != nil:
		return store.Thread{}, store.ErrExists
	case c.Thread.Rev == 0:
		h = &history{}
		m.threads[c.Thread.ID] = h
	case h == nil || h.t.Rev != c.Thread.Rev:
		return store.Thread{}, store.ErrConflict
	}
	for _, e := range c.Events {
		e.Seq = int64(len(h.evs) + 1)
		h.evs = append(h.evs, e)
	}
	h.items = append(h.items, c.Items...)
	rev := h.t.Rev
	h.t = c.Thread
	h.t.Rev, h.t.Seq, h.t.Items = rev+1, int64(len(h.evs)), len(h.items)
	if c.Key != nil {
		m.keys[c.Key.Owner+" "+c.Key.Name] = modelKey{c.Key.Expires, store.ReplayError{Thread: h.t.ID, Hash: c.Key.Hash, Reply: c.Key.Reply}}
	}
	return h.t, nil
}

// all gives the threads, ordered by less.
func (m *model) all(less func(a, b store.Thread) int) []store.Thread {
	var ts []store.Thread
	for _, h := range m.threads {
		ts = append(ts, h.t)
	}
	slices.SortFunc(ts, less)
	return ts
}

func (m *model) prune(now, before time.Time) int {
	n := len(m.threads)
	maps.DeleteFunc(m.threads, func(_ string, h *history) bool { return !h.t.Ended.IsZero() && h.t.Ended.Before(before) })
	maps.DeleteFunc(m.keys, func(_ string, k modelKey) bool { return !k.expires.After(now) })
	return n - len(m.threads)
}

// choose is the loop that Threads must equal, without pages.
func choose(all []store.Thread, q store.Query) []store.Thread {
	var out []store.Thread
	for _, x := range all {
		if x.Owner == q.Owner && x.Kind == q.Kind &&
			(len(q.Status) == 0 || slices.Contains(q.Status, x.Status)) &&
			(q.Agent == "" || x.Agent == q.Agent) && (q.Trace == "" || x.Trace == q.Trace) &&
			!x.Created.Before(q.From) && (q.To.IsZero() || x.Created.Before(q.To)) {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b store.Thread) int {
		return cmp.Or(b.Created.Compare(a.Created), cmp.Compare(b.ID, a.ID))
	})
	return out
}

// chooseReady is the loop that Ready must equal. All are in the order of Rank and ID.
func chooseReady(all []store.Thread, q store.ReadyQuery) []store.Thread {
	queues := make(map[string][]store.Thread)
	for _, x := range all {
		if x.Ready && x.Agent == q.Agent && len(queues[x.Owner]) < q.Each {
			queues[x.Owner] = append(queues[x.Owner], x)
		}
	}
	owners := slices.Sorted(maps.Keys(queues))
	behind := slices.IndexFunc(owners, func(o string) bool { return q.After == "" || o > q.After })
	if behind > 0 {
		owners = slices.Concat(owners[behind:], owners[:behind])
	}
	var out []store.Thread
	for _, o := range owners[:min(len(owners), q.Owners)] {
		out = append(out, queues[o]...)
	}
	return out
}

// testModel makes random changes to a store and a model and compares all that
// can be read, with a restart now and then.
func testModel(t *testing.T, open Open) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			dir := t.TempDir()
			g := &gambler{rnd: rand.New(rand.NewPCG(seed, 7)), m: &model{
				threads: map[string]*history{}, keys: map[string]modelKey{},
			}}
			s := open(t, dir)
			for step := range 300 {
				g.step(t, s)
				if step%20 == 19 {
					g.compare(t, s)
				}
				if step%100 == 99 {
					closeStore(t, s)
					s = open(t, dir)
					g.compare(t, s)
				}
			}
			closeStore(t, s)
		})
	}
}

// gambler makes the same random step in a store and in a model.
type gambler struct {
	rnd *rand.Rand
	m   *model
}

func (g *gambler) pick(words ...string) string { return words[g.rnd.IntN(len(words))] }
func (g *gambler) chance(percent int) bool     { return g.rnd.IntN(100) < percent }

// when gives a random time, sometimes none.
func (g *gambler) when() time.Time {
	if g.chance(30) {
		return time.Time{}
	}
	return at(g.rnd.IntN(100))
}

func (g *gambler) step(t *testing.T, s store.Store) {
	t.Helper()
	switch {
	case g.chance(3):
		now, before := at(g.rnd.IntN(100)), at(g.rnd.IntN(100))
		n, err := s.Prune(t.Context(), now, before, 1000)
		if err != nil {
			t.Fatal(err)
		}
		same(t, "Prune", n, g.m.prune(now, before))
	default:
		c := g.change()
		got, err := s.Commit(t.Context(), c)
		want, werr := g.m.commit(c)
		replay, ok := errors.AsType[*store.ReplayError](err)
		if wantReplay, wok := errors.AsType[*store.ReplayError](werr); ok || wok {
			same(t, "replay", replay, wantReplay)
		} else if !errors.Is(err, werr) {
			t.Fatalf("Commit of %+v: %v, want %v", c.Thread, err, werr)
		}
		same(t, "Commit", got, want)
	}
}

// change makes a random change, mostly one that can be made.
func (g *gambler) change() store.Change {
	id := fmt.Sprint("t-", g.rnd.IntN(25))
	x := store.Thread{
		ID: id, Kind: store.Kind(1 + g.rnd.IntN(2)), Owner: g.pick("o", "p"), From: g.pick("", "f"),
		Agent: g.pick("a", "b"), Trace: g.pick("", "x"), Priority: arc.PriorityLow, Created: at(g.rnd.IntN(20)),
		Parent: g.pick("", "t-1", "t-2"),
	}
	if h := g.m.threads[id]; h != nil && g.chance(95) {
		x = h.t
		if g.chance(5) {
			x.Agent, x.Owner, x.Parent = g.pick("a", "b"), g.pick("o", "p"), g.pick("", "t-1")
		}
		x.Rev += int64(g.rnd.IntN(20) / 19)
	} else if g.chance(5) {
		x.Rev = 3
	}
	x.Status, x.Updated, x.Ended, x.Due = g.pick("ONE", "TWO"), g.when(), time.Time{}, g.when()
	if g.chance(20) {
		x.Ended = at(g.rnd.IntN(100))
	}
	x.Ready, x.Rank, x.Body = g.chance(50), int64(g.rnd.IntN(5)), []byte(g.pick("", "body", "a longer body"))
	c := store.Change{Thread: x, Events: events(g.rnd.IntN(4))}
	for range g.rnd.IntN(3) {
		c.Items = append(c.Items, item(store.ItemKind(1+g.rnd.IntN(2)), g.pick("", "x", "yz")))
	}
	if g.chance(20) {
		c.Key = &store.Key{Owner: g.pick("o", "p"), Name: g.pick("k", "l", "m", "n", "q"), Hash: []byte(g.pick("1", "2")), Expires: never}
		if g.chance(70) {
			c.Key.Expires = start.Add(-time.Hour)
		}
		c.Key.Replace = g.chance(20)
	}
	return c
}

// compare reads everything.
func (g *gambler) compare(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	for i := range 25 {
		id := fmt.Sprint("t-", i)
		h := g.m.threads[id]
		if h == nil {
			if _, err := s.Thread(ctx, id); !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Thread(%s): %v, want ErrNotFound", id, err)
			}
			continue
		}
		same(t, "items of "+id, allItems(t, s, id), h.items)
		same(t, "events of "+id, allEvents(t, s, id), h.evs)
		same(t, "thread "+id, read(t, s, id), h.t)
	}
	var all []store.Thread
	for _, h := range g.m.threads {
		all = append(all, h.t)
	}
	for _, owner := range []string{"o", "p"} {
		for _, trace := range []string{"", "x"} {
			checkPages(t, s, all, store.Query{Owner: owner, Kind: store.Task, Trace: trace, Limit: 4})
			checkPages(t, s, all, store.Query{Owner: owner, Kind: store.Chat, Trace: trace, Status: []string{"ONE"}, Limit: 4})
		}
	}
	g.compareQueues(t, s)
}

func (g *gambler) compareQueues(t *testing.T, s store.Store) {
	t.Helper()
	ranked := g.m.all(func(a, b store.Thread) int { return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.ID, b.ID)) })
	var waiting []string
	for _, agent := range []string{"a", "b"} {
		if slices.ContainsFunc(ranked, func(x store.Thread) bool { return x.Ready && x.Agent == agent }) {
			waiting = append(waiting, agent)
		}
		for _, after := range []string{"", "o", "oo", "p"} {
			for _, each := range []int{1, 100} {
				q := store.ReadyQuery{Agent: agent, After: after, Owners: 1 + g.rnd.IntN(2), Each: each}
				same(t, fmt.Sprintf("Ready(%+v)", q), must(t)(s.Ready(t.Context(), q)), chooseReady(ranked, q))
			}
		}
	}
	agents, err := s.ReadyAgents(t.Context(), "", 100)
	check(t, err)
	same(t, "ReadyAgents", agents, waiting)
	for _, parent := range []string{"t-1", "t-2"} {
		want := g.m.all(func(a, b store.Thread) int { return cmp.Compare(a.ID, b.ID) })
		want = slices.DeleteFunc(want, func(x store.Thread) bool { return x.Parent != parent })
		same(t, "Children", must(t)(s.Children(t.Context(), parent, "", 100)), want)
	}
	due := must(t)(s.Due(t.Context(), at(50), 100))
	if !slices.IsSortedFunc(due, func(a, b store.Thread) int { return a.Due.Compare(b.Due) }) {
		t.Errorf("Due is not in order: %v", ids(due))
	}
	slices.SortFunc(due, func(a, b store.Thread) int { return cmp.Compare(a.ID, b.ID) })
	want := g.m.all(func(a, b store.Thread) int { return cmp.Compare(a.ID, b.ID) })
	want = slices.DeleteFunc(want, func(x store.Thread) bool { return x.Due.IsZero() || x.Due.After(at(50)) })
	same(t, "Due", due, want)
}

package storetest

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// registryModel is the contract in its simplest form: maps, and loops over them.
type registryModel struct {
	rnd    *rand.Rand
	agents map[string]store.Agent
	marks  map[string]store.Mark
	revs   map[string]store.Revocation
	log    []store.AuditEntry // without numbers, oldest first
}

// testRegistryModel makes random changes to a registry and a model and compares
// all that can be read, with a restart now and then.
func testRegistryModel(t *testing.T, open OpenRegistry) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			dir := t.TempDir()
			m := &registryModel{
				rnd:    rand.New(rand.NewPCG(seed, 7)),
				agents: map[string]store.Agent{}, marks: map[string]store.Mark{}, revs: map[string]store.Revocation{},
			}
			r := open(t, dir)
			for step := range 600 {
				m.step(t, r)
				if step%20 == 19 {
					m.compare(t, r)
				}
				if step%200 == 199 {
					closeRegistry(t, r)
					r = open(t, dir)
					m.compare(t, r)
				}
			}
			closeRegistry(t, r)
		})
	}
}

func (m *registryModel) pick(words ...string) string { return words[m.rnd.IntN(len(words))] }
func (m *registryModel) now() time.Time              { return at(m.rnd.IntN(100)) }

// step makes one random change.
func (m *registryModel) step(t *testing.T, r store.Registry) {
	t.Helper()
	switch n := m.rnd.IntN(100); {
	case n < 40:
		m.put(t, r)
	case n < 55:
		m.remove(t, r)
	case n < 65:
		m.beat(t, r)
	case n < 85:
		m.mark(t, r)
	case n < 90:
		x := store.Revocation{Kind: "jti", Value: m.pick("a", "b", "c"), Before: m.now(), Expires: m.now()}
		check(t, r.Revoke(t.Context(), x))
		if there, ok := m.revs[x.Value]; ok {
			x.Before, x.Expires = later(there.Before, x.Before), later(there.Expires, x.Expires)
		}
		m.revs[x.Value] = x
	case n < 97:
		es := entries(1 + m.rnd.IntN(4))
		for i := range es {
			es[i].At = m.now()
		}
		check(t, r.AppendAudit(t.Context(), es))
		m.log = append(m.log, es...)
	default:
		m.prune(t, r)
	}
}

func (m *registryModel) put(t *testing.T, r store.Registry) {
	a := agent(fmt.Sprint("a-", m.rnd.IntN(12)))
	a.Type = m.pick("one", "two")
	for i := range a.Texts {
		a.Texts[i] = m.pick("", "red green", "blue", "GREEN, blue!", "violet-red redder")
	}
	was, there := m.agents[a.ID]
	if a.Rev = was.Rev; m.rnd.IntN(10) == 0 {
		a.Rev = int64(m.rnd.IntN(3))
	}
	got, err := r.PutAgent(t.Context(), a)
	switch {
	case a.Rev == was.Rev:
		check(t, err)
		a.Rev++
		same(t, "PutAgent", got, a)
		m.agents[a.ID] = a
	case there && a.Rev == 0:
		same(t, "ErrExists", errors.Is(err, store.ErrExists), true)
	default:
		same(t, "ErrConflict", errors.Is(err, store.ErrConflict), true)
	}
}

func (m *registryModel) remove(t *testing.T, r store.Registry) {
	id, rev := fmt.Sprint("a-", m.rnd.IntN(12)), int64(m.rnd.IntN(3))
	was, there := m.agents[id]
	if m.rnd.IntN(10) > 0 {
		rev = was.Rev
	}
	err := r.DeleteAgent(t.Context(), id, rev)
	switch {
	case !there:
		same(t, "ErrNotFound", errors.Is(err, store.ErrNotFound), true)
	case rev != was.Rev:
		same(t, "ErrConflict", errors.Is(err, store.ErrConflict), true)
	default:
		check(t, err)
		delete(m.agents, id)
	}
}

func (m *registryModel) beat(t *testing.T, r store.Registry) {
	var beats []store.Beat
	for range m.rnd.IntN(6) {
		b := store.Beat{ID: fmt.Sprint("a-", m.rnd.IntN(12)), Seen: m.now(), Alive: m.rnd.IntN(2) == 0}
		if m.rnd.IntN(2) == 0 {
			b.Counts = []byte(m.pick("1", "2"))
		}
		beats = append(beats, b)
		if a, ok := m.agents[b.ID]; ok {
			if !b.Seen.Before(a.Seen) {
				a.Seen, a.Alive = b.Seen, b.Alive
			}
			if b.Counts != nil {
				a.Counts = b.Counts
			}
			m.agents[b.ID] = a
		}
	}
	check(t, r.Beat(t.Context(), beats))
}

func (m *registryModel) mark(t *testing.T, r store.Registry) {
	x := store.Mark{Kind: "k", Value: m.pick("a", "b", "c"), Body: []byte(m.pick("1", "2")), Expires: m.now()}
	if m.rnd.IntN(4) == 0 {
		x.Expires = time.Time{}
	}
	was, there := m.marks[x.Value]
	switch m.rnd.IntN(3) {
	case 0:
		check(t, r.SetMark(t.Context(), x))
		m.marks[x.Value] = x
	case 1:
		now := m.now()
		got, err := r.Mark(t.Context(), x, now)
		check(t, err)
		if there && holds(was.Expires, now) {
			same(t, "Mark", got, &was)
			return
		}
		same(t, "Mark", got, nil)
		m.marks[x.Value] = x
	case 2:
		got, err := r.Unmark(t.Context(), x.Kind, x.Value)
		check(t, err)
		same(t, "Unmark", got, there)
		delete(m.marks, x.Value)
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// holds tells whether something that expires is still there.
func holds(expires, now time.Time) bool { return expires.IsZero() || expires.After(now) }

func (m *registryModel) prune(t *testing.T, r store.Registry) {
	now, before := m.now(), m.now()
	n := len(m.marks) + len(m.revs) + len(m.log)
	maps.DeleteFunc(m.marks, func(_ string, x store.Mark) bool { return !holds(x.Expires, now) })
	maps.DeleteFunc(m.revs, func(_ string, x store.Revocation) bool { return !holds(x.Expires, now) })
	m.log = slices.DeleteFunc(m.log, func(e store.AuditEntry) bool { return e.At.Before(before) })
	got, err := r.PruneRegistry(t.Context(), now, before, 10_000)
	check(t, err)
	same(t, "PruneRegistry", got, n-len(m.marks)-len(m.revs)-len(m.log))
}

// compare reads everything.
func (m *registryModel) compare(t *testing.T, r store.Registry) {
	t.Helper()
	var want []store.Agent
	for _, id := range slices.Sorted(maps.Keys(m.agents)) {
		want = append(want, seen(m.agents[id]))
	}
	same(t, "Agents", allAgents(t, r), want)
	for _, prefix := range []string{"red", "redd", "green", "blue", "v", "name"} {
		for _, kind := range []string{"", "one"} {
			same(t, "search for "+prefix, found(t, r, kind, prefix), m.search(kind, prefix))
		}
	}
	var marked []store.Mark
	for _, value := range slices.Sorted(maps.Keys(m.marks)) {
		if holds(m.marks[value].Expires, at(50)) {
			marked = append(marked, m.marks[value])
		}
	}
	same(t, "Marks", marks(t, r, "k", 50), marked)
	var revoked []store.Revocation
	for _, value := range slices.Sorted(maps.Keys(m.revs)) {
		if holds(m.revs[value].Expires, at(50)) {
			revoked = append(revoked, m.revs[value])
		}
	}
	rs, err := r.Revocations(t.Context(), at(50))
	check(t, err)
	same(t, "Revocations", rs, revoked)
	m.compareBeats(t, r)
	all := audit(t, r, store.AuditQuery{Limit: 10_000})
	same(t, "number of entries", len(all), len(m.log))
	for i, e := range all {
		e.ID = 0
		same(t, "an entry", e, m.log[len(all)-1-i])
	}
	checkAudit(t, r, all, store.AuditQuery{From: m.now(), To: m.now(), Limit: 4})
}

func (m *registryModel) compareBeats(t *testing.T, r store.Registry) {
	t.Helper()
	var beats []store.Beat
	for _, id := range slices.Sorted(maps.Keys(m.agents)) {
		if a := m.agents[id]; !a.Seen.Before(at(50)) {
			beats = append(beats, store.Beat{ID: id, Seen: a.Seen, Alive: a.Alive, Counts: a.Counts})
		}
	}
	got, err := r.Beats(t.Context(), at(50))
	check(t, err)
	same(t, "Beats", got, beats)
}

// search is the loop that SearchAgents must equal, but for the order.
func (m *registryModel) search(kind, prefix string) []string {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(m.agents)) {
		a := m.agents[id]
		words := strings.FieldsFunc(strings.ToLower(strings.Join(a.Texts[:], " ")), func(c rune) bool { return c < 'a' || c > 'z' })
		begins := func(w string) bool { return strings.HasPrefix(w, prefix) }
		if (kind == "" || a.Type == kind) && slices.ContainsFunc(words, begins) {
			ids = append(ids, id)
		}
	}
	return ids
}

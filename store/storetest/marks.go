package storetest

import (
	"fmt"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/store"
)

// setMark sets a mark unless there is one, and gives the one that is.
func setMark(t testing.TB, r store.Registry, m store.Mark, now int) *store.Mark {
	t.Helper()
	was, err := r.Mark(t.Context(), m, at(now))
	if err != nil {
		t.Fatalf("Mark(%s, %s): %v", m.Kind, m.Value, err)
	}
	return was
}

func findMark(t testing.TB, r store.Registry, kind, value string, now int) *store.Mark {
	t.Helper()
	m, err := r.FindMark(t.Context(), kind, value, at(now))
	check(t, err)
	return m
}

func marks(t testing.TB, r store.Registry, kind string, now int) []store.Mark {
	t.Helper()
	ms, err := r.Marks(t.Context(), kind, at(now))
	check(t, err)
	return ms
}

func testMarks(t *testing.T, r store.Registry) {
	first := store.Mark{Kind: "pin", Value: "key", Body: []byte("a")}
	second := store.Mark{Kind: "pin", Value: "key", Body: []byte("b"), Expires: at(50)}
	same(t, "a new mark", setMark(t, r, first, 0), nil)
	same(t, "a second one", setMark(t, r, second, 0), &first)
	same(t, "FindMark", findMark(t, r, "pin", "key", 0), &first)
	same(t, "a mark without expiry, much later", findMark(t, r, "pin", "key", 1e9), &first)

	for _, m := range []store.Mark{{Kind: "session", Value: "key"}, {Kind: "pin", Value: "Key"}, {Kind: "pin", Value: ""}, {Kind: "pi", Value: "nkey"}} {
		same(t, "a mark of another name", setMark(t, r, m, 0), nil)
	}
	same(t, "Marks", marks(t, r, "pin", 0), []store.Mark{{Kind: "pin"}, {Kind: "pin", Value: "Key"}, first})
	same(t, "Marks of no kind there is", marks(t, r, "none", 0), nil)
	same(t, "FindMark of nothing", findMark(t, r, "pin", "none", 0), nil)

	check(t, r.SetMark(t.Context(), second))
	same(t, "FindMark after SetMark", findMark(t, r, "pin", "key", 0), &second)
	fresh := store.Mark{Kind: "pin", Value: "fresh", Body: []byte{0, 0xff}, Expires: at(50)}
	check(t, r.SetMark(t.Context(), fresh))
	same(t, "SetMark of a new one", findMark(t, r, "pin", "fresh", 0), &fresh)

	for _, want := range []bool{true, false} {
		was, err := r.Unmark(t.Context(), "pin", "key")
		check(t, err)
		same(t, "Unmark", was, want)
		same(t, "FindMark after Unmark", findMark(t, r, "pin", "key", 0), nil)
	}
	same(t, "a mark after Unmark", setMark(t, r, first, 0), nil)
	same(t, "the mark of the other kind", findMark(t, r, "session", "key", 0), &store.Mark{Kind: "session", Value: "key"})
}

func testMarkExpiry(t *testing.T, r store.Registry) {
	m := store.Mark{Kind: "used", Value: "v", Body: []byte("1"), Expires: at(10)}
	same(t, "a new mark", setMark(t, r, m, 0), nil)
	for now, want := range map[int]*store.Mark{0: &m, 9: &m, 10: nil, 11: nil} {
		same(t, fmt.Sprintf("FindMark at %d", now), findMark(t, r, "used", "v", now), want)
		same(t, fmt.Sprintf("number of Marks at %d", now), len(marks(t, r, "used", now)) == 1, want != nil)
	}
	next := store.Mark{Kind: "used", Value: "v", Body: []byte("2"), Expires: at(30)}
	same(t, "before it expires", setMark(t, r, next, 9), &m)
	same(t, "when it has expired", setMark(t, r, next, 10), nil)
	same(t, "what is there then", findMark(t, r, "used", "v", 10), &next)
	m.Expires = at(20)
	check(t, r.SetMark(t.Context(), m))
	same(t, "SetMark shortens", findMark(t, r, "used", "v", 20), nil)
}

// testMarkRace lets 32 callers set one mark at once, first where there is none
// and then where it has expired.
func testMarkRace(t *testing.T, r store.Registry) {
	for round := range 3 {
		var wg sync.WaitGroup
		won := make(chan store.Mark, 32)
		lost := make(chan *store.Mark, 32)
		for i := range 32 {
			wg.Go(func() {
				m := store.Mark{Kind: "used", Value: "v", Body: fmt.Append(nil, i), Expires: at(10 * (round + 1))}
				was, err := r.Mark(t.Context(), m, at(10*round))
				switch {
				case err != nil:
					t.Error(err)
				case was == nil:
					won <- m
				default:
					lost <- was
				}
			})
		}
		wg.Wait()
		if len(won) != 1 || len(lost) != 31 {
			t.Fatalf("round %d: %d callers set the mark, %d did not", round, len(won), len(lost))
		}
		winner := <-won
		for range 31 {
			same(t, "what the others got", <-lost, &winner)
		}
	}
}

func testRevocations(t *testing.T, r store.Registry) {
	a := store.Revocation{Kind: "jti", Value: "iss\n1", Expires: at(10)}
	b := store.Revocation{Kind: "sub", Value: "iss\n1", Before: at(5), Expires: at(20)}
	revocations := func(ms int) []store.Revocation {
		rs, err := r.Revocations(t.Context(), at(ms))
		check(t, err)
		return rs
	}
	for _, x := range []store.Revocation{a, b, a} {
		check(t, r.Revoke(t.Context(), x))
	}
	same(t, "Revocations", revocations(0), []store.Revocation{a, b})
	same(t, "after one expired", revocations(10), []store.Revocation{b})
	b.Before, b.Expires = at(6), at(30)
	check(t, r.Revoke(t.Context(), b))
	same(t, "after a later one", revocations(25), []store.Revocation{b})
	check(t, r.Revoke(t.Context(), store.Revocation{Kind: b.Kind, Value: b.Value, Before: at(5), Expires: at(20)}))
	same(t, "after an earlier one", revocations(25), []store.Revocation{b})
	n, err := r.PruneRegistry(t.Context(), at(15), at(0), 9)
	check(t, err)
	same(t, "number pruned", n, 1)
	same(t, "after PruneRegistry", revocations(0), []store.Revocation{b})
}

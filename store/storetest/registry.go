package storetest

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Registry is a [store.Registry] that can be closed.
type Registry interface {
	store.Registry
	io.Closer
}

// OpenRegistry opens the registry that lives in dir, or makes it. After Close,
// the same dir must give the same content again. An open that fails ends the
// test.
type OpenRegistry func(t testing.TB, dir string) Registry

// RunRegistry runs the suite of [store.Registry]. Each part has a registry of
// its own, which RunRegistry closes.
func RunRegistry(t *testing.T, open OpenRegistry) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, r store.Registry)
	}{
		{"put and list", testPutAgent},
		{"refused puts", testPutRefused},
		{"one agent, 32 writers", testPutRace},
		{"one new id, 32 callers", testPutNewRace},
		{"delete", testDeleteAgent},
		{"put and delete race", testDeleteRace},
		{"pages of agents", testAgentPages},
		{"beats", testBeat},
		{"beats that are late", testLateBeat},
		{"beats are read", testBeats},
		{"beats race with puts", testBeatRace},
		{"beats of many agents at once", testBeatsRace},
		{"search", testSearch},
		{"search finds the present texts only", testSearchFresh},
		{"search ranks", testSearchRank},
		{"search in all scripts", testSearchScripts},
		{"search cannot be broken out of", testSearchSyntax},
		{"marks", testMarks},
		{"mark expiry", testMarkExpiry},
		{"one mark, 32 callers", testMarkRace},
		{"revocations", testRevocations},
		{"audit", testAudit},
		{"audit pages while entries arrive", testAuditPages},
		{"audit out of order", testAuditDisorder},
		{"prune", testPruneRegistry},
		{"prune in pieces", testPruneLimit},
		{"version", testVersion},
		{"odd texts", testOddTexts},
		{"context", testRegistryContext},
	} {
		t.Run(part.name, func(t *testing.T) {
			r := open(t, t.TempDir())
			t.Cleanup(func() { closeRegistry(t, r) })
			part.test(t, r)
		})
	}
	t.Run("restart", func(t *testing.T) { testRegistryRestart(t, open) })
	t.Run("close", func(t *testing.T) { testRegistryClose(t, open) })
	t.Run("model", func(t *testing.T) { testRegistryModel(t, open) })
}

func closeRegistry(t testing.TB, r Registry) {
	t.Helper()
	if err := r.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// check ends the test if a call failed.
func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func testRegistryContext(t *testing.T, r store.Registry) {
	_, err := r.PutAgent(canceled(t), agent("a"))
	if made := len(allAgents(t, r)) == 1; made != (err == nil) {
		t.Errorf("with a context that has ended, PutAgent gave %v, but the agent is there: %v", err, made)
	}
}

// testOddTexts keeps what some databases do not take for a text.
func testOddTexts(t *testing.T, r store.Registry) {
	odd := []string{"\x00", "a\x00b", "\x01", "\x01\x02\x03", "\x00\x01\x00", "\u2028 \u202e", "\U0010FFFF"}
	var want []store.Mark
	for i, text := range odd {
		m := store.Mark{Kind: "odd", Value: text, Body: []byte{0, byte(i)}}
		check(t, r.SetMark(t.Context(), m))
		want = append(want, m)
		check(t, r.Revoke(t.Context(), store.Revocation{Kind: "jti", Value: text}))
		a := agent(fmt.Sprint("a-", i))
		a.Type, a.Texts[3] = text, text+"word"
		put(t, r, a)
		check(t, r.AppendAudit(t.Context(), []store.AuditEntry{{At: at(i), Event: "odd", Actor: text, Agent: text}}))

		same(t, "the mark", findMark(t, r, "odd", text, 0), &m)
		same(t, "Type", allAgents(t, r)[i].Type, text)
		same(t, "agents of the type", found(t, r, text, "name"), []string{a.ID})
		page := audit(t, r, store.AuditQuery{Actor: text, Agent: text, Limit: 9})
		if len(page) != 1 || page[0].Actor != text || page[0].Agent != text {
			t.Errorf("entries of actor %q: %v", text, page)
		}
	}
	slices.SortFunc(want, func(a, b store.Mark) int { return strings.Compare(a.Value, b.Value) })
	same(t, "Marks", marks(t, r, "odd", 0), want)
	rs, err := r.Revocations(t.Context(), at(0))
	check(t, err)
	for i, m := range want {
		same(t, "a revocation", rs[i].Value, m.Value)
	}
	// What is no text at all may be kept as something else, but does no harm.
	check(t, r.AppendAudit(t.Context(), []store.AuditEntry{{At: at(99), Event: "odd", Actor: "\xff\xc0", Agent: "a\xed\xa0\x80"}}))
	same(t, "entries", len(audit(t, r, store.AuditQuery{Event: "odd", Limit: 99})), len(odd)+1)
}

// testRegistryRestart looks at everything again after a restart.
func testRegistryRestart(t *testing.T, open OpenRegistry) {
	dir := t.TempDir()
	r := open(t, dir)
	a := put(t, r, agent("a"))
	a = put(t, r, a)
	gone := put(t, r, agent("gone"))
	check(t, r.DeleteAgent(t.Context(), "gone", gone.Rev))
	check(t, r.Beat(t.Context(), []store.Beat{{ID: "a", Seen: at(9), Counts: []byte("nine")}}))
	a.Seen, a.Alive, a.Counts = at(9), false, []byte("nine")
	mark := store.Mark{Kind: "k", Value: "v", Body: []byte("b"), Expires: never}
	check(t, r.SetMark(t.Context(), mark))
	revoked := store.Revocation{Kind: "jti", Value: "v", Expires: never}
	check(t, r.Revoke(t.Context(), revoked))
	check(t, r.AppendAudit(t.Context(), entries(3)))
	log := audit(t, r, store.AuditQuery{Limit: 9})
	closeRegistry(t, r)

	r = open(t, dir)
	defer closeRegistry(t, r)
	same(t, "Agents", allAgents(t, r), []store.Agent{seen(a)})
	same(t, "SearchAgents", found(t, r, "", "name"), []string{"a"})
	m, err := r.FindMark(t.Context(), "k", "v", start)
	check(t, err)
	same(t, "FindMark", m, &mark)
	rs, err := r.Revocations(t.Context(), start)
	check(t, err)
	same(t, "Revocations", rs, []store.Revocation{revoked})
	same(t, "Audit", audit(t, r, store.AuditQuery{Limit: 9}), log)
	check(t, r.AppendAudit(t.Context(), entries(1)))
	if last := audit(t, r, store.AuditQuery{Limit: 1}); last[0].ID <= log[0].ID {
		t.Errorf("audit entry %d follows %d", last[0].ID, log[0].ID)
	}
	same(t, "the next Rev", put(t, r, a).Rev, int64(3))
}

// testRegistryClose closes while 16 goroutines write: each write is either made
// and acknowledged, or refused with ErrClosed and not made.
func testRegistryClose(t *testing.T, open OpenRegistry) {
	dir := t.TempDir()
	r := open(t, dir)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := make(map[string]int64)
	running := make(chan struct{}, 16)
	for i := range 16 {
		wg.Go(func() {
			a := agent(fmt.Sprint("a-", i))
			for first := true; ; first = false {
				got, err := r.PutAgent(t.Context(), a)
				if first {
					running <- struct{}{}
				}
				if err != nil {
					if !errors.Is(err, store.ErrClosed) {
						t.Errorf("PutAgent while closing: %v", err)
					}
					return
				}
				a = got
				mu.Lock()
				made[a.ID] = a.Rev
				mu.Unlock()
			}
		})
	}
	for range 16 {
		<-running
	}
	closeRegistry(t, r)
	wg.Wait()
	closedRegistryCalls(t, r)

	r = open(t, dir)
	defer closeRegistry(t, r)
	kept := make(map[string]int64)
	for _, a := range allAgents(t, r) {
		kept[a.ID] = a.Rev
	}
	same(t, "revisions", kept, made)
}

// closedRegistryCalls expects ErrClosed of every method.
func closedRegistryCalls(t *testing.T, r store.Registry) {
	ctx := t.Context()
	calls := map[string]error{
		"DeleteAgent":         r.DeleteAgent(ctx, "a", 1),
		"Beat":                r.Beat(ctx, []store.Beat{{ID: "a", Seen: start}}),
		"Beat of none":        r.Beat(ctx, nil),
		"SetMark":             r.SetMark(ctx, store.Mark{Kind: "k", Value: "v"}),
		"Revoke":              r.Revoke(ctx, store.Revocation{Kind: "jti", Value: "v"}),
		"AppendAudit":         r.AppendAudit(ctx, entries(1)),
		"AppendAudit of none": r.AppendAudit(ctx, nil),
	}
	_, calls["PutAgent"] = r.PutAgent(ctx, agent("a"))
	_, calls["Beats"] = r.Beats(ctx, start)
	_, calls["Changes"] = r.Changes(ctx, 0)
	_, calls["Agents"] = r.Agents(ctx, "", 1)
	_, calls["SearchAgents"] = r.SearchAgents(ctx, store.Search{Prefixes: []string{"a"}, Limit: 1})
	_, calls["Mark"] = r.Mark(ctx, store.Mark{Kind: "k", Value: "v"}, start)
	_, calls["Unmark"] = r.Unmark(ctx, "k", "v")
	_, calls["Marks"] = r.Marks(ctx, "k", start)
	_, calls["FindMark"] = r.FindMark(ctx, "k", "v", start)
	_, calls["Revocations"] = r.Revocations(ctx, start)
	_, calls["Audit"] = r.Audit(ctx, store.AuditQuery{Limit: 1})
	_, calls["PruneRegistry"] = r.PruneRegistry(ctx, start, time.Time{}, 1)
	for name, err := range calls {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s after Close: %v, want ErrClosed", name, err)
		}
	}
}

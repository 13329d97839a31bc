package sqlite_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// registration is an agent of the size that a registration makes.
func registration(n int) store.Agent {
	skills := []string{"translate", "summarize", "invoice", "calendar", "weather", "search", "plan", "review"}
	return store.Agent{
		ID: fmt.Sprintf("agent-%05d", n), Type: []string{"worker", "planner"}[n%2],
		Registered: epoch, Updated: epoch, Seen: epoch, Alive: true, Counts: []byte(`{"total":12,"failed":1,"ms":40321}`),
		Texts: [4]string{
			fmt.Sprintf("agent-%05d Agent %d", n, n),
			skills[n%8] + " " + skills[n/8%8] + " skill" + fmt.Sprint(n%500),
			"An agent that can " + skills[n%8] + " whatever it is given, for those who have no time to do it themselves",
			"worker owner" + fmt.Sprint(n%100) + " 1.0.0 remote streaming batch",
		},
		Body: []byte(strings.Repeat(`{"endpoint":"https://agent.example/arc","public_key":"MCowBQYDK2VwAyEA"}`, 16)),
	}
}

func mustPut(t testing.TB, s store.Registry, a store.Agent) store.Agent {
	t.Helper()
	got, err := s.PutAgent(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// search gives the ids that a search finds.
func search(t testing.TB, s store.Registry, prefix string) []string {
	t.Helper()
	hits, err := s.SearchAgents(t.Context(), store.Search{Prefixes: []string{prefix}, Limit: 99})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, h := range hits {
		ids = append(ids, h.ID)
	}
	slices.Sort(ids)
	return ids
}

func wantIDs(t testing.TB, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// soundText asks SQLite whether the index of words is whole.
func soundText(t testing.TB, s *sqlite.Engine) {
	t.Helper()
	if err := sqlite.Exec(t.Context(), s, `INSERT INTO agent_text (agent_text) VALUES ('integrity-check')`); err != nil {
		t.Error(err)
	}
}

// TestFullDiskForAgents: an agent for which there is no room leaves no words
// behind, and those that share its batch are whole.
func TestFullDiskForAgents(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	kept := registration(1)
	kept.Body = nil
	kept = mustPut(t, s, kept)
	if err := sqlite.Exec(t.Context(), s, "PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err) // SQLite takes the present size instead
	}
	big := registration(2)
	big.Texts[0], big.Body = "enormous", []byte(strings.Repeat("x", 1<<20))
	grown := kept
	grown.Texts[0], grown.Body = "enormous", big.Body
	var wg sync.WaitGroup
	for range 4 {
		for _, a := range []store.Agent{big, grown} {
			wg.Go(func() {
				if _, err := s.PutAgent(t.Context(), a); err == nil {
					t.Error("an agent was written for which there is no room")
				}
			})
		}
		wg.Go(func() {
			if err := s.Beat(t.Context(), []store.Beat{{ID: kept.ID, Seen: epoch.Add(time.Second)}}); err != nil {
				t.Errorf("a beat, which needs no room: %v", err)
			}
		})
	}
	wg.Wait()
	wantIDs(t, "words of the refused", search(t, s, "enormous"))
	wantIDs(t, "words that were there", search(t, s, "agent"), kept.ID)
	soundText(t, s)
	if err := sqlite.Exec(t.Context(), s, "PRAGMA max_page_count = 1000000"); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, big)
	mustPut(t, s, grown)
	wantIDs(t, "words once there was room", search(t, s, "enormous"), kept.ID, big.ID)
	soundText(t, s)
}

// TestFailedFlushOfAgents: what was not acknowledged is not there after a
// restart, nor are its words.
func TestFailedFlushOfAgents(t *testing.T) {
	dir := t.TempDir()
	s := openIn(t, dir, 0)
	kept := mustPut(t, s, registration(1))
	if err := sqlite.BreakCommit(t.Context(), s, flushError{}); err == nil {
		t.Fatal("the commit that failed was acknowledged")
	}
	ctx := t.Context()
	_, perr := s.PutAgent(ctx, registration(2))
	_, merr := s.Mark(ctx, store.Mark{Kind: "k", Value: "v"}, epoch)
	_, serr := s.SearchAgents(ctx, store.Search{Prefixes: []string{"agent"}, Limit: 1})
	for name, err := range map[string]error{
		"PutAgent": perr, "Mark": merr, "SearchAgents": serr, "DeleteAgent": s.DeleteAgent(ctx, kept.ID, kept.Rev),
		"Beat": s.Beat(ctx, []store.Beat{{ID: kept.ID}}), "Revoke": s.Revoke(ctx, store.Revocation{Kind: "jti", Value: "v"}),
		"AppendAudit": s.AppendAudit(ctx, []store.AuditEntry{{At: epoch}}),
	} {
		if !errors.Is(err, flushError{}) {
			t.Errorf("%s after a failed flush: %v", name, err)
		}
	}
	closeIt(t, s)
	s = openIn(t, dir, 0)
	defer closeIt(t, s)
	wantIDs(t, "after the restart", search(t, s, "agent"), kept.ID)
	soundText(t, s)
}

// TestBackupOfRegistry puts a copy in the place of the database: the search
// works there, and a change of the copy finds the words of its own agent.
func TestBackupOfRegistry(t *testing.T) {
	dir, place := t.TempDir(), t.TempDir()
	s := openIn(t, dir, 0)
	defer closeIt(t, s)
	gone := mustPut(t, s, registration(0)) // so that numbers do not begin at 1
	first := mustPut(t, s, registration(1))
	mustPut(t, s, registration(2))
	if err := s.DeleteAgent(t.Context(), gone.ID, gone.Rev); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Mark(t.Context(), store.Mark{Kind: "k", Value: "v"}, epoch); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), filepath.Join(place, "arcd.db")); err != nil {
		t.Fatal(err)
	}
	mustPut(t, s, registration(3))

	c := openIn(t, place, 0)
	defer closeIt(t, c)
	soundText(t, c)
	wantIDs(t, "search in the copy", search(t, c, "agent"), "agent-00001", "agent-00002")
	first.Texts = [4]string{"renamed"}
	mustPut(t, c, first)
	wantIDs(t, "old words of the copy", search(t, c, "agent"), "agent-00002")
	wantIDs(t, "new words of the copy", search(t, c, "renamed"), "agent-00001")
	if m, err := c.FindMark(t.Context(), "k", "v", epoch); err != nil || m == nil {
		t.Errorf("mark in the copy: %v, %v", m, err)
	}
	wantIDs(t, "search in the original", search(t, s, "agent"), "agent-00001", "agent-00002", "agent-00003")
}

// TestRegistryPlans looks at how SQLite finds rows: along an index, in its
// order. Only hits of a search have to be sorted.
func TestRegistryPlans(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	page := func(q store.AuditQuery) func(context.Context, *sqlite.Engine) (string, error) {
		q.Limit = 50
		return func(ctx context.Context, s *sqlite.Engine) (string, error) { return sqlite.PlanAudit(ctx, s, &q) }
	}
	for name, tc := range map[string]struct {
		plan func(context.Context, *sqlite.Engine) (string, error)
		want []string
	}{
		"agents": {sqlite.PlanAgents, []string{"SEARCH a USING INDEX sqlite_autoindex_agent_1 (id>?)", "SEARCH l USING PRIMARY KEY (id=?)"}},
		"sweeps": {sqlite.PlanSweeps, []string{
			"USING COVERING INDEX mark_expires (expires>? AND expires<?)", "SEARCH mark USING PRIMARY KEY (kind=? AND value=?)",
			"USING COVERING INDEX revocation_expires (expires>? AND expires<?)", "SEARCH revocation USING PRIMARY KEY (kind=? AND value=?)",
			"USING COVERING INDEX audit_at (at<?)", "SEARCH audit USING INTEGER PRIMARY KEY (rowid=?)",
		}},
		"audit":          {page(store.AuditQuery{}), []string{"SEARCH audit USING INTEGER PRIMARY KEY (rowid>?)"}},
		"audit, further": {page(store.AuditQuery{Before: 9}), []string{"(rowid>? AND rowid<?)"}},
		"audit, outcome": {page(store.AuditQuery{Outcome: "o"}), []string{"SEARCH audit USING INTEGER PRIMARY KEY"}},
		"audit, event":   {page(store.AuditQuery{Event: "e", Before: 9}), []string{"USING INDEX audit_event (event=? AND rowid>? AND rowid<?)"}},
		"audit, actor":   {page(store.AuditQuery{Actor: "a", Event: "e"}), []string{"USING INDEX audit_actor (actor=? AND rowid>?)"}},
		"audit, agent":   {page(store.AuditQuery{Agent: "a", Actor: "a"}), []string{"USING INDEX audit_agent (agent=? AND rowid>?)"}},
		"audit, span": {page(store.AuditQuery{From: epoch, To: epoch}), []string{
			"SEARCH audit USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)",
			"USING COVERING INDEX audit_at (at<?)", "USING COVERING INDEX audit_at (at>?)",
		}},
		"audit, span of an agent": {page(store.AuditQuery{Agent: "a", From: epoch, To: epoch}), []string{
			"USING INDEX audit_agent (agent=? AND rowid>? AND rowid<?)",
		}},
	} {
		plan, err := tc.plan(t.Context(), s)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range tc.want {
			if !strings.Contains(plan, want) {
				t.Errorf("%s: %s\nwant %s", name, plan, want)
			}
		}
		if strings.Contains(plan, "TEMP B-TREE") {
			t.Errorf("%s: %s\nwant no sorting", name, plan)
		}
	}
	plan, err := sqlite.PlanSearch(t.Context(), s)
	if err != nil || !strings.Contains(plan, "SCAN agent_text VIRTUAL TABLE INDEX") || !strings.Contains(plan, "SEARCH a USING INTEGER PRIMARY KEY") {
		t.Errorf("search: %s, %v", plan, err)
	}
}

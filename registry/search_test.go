package registry_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

func TestSearch(t *testing.T) {
	w := start(t, nil)
	for id, change := range map[string]func(*arc.Registration){
		"weather": func(p *arc.Registration) {
			p.Name, p.ContextBrief, p.Capabilities = "Weather Oracle", "Forecasts storms and rain", []string{"forecast", "maps"}
		},
		"ledger": func(p *arc.Registration) {
			p.Name, p.ContextBrief, p.Capabilities = "Ledger", "Processes invoices, reports storms of payments", []string{"accounting"}
			p.AgentType = "finance"
		},
		"rain": func(p *arc.Registration) { p.Name, p.ContextBrief = "Rain", "Forecasts storms and rain too" },
	} {
		key := map[string]string{"weather": "key-1", "ledger": "key-2", "rain": "key-3"}[id]
		p := form(id)
		change(&p)
		temp, err := w.reg.RequestTempToken(t.Context(), nobody(), arc.TempTokenParams{AgentID: id, AgentType: p.AgentType, AgentKey: key})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.reg.Register(t.Context(), w.caller(temp.TempToken), p); err != nil {
			t.Fatal(err)
		}
	}
	all, most := 0.0, 100
	find := func(p arc.SearchParams, public bool) []string {
		t.Helper()
		hits, err := w.reg.Search(t.Context(), p, public)
		if err != nil {
			t.Fatal(err)
		}
		ids := []string{}
		for _, h := range hits {
			ids = append(ids, h.ID)
			if h.Similarity <= 0 || h.Similarity > 1 || h.Capabilities == nil {
				t.Errorf("hit %+v", h)
			}
			if public && (h.URL == "http://127.0.0.1:9/agent" || h.Metrics != nil) {
				t.Errorf("anybody sees %+v", h)
			}
		}
		return ids
	}
	for name, c := range map[string]struct {
		p    arc.SearchParams
		want []string
	}{
		"stem":       {arc.SearchParams{Query: "invoicing"}, []string{"ledger"}},
		"type":       {arc.SearchParams{Query: "storm", AgentType: "finance", MinSimilarity: &all}, []string{"ledger"}},
		"capability": {arc.SearchParams{Query: "storm", Capabilities: []string{"forecast", "maps"}, TopK: &most}, []string{"weather"}},
		"nothing":    {arc.SearchParams{Query: "zebra"}, []string{}},
		"syntax":     {arc.SearchParams{Query: `"zebra" OR * NEAR(a b) -x`}, []string{}},
	} {
		if diff := cmp.Diff(c.want, find(c.p, false)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		find(c.p, true)
	}
	if got := find(arc.SearchParams{Query: "weather forecast storms"}, false); len(got) == 0 || got[0] == "ledger" {
		t.Errorf("best for weather: %v", got)
	}
	w.clock.pass(2 * time.Minute)
	if got := find(arc.SearchParams{Query: "storms"}, false); len(got) != 0 {
		t.Errorf("the dead are found: %v", got)
	}
	_, err := w.reg.Search(t.Context(), arc.SearchParams{Query: "x"}, false)
	wantProblem(t, err, arc.ProblemValidation, "VALIDATION_FAILED")
}

// Who has all words is found, and first, even if more agents than are looked at have
// one of them in a weightier place.
func TestSearchKeepsWhoHasAllWords(t *testing.T) {
	w := start(t, nil)
	const many = 300
	for i := range many {
		w.keys = append(w.keys, fmt.Sprintf("agent-%03d=secret-%03d", i, i))
	}
	w.restart()
	for i := range many {
		p := form(fmt.Sprintf("agent-%03d", i))
		switch {
		case i == many-1:
			p.Name, p.Metadata = "Other", map[string]any{"words": "alpha beta " + strings.Repeat("and so on ", 20)}
		case i%3 == 0:
			p.Name, p.Metadata = "Other", map[string]any{"words": "beta"}
		default:
			p.Name = "Alpha"
		}
		if _, err := w.reg.Register(t.Context(), w.caller(w.temp(p.AgentID, fmt.Sprintf("secret-%03d", i))), p); err != nil {
			t.Fatal(err)
		}
	}
	hits, err := w.reg.Search(t.Context(), arc.SearchParams{Query: "alpha beta"}, false)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, hit := range hits {
		ids[hit.ID] = true
	}
	if len(hits) != 10 || len(ids) != 10 || hits[0].ID != "agent-299" || hits[0].Similarity != 1 || hits[1].Similarity != 0.5 {
		t.Errorf("got %+v", hits)
	}
}

// Anybody sees a card, and no endpoint, owner or metadata (flaw W26).
func TestW26AnonymousSeeACard(t *testing.T) {
	for public, sees := range map[string]bool{"card": false, "full": true} {
		w := start(t, func(c *registry.Config) { c.Public = public })
		w.register("agent-1", "key-1")
		a, err := w.reg.PublicAgent("agent-1")
		if err != nil {
			t.Fatal(err)
		}
		b, err := w.reg.PublicList(registry.Filter{}).AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		one, err := a.AppendJSON(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{"127.0.0.1:9/agent", `"tests"`, "north"} {
			if contains(b, text) != sees || contains(one, text) != sees {
				t.Errorf("%s: shows %s: %v", public, text, !sees)
			}
		}
	}
	w := start(t, func(c *registry.Config) { c.Public = "off" })
	w.register("agent-1", "key-1")
	_, err := w.reg.PublicAgent("agent-1")
	wantProblem(t, err, arc.ProblemAgentNotFound, "AGENT_NOT_FOUND")
	if n := len(w.reg.PublicList(registry.Filter{})); n != 0 {
		t.Errorf("%d agents are public", n)
	}
}

func TestListFiltersAndPages(t *testing.T) {
	w := start(t, nil)
	for id, key := range map[string]string{"agent-1": "key-1", "agent-2": "key-2", "bound": "key-b"} {
		w.register(id, key)
	}
	ids := func(f registry.Filter) []string {
		got := []string{}
		for _, a := range w.reg.List(f) {
			got = append(got, a.AgentID)
		}
		return got
	}
	for name, c := range map[string]struct {
		f    registry.Filter
		want []string
	}{
		"all":      {registry.Filter{}, []string{"agent-1", "agent-2", "bound"}},
		"limit":    {registry.Filter{Limit: 2}, []string{"agent-1", "agent-2"}},
		"after":    {registry.Filter{After: "agent-1", Limit: 1}, []string{"agent-2"}},
		"offset":   {registry.Filter{Offset: 2}, []string{"bound"}},
		"dead":     {registry.Filter{Status: arc.AgentDead}, []string{}},
		"any of":   {registry.Filter{AnyOf: []string{"x", "data-processing"}, Limit: 1}, []string{"agent-1"}},
		"all of":   {registry.Filter{AllOf: []string{"x", "data-processing"}}, []string{}},
		"type":     {registry.Filter{Type: "TESTING", After: "agent-2"}, []string{"bound"}},
		"no type":  {registry.Filter{Type: "other"}, []string{}},
		"past end": {registry.Filter{After: "zzz"}, []string{}},
	} {
		if diff := cmp.Diff(c.want, ids(c.f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// The audit log has a line for each happening, no secrets, and pages.
func TestAudit(t *testing.T) {
	w := start(t, nil)
	root := w.login()
	c := w.register("agent-1", "key-1")
	if _, err := w.reg.Login(t.Context(), nobody(), arc.LoginParams{Username: "root", Password: "wrong-guess"}); err == nil {
		t.Fatal("logged in")
	}
	if _, err := w.reg.Unregister(t.Context(), c, "agent-1"); err != nil {
		t.Fatal(err)
	}
	var events []string
	f := registry.AuditFilter{Limit: 2}
	for {
		page, err := w.reg.Audit(t.Context(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Entries {
			events = append(events, e.Event+" "+e.Outcome)
			for _, secret := range []string{"wrong-guess", "pass word", "key-1", c.Principal.TokenID} {
				if contains(e.Detail, secret) || contains([]byte(e.Actor+e.Reason), secret) {
					t.Errorf("entry %+v shows %q", e, secret)
				}
			}
		}
		if f.Cursor = page.Next; f.Cursor == "" {
			break
		}
	}
	want := []string{"unregistered ok", "login refused", "registered ok", "token_issued ok", "login ok"}
	if diff := cmp.Diff(want, events); diff != "" {
		t.Errorf("events, newest first (-want +got):\n%s", diff)
	}
	page, err := w.reg.Audit(t.Context(), registry.AuditFilter{Event: "login", Outcome: "refused"})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Reason != "INVALID_CREDENTIALS" || page.Entries[0].Actor != "admin:root" {
		t.Errorf("got %+v, %v", page, err)
	}
	w.restart()
	if page, err = w.reg.Audit(t.Context(), registry.AuditFilter{Actor: root.Principal.Subject}); err != nil || len(page.Entries) != 2 {
		t.Errorf("after a restart %+v, %v", page, err)
	}
}

// A token of another provider does not pass for somebody else in the log, whatever
// its subject.
func TestAuditTellsProvidersApart(t *testing.T) {
	w := start(t, nil)
	w.register("agent-1", "key-1")
	other := &registry.Caller{Principal: &auth.Principal{
		Provider: "okta", Issuer: "https://okta.example", Subject: "admin:root", ClientID: "x", Agents: []string{"agent-1"},
		Scopes: []string{auth.ScopeServe}, Claims: map[string]any{"token_type": "admin", "agent_id": "agent-1"},
	}}
	if err := w.reg.Admit(other, registry.Admin); codeOf(err) != "INSUFFICIENT_PERMISSIONS" {
		t.Errorf("admitted as administrator: %v", err)
	}
	if _, err := w.reg.Unregister(t.Context(), other, "agent-1"); err != nil {
		t.Fatal(err)
	}
	page, err := w.reg.Audit(t.Context(), registry.AuditFilter{Event: "unregistered"})
	if err != nil || len(page.Entries) != 1 || page.Entries[0].Actor != "okta admin:root" {
		t.Errorf("got %+v, %v", page, err)
	}
}

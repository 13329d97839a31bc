package carrier_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// registered opens a registry with agents that registered themselves long ago: id to
// endpoint and communication mode.
func registered(t *testing.T, agents map[string][2]string) *registry.Registry {
	t.Helper()
	folder := t.TempDir()
	db, err := sqlite.Open(context.Background(), sqlite.Config{File: filepath.Join(folder, "registry.db")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	for id, at := range agents {
		body, err := json.Marshal(m{"registration": arc.Registration{
			AgentID: id, Name: "Name of " + id, AgentType: "automation", Endpoint: at[0], CommunicationMode: at[1],
			ContextBrief: "Does things", Capabilities: []string{"things"}, Version: "1.0.0",
		}})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		if _, err := db.PutAgent(context.Background(), store.Agent{ID: id, Type: "automation", Registered: now, Updated: now, Seen: now, Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	issuer, err := auth.OpenIssuer(auth.IssuerConfig{URL: "http://127.0.0.1:8001", KeyFile: filepath.Join(folder, "keys.json")})
	if err != nil {
		t.Fatal(err)
	}
	r, err := registry.Open(context.Background(), registry.Config{Store: db, Issuer: issuer})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// TestDirectory: who is known, and whether it is there.
func TestDirectory(t *testing.T) {
	sockets := &carrier.Sockets{}
	d := carrier.NewDirectory(carrier.Config{
		Registry: registered(t, map[string][2]string{"far": {"https://far.example", "remote"}, "hidden": {"https://hidden.example", "local"}}),
		Sockets:  sockets,
		Agents: map[string]carrier.Settings{
			"far":      {Agent: methods.Agent{Concurrency: 3, Name: "not this"}},
			"expected": {Agent: methods.Agent{Name: "Expected"}, DialsIn: true},
			"setting":  {Agent: methods.Agent{Concurrency: 3}},
		},
	})
	sockets.Join(&peer{}).Serve([]string{"dialled", "expected"}, 5)
	left := sockets.Join(&peer{})
	left.Serve([]string{"left"}, 5)
	left.Leave()
	for id, want := range map[string]struct {
		known bool
		away  bool
		name  string
	}{
		"far":      {true, false, "Name of far"},
		"hidden":   {true, true, "Name of hidden"},
		"expected": {true, false, "Expected"},
		"dialled":  {true, false, "dialled"},
		"left":     {true, true, "left"},
		"setting":  {false, false, ""},
		"nobody":   {false, false, ""},
	} {
		a, ok := d.Agent(id)
		if ok != want.known || a.Name != want.name || ok && (a.Room() < 0) != want.away {
			t.Errorf("%s: known %v, name %q", id, ok, a.Name)
		}
	}
	if a, _ := d.Agent("far"); a.Concurrency != 3 || !a.Elsewhere {
		t.Errorf("far is %+v", a)
	}
	var others []string
	for _, card := range d.Others() {
		others = append(others, card.ID+" "+card.Name+" "+string(card.Status))
	}
	if diff := cmp.Diff([]string{"dialled dialled active", "expected Expected active", "left left inactive"}, others); diff != "" {
		t.Errorf("others (-want +got):\n%s", diff)
	}
}

// TestRegistered: a registered agent is called at its endpoint, though it sends no
// heartbeats, until it dials in.
func TestRegistered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"task.create": always(task("r1", "COMPLETED", m{"artifacts": []m{artifact("http", "")}}))}.handle)
		sockets := &carrier.Sockets{}
		reg := registered(t, map[string][2]string{"far": {"http://127.0.0.1:1", "remote"}})
		var asked []string
		w := start(t, methods.Config{Registry: reg, Remote: carrier.NewDirectory(carrier.Config{
			Registry: reg, Sockets: sockets,
			HTTP: func(id, endpoint string) carrier.HTTPConfig {
				asked = append(asked, id+" "+endpoint)
				return f.cfg()
			},
		})})
		sockets.Wake = w.s.Wake
		for range 2 {
			if got := made(w.until(w.create(), arc.TaskCompleted)); !cmp.Equal(got, []string{"http="}) {
				t.Errorf("made %v", got)
			}
		}
		if diff := cmp.Diff([]string{"far http://127.0.0.1:1"}, asked); diff != "" {
			t.Errorf("asked (-want +got):\n%s", diff)
		}
		sockets.Join(&peer{work: func(_ context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
			return task(c.Thread, "COMPLETED", m{"artifacts": []m{artifact("socket", "")}}), nil
		}}).Serve([]string{"far"}, 1)
		if got := made(w.until(w.create(), arc.TaskCompleted)); !cmp.Equal(got, []string{"socket="}) {
			t.Errorf("made %v", got)
		}
	})
}

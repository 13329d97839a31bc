package registry_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
)

func (w *world) status(id string) string {
	a, ok := w.reg.Agent(id)
	if !ok {
		return "gone"
	}
	return a.Status
}

// An agent is dead after a minute of silence, and alive again after two
// heartbeats in a row.
func TestHysteresis(t *testing.T) {
	w := start(t, nil)
	c := w.register("agent-1", "key-1")
	beat := func() {
		t.Helper()
		if _, err := w.reg.Beat(c, "agent-1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, step := range []struct {
		pass time.Duration
		beat bool
		want string
	}{
		{60 * time.Second, false, arc.AgentAlive},
		{time.Millisecond, false, arc.AgentDead},
		{time.Second, true, arc.AgentDead},
		{time.Second, true, arc.AgentAlive},
		{59 * time.Second, true, arc.AgentAlive},
		{61 * time.Second, false, arc.AgentDead},
		{time.Second, true, arc.AgentDead},
		{70 * time.Second, true, arc.AgentDead}, // too long after the one before
		{30 * time.Second, true, arc.AgentAlive},
	} {
		w.clock.pass(step.pass)
		if step.beat {
			beat()
		}
		if got := w.status("agent-1"); got != step.want {
			t.Fatalf("after %v (heartbeat: %v): %s, want %s", step.pass, step.beat, got, step.want)
		}
	}
}

// Who was alive before a restart has the whole timeout to be heard of again: the
// server was not there to hear it.
func TestRestartIsNoSilence(t *testing.T) {
	w := start(t, nil)
	w.register("agent-1", "key-1")
	w.register("agent-2", "key-2")
	w.clock.pass(2 * time.Minute)
	synced := w.status("agent-1")
	if synced != arc.AgentDead {
		t.Fatalf("%s after two minutes", synced)
	}
	w.restart()
	if got := w.status("agent-2"); got != arc.AgentAlive {
		t.Errorf("%s at once after a restart", got)
	}
	w.clock.pass(time.Minute + time.Second)
	if got := w.status("agent-2"); got != arc.AgentDead {
		t.Errorf("%s a minute after a restart", got)
	}
}

// The silent are found without anybody asking, removed in the end, and
// heartbeats are written in one go.
func TestRunSweepsAndWrites(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(c *registry.Config) { c.RemoveAfter = 10 * time.Minute })
		w.clock.at = time.Now() // of the bubble, in which time passes by itself
		c := w.register("agent-1", "key-1")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.reg.Run(ctx) }()
		pass := func(d time.Duration) {
			w.clock.pass(d)
			time.Sleep(d)
			synctest.Wait()
		}
		changed := w.reg.Changes()
		pass(61 * time.Second)
		pass(2 * time.Second)
		select {
		case <-changed:
		default:
			t.Error("nobody was told that an agent fell silent")
		}
		if _, err := w.reg.Beat(c, "agent-1"); err != nil {
			t.Fatal(err)
		}
		if _, err := w.reg.Beat(c, "agent-1"); err != nil {
			t.Fatal(err)
		}
		pass(11 * time.Second)
		rows, err := w.db.Agents(t.Context(), "", 10)
		if err != nil || len(rows) != 1 || !rows[0].Alive || rows[0].Rev != 1 {
			t.Errorf("the store has %+v, %v", rows, err)
		}
		pass(10*time.Minute + time.Second)
		pass(2 * time.Second)
		if got := w.status("agent-1"); got != "gone" {
			t.Errorf("%s after ten minutes of silence", got)
		}
		if !w.revoked(c.Principal) {
			t.Error("the token of a removed agent is good")
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Times are those of the world, not of the machine's zone (flaw W20).
func TestW20TimesAreUTC(t *testing.T) {
	w := start(t, nil)
	w.clock.at = w.clock.at.In(time.FixedZone("east", 5*3600))
	w.register("agent-1", "key-1")
	a, _ := w.reg.Agent("agent-1")
	b, err := a.AppendJSON(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := `"last_seen":"2026-01-02T03:04:05.678Z","registered_at":"2026-01-02T03:04:05.678Z"`
	if !contains(b, want) {
		t.Errorf("%s lacks %s", b, want)
	}
	w.restart()
	a, _ = w.reg.Agent("agent-1")
	if b, _ = a.AppendJSON(nil); !contains(b, want) {
		t.Errorf("after a restart %s lacks %s", b, want)
	}
}

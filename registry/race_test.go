package registry_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store"
)

func (h *hookedStore) DeleteAgent(ctx context.Context, id string, rev int64) error {
	if h.deleteAgent != nil {
		h.deleteAgent()
	}
	if err := ctx.Err(); err != nil { // a store may do it all the same
		return err
	}
	return h.Registry.DeleteAgent(ctx, id, rev)
}

func (h *hookedStore) Beat(ctx context.Context, beats []store.Beat) error {
	if h.beat != nil {
		h.beat()
	}
	return h.Registry.Beat(ctx, beats)
}

func (h *hookedStore) AppendAudit(ctx context.Context, entries []store.AuditEntry) error {
	if h.appendAudit != nil {
		if err := h.appendAudit(); err != nil {
			return err
		}
	}
	return h.Registry.AppendAudit(ctx, entries)
}

// While the disk is full, the audit log is tried again at leisure, and nothing of
// it gets lost.
func TestAuditWaitsForTheDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		var room atomic.Bool
		w := start(t, nil)
		w.hooks = &hookedStore{appendAudit: func() error {
			if tries.Add(1); !room.Load() {
				return errors.New("disk full")
			}
			return nil
		}}
		w.restart()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.reg.Run(ctx) }()
		w.login()
		time.Sleep(10 * time.Second) // of the bubble
		synctest.Wait()
		if n := tries.Load(); n < 5 || n > 15 {
			t.Errorf("tried %d times in ten seconds", n)
		}
		room.Store(true)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		page, err := w.reg.Audit(t.Context(), registry.AuditFilter{Event: "login"})
		if err != nil || len(page.Entries) != 1 {
			t.Errorf("got %+v, %v", page, err)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A heartbeat that comes while a silent agent is removed is refused: it is not
// taken and then in vain.
func TestNoHeartbeatIsTakenInVain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(c *registry.Config) { c.RemoveAfter = 10 * time.Minute })
		w.clock.at = time.Now() // of the bubble, in which time passes by itself
		c := w.register("agent-1", "key-1")
		beaten := make(chan error, 1)
		w.hooks = &hookedStore{deleteAgent: func() {
			_, err := w.reg.Beat(c, "agent-1")
			beaten <- err
		}}
		w.restart()
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.reg.Run(ctx) }()
		w.clock.pass(11 * time.Minute)
		wantProblem(t, <-beaten, arc.ProblemAgentNotFound, "AGENT_NOT_FOUND")
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The removal of a silent agent that is under way when the server stops is finished,
// and logged.
func TestRemovalIsFinishedAtTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, func(c *registry.Config) { c.RemoveAfter = 10 * time.Minute })
		w.clock.at = time.Now() // of the bubble, in which time passes by itself
		w.register("agent-1", "key-1")
		ctx, stop := context.WithCancel(t.Context())
		w.hooks = &hookedStore{deleteAgent: stop}
		w.restart()
		done := make(chan error, 1)
		go func() { done <- w.reg.Run(ctx) }()
		w.clock.pass(11 * time.Minute)
		if err := <-done; err != nil {
			t.Error(err)
		}
		w.restart()
		page, err := w.reg.Audit(t.Context(), registry.AuditFilter{Event: "unregistered"})
		if err != nil || len(page.Entries) != 1 || w.reg.Count() != 0 {
			t.Errorf("got %+v, %v, with %d agents", page, err, w.reg.Count())
		}
	})
}

// Heartbeats that are on their way to the store when their agent is replaced do
// not reach the next agent with its id.
func TestBeatsDoNotReachTheNextAgent(t *testing.T) {
	w := start(t, nil)
	c := w.register("agent-1", "key-1")
	if _, err := w.reg.UpdateMetrics(c, "agent-1", map[string]any{"success_rate": 0.5}); err != nil {
		t.Fatal(err)
	}
	w.hooks = &hookedStore{}
	w.restart()
	if _, err := w.reg.Beat(c, "agent-1"); err != nil {
		t.Fatal(err)
	}
	var replacing sync.WaitGroup
	w.hooks.beat = func() {
		w.hooks.beat = nil
		replacing.Go(func() {
			if _, err := w.reg.Unregister(t.Context(), c, "agent-1"); err != nil {
				t.Error(err)
			}
			w.register("agent-1", "key-1")
		})
		// One that waits for nobody is done before so many other writes are.
		for range 50 {
			if err := w.db.SetMark(t.Context(), store.Mark{Kind: "other", Value: "x"}); err != nil {
				t.Error(err)
			}
		}
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if err := w.reg.Run(ended); err != nil { // writes what there is
		t.Fatal(err)
	}
	replacing.Wait()
	rows, err := w.db.Agents(t.Context(), "", 10)
	if err != nil || len(rows) != 1 || rows[0].Counts != nil {
		t.Errorf("the store has %+v, %v: want one agent without counts", rows, err)
	}
}

// An agent's call to unregister that goes on when somebody else has its id by then
// removes nothing.
func TestLateUnregisterRemovesNobodyElse(t *testing.T) {
	w := start(t, nil)
	late := w.register("agent-1", "key-1")
	if _, err := w.reg.Unregister(t.Context(), w.login(), "agent-1"); err != nil {
		t.Fatal(err)
	}
	w.register("agent-1", "key-2")
	_, err := w.reg.Unregister(t.Context(), late, "agent-1")
	wantProblem(t, err, arc.ProblemToken, "TOKEN_REVOKED")
	if got := w.status("agent-1"); got != arc.AgentAlive {
		t.Errorf("the agent is %s", got)
	}
}

// Whoever leaves while an agent is made or removed leaves no half of it.
func TestAgentsAreFinishedWithoutTheirCaller(t *testing.T) {
	w := start(t, nil)
	ctx, leave := context.WithCancel(t.Context())
	w.hooks = &hookedStore{
		setMark: func(m store.Mark) {
			if m.Kind == "pin" { // the first write of a registration
				leave()
			}
		},
		deleteAgent: leave,
	}
	w.restart()
	for range 20 { // a store may do what a caller that left asked for, and may not
		got, err := w.reg.Register(ctx, w.caller(w.temp("agent-1", "key-1")), form("agent-1"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.reg.Unregister(ctx, w.caller(got.AccessToken), "agent-1"); err != nil {
			t.Fatal(err)
		}
	}
}

// What is revoked stays so when the clock is put back and it is revoked again.
func TestW15RevocationsOnlyGrow(t *testing.T) {
	w := start(t, nil)
	admin, c := w.login(), w.register("agent-1", "key-1")
	for range 2 {
		if _, err := w.reg.Revoke(t.Context(), admin, arc.RevokeParams{Subject: "agent:agent-1"}, nil); err != nil {
			t.Fatal(err)
		}
		w.clock.pass(-10 * time.Second)
	}
	if !w.revoked(c.Principal) {
		t.Error("the token came back")
	}
	w.restart()
	if !w.revoked(c.Principal) {
		t.Error("the token came back after a restart")
	}
}

package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
)

func (x *replica) beat(c *registry.Caller, id string) {
	x.t.Helper()
	if _, err := x.reg.Beat(c, id); err != nil {
		x.t.Fatalf("Beat: %v", err)
	}
}

// hear has a replica read what the others wrote of their agents' life.
func (x *replica) hear() {
	x.t.Helper()
	if err := x.reg.Hear(x.t.Context(), time.Time{}); err != nil {
		x.t.Fatalf("hearing: %v", err)
	}
}

// An agent that calls one replica is alive on all, though they ask only when they are
// about to give it up.
func TestSilenceIsThatOnAllReplicas(t *testing.T) {
	all := fleet(t, 3, nil)
	a, b, c := all[0], all[1], all[2]
	caller := a.register("agent-1", "key-1")
	b.look()
	c.look()
	for range 5 {
		a.clock.pass(30 * time.Second)
		a.beat(caller, "agent-1")
		a.reg.Flush(t.Context())
		a.clock.pass(20 * time.Second) // b and c are about to give it up each other time
		for n, x := range all {
			x.reg.Sweep(t.Context())
			if got := x.status("agent-1"); got != arc.AgentAlive {
				t.Fatalf("%s at replica %d", got, n)
			}
		}
	}
	changed := b.reg.Changes()
	a.clock.pass(61 * time.Second)
	for n, x := range all {
		x.reg.Sweep(t.Context())
		if got := x.status("agent-1"); got != arc.AgentDead {
			t.Errorf("%s at replica %d after a minute of silence", got, n)
		}
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told at another replica")
	}
}

// Two heartbeats in a row bring an agent back, wherever they are heard.
func TestRevivalOnTwoReplicas(t *testing.T) {
	all := fleet(t, 3, nil)
	a, b, c := all[0], all[1], all[2]
	caller := a.register("agent-1", "key-1")
	for _, x := range all {
		x.look()
	}
	a.clock.pass(2 * time.Minute)
	for _, x := range all {
		x.reg.Sweep(t.Context())
		x.reg.Flush(t.Context())
	}
	a.beat(caller, "agent-1")
	a.reg.Flush(t.Context())
	a.clock.pass(10 * time.Second)
	b.hear()
	if got := b.status("agent-1"); got != arc.AgentDead {
		t.Fatalf("%s after one heartbeat", got)
	}
	b.beat(caller, "agent-1")
	b.reg.Flush(t.Context())
	for n, x := range []*replica{b, a, c, c.another()} {
		x.hear()
		if got := x.status("agent-1"); got != arc.AgentAlive {
			t.Errorf("%s at replica %d after two", got, n)
		}
	}
}

// What one replica has judged, another that has just started takes over: it cannot know
// for how long an agent was silent before.
func TestNewReplicaTakesOverSilence(t *testing.T) {
	all := fleet(t, 1, nil)
	a := all[0]
	a.register("agent-1", "key-1")
	a.clock.pass(59 * time.Second)
	b := a.another()
	a.clock.pass(2 * time.Second)
	a.reg.Sweep(t.Context())
	a.reg.Flush(t.Context())
	if got := b.status("agent-1"); got != arc.AgentAlive {
		t.Fatalf("%s at the new replica", got)
	}
	b.hear()
	if got := b.status("agent-1"); got != arc.AgentDead {
		t.Errorf("%s when the other has judged", got)
	}
}

// The silent are removed by whoever comes first, and that is logged once.
func TestRemovalByAllReplicas(t *testing.T) {
	all := fleet(t, 3, func(c *registry.Config) { c.RemoveAfter = 10 * time.Minute })
	const agents = 3
	for n := range agents {
		c := all[n].register(fmt.Sprint("agent-", n), fmt.Sprint("key-", n+1))
		all[n].beat(c, fmt.Sprint("agent-", n))
	}
	for _, x := range all {
		x.look()
		x.reg.Flush(t.Context())
	}
	all[0].clock.pass(11 * time.Minute)
	for range 5 { // a replica that came second sees it at its next look
		together(all, func(_ int, x *replica) { x.reg.Sweep(t.Context()) })
		for _, x := range all {
			x.look()
		}
	}
	for n, x := range all {
		if x.reg.Count() != 0 {
			t.Errorf("replica %d has %d agents", n, x.reg.Count())
		}
	}
	if n := audited(t, all, "unregistered"); n != agents {
		t.Errorf("%d entries for %d removals", n, agents)
	}
}

// What is observed of an agent at several replicas at once adds up.
func TestCountsAddUp(t *testing.T) {
	all := fleet(t, 3, nil)
	all[0].register("agent-1", "key-1")
	for _, x := range all {
		x.look()
	}
	const each, rounds = 20, 5
	admins := make([]*registry.Caller, len(all))
	for n, x := range all {
		admins[n] = x.login()
	}
	for range rounds {
		together(all, func(n int, x *replica) {
			for i := range each {
				if _, err := x.reg.ReportMetrics(admins[n], "agent-1", 1, i%4 != 0); err != nil {
					t.Errorf("ReportMetrics: %v", err)
				}
				if i%7 == 0 {
					x.reg.Flush(t.Context())
				}
			}
		})
	}
	for _, x := range all {
		for x.reg.Pending() > 0 { // another had the lease
			x.reg.Flush(t.Context())
		}
	}
	for n, x := range append(all, all[0].another()) {
		x.hear()
		info, _ := x.reg.Agent("agent-1")
		if m := info.Metrics; m.TotalRequests != 3*each*rounds || m.SuccessRate < 0.7499 || m.SuccessRate > 0.7501 {
			t.Errorf("replica %d: %d requests, %v successes", n, m.TotalRequests, m.SuccessRate)
		}
	}
}

// What is pending of an agent when its id becomes another's is not the other's.
func TestCountsAreOfOneRegistration(t *testing.T) {
	all := fleet(t, 2, nil)
	a, b := all[0], all[1]
	first := a.register("agent-1", "key-1")
	b.look()
	admin := b.login()
	if _, err := b.reg.ReportMetrics(admin, "agent-1", 1, true); err != nil {
		t.Fatal(err)
	}
	// Between the look and the write of b the id becomes somebody else's.
	b.late.mu.Lock()
	b.late.beat = func() {
		if _, err := a.reg.Unregister(t.Context(), first, "agent-1"); err != nil {
			t.Error(err)
		}
		a.register("agent-1", "key-2")
		b.late.mu.Lock()
		b.late.beat = nil
		b.late.mu.Unlock()
	}
	b.late.mu.Unlock()
	b.reg.Flush(t.Context())
	for n, x := range []*replica{a, b, a.another()} {
		x.look()
		x.hear()
		info, ok := x.reg.Agent("agent-1")
		if !ok || info.Metrics.TotalRequests != 0 {
			t.Errorf("replica %d: %v, %+v", n, ok, info.Metrics)
		}
	}
}

// A heartbeat that the others cannot guess is written at once, all others later.
func TestUrgentHeartbeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, nil)
		w.clock.at = time.Now()
		w.restart()
		c := w.register("agent-1", "key-1")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.reg.Run(ctx) }()
		pass := func(d time.Duration) {
			w.clock.pass(d)
			time.Sleep(d)
			synctest.Wait()
		}
		written := func() time.Time {
			rows, err := w.db.Agents(t.Context(), "", 9)
			if err != nil || len(rows) != 1 {
				t.Fatalf("%+v, %v", rows, err)
			}
			return rows[0].Seen
		}
		for _, step := range []struct {
			pass time.Duration
			want bool // it is in the store soon
		}{{21 * time.Second, false}, {35 * time.Second, true}, {22 * time.Second, false}} {
			pass(step.pass)
			at := w.clock.Now()
			if _, err := w.reg.Beat(c, "agent-1"); err != nil {
				t.Fatal(err)
			}
			pass(300 * time.Millisecond)
			if soon := written().Equal(at.UTC()); soon != step.want {
				t.Errorf("after %v: written soon is %v", step.pass, soon)
			}
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// The store's form of what older versions wrote is read.
func TestCountsOfOlderVersions(t *testing.T) {
	w := start(t, nil)
	c := w.register("agent-1", "key-1")
	if _, err := w.reg.ReportMetrics(c, "agent-1", 1, true); err != nil {
		t.Fatal(err)
	}
	w.reg.Flush(t.Context())
	beats, err := w.db.Beats(t.Context(), time.Time{})
	if err != nil || len(beats) != 1 {
		t.Fatalf("%+v, %v", beats, err)
	}
	var old map[string]any
	if err := json.Unmarshal(beats[0].Counts, &old); err != nil {
		t.Fatal(err)
	}
	if delete(old, "of"); old["total_requests"] != 1.0 {
		t.Errorf("stored: %v", old)
	}
	if beats[0].Counts, err = json.Marshal(old); err != nil {
		t.Fatal(err)
	}
	if err := w.db.Beat(t.Context(), beats); err != nil {
		t.Fatal(err)
	}
	w.restart()
	info, _ := w.reg.Agent("agent-1")
	if info.Metrics.TotalRequests != 1 {
		t.Errorf("read: %+v", info.Metrics)
	}
}

package registry_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store"
)

// An agent does each step of its life at another replica, and none of them has looked
// at what the others wrote.
func TestOneLifeOnThreeReplicas(t *testing.T) {
	all := fleet(t, 3, nil)
	a, b, c := all[0], all[1], all[2]
	temp := a.temp("agent-1", "key-1")
	validated, err := b.reg.ValidateCompliance(t.Context(), b.caller(temp), arc.ComplianceParams{
		AgentID: "agent-1", AgentType: "testing", Endpoint: form("agent-1").Endpoint, Capabilities: []string{"data-processing"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.reg.Validation(t.Context(), c.caller(temp), validated.ValidationID); err != nil {
		t.Errorf("the validation at another replica: %v", err)
	}
	registered, err := c.reg.Register(t.Context(), c.caller(*validated.ValidatedToken), form("agent-1"))
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.reg.Register(t.Context(), a.caller(*validated.ValidatedToken), form("agent-1"))
	if err != nil {
		t.Errorf("the same registration again, at another replica: %v", err)
	}
	if _, err := a.reg.Beat(a.caller(registered.AccessToken), "agent-1"); err != nil {
		t.Errorf("heartbeat: %v", err)
	}
	next, err := b.reg.Refresh(t.Context(), b.caller(registered.AccessToken))
	if err != nil {
		t.Fatal(err)
	}
	a.look()
	a.wantRefused(a.all, registered.AccessToken, auth.ReasonRevoked)
	if _, err := c.reg.Unregister(t.Context(), c.caller(next.AccessToken), "agent-1"); err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		x.look()
		x.wantRefused(x.all, next.AccessToken, auth.ReasonRevoked)
		if x.reg.Count() != 0 {
			t.Error("a replica still has the agent")
		}
	}
	if n := audited(t, all, "unregistered"); n != 1 {
		t.Errorf("%d entries for one end", n)
	}
}

// What is revoked at one replica is refused by the others within a second, and whoever
// holds a connection open there is woken.
func TestRevocationsReachAllReplicas(t *testing.T) {
	all := fleet(t, 3, nil)
	a, b := all[0], all[1]
	agent := a.register("agent-1", "key-1")
	admin := a.login()
	for _, x := range all {
		x.look()
		x.follow()
	}
	woken := b.reg.Revocations()
	began := time.Now()
	if _, err := a.reg.Revoke(t.Context(), admin, arc.RevokeParams{Subject: agent.Principal.Subject}, nil); err != nil {
		t.Fatal(err)
	}
	<-woken
	if took := time.Since(began); took > 5*time.Second { // a second, on a machine that has nothing else to do
		t.Errorf("it took %v", took)
	}
	if !b.revoked(agent.Principal) {
		t.Error("the token is good elsewhere")
	}
}

// enter opens a session of root and gives its token.
func (x *replica) enter() string {
	x.t.Helper()
	got, err := x.reg.Login(x.t.Context(), nobody(), arc.LoginParams{Username: "root", Password: "pass word"})
	if err != nil {
		x.t.Fatalf("Login: %v", err)
	}
	return got.AccessToken
}

// refresh gives the token that follows another.
func (x *replica) refresh(token string) string {
	x.t.Helper()
	got, err := x.reg.Refresh(x.t.Context(), x.caller(token))
	if err != nil {
		x.t.Fatalf("Refresh: %v", err)
	}
	return got.AccessToken
}

// A session is one wherever it is used: its login, refresh and end may be at three
// replicas.
func TestSessionsOnAllReplicas(t *testing.T) {
	all := fleet(t, 3, func(c *registry.Config) { c.MaxSessions = 3 })
	a, b, c := all[0], all[1], all[2]
	first := a.enter()
	second := b.refresh(first)
	a.look()
	a.wantRefused(a.all, first, auth.ReasonRevoked)
	if _, err := c.reg.Logout(t.Context(), c.caller(second)); err != nil {
		t.Fatal(err)
	}
	for _, x := range all {
		x.look()
		x.wantRefused(x.all, second, auth.ReasonRevoked)
	}
	var tokens []string
	for n := range 5 {
		tokens = append(tokens, all[n%3].enter())
		a.clock.pass(time.Millisecond)
	}
	for n, token := range tokens {
		a.look()
		if n < 2 {
			a.wantRefused(a.all, token, auth.ReasonRevoked)
		} else {
			a.caller(token)
		}
	}
}

// A session that ends at one replica while another prolongs it stays over.
func TestEndedSessionsStayOver(t *testing.T) {
	all := fleet(t, 3, nil)
	a, b, c := all[0], all[1], all[2]
	token := a.enter()
	out := b.caller(token)
	a.late.mu.Lock()
	a.late.setMark = func(m store.Mark) {
		if m.Kind == "session" { // the last write but one of a refresh
			if _, err := b.reg.Logout(t.Context(), out); err != nil {
				t.Errorf("Logout: %v", err)
			}
		}
	}
	a.late.mu.Unlock()
	next := a.refresh(token)
	for _, x := range all {
		x.look()
		x.wantRefused(x.all, next, auth.ReasonRevoked)
	}
	x := c.another()
	x.wantRefused(x.all, next, auth.ReasonRevoked)
}

// Of the same agent that registers at three replicas at once, with three keys, one does.
func TestOneOfThreeRegistrations(t *testing.T) {
	all := fleet(t, 3, nil)
	for round := range 10 {
		id := fmt.Sprintf("agent-%d", round)
		var won atomic.Int32
		winner := make([]string, len(all))
		together(all, func(n int, x *replica) {
			got, err := x.join(id, fmt.Sprintf("key-%d", n+1))
			if err == nil {
				won.Add(1)
				winner[n] = got.AccessToken
				return
			}
			if e, _ := errors.AsType[*arc.Error](err); e == nil || e.Kind() != arc.ProblemDuplicateAgent {
				t.Errorf("replica %d: %v", n, err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("round %d: %d registrations of one id", round, won.Load())
		}
		// Of its end at all at once, one is told that it was.
		var ended atomic.Int32
		together(all, func(_ int, x *replica) {
			x.look()
			admin := &registry.Caller{Principal: &auth.Principal{
				Provider: auth.IssuerName, Claims: map[string]any{"token_type": "admin"},
			}}
			_, err := x.reg.Unregister(t.Context(), admin, id)
			e, _ := errors.AsType[*arc.Error](err)
			switch {
			case err == nil:
				ended.Add(1)
			case e == nil || e.Kind() != arc.ProblemAgentNotFound && e.Kind() != arc.ProblemUnavailable:
				t.Errorf("Unregister: %v", err)
			}
		})
		if ended.Load() != 1 {
			t.Fatalf("round %d: ended %d times", round, ended.Load())
		}
		all[0].clock.pass(21 * time.Minute) // the tokens of those who came second are over, and their keys free
	}
	if n := audited(t, all, "unregistered"); n != 10 {
		t.Errorf("%d entries for ten ends", n)
	}
}

// One agent key for any agent goes to one of those that use it at once.
func TestOneKeyForOneAgent(t *testing.T) {
	all := fleet(t, 3, nil)
	for round := range 5 {
		var won atomic.Int32
		ids := make([]string, len(all))
		together(all, func(n int, x *replica) {
			id := fmt.Sprintf("agent-%d-%d", round, n)
			if _, err := x.join(id, "key-1"); err == nil {
				won.Add(1)
				ids[n] = id
			} else if e, _ := errors.AsType[*arc.Error](err); e == nil || e.ErrorCode() != "AGENT_KEY_IN_USE" {
				t.Errorf("replica %d: %v", n, err)
			}
		})
		if won.Load() != 1 {
			t.Fatalf("round %d: the key went to %d agents", round, won.Load())
		}
		for n, id := range ids {
			if id == "" {
				continue
			}
			root := all[n].login()
			if _, err := all[n].reg.Unregister(t.Context(), root, id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A registration that failed keeps the key for a minute: it may be under way.
func TestLeftOverKeyIsFreeAfterAMinute(t *testing.T) {
	all := fleet(t, 2, nil)
	a, b := all[0], all[1]
	body := fmt.Appendf(nil, "agent-1\n%d", a.clock.Now().UnixMilli())
	if err := a.shared.SetMark(t.Context(), store.Mark{Kind: "pin", Value: keyHashOf(t, a), Body: body}); err != nil {
		t.Fatal(err)
	}
	wantProblem(t, b.asks("agent-2", "key-1"), arc.ProblemRegistration, "AGENT_KEY_IN_USE")
	a.clock.pass(time.Minute)
	if err := b.asks("agent-2", "key-1"); err != nil {
		t.Errorf("after a minute: %v", err)
	}
}

// keyHashOf gives the hash of key-1, as the store knows it.
func keyHashOf(t *testing.T, x *replica) string {
	t.Helper()
	x.temp("agent-1", "key-1")
	marks, err := x.shared.Marks(t.Context(), "pin", x.clock.Now())
	if err != nil || len(marks) != 1 {
		t.Fatalf("pins: %v, %v", marks, err)
	}
	return marks[0].Value
}

// A replica that has not heard of anything for a while ends nobody else's registration:
// the numbers of changes begin anew with an id, and so two may have the same.
func TestLateReplicaEndsNobodyElse(t *testing.T) {
	all := fleet(t, 2, nil)
	a, b := all[0], all[1]
	a.register("agent-1", "key-1")
	b.look()
	admin := b.login()
	b.late.setDeaf(true)
	a.clock.pass(time.Second)
	if _, err := a.reg.Unregister(t.Context(), a.login(), "agent-1"); err != nil {
		t.Fatal(err)
	}
	second := a.register("agent-1", "key-1")
	_, err := b.reg.Unregister(t.Context(), admin, "agent-1")
	wantProblem(t, err, arc.ProblemUnavailable, "SERVICE_UNAVAILABLE")
	b.late.setDeaf(false)
	b.look()
	if b.revoked(second.Principal) || a.revoked(second.Principal) {
		t.Error("the next registration of the id is over")
	}
	rows, err := a.shared.Agents(t.Context(), "", 9)
	if err != nil || len(rows) != 1 {
		t.Errorf("the store has %+v, %v", rows, err)
	}
}

// Three replicas that start at once have one secret of subjects and one signing key.
func TestReplicasThatStartAtOnceAgree(t *testing.T) {
	for range 3 {
		all := fleet(t, 3, nil)
		var subject string
		for n, x := range all {
			c := x.register("agent-1", "key-1")
			if subject == "" {
				subject = c.Principal.Subject
			}
			if c.Principal.Subject != subject {
				t.Errorf("replica %d calls %s what another called %s", n, c.Principal.Subject, subject)
			}
			for _, y := range all {
				if string(y.issuer.JWKS()) != string(x.issuer.JWKS()) {
					t.Error("two replicas publish different keys")
				}
			}
			if _, err := x.reg.Unregister(t.Context(), c, "agent-1"); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// The keys in a store are changed one at a time, and the last of those who were faster
// counts.
func TestSigningKeysCompareAndSet(t *testing.T) {
	all := fleet(t, 3, nil)
	now := all[0].clock.Now
	var wins atomic.Int32
	together(all, func(n int, x *replica) {
		keys := registry.NewSigningKeys(x.shared, now)
		for i := range 20 {
			_, version, err := keys.Load(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			swapped, err := keys.Swap(t.Context(), version, fmt.Appendf(nil, "%d-%d", n, i))
			if err != nil {
				t.Error(err)
			}
			if swapped {
				wins.Add(1)
			}
		}
	})
	keys := registry.NewSigningKeys(all[0].shared, now)
	content, version, err := keys.Load(t.Context())
	if err != nil || version != 1+int64(wins.Load()) {
		t.Errorf("version %d after %d changes of version 1, %v", version, wins.Load(), err)
	}
	for _, old := range []int64{0, version - 1} {
		if swapped, err := keys.Swap(t.Context(), old, []byte("late")); swapped || err != nil {
			t.Errorf("a change of version %d: %v, %v", old, swapped, err)
		}
	}
	// Old versions go some day, and the last one stays.
	all[0].clock.pass(25 * time.Hour)
	if _, err := all[0].shared.PruneRegistry(t.Context(), now(), time.Time{}, 1000); err != nil {
		t.Fatal(err)
	}
	again, version2, err := keys.Load(t.Context())
	marks, _ := all[0].shared.Marks(t.Context(), "issuer_keys", now())
	if string(again) != string(content) || version2 != version || err != nil || len(marks) != 1 {
		t.Errorf("after a day: %s of version %d, %v, in %d marks", again, version2, err, len(marks))
	}
}

// A replica that missed too much reads everything again, and forgets nothing of what it
// was told meanwhile.
func TestWholeReload(t *testing.T) {
	all := fleet(t, 2, nil)
	a, b := all[0], all[1]
	stays := a.register("agent-1", "key-1")
	goes := a.register("agent-2", "key-2")
	session := a.enter()
	b.look()
	if _, err := b.reg.ReportMetrics(b.login(), "agent-1", 2, true); err != nil {
		t.Fatal(err)
	}
	if _, err := b.reg.Beat(stays, "agent-1"); err != nil {
		t.Fatal(err)
	}
	if _, err := a.reg.Unregister(t.Context(), goes, "agent-2"); err != nil {
		t.Fatal(err)
	}
	bound := a.register("bound", "key-b")
	if _, err := a.reg.Logout(t.Context(), a.caller(session)); err != nil {
		t.Fatal(err)
	}
	a.clock.pass(25 * time.Hour) // what is gone is not told any more
	if _, err := a.shared.PruneRegistry(t.Context(), a.clock.Now(), time.Time{}, 1000); err != nil {
		t.Fatal(err)
	}
	if c, err := a.shared.Changes(t.Context(), 1); err != nil || !c.Whole {
		t.Fatalf("Changes since the beginning: %+v, %v", c, err)
	}
	b.late.setWhole()
	b.look()
	if !b.revoked(goes.Principal) || b.revoked(stays.Principal) || b.revoked(bound.Principal) {
		t.Error("the agents are not those of the store")
	}
	if _, err := b.all.Validate(t.Context(), session); err == nil {
		t.Error("the session is there")
	}
	info, ok := b.reg.Agent("agent-1")
	if !ok || info.Metrics.TotalRequests != 1 {
		t.Errorf("the agent is %+v", info.Metrics)
	}
}

// When the store cannot be asked what was revoked, tokens are taken for ten seconds
// more, and none after that; when it is back, within a second again.
func TestFailsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		w := start(t, nil)
		w.clock.at = time.Now()
		w.hooks = &hookedStore{changes: func() error {
			if down.Load() {
				return errors.New("store down")
			}
			return nil
		}}
		w.restart()
		token := w.tokenOf("agent-1", "key-1")
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.reg.Run(ctx) }()
		judged := func(want string) {
			t.Helper()
			synctest.Wait()
			_, err := w.all.Validate(t.Context(), token)
			e, refused := errors.AsType[*arc.Error](err)
			if refused != (want != "") || refused && e.Reason() != want {
				t.Errorf("%v, want %q", err, want)
			}
			if err := w.reg.Ready(t.Context()); (err != nil) != refused {
				t.Errorf("Ready: %v", err)
			}
		}
		pass := func(d time.Duration) {
			w.clock.pass(d)
			time.Sleep(d)
		}
		pass(time.Minute)
		judged("")
		down.Store(true)
		pass(9 * time.Second)
		judged("")
		pass(2 * time.Second)
		judged(auth.ReasonRevocationsUnknown)
		pass(time.Minute)
		judged(auth.ReasonRevocationsUnknown)
		_, err := w.reg.Login(t.Context(), nobody(), arc.LoginParams{Username: "root", Password: "pass word"})
		wantProblem(t, err, arc.ProblemUnavailable, "SERVICE_UNAVAILABLE")
		down.Store(false)
		pass(time.Second)
		judged("")
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// A registry that nobody runs looks when it is asked, so a command that rested is no
// outage; and one that is alone asks nobody.
func TestRestIsNoOutage(t *testing.T) {
	for _, alone := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := start(t, func(c *registry.Config) { c.Alone = alone })
			var asked atomic.Int32
			w.hooks = &hookedStore{changes: func() error { asked.Add(1); return nil }}
			w.restart()
			token := w.tokenOf("agent-1", "key-1")
			asked.Store(0)
			time.Sleep(time.Hour)
			w.caller(token)
			if n := asked.Load(); (n == 0) != alone {
				t.Errorf("alone: %v, asked %d times", alone, n)
			}
		})
	}
}

// Whoever has a good token of something that is over cannot make the registry look at
// the store with each call.
func TestOldTokensCauseNoLooks(t *testing.T) {
	w := start(t, nil)
	var asked atomic.Int32
	w.hooks = &hookedStore{changes: func() error { asked.Add(1); return nil }}
	w.restart()
	c := w.register("agent-1", "key-1")
	w.clock.pass(20 * time.Second)
	if _, err := w.reg.Unregister(t.Context(), w.login(), "agent-1"); err != nil {
		t.Fatal(err)
	}
	asked.Store(0)
	for range 100 {
		if !w.revoked(c.Principal) {
			t.Fatal("good")
		}
	}
	if n := asked.Load(); n != 0 {
		t.Errorf("asked %d times", n)
	}
}

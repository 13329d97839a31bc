package registry_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

// A registered agent is found, survives a restart, and is gone when it is
// unregistered, its token at once.
func TestRegistrationFromBeginningToEnd(t *testing.T) {
	w := start(t, nil)
	changed := w.reg.Changes()
	c := w.register("agent-1", "key-1")
	select {
	case <-changed:
	default:
		t.Error("nobody was told of the change")
	}
	check := func() {
		t.Helper()
		a, err := w.reg.GetAgent("agent-1", true)
		if err != nil {
			t.Fatal(err)
		}
		if a.Status != arc.AgentAlive || a.Endpoint != "http://127.0.0.1:9/agent" || a.Metrics == nil {
			t.Errorf("got %+v", a)
		}
		if w.revoked(c.Principal) {
			t.Error("its token is refused")
		}
	}
	check()
	w.restart()
	check()
	got, err := w.reg.Unregister(t.Context(), c, "agent-1")
	if err != nil {
		t.Fatal(err)
	}
	if got.By != "agent-1" || !w.revoked(c.Principal) {
		t.Errorf("unregistered by %q, token revoked: %v", got.By, w.revoked(c.Principal))
	}
	_, err = w.reg.GetAgent("agent-1", false)
	wantProblem(t, err, arc.ProblemAgentNotFound, "AGENT_NOT_FOUND")
	again := w.register("agent-1", "key-1")
	if !w.revoked(c.Principal) || w.revoked(again.Principal) {
		t.Error("the token of the registration before is good for the next, or the next one's is not")
	}
}

// A plain key belongs to the first agent that uses it; a bound one to its agent
// alone; and nobody acts for an agent that another key registered (flaw W4).
func TestW4KeysAreBoundToAgents(t *testing.T) {
	w := start(t, nil)
	w.register("agent-1", "key-1")
	ask := func(id, key string) error {
		_, err := w.reg.RequestTempToken(t.Context(), nobody(), arc.TempTokenParams{AgentID: id, AgentType: "testing", AgentKey: key})
		return err
	}
	wantProblem(t, ask("agent-2", "key-1"), arc.ProblemRegistration, "AGENT_KEY_IN_USE")
	wantProblem(t, ask("agent-2", "key-b"), arc.ProblemAuthentication, "INVALID_AGENT_KEY")
	wantProblem(t, ask("agent-2", "key-9"), arc.ProblemAuthentication, "INVALID_AGENT_KEY")
	w.restart()
	wantProblem(t, ask("agent-2", "key-1"), arc.ProblemRegistration, "AGENT_KEY_IN_USE")
	w.register("bound", "key-b")

	// Another key gives a token for agent-1, which opens nothing of agent-1.
	other := w.caller(w.temp("agent-1", "key-2"))
	if err := w.reg.Admit(other, registry.Member); err == nil {
		t.Error("a temp token may change an agent")
	}
	_, err := w.reg.Register(t.Context(), other, form("agent-1"))
	wantProblem(t, err, arc.ProblemDuplicateAgent, "DUPLICATE_AGENT")
	w.clock.pass(2 * time.Minute) // agent-1 is dead now
	_, err = w.reg.Register(t.Context(), other, form("agent-1"))
	wantProblem(t, err, arc.ProblemRegistration, "AGENT_KEY_MISMATCH")

	// One agent is no other.
	c := w.register("agent-3", "key-3")
	for name, err := range map[string]error{
		"unregister": second(w.reg.Unregister(t.Context(), c, "agent-1")),
		"heartbeat":  second(w.reg.Beat(c, "agent-1")),
		"metrics":    second(w.reg.UpdateMetrics(c, "agent-1", map[string]any{"success_rate": 1.0})),
		"read":       second(w.reg.Metrics(c, "agent-1")),
	} {
		if err == nil {
			t.Errorf("%s of another's agent", name)
			continue
		}
		wantProblem(t, err, arc.ProblemPermission, "INSUFFICIENT_PERMISSIONS")
	}
}

func second[T any](_ T, err error) error { return err }

// A key that nobody registers with is free again when its temp token is over.
func TestPinEndsWithTheTempToken(t *testing.T) {
	w := start(t, nil)
	w.temp("agent-1", "key-1")
	w.clock.pass(15*time.Minute + time.Second)
	w.temp("agent-2", "key-1")
}

// A validated token registers once (flaw W9).
func TestW9ValidatedTokenRegistersOnce(t *testing.T) {
	w := start(t, func(c *registry.Config) { c.RequireValidation = true })
	temp := w.caller(w.temp("agent-1", "key-1"))
	_, err := w.reg.Register(t.Context(), temp, form("agent-1"))
	wantProblem(t, err, arc.ProblemToken, "WRONG_TOKEN_TYPE")
	passed, err := w.reg.ValidateCompliance(t.Context(), temp, arc.ComplianceParams{
		AgentID: "agent-1", AgentType: "testing", Endpoint: "http://127.0.0.1:9/agent", Capabilities: []string{"data-processing"},
	})
	if err != nil {
		t.Fatal(err)
	}
	shown, err := w.reg.Validation(t.Context(), temp, passed.ValidationID)
	if err != nil || shown.ValidatedToken != nil || shown.Status != "passed" {
		t.Errorf("the validation shows %+v, %v: the token must not be shown again", shown, err)
	}
	validated := w.caller(*passed.ValidatedToken)
	if err := w.reg.Admit(validated, registry.Validating); err == nil {
		t.Error("a validated token validates again")
	}
	for _, change := range []func(*arc.Registration){
		func(p *arc.Registration) { p.Endpoint = "http://10.9.9.9:99" },
		func(p *arc.Registration) { p.AgentType = "other" },
	} {
		wish := form("agent-1")
		change(&wish)
		_, err := w.reg.Register(t.Context(), validated, wish)
		wantProblem(t, err, arc.ProblemRegistration, "NOT_VALIDATED")
	}
	got, err := w.reg.Register(t.Context(), validated, form("agent-1"))
	if err != nil {
		t.Fatal(err)
	}
	other := form("agent-1")
	other.Owner = "somebody else"
	_, err = w.reg.Register(t.Context(), validated, other)
	wantProblem(t, err, arc.ProblemDuplicateAgent, "DUPLICATE_AGENT")
	if _, err := w.reg.Unregister(t.Context(), w.caller(got.AccessToken), "agent-1"); err != nil {
		t.Fatal(err)
	}
	_, err = w.reg.Register(t.Context(), validated, form("agent-1"))
	wantProblem(t, err, arc.ProblemToken, "TOKEN_ALREADY_USED")
}

// The same request again, as a client sends it that got no answer, is the same
// registration; what is kept for that answers nobody else (flaw W7).
func TestW7RepeatedRegistrations(t *testing.T) {
	w := start(t, nil)
	c := w.caller(w.temp("agent-1", "key-1"))
	c.IdempotencyKey = "one"
	first, err := w.reg.Register(t.Context(), c, form("agent-1"))
	if err != nil {
		t.Fatal(err)
	}
	again := w.caller(w.temp("agent-1", "key-1")) // another token of the same key
	again.IdempotencyKey = "one"
	got, err := w.reg.Register(t.Context(), again, form("agent-1"))
	if err != nil || !again.Replayed {
		t.Fatalf("replayed: %v, %v", again.Replayed, err)
	}
	if got.AccessToken == first.AccessToken {
		t.Error("the token was kept")
	}
	if w.revoked(w.caller(first.AccessToken).Principal) {
		t.Error("the first answer's token is refused")
	}
	other := form("agent-1")
	other.Owner = "somebody else"
	_, err = w.reg.Register(t.Context(), again, other)
	wantProblem(t, err, arc.ProblemDuplicateAgent, "IDEMPOTENCY_CONFLICT")

	foreign := w.caller(w.temp("agent-1", "key-2")) // another key's holder knows the idempotency key
	foreign.IdempotencyKey = "one"
	_, err = w.reg.Register(t.Context(), foreign, form("agent-1"))
	wantProblem(t, err, arc.ProblemDuplicateAgent, "DUPLICATE_AGENT")
}

// Of many registrations of one id at a time, one makes the agent.
func TestRegisterRace(t *testing.T) {
	w := start(t, nil)
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	callers := []*registry.Caller{}
	for range 8 {
		callers = append(callers, w.caller(w.temp("agent-1", "key-1")))
	}
	for _, c := range callers {
		wg.Go(func() {
			if _, err := w.reg.Register(t.Context(), c, form("agent-1")); err == nil {
				mu.Lock()
				made++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d registrations of different tokens succeeded, want 1", made)
	}
}

// Tokens end with the agent key that they stand on.
func TestRemovedKeyEndsItsTokens(t *testing.T) {
	w := start(t, nil)
	agent, temp := w.register("agent-1", "key-1"), w.caller(w.temp("agent-2", "key-2"))
	stays := w.register("agent-3", "key-3")
	w.keys = []string{"key-3"}
	w.restart()
	if !w.revoked(agent.Principal) || !w.revoked(temp.Principal) {
		t.Error("tokens of keys that are gone are good")
	}
	if w.revoked(stays.Principal) {
		t.Error("the token of a key that is there is refused")
	}
}

func TestRegisterRefusals(t *testing.T) {
	w := start(t, func(c *registry.Config) {
		c.Types = []string{"Testing"}
		c.Taken = func(id string) bool { return id == "echo" }
		c.MaxAgents = 1
	})
	wish := form("agent-1")
	wish.AgentType = "other"
	_, err := w.reg.Register(t.Context(), w.caller(w.temp("agent-1", "key-1")), wish)
	wantProblem(t, err, arc.ProblemValidation, "VALIDATION_FAILED")
	_, err = w.reg.Register(t.Context(), w.caller(w.temp("agent-1", "key-1")), form("agent-2"))
	wantProblem(t, err, arc.ProblemPermission, "INSUFFICIENT_PERMISSIONS")
	_, err = w.reg.Register(t.Context(), w.caller(w.temp("echo", "key-2")), form("echo"))
	wantProblem(t, err, arc.ProblemDuplicateAgent, "DUPLICATE_AGENT")
	w.register("agent-1", "key-1")
	_, err = w.reg.Register(t.Context(), w.caller(w.temp("agent-3", "key-3")), form("agent-3"))
	wantProblem(t, err, arc.ProblemRegistration, "REGISTRY_FULL")
}

// Missing agent keys refuse agents and nothing else (flaw W22).
func TestW22WithoutKeys(t *testing.T) {
	w := start(t, nil)
	w.keys = nil
	w.restart()
	_, err := w.reg.RequestTempToken(t.Context(), nobody(), arc.TempTokenParams{AgentID: "agent-1", AgentType: "testing", AgentKey: "key-1"})
	wantProblem(t, err, arc.ProblemAuthentication, "INVALID_AGENT_KEY")
	w.login()
}

// Only the server makes reputation, and only the agent and administrators report
// on it (flaws W18, W19).
func TestW18W19Reputation(t *testing.T) {
	w := start(t, nil)
	c, other := w.register("agent-1", "key-1"), w.register("agent-2", "key-2")
	got, err := w.reg.UpdateMetrics(c, "agent-1", map[string]any{"reputation_score": 99999.0, "success_rate": 0.5, "agent_id": "x", "odd": "y"})
	if err != nil {
		t.Fatal(err)
	}
	if got.Metrics.ReputationScore > 1 || got.Metrics.SuccessRate != 0.5 || got.Metrics.AgentID != "agent-1" {
		t.Errorf("got %+v", got.Metrics)
	}
	for _, bad := range []map[string]any{{"success_rate": 2.0}, {"total_requests": "many"}, {"error_rate": -1.0}} {
		_, err := w.reg.UpdateMetrics(c, "agent-1", bad)
		wantProblem(t, err, arc.ProblemValidation, "VALIDATION_FAILED")
	}
	_, err = w.reg.ReportMetrics(other, "agent-1", 1, true)
	wantProblem(t, err, arc.ProblemPermission, "INSUFFICIENT_PERMISSIONS")
	_, err = w.reg.ReportMetrics(w.login(), "nobody-there", 1, true)
	wantProblem(t, err, arc.ProblemAgentNotFound, "AGENT_NOT_FOUND")
	if _, err := w.reg.ReportMetrics(c, "agent-1", 1, true); err != nil {
		t.Fatal(err)
	}
	w.restart()
	kept, err := w.reg.Metrics(c, "agent-1")
	if err != nil || kept.TotalRequests != 1 {
		t.Errorf("after a restart %+v, %v", kept, err)
	}
}

// Tokens of others than arcd's own issuer that claim a kind have none.
func TestForeignTokenTypesCountForNothing(t *testing.T) {
	w := start(t, nil)
	c := &registry.Caller{Principal: &auth.Principal{
		Provider: "okta", Issuer: "https://okta.example", Subject: "eve", ClientID: "eve", Scopes: []string{auth.ScopeCaller},
		Claims: map[string]any{"token_type": "admin", "role": "admin", "scope": auth.ScopeCaller},
	}}
	wantProblem(t, w.reg.Admit(c, registry.Admin), arc.ProblemPermission, "INSUFFICIENT_PERMISSIONS")
	wantProblem(t, w.reg.Admit(c, registry.Member), arc.ProblemPermission, "INSUFFICIENT_PERMISSIONS")
	if err := w.reg.Admit(c, registry.Reader); err != nil {
		t.Errorf("reading with arc.agent.caller: %v", err)
	}
	c.Principal.Scopes = nil
	c.Principal.Claims = map[string]any{}
	c.Principal.ClientID = ""
	wantProblem(t, w.reg.Admit(c, registry.Reader), arc.ProblemToken, "MISSING_CLAIMS")
}

// One key's holder cannot fill the server with tokens, nor anybody the audit log.
func TestFloodsAreBounded(t *testing.T) {
	w := start(t, nil)
	ask := func() error {
		_, err := w.reg.RequestTempToken(t.Context(), nobody(), arc.TempTokenParams{AgentID: "agent-1", AgentType: "testing", AgentKey: "key-1"})
		return err
	}
	for range 200 {
		if err := ask(); err != nil {
			t.Fatal(err)
		}
	}
	err := ask()
	wantProblem(t, err, arc.ProblemRateLimit, "RATE_LIMITED")
	w.temp("agent-2", "key-2")
	for range 5000 {
		w.reg.Refused(nobody(), "GET /agents", arc.Refuse(arc.ProblemAuthentication, "auth_required", "x"))
	}
	page, fault := w.reg.Audit(t.Context(), registry.AuditFilter{Event: "refusals_dropped"})
	if fault != nil || len(page.Entries) != 1 {
		t.Fatalf("got %+v, %v", page, fault)
	}
	refused, _ := errors.AsType[*arc.Error](err)
	w.clock.pass(refused.RetryAfter)
	w.restart() // forgets what is over, as Run does every minute
	if err := ask(); err != nil {
		t.Errorf("after the %v that the refusal told to wait: %v", refused.RetryAfter, err)
	}
	if refused, err := w.reg.Audit(t.Context(), registry.AuditFilter{Event: "refused", Limit: 1000}); err != nil || refused.Next == "" {
		t.Errorf("no refusals were kept: %v", err)
	}
}

// A registration that was answered is on disk, whatever becomes of the process: a
// copy of the files as they are has it, and all that belongs to it (flaw W30).
func TestW30AnsweredIsOnDisk(t *testing.T) {
	w := start(t, nil)
	agent, root := w.register("agent-1", "key-1"), w.login()
	gone := w.register("agent-2", "key-2")
	if _, err := w.reg.Unregister(t.Context(), gone, "agent-2"); err != nil {
		t.Fatal(err)
	}
	over := w.login()
	if _, err := w.reg.Logout(t.Context(), over); err != nil {
		t.Fatal(err)
	}
	crashed := &world{t: t, folder: filepath.Join(t.TempDir(), "copy"), clock: w.clock, keys: w.keys}
	if err := os.CopyFS(crashed.folder, os.DirFS(w.folder)); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(crashed.folder, "keys.json"), 0o600); err != nil {
		t.Fatal(err)
	}
	crashed.open()
	t.Cleanup(crashed.close)
	if got := crashed.status("agent-1"); got != arc.AgentAlive {
		t.Errorf("agent-1 is %s", got)
	}
	if got := crashed.status("agent-2"); got != "gone" {
		t.Errorf("agent-2 is %s", got)
	}
	for name, c := range map[string]struct {
		p    *auth.Principal
		over bool
	}{
		"agent": {agent.Principal, false}, "session": {root.Principal, false},
		"unregistered": {gone.Principal, true}, "logged out": {over.Principal, true},
	} {
		if got := crashed.revoked(c.p); got != c.over {
			t.Errorf("%s: revoked %v, want %v", name, got, c.over)
		}
	}
	_, err := crashed.reg.RequestTempToken(t.Context(), nobody(), arc.TempTokenParams{AgentID: "agent-9", AgentType: "testing", AgentKey: "key-1"})
	wantProblem(t, err, arc.ProblemRegistration, "AGENT_KEY_IN_USE")
}

// What is kept of a request is bounded, its idempotency key included.
func TestLongIdempotencyKeysAreRefused(t *testing.T) {
	w := start(t, nil)
	c := w.caller(w.temp("agent-1", "key-1"))
	c.IdempotencyKey = strings.Repeat("k", 256)
	_, err := w.reg.ValidateCompliance(t.Context(), c, arc.ComplianceParams{
		AgentID: "agent-1", AgentType: "testing", Endpoint: "http://127.0.0.1:9/", Capabilities: []string{"testing"},
	})
	wantProblem(t, err, arc.ProblemInput, "INVALID_INPUT")
	_, err = w.reg.Register(t.Context(), c, form("agent-1"))
	wantProblem(t, err, arc.ProblemInput, "INVALID_INPUT")
}

// Whoever takes over a freed id with another plain key is another subject, which
// owns nothing of the one before; with its own key an agent stays who it was.
func TestNextHolderOfAnIDIsSomebodyElse(t *testing.T) {
	w := start(t, nil)
	subject := func(id, key string) string {
		t.Helper()
		c := w.register(id, key)
		if _, err := w.reg.Unregister(t.Context(), c, id); err != nil {
			t.Fatal(err)
		}
		return c.Principal.Subject
	}
	first := subject("agent-1", "key-1")
	if next := subject("agent-1", "key-2"); next == first {
		t.Errorf("both are %s", next)
	}
	if again := subject("agent-1", "key-1"); again != first {
		t.Errorf("%s came back as %s", first, again)
	}
	if bound := subject("bound", "key-b"); bound != "agent:bound" {
		t.Errorf("the agent of a bound key is %s", bound)
	}
	// Nor does a plain key's holder come before that of a bound one.
	_, err := w.reg.RequestTempToken(t.Context(), nobody(), arc.TempTokenParams{AgentID: "bound", AgentType: "testing", AgentKey: "key-3"})
	wantProblem(t, err, arc.ProblemAuthentication, "INVALID_AGENT_KEY")
}

// A subject tells nothing by which a key could be guessed: another registry with
// the same key has another one; this one keeps its own.
func TestSubjectsDoNotTellTheKey(t *testing.T) {
	w, other := start(t, nil), start(t, nil)
	first := w.register("agent-1", "key-1").Principal.Subject
	if first == other.register("agent-1", "key-1").Principal.Subject {
		t.Errorf("both are %s", first)
	}
	w.restart()
	got, err := w.reg.Register(t.Context(), w.caller(w.temp("agent-2", "key-2")), form("agent-2"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.reg.Unregister(t.Context(), w.login(), "agent-1"); err != nil {
		t.Fatal(err)
	}
	if again := w.register("agent-1", "key-1").Principal.Subject; again != first {
		t.Errorf("%s is %s after a restart", first, again)
	}
	if s := w.caller(got.AccessToken).Principal.Subject; s == first {
		t.Errorf("two agents are %s", s)
	}
}

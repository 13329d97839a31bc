package registry_test

import (
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

// The lives that are announced are the lives that tokens have, to the second
// (flaw W5).
func TestW5TokensLiveAsLongAsAnnounced(t *testing.T) {
	w := start(t, nil)
	temp, err := w.reg.RequestTempToken(t.Context(), nobody(), arc.TempTokenParams{AgentID: "agent-1", AgentType: "testing", AgentKey: "key-1"})
	if err != nil {
		t.Fatal(err)
	}
	login, err := w.reg.Login(t.Context(), nobody(), arc.LoginParams{Username: "root", Password: "pass word"})
	if err != nil {
		t.Fatal(err)
	}
	registered, err := w.reg.Register(t.Context(), w.caller(temp.TempToken), form("agent-1"))
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]struct {
		token string
		lives int
		want  int
	}{
		"temp":  {temp.TempToken, temp.ExpiresIn, 900},
		"admin": {login.AccessToken, login.ExpiresIn, 1800},
		"agent": {registered.AccessToken, registered.ExpiresIn, 3600},
	} {
		p := w.caller(got.token).Principal
		if lives := int(p.Expires.Sub(p.IssuedAt) / time.Second); lives != got.want || got.lives != got.want {
			t.Errorf("%s: lives %d s, announced %d, want %d", name, lives, got.lives, got.want)
		}
		for _, claim := range []string{"iss", "sub", "aud", "jti", "iat", "exp", "token_type", "agent_id", "scopes", "role"} {
			if p.Claims[claim] == nil {
				t.Errorf("%s: claim %s is missing", name, claim)
			}
		}
	}
	w.clock.pass(15*time.Minute + 31*time.Second)
	w.wantRefused(w.all, temp.TempToken, auth.ReasonExpired)
}

// A temp token opens its own routes only, and nothing on /arc.
func TestTempTokenOpensOnlyItsRoutes(t *testing.T) {
	w := start(t, nil)
	token := w.temp("agent-1", "key-1")
	w.wantRefused(w.arcOnly, token, auth.ReasonWrongAudience)
	c := w.caller(token)
	for access, want := range map[registry.Access]string{
		registry.Public: "", registry.Reader: "", registry.Validating: "", registry.Registering: "",
		registry.Member: "WRONG_TOKEN_TYPE", registry.Admin: "INSUFFICIENT_PERMISSIONS", registry.AdminRead: "INSUFFICIENT_PERMISSIONS",
	} {
		err := w.reg.Admit(c, access)
		if want == "" && err != nil {
			t.Errorf("access %d: %v", access, err)
		}
		if want != "" && (err == nil || err.(*arc.Error).ErrorCode() != want) {
			t.Errorf("access %d: got %v, want %s", access, err, want)
		}
	}
}

// An issuer whose own audience is that of tokens for registering would let them in
// everywhere.
func TestIssuerKeepsOffTheRegistrysAudiences(t *testing.T) {
	w := start(t, nil)
	for _, audience := range []string{registry.AudienceValidate, registry.AudienceRegister} {
		issuer, err := auth.OpenIssuer(auth.IssuerConfig{
			URL: issuerURL, KeyFile: filepath.Join(t.TempDir(), "keys.json"), Audience: []string{issuerURL, audience}, Now: w.clock.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.Open(t.Context(), registry.Config{Store: w.db, Issuer: issuer, Now: w.clock.Now}); err == nil {
			t.Errorf("opened with the audience %s", audience)
		}
	}
}

// A registered agent's token says who it is and holds just its scopes.
func TestAgentTokenHoldsJustItsScopes(t *testing.T) {
	w := start(t, func(c *registry.Config) { c.AgentScopes = []string{auth.ScopeCaller} })
	c := w.register("agent-1", "key-1")
	p, err := w.arcOnly.Validate(t.Context(), w.token(c, "agent-1", "key-1"))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{auth.ScopeCaller, auth.ScopeServe, auth.ScopeNotify}
	slices.Sort(want)
	if !slices.Equal(p.Scopes, want) {
		t.Errorf("scopes %v, want %v", p.Scopes, want)
	}
	if !slices.Equal(p.Agents, []string{"agent-1"}) || p.Subject == "agent:agent-1" {
		t.Errorf("agents %v, subject %q", p.Agents, p.Subject)
	}
	if p.SpeakAs("agent-2") == nil {
		t.Error("it may speak as another agent")
	}
}

// token refreshes, for tests that want the text of a token like the caller's.
func (w *world) token(c *registry.Caller, _, _ string) string {
	w.t.Helper()
	got, err := w.reg.Refresh(w.t.Context(), c)
	if err != nil {
		w.t.Fatalf("Refresh: %v", err)
	}
	return got.AccessToken
}

// Refreshing keeps every binding, ends the token before, and has an end itself
// (flaw W6).
func TestW6RefreshRotatesAndEnds(t *testing.T) {
	w := start(t, func(c *registry.Config) { c.MaxAge = 3 * time.Hour })
	first := w.register("agent-1", "key-1")
	got, err := w.reg.Refresh(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	second := w.caller(got.AccessToken)
	for _, claim := range []string{"sub", "agent_id", "role", "token_type", "registration", "agent_type", "aud", "auth_time"} {
		if a, b := first.Principal.Claims[claim], second.Principal.Claims[claim]; a != b {
			t.Errorf("claim %s was %v and is %v", claim, a, b)
		}
	}
	if !slices.Equal(first.Principal.Scopes, second.Principal.Scopes) {
		t.Error("scopes differ")
	}
	if !w.revoked(first.Principal) {
		t.Error("the first token is still good")
	}
	_, err = w.reg.Refresh(t.Context(), first)
	wantProblem(t, err, arc.ProblemToken, "TOKEN_REVOKED")

	c := second
	for range 3 { // each lives an hour, and the line three
		w.clock.pass(50 * time.Minute)
		got, err := w.reg.Refresh(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		c = w.caller(got.AccessToken)
	}
	if end := first.Principal.IssuedAt.Add(3 * time.Hour); c.Principal.Expires.After(end) {
		t.Errorf("a token lives until %v, beyond the line's end %v", c.Principal.Expires, end)
	}
	w.clock.pass(29 * time.Minute)
	if _, err = w.reg.Refresh(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(61 * time.Second)
	if _, err = w.reg.Refresh(t.Context(), c); err == nil {
		t.Error("refreshed beyond the end of the line")
	}
	for _, id := range []string{"agent-2", "agent-3"} {
		c := w.caller(w.temp(id, map[string]string{"agent-2": "key-2", "agent-3": "key-3"}[id]))
		_, err := w.reg.Refresh(t.Context(), c)
		wantProblem(t, err, arc.ProblemToken, "WRONG_TOKEN_TYPE")
	}
}

// Of many refreshes of one token at a time, one wins.
func TestRefreshWinsOnce(t *testing.T) {
	w := start(t, nil)
	c := w.register("agent-1", "key-1")
	var wg sync.WaitGroup
	var mu sync.Mutex
	won := 0
	for range 16 {
		wg.Go(func() {
			own := *c
			if _, err := w.reg.Refresh(t.Context(), &own); err == nil {
				mu.Lock()
				won++
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if won != 1 {
		t.Errorf("%d refreshes won, want 1", won)
	}
}

// A refresh whose token was judged before a revocation of its subject, and that
// goes on after it, gives nothing that outlives it.
func TestW15RefreshDoesNotOvertakeARevocation(t *testing.T) {
	w := start(t, nil)
	c := w.register("agent-1", "key-1")
	if _, err := w.reg.Revoke(t.Context(), w.login(), arc.RevokeParams{Subject: "agent:agent-1"}, nil); err != nil {
		t.Fatal(err)
	}
	w.clock.pass(2 * time.Second)
	_, err := w.reg.Refresh(t.Context(), c)
	wantProblem(t, err, arc.ProblemToken, "TOKEN_REVOKED")
}

// Revocations by token, by id and by subject take effect at once, also after a
// restart, and wake who holds connections (flaw W15).
func TestW15RevokedAtOnceAndForGood(t *testing.T) {
	w := start(t, nil)
	root := w.login()
	mint := func(user string) *registry.Caller {
		t.Helper()
		got, err := w.reg.Mint(root, arc.MintParams{UserID: user, AgentID: "agent-" + user, Scopes: []string{auth.ScopeCaller}})
		if err != nil {
			t.Fatal(err)
		}
		return w.caller(got.AccessToken)
	}
	byToken, byID, bySubject, other := mint("one"), mint("two"), mint("three"), mint("four")
	revoke := func(p arc.RevokeParams, token *auth.Principal) {
		t.Helper()
		woken := w.reg.Revocations()
		if _, err := w.reg.Revoke(t.Context(), root, p, token); err != nil {
			t.Fatal(err)
		}
		select {
		case <-woken:
		default:
			t.Error("nobody was woken")
		}
	}
	revoke(arc.RevokeParams{Token: "text"}, byToken.Principal)
	revoke(arc.RevokeParams{TokenID: byID.Principal.TokenID}, nil)
	revoke(arc.RevokeParams{Subject: "user:three"}, nil)
	check := func() {
		t.Helper()
		for name, c := range map[string]*registry.Caller{"token": byToken, "id": byID, "subject": bySubject} {
			if !w.revoked(c.Principal) {
				t.Errorf("by %s: still good", name)
			}
		}
		if w.revoked(other.Principal) {
			t.Error("a token that nobody revoked is refused")
		}
	}
	check()
	w.restart()
	check()
	w.clock.pass(2 * time.Second)
	root = w.login()
	if w.revoked(mint("three").Principal) {
		t.Error("a token of the subject from after the revocation is refused")
	}
	_, err := w.reg.Revoke(t.Context(), root, arc.RevokeParams{TokenID: "a", Subject: "b"}, nil)
	wantProblem(t, err, arc.ProblemInput, "INVALID_INPUT")
}

// Who revokes an agent by its subject means it with any key; who revokes a client
// that happens to be called agent means no agent.
func TestW15SubjectsOfAgents(t *testing.T) {
	w := start(t, nil)
	bound, plain, root := w.register("bound", "key-b"), w.register("agent-1", "key-1"), w.login()
	for _, c := range []struct {
		subject      string
		bound, plain bool
	}{{"agent", false, false}, {"agent:agent-1", false, true}, {"agent:bound", true, true}} {
		if _, err := w.reg.Revoke(t.Context(), root, arc.RevokeParams{Subject: c.subject}, nil); err != nil {
			t.Fatal(err)
		}
		if b, p := w.revoked(bound.Principal), w.revoked(plain.Principal); b != c.bound || p != c.plain {
			t.Errorf("%s: the bound one %v, the plain one %v", c.subject, b, p)
		}
	}
}

func TestMintRefusesWhatIsNotAnAccessToken(t *testing.T) {
	w := start(t, nil)
	root := w.login()
	good := arc.MintParams{UserID: "bob", AgentID: "agent-bob"}
	for name, change := range map[string]func(*arc.MintParams){
		"admin":     func(p *arc.MintParams) { p.Role = "admin" },
		"temp":      func(p *arc.MintParams) { p.TempRegistration = true },
		"type":      func(p *arc.MintParams) { p.TokenType = "temp" },
		"key hash":  func(p *arc.MintParams) { p.UsedKey = "something" },
		"audience":  func(p *arc.MintParams) { p.Audience = registry.AudienceRegister },
		"elsewhere": func(p *arc.MintParams) { p.Audience = "https://other.example" },
	} {
		p := good
		change(&p)
		_, err := w.reg.Mint(root, p)
		if err == nil {
			t.Errorf("%s: minted", name)
			continue
		}
		wantProblem(t, err, arc.ProblemInput, "INVALID_INPUT")
	}
	if _, err := w.reg.Mint(root, good); err != nil {
		t.Fatal(err)
	}
}

// Nothing of an agent key is in a token (flaw W14).
func TestW14TokensHoldNothingOfKeys(t *testing.T) {
	w := start(t, nil)
	for _, c := range []*registry.Caller{w.caller(w.temp("agent-1", "key-1")), w.register("agent-2", "key-2")} {
		for _, claim := range []string{"used_key", "agent_key_hash", "key", "key_hash"} {
			if c.Principal.Claims[claim] != nil {
				t.Errorf("claim %s is there", claim)
			}
		}
	}
}

package registry_test

import (
	"bytes"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store"
)

func contains(b []byte, text string) bool { return bytes.Contains(b, []byte(text)) }

func TestLoginRefusals(t *testing.T) {
	w := start(t, nil)
	noPrint := nobody()
	noPrint.Fingerprint = ""
	for name, try := range map[string]struct {
		c    *registry.Caller
		p    arc.LoginParams
		kind arc.Problem
		code string
	}{
		"agent":       {nobody(), arc.LoginParams{AgentID: "a", AgentType: "b"}, arc.ProblemAuthentication, "AGENT_LOGIN_BLOCKED"},
		"nothing":     {nobody(), arc.LoginParams{}, arc.ProblemInput, "INVALID_INPUT"},
		"no password": {nobody(), arc.LoginParams{Username: "root"}, arc.ProblemInput, "INVALID_INPUT"},
		"no print":    {noPrint, arc.LoginParams{Username: "root", Password: "wrong"}, arc.ProblemAuthentication, "FINGERPRINT_REQUIRED"},
		"wrong":       {nobody(), arc.LoginParams{Username: "root", Password: "wrong"}, arc.ProblemAuthentication, "INVALID_CREDENTIALS"},
		"unknown":     {nobody(), arc.LoginParams{Username: "nobody", Password: "pass word"}, arc.ProblemAuthentication, "INVALID_CREDENTIALS"},
		"no admin":    {nobody(), arc.LoginParams{Username: "plain", Password: "pass word"}, arc.ProblemAuthentication, "INVALID_CREDENTIALS"},
		"W2 blank":    {nobody(), arc.LoginParams{Username: "root", Password: "pass word "}, arc.ProblemAuthentication, "INVALID_CREDENTIALS"},
	} {
		_, err := w.reg.Login(t.Context(), try.c, try.p)
		if err == nil {
			t.Errorf("%s: logged in", name)
			continue
		}
		e := err.(*arc.Error)
		if e.Kind() != try.kind || e.ErrorCode() != try.code {
			t.Errorf("%s: got %s %s, want %s %s", name, e.Kind(), e.ErrorCode(), try.kind, try.code)
		}
	}
}

// A session is bound to the fingerprint of its login; a wrong one is always
// refused, an absent one only tolerated for AdminRead (decision D1).
func TestSessionIsBoundToTheFingerprint(t *testing.T) {
	w := start(t, nil)
	c := w.login()
	for _, try := range []struct {
		print  string
		access registry.Access
		want   string
	}{
		{"fp", registry.Admin, ""}, {"fp", registry.AdminRead, ""}, {"fp", registry.Reader, ""},
		{"other", registry.Admin, "SESSION_INVALID"}, {"other", registry.AdminRead, "SESSION_INVALID"}, {"other", registry.Reader, "SESSION_INVALID"},
		{"", registry.Admin, "SESSION_INVALID"}, {"", registry.Member, "SESSION_INVALID"}, {"", registry.AdminRead, ""},
	} {
		own := *c
		own.Fingerprint = try.print
		err := w.reg.Admit(&own, try.access)
		if got := codeOf(err); got != try.want {
			t.Errorf("fingerprint %q, access %d: got %q, want %q", try.print, try.access, got, try.want)
		}
	}
	w.restart()
	if err := w.reg.Admit(c, registry.Admin); err != nil {
		t.Errorf("after a restart: %v", err)
	}
}

func codeOf(err error) string {
	if e, ok := err.(*arc.Error); ok {
		return e.ErrorCode()
	}
	return ""
}

// After a logout no token of the session opens anything (flaws W8, W15).
func TestW8LogoutEndsAllTokensOfTheSession(t *testing.T) {
	w := start(t, nil)
	first := w.login()
	other := w.login()
	got, err := w.reg.Refresh(t.Context(), first)
	if err != nil {
		t.Fatal(err)
	}
	refreshed := w.caller(got.AccessToken)
	woken := w.reg.Revocations()
	if _, err := w.reg.Logout(t.Context(), refreshed); err != nil {
		t.Fatal(err)
	}
	select {
	case <-woken:
	default:
		t.Error("nobody was woken")
	}
	check := func() {
		t.Helper()
		if !w.revoked(first.Principal) || !w.revoked(refreshed.Principal) {
			t.Error("a token of the session is good")
		}
		if w.revoked(other.Principal) {
			t.Error("another session ended too")
		}
		if err := w.reg.Admit(refreshed, registry.Admin); err == nil {
			t.Error("admitted")
		}
	}
	check()
	w.restart()
	check()
}

// A refresh that is under way does not bring back the session that a logout ends.
func TestW8RefreshRevivesNoSession(t *testing.T) {
	w := start(t, nil)
	c := w.login()
	var logout sync.WaitGroup
	w.hooks = &hookedStore{setMark: func(m store.Mark) {
		if m.Kind != "session" {
			return
		}
		logout.Go(func() {
			if _, err := w.reg.Logout(t.Context(), c); err != nil {
				t.Error(err)
			}
		})
		// A logout that waits for nobody is done before so many other writes are.
		for range 50 {
			if err := w.db.SetMark(t.Context(), store.Mark{Kind: "other", Value: "x"}); err != nil {
				t.Error(err)
			}
		}
	}}
	w.restart()
	got, err := w.reg.Refresh(t.Context(), c)
	logout.Wait()
	if err != nil {
		t.Fatal(err)
	}
	w.wantRefused(w.all, got.AccessToken, auth.ReasonRevoked)
}

// A new password ends the sessions of the old one, and so does an account that was
// removed and made anew.
func TestNewPasswordEndsSessions(t *testing.T) {
	w := start(t, nil)
	add := func(password string) {
		t.Helper()
		if err := auth.AddClientSecret(w.clients(), "late", password, auth.Client{Admin: true}); err != nil {
			t.Fatal(err)
		}
	}
	add("the first password")
	got, err := w.reg.Login(t.Context(), nobody(), arc.LoginParams{Username: "late", Password: "the first password"})
	if err != nil {
		t.Fatal(err)
	}
	w.restart()
	c := w.caller(got.AccessToken)
	for _, password := range []string{"the second password", "the first password"} {
		if err := auth.RemoveClient(w.clients(), "late"); err != nil {
			t.Fatal(err)
		}
		add(password)
		w.wantRefused(w.all, got.AccessToken, auth.ReasonRevoked)
		if codeOf(w.reg.Admit(c, registry.Admin)) != "SESSION_INVALID" {
			t.Errorf("admitted after the account was made anew with %q", password)
		}
	}
}

// An administrator has at most so many sessions; the oldest makes way.
func TestSessionsAreLimited(t *testing.T) {
	w := start(t, func(c *registry.Config) { c.MaxSessions = 2 })
	var all []*registry.Caller
	for range 3 {
		all = append(all, w.login())
		w.clock.pass(time.Second)
	}
	for i, want := range []bool{true, false, false} {
		if got := w.revoked(all[i].Principal); got != want {
			t.Errorf("session %d: revoked %v, want %v", i, got, want)
		}
	}
	status, err := w.reg.SessionStatus(all[2])
	if err != nil || status.UserID != "root" || !status.Valid || status.AgentID != "user_root" {
		t.Errorf("got %+v, %v", status, err)
	}
}

// An unsigned token that names an administrator ends nothing (flaw W3): only
// principals of the validator come here, and a logout ends just its own session.
func TestW3NobodyElseEndsASession(t *testing.T) {
	w := start(t, nil)
	c := w.login()
	forged := &registry.Caller{Principal: &auth.Principal{
		Provider: "okta", Issuer: "https://okta.example", Subject: c.Principal.Subject, TokenID: c.Principal.TokenID,
		Claims: c.Principal.Claims, Expires: c.Principal.Expires, ClientID: "x",
	}}
	if _, err := w.reg.Logout(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	if err := w.reg.Admit(c, registry.Admin); err != nil {
		t.Errorf("the session ended: %v", err)
	}
}

// Guessing is slowed down per account and address, bad requests reset nothing,
// and a good login passes from elsewhere (flaws W10, W11).
func TestW10GuessingIsSlowedDown(t *testing.T) {
	w := start(t, nil)
	guess := func(remote string, p arc.LoginParams) string {
		c := nobody()
		c.Remote = remote
		_, err := w.reg.Login(t.Context(), c, p)
		return codeOf(err)
	}
	wrong := arc.LoginParams{Username: "root", Password: "wrong"}
	limited := false
	for range 8 {
		limited = guess("127.0.0.1", wrong) == "RATE_LIMITED"
		guess("127.0.0.1", arc.LoginParams{})                              // a bad request
		guess("127.0.0.1", arc.LoginParams{Username: "", Password: "x"})   // another
		guess("127.0.0.1", arc.LoginParams{AgentID: "a", AgentType: "bc"}) // and a blocked one
	}
	if !limited {
		t.Error("eight wrong guesses were all judged")
	}
	if got := guess("127.0.0.1", arc.LoginParams{Username: "root", Password: "pass word"}); got != "RATE_LIMITED" {
		t.Errorf("the right password from the guessing address: %q", got)
	}
	if got := guess("127.0.0.2", arc.LoginParams{Username: "root", Password: "pass word"}); got != "" {
		t.Errorf("the right password from elsewhere: %q", got)
	}
	if got := guess("127.0.0.1", arc.LoginParams{Username: "second", Password: "pass word"}); got != "" {
		t.Errorf("another account from the guessing address: %q", got)
	}
}

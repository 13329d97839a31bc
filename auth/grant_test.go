package auth_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/auth"
)

func TestGrantScopes(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), nil)
	tests := []struct{ scope, want, code string }{
		{"", "arc.agent.caller arc.task.controller", ""},
		{"arc.task.controller", "arc.task.controller", ""},
		{"arc.task.controller arc.agent.caller arc.task.controller", "arc.agent.caller arc.task.controller", ""},
		{"arc.chat.controller", "", auth.OAuthInvalidScope},
		{"arc.task.controller arc.chat.controller", "", auth.OAuthInvalidScope},
		{"arc.task.controller  arc.agent.caller", "", auth.OAuthInvalidScope},
		{" arc.task.controller", "", auth.OAuthInvalidScope},
		{"arc.task.controller\tarc.agent.caller", "", auth.OAuthInvalidScope},
		{"arc.task.controller,arc.agent.caller", "", auth.OAuthInvalidScope},
		{"\u00a0", "", auth.OAuthInvalidScope},
	}
	for _, tt := range tests {
		grant, err := i.Grant(auth.GrantRequest{ClientID: "ci", Secret: "s3cret", Scope: tt.scope})
		if tt.code != "" {
			if e := refused(t, err); e.Code != tt.code || e.Status != http.StatusBadRequest {
				t.Errorf("Grant(scope %q): %d %s, want %s", tt.scope, e.Status, e.Code, tt.code)
			}
			continue
		}
		if err != nil || grant.Scope != tt.want {
			t.Errorf("Grant(scope %q) = %q, %v; want %q", tt.scope, grant.Scope, err, tt.want)
		}
	}
}

func TestGrantTargets(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Audience = []string{"https://arcd.test", "https://arcd.test/arc", "api://plain"}
		c.Clients["own"] = auth.Client{SecretHash: cheapHash("s3cret"), Audience: "https://own.test"}
	})
	tests := []struct {
		client             string
		audience, resource []string
		want               []string // nil: invalid_target
	}{
		{"ci", nil, nil, []string{"https://arcd.test"}},
		{"own", nil, nil, []string{"https://own.test"}},
		{"own", []string{"https://own.test"}, nil, []string{"https://own.test"}},
		{"own", []string{"https://arcd.test"}, nil, []string{"https://arcd.test"}},
		{"ci", []string{"https://own.test"}, nil, nil},
		{"ci", []string{"api://plain"}, nil, []string{"api://plain"}},
		{"ci", nil, []string{"https://arcd.test/arc"}, []string{"https://arcd.test/arc"}},
		{"ci", []string{"https://arcd.test"}, []string{"https://arcd.test/arc", "https://arcd.test"}, []string{"https://arcd.test", "https://arcd.test/arc"}},
		{"ci", nil, []string{"https://arcd.test/"}, nil},
		{"ci", nil, []string{"https://arcd.test#x"}, nil},
		{"ci", nil, []string{"arcd.test"}, nil},
		{"ci", []string{""}, nil, nil},
		{"ci", []string{"https://arcd.test", "https://elsewhere.test"}, nil, nil},
	}
	for _, tt := range tests {
		name := fmt.Sprintf("Grant(%s, audience %q, resource %q)", tt.client, tt.audience, tt.resource)
		grant, err := i.Grant(auth.GrantRequest{ClientID: tt.client, Secret: "s3cret", Audience: tt.audience, Resource: tt.resource})
		if tt.want == nil {
			if e := refused(t, err); e.Code != auth.OAuthInvalidTarget || e.Status != http.StatusBadRequest {
				t.Errorf("%s: %d %s, want 400 invalid_target", name, e.Status, e.Code)
			}
			continue
		}
		if err != nil || !slices.Equal(grant.Audience, tt.want) {
			t.Errorf("%s = %q, %v; want %q", name, grant.Audience, err, tt.want)
		}
	}
}

// Whoever guesses learns nothing from the answer: an unknown client and a wrong
// secret differ in the word for the log only.
func TestUnknownClientAnswersLikeWrongSecret(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), nil)
	_, err := i.Grant(auth.GrantRequest{ClientID: "nobody", Secret: "x"})
	unknown := *refused(t, err)
	_, err = i.Grant(auth.GrantRequest{ClientID: "ci", Secret: "x"})
	wrong := *refused(t, err)
	if unknown.Reason != "unknown_client" || wrong.Reason != "wrong_secret" {
		t.Errorf("reasons %q and %q", unknown.Reason, wrong.Reason)
	}
	unknown.Reason, wrong.Reason = "", ""
	if diff := cmp.Diff(wrong, unknown); diff != "" {
		t.Errorf("unknown client against wrong secret (-want +got):\n%s", diff)
	}
	if wrong.Status != http.StatusUnauthorized || wrong.Code != auth.OAuthInvalidClient {
		t.Errorf("refused with %d %s", wrong.Status, wrong.Code)
	}
}

// The best of several tries shows the work without the noise of the machine: an
// unknown client must cost an argon2id hash as a wrong secret does.
func TestUnknownClientCostsLikeWrongSecret(t *testing.T) {
	hash := auth.HashSecret("s3cret")
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["real"] = auth.Client{SecretHash: hash}
	})
	best := map[string]time.Duration{"real": time.Hour, "nobody": time.Hour}
	for n := range 5 {
		for id := range best {
			start := time.Now()
			_, err := i.Authenticate(id, "guess", fmt.Sprint("192.0.2.", n))
			best[id] = min(best[id], time.Since(start))
			if refused(t, err).Status != http.StatusUnauthorized {
				t.Fatalf("Authenticate(%s): %v", id, err)
			}
		}
	}
	if best["nobody"] < best["real"]/3 || best["real"] < best["nobody"]/3 {
		t.Errorf("an unknown client took %v, a wrong secret %v", best["nobody"], best["real"])
	}
}

func TestMissingCredentials(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), nil)
	for _, r := range []auth.GrantRequest{{}, {ClientID: "ci"}, {Secret: "s3cret"}} {
		_, err := i.Grant(r)
		if e := refused(t, err); e.Status != http.StatusUnauthorized || e.Code != auth.OAuthInvalidClient {
			t.Errorf("Grant(%+v): %d %s, want 401 invalid_client", r, e.Status, e.Code)
		}
	}
}

// guess makes one failing try and gives the status of its refusal.
func guess(t *testing.T, i *auth.Issuer, id, remote string, n int) *auth.OAuthError {
	t.Helper()
	_, err := i.Authenticate(id, fmt.Sprint("guess ", n), remote)
	return refused(t, err)
}

func TestFailuresAreLimited(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	for n := range 5 {
		if e := guess(t, i, "ci", "192.0.2.1", n); e.Status != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d, want 401", n, e.Status)
		}
	}
	e := guess(t, i, "ci", "192.0.2.1", 6)
	if e.Status != http.StatusTooManyRequests || e.Code != auth.OAuthUnavailable || e.RetryAfter != 12*time.Second {
		t.Fatalf("guess 6: %d %s after %v, want 429 after 12 s", e.Status, e.Code, e.RetryAfter)
	}
	// The right secret does not open what the limit has closed: an answer that
	// differs would tell that it is right.
	if _, err := i.Authenticate("ci", "s3cret", "192.0.2.1"); refused(t, err).Status != http.StatusTooManyRequests {
		t.Errorf("right secret from a limited address: %v, want 429", err)
	}
	// From another address it is good, and being remembered as such opens nothing:
	// else guesses would cost nothing for as long as it is remembered.
	for range 2 {
		if _, err := i.Authenticate("ci", "s3cret", "192.0.2.2"); err != nil {
			t.Errorf("right secret from another address: %v", err)
		}
		if _, err := i.Authenticate("ci", "s3cret", "192.0.2.1"); refused(t, err).Status != http.StatusTooManyRequests {
			t.Errorf("remembered secret from a limited address: %v, want 429", err)
		}
	}
	clock.Advance(12 * time.Second)
	if e := guess(t, i, "ci", "192.0.2.1", 7); e.Status != http.StatusUnauthorized {
		t.Errorf("guess after the wait: %d, want 401", e.Status)
	}
	if e := guess(t, i, "ci", "192.0.2.1", 8); e.Status != http.StatusTooManyRequests {
		t.Errorf("second guess after the wait: %d, want 429", e.Status)
	}
}

// A secret that arcd made cannot be guessed: once remembered as good, it passes
// from everywhere, also beside somebody who guesses.
func TestRandomSecretPassesTheLimits(t *testing.T) {
	secret, hash := auth.NewSecret()
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) { c.Clients["ci"] = auth.Client{SecretHash: hash} })
	for n := range 6 {
		guess(t, i, "ci", "192.0.2.1", n)
	}
	if _, err := i.Authenticate("ci", secret, "192.0.2.1"); refused(t, err).Status != http.StatusTooManyRequests {
		t.Errorf("right secret from a limited address: %v, want 429", err)
	}
	for _, remote := range []string{"192.0.2.2", "192.0.2.1"} {
		if _, err := i.Authenticate("ci", secret, remote); err != nil {
			t.Errorf("right secret from %s: %v", remote, err)
		}
	}
}

// One address that tries many client ids is limited as well.
func TestAddressIsLimited(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		for n := range 101 {
			c.Clients[fmt.Sprint("c", n)] = auth.Client{SecretHash: cheapHash("x")}
		}
	})
	for n := range 100 {
		// The same /64 is the same party.
		remote := fmt.Sprintf("2001:db8::%x", n+1)
		if e := guess(t, i, fmt.Sprint("c", n), remote, n); e.Status != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d, want 401", n, e.Status)
		}
	}
	if e := guess(t, i, "c100", "2001:db8::ffff", 0); e.Status != http.StatusTooManyRequests {
		t.Errorf("guess 101 from one network: %d, want 429", e.Status)
	}
	if e := guess(t, i, "c100", "2001:db8:0:1::1", 0); e.Status != http.StatusUnauthorized {
		t.Errorf("guess from another network: %d, want 401", e.Status)
	}
}

// Many addresses that guess at one client lose their patience, but never lock
// its owner out.
func TestClientIsLimitedWithoutLockingOut(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), nil)
	for n := range 50 {
		if e := guess(t, i, "ci", fmt.Sprint("198.51.100.", n), n); e.Status != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d, want 401", n, e.Status)
		}
	}
	if e := guess(t, i, "ci", "198.51.100.7", 99); e.Status != http.StatusTooManyRequests {
		t.Errorf("second guess of an address at a client under attack: %d, want 429", e.Status)
	}
	if _, err := i.Authenticate("ci", "s3cret", "192.0.2.1"); err != nil {
		t.Errorf("right secret from a clean address: %v", err)
	}
}

// Many replicas that start at once with one good secret are not taken for an
// attack.
func TestGoodSecretSideBySide(t *testing.T) {
	hash := auth.HashSecret("s3cret")
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["real"] = auth.Client{SecretHash: hash}
	})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			if _, err := i.Grant(auth.GrantRequest{ClientID: "real", Secret: "s3cret", Remote: "192.0.2.1"}); err != nil {
				t.Errorf("Grant: %v", err)
			}
		})
	}
	wg.Wait()
}

// Verifications beyond the queue are turned away instead of piling up.
func TestVerificationsAreBounded(t *testing.T) {
	const tries = 200
	i, _ := openTestIssuer(t, newTestClock(), func(c *auth.IssuerConfig) {
		c.Clients["real"] = auth.Client{SecretHash: hashOf("s3cret", 8<<10)}
	})
	statuses := make([]int, tries)
	var wg sync.WaitGroup
	for n := range tries {
		wg.Go(func() {
			e := guess(t, i, "real", fmt.Sprint("198.51.100.", n), n)
			statuses[n] = e.Status
			if e.Status == http.StatusServiceUnavailable && e.RetryAfter <= 0 {
				t.Error("503 without RetryAfter")
			}
		})
	}
	wg.Wait()
	busy := 0
	for _, s := range statuses {
		switch s {
		case http.StatusServiceUnavailable:
			busy++
		case http.StatusUnauthorized:
		default:
			t.Errorf("status %d, want 401 or 503", s)
		}
	}
	if busy == 0 {
		t.Errorf("none of %d tries side by side was turned away", tries)
	}
}

// A client that asks again and again costs a signature, not an argon2id hash.
func BenchmarkGrantRemembered(b *testing.B) {
	secret, hash := auth.NewSecret()
	i, err := auth.OpenIssuer(auth.IssuerConfig{
		URL: issuerURL, KeyFile: filepath.Join(b.TempDir(), "keys.json"),
		Clients: map[string]auth.Client{"ci": {SecretHash: hash, Scopes: []string{auth.ScopeTask}}},
	})
	if err != nil {
		b.Fatal(err)
	}
	request := auth.GrantRequest{ClientID: "ci", Secret: secret}
	if _, err := i.Grant(request); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := i.Grant(request); err != nil {
			b.Fatal(err)
		}
	}
}

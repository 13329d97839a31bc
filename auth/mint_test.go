package auth_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/auth"
)

func TestMint(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	token, err := i.Mint(auth.Claims{
		Subject: "ops", ClientID: "console", Scopes: []string{"b", "a"}, Agents: []string{"one", "two"},
		Audience: []string{"x", "y"}, TTL: -time.Minute,
	})
	if err != nil {
		t.Fatalf("Mint: %v", err)
	}
	_, claims := tokenParts(t, token)
	delete(claims, "jti")
	exp := float64(clock.Now().Add(-time.Minute).Unix())
	if diff := cmp.Diff(map[string]any{
		"iss": issuerURL, "sub": "ops", "client_id": "console", "aud": []any{"x", "y"}, "iat": exp - 900, "exp": exp,
		"scope": "b a", "agent_id": []any{"one", "two"},
	}, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

// The life of a token is what was announced for it, to the second, whatever the
// clock shows; what is put in comes out (flaw W5 of the published server).
func TestW5IssueKeepsLifeAndClaims(t *testing.T) {
	clock := newTestClock()
	clock.Advance(999 * time.Millisecond)
	i, _ := openTestIssuer(t, clock, func(c *auth.IssuerConfig) { c.LongestTTL = 31 * 24 * time.Hour })
	issued := clock.Now().Truncate(time.Second)
	for name, test := range map[string]struct{ ttl, want time.Duration }{
		"the issuer's":    {0, 15 * time.Minute},
		"a second":        {time.Second, time.Second},
		"a temp token's":  {15 * time.Minute, 15 * time.Minute},
		"the longest":     {31 * 24 * time.Hour, 31 * 24 * time.Hour},
		"beyond the rest": {90 * 24 * time.Hour, 90 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			made, err := i.Issue(auth.Claims{
				Subject: "temp:my-agent", Agents: []string{"my-agent"}, Audience: []string{"arcp:validate"}, TTL: test.ttl, ID: "id-1",
				Extra: map[string]any{"token_type": "temp", "role": "agent", "scopes": []string{}},
			})
			if err != nil {
				t.Fatalf("Issue: %v", err)
			}
			want := auth.Minted{Token: made.Token, ID: "id-1", Issued: issued, Expires: issued.Add(test.want)}
			if diff := cmp.Diff(want, made); diff != "" {
				t.Errorf("Issue (-want +got):\n%s", diff)
			}
			_, claims := tokenParts(t, made.Token)
			if diff := cmp.Diff(map[string]any{
				"iss": issuerURL, "sub": "temp:my-agent", "client_id": "temp:my-agent", "aud": "arcp:validate", "agent_id": "my-agent",
				"iat": float64(issued.Unix()), "exp": float64(issued.Add(test.want).Unix()), "jti": "id-1",
				"token_type": "temp", "role": "agent", "scopes": []any{},
			}, claims); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
		})
	}
}

func TestIssueRefuses(t *testing.T) {
	i, _ := openTestIssuer(t, newTestClock(), nil)
	tests := map[string]auth.Claims{
		"the subject is missing":           {},
		"is not a scope":                   {Subject: "x", Scopes: []string{"two words"}},
		"longer than 1024 bytes":           {Subject: strings.Repeat("x", 1025)},
		"not whole seconds":                {Subject: "x", TTL: 1500 * time.Millisecond},
		"an audience or an agent is empty": {Subject: "x", Audience: []string{""}},
		"unsupported":                      {Subject: "x", Extra: map[string]any{"x": func() {}}},
		"longer than 16384 bytes":          {Subject: "x", Extra: map[string]any{"x": strings.Repeat("x", 16<<10)}},
	}
	for _, name := range []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "agent_id"} {
		tests["claim "+name+" cannot"] = auth.Claims{Subject: "x", Extra: map[string]any{name: "y", "other": 1}}
	}
	for want, claims := range tests {
		if made, err := i.Issue(claims); err == nil || !strings.Contains(err.Error(), want) || made.Token != "" {
			t.Errorf("Issue: %v, want %q in it", err, want)
		}
	}
}

// Tokens up to the longest life write no file, and a rotation still waits for
// them; the note of an issuer with a longer life stays.
func TestLongestLife(t *testing.T) {
	const longest = 24 * time.Hour
	clock := &testClock{now: time.Now().Truncate(time.Second)} // RotateKeys goes by the real clock
	i, cfg := openTestIssuer(t, clock, func(c *auth.IssuerConfig) { c.LongestTTL = longest })
	before, err := os.Stat(cfg.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	old, err := i.Issue(auth.Claims{Subject: "x", TTL: longest})
	if err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(cfg.KeyFile); err != nil || !os.SameFile(before, after) {
		t.Errorf("the key file was written for a token of the longest life (%v)", err)
	}
	if _, err := i.Issue(auth.Claims{Subject: "x", TTL: longest + time.Second}); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(cfg.KeyFile); err != nil || os.SameFile(before, after) {
		t.Errorf("the key file was not written for a token of a longer life (%v)", err)
	}

	cfg.LongestTTL = 0 // another process, with a shorter life
	if _, err := auth.OpenIssuer(cfg); err != nil {
		t.Fatal(err)
	}
	if err := auth.RotateKeys(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	clock.Advance(longest - time.Second)
	if _, err := i.Read(old.Token); err != nil {
		t.Errorf("Read of a token of the longest life after a rotation: %v", err)
	}
}

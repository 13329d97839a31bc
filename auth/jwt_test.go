package auth_test

import (
	"context"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

const audience = "https://api.example"

// newProviders makes a validator; a fault of the configuration ends the test.
func newProviders(t testing.TB, cfg auth.Config) *auth.Providers {
	t.Helper()
	ps, err := auth.NewProviders(cfg)
	if err != nil {
		t.Fatalf("NewProviders: %v", err)
	}
	return ps
}

// trusting makes a validator that trusts one issuer.
func trusting(t testing.TB, iss *arctest.Issuer) *auth.Providers {
	t.Helper()
	return newProviders(t, auth.Config{Providers: []auth.Provider{iss.Provider("test", audience)}})
}

// judged checks the code and the reason of a refusal, and what every refusal
// must keep to. A reason of "" means that the token must be taken.
func judged(t *testing.T, v auth.Validator, token, reason string) *arc.Error {
	t.Helper()
	who, err := v.Validate(t.Context(), token)
	if reason == "" {
		if err != nil || who == nil {
			t.Fatalf("Validate: got %v, %v; want a principal", who, err)
		}
		return nil
	}
	if err == nil {
		t.Fatalf("Validate: got principal %+v; want a refusal, %s", who, reason)
	}
	e := arc.Public(err)
	code := arc.CodeUnauthenticated
	if reason == auth.ReasonExpired {
		code = arc.CodeTokenExpired
	}
	if e.Code != code || e.Reason() != reason {
		t.Fatalf("Validate: got %v, reason %q; want code %d, reason %q", e, e.Reason(), code, reason)
	}
	if _, ok := e.Details["retryable"].(bool); !ok {
		t.Errorf("details %v lack retryable", e.Details)
	}
	return e
}

func TestBadTokens(t *testing.T) {
	iss := arctest.NewIssuer(t)
	ps := trusting(t, iss)
	table := arctest.BadTokens(t, iss, audience, time.Now())
	if len(table) < 80 {
		t.Fatalf("the table holds %d tokens; want 80 or more", len(table))
	}
	t.Logf("%d bad tokens", len(table))
	for _, bad := range table {
		t.Run(bad.Name, func(t *testing.T) {
			e := judged(t, ps, bad.Token, bad.Reason)
			if e.Code != bad.Code {
				t.Errorf("code: got %d, want %d", e.Code, bad.Code)
			}
			for i, part := range strings.Split(bad.Token, ".") {
				if len(part) > 8 && strings.Contains(e.Message, part) {
					t.Errorf("message %q shows segment %d of the token", e.Message, i)
				}
			}
			if bad.Code == arc.CodeUnauthenticated && e.Message != "the token is not valid" {
				t.Errorf("message: got %q, want the one of all bad tokens", e.Message)
			}
		})
	}
	if got := iss.Requests(); got > 2 {
		t.Errorf("the table caused %d key-set requests; want the first and one for unknown kids", got)
	}
}

func TestGoodTokens(t *testing.T) {
	iss := arctest.NewIssuer(t)
	ps := trusting(t, iss)
	now := time.Now()
	rename := func(from, to string, value any) map[string]any {
		c := iss.Claims(audience, now)
		delete(c, from)
		c[to] = value
		return c
	}
	for _, alg := range arctest.Algorithms {
		t.Run(alg, func(t *testing.T) { judged(t, ps, iss.Mint(t, alg, iss.Claims(audience, now)), "") })
	}
	for name, claims := range map[string]map[string]any{
		"aud a list":              rename("aud", "aud", []string{"other", audience}),
		"nbf in the past":         rename("", "nbf", now.Add(-time.Hour).Unix()),
		"exp within the leeway":   rename("exp", "exp", now.Add(-10*time.Second).Unix()),
		"nbf within the leeway":   rename("", "nbf", now.Add(10*time.Second).Unix()),
		"dates with fractions":    rename("exp", "exp", float64(now.Unix())+600.25),
		"exp in 9999":             rename("exp", "exp", 253402300799),
		"no scope":                rename("scope", "x", 1),
		"unknown claims":          rename("", "https://example.com/roles", map[string]any{"a": []any{1, nil}}),
		"nonce beside scopes":     rename("", "nonce", "n"),
		"nesting at the limit":    rename("", "x", nest(31)),
		"client_id only as azp":   rename("client_id", "azp", "client-1"),
		"Keycloak's typ, Bearer":  rename("", "typ", "Bearer"),
		"names in another case":   rename("", "Exp", 1),
		"roles that are no scope": rename("scope", "roles", []string{auth.ScopeTask}),
	} {
		t.Run(name, func(t *testing.T) { judged(t, ps, iss.Mint(t, "EdDSA", claims), "") })
	}
	key := iss.Key(t, "ES256")
	for name, header := range map[string]map[string]any{
		"typ JWT":                {"typ": "JWT"},
		"typ in lower case":      {"typ": "jwt"},
		"typ at+JWT":             {"typ": "at+JWT"},
		"typ as a media type":    {"typ": "application/at+jwt"},
		"no typ":                 {},
		"members that we ignore": {"x": 1, "jku": "https://example.com", "x5t": "x", "nonce": "n"},
	} {
		t.Run(name, func(t *testing.T) {
			maps.Copy(header, map[string]any{"alg": "ES256", "kid": key.ID})
			judged(t, ps, key.Sign(t, header, iss.Claims(audience, now)), "")
		})
	}
	t.Run("no kid, one key that fits", func(t *testing.T) {
		judged(t, ps, key.Sign(t, map[string]any{"alg": "ES256"}, iss.Claims(audience, now)), "")
	})
	t.Run("no kid, two keys that fit", func(t *testing.T) {
		iss.AddKey(t, "ES256")
		judged(t, trusting(t, iss), key.Sign(t, map[string]any{"alg": "ES256"}, iss.Claims(audience, now)), auth.ReasonUnknownKey)
	})
}

// nest gives lists in lists.
func nest(depth int) any {
	var v any = []any{}
	for range depth - 1 {
		v = []any{v}
	}
	return v
}

func TestPrincipal(t *testing.T) {
	iss := arctest.NewIssuer(t)
	now := time.Unix(1_800_000_000, 0).UTC()
	clock := func() time.Time { return now }
	for name, test := range map[string]struct {
		change map[string]any
		adjust func(*auth.Provider)
		want   func(*auth.Principal)
	}{
		"as it is": {},
		"scopes sorted, doubles and empty ones dropped": {
			change: map[string]any{"scope": "b a  b "},
			want:   func(p *auth.Principal) { p.Scopes = []string{"a", "b"} },
		},
		"only a space parts scopes": {
			change: map[string]any{"scope": "a\tb\nc\u00a0d\u3000e\u0085f"},
			want:   func(p *auth.Principal) { p.Scopes = []string{"a\tb\nc\u00a0d\u3000e\u0085f"} },
		},
		"an empty scope hides scp": {
			change: map[string]any{"scope": "", "scp": "a"},
			want:   func(p *auth.Principal) { p.Scopes = []string{} },
		},
		"scp a list": {
			change: map[string]any{"scope": nil, "scp": []string{"b", "a"}},
			want:   func(p *auth.Principal) { p.Scopes = []string{"a", "b"} },
		},
		"scp a text": {
			change: map[string]any{"scope": nil, "scp": "b a"},
			want:   func(p *auth.Principal) { p.Scopes = []string{"a", "b"} },
		},
		"permissions, by configuration": {
			change: map[string]any{"permissions": []string{"a b"}},
			adjust: func(p *auth.Provider) { p.ScopeClaims = []string{"permissions", "scope"} },
			want:   func(p *auth.Principal) { p.Scopes = []string{"a b"} },
		},
		"one agent": {
			change: map[string]any{"agent_id": "a1"},
			want:   func(p *auth.Principal) { p.Agents = []string{"a1"} },
		},
		"several agents": {
			change: map[string]any{"agent_id": []string{"a1", "a2"}},
			want:   func(p *auth.Principal) { p.Agents = []string{"a1", "a2"} },
		},
		"no agent at all": {
			change: map[string]any{"agent_id": []string{}},
			want:   func(p *auth.Principal) { p.Agents = []string{} },
		},
		"agents in another claim": {
			change: map[string]any{"agent_id": "a1", "https://x/agents": "a9"},
			adjust: func(p *auth.Provider) { p.AgentClaim = "https://x/agents" },
			want:   func(p *auth.Principal) { p.Agents = []string{"a9"} },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := iss.Provider("test", audience)
			if test.adjust != nil {
				test.adjust(&p)
			}
			claims := iss.Claims(audience, now)
			claims["jti"], claims["scope"] = "id-1", "a"
			for k, v := range test.change {
				if claims[k] = v; v == nil {
					delete(claims, k)
				}
			}
			want := &auth.Principal{
				Provider: "test", Issuer: iss.URL, Subject: "user-1", ClientID: "client-1", Scopes: []string{"a"},
				TokenID: "id-1", IssuedAt: now, Expires: now.Add(time.Hour), KeyID: "EdDSA-1", Alg: "EdDSA",
			}
			if test.want != nil {
				test.want(want)
			}
			ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}, Now: clock})
			got, err := ps.Validate(t.Context(), iss.Mint(t, "EdDSA", claims))
			if err != nil {
				t.Fatalf("Validate: %v", err)
			}
			if got.Claims["sub"] != "user-1" {
				t.Errorf("claims: got %v", got.Claims)
			}
			cp := *got
			cp.Claims = nil
			if diff := cmp.Diff(want, &cp); diff != "" {
				t.Errorf("principal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestProfileRFC9068(t *testing.T) {
	iss := arctest.NewIssuer(t)
	p := iss.Provider("test", audience)
	p.Profile = auth.ProfileRFC9068
	ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}})
	key := iss.Key(t, "EdDSA")
	claims := iss.Claims(audience, time.Now())
	for typ, reason := range map[string]string{
		"at+jwt": "", "application/at+jwt": "", "AT+JWT": "", "JWT": auth.ReasonPolicy, "": auth.ReasonPolicy,
	} {
		t.Run("typ "+typ, func(t *testing.T) {
			header := map[string]any{"alg": "EdDSA", "kid": key.ID}
			if typ != "" {
				header["typ"] = typ
			}
			judged(t, ps, key.Sign(t, header, claims), reason)
		})
	}
	for _, claim := range []string{"sub", "exp", "iat", "client_id", "jti"} {
		t.Run("without "+claim, func(t *testing.T) {
			c := maps.Clone(claims)
			delete(c, claim)
			c["azp"] = "client-1" // is no client_id
			e := judged(t, ps, iss.Mint(t, "EdDSA", c), auth.ReasonMissingClaim)
			if e.Details["claim"] != claim {
				t.Errorf("details.claim: got %v, want %s", e.Details["claim"], claim)
			}
		})
	}
}

func TestExpiredDetails(t *testing.T) {
	iss := arctest.NewIssuer(t)
	claims := iss.Claims(audience, time.Now())
	claims["exp"] = 1_700_000_000
	e := judged(t, trusting(t, iss), iss.Mint(t, "ES256", claims), auth.ReasonExpired)
	want := map[string]any{
		"reason": "expired", "retryable": true, "expired_at": "2023-11-14T22:13:20Z", "expiredAt": "2023-11-14T22:13:20Z",
	}
	if diff := cmp.Diff(want, e.Details); diff != "" {
		t.Errorf("details (-want +got):\n%s", diff)
	}
}

func TestAlgorithmsOfProvider(t *testing.T) {
	iss := arctest.NewIssuer(t)
	iss.AddKey(t, "ES512")
	token := iss.Mint(t, "ES512", iss.Claims(audience, time.Now()))
	judged(t, trusting(t, iss), token, auth.ReasonAlgNotAllowed)

	p := iss.Provider("test", audience)
	p.Algorithms = []string{"ES512"}
	ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}})
	judged(t, ps, token, "")
	judged(t, ps, iss.Token(t, audience), auth.ReasonAlgNotAllowed)
}

// Provider 2's tokens must never touch provider 1: neither its keys nor its
// rules.
func TestProvidersApart(t *testing.T) {
	one, two := arctest.NewIssuer(t), arctest.NewIssuer(t)
	p1, p2 := one.Provider("one", "aud-1"), two.Provider("two", "aud-2")
	ps := newProviders(t, auth.Config{Providers: []auth.Provider{p1, p2}})
	now := time.Now()

	judged(t, ps, two.Mint(t, "ES256", two.Claims("aud-2", now)), "")
	judged(t, ps, two.Mint(t, "ES256", two.Claims("aud-1", now)), auth.ReasonWrongAudience)
	stranger := arctest.NewKey(t, "unknown", "ES256")
	judged(t, ps, stranger.Sign(t, map[string]any{"alg": "ES256", "kid": "unknown"}, two.Claims("aud-2", now)), auth.ReasonUnknownKey)
	if got := one.Requests(); got != 0 {
		t.Errorf("tokens of provider two caused %d requests to provider one", got)
	}

	// Signed by one, and says that it is of two.
	judged(t, ps, one.Mint(t, "ES256", two.Claims("aud-2", now)), auth.ReasonBadSignature)
	judged(t, ps, one.Mint(t, "EdDSA", one.Claims("aud-1", now)), "")
}

func TestRevoked(t *testing.T) {
	iss := arctest.NewIssuer(t)
	revoked := false
	ps := newProviders(t, auth.Config{
		Providers: []auth.Provider{iss.Provider("test", audience)},
		Revoked: func(_ context.Context, p *auth.Principal) (bool, error) {
			return revoked && p.TokenID != "", nil
		},
	})
	token := iss.Token(t, audience)
	judged(t, ps, token, "")
	revoked = true
	judged(t, ps, token, auth.ReasonRevoked)
	judged(t, ps, iss.Token(t, audience), auth.ReasonRevoked)
	claims := iss.Claims(audience, time.Now().Add(-2*time.Hour))
	judged(t, ps, iss.Mint(t, "ES256", claims), auth.ReasonRevoked)
	revoked = false
	judged(t, ps, iss.Mint(t, "ES256", claims), auth.ReasonExpired)
}

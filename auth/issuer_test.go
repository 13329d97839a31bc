package auth_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/crypto/argon2"

	"github.com/arcd-io/arcd/auth"
)

const issuerURL = "https://arcd.test"

// A testClock is set by hand.
type testClock struct {
	mu  sync.Mutex // guards now
	now time.Time
}

func newTestClock() *testClock {
	return &testClock{now: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)}
}

func (c *testClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *testClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// cheapHash is a valid argon2id hash that costs next to nothing to verify.
func cheapHash(secret string) string { return hashOf(secret, 8) }

// hashOf is an argon2id hash that takes this much memory, in KiB, once.
func hashOf(secret string, memory uint32) string {
	salt := []byte("0123456789abcdef")
	enc := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=19$m=%d,t=1,p=1$%s$%s", memory, enc.EncodeToString(salt),
		enc.EncodeToString(argon2.IDKey([]byte(secret), salt, 1, memory, 1, 32)))
}

// openTestIssuer opens an issuer in a folder of its own; change may be nil.
func openTestIssuer(t *testing.T, clock *testClock, change func(*auth.IssuerConfig)) (*auth.Issuer, auth.IssuerConfig) {
	t.Helper()
	folder := t.TempDir()
	cfg := auth.IssuerConfig{
		URL: issuerURL, KeyFile: filepath.Join(folder, "keys.json"), ClientsFile: filepath.Join(folder, "clients.json"),
		Now: clock.Now,
		Clients: map[string]auth.Client{
			"ci": {
				SecretHash: cheapHash("s3cret"), Scopes: []string{auth.ScopeTask, auth.ScopeCaller}, Agents: []string{"ci-agent"},
			},
		},
	}
	if change != nil {
		change(&cfg)
	}
	i, err := auth.OpenIssuer(cfg)
	if err != nil {
		t.Fatalf("OpenIssuer: %v", err)
	}
	return i, cfg
}

// tokenParts gives header and claims of a token, unverified.
func tokenParts(t *testing.T, token string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(token, ".")
	for n, v := range []*map[string]any{&header, &claims} {
		b, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err != nil {
			t.Fatalf("token part %d: %v", n, err)
		}
		if err := json.Unmarshal(b, v); err != nil {
			t.Fatalf("token part %d: %v", n, err)
		}
	}
	return header, claims
}

// kidsOf lists the key ids of a JWK Set document.
func kidsOf(t *testing.T, document []byte) []string {
	t.Helper()
	var set struct {
		Keys []struct{ Kid string }
	}
	if err := json.Unmarshal(document, &set); err != nil {
		t.Fatalf("JWKS: %v", err)
	}
	var kids []string
	for _, k := range set.Keys {
		kids = append(kids, k.Kid)
	}
	return kids
}

func TestGrantedTokenHasTheProfile(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	grant, err := i.Grant(auth.GrantRequest{ClientID: "ci", Secret: "s3cret", Remote: "192.0.2.1"})
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	want := auth.Grant{
		AccessToken: grant.AccessToken, TokenType: "Bearer", ExpiresIn: 900, Scope: "arc.agent.caller arc.task.controller",
		TokenID: grant.TokenID, Audience: []string{issuerURL},
	}
	if diff := cmp.Diff(want, grant); diff != "" {
		t.Errorf("Grant (-want +got):\n%s", diff)
	}
	header, claims := tokenParts(t, grant.AccessToken)
	if diff := cmp.Diff(map[string]any{"alg": "EdDSA", "typ": "at+jwt", "kid": kidsOf(t, i.JWKS())[0]}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	iat := float64(clock.Now().Unix())
	if diff := cmp.Diff(map[string]any{
		"iss": issuerURL, "sub": "ci", "client_id": "ci", "aud": issuerURL, "iat": iat, "exp": iat + 900,
		"jti": grant.TokenID, "scope": "arc.agent.caller arc.task.controller", "agent_id": "ci-agent",
	}, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
	if raw, err := base64.RawURLEncoding.DecodeString(grant.TokenID); err != nil || len(raw) < 16 {
		t.Errorf("jti %q holds %d bytes (%v), want 16 or more", grant.TokenID, len(raw), err)
	}
}

// The keys in the document, and nothing else of the issuer, verify its tokens.
func TestJWKSVerifiesTokens(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	token, err := i.Mint(auth.Claims{Subject: "somebody"})
	if err != nil {
		t.Fatalf("Mint: %v", err)
	}
	var set struct {
		Keys []map[string]string `json:"keys"`
	}
	if err := json.Unmarshal(i.JWKS(), &set); err != nil || len(set.Keys) != 1 {
		t.Fatalf("JWKS %s: %v", i.JWKS(), err)
	}
	key := set.Keys[0]
	want := map[string]string{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": key["kid"], "x": key["x"]}
	if diff := cmp.Diff(want, key); diff != "" {
		t.Errorf("JWK (-want +got):\n%s", diff)
	}
	x, err := base64.RawURLEncoding.DecodeString(key["x"])
	if err != nil {
		t.Fatal(err)
	}
	_, err = jwt.Parse(token, func(*jwt.Token) (any, error) { return jwtKey(x), nil },
		jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithTimeFunc(clock.Now), jwt.WithIssuer(issuerURL))
	if err != nil {
		t.Errorf("verifying with the published key: %v", err)
	}
}

func TestReadGivesThePrincipal(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	grant, err := i.Grant(auth.GrantRequest{ClientID: "ci", Secret: "s3cret"})
	if err != nil {
		t.Fatalf("Grant: %v", err)
	}
	p, err := i.Read(grant.AccessToken)
	if err != nil {
		t.Fatalf("Read: %v", err)
	}
	p.Claims = nil
	want := &auth.Principal{
		Provider: "arcd", Issuer: issuerURL, Subject: "ci", ClientID: "ci", Alg: "EdDSA", KeyID: kidsOf(t, i.JWKS())[0],
		Scopes: []string{"arc.agent.caller", "arc.task.controller"}, Agents: []string{"ci-agent"}, TokenID: grant.TokenID,
		IssuedAt: clock.Now(), Expires: clock.Now().Add(15 * time.Minute),
	}
	if diff := cmp.Diff(want, p); diff != "" {
		t.Errorf("Read (-want +got):\n%s", diff)
	}

	other, _ := openTestIssuer(t, clock, nil)
	foreign, err := other.Mint(auth.Claims{Subject: "ci"})
	if err != nil {
		t.Fatal(err)
	}
	expired, err := i.Mint(auth.Claims{Subject: "ci", TTL: -time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty": "", "no token": "hello", "other key": foreign, "expired": expired,
		"cut": grant.AccessToken[:len(grant.AccessToken)-4],
	} {
		if p, err := i.Read(token); err == nil {
			t.Errorf("Read(%s) = %+v, want an error", name, p)
		}
	}
}

func TestOpenIssuerRefuses(t *testing.T) {
	tests := map[string]func(*auth.IssuerConfig){
		`URL "" is not`:                      func(c *auth.IssuerConfig) { c.URL = "" },
		`URL "arcd.test" is not`:             func(c *auth.IssuerConfig) { c.URL = "arcd.test" },
		`URL "https://a?b" is not`:           func(c *auth.IssuerConfig) { c.URL = "https://a?b" },
		`URL "https://u:p@a" is not`:         func(c *auth.IssuerConfig) { c.URL = "https://u:p@a" },
		"neither KeyFile nor Keys is given":  func(c *auth.IssuerConfig) { c.KeyFile = "" },
		"TokenTTL -1s":                       func(c *auth.IssuerConfig) { c.TokenTTL = -time.Second },
		"TokenTTL 25h0m0s":                   func(c *auth.IssuerConfig) { c.TokenTTL = 25 * time.Hour },
		"TokenTTL 1.5s":                      func(c *auth.IssuerConfig) { c.TokenTTL = 1500 * time.Millisecond },
		"LongestTTL 14m0s":                   func(c *auth.IssuerConfig) { c.LongestTTL = 14 * time.Minute },
		"LongestTTL 744h0m1s":                func(c *auth.IssuerConfig) { c.LongestTTL = 31*24*time.Hour + time.Second },
		"LongestTTL 20m0.5s":                 func(c *auth.IssuerConfig) { c.LongestTTL = 20*time.Minute + time.Second/2 },
		"one of Audience is empty":           func(c *auth.IssuerConfig) { c.Audience = []string{""} },
		`client id "a b" is not`:             withClient("a b", auth.Client{SecretHash: cheapHash("x")}),
		`must not begin with "admin:"`:       withClient("admin:a", auth.Client{SecretHash: cheapHash("x")}),
		`client "a": secret_hash is not`:     withClient("a", auth.Client{SecretHash: "plain"}),
		`client "a": secret_hash has costs`:  withClient("a", auth.Client{SecretHash: "$argon2id$v=19$m=9,t=1$c2FsdHNhbHQ$AAAA"}),
		`costs out of range`:                 withClient("a", auth.Client{SecretHash: strings.Replace(cheapHash("x"), "m=8,", "m=4294967295,", 1)}),
		`has a salt or a hash`:               withClient("a", auth.Client{SecretHash: "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$AAAA"}),
		`client "a": scopes: "b c" is not`:   withClient("a", auth.Client{SecretHash: cheapHash("x"), Scopes: []string{"b c"}}),
		`client "a": agents: "-x" must be 1`: withClient("a", auth.Client{SecretHash: cheapHash("x"), Agents: []string{"-x"}}),
		"opening the key file":               func(c *auth.IssuerConfig) { c.KeyFile = filepath.Join(filepath.Dir(c.KeyFile), "no", "keys.json") },
	}
	for want, change := range tests {
		t.Run(want, func(t *testing.T) {
			cfg := auth.IssuerConfig{URL: issuerURL, KeyFile: filepath.Join(t.TempDir(), "keys.json")}
			change(&cfg)
			if _, err := auth.OpenIssuer(cfg); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("OpenIssuer: %v, want %q in it", err, want)
			}
		})
	}
}

func withClient(id string, c auth.Client) func(*auth.IssuerConfig) {
	return func(cfg *auth.IssuerConfig) { cfg.Clients = map[string]auth.Client{id: c} }
}

// A file that was broken while the issuer runs does not stop it, and is reported
// once.
func TestBrokenFileKeepsTheLastGood(t *testing.T) {
	var log bytes.Buffer
	clock := newTestClock()
	i, cfg := openTestIssuer(t, clock, func(c *auth.IssuerConfig) { c.Log = zerolog.New(&log) })
	before := string(i.JWKS())
	if err := os.WriteFile(cfg.KeyFile, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		clock.Advance(2 * time.Second)
		if got := string(i.JWKS()); got != before {
			t.Fatalf("JWKS() = %s, want %s", got, before)
		}
	}
	if n := strings.Count(log.String(), `"event":"file_refused"`); n != 1 {
		t.Errorf("%d lines of the refused file, want 1:\n%s", n, log.String())
	}
	if err := auth.RotateKeys(cfg.KeyFile); err == nil {
		t.Error("RotateKeys of a broken file did not fail")
	}
	if err := os.Remove(cfg.KeyFile); err != nil {
		t.Fatal(err)
	}
	mended, err := auth.OpenIssuer(cfg) // makes a new file
	if err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Second)
	if got := string(i.JWKS()); got != string(mended.JWKS()) {
		t.Errorf("JWKS() = %s, want that of the new file %s", got, mended.JWKS())
	}
}

package interop_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// mint makes a token for GET /agents with the server's own key, after change has
// been at its header and claims.
func mint(t *testing.T, d *daemon, change func(header, claims map[string]any)) string {
	t.Helper()
	claims := jwt.MapClaims{}
	model, _, err := jwt.NewParser().ParseUnverified(d.token(t, "--agent", "golden-agent"), claims)
	if err != nil {
		t.Fatal(err)
	}
	change(model.Header, claims)
	signed, err := (&jwt.Token{Header: model.Header, Claims: claims, Method: jwt.SigningMethodEdDSA}).SignedString(signingKey(t, d))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// signingKey reads the key that the server signs with out of its key file.
func signingKey(t *testing.T, d *daemon) ed25519.PrivateKey {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(d.dir, "arcd-keys.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Keys []struct{ State, Seed string }
	}
	if err := json.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, key := range file.Keys {
		seed, err := base64.RawURLEncoding.DecodeString(key.Seed)
		if err != nil {
			t.Fatal(err)
		}
		if key.State == "signing" {
			return ed25519.NewKeyFromSeed(seed)
		}
	}
	t.Fatal("no signing key in the key file")
	return nil
}

// unsigned makes a token of a header and claims, with any text as signature.
func unsigned(header, claims, signature string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(claims)) + "." + signature
}

// TestGoldenTokens are the scenarios T1 and T4 to T6 with tokens that the page
// speaks of without showing them.
func TestGoldenTokens(t *testing.T) {
	d := startedDev(t)
	good := mint(t, d, func(_, _ map[string]any) {})
	parts := strings.Split(good, ".")
	_, foreign, _ := ed25519.GenerateKey(nil)
	forged, err := jwt.SigningMethodEdDSA.Sign(parts[0]+"."+parts[1], foreign)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct{ token, golden string }{
		"a good one": {good, "no agents"},
		"T1 with iat, the page's example": {
			unsigned(`{"typ":"JWT","alg":"HS256"}`, `{"sub":"agent-001","iat":1705307400,"exp":1705311000}`, "signature"), "T1 with iat"},
		"T1 expired and none": {unsigned(`{"alg":"none"}`, `{"sub":"agent-001","exp":1705399800}`, ""), "T1"},
		"T4 other key, our name for it": {
			parts[0] + "." + parts[1] + "." + base64.RawURLEncoding.EncodeToString(forged), "T4"},
		"T4 signature of something else": {
			parts[0] + "." + parts[1] + "." + strings.Split(mint(t, d, func(_, claims map[string]any) { claims["sub"] = "other" }), ".")[2], "T4"},
		"T4 unknown key":       {mint(t, d, func(header, _ map[string]any) { header["kid"] = "unknown" }), "T4"},
		"T6 within the leeway": {mint(t, d, func(_, claims map[string]any) { age(claims, 5*time.Second) }), "no agents"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			want := goldens[test.golden]
			wantReply(t, request(t, d, "GET", "/agents", "", bearer(test.token)), want.status, want.body)
		})
	}
	t.Run("T5", func(t *testing.T) {
		d, token := outsider(t)
		wantReply(t, request(t, d, "GET", "/agents", "", bearer(token)), 401, goldens["T5"].body)
	})
	t.Run("T6 beyond the leeway", func(t *testing.T) {
		var issued, expired string
		token := mint(t, d, func(_, claims map[string]any) { issued, expired = age(claims, 5*time.Minute) })
		wantReply(t, request(t, d, "GET", "/agents", "", bearer(token)), 401, fmt.Sprintf(`{
			"type": "https://arcp.0x001.tech/docs/problems/token-invalid",
			"title": "Invalid or Expired Token",
			"status": 401,
			"detail": "JWT token has expired at %s",
			"instance": "/agents",
			"timestamp": "<time>",
			"request_id": "<request>",
			"token_issued_at": "%s",
			"token_expired_at": "%[1]s",
			"error_code": "TOKEN_EXPIRED"
		}`, expired, issued))
	})
}

// outsider gives a server that trusts a provider outside, and a good token of this
// provider that says nothing of agents and scopes. arcd's own tokens always do.
func outsider(t *testing.T) (*daemon, string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	keys := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/jwk-set+json")
		fmt.Fprintf(w, `{"keys":[{"kty":"OKP","crv":"Ed25519","alg":"EdDSA","use":"sig","kid":"outside","x":%q}]}`,
			base64.RawURLEncoding.EncodeToString(public))
	}))
	t.Cleanup(keys.Close)
	config := filepath.Join(t.TempDir(), "arcd.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil,
		"auth:\n  providers:\n    outside: {issuer: %q, audience: arcd, jwks_uri: %q, allow_http: true}\n", keys.URL, keys.URL+"/keys"), 0o600); err != nil {
		t.Fatal(err)
	}
	token := jwt.NewWithClaims(jwt.SigningMethodEdDSA, jwt.MapClaims{
		"iss": keys.URL, "aud": "arcd", "sub": "agent-001", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	})
	token.Header["kid"] = "outside"
	signed, err := token.SignedString(private)
	if err != nil {
		t.Fatal(err)
	}
	return startedDev(t, "--config", config), signed
}

// age makes claims of an hour that ended some time ago, and gives both times as
// answers show them.
func age(claims map[string]any, ago time.Duration) (issued, expired string) {
	end := time.Now().Add(-ago).UTC().Truncate(time.Second)
	claims["iat"], claims["exp"] = end.Add(-time.Hour).Unix(), end.Unix()
	delete(claims, "nbf")
	return end.Add(-time.Hour).Format(time.RFC3339), end.Format(time.RFC3339)
}

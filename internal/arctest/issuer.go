// Package arctest is help for tests: a token issuer on loopback and the tokens
// that no server may take.
package arctest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/arcd-io/arcd/auth"
)

// Algorithms are those that an [Issuer] has a key for from the start. The kid
// of each key is its algorithm with "-1" behind it.
var Algorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

// Issuer is an issuer of tokens on loopback, with discovery document and key
// set over plain http. Its methods are safe for concurrent use.
type Issuer struct {
	// URL is its issuer identifier.
	URL string

	routes http.Handler

	mu       sync.Mutex       // guards what follows
	keys     []*Key           // as published
	made     map[string]int   // keys so far, by algorithm
	answer   http.HandlerFunc // in place of the key set; nil: the key set
	requests int
}

// Key is a key pair of an [Issuer].
type Key struct {
	ID      string
	Alg     string
	Private crypto.Signer
}

// NewIssuer starts an issuer with one key for each of [Algorithms]. It ends
// with the test.
func NewIssuer(t testing.TB) *Issuer {
	t.Helper()
	iss := &Issuer{made: map[string]int{}}
	for _, alg := range Algorithms {
		iss.AddKey(t, alg)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /jwks", iss.serveKeys)
	mux.HandleFunc("GET /.well-known/openid-configuration", iss.serveMetadata)
	iss.routes = mux
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	iss.URL = server.URL
	return iss
}

// Provider gives the configuration that trusts this issuer, found by discovery.
func (iss *Issuer) Provider(name, audience string) auth.Provider {
	return auth.Provider{Name: name, Issuer: iss.URL, Audience: []string{audience}, AllowHTTP: true}
}

// RoundTrip answers a request as the server does, without a network: so the
// issuer can be asked under the fake clock of testing/synctest.
func (iss *Issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	iss.routes.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// Claims gives the claims of a good token for the audience, from now on for an
// hour, with all scopes of the specification. The caller may change them.
func (iss *Issuer) Claims(audience string, now time.Time) map[string]any {
	return map[string]any{
		"iss": iss.URL, "sub": "user-1", "aud": audience, "client_id": "client-1", "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
		"scope": "arc.agent.caller arc.agent.receiver arc.chat.controller arc.task.controller arc.task.notify",
	}
}

// Token mints a good token for the audience, signed with ES256.
func (iss *Issuer) Token(t testing.TB, audience string) string {
	t.Helper()
	return iss.Mint(t, "ES256", iss.Claims(audience, time.Now()))
}

// Mint signs the claims with the newest key for the algorithm, typ at+jwt.
func (iss *Issuer) Mint(t testing.TB, alg string, claims map[string]any) string {
	t.Helper()
	k := iss.Key(t, alg)
	return k.Sign(t, map[string]any{"alg": alg, "kid": k.ID, "typ": "at+jwt"}, claims)
}

// Key gives the newest key for the algorithm.
func (iss *Issuer) Key(t testing.TB, alg string) *Key {
	t.Helper()
	iss.mu.Lock()
	defer iss.mu.Unlock()
	for _, k := range slices.Backward(iss.keys) {
		if k.Alg == alg {
			return k
		}
	}
	t.Fatalf("the issuer has no key for %s", alg)
	return nil
}

// AddKey makes a further key for the algorithm and publishes it.
func (iss *Issuer) AddKey(t testing.TB, alg string) *Key {
	t.Helper()
	iss.mu.Lock()
	defer iss.mu.Unlock()
	iss.made[alg]++
	k := NewKey(t, fmt.Sprintf("%s-%d", alg, iss.made[alg]), alg)
	iss.keys = append(iss.keys, k)
	return k
}

// Withdraw takes a key out of the key set.
func (iss *Issuer) Withdraw(k *Key) {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	iss.keys = slices.DeleteFunc(slices.Clone(iss.keys), func(other *Key) bool { return other == k })
}

// Rotate publishes a new key for the algorithm and withdraws the old one.
func (iss *Issuer) Rotate(t testing.TB, alg string) *Key {
	t.Helper()
	old := iss.Key(t, alg)
	k := iss.AddKey(t, alg)
	iss.Withdraw(old)
	return k
}

// Answer makes h answer the key-set requests from now on; nil: the key set.
func (iss *Issuer) Answer(h http.HandlerFunc) {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	iss.answer = h
}

// Requests counts the key-set requests so far.
func (iss *Issuer) Requests() int {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	return iss.requests
}

// JWKS gives the key set (RFC 7517 section 5).
func (iss *Issuer) JWKS() []byte {
	iss.mu.Lock()
	defer iss.mu.Unlock()
	jwks := []map[string]any{}
	for _, k := range iss.keys {
		jwks = append(jwks, k.JWK())
	}
	return KeySet(jwks...)
}

// KeySet writes a key set of the given JWKs.
func KeySet(jwks ...map[string]any) []byte {
	b, err := json.Marshal(map[string]any{"keys": jwks})
	if err != nil {
		panic(err) // maps of texts always encode
	}
	return b
}

func (iss *Issuer) serveKeys(w http.ResponseWriter, r *http.Request) {
	iss.mu.Lock()
	iss.requests++
	answer := iss.answer
	iss.mu.Unlock()
	if answer != nil {
		answer(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Write(iss.JWKS())
}

func (iss *Issuer) serveMetadata(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(map[string]string{"issuer": iss.URL, "jwks_uri": iss.URL + "/jwks"})
}

// rsaKeys are made once per process, since making them takes long: one for each
// algorithm, and one for whoever is not the issuer.
var rsaKeys = map[string]func() (*rsa.PrivateKey, error){
	"RS256":    newRSA(2048),
	"PS256":    newRSA(2048),
	"stranger": newRSA(2048),
}

func newRSA(bits int) func() (*rsa.PrivateKey, error) {
	return sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) })
}

// NewKey makes a key pair. The first RSA key of each algorithm, "RS256-1" and
// "PS256-1", is the same in all issuers of a test program.
func NewKey(t testing.TB, id, alg string) *Key {
	t.Helper()
	var private crypto.Signer
	var err error
	switch alg {
	case "RS256", "PS256":
		if id == alg+"-1" {
			private, err = rsaKeys[alg]()
		} else {
			private, err = rsa.GenerateKey(rand.Reader, 2048)
		}
	case "ES256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ES384":
		private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case "ES512":
		private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	case "EdDSA":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	default:
		t.Fatalf("no keys for %s", alg)
	}
	if err != nil {
		t.Fatalf("making a key for %s: %v", alg, err)
	}
	return &Key{ID: id, Alg: alg, Private: private}
}

// JWK gives the public key with kid, use and alg.
func (k *Key) JWK() map[string]any {
	m := map[string]any{"kid": k.ID, "use": "sig", "alg": k.Alg}
	switch public := k.Private.Public().(type) {
	case *rsa.PublicKey:
		m["kty"], m["n"], m["e"] = "RSA", B64(public.N.Bytes()), B64(big.NewInt(int64(public.E)).Bytes())
	case *ecdsa.PublicKey:
		point, err := public.Bytes()
		if err != nil {
			panic(err) // the key was made here, on a known curve
		}
		half := len(point) / 2
		m["kty"], m["crv"] = "EC", public.Params().Name
		m["x"], m["y"] = B64(point[1:1+half]), B64(point[1+half:])
	case ed25519.PublicKey:
		m["kty"], m["crv"], m["x"] = "OKP", "Ed25519", B64(public)
	}
	return m
}

// Sign makes a token of header and claims as they are, signed by the algorithm
// that goes with the key.
func (k *Key) Sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	return k.SignText(t, k.Alg, text(t, header), text(t, claims))
}

// SignText makes a token of the texts of header and claims, whatever they are,
// and signs it truly with the algorithm alg.
func (k *Key) SignText(t testing.TB, alg, header, claims string) string {
	t.Helper()
	input := B64([]byte(header)) + "." + B64([]byte(claims))
	signature, err := jwt.GetSigningMethod(alg).Sign(input, k.Private)
	if err != nil {
		t.Fatalf("signing with %s: %v", alg, err)
	}
	return input + "." + B64(signature)
}

// B64 is base64url without padding.
func B64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// text writes a JSON object.
func text(t testing.TB, object map[string]any) string {
	t.Helper()
	b, err := json.Marshal(object)
	if err != nil {
		t.Fatalf("encoding: %v", err)
	}
	return string(b)
}

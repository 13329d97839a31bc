package main

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
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/arcd-io/arcd/auth"
)

// Who the tokens come from and whom they are for.
const (
	issuerURL = "https://issuer.bench.example"
	audience  = "https://arcd.bench.example"
	keysFile  = "keys.json"

	agentClaim = "agents" // the claim that names the agents that a token speaks for
)

// issuer is an outside provider of tokens with one key for each algorithm.
type issuer struct {
	url  string
	keys map[string]crypto.Signer // by algorithm, which is also the key id
}

// algorithms that the benchmark signs tokens with.
var algorithms = []string{"RS256", "ES256", "EdDSA"}

func newIssuer() (*issuer, error) {
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return &issuer{issuerURL, map[string]crypto.Signer{"RS256": r, "ES256": e, "EdDSA": ed}}, nil
}

// keySet is the issuer's JWK Set (RFC 7517).
func (i *issuer) keySet() ([]byte, error) {
	var keys []map[string]string
	for alg, key := range i.keys {
		jwk := map[string]string{"kid": alg, "alg": alg, "use": "sig"}
		switch public := key.Public().(type) {
		case *rsa.PublicKey:
			jwk["kty"], jwk["n"], jwk["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
		case *ecdsa.PublicKey:
			point, err := public.Bytes() // 4, x, y
			if err != nil {
				return nil, err
			}
			jwk["kty"], jwk["crv"], jwk["x"], jwk["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
		case ed25519.PublicKey:
			jwk["kty"], jwk["crv"], jwk["x"] = "OKP", "Ed25519", b64(public)
		}
		keys = append(keys, jwk)
	}
	return json.Marshal(map[string]any{"keys": keys})
}

func b64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// token signs a token for the benchmark's one caller. No two are alike.
func (i *issuer) token(alg string) (string, error) {
	return i.sign(alg, jwt.MapClaims{
		"sub": "bench", "client_id": "bench",
		"scope": strings.Join([]string{auth.ScopeTask, auth.ScopeChat, auth.ScopeCaller}, " "),
	})
}

// agentToken signs a token for an agent that dials in.
func (i *issuer) agentToken(id string) (string, error) {
	return i.sign("EdDSA", jwt.MapClaims{
		"sub": id, "client_id": id, agentClaim: id,
		"scope": strings.Join([]string{auth.ScopeServe, auth.ScopeNotify}, " "),
	})
}

// sign signs a token with these claims and those that all tokens have.
func (i *issuer) sign(alg string, claims jwt.MapClaims) (string, error) {
	now := time.Now()
	claims["iss"], claims["aud"], claims["jti"] = i.url, audience, rand.Text()
	claims["iat"], claims["exp"] = now.Unix(), now.Add(time.Hour).Unix()
	t := jwt.NewWithClaims(jwt.GetSigningMethod(alg), claims)
	t.Header["kid"], t.Header["typ"] = alg, "at+jwt"
	signed, err := t.SignedString(i.keys[alg])
	if err != nil {
		return "", fmt.Errorf("signing with %s: %w", alg, err)
	}
	return signed, nil
}

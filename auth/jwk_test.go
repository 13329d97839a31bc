package auth_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

func now() time.Time { return time.Now() }

// changed copies a JWK with some members other; nil removes one.
func changed(jwk map[string]any, members map[string]any) map[string]any {
	jwk = maps.Clone(jwk)
	for name, v := range members {
		if jwk[name] = v; v == nil {
			delete(jwk, name)
		}
	}
	return jwk
}

// Each key set is judged by whether a token that is signed with the key named
// below is taken, and whether an alarm about a key is logged.
func TestKeySets(t *testing.T) {
	iss := arctest.NewIssuer(t)
	es, ed, rs := iss.Key(t, "ES256"), iss.Key(t, "EdDSA"), iss.Key(t, "RS256")
	esJWK, edJWK, rsJWK := es.JWK(), ed.JWK(), rs.JWK()
	type m = map[string]any
	for _, test := range []struct {
		name  string
		jwks  []m
		key   *arctest.Key
		taken bool
		alarm bool
	}{
		{"as it is", []m{esJWK}, es, true, false},
		{"no alg", []m{changed(esJWK, m{"alg": nil})}, es, true, false},
		{"no use", []m{changed(esJWK, m{"use": nil})}, es, true, false},
		{"key_ops verify", []m{changed(esJWK, m{"key_ops": []string{"sign", "verify"}})}, es, true, false},
		{"members of another time", []m{changed(esJWK, m{"x5c": []string{"?"}, "x5t": 1, "exp": 1})}, es, true, false},
		{"use enc", []m{changed(esJWK, m{"use": "enc"}), edJWK}, es, false, false},
		{"key_ops encrypt", []m{changed(esJWK, m{"key_ops": []string{"encrypt"}}), edJWK}, es, false, false},
		{"key_ops empty", []m{changed(esJWK, m{"key_ops": []string{}}), edJWK}, es, false, false},
		{"alg of another kind", []m{changed(esJWK, m{"alg": "RS256"}), edJWK}, es, false, true},
		{"alg of another curve", []m{changed(esJWK, m{"alg": "ES384"}), edJWK}, es, false, true},
		{"alg for encryption", []m{changed(rsJWK, m{"alg": "RSA-OAEP"}), edJWK}, rs, false, false},
		{"use a number", []m{changed(esJWK, m{"use": 1}), edJWK}, es, false, true},

		{"off the curve", []m{changed(esJWK, m{"y": esJWK["x"]}), edJWK}, es, false, true},
		{"point too short", []m{changed(esJWK, m{"x": "AQ"}), edJWK}, es, false, true},
		{"other curve", []m{changed(esJWK, m{"crv": "P-384"}), edJWK}, es, false, true},
		{"curve that we do not know", []m{changed(esJWK, m{"crv": "secp256k1"}), edJWK}, es, false, false},
		{"Ed25519 too short", []m{changed(edJWK, m{"x": "AQ"}), esJWK}, ed, false, true},
		{"X25519", []m{changed(edJWK, m{"crv": "X25519"}), esJWK}, ed, false, false},

		{"private", []m{changed(esJWK, m{"d": "AQ"}), edJWK}, es, false, true},
		{"private, CRT only", []m{changed(rsJWK, m{"p": "AQ"}), edJWK}, rs, false, true},
		{"private beside public", []m{esJWK, changed(esJWK, m{"d": "AQ"}), edJWK}, es, false, true},
		{"symmetric beside it", []m{{"kty": "oct", "k": "AQ", "kid": "x"}, esJWK}, es, true, true},
		{"doubled kid", []m{esJWK, changed(esJWK, m{"alg": nil}), edJWK}, es, false, true},
		{"doubled kid, two kinds of key", []m{esJWK, changed(edJWK, m{"kid": esJWK["kid"]})}, es, true, false},
		{"doubled kid, one for encryption", []m{esJWK, changed(esJWK, m{"use": "enc"})}, es, true, false},
		{"others around a broken one", []m{{"kty": "EC"}, {}, {"kty": "RSA", "kid": "a", "n": "!", "e": "AQAB"}, esJWK}, es, true, true},
		{"kinds of keys to come", []m{{"kty": "AKP", "alg": "ML-DSA-44", "pub": "AQ"}, esJWK}, es, true, false},

		{"RSA, exponent 1", []m{changed(rsJWK, m{"e": "AQ"}), edJWK}, rs, false, true},
		{"RSA, even exponent", []m{changed(rsJWK, m{"e": "BA"}), edJWK}, rs, false, true},
		{"RSA, huge exponent", []m{changed(rsJWK, m{"e": "AQAAAAAAAAAB"}), edJWK}, rs, false, true},
		{"RSA, even modulus", []m{changed(rsJWK, m{"n": modulus(func(n *big.Int) { n.Lsh(big.NewInt(3), 2047) })}), edJWK}, rs, false, true},
		{"RSA, small factor", []m{changed(rsJWK, m{"n": modulus(func(n *big.Int) { n.Exp(big.NewInt(3), big.NewInt(1300), nil) })}), edJWK}, rs, false, true},
		{"RSA, ROCA", []m{changed(rsJWK, m{"n": modulus(roca)}), edJWK}, rs, false, true},
		{"RSA, 16384 bits", []m{changed(rsJWK, m{"n": arctest.B64(bytes.Repeat([]byte{0xff}, 2048))}), edJWK}, rs, false, true},
		{"RSA, 1024 bits", []m{changed(rsJWK, m{"n": modulus(func(n *big.Int) { small(t, n) })}), edJWK}, rs, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			iss.Answer(document(arctest.KeySet(test.jwks...)))
			var log bytes.Buffer
			p := iss.Provider("test", audience)
			ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}, Log: zerolog.New(&log)})
			_, err := ps.Validate(t.Context(), test.key.Sign(t, map[string]any{"alg": test.key.Alg, "kid": test.key.ID}, iss.Claims(audience, now())))
			if taken := err == nil; taken != test.taken {
				t.Errorf("taken: got %t (%v), want %t", taken, err, test.taken)
			}
			if alarm := strings.Contains(log.String(), "key_refused"); alarm != test.alarm {
				t.Errorf("alarm: got %t, want %t; log: %s", alarm, test.alarm, log.String())
			}
		})
	}
}

// One key that is no object, or that names a member twice, spoils only itself.
func TestKeySetTexts(t *testing.T) {
	iss := arctest.NewIssuer(t)
	key := iss.Key(t, "ES256")
	jwk, err := json.Marshal(key.JWK())
	if err != nil {
		t.Fatal(err)
	}
	for name, other := range map[string]string{
		"null": "null", "a number": "5", "a text": `"x"`, "doubled kid": `{"kid":"a","kid":"b","kty":"EC"}`, "not UTF-8 inside": `{"kid":"\ud800"}`,
	} {
		t.Run(name, func(t *testing.T) {
			iss.Answer(document([]byte(`{"keys":[` + other + `,` + string(jwk) + `],"extra":{}}`)))
			judged(t, trusting(t, iss), iss.Token(t, audience), "")
		})
	}
	t.Run("names in another case", func(t *testing.T) {
		iss.Answer(document([]byte(`{"Keys":[` + string(jwk) + `]}`)))
		judged(t, trusting(t, iss), iss.Token(t, audience), auth.ReasonKeysUnavailable)
	})
}

// modulus writes a number of the caller's making.
func modulus(make func(*big.Int)) string {
	n := new(big.Int)
	make(n)
	return arctest.B64(n.Bytes())
}

func small(t *testing.T, n *big.Int) {
	t.Setenv("GODEBUG", "rsa1024min=0")
	key, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatalf("making a small key: %v", err)
	}
	n.Set(key.N)
}

// roca makes a number of 2048 bits with the mark of the broken generator: a
// power of 65537 modulo the product of the primes up to 167.
func roca(n *big.Int) {
	product := big.NewInt(2)
	for p := int64(3); p <= 167; p += 2 {
		if big.NewInt(p).ProbablyPrime(20) {
			product.Mul(product, big.NewInt(p))
		}
	}
	n.Exp(big.NewInt(65537), big.NewInt(12345), product)
	k := new(big.Int).Div(new(big.Int).Lsh(big.NewInt(3), 2046), product)
	n.Add(n, k.Mul(k, product))
}

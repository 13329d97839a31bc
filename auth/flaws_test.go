package auth_test

import (
	"encoding/json"
	"maps"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/arcd-io/arcd/auth"
)

// A token of the issuer's claims that somebody else has signed, with a secret that
// can be known, is never taken, and none lives without an end: the published server
// took any HS algorithm that the header named, knew a secret that was in its
// source, and let tokens without exp live for ever (flaw W13).
func TestW13NoSharedSecretAndNoEndlessToken(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	providers := trustOnly(t, i, clock)
	good, err := i.Issue(auth.Claims{Subject: "admin:ARCP", Extra: map[string]any{"role": "admin"}})
	if err != nil {
		t.Fatal(err)
	}
	judged(t, providers, good.Token, "")
	header, claims := tokenParts(t, good.Token)
	var set struct {
		Keys []struct{ X string }
	}
	if err := json.Unmarshal(i.JWKS(), &set); err != nil {
		t.Fatal(err)
	}
	endless := maps.Clone(claims)
	delete(endless, "exp")
	for name, secret := range map[string]string{
		"empty": "", "the kid": header["kid"].(string), "the public key": set.Keys[0].X, "the document": string(i.JWKS()),
		"a published one": "your-secret-key-change-in-production",
	} {
		for _, method := range []jwt.SigningMethod{jwt.SigningMethodHS256, jwt.SigningMethodHS384, jwt.SigningMethodHS512} {
			for _, body := range []map[string]any{claims, endless} {
				for _, kid := range []any{header["kid"], "other", nil} {
					forged := jwt.NewWithClaims(method, jwt.MapClaims(body))
					forged.Header["typ"] = "at+jwt"
					if kid != nil {
						forged.Header["kid"] = kid
					}
					token, err := forged.SignedString([]byte(secret))
					if err != nil {
						t.Fatal(err)
					}
					if _, err := providers.Validate(t.Context(), token); err == nil {
						t.Errorf("taken: %s with %s as the secret, kid %v", method.Alg(), name, kid)
					}
					if _, err := i.Read(token); err == nil {
						t.Errorf("read: %s with %s as the secret, kid %v", method.Alg(), name, kid)
					}
				}
			}
		}
	}
}

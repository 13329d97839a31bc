package auth_test

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

// FuzzPreparse holds the pre-parse against its rules, whatever the text: no
// panic, nothing but clean segments, and nothing that golang-jwt would read in
// another way.
func FuzzPreparse(f *testing.F) {
	iss := arctest.NewIssuer(f)
	f.Add(iss.Token(f, audience))
	for _, bad := range arctest.BadTokens(f, iss, audience, now()) {
		f.Add(bad.Token)
	}
	lax := jwt.NewParser()
	f.Fuzz(func(t *testing.T, token string) {
		alg, kid, claims, err := auth.Preparse(token)
		if err != nil {
			return
		}
		if len(token) > auth.MaxToken || strings.Count(token, ".") != 2 || len(kid) > 256 {
			t.Fatalf("taken: %q", token)
		}
		for part := range strings.SplitSeq(token, ".") {
			b, err := base64.RawURLEncoding.Strict().DecodeString(part)
			if err != nil || base64.RawURLEncoding.EncodeToString(b) != part {
				t.Fatalf("segment %q is not clean base64url", part)
			}
		}
		read := jwt.MapClaims{}
		other, _, err := lax.ParseUnverified(token, read)
		if other == nil || other.Header == nil {
			t.Fatalf("golang-jwt reads no header in %q: %v", token, err)
		}
		if got, _ := other.Header["alg"].(string); got != alg {
			t.Fatalf("alg: golang-jwt reads %q, we %q", got, alg)
		}
		if got, _ := other.Header["kid"].(string); got != kid {
			t.Fatalf("kid: golang-jwt reads %q, we %q", got, kid)
		}
		for _, name := range []string{"crit", "b64", "cty"} {
			if _, there := other.Header[name]; there {
				t.Fatalf("header member %s was let through", name)
			}
		}
		if err == nil {
			if diff := cmp.Diff(map[string]any(read), claims); diff != "" {
				t.Fatalf("claims (-golang-jwt +ours):\n%s", diff)
			}
		}
	})
}

package arctest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"strings"
	"time"

	"github.com/arcd-io/arcd/auth"
)

// signatures: right form, wrong signature.
func (b *badTokens) signatures() {
	bad := func(name, token string) { b.add(auth.ReasonBadSignature, "signature: "+name, token) }
	good := b.good()
	part := strings.Split(good, ".")
	input := part[0] + "." + part[1]
	bad("none", input+".")
	bad("all zero", input+"."+B64(make([]byte, 64)))
	bad("cut short", input+"."+B64(make([]byte, 32)))
	bad("of another token", input+"."+strings.Split(b.good(), ".")[2])
	other := text(b.t, with(b.claims(), "sub", "admin"))
	bad("of other claims", part[0]+"."+B64([]byte(other))+"."+part[2])
	bad("of another header", B64([]byte(text(b.t, with(b.header(), "x", 1))))+"."+part[1]+"."+part[2])
	for _, alg := range Algorithms {
		k := b.iss.Key(b.t, alg)
		var stranger *Key
		switch alg {
		case "RS256", "PS256":
			private, err := rsaKeys["stranger"]()
			if err != nil {
				b.t.Fatalf("making a key: %v", err)
			}
			stranger = &Key{Alg: alg, Private: private}
		default:
			stranger = NewKey(b.t, "stranger", alg)
		}
		bad("of a stranger, "+alg, stranger.Sign(b.t, map[string]any{"alg": alg, "kid": k.ID}, b.claims()))
	}
	digest := sha256.Sum256([]byte(input))
	der, err := ecdsa.SignASN1(rand.Reader, b.key.Private.(*ecdsa.PrivateKey), digest[:])
	if err != nil {
		b.t.Fatalf("signing: %v", err)
	}
	bad("ES256 in ASN.1", input+"."+B64(der))

	rs, claims := b.iss.Key(b.t, "RS256"), text(b.t, b.claims())
	bad("RS256 with PSS padding", rs.SignText(b.t, "PS256", text(b.t, map[string]any{"alg": "RS256", "kid": rs.ID}), claims))
	bad("RS256, the key's modulus", input2(rs, claims, rs.Private.Public().(*rsa.PublicKey).N.Bytes()))
	ed := b.iss.Mint(b.t, "EdDSA", b.claims())
	bad("EdDSA, S too large", strings.TrimSuffix(ed, ed[strings.LastIndexByte(ed, '.')+1:])+B64(bytes.Repeat([]byte{0xff}, 64)))
}

// input2 puts a signature of choice behind header and claims for the key.
func input2(k *Key, claims string, signature []byte) string {
	return B64([]byte(`{"alg":"`+k.Alg+`","kid":"`+k.ID+`"}`)) + "." + B64([]byte(claims)) + "." + B64(signature)
}

// claimTexts: claims that are not one clean JSON object.
func (b *badTokens) claimTexts() {
	head, claims := text(b.t, b.header()), text(b.t, b.claims())
	bad := func(name, claims string) {
		b.add(auth.ReasonMalformed, "claims: "+name, b.key.SignText(b.t, b.key.Alg, head, claims))
	}
	bad("not JSON", "sub=admin")
	bad("a text", `"x"`)
	bad("a list", "["+claims+"]")
	bad("null", "null")
	bad("two objects", claims+claims)
	bad("text behind them", claims+" x")
	bad("never closed", strings.TrimSuffix(claims, "}"))
	bad("doubled aud", `{"aud":"x",`+claims[1:])
	bad("doubled exp", `{"exp":9999999999,`+claims[1:])
	bad("doubled scope in escapes", `{"sc\u006fpe":"arc.admin",`+claims[1:])
	bad("doubled name one level down", `{"act":{"sub":"a","sub":"b"},`+claims[1:])
	bad("nested too deep", `{"x":`+strings.Repeat(`{"x":`, 40)+"1"+strings.Repeat("}", 40)+","+claims[1:])
	bad("not UTF-8", `{"x":"`+"\xc3\x28"+`",`+claims[1:])
	bad("lone surrogate", `{"x":"\ud800",`+claims[1:])
	bad("NaN", `{"x":NaN,`+claims[1:])
	bad("byte order mark", "\ufeff"+claims)
}

// issuers: anybody but the one.
func (b *badTokens) issuers() {
	bad := func(reason, name string, iss any) { b.claim(reason, "iss: "+name, "iss", iss) }
	bad(auth.ReasonUnknownIssuer, "another", "https://issuer.example")
	bad(auth.ReasonUnknownIssuer, "slash at the end", b.iss.URL+"/")
	bad(auth.ReasonUnknownIssuer, "upper case", strings.ToUpper(b.iss.URL))
	bad(auth.ReasonUnknownIssuer, "space at the end", b.iss.URL+" ")
	bad(auth.ReasonMissingClaim, "absent", gone)
	bad(auth.ReasonMissingClaim, "empty", "")
	bad(auth.ReasonMalformed, "a list", []string{b.iss.URL})
	bad(auth.ReasonMalformed, "a number", 1)
	bad(auth.ReasonMalformed, "null", nil)
	upper := with(with(b.claims(), "Iss", b.iss.URL), "iss", gone)
	b.add(auth.ReasonMissingClaim, "iss: written Iss", b.key.Sign(b.t, b.header(), upper))
}

// audiences: meant for somebody else, or for nobody.
func (b *badTokens) audiences() {
	bad := func(reason, name string, aud any) { b.claim(reason, "aud: "+name, "aud", aud) }
	bad(auth.ReasonWrongAudience, "another", "https://other.example")
	bad(auth.ReasonWrongAudience, "absent", gone)
	bad(auth.ReasonWrongAudience, "empty", "")
	bad(auth.ReasonWrongAudience, "empty list", []string{})
	bad(auth.ReasonWrongAudience, "list of others", []string{"a", "b"})
	bad(auth.ReasonWrongAudience, "longer", b.audience+"/x")
	bad(auth.ReasonWrongAudience, "shorter", b.audience[:len(b.audience)-1])
	bad(auth.ReasonWrongAudience, "several in one text", b.audience+" "+b.audience)
	bad(auth.ReasonMalformed, "a number", 1)
	bad(auth.ReasonMalformed, "a list with a number", []any{b.audience, 1})
	bad(auth.ReasonMalformed, "an object", map[string]any{b.audience: true})
	bad(auth.ReasonMalformed, "null", nil)
	upper := with(with(b.claims(), "Aud", b.audience), "aud", gone)
	b.add(auth.ReasonWrongAudience, "aud: written Aud", b.key.Sign(b.t, b.header(), upper))
}

// times: dates that are no dates, and those still to come.
func (b *badTokens) times() {
	for _, claim := range []string{"exp", "nbf", "iat"} {
		for name, value := range map[string]any{
			"a text": "9999999999", "null": nil, "true": true, "a list": []int{1}, "negative": -1, "beyond 9999": raw("253402300800"),
			"1e30": raw("1e30"), "1e308": raw("1e308"), "1e999": raw("1e999"), "largest int64": raw("9223372036854775807"),
		} {
			b.claim(auth.ReasonMalformed, "time: "+claim+" "+name, claim, value)
		}
	}
	b.claim(auth.ReasonMissingClaim, "time: exp absent", "exp", gone)
	b.claim(auth.ReasonMissingClaim, "time: iat absent", "iat", gone)
	upper := with(with(b.claims(), "Exp", b.now.Add(time.Hour).Unix()), "exp", gone)
	b.add(auth.ReasonMissingClaim, "time: written Exp", b.key.Sign(b.t, b.header(), upper))
	b.claim(auth.ReasonNotYetValid, "time: nbf in an hour", "nbf", b.now.Add(time.Hour).Unix())
	b.claim(auth.ReasonNotYetValid, "time: nbf in a minute", "nbf", b.now.Add(time.Minute).Unix())
	b.claim(auth.ReasonNotYetValid, "time: iat in an hour", "iat", b.now.Add(time.Hour).Unix())
}

// expiry: expired, alone and with something worse.
func (b *badTokens) expiry() {
	past := func() map[string]any { return with(b.claims(), "exp", b.now.Add(-time.Hour).Unix()) }
	sign := func(claims map[string]any) string { return b.key.Sign(b.t, b.header(), claims) }
	b.add(auth.ReasonExpired, "expired: an hour ago", sign(past()))
	b.add(auth.ReasonExpired, "expired: a minute ago", sign(with(past(), "exp", b.now.Add(-time.Minute).Unix())))
	b.add(auth.ReasonExpired, "expired: in 1970", sign(with(past(), "exp", 0)))
	b.add(auth.ReasonExpired, "expired: and without scope", sign(with(past(), "scope", gone)))
	b.add(auth.ReasonUnknownIssuer, "expired: and another issuer", sign(with(past(), "iss", "https://issuer.example")))
	b.add(auth.ReasonWrongAudience, "expired: and another audience", sign(with(past(), "aud", "https://other.example")))
	b.add(auth.ReasonNotYetValid, "expired: and not begun", sign(with(past(), "nbf", b.now.Add(time.Hour).Unix())))
	b.add(auth.ReasonMissingClaim, "expired: and without sub", sign(with(past(), "sub", gone)))
	b.add(auth.ReasonPolicy, "expired: and bound to a key", sign(with(past(), "cnf", map[string]any{"jkt": "x"})))
	b.add(auth.ReasonBadSignature, "expired: and of a stranger", NewKey(b.t, "", "ES256").Sign(b.t, b.header(), past()))
	b.add(auth.ReasonUnknownKey, "expired: and an unknown key", b.key.Sign(b.t, with(b.header(), "kid", "gone"), past()))
	b.add(auth.ReasonAlgNotAllowed, "expired: and alg none", b.key.Sign(b.t, with(b.header(), "alg", "none"), past()))
}

// types: claims of the wrong kind or size.
func (b *badTokens) types() {
	for name, c := range map[string]struct {
		claim string
		value any
	}{
		"sub a number": {"sub", 1}, "sub a list": {"sub", []string{"a"}}, "sub null": {"sub", nil}, "sub long": {"sub", strings.Repeat("s", 2000)},
		"jti a number": {"jti", 1}, "client_id a list": {"client_id", []string{"a"}}, "azp an object": {"azp", map[string]any{}},
		"scope a number": {"scope", 1}, "scope a list": {"scope", []string{auth.ScopeTask}}, "scope null": {"scope", nil},
		"agent_id a number": {"agent_id", 1}, "agent_id a nested list": {"agent_id", []any{[]string{"a"}}},
		"agent_id empty": {"agent_id", ""}, "agent_id null": {"agent_id", nil},
	} {
		b.claim(auth.ReasonMalformed, "type: "+name, c.claim, c.value)
	}
	nested := with(with(b.claims(), "scope", gone), "scp", []any{[]string{auth.ScopeTask}})
	b.add(auth.ReasonMalformed, "type: scp a nested list", b.key.Sign(b.t, b.header(), nested))
	b.claim(auth.ReasonMissingClaim, "type: sub absent", "sub", gone)
	b.claim(auth.ReasonMissingClaim, "type: sub empty", "sub", "")
}

// uses: genuine tokens that are for something else.
func (b *badTokens) uses() {
	for _, c := range []struct {
		claim string
		value any
	}{
		{"cnf", map[string]any{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}}, {"cnf", map[string]any{"x5t#S256": "x"}},
		{"cnf", map[string]any{}}, {"cnf", nil}, {"at_hash", "x"}, {"c_hash", "x"}, {"events", map[string]any{}},
		{"token_use", "id"}, {"typ", "ID"}, {"typ", "Refresh"}, {"typ", "Offline"}, {"typ", "Logout"},
	} {
		b.claim(auth.ReasonPolicy, "use: "+c.claim+" "+text(b.t, map[string]any{"is": c.value}), c.claim, c.value)
	}
	id := with(with(b.claims(), "scope", gone), "nonce", "n")
	b.add(auth.ReasonPolicy, "use: an ID token", b.key.Sign(b.t, b.header(), id))
}

package arctest

import (
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// BadToken is a token that must be refused, and how.
type BadToken struct {
	Name   string
	Token  string
	Reason string // details.reason of the refusal
	Code   arc.Code
	// Unsendable marks tokens that cannot travel in an HTTP header field, so
	// that they can only be shown to a validator or sent otherwise.
	Unsendable bool
}

// badTokens builds the table. The token that all others are made from is good.
type badTokens struct {
	t        testing.TB
	iss      *Issuer
	audience string
	now      time.Time
	key      *Key
	list     []BadToken
}

// BadTokens makes a table of tokens that a server must refuse which trusts iss
// for the audience, in the loose profile with the default algorithms, claims
// and leeway. now is the server's time. Each token differs from a good one in
// what its name says.
func BadTokens(t testing.TB, iss *Issuer, audience string, now time.Time) []BadToken {
	t.Helper()
	b := &badTokens{t: t, iss: iss, audience: audience, now: now, key: iss.Key(t, "ES256")}
	b.form()
	b.headers()
	b.algorithms()
	b.keys()
	b.signatures()
	b.claimTexts()
	b.issuers()
	b.audiences()
	b.times()
	b.expiry()
	b.types()
	b.uses()
	return b.list
}

// add puts a token into the table.
func (b *badTokens) add(reason, name, token string) {
	code := arc.CodeUnauthenticated
	if reason == auth.ReasonExpired {
		code = arc.CodeTokenExpired
	}
	odd := strings.ContainsFunc(token, func(r rune) bool { return r < ' ' || r == 0x7f })
	b.list = append(b.list, BadToken{
		Name: name, Token: token, Reason: reason, Code: code,
		Unsendable: odd || strings.TrimSpace(token) != token || token == "",
	})
}

func (b *badTokens) header() map[string]any {
	return map[string]any{"alg": b.key.Alg, "kid": b.key.ID, "typ": "at+jwt"}
}

// with copies the object and sets a member; a value of gone removes it.
func with(object map[string]any, name string, value any) map[string]any {
	object = maps.Clone(object)
	if value == gone {
		delete(object, name)
	} else {
		object[name] = value
	}
	return object
}

var gone = new(struct{ _ int })

// raw is a JSON value that encoding/json would not write.
func raw(s string) json.RawMessage { return json.RawMessage(s) }

func (b *badTokens) claims() map[string]any { return b.iss.Claims(b.audience, b.now) }
func (b *badTokens) good() string           { return b.key.Sign(b.t, b.header(), b.claims()) }

// claim adds a token, truly signed, in which one claim is another.
func (b *badTokens) claim(reason, name, claim string, value any) {
	b.add(reason, name, b.key.Sign(b.t, b.header(), with(b.claims(), claim, value)))
}

// member adds a token, truly signed, in which one header member is another.
func (b *badTokens) member(reason, name, member string, value any) {
	b.add(reason, name, b.key.Sign(b.t, with(b.header(), member, value), b.claims()))
}

// form: what is not three clean base64url segments.
func (b *badTokens) form() {
	good := b.good()
	part := strings.Split(good, ".")
	bad := func(name, token string) { b.add(auth.ReasonMalformed, "form: "+name, token) }
	bad("empty", "")
	bad("opaque text", "4f0a9d5e3b7c")
	bad("one dot", part[0]+"."+part[1])
	bad("four segments", good+"."+part[2])
	bad("five segments, as of JWE", good+"."+part[1]+"."+part[2])
	bad("nothing but dots", "..")
	bad("200 dots", strings.Repeat(".", 200))
	bad("no header", "."+part[1]+"."+part[2])
	bad("no claims", part[0]+".."+part[2])
	bad("padding behind the signature", good+"==")
	bad("padding behind the header", part[0]+"=."+part[1]+"."+part[2])
	bad("standard alphabet", part[0]+"."+part[1]+"."+strings.Repeat("+/", 43))
	bad("carriage return in the signature", part[0]+"."+part[1]+"."+part[2][:9]+"\r"+part[2][9:])
	bad("line feed at the end", good+"\n")
	bad("line feed in the claims", part[0]+"."+part[1][:9]+"\n"+part[1][9:]+"."+part[2])
	bad("space in the header", part[0][:9]+" "+part[0][9:]+"."+part[1]+"."+part[2])
	bad("not ASCII", good[:20]+"é"+good[20:])
	bad("loose bits in the signature", loosen(good))
	bad("JSON serialisation", `{"protected":"`+part[0]+`","payload":"`+part[1]+`","signature":"`+part[2]+`"}`)
	long := with(b.claims(), "filler", strings.Repeat("x", auth.MaxToken))
	bad("longer than 16 KiB", b.key.Sign(b.t, b.header(), long))
}

// loosen sets the bits that the last character of an ES256 signature leaves
// unused: lax decoders read the same bytes.
func loosen(token string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, token[len(token)-1])
	return token[:len(token)-1] + string(alphabet[last|1])
}

// headers: header texts and members.
func (b *badTokens) headers() {
	claims := text(b.t, b.claims())
	head := text(b.t, b.header())
	bad := func(name, header string) {
		b.add(auth.ReasonMalformed, "header: "+name, b.key.SignText(b.t, b.key.Alg, header, claims))
	}
	bad("not JSON", "alg=ES256")
	bad("a list", "["+head+"]")
	bad("null", "null")
	bad("two objects", head+head)
	bad("text behind it", head+"x")
	bad("never closed", strings.TrimSuffix(head, "}"))
	bad("comma at the end", strings.TrimSuffix(head, "}")+",}")
	bad("doubled alg", `{"alg":"none",`+head[1:])
	bad("doubled kid", `{"kid":"x",`+head[1:])
	bad("doubled name in escapes", `{"\u006bid":"x",`+head[1:])
	bad("doubled name one level down", `{"x":{"y":1,"y":2},`+head[1:])
	bad("byte order mark", "\ufeff"+head)
	bad("UTF-16", "\x00"+strings.Join(strings.Split(head, ""), "\x00"))
	bad("not UTF-8", `{"x":"`+"\xff"+`",`+head[1:])
	bad("nested too deep", `{"x":`+strings.Repeat("[", 40)+strings.Repeat("]", 40)+`,`+head[1:])
	for name, crit := range map[string]any{
		"empty": []string{}, "null": nil, "text": "exp", "known": []string{"exp"}, "b64": []string{"b64"},
		"unknown": []string{"x"}, "object": map[string]any{}, "number": 1,
	} {
		b.member(auth.ReasonMalformed, "header: crit "+name, "crit", crit)
	}
	for name, m := range map[string]struct {
		member string
		value  any
	}{
		"b64 false": {"b64", false}, "b64 true": {"b64", true}, "nested token": {"cty", "JWT"},
		"compressed": {"zip", "DEF"}, "encrypted": {"enc", "A128GCM"}, "alg null": {"alg", nil},
		"alg a number": {"alg", 256}, "alg a list": {"alg", []string{"ES256"}}, "alg empty": {"alg", ""},
		"kid a number": {"kid", 1}, "kid null": {"kid", nil}, "kid empty": {"kid", ""}, "kid an object": {"kid", map[string]any{}},
		"kid long": {"kid", strings.Repeat("k", 300)}, "typ a number": {"typ", 1}, "typ a list": {"typ", []string{"JWT"}},
	} {
		b.member(auth.ReasonMalformed, "header: "+name, m.member, m.value)
	}
	for _, typ := range []string{
		"dpop+jwt", "logout+jwt", "secevent+jwt", "JOSE", "oauth-authz-req+jwt", "token-introspection+jwt", "at+jwt ", "jwt/x", "ID",
	} {
		b.member(auth.ReasonPolicy, "header: typ "+typ, "typ", typ)
	}
}

// algorithms: those outside the list, and keys used with another than theirs.
func (b *badTokens) algorithms() {
	bad := func(name, token string) { b.add(auth.ReasonAlgNotAllowed, "alg: "+name, token) }
	claims := text(b.t, b.claims())
	unsigned := func(alg string) string {
		return B64([]byte(text(b.t, with(b.header(), "alg", alg)))) + "." + B64([]byte(claims)) + "."
	}
	for _, alg := range []string{"none", "None", "NONE", "nOnE"} {
		bad(alg, unsigned(alg))
	}
	bad("none over a true signature", b.key.Sign(b.t, with(b.header(), "alg", "none"), b.claims()))
	bad("absent", b.key.Sign(b.t, with(b.header(), "alg", gone), b.claims()))
	for _, alg := range []string{"es256", "ES256 ", "ES256K", "RS512", "PS384", "ES512", "RS1", "RSA1_5", "HS256", "dir"} {
		bad("header says "+alg, b.key.Sign(b.t, with(b.header(), "alg", alg), b.claims()))
	}

	// The public key as an HMAC secret, in the forms that libraries hold it in.
	rs := b.iss.Key(b.t, "RS256")
	public := rs.Private.Public().(*rsa.PublicKey)
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		b.t.Fatalf("encoding key: %v", err)
	}
	for name, secret := range map[string][]byte{
		"DER": der, "PKCS1": x509.MarshalPKCS1PublicKey(public), "JWK": []byte(text(b.t, rs.JWK())), "modulus": public.N.Bytes(),
		"PEM": pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "empty": {},
	} {
		for _, method := range []*jwt.SigningMethodHMAC{jwt.SigningMethodHS256, jwt.SigningMethodHS512} {
			input := B64([]byte(text(b.t, map[string]any{"alg": method.Alg(), "kid": rs.ID}))) + "." + B64([]byte(claims))
			sum, err := method.Sign(input, secret)
			if err != nil {
				b.t.Fatalf("signing: %v", err)
			}
			bad(method.Alg()+" with the public key as "+name, input+"."+B64(sum))
		}
	}
	for _, pair := range [][2]string{
		{"RS256", "PS256"}, {"PS256", "RS256"}, {"RS256", "ES256"}, {"ES256", "EdDSA"}, {"ES256", "ES384"}, {"EdDSA", "RS256"},
	} {
		owner, signer := b.iss.Key(b.t, pair[0]), b.iss.Key(b.t, pair[1])
		bad("kid of "+pair[0]+" with "+pair[1], signer.Sign(b.t, map[string]any{"alg": signer.Alg, "kid": owner.ID}, b.claims()))
	}
	// The same RSA key with the padding that it is not published for.
	bad("key of RS256 with PSS padding", rs.SignText(b.t, "PS256", text(b.t, map[string]any{"alg": "PS256", "kid": rs.ID}), claims))
}

// keys: kids that lead nowhere, and keys that the token brings along.
func (b *badTokens) keys() {
	own := NewKey(b.t, "own", "ES256")
	for _, kid := range []string{
		"none-of-ours", "../../etc/passwd", "' OR 1=1 --", "http://127.0.0.1:1/key", strings.ToLower(b.key.ID), b.key.ID + " ", "\x00",
	} {
		b.member(auth.ReasonUnknownKey, "key: kid "+strings.Trim(kid, "\x00"), "kid", kid)
	}
	der, err := x509.MarshalPKIXPublicKey(own.Private.Public())
	if err != nil {
		b.t.Fatalf("encoding key: %v", err)
	}
	for member, value := range map[string]any{
		"jwk": own.JWK(), "jku": "http://127.0.0.1:1/jwks", "x5u": "http://127.0.0.1:1/chain",
		"x5c": []string{base64.StdEncoding.EncodeToString(der)},
	} {
		header := with(b.header(), member, value)
		b.add(auth.ReasonBadSignature, "key: "+member+" with a known kid", own.Sign(b.t, header, b.claims()))
		b.add(auth.ReasonUnknownKey, "key: "+member+" with its own kid", own.Sign(b.t, with(header, "kid", "own"), b.claims()))
	}
}

package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// doctorLeeway is how far clocks may differ for an arcd server that is not set up
// otherwise.
const doctorLeeway = 30 * time.Second

// looked is a token as the doctor reads it, without trusting it.
type looked struct {
	found          *credential.Credential
	header, claims map[string]any
}

// token looks for every reason why a server would refuse the token.
func (x *examination) token(ctx context.Context) {
	found, err := x.l.store.Resolve(ctx, x.l.target)
	switch {
	case errors.Is(err, credential.ErrNone):
		x.fail("token.present", true, "there is no credential", x.login())
		return
	case errors.Is(err, credential.ErrUnreadable):
		problem, fix := x.wrapped()
		x.fail("token.form", true, err.Error()+problem, fix)
		return
	case err != nil:
		e := x.c.classify(err)
		x.fail("token.present", true, e.Message, e.Suggestion)
		return
	}
	x.c.hold(x.l, found)
	detail := "from " + found.Source
	if found.Superseded != "" {
		detail += ", in place of the expired one of " + found.Superseded
	}
	x.pass("token.present", "%s", detail)
	t := &looked{found: found}
	if x.form(t) {
		x.header(t)
		x.claims(t)
		x.times(t)
		x.scopes(t)
	}
	if x.offline {
		x.skip("token.accepted", "the server is not asked (--offline)")
		return
	}
	x.against(ctx, t)
}

// login is the command that gets a credential.
func (x *examination) login() string { return "Log in: " + x.c.nextCommand("auth login") }

// renew says how an expired token is cured.
func (x *examination) renew(found *credential.Credential) string {
	if found.Refreshable {
		return "Renew it: " + x.c.nextCommand("auth refresh")
	}
	return "Put a fresh token into " + credential.EnvToken + ", or log in: " + x.c.nextCommand("auth login")
}

// wrapped says what surrounds a token that cannot be sent as it is. The text is
// read again here, since nobody else is given what is no token.
func (x *examination) wrapped() (problem, fix string) {
	text := ""
	origin := x.c.globals.Token
	switch {
	case strings.HasPrefix(origin, "env:"):
		text = x.c.variable(strings.TrimPrefix(origin, "env:"))
	case strings.HasPrefix(origin, "file:"):
		text = beginning(strings.TrimPrefix(origin, "file:"))
	case origin != "":
	case x.c.variable(credential.EnvToken) != "":
		text = x.c.variable(credential.EnvToken)
	default:
		text = beginning(x.c.variable(credential.EnvTokenFile))
	}
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return "", "Give a token there, or log in: " + x.c.nextCommand("auth login")
	case len(text) > 6 && strings.EqualFold(text[:6], "bearer"):
		return "; it begins with the word Bearer", "Keep only what stands behind the word Bearer."
	case strings.ContainsFunc(text, func(r rune) bool { return r > 0x7e }):
		return "; it has characters beyond ASCII, as a byte order mark or typographic quotes", "Copy the token anew, as plain text."
	case strings.ContainsAny(text, " \t\r\n"):
		return "; it has blanks or line ends within", "Put the token onto one line, without blanks."
	}
	return "", "Give the bare token."
}

// beginning reads the beginning of a small file, "" if that fails.
func beginning(path string) string {
	info, err := os.Stat(path)
	if err != nil || !info.Mode().IsRegular() {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 64<<10))
	return string(text)
}

// form reads the parts of a JWT. false: there is nothing more to look at.
func (x *examination) form(t *looked) bool {
	token := t.found.Token
	if strings.Trim(token, "\"'`") != token {
		x.fail("token.form", true, "the token has quotes around it", "Take the quotes away; in a file nothing but the token counts.")
		return false
	}
	if len(token) > auth.MaxToken {
		x.fail("token.form", true, fmt.Sprintf("the token has %d bytes, and servers read %d at most", len(token), auth.MaxToken), "Ask for fewer scopes or claims.")
		return false
	}
	parts := strings.Split(token, ".")
	switch len(parts) {
	case 3:
	case 5:
		x.fail("token.form", true, "the token is encrypted (JWE), which nobody but its issuer's own servers can read", "Ask the issuer for signed access tokens.")
		return false
	default:
		x.fail("token.form", false, "the token is no JWT, so nothing can be told of it here; arcd servers take JWTs only", "Ask the issuer for access tokens in the form of JWTs.")
		return false
	}
	var err error
	if t.header, err = segment(parts[0]); err == nil {
		t.claims, err = segment(parts[1])
	}
	if err == nil {
		_, err = base64.RawURLEncoding.DecodeString(parts[2])
	}
	if err != nil {
		x.fail("token.form", true, "the token has the three parts of a JWT, but they cannot be read: "+err.Error(), "Copy the token anew; a part may be cut off.")
		return false
	}
	x.pass("token.form", "a JWT of %d bytes", len(token))
	return true
}

// segment decodes a part of a JWT.
func segment(text string) (map[string]any, error) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil {
		return nil, errors.New("it is not base64url")
	}
	var object map[string]any
	if err := jsonv2.Unmarshal(raw, &object); err != nil {
		return nil, errors.New("it is no JSON object, or has a name twice")
	}
	return object, nil
}

// algorithms that arcd takes unless a provider is set up otherwise.
var algorithms = []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"}

// header looks at algorithm, key id and type.
func (x *examination) header(t *looked) {
	alg, _ := t.header["alg"].(string)
	switch {
	case slices.Contains(algorithms, alg):
		x.pass("token.alg", "%s", alg)
	case alg == "", strings.EqualFold(alg, "none"):
		x.fail("token.alg", true, "the token is not signed", "Ask the issuer for signed tokens.")
	case strings.HasPrefix(alg, "HS"):
		x.fail("token.alg", true, "the algorithm "+shorten(alg)+" signs with a shared key, which no server takes from others", "Set the issuer up for "+strings.Join(algorithms, ", ")+".")
	default:
		x.fail("token.alg", false, "the algorithm "+shorten(alg)+" is taken only where a server is set up for it", "Set the issuer up for "+strings.Join(algorithms, ", ")+".")
	}
	if kid, _ := t.header["kid"].(string); kid != "" {
		x.pass("token.kid", "%s", shorten(kid))
	} else {
		x.fail("token.kid", false, "the token names no key (kid), so the server has to find it by the algorithm", "Let the issuer set kid.")
	}
	typ, _ := t.header["typ"].(string)
	switch strings.TrimPrefix(strings.ToLower(typ), "application/") {
	case "at+jwt", "jwt", "":
		x.pass("token.typ", "%s", typ)
	default:
		x.fail("token.typ", true, "the type "+shorten(typ)+" is none of an access token", "Send the access token, not another token of the same login.")
	}
}

// claims looks for what a token must say.
func (x *examination) claims(t *looked) {
	var lacks []string
	for _, name := range []string{"iss", "sub", "aud", "exp", "iat"} {
		if t.claims[name] == nil || t.claims[name] == "" {
			lacks = append(lacks, name)
		}
	}
	if len(lacks) > 0 {
		x.fail("token.claims", true, "the token lacks the claims "+strings.Join(lacks, ", "), "Let the issuer set them.")
	} else {
		f := t.found.Facts
		x.pass("token.claims", "issuer %s, subject %s, audience %s", f.Issuer, f.Subject, strings.Join(f.Audience, " "))
	}
	for _, name := range []string{"at_hash", "c_hash", "events", "cnf"} {
		if t.claims[name] != nil {
			x.fail("token.use", true, "the claim "+name+" does not go with a bearer access token; this may be an ID token", "Send the access token of the login.")
			return
		}
	}
	if t.claims["nonce"] != nil && len(t.found.Facts.Scopes) == 0 {
		x.fail("token.use", true, "a nonce and no scopes: this is an ID token", "Send the access token of the login.")
	}
}

// times looks at the dates, by the server's clock as far as it is known.
func (x *examination) times(t *looked) {
	f := t.found.Facts
	now := x.c.now().Add(t.found.Offset)
	switch left := f.ExpiresAt.Sub(now); {
	case t.found.Marked:
		x.fail("token.expiry", true, "a server called the token expired", x.renew(t.found))
	case f.ExpiresAt.IsZero():
		x.skip("token.expiry", "the token does not tell")
	case left <= 0:
		x.fail("token.expiry", true, "the token expired "+short((-left).Round(time.Second))+" ago, at "+f.ExpiresAt.Format(time.RFC3339), x.renew(t.found))
	default:
		x.pass("token.expiry", "good for another %s", short(left.Round(time.Second)))
	}
	for _, name := range []string{"nbf", "iat"} {
		seconds, ok := t.claims[name].(float64)
		if !ok {
			continue
		}
		if ahead := time.Unix(int64(seconds), 0).Sub(now); ahead > doctorLeeway {
			x.fail("token."+name, true, fmt.Sprintf("the token is good from %s on (%s), which is %s ahead", time.Unix(int64(seconds), 0).UTC().Format(time.RFC3339), name, short(ahead.Round(time.Second))),
				"Set the clocks of the issuer and of this machine.")
		}
	}
}

// scopes compares the token's scopes with the matrix.
func (x *examination) scopes(t *looked) {
	active := t.found.Facts.Scopes
	if active == nil {
		x.fail("token.scopes", false, "the token names no scopes, so calls will be refused with -44003", "Ask for scopes with --scope at the login.")
		return
	}
	var refused []string
	for name, required := range x.c.scopesByCommand() {
		if len(outcome.Without(required, active)) > 0 {
			refused = append(refused, strings.ReplaceAll(name, ".", " "))
		}
	}
	slices.Sort(refused)
	switch {
	case !slices.Contains(active, auth.ScopeCaller) && !slices.Contains(active, auth.ScopeServe):
		x.fail("token.scopes", false, "the token has neither "+auth.ScopeCaller+" nor "+auth.ScopeServe+", so it may do nothing",
			"Ask for scopes with --scope at the login. arcd auth check lists what commands need.")
	case len(refused) > 0:
		x.pass("token.scopes", "%s; not enough for: %s", strings.Join(active, " "), strings.Join(refused, ", "))
	default:
		x.pass("token.scopes", "%s", strings.Join(active, " "))
	}
}

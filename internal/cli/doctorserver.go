package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// against compares the token with what the server says of itself, and then asks
// the server.
func (x *examination) against(ctx context.Context, t *looked) {
	if !x.reach(ctx) {
		x.skip("token.accepted", "the server cannot be reached")
		return
	}
	doc, err := x.metadata(ctx)
	switch {
	case err != nil:
		x.skip("server.metadata", "the server does not say which tokens it takes: "+err.Error())
	case len(doc.Servers) == 0:
		x.skip("server.metadata", "the server does not say whose tokens it takes")
	default:
		x.pass("server.metadata", "%s takes tokens of %s", doc.Resource, strings.Join(doc.Servers, ", "))
		if t.claims != nil {
			x.issuer(ctx, t, doc)
		}
	}
	x.accepted(ctx, t)
}

// resourceMetadata is what a server says of itself (RFC 9728 section 2).
type resourceMetadata struct {
	Resource string   `json:"resource"`
	Servers  []string `json:"authorization_servers"`
}

// metadata asks the server which tokens it takes.
func (x *examination) metadata(ctx context.Context) (*resourceMetadata, error) {
	u, err := url.Parse(x.l.server)
	if err != nil {
		return nil, err
	}
	const wellKnown = "/.well-known/oauth-protected-resource"
	path := strings.TrimSuffix(u.Path, "/")
	if path == "" {
		path = "/arc"
	}
	var failed error
	for _, place := range []string{wellKnown + path, wellKnown} {
		var doc resourceMetadata
		if failed = x.read(ctx, u.Scheme+"://"+u.Host+place, &doc); failed == nil {
			return &doc, nil
		}
	}
	return nil, failed
}

// read reads a small JSON document.
func (x *examination) read(ctx context.Context, address string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := x.l.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP status %d at %s", resp.StatusCode, address)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if err := jsonv2.Unmarshal(body, into); err != nil {
		return fmt.Errorf("no JSON of the right form at %s", address)
	}
	return nil
}

// issuer compares issuer and audience with the metadata, and verifies the
// signature with the issuer's keys, if the server itself names that issuer:
// nobody's keys are fetched on the word of a token.
func (x *examination) issuer(ctx context.Context, t *looked, doc *resourceMetadata) {
	f := t.found.Facts
	if slices.ContainsFunc(f.Audience, doc.means) {
		x.pass("token.audience", "%s", strings.Join(f.Audience, " "))
	} else {
		x.fail("token.audience", false, fmt.Sprintf("the token is for %q, and the server calls itself %s; it may know other names", strings.Join(f.Audience, " "), doc.Resource),
			"Log in with --audience "+doc.Resource+", or as the server's operator says.")
	}
	if !slices.Contains(doc.Servers, f.Issuer) {
		x.fail("token.issuer", false, fmt.Sprintf("the token is of %q, and the server names only %s", f.Issuer, strings.Join(doc.Servers, ", ")), "Get a token of one of these. "+x.login())
		x.skip("token.signature", "the server does not name the token's issuer")
		return
	}
	x.pass("token.issuer", "%s", f.Issuer)
	x.signature(ctx, t)
}

// means tells whether an audience is the server: its address, or that without the
// path of the endpoint.
func (d *resourceMetadata) means(audience string) bool {
	return audience != "" && (audience == d.Resource || audience == strings.TrimSuffix(d.Resource, "/arc"))
}

// signature verifies the token as the server does: with the keys of the issuer
// that the server named, by the same code.
func (x *examination) signature(ctx context.Context, t *looked) {
	f := t.found.Facts
	judge, err := auth.NewProviders(auth.Config{
		Providers: []auth.Provider{{Name: "issuer", Issuer: f.Issuer, Audience: f.Audience, AllowHTTP: true}}, Transport: x.l.http.Transport, CacheSize: -1,
		Now: x.c.now,
	})
	if err != nil {
		x.skip("token.signature", "the issuer's keys cannot be fetched: "+err.Error())
		return
	}
	_, err = judge.Validate(ctx, t.found.Token)
	refused, _ := errors.AsType[*arc.Error](err)
	switch {
	case err == nil, refused != nil && refused.Reason() == auth.ReasonExpired:
		x.pass("token.signature", "made with a key that %s publishes", f.Issuer)
	case refused == nil, refused.Outage():
		x.skip("token.signature", "the keys of "+f.Issuer+" cannot be had now")
	default:
		x.fail("token.signature", true, why(refused), cure(refused, x.login()))
	}
}

// reasons says in words what the server's reason for a refusal means, and what
// cures it; "" for the login.
var reasons = map[string]struct{ meaning, cure string }{
	auth.ReasonMissingToken:       {"no token arrived: something between here and the server takes the header Authorization away", "Look at the proxies in front of the server."},
	auth.ReasonMalformed:          {"the token cannot be read as a JWT in its strict form", "Copy the token anew; it may be cut off or changed."},
	auth.ReasonUnknownIssuer:      {"the server does not trust the token's issuer", ""},
	auth.ReasonUnknownKey:         {"the issuer publishes no key with the token's key id; the key was withdrawn, or the token is of another server with the same address", ""},
	auth.ReasonAlgNotAllowed:      {"the token is signed with an algorithm that the server does not take, or that is not the key's", "Set the issuer up for " + strings.Join(algorithms, ", ") + "."},
	auth.ReasonBadSignature:       {"the signature does not fit: the token was changed, or signed by somebody else", ""},
	auth.ReasonWrongAudience:      {"the token is for another server", "Log in with --audience, as the server's operator says."},
	auth.ReasonNotYetValid:        {"the token is not good yet: the clocks of issuer and server differ", "Set the clocks."},
	auth.ReasonRevoked:            {"the token was taken back", ""},
	auth.ReasonMissingClaim:       {"the token lacks a claim that the server needs", "Let the issuer set it."},
	auth.ReasonPolicy:             {"the token is genuine, but no bearer access token, as an ID token is not", "Send the access token of the login."},
	auth.ReasonExpired:            {"the token has expired", "Renew it: arcd auth refresh"},
	auth.ReasonKeysUnavailable:    {"the server cannot get the issuer's keys now", "Try again later."},
	auth.ReasonRevocationsUnknown: {"the server cannot use its database now, so it takes no tokens", "Try again later."},
}

// why says in words why a token was refused.
func why(e *arc.Error) string {
	text := reasons[e.Reason()].meaning
	if text == "" {
		text = e.Message
		if e.Reason() != "" {
			text += " (" + e.Reason() + ")"
		}
	}
	if claim, ok := e.Details["claim"].(string); ok {
		text += ": " + shorten(claim)
	}
	return text
}

// cure says what cures a refusal.
func cure(e *arc.Error, login string) string {
	if text := reasons[e.Reason()].cure; text != "" {
		return text
	}
	return login
}

// accepted asks the server itself.
func (x *examination) accepted(ctx context.Context, t *looked) {
	err := x.l.verdict(ctx, x.c)
	good, known := accepted(err)
	refused, _ := errors.AsType[*arc.Error](err)
	switch {
	case err == nil:
		x.pass("token.accepted", "the server takes it")
	case good:
		x.pass("token.accepted", "the server takes it, but refuses the call that was tried: %s", x.c.classify(err).Message)
	case errors.Is(err, arc.ErrUnavailable): // it is no fault of the token
		problem, fix := "the server cannot serve now: "+x.c.classify(err).Message, "Try again later; its operator sees at /readyz and in its log what is missing."
		if refused != nil && refused.Outage() {
			problem = why(refused)
		}
		x.fail("server.ready", true, problem, fix)
		x.skip("token.accepted", "the server cannot tell now")
	case !known:
		x.fail("token.accepted", true, "the server gives no answer about the token: "+x.c.classify(err).Message, x.c.classify(err).Suggestion)
	case errors.Is(err, arc.ErrExpired):
		x.fail("token.accepted", true, "the server calls the token expired", x.renew(t.found))
	case refused != nil:
		x.fail("token.accepted", true, why(refused), cure(refused, x.login()))
	default:
		e := x.c.classify(err)
		x.fail("token.accepted", true, e.Message, x.login())
	}
}

package client

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/arcd-io/arcd/arc"
)

// tokenTimeout is the longest time for one request to a token endpoint.
const tokenTimeout = 30 * time.Second

// tokenEndpoint makes requests to a token endpoint.
type tokenEndpoint struct {
	once   sync.Once // makes own
	own    *http.Client
	ownErr error
}

// grant is one request for a token.
type grant struct {
	url, id, secret string
	refresh         string // the refresh token, if that is what is sent
	scopes          []string
	params          url.Values
	style           oauth2.AuthStyle
	json            bool
	http            *http.Client // nil: the endpoint's own
	open            bool         // plain http to other machines is allowed
}

// request makes one request. Both grants are one to the library, as it lets
// grant_type be replaced; its refresh of its own would leave the scopes out.
func (t *tokenEndpoint) request(ctx context.Context, g *grant) (*oauth2.Token, error) {
	if err := g.check(); err != nil {
		return nil, fmt.Errorf("getting a token: %w", err)
	}
	web := g.http
	if web == nil {
		t.once.Do(func() { t.own, t.ownErr = NewHTTP(HTTPConfig{}) })
		if web = t.own; t.ownErr != nil {
			return nil, fmt.Errorf("getting a token: %w", t.ownErr)
		}
	}
	careful := *web
	careful.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if g.json {
		careful.Transport = jsonForm{web.Transport}
	}
	ctx, cancel := context.WithTimeout(context.WithValue(ctx, oauth2.HTTPClient, &careful), tokenTimeout)
	defer cancel()
	config := &clientcredentials.Config{
		ClientID: g.id, ClientSecret: g.secret, TokenURL: g.url, Scopes: g.scopes, EndpointParams: g.params, AuthStyle: g.style,
	}
	token, err := config.Token(ctx)
	if err == nil {
		err = checkGranted(token)
	}
	if err != nil {
		return nil, g.failure(err)
	}
	return token, nil
}

// check refuses what must not be sent, before anything is.
func (g *grant) check() error {
	u, err := url.Parse(g.url)
	switch {
	case err != nil, u.Host == "", u.Scheme != "http" && u.Scheme != "https":
		return fmt.Errorf("the token URL is no http or https address: %w", arc.ErrInvalid)
	case u.User != nil:
		return fmt.Errorf("the token URL holds a user; the client belongs into the fields made for it: %w", arc.ErrInvalid)
	case g.id == "" && g.refresh == "":
		return fmt.Errorf("the client id is missing: %w", arc.ErrInvalid)
	case g.params.Has("refresh_token") && g.refresh == "":
		return fmt.Errorf("the refresh token is missing: %w", arc.ErrAuthentication)
	case u.Scheme == "http" && !loopback(u) && !g.open:
		return fmt.Errorf("http://%s: %w", u.Host, ErrInsecure)
	}
	return nil
}

// checkGranted looks whether a token can be used as a bearer token (RFC 6749
// section 7.1).
func checkGranted(token *oauth2.Token) error {
	if kind := token.TokenType; kind != "" && !strings.EqualFold(kind, "bearer") {
		return fmt.Errorf("the token is of type %q, no bearer token", excerpt(kind, ""))
	}
	return checkToken(token.AccessToken)
}

// failure cleans an error of the library of what it may show, and gives it a
// class.
func (g *grant) failure(err error) error {
	e := &tokenError{cause: err}
	if u, err := url.Parse(g.url); err == nil {
		e.host = u.Host
	}
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		clean := g.clean(refused)
		e.cause, e.class = clean, oauthClass(clean)
		return e
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		e.class = brokenClass(err)
	}
	switch { // what the library says in words only
	case strings.HasPrefix(err.Error(), "oauth2: cannot fetch"): // all of the answer
		e.class = arc.ErrUnavailable
	case strings.HasPrefix(err.Error(), "oauth2: cannot parse"): // and cites from it, which may be a secret
		e.cause = errNoToken
	}
	return e
}

// errNoToken is an answer of a token endpoint that cannot be read.
var errNoToken = errors.New("the answer is no token (RFC 6749 section 5.1)")

// clean copies the answer of a token endpoint without its body and without the
// secrets in its words.
func (g *grant) clean(e *oauth2.RetrieveError) *oauth2.RetrieveError {
	words := func(s string) string {
		for _, secret := range []string{g.secret, g.refresh} {
			s = excerpt(s, secret)
		}
		return s
	}
	c := &oauth2.RetrieveError{
		ErrorCode: words(e.ErrorCode), ErrorDescription: words(e.ErrorDescription), ErrorURI: words(e.ErrorURI),
		Response: &http.Response{Header: http.Header{}},
	}
	if e.Response != nil {
		c.Response.Status, c.Response.StatusCode = strconv.Itoa(e.Response.StatusCode), e.Response.StatusCode
		for _, name := range []string{"Date", "Retry-After"} {
			if value := e.Response.Header.Get(name); value != "" {
				c.Response.Header.Set(name, value)
			}
		}
	}
	return c
}

// tokenError is a failed request for a token.
type tokenError struct {
	host  string
	class arc.Class
	cause error
}

// Error says who refused and why.
func (e *tokenError) Error() string {
	from := "getting a token from " + e.host + ": "
	refused, ok := errors.AsType[*oauth2.RetrieveError](e.cause)
	if !ok {
		return from + e.cause.Error()
	}
	s := from + "HTTP status " + refused.Response.Status
	if refused.ErrorCode != "" {
		s += ", " + refused.ErrorCode
	}
	if refused.ErrorDescription != "" {
		s += ": " + refused.ErrorDescription
	}
	return s
}

// Unwrap gives the cause.
func (e *tokenError) Unwrap() error { return e.cause }

// Is tells the class.
func (e *tokenError) Is(target error) bool {
	class, ok := target.(arc.Class)
	return ok && errors.Is(e.class, class)
}

// oauthClass gives the class of an error of RFC 6749 section 5.2 or RFC 8628
// section 3.5.
func oauthClass(e *oauth2.RetrieveError) arc.Class {
	switch e.ErrorCode {
	case "invalid_client", "invalid_grant", "expired_token":
		return arc.ErrAuthentication
	case "unauthorized_client", "access_denied":
		return arc.ErrPermission
	case "invalid_scope":
		return arc.ErrScope
	case "slow_down":
		return arc.ErrRateLimited
	case "temporarily_unavailable":
		return arc.ErrUnavailable
	}
	return arc.ClassOfStatus(e.Response.StatusCode)
}

// jsonForm sends as JSON what the library sends as a form.
type jsonForm struct{ next http.RoundTripper }

// RoundTrip rewrites the body: one text for each parameter.
func (t jsonForm) RoundTrip(req *http.Request) (*http.Response, error) {
	form, err := io.ReadAll(req.Body)
	_ = req.Body.Close() // it is in memory
	if err != nil {
		return nil, err
	}
	values, err := url.ParseQuery(string(form))
	if err != nil {
		return nil, err
	}
	params := make(map[string]string, len(values))
	for name := range values {
		params[name] = values.Get(name)
	}
	body, err := jsonv2.Marshal(params)
	if err != nil {
		return nil, err
	}
	copied := req.Clone(req.Context())
	copied.Header.Set("Content-Type", arc.MediaJSON)
	copied.Body, copied.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	copied.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	next := t.next
	if next == nil {
		next = http.DefaultTransport
	}
	return next.RoundTrip(copied)
}

package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// tokenWait bounds one request to a token endpoint.
const tokenWait = 20 * time.Second

// fetched is what a token endpoint gave.
type fetched struct {
	access, refresh string
	expires         time.Time // by the issuer's clock; zero: it does not say
	scopes          []string  // nil: as asked for
	ahead           time.Duration
}

// fetch asks for a token by the entry's grant.
func (s *Store) fetch(ctx context.Context, e *entry, sec *secrets) (*fetched, error) {
	switch e.Grant {
	case grantClient:
		secret, err := s.clientSecret(e, sec)
		if err != nil {
			return nil, err
		}
		return s.request(ctx, func(ctx context.Context, web *http.Client) (*oauth2.Token, error) {
			return (&client.ClientCredentials{
				TokenURL: e.TokenURL, ClientID: e.ClientID, ClientSecret: secret, Scopes: e.Scopes, Audience: e.Audience,
				JSON: e.AsJSON, HTTP: web, AllowHTTP: s.AllowHTTP,
			}).Fetch(ctx)
		})
	case grantRefresh:
		secret, err := s.clientSecret(e, sec)
		if err != nil && (e.SecretFrom != "" || sec.ClientSecret != "") { // a public client has none
			return nil, err
		}
		return s.request(ctx, func(ctx context.Context, web *http.Client) (*oauth2.Token, error) {
			return (&client.RefreshToken{
				TokenURL: e.TokenURL, ClientID: e.ClientID, ClientSecret: secret, Refresh: sec.RefreshToken, Scopes: e.Scopes,
				HTTP: web, AllowHTTP: s.AllowHTTP,
			}).Fetch(ctx)
		})
	case grantRegistry:
		return s.renewRegistry(ctx, e, sec)
	}
	return nil, ErrNotRefreshable
}

// clientSecret finds the secret of the entry's client: the kept one, else where
// the login said it is, else the environment's, if that is of the same client.
func (s *Store) clientSecret(e *entry, sec *secrets) (string, error) {
	if sec.ClientSecret != "" {
		return sec.ClientSecret, nil
	}
	var failed error
	if e.SecretFrom != "" {
		from, err := ParseSource(e.SecretFrom)
		if err != nil {
			return "", err
		}
		secret, err := s.read(from)
		if err == nil {
			return secret, nil
		}
		failed = err
	}
	if id := lookup(s.Environ, EnvClientID); id != "" && id == e.ClientID && !s.envSecret().IsZero() {
		return s.read(s.envSecret())
	}
	if failed != nil {
		return "", failed
	}
	return "", ErrNotRefreshable
}

// request makes one request to a token endpoint: bounded in time, never
// redirected, its failures sorted.
func (s *Store) request(ctx context.Context, do func(context.Context, *http.Client) (*oauth2.Token, error)) (*fetched, error) {
	web, clock, err := s.timedWeb()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenWait)
	defer cancel()
	token, err := do(ctx, web)
	if err != nil {
		if late := ctx.Err(); late != nil && !errors.Is(err, late) { // the library loses why its reading ended
			err = errors.Join(late, err)
		}
		return nil, rejected(err)
	}
	if !validToken(token.AccessToken) || token.Type() != "Bearer" {
		return nil, errors.New("the token endpoint gave something else than a bearer token")
	}
	f := &fetched{access: token.AccessToken, refresh: token.RefreshToken, ahead: clock.ahead()}
	if !token.Expiry.IsZero() {
		f.expires = s.now().Add(time.Until(token.Expiry) + f.ahead).UTC().Truncate(time.Second)
	}
	if scope, ok := token.Extra("scope").(string); ok {
		f.scopes = sorted(strings.Fields(scope))
	}
	return f, nil
}

// web gives what makes the requests.
func (s *Store) web() (*http.Client, error) {
	if s.HTTP != nil {
		return s.HTTP, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.own == nil {
		own, err := client.NewHTTP(client.HTTPConfig{})
		if err != nil {
			return nil, err
		}
		s.own = own
	}
	return s.own, nil
}

// timedWeb gives an HTTP client for one token request, and what learns of the
// server's clock. Requests end with their contexts.
func (s *Store) timedWeb() (*http.Client, *clockReader, error) {
	web, err := s.web()
	if err != nil {
		return nil, nil, err
	}
	clock := &clockReader{next: web.Transport, now: s.now}
	if clock.next == nil {
		clock.next = http.DefaultTransport
	}
	// Whatever a redirect leads to was not named by anybody.
	return &http.Client{Transport: clock, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}, clock, nil
}

// clockReader is a transport that looks at the header Date.
type clockReader struct {
	next http.RoundTripper
	now  func() time.Time

	mu   sync.Mutex // guards what follows
	diff time.Duration
}

// RoundTrip makes the request.
func (c *clockReader) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := c.next.RoundTrip(r)
	if err == nil {
		if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
			c.mu.Lock()
			c.diff = drift(date, c.now())
			c.mu.Unlock()
		}
	}
	return resp, err
}

// ahead is how far the clock of the last answer was ahead.
func (c *clockReader) ahead() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.diff
}

// errorCode is what an error code of RFC 6749 section 5.2 looks like; other texts
// of a server go nowhere.
var errorCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`) })

// rejected makes a [*RejectedError] of a refusal that another try cannot change.
// Outages, and codes that say "later", stay what they are, without a body.
func rejected(err error) error {
	e, ok := errors.AsType[*oauth2.RetrieveError](err)
	if !ok {
		return err
	}
	status := 0
	if e.Response != nil {
		status = e.Response.StatusCode
	}
	switch {
	case e.ErrorCode == "temporarily_unavailable", e.ErrorCode == "server_error", e.ErrorCode == "slow_down", e.ErrorCode == "authorization_pending",
		status >= 500, status == http.StatusTooManyRequests, status == http.StatusRequestTimeout:
		return withoutBody(e, status, err)
	case errorCode().MatchString(e.ErrorCode):
		return &RejectedError{Code: e.ErrorCode, cause: withoutBody(e, status, err)}
	case status >= 400 && status < 500:
		return &RejectedError{Code: "http_" + strconv.Itoa(status), cause: withoutBody(e, status, err)}
	}
	return withoutBody(e, status, err)
}

// withoutBody gives err, unless the library would show the whole answer in it.
func withoutBody(e *oauth2.RetrieveError, status int, err error) error {
	if len(e.Body) == 0 {
		return err
	}
	return &oauth2.RetrieveError{
		Response:  &http.Response{Status: strconv.Itoa(status), StatusCode: status, Header: http.Header{}},
		ErrorCode: cmp.Or(errorCode().FindString(e.ErrorCode), "http_"+strconv.Itoa(status)),
	}
}

// caller makes a client of the target's server that sends a token of the
// registry.
func (s *Store) caller(e *entry, token string) (*client.Client, *clockReader, error) {
	web, clock, err := s.timedWeb()
	if err != nil {
		return nil, nil, err
	}
	return &client.Client{
		URL: e.Server, Token: client.StaticToken(token), Fingerprint: e.Fingerprint, HTTP: web, AllowHTTP: s.AllowHTTP, Attempts: 1,
	}, clock, nil
}

// renewRegistry is POST /tokens/refresh: the token at hand is given for another.
func (s *Store) renewRegistry(ctx context.Context, e *entry, sec *secrets) (*fetched, error) {
	c, clock, err := s.caller(e, sec.AccessToken)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenWait)
	defer cancel()
	grant, err := c.RenewToken(ctx)
	return s.registryToken(grant, clock, err)
}

// registryToken reads what the registry answered.
func (s *Store) registryToken(grant *arc.TokenGrant, clock *clockReader, err error) (*fetched, error) {
	if errors.Is(err, arc.ErrAuthentication) || errors.Is(err, arc.ErrPermission) {
		code := "refused"
		if e, ok := errors.AsType[*arc.Error](err); ok && errorCode().MatchString(e.Reason()) {
			code = e.Reason()
		}
		return nil, &RejectedError{Code: code, cause: err}
	}
	if err != nil {
		return nil, err
	}
	if !validToken(grant.AccessToken) {
		return nil, errors.New("the server gave something else than a bearer token")
	}
	f := &fetched{access: grant.AccessToken, ahead: clock.ahead()}
	if grant.ExpiresIn > 0 {
		f.expires = s.now().Add(time.Duration(grant.ExpiresIn)*time.Second + f.ahead).UTC().Truncate(time.Second)
	}
	return f, nil
}

// pollDevice asks once for the token of a device login (RFC 8628 section 3.4).
func (s *Store) pollDevice(ctx context.Context, d *device, secret string) (*fetched, error) {
	return s.request(ctx, func(ctx context.Context, web *http.Client) (*oauth2.Token, error) {
		if err := s.secure(d.TokenURL); err != nil {
			return nil, err
		}
		return (&clientcredentials.Config{
			TokenURL: d.TokenURL, ClientID: d.ClientID, ClientSecret: secret, AuthStyle: oauth2.AuthStyleInParams,
			EndpointParams: url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "device_code": {d.Code},
			},
		}).Token(context.WithValue(ctx, oauth2.HTTPClient, web))
	})
}

// revoke takes a token back at the revocation endpoint (RFC 7009 section 2.1).
func (s *Store) revoke(ctx context.Context, e *entry, token, hint, secret string) error {
	if err := s.secure(e.RevocationURL); err != nil {
		return err
	}
	web, _, err := s.timedWeb()
	if err != nil {
		return err
	}
	form := url.Values{"token": {token}, "token_type_hint": {hint}}
	if secret == "" && e.ClientID != "" {
		form.Set("client_id", e.ClientID)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.RevocationURL, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if secret != "" {
		req.SetBasicAuth(url.QueryEscape(e.ClientID), url.QueryEscape(secret))
	}
	resp, err := web.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxSecret)) // so that the connection can serve again
	if resp.StatusCode != http.StatusOK && resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("the revocation endpoint answers with HTTP status %d", resp.StatusCode)
	}
	return nil
}

// secure refuses to send a secret over plain http to another machine (RFC 6749
// section 3.2).
func (s *Store) secure(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Hostname() == "" {
		return invalidf("the address of the token endpoint is not usable")
	}
	if s.AllowHTTP && u.Scheme == "http" || client.CheckSecure(text) == nil {
		return nil
	}
	return invalidf("secrets go over https or to this machine only, not to %s://%s", u.Scheme, u.Host)
}

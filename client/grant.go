package client

import (
	"context"
	"net/http"
	"net/url"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"
)

// ClientCredentials gets tokens for a machine by its own id and secret (RFC 6749
// section 4.4). The token is kept until shortly before it expires; however many
// goroutines need one, one request is made. Its fields must not be changed, and
// it must not be copied, after its first use.
type ClientCredentials struct {
	// TokenURL is the token endpoint: https, or http on this machine. It is needed.
	TokenURL string
	// ClientID and ClientSecret are those of the client. They are needed.
	ClientID, ClientSecret string
	// Scopes are asked for. Empty: those that the server gives by default.
	Scopes []string
	// Audience is the parameter of that name, which says what the token is for;
	// "" leaves it out.
	Audience string
	// JSON sends the parameters, the secret among them, as one JSON object, as Auth0
	// documents it. Default: a form, with the client in the header Authorization
	// (HTTP Basic).
	JSON bool
	// Form sends id and secret as parameters of the form instead (RFC 6749 section
	// 2.3.1), for servers that do not know HTTP Basic. JSON goes before it.
	Form bool
	// Params are more parameters, as {"resource": {…}}. They are for what is not
	// named above.
	Params url.Values
	// Early is how long before its expiry a token counts as expired, at most half
	// its lifetime. Default 30 s; negative: not at all.
	Early time.Duration
	// HTTP makes the requests. Its redirects are not followed. Default: one of
	// [NewHTTP] for this source alone.
	HTTP *http.Client
	// AllowHTTP lets the secret travel over plain http to other machines.
	AllowHTTP bool

	endpoint tokenEndpoint
	cache    tokenCache
}

// Token gives the kept token, or gets another one. The request is finished even
// when the caller who began it has gone, since others may wait for it.
func (s *ClientCredentials) Token(ctx context.Context, expired string) (string, error) {
	return s.cache.get(ctx, expired, s.Early, s.Fetch)
}

// Fetch makes one request for a token, whatever is kept, and keeps nothing.
//
// An error of the token endpoint has an [*oauth2.RetrieveError] in its chain,
// without the body, and is [arc.ErrAuthentication] where the client was not
// accepted, [arc.ErrPermission] or [arc.ErrScope] where it may not have what it
// asks for, and [arc.ErrUnavailable] or [arc.ErrTimeout] where there was no answer.
func (s *ClientCredentials) Fetch(ctx context.Context) (*oauth2.Token, error) {
	params := url.Values{}
	for name, values := range s.Params {
		params[name] = values
	}
	if s.Audience != "" {
		params.Set("audience", s.Audience)
	}
	style := oauth2.AuthStyleInHeader
	if s.JSON || s.Form {
		style = oauth2.AuthStyleInParams
	}
	return s.endpoint.request(ctx, &grant{
		url: s.TokenURL, id: s.ClientID, secret: s.ClientSecret, scopes: s.Scopes, params: params,
		style: style, json: s.JSON, http: s.HTTP, open: s.AllowHTTP,
	})
}

// RefreshToken gets tokens by a refresh token (RFC 6749 section 6), which the
// server may replace at each use. Its fields must not be changed, and it must not
// be copied, after its first use.
type RefreshToken struct {
	// TokenURL is the token endpoint: https, or http on this machine. It is needed.
	TokenURL string
	// ClientID is the client that the refresh token was given to. ClientSecret is
	// its secret, "" for a client that has none: then the id is a parameter.
	ClientID, ClientSecret string
	// Refresh is the refresh token to begin with. It is needed.
	Refresh string
	// Scopes, if any, ask for less than the refresh token allows.
	Scopes []string
	// HTTP makes the requests. Its redirects are not followed. Default: one of
	// [NewHTTP] for this source alone.
	HTTP *http.Client
	// Rotated, if not nil, is called with every token that was got, before it is
	// used: its RefreshToken is the one to begin with next time. The calls come one
	// at a time.
	Rotated func(*oauth2.Token)
	// AllowHTTP lets the secrets travel over plain http to other machines.
	AllowHTTP bool

	endpoint tokenEndpoint
	cache    tokenCache

	begin   sync.Once
	turn    chan struct{} // holds one while a refresh token is spent: it may serve only once
	current string        // the refresh token to use; whoever holds the turn may look
}

// Token gives the kept token until 30 s before its expiry, or gets another one.
// The request is finished even when the caller who began it has gone, so that a
// new refresh token is not lost.
func (s *RefreshToken) Token(ctx context.Context, expired string) (string, error) {
	return s.cache.get(ctx, expired, 0, s.spend)
}

// Fetch makes one request for a token, whatever is kept. Requests are made one
// after the other, each with the refresh token of the one before, and each is
// finished even when ctx ends. On errors see [ClientCredentials.Fetch].
func (s *RefreshToken) Fetch(ctx context.Context) (*oauth2.Token, error) {
	return s.cache.join(ctx, "fetch", s.spend)
}

// spend makes the request.
func (s *RefreshToken) spend(ctx context.Context) (*oauth2.Token, error) {
	s.begin.Do(func() { s.turn, s.current = make(chan struct{}, 1), s.Refresh })
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	style := oauth2.AuthStyleInHeader
	if s.ClientSecret == "" {
		style = oauth2.AuthStyleInParams
	}
	token, err := s.endpoint.request(ctx, &grant{
		url: s.TokenURL, id: s.ClientID, secret: s.ClientSecret, scopes: s.Scopes, refresh: s.current,
		params: url.Values{"grant_type": {"refresh_token"}, "refresh_token": {s.current}},
		style:  style, http: s.HTTP, open: s.AllowHTTP,
	})
	if err != nil {
		return nil, err
	}
	s.current = token.RefreshToken
	if s.Rotated != nil {
		s.Rotated(token)
	}
	return token, nil
}

// tokenCache keeps the newest token and lets one request serve all who wait.
type tokenCache struct {
	flight singleflight.Group

	mu    sync.Mutex
	token *oauth2.Token
	until time.Time // the token counts as good before; zero: for ever
}

// get gives a token that is not the expired one: the kept one, or that of a
// request.
func (c *tokenCache) get(ctx context.Context, expired string, early time.Duration, request func(context.Context) (*oauth2.Token, error)) (string, error) {
	if token := c.kept(expired); token != nil {
		return token.AccessToken, nil
	}
	token, err := c.join(ctx, "get", func(ctx context.Context) (*oauth2.Token, error) {
		if token := c.kept(expired); token != nil { // it came while we looked
			return token, nil
		}
		token, err := request(ctx)
		if err == nil {
			c.keep(token, early)
		}
		return token, err
	})
	if err != nil {
		return "", err
	}
	return unless(token.AccessToken, expired)
}

// join runs work, or waits for one that runs already under the same name. The
// work does not end with ctx: others may wait for it, and its result may be one
// that must not get lost. It has a time limit of its own.
func (c *tokenCache) join(ctx context.Context, name string, work func(context.Context) (*oauth2.Token, error)) (*oauth2.Token, error) {
	result := c.flight.DoChan(name, func() (any, error) {
		return work(context.WithoutCancel(ctx))
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case r := <-result:
		token, _ := r.Val.(*oauth2.Token)
		return token, r.Err
	}
}

// kept gives the kept token while it is good and not the expired one; else nil.
func (c *tokenCache) kept(expired string) *oauth2.Token {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.token == nil || c.token.AccessToken == expired || !c.until.IsZero() && !time.Now().Before(c.until) {
		return nil
	}
	return c.token
}

// keep keeps a token.
func (c *tokenCache) keep(token *oauth2.Token, early time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if early == 0 {
		early = 30 * time.Second
	}
	c.token, c.until = token, token.Expiry
	if !c.until.IsZero() {
		life := max(time.Until(token.Expiry), 0)
		c.until = token.Expiry.Add(-min(max(early, 0), life/2))
	}
}

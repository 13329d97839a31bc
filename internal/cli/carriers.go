package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/egress"
	"github.com/arcd-io/arcd/methods"
)

// carriers have agents outside this process do the work.
type carriers struct {
	directory *carrier.Directory
	sockets   *carrier.Sockets
	pools     []func() // close connections at rest
}

// close closes the connections that are kept for later calls.
func (c *carriers) close() {
	for _, pool := range c.pools {
		pool()
	}
}

// openCarriers adds the agents with fixed endpoints to agents, and makes what knows
// all the others that are elsewhere. The registry must be open.
func (a *app) openCarriers(agents map[string]methods.Agent) (*carriers, error) {
	c := &a.settings.config
	tokens := &outboundTokens{c: c, issuer: a.issuer, own: a.settings.baseURL()}
	fixed := carrier.NewTransport()
	made := &carriers{sockets: &carrier.Sockets{}, pools: []func(){fixed.CloseIdleConnections}}
	others := map[string]carrier.Settings{}
	for id, set := range c.Agents {
		switch set.Kind {
		case kindHTTP:
			cfg := c.Outbound.http(fixed, tokens.forAgent(id, set.Endpoint))
			cfg.Endpoint = set.Endpoint
			agents[id] = set.apply(carrier.HTTP(id, cfg, a.log))
		case kindWebSocket, kindRegistered:
			others[id] = carrier.Settings{Agent: set.apply(methods.Agent{}), DialsIn: set.Kind == kindWebSocket}
		}
	}
	allowed, err := addresses(c.Registry.EndpointAllow)
	if err != nil {
		return nil, fmt.Errorf("reading registry.endpoint_allow: %w", err)
	}
	// The road of a line keeps the time; this one is there for what it does not see.
	calls := egress.New(egress.Policy{Allow: allowed, KeepAlive: true, PerHost: 256, MaxIdle: 1000, HeaderTimeout: c.Outbound.Timeout + time.Second})
	made.pools = append(made.pools, calls.Close)
	transport := refusing{calls.Transport()}
	made.sockets.Taken = func(id string) bool { _, own := agents[id]; return own }
	made.directory = carrier.NewDirectory(carrier.Config{
		Registry: a.registry, Sockets: made.sockets, Agents: others, Log: a.log,
		HTTP: func(id, endpoint string) carrier.HTTPConfig {
			return c.Outbound.http(transport, tokens.forAgent(id, endpoint))
		},
	})
	return made, nil
}

// http says how an agent is called.
func (o *outboundConfig) http(transport http.RoundTripper, tokens client.TokenSource) carrier.HTTPConfig {
	return carrier.HTTPConfig{
		Transport: transport, Token: tokens, AllowHTTP: o.AllowHTTP,
		Timeout: o.Timeout, StreamIdle: o.StreamIdle, AnswerBytes: o.AnswerBytes,
	}
}

// apply gives an agent the card and limits of the configuration.
func (c agentConfig) apply(a methods.Agent) methods.Agent {
	a.Name, a.Description, a.Version, a.Capabilities = c.Name, c.Description, c.Version, c.Capabilities
	a.Concurrency, a.Turns, a.Scopes, a.KeepTurns = c.Concurrency, c.Turns, c.Scopes, c.KeepTurns
	return a
}

// refusing makes the refusal of an address an error that is final to a carrier.
type refusing struct{ next http.RoundTripper }

// RoundTrip makes a request.
func (r refusing) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := r.next.RoundTrip(req)
	if refused, ok := errors.AsType[*egress.Refused](err); ok {
		return nil, egress.Problem(refused, req.URL.Redacted())
	}
	return resp, err
}

// outboundTokens gives the tokens that arcd itself shows to agents: never those of
// callers. Agents with equal needs share a source.
type outboundTokens struct {
	c      *config
	issuer *auth.Issuer // nil: no token service
	own    string       // the URL of this server

	mu      sync.Mutex // guards sources
	sources map[string]client.TokenSource
}

// forAgent gives the source for an agent at an endpoint; nil for no tokens.
func (o *outboundTokens) forAgent(id, endpoint string) client.TokenSource {
	provider, scopes := o.c.agentProvider(id)
	return o.source(provider, scopes, originOf(endpoint))
}

// source gives the source of a provider's tokens with the scopes, for a receiver.
func (o *outboundTokens) source(provider string, scopes []string, receiver string) client.TokenSource {
	if provider == noProvider {
		return nil
	}
	key := provider + "\n" + strings.Join(scopes, " ")
	if provider == auth.IssuerName {
		if o.issuer == nil || receiver == "" || receiver == originOf(o.own) || slices.Contains(o.c.Auth.Issuer.Audience, receiver) {
			return nil // whoever has one that arcd itself takes would be somebody with rights
		}
		key += "\n" + receiver
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if known, ok := o.sources[key]; ok {
		return known
	}
	var made client.TokenSource
	if provider == auth.IssuerName {
		made = &mintedTokens{issuer: o.issuer, subject: serverSubject(o.c.ServerID), scopes: scopes, audience: receiver}
	} else {
		s := o.c.Outbound.Providers[provider]
		made = &client.ClientCredentials{
			TokenURL: s.TokenURL, ClientID: s.ClientID, ClientSecret: s.ClientSecret, Audience: s.Audience,
			Scopes: slices.Clone(scopes), JSON: s.Style == "json", Form: s.Style == "form",
		}
	}
	if o.sources == nil || len(o.sources) >= maxSources { // receivers come and go
		o.sources = map[string]client.TokenSource{}
	}
	o.sources[key] = made
	return made
}

// maxSources is how many sources are remembered.
const maxSources = 10_000

// serverSubject is whom the tokens are about that arcd makes for itself: nobody that a
// client, user or agent can be.
func serverSubject(id string) string { return "server:" + id }

// mintedTokens are tokens of arcd's own token service for one receiver.
type mintedTokens struct {
	issuer   *auth.Issuer
	subject  string
	scopes   []string
	audience string

	mu    sync.Mutex // guards what follows
	token auth.Minted
}

// Token gives a token with at least a third of its life before it.
func (m *mintedTokens) Token(_ context.Context, expired string) (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now()
	life := m.token.Expires.Sub(m.token.Issued)
	if m.token.Token != "" && m.token.Token != expired && m.token.Expires.Sub(now) > life/3 {
		return m.token.Token, nil
	}
	made, err := m.issuer.Issue(auth.Claims{Subject: m.subject, Scopes: m.scopes, Audience: []string{m.audience}})
	if err != nil {
		return "", fmt.Errorf("making a token for %s: %w", m.audience, err)
	}
	m.token = made
	return made.Token, nil
}

// originOf gives scheme and host of a URL (RFC 6454 section 6.2); "" for what is none.
func originOf(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return ""
	}
	host := strings.ToLower(u.Host)
	if port := u.Port(); u.Scheme == "https" && port == "443" || u.Scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return u.Scheme + "://" + host
}

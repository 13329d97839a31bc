package cli

import (
	"maps"
	"net/netip"
	"net/url"
	"slices"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// noProvider is the provider of those who are called without a token.
const noProvider = "none"

// outboundConfig is how arcd calls agents, and what it shows to them.
type outboundConfig struct {
	Timeout     time.Duration             `koanf:"timeout" help:"how long an agent may take until its answer begins"`
	StreamIdle  time.Duration             `koanf:"stream_idle" help:"longest silence of an agent within a streamed answer"`
	AnswerBytes int64                     `koanf:"answer_bytes" help:"largest answer of an agent in bytes"`
	AllowHTTP   bool                      `koanf:"allow_http" help:"show tokens over plain http to agents on other machines too"`
	Providers   map[string]outboundSource `koanf:"providers"`
}

// outboundSource is where arcd gets tokens for itself: a token endpoint that gives
// them for client credentials (RFC 6749 section 4.4).
type outboundSource struct {
	TokenURL     string   `koanf:"token_url" help:"the token endpoint: https, or http on this machine"`
	ClientID     string   `koanf:"client_id" help:"the client that arcd is there"`
	ClientSecret string   `koanf:"client_secret" secret:"true" help:"the secret of that client"`
	Audience     string   `koanf:"audience" help:"what the tokens are for, as the parameter audience; left out: not sent"`
	Scopes       []string `koanf:"scopes" help:"scopes to ask for; none: what the server gives by default"`
	Style        string   `koanf:"style" help:"how the secret is sent: basic (default), form, or json as Auth0 has it"`
}

// webhooksConfig is what becomes of task.subscribe.
type webhooksConfig struct {
	Enabled        bool          `koanf:"enabled" help:"tell subscribers what becomes of their tasks"`
	Allow          []string      `koanf:"allow" help:"private addresses that may be called, such as 10.1.0.0/16; none: public ones only"`
	AllowHTTP      bool          `koanf:"allow_http" help:"take plain http for callback URLs; default: https only"`
	Timeout        time.Duration `koanf:"timeout" help:"how long one attempt may take, at most 15s"`
	ContentType    string        `koanf:"content_type" help:"application/arc+json, or application/json for receivers that know nothing else"`
	Provider       string        `koanf:"provider" help:"whose tokens receivers are shown: none, arcd, or a name below outbound.providers"`
	ProviderScopes []string      `koanf:"provider_scopes" help:"scopes of that token; default: the provider's, and of arcd arc.task.notify and arc.agent.receiver"`
	TokenOrigins   []string      `koanf:"token_origins" help:"receivers that are shown the token, such as https://app.example; none: all, which only provider arcd may have"`
}

// checkOutbound checks how agents are called.
func (c *checker) checkOutbound() {
	o := &c.Outbound
	c.within("outbound.timeout", o.Timeout, 100*time.Millisecond, time.Hour)
	c.within("outbound.stream_idle", o.StreamIdle, 100*time.Millisecond, 24*time.Hour)
	if o.AnswerBytes < 1024 {
		c.problem("outbound.answer_bytes", "must be at least 1024")
	}
	for _, name := range slices.Sorted(maps.Keys(o.Providers)) {
		c.checkSource("outbound.providers."+name, name, o.Providers[name])
	}
}

// checkSource checks one token endpoint.
func (c *checker) checkSource(key, name string, s outboundSource) {
	if name == auth.IssuerName || name == noProvider {
		c.problem(key, "the name is taken: arcd is its own token service, and none is no token")
	}
	if s.TokenURL == "" {
		c.problem(key+".token_url", "is needed")
	} else if err := checkURL(s.TokenURL); err != nil {
		c.problem(key+".token_url", "%w", err)
	} else if u, _ := url.Parse(s.TokenURL); u.Scheme == "http" && !loopbackHost(u.Hostname()) {
		c.problem(key+".token_url", "is plain http, where the secret can be read on the way")
	}
	for member, value := range map[string]string{"client_id": s.ClientID, "client_secret": s.ClientSecret} {
		if value == "" {
			c.problem(key+"."+member, "is needed")
		}
	}
	if s.Style != "" {
		c.oneOf(key+".style", s.Style, "basic", "form", "json")
	}
	c.checkScopeWords(key+".scopes", s.Scopes)
}

// checkProvider wants the name of a provider that is there. arcd means none where
// the token service is off.
func (c *checker) checkProvider(key, name string) {
	words := append([]string{auth.IssuerName, noProvider}, slices.Sorted(maps.Keys(c.Outbound.Providers))...)
	c.oneOf(key, name, words...)
}

// checkWebhooks checks what becomes of task.subscribe.
func (c *checker) checkWebhooks() {
	w := &c.Webhooks
	if _, err := addresses(w.Allow); err != nil {
		c.problem("webhooks.allow", "%w", err)
	}
	c.within("webhooks.timeout", w.Timeout, 100*time.Millisecond, 15*time.Second)
	c.oneOf("webhooks.content_type", w.ContentType, arc.MediaARC, arc.MediaJSON)
	c.checkProvider("webhooks.provider", w.Provider)
	c.checkScopeWords("webhooks.provider_scopes", w.ProviderScopes)
	for _, origin := range w.TokenOrigins {
		if !validOrigin(origin) {
			c.problem("webhooks.token_origins", "must be origins such as https://app.example, not %q", origin)
		}
	}
	// A token of arcd is for one receiver and worth nothing elsewhere; that of another
	// provider would be a present to whoever subscribes.
	if w.Provider != noProvider && w.Provider != auth.IssuerName && len(w.TokenOrigins) == 0 {
		c.problem("webhooks.token_origins", "is needed with webhooks.provider: %s, or everybody who subscribes would be given its token", w.Provider)
	}
}

// webhookProvider tells whose tokens a receiver of webhooks is shown and with which
// scopes, as agentProvider does for agents. origin is that of the callback URL, as originOf
// gives it.
func (c *config) webhookProvider(origin string) (provider string, scopes []string) {
	w := &c.Webhooks
	named := func(o string) bool { return originOf(o) == origin }
	if len(w.TokenOrigins) > 0 && !slices.ContainsFunc(w.TokenOrigins, named) {
		return noProvider, nil
	}
	return c.provider(w.Provider, w.ProviderScopes, []string{auth.ScopeNotify, auth.ScopeServe})
}

// validOrigin tells whether s is what a browser sends as an origin: scheme and
// host, nothing behind it (RFC 6454, section 6.2).
func validOrigin(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.Host != "" && s == u.Scheme+"://"+u.Host
}

// loopbackHost tells whether a host can only be this machine.
func loopbackHost(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

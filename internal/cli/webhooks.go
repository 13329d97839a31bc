package cli

import (
	"fmt"
	"net/url"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/egress"
	"github.com/arcd-io/arcd/internal/webhook"
	"github.com/arcd-io/arcd/methods"
)

// openWebhooks makes what sends to subscribers; nil if that is off. Its connections
// are closed with those to agents.
func (a *app) openWebhooks() (methods.Webhooks, error) {
	c := &a.settings.config
	if !c.Webhooks.Enabled {
		return nil, nil
	}
	allowed, err := addresses(c.Webhooks.Allow)
	if err != nil {
		return nil, fmt.Errorf("reading webhooks.allow: %w", err)
	}
	calls := egress.New(egress.Policy{
		Allow: allowed, Timeout: c.Webhooks.Timeout, HeaderTimeout: c.Webhooks.Timeout, KeepAlive: true, MaxIdle: 256,
	})
	a.elsewhere.pools = append(a.elsewhere.pools, calls.Close)
	tokens := &outboundTokens{c: c, issuer: a.issuer, own: a.settings.baseURL()}
	return webhook.New(webhook.Config{
		Calls: calls, Timeout: c.Webhooks.Timeout, AllowHTTP: c.Webhooks.AllowHTTP, ContentType: c.Webhooks.ContentType,
		Token: func(callback string) client.TokenSource {
			u, err := url.Parse(callback)
			if err != nil || u.Scheme != "https" && !loopbackHost(u.Hostname()) && !c.Outbound.AllowHTTP {
				return nil // it could be read on the way
			}
			origin := originOf(callback)
			provider, scopes := c.webhookProvider(origin)
			return tokens.source(provider, scopes, origin)
		},
	}), nil
}

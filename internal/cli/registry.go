package cli

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/egress"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

// openRegistry opens the agent registry, if it is on. It gives the client that
// calls agents' endpoints too; nil without a registry.
func (a *app) openRegistry(ctx context.Context, metrics *server.Metrics) (*egress.Client, error) {
	c := &a.settings.Registry
	if a.issuer == nil {
		return nil, nil
	}
	if !c.Enabled {
		return nil, a.keepRevocations(ctx)
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{
		Entries: c.AgentKeys, File: c.AgentKeyFile, Now: a.store.Now, Log: a.log,
	})
	if err != nil {
		return nil, fmt.Errorf("reading registry.agent_keys: %w", err)
	}
	if len(keys.IDs()) == 0 {
		a.log.Info().Str("event", "no_agent_keys").Msg("no agent can register: there is no agent key in registry.agent_keys or " + c.AgentKeyFile)
	}
	allowed, err := addresses(c.EndpointAllow)
	if err != nil {
		return nil, fmt.Errorf("reading registry.endpoint_allow: %w", err)
	}
	calls := egress.New(egress.Policy{Allow: allowed})
	cfg := c.settings(a.settings)
	cfg.Store, cfg.Issuer, cfg.Keys, cfg.Log = a.store, a.issuer, keys, a.log
	cfg.Observe, cfg.Now, cfg.Alone = metrics.Observe, a.store.Now, !a.settings.sharedStore()
	if c.EndpointCheck != "off" {
		cfg.Probe = prober(calls)
	}
	if a.registry, err = registry.Open(ctx, cfg); err != nil {
		return nil, fmt.Errorf("opening the registry: %w", err)
	}
	a.revoked, a.follow = a.registry.Revoked, a.registry
	return calls, nil
}

// keepRevocations keeps refusing what was revoked before the registry was turned
// off. Its agents' tokens are refused with it, since no agent key counts; those of
// administrators open nothing on /arc.
func (a *app) keepRevocations(ctx context.Context) error {
	off, err := registry.Open(ctx, registry.Config{
		Store: a.store, Issuer: a.issuer, Now: a.store.Now, Alone: !a.settings.sharedStore(),
	})
	if err != nil {
		return fmt.Errorf("reading what was revoked: %w", err)
	}
	a.revoked, a.follow = off.Revoked, off
	return nil
}

// settings hands the settings to package registry, where 0 means a default and a
// negative time for ever.
func (c *registryConfig) settings(l *loaded) registry.Config {
	remove, audit := c.RemoveAfter, c.AuditRetention
	if remove == 0 {
		remove = -1
	}
	if audit == 0 {
		audit = -1
	}
	return registry.Config{
		Taken: func(id string) bool { a, named := l.Agents[id]; return named && a.Kind != kindRegistered },
		Types: c.AgentTypes, AgentScopes: c.AgentScopes,
		RequireValidation: c.RequireValidation, ProbeReported: c.EndpointCheck == "reported",
		Public: c.Public, PublicURL: l.baseURL(),
		AgentTTL: c.AgentTokenTTL, TempTTL: c.TempTokenTTL, SessionTTL: c.SessionTTL, MaxAge: c.RefreshMaxAge,
		MaxSessions: c.MaxSessions, MaxAgents: c.MaxAgents,
		HeartbeatTimeout: c.HeartbeatTimeout, RemoveAfter: remove, AuditRetention: audit,
	}
}

// longestToken is the longest life that the issuer gives to a token.
func (c *registryConfig) longestToken(ttl time.Duration) time.Duration {
	return max(ttl, c.AgentTokenTTL, c.TempTokenTTL, c.SessionTTL)
}

// addresses reads prefixes and single addresses.
func addresses(texts []string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, text := range texts {
		p, err := netip.ParsePrefix(text)
		if err != nil {
			var a netip.Addr
			if a, err = netip.ParseAddr(text); err != nil {
				return nil, fmt.Errorf("%q is neither an address nor a prefix such as 10.1.0.0/16", text)
			}
			p = netip.PrefixFrom(a, a.BitLen())
		}
		if a := p.Addr(); a.Is4In6() && p.Bits() >= 96 { // an IPv4 prefix in other clothes
			p = netip.PrefixFrom(a.Unmap(), p.Bits()-96)
		}
		all = append(all, p.Masked())
	}
	return all, nil
}

// prober looks at endpoints with calls.
func prober(calls *egress.Client) registry.Prober {
	return func(ctx context.Context, endpoint, agentID string) registry.Probed {
		found := calls.Probe(ctx, endpoint, agentID)
		probed := registry.Probed{Reached: found.Reached, Status: found.Status, Latency: found.Latency}
		if found.Err != nil {
			probed.Failure = egress.Problem(found.Err, endpoint)
			probed.Refused = probed.Failure.Kind() == arc.ProblemURL
		}
		return probed
	}
}

// notifier tells agents something with calls.
func notifier(calls *egress.Client) server.Notifier {
	return func(ctx context.Context, url string, body any) (int, error) {
		status, err := calls.Notify(ctx, url, body)
		if err != nil {
			return status, egress.Problem(err, url)
		}
		return status, nil
	}
}

// checkKnown refuses credentials that everybody knows, unless --dev put them there.
func (c *checker) checkKnown() {
	if c.forDev {
		return
	}
	for _, entry := range c.Registry.AgentKeys {
		if _, key, bound := strings.Cut(entry, "="); slices.Contains(devAgentKeys, entry) || bound && slices.Contains(devAgentKeys, key) {
			c.problem("registry.agent_keys", "%q is a key that everybody knows; it is for --dev", entry)
		}
	}
	for name, client := range c.Auth.Issuer.Clients {
		for _, hash := range devAdmins {
			if client.SecretHash == hash {
				c.problem("auth.issuer.clients."+name+".secret_hash", "is of a password that everybody knows; it is for --dev")
			}
		}
	}
}

// checkRegistry checks the agent registry without opening it.
func (c *checker) checkRegistry() {
	r := &c.Registry
	c.oneOf("registry.endpoint_check", r.EndpointCheck, "required", "reported", "off")
	c.oneOf("registry.public", r.Public, "card", "full", "off")
	c.checkProvider("registry.provider", r.Provider)
	c.checkScopeWords("registry.provider_scopes", r.ProviderScopes)
	if _, err := addresses(r.EndpointAllow); err != nil {
		c.problem("registry.endpoint_allow", "%w", err)
	}
	if _, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: r.AgentKeys}); err != nil {
		c.problem("registry.agent_keys", "%w", err)
	}
	c.checkKnown()
	for _, t := range r.AgentTypes {
		if !registry.ValidType(t) {
			c.problem("registry.agent_types", "%q is not 2 to 50 letters, digits, _ and -", t)
		}
	}
	if r.RequireValidation && r.EndpointCheck == "off" {
		c.problem("registry.require_validation", "needs registry.endpoint_check: required or reported; off validates nothing")
	}
	for key, ttl := range map[string]time.Duration{
		"registry.agent_token_ttl": r.AgentTokenTTL, "registry.temp_token_ttl": r.TempTokenTTL, "registry.session_ttl": r.SessionTTL,
	} {
		c.within(key, ttl, time.Second, 30*24*time.Hour)
		if ttl%time.Second != 0 {
			c.problem(key, "must be whole seconds")
		}
	}
	c.within("registry.refresh_max_age", r.RefreshMaxAge, time.Minute, 3650*24*time.Hour)
	c.within("registry.heartbeat_timeout", r.HeartbeatTimeout, time.Second, 24*time.Hour)
	for key, d := range map[string]time.Duration{"registry.remove_after": r.RemoveAfter, "registry.audit_retention": r.AuditRetention} {
		if d != 0 { // 0: for ever
			c.within(key, d, time.Minute, 36500*24*time.Hour)
		}
	}
	for key, n := range map[string]int{"registry.max_sessions": r.MaxSessions, "registry.max_agents": r.MaxAgents} {
		if n < 1 {
			c.problem(key, "must be at least 1")
		}
	}
	if r.ProblemBase != "" {
		if err := checkURL(r.ProblemBase); err != nil || !strings.HasSuffix(r.ProblemBase, "/") {
			c.problem("registry.problem_base", "must be a URL that ends in a slash, not %q", r.ProblemBase)
		}
	}
	if r.ScrapeToken != "" && len(r.ScrapeToken) < 16 {
		c.problem("registry.scrape_token", "must have at least 16 characters")
	}
}

package cli

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store"
)

// demoAgents makes the agents that the configuration names. What it says about
// one replaces what the demo agent says of itself.
func demoAgents(configs map[string]agentConfig) (map[string]methods.Agent, error) {
	agents := make(map[string]methods.Agent, len(configs))
	for id, c := range configs {
		if c.Kind != kindDemo {
			continue
		}
		a, ok := methods.Demo(c.demoKind(id))
		if !ok {
			return nil, fmt.Errorf("agents.%s: there is no demo agent %q", id, c.demoKind(id))
		}
		a.Name, a.Description = cmp.Or(c.Name, a.Name), cmp.Or(c.Description, a.Description)
		a.Version = cmp.Or(c.Version, a.Version)
		if c.Capabilities != nil {
			a.Capabilities = c.Capabilities
		}
		a.Concurrency, a.Turns, a.Scopes, a.KeepTurns = c.Concurrency, c.Turns, c.Scopes, c.KeepTurns
		agents[id] = a
	}
	return agents, nil
}

// serviceConfig hands the settings to package methods, where 0 means a default
// and a negative retention means for ever.
func serviceConfig(
	c *config, s store.Store, agents map[string]methods.Agent, reg *registry.Registry, log zerolog.Logger,
) methods.Config {
	retention := c.Retention
	if retention == 0 {
		retention = -1 // for ever
	}
	scopes := map[string]map[string][]string{}
	for id, a := range c.Agents {
		if (a.Kind == kindWebSocket || a.Kind == kindRegistered) && a.Scopes != nil {
			scopes[id] = a.Scopes
		}
	}
	return methods.Config{
		Store: s, Agents: agents, Registry: reg, Scopes: c.Auth.Scopes, AgentScopes: scopes, ListAgents: c.ListAgents,
		Lease: c.Lease, MaxAttempts: c.MaxAttempts, Retention: retention, KeyTTL: c.KeyTTL, ChatIdle: c.ChatIdle,
		Patience: c.Patience, MaxHops: c.MaxHops, Version: version(), Log: log,
	}
}

// serverConfig hands the settings to package server. What has to be made first
// (service, validator, TLS) is filled in by assemble.
func serverConfig(c *config, log zerolog.Logger) server.Config {
	var issuers []string
	for _, p := range providerConfigs(c.Auth.Providers) {
		issuers = append(issuers, p.Issuer)
	}
	proxies, _ := addresses(c.Proxies) // has been checked
	return server.Config{
		AuthServers: issuers, TrustedProxies: proxies,
		PublicURL: c.baseURL(), ServerID: c.ServerID, Version: version(),
		Limits: server.Limits{
			BodyBytes: c.Limits.BodyBytes, Depth: c.Limits.Depth, Batch: c.Limits.Batch,
			StreamsPerSubject: c.Limits.StreamsPerSubject,
		},
		HTTPStatus: c.HTTPStatus, CORSOrigins: c.CORSOrigins,
		EventGap: c.EventGap, KeepAlive: c.KeepAlive, DrainDelay: c.DrainDelay, DrainTimeout: c.DrainTimeout,
		ProblemBase: c.Registry.ProblemBase, ScrapeToken: c.Registry.ScrapeToken,
		Log: log,
	}
}

// providerConfigs lists the trusted providers by name.
func providerConfigs(configs map[string]providerConfig) []auth.Provider {
	var providers []auth.Provider
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		c := configs[name]
		providers = append(providers, auth.Provider{
			Name: name, Issuer: c.Issuer, Audience: c.Audience, JWKSURI: c.JWKSURI,
			Algorithms: c.Algorithms, ScopeClaims: c.ScopeClaims, AgentClaim: c.AgentClaim,
			Profile: c.Profile, AllowHTTP: c.AllowHTTP, RefetchCooldown: c.RefetchCooldown,
		})
	}
	return providers
}

// issuerSettings is how the token service is opened, by the server and by the
// commands that look after it.
func issuerSettings(l *loaded) auth.IssuerConfig {
	c := &l.Auth.Issuer
	clients := make(map[string]auth.Client, len(c.Clients))
	for id, client := range c.Clients {
		clients[id] = auth.Client{
			SecretHash: client.SecretHash, Scopes: client.Scopes, Agents: client.Agents, Audience: client.Audience,
			Admin: client.Admin,
		}
	}
	return auth.IssuerConfig{
		URL: l.baseURL(), Audience: c.Audience, KeyFile: c.KeyFile, ClientsFile: c.ClientsFile,
		Clients: clients, TokenTTL: c.TokenTTL, LongestTTL: l.Registry.longestToken(c.TokenTTL), Now: time.Now,
	}
}

package cli

import (
	"net/url"
	"slices"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
)

// The kinds of agents.
const (
	kindDemo       = "demo"
	kindHTTP       = "http"       // called at an endpoint that the configuration names
	kindWebSocket  = "websocket"  // dials in
	kindRegistered = "registered" // registers itself; the configuration has settings for it
)

// checkAgent checks one agent.
func (c *checker) checkAgent(key, id string, a agentConfig) {
	if !arc.ValidAgentID(id) {
		c.problem(key, "an agent's id %s", arc.AgentIDIssue)
	}
	c.oneOf(key+".kind", a.Kind, kindDemo, kindHTTP, kindWebSocket, kindRegistered)
	if a.Kind == kindDemo {
		c.oneOf(key+".demo", a.demoKind(id), methods.DemoKinds()...)
	} else if a.Demo != "" {
		c.problem(key+".demo", "is for kind demo only")
	}
	if a.Kind == kindRegistered && !c.Registry.Enabled {
		c.problem(key+".kind", "registered needs registry.enabled: true")
	}
	c.checkCard(key, &a)
	c.checkEndpoint(key, &a)
	c.checkAgentProvider(key, id, &a)
	for name, n := range map[string]int{"concurrency": a.Concurrency, "turns": a.Turns} {
		if n < 0 {
			c.problem(key+"."+name, "must not be negative")
		}
	}
	c.checkScopes(key+".scopes", a.Scopes)
}

// checkCard refuses a card for an agent that brings its own.
func (c *checker) checkCard(key string, a *agentConfig) {
	if a.Kind != kindRegistered {
		return
	}
	for name, there := range map[string]bool{
		"name": a.Name != "", "description": a.Description != "", "version": a.Version != "", "capabilities": a.Capabilities != nil,
	} {
		if there {
			c.problem(key+"."+name, "an agent that registers itself says so itself")
		}
	}
}

// checkEndpoint wants an endpoint where one is called, and no other.
func (c *checker) checkEndpoint(key string, a *agentConfig) {
	switch {
	case a.Kind == kindHTTP && a.Endpoint == "":
		c.problem(key+".endpoint", "is needed: where does the agent speak ARC?")
	case a.Kind == kindHTTP:
		if err := checkURL(a.Endpoint); err != nil {
			c.problem(key+".endpoint", "%w", err)
		}
	case a.Endpoint == "":
	case a.Kind == kindWebSocket:
		c.problem(key+".endpoint", "an agent of kind websocket dials in and has none")
	case a.Kind == kindRegistered:
		c.problem(key+".endpoint", "an agent of kind registered says so itself when it registers")
	default:
		c.problem(key+".endpoint", "is for kind http only")
	}
}

// checkAgentProvider wants a provider that is there, and that its token does not
// travel in the open.
func (c *checker) checkAgentProvider(key, id string, a *agentConfig) {
	c.checkScopeWords(key+".provider_scopes", a.ProviderScopes)
	called := a.Kind == kindHTTP || a.Kind == kindRegistered
	switch {
	case !called && (a.Provider != "" || a.ProviderScopes != nil):
		c.problem(key+".provider", "is for agents that are called: of kind http or registered")
	case a.Provider != "":
		c.checkProvider(key+".provider", a.Provider)
	}
	if a.Kind != kindHTTP {
		return
	}
	u, err := url.Parse(a.Endpoint)
	if err != nil || u.Scheme != "http" || loopbackHost(u.Hostname()) || c.Outbound.AllowHTTP {
		return
	}
	if provider, _ := c.agentProvider(id); provider != noProvider {
		c.problem(key+".endpoint", "is plain http, where a token can be read on the way: use https, or provider: none, or outbound.allow_http: true")
	}
}

// callerScopes are the scopes of the tokens that arcd makes for itself to call
// agents: those which the specification asks of a caller.
func callerScopes() []string { return []string{auth.ScopeTask, auth.ScopeChat, auth.ScopeCaller} }

// agentProvider tells whose tokens arcd shows to an agent and with which scopes:
// the provider's name, auth.IssuerName for arcd's own token service, or noProvider.
// It knows agents of kind http and all that register themselves.
func (c *config) agentProvider(id string) (provider string, scopes []string) {
	a, named := c.Agents[id]
	provider, scopes = a.Provider, a.ProviderScopes
	if !named || a.Kind == kindRegistered {
		if provider == "" {
			provider = c.Registry.Provider
		}
		if scopes == nil {
			scopes = c.Registry.ProviderScopes
		}
	}
	if provider == "" {
		provider = auth.IssuerName
	}
	return c.provider(provider, scopes, callerScopes())
}

// provider gives a provider with the scopes to ask for: those that were set, else
// its own, which are those of own for arcd. Without a token service there are no
// tokens of arcd.
func (c *config) provider(name string, scopes, own []string) (string, []string) {
	switch {
	case name == noProvider, name == auth.IssuerName && !c.Auth.Issuer.Enabled:
		return noProvider, nil
	case scopes != nil:
		return name, slices.Clone(scopes)
	case name == auth.IssuerName:
		return name, own
	}
	return name, slices.Clone(c.Outbound.Providers[name].Scopes)
}

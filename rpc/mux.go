package rpc

import (
	"context"
	"maps"
	"slices"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// Method is one row of the method table.
type Method struct {
	Name    string
	Summary string   // one line for people
	Scopes  []string // all of these are needed
	Handle  Handler
}

// MuxConfig changes which scopes a method needs.
type MuxConfig struct {
	// Scopes replaces the scopes of a method, by method name.
	Scopes map[string][]string
	// AgentScopes replaces them for calls to one agent, by agent id and then
	// method name.
	AgentScopes map[string]map[string][]string
}

// Mux finds the method of a call, checks the call and makes it.
type Mux struct {
	methods map[string]Method
	names   []string
	config  MuxConfig
}

// NewMux makes a Mux of a method table.
func NewMux(methods []Method, config MuxConfig) *Mux {
	m := &Mux{methods: make(map[string]Method, len(methods)), config: config}
	for _, method := range methods {
		m.methods[method.Name] = method
		m.names = append(m.names, method.Name)
	}
	slices.Sort(m.names)
	return m
}

// Names lists the methods, sorted.
func (m *Mux) Names() []string { return m.names }

// Has tells whether there is a method of that name.
func (m *Mux) Has(method string) bool {
	_, ok := m.methods[method]
	return ok
}

// Methods lists the method table, sorted by name.
func (m *Mux) Methods() []Method {
	table := make([]Method, 0, len(m.names))
	for _, name := range m.names {
		table = append(table, m.methods[name])
	}
	return table
}

// Scopes gives the scopes that a call of method to agent needs. A method that
// does not exist needs arc.agent.caller, so that nobody can list methods
// without it.
func (m *Mux) Scopes(method, agent string) []string {
	if s, ok := m.config.AgentScopes[agent][method]; ok {
		return s
	}
	if s, ok := m.config.Scopes[method]; ok {
		return s
	}
	if row, ok := m.methods[method]; ok {
		return row.Scopes
	}
	return []string{auth.ScopeCaller}
}

// AllScopes lists every scope that some call may need, sorted.
func (m *Mux) AllScopes() []string {
	all := map[string]bool{auth.ScopeCaller: true}
	add := func(scopes []string) {
		for _, s := range scopes {
			all[s] = true
		}
	}
	for _, method := range m.methods {
		add(method.Scopes)
	}
	for _, scopes := range m.config.Scopes {
		add(scopes)
	}
	for _, methods := range m.config.AgentScopes {
		for _, scopes := range methods {
			add(scopes)
		}
	}
	return slices.Sorted(maps.Keys(all))
}

// Dispatch makes the call: scopes, then who speaks, then the method itself.
// c.Principal must be set. It gives the method's result, which may be a Stream.
//
//	Dispatch
//	├─ Permit       scopes of (method, agent)        -44003
//	├─ agent ids    well-formed                      -41004
//	├─ SpeakAs      requestAgent bound to the token  -44002
//	├─ look up      -32601
//	└─ Handle       decode params, call the operation
func (m *Mux) Dispatch(ctx context.Context, c *Call) (any, error) {
	c.mux = m
	if err := c.Permit(c.To); err != nil {
		return nil, err
	}
	if err := checkAgents(c); err != nil {
		return nil, err
	}
	if c.From == "" {
		c.From = c.Principal.Agent()
	}
	// The default too: a token whose list of agents is empty speaks as nobody.
	if err := c.Principal.SpeakAs(c.From); err != nil {
		return nil, err
	}
	method, ok := m.methods[c.Method]
	if !ok {
		return nil, arc.Errorf(arc.CodeMethodNotFound, "there is no method %q", c.Method).
			With("method", c.Method).With("supportedMethods", m.names).With("retryable", false)
	}
	return method.Handle(ctx, c, c.Params)
}

// checkAgents reports -41004 for a malformed agent id. The JSON-RPC envelope
// may leave them out.
func checkAgents(c *Call) error {
	for _, id := range [...]struct{ field, value string }{{"requestAgent", c.From}, {"targetAgent", c.To}} {
		if id.value == "" && c.Dialect == arc.JSONRPC || arc.ValidAgentID(id.value) {
			continue
		}
		return arc.Errorf(arc.CodeInvalidAgentID, "%s %s", id.field, arc.AgentIDIssue).
			With("field", id.field).With("issue", arc.AgentIDIssue).
			With("agentId", id.value).With("retryable", false)
	}
	return nil
}

// Permit reports -44003 unless the principal holds the scopes for this call to
// the agent. Dispatch asks it for the targetAgent; a method that finds the
// agent only by a task or chat id asks again.
func (c *Call) Permit(agent string) error {
	return c.Principal.Require(c.mux.Scopes(c.Method, agent)...)
}

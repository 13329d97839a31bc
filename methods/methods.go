// Package methods has one Go function for each method of the protocol, and the
// engine behind them: it owns tasks and chats from their creation to their end,
// keeps every rule about states and ownership, and has the agents that live in
// this process do the work ([Runner]).
//
// The store is the truth. A method reads a thread, decides, and commits one
// [store.Change]; whatever follows (running, streaming) reads the stored log.
package methods

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// Config says what a Service works with.
type Config struct {
	// Store keeps everything. Required. The caller closes it, after Run has
	// returned.
	Store store.Store
	// Agents are the agents behind the endpoint, by id.
	Agents map[string]Agent
	// Registry knows the agents that registered themselves: they can be named as
	// targets too. Nil: there are none.
	Registry *registry.Registry
	// Scopes replaces the scopes that a method needs, by method name.
	Scopes map[string][]string
	// ListAgents names the known agents in the details of -41001.
	ListAgents bool

	// Lease is how long a claimed task stays with a process that no longer
	// reports. Default 15 s, at least 1 s.
	Lease time.Duration
	// MaxAttempts is how often a task is begun before it fails with
	// attempts_exhausted. Default 3.
	MaxAttempts int
	// Retention is how long ended tasks and chats are kept. Default 24 h;
	// negative: for ever.
	Retention time.Duration
	// KeyTTL is how long an idempotency key is remembered. Default 24 h.
	KeyTTL time.Duration
	// ChatIdle is how long a chat may be silent before it is closed. Default
	// 24 h.
	ChatIdle time.Duration
	// TurnGrace is how long a chat turn goes on after its caller's connection
	// is gone, so that the stream can be resumed. Default 2 s.
	TurnGrace time.Duration

	// Version is the server's version, for the OpenRPC document.
	Version string
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// Log gets what operators should know. The zero Logger is silent.
	Log zerolog.Logger
}

// Agent is one agent behind the endpoint and how it may be used.
type Agent struct {
	// Runner does its work. Nil: nobody serves it here; tasks wait in the queue
	// and chats are refused with -41002.
	Runner Runner

	Name         string
	Description  string
	Version      string
	Capabilities []string

	// Concurrency is the number of tasks that run at once. Default 16.
	Concurrency int
	// Turns is the number of chat turns that run at once. Default 1,000.
	Turns int
	// Scopes replaces the scopes that a method needs when it is called for
	// this agent, by method name.
	Scopes map[string][]string
	// KeepTurns lets a chat turn run to its end when its caller's connection
	// is gone.
	KeepTurns bool
}

// agent is an Agent in service.
type agent struct {
	Agent
	id   string
	poke chan struct{} // one slot: "look for work"
	turn chan struct{} // one slot taken per running chat turn
}

// Service owns the tasks and chats. Its methods are safe for concurrent use.
type Service struct {
	cfg    Config
	store  store.Store
	log    zerolog.Logger
	mux    *rpc.Mux
	agents map[string]*agent
	hub    *hub

	editing queues

	background context.Context // of all runs; ended by stop
	stop       context.CancelCauseFunc
	draining   chan struct{} // closed by Drain
	drainOnce  sync.Once
	runs       sync.WaitGroup // turns and whatever else works for callers that left

	mu      sync.Mutex // guards what follows
	running map[string]*work
	closed  bool // no new runs
}

// New makes a Service. Nothing runs before [Service.Run].
func New(cfg Config) (*Service, error) {
	if cfg.Store == nil {
		return nil, fmt.Errorf("methods: Config.Store is required")
	}
	setDefaults(&cfg)
	s := &Service{
		cfg: cfg, store: cfg.Store, log: cfg.Log,
		agents:   make(map[string]*agent, len(cfg.Agents)),
		hub:      newHub(),
		draining: make(chan struct{}),
		running:  make(map[string]*work),
	}
	s.background, s.stop = context.WithCancelCause(context.Background())
	agentScopes := map[string]map[string][]string{}
	for id, a := range cfg.Agents {
		if !arc.ValidAgentID(id) {
			return nil, fmt.Errorf("agent %q: the id %s", id, arc.AgentIDIssue)
		}
		if a.Concurrency <= 0 {
			a.Concurrency = 16
		}
		if a.Turns <= 0 {
			a.Turns = 1000
		}
		if len(a.Scopes) > 0 {
			agentScopes[id] = a.Scopes
		}
		s.agents[id] = &agent{Agent: a, id: id, poke: make(chan struct{}, 1), turn: make(chan struct{}, a.Turns)}
	}
	table := s.table()
	if err := knownMethods(table, cfg.Scopes, agentScopes); err != nil {
		return nil, err
	}
	s.mux = rpc.NewMux(table, rpc.MuxConfig{Scopes: cfg.Scopes, AgentScopes: agentScopes})
	return s, nil
}

func setDefaults(cfg *Config) {
	defaultTo(&cfg.Lease, 15*time.Second)
	cfg.Lease = max(cfg.Lease, time.Second)
	defaultTo(&cfg.MaxAttempts, 3)
	defaultTo(&cfg.Retention, 24*time.Hour)
	defaultTo(&cfg.KeyTTL, 24*time.Hour)
	defaultTo(&cfg.ChatIdle, 24*time.Hour)
	defaultTo(&cfg.TurnGrace, 2*time.Second)
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
}

func defaultTo[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// table names every method, its scopes and its function: the whole surface.
// Scopes are the specification's matrix (section "Scopes"); the extensions take
// those of the methods they stand beside.
func (s *Service) table() []rpc.Method {
	task := []string{auth.ScopeTask, auth.ScopeCaller}
	chat := []string{auth.ScopeChat, auth.ScopeCaller}
	return []rpc.Method{
		{Name: "task.create", Scopes: task, Handle: rpc.Handle(s.CreateTask), Summary: "Give an agent a task."},
		{Name: "task.send", Scopes: task, Handle: rpc.Handle(s.SendTask), Summary: "Add a message to an open task."},
		{Name: "task.info", Scopes: task, Handle: rpc.Handle(s.GetTask), Summary: "Read a task."},
		{Name: "task.cancel", Scopes: task, Handle: rpc.Handle(s.CancelTask), Summary: "Cancel a task."},
		{Name: "task.list", Scopes: task, Handle: rpc.Handle(s.ListTasks), Summary: "List the caller's tasks (extension)."},
		{Name: "task.events", Scopes: task, Handle: rpc.Handle(s.TaskEvents), Summary: "Replay and follow a task's events (extension)."},
		{Name: "chat.start", Scopes: chat, Handle: rpc.Handle(s.StartChat), Summary: "Start a chat with an agent."},
		{Name: "chat.message", Scopes: chat, Handle: rpc.Handle(s.SendChat), Summary: "Say something in a chat."},
		{Name: "chat.end", Scopes: chat, Handle: rpc.Handle(s.EndChat), Summary: "Close a chat."},
		{Name: "rpc.discover", Scopes: []string{auth.ScopeCaller}, Handle: rpc.Handle(s.Discover), Summary: "Give the OpenRPC document (extension)."},
	}
}

// knownMethods refuses scope overrides for methods that do not exist: a
// misspelt name would silently protect nothing.
func knownMethods(table []rpc.Method, scopes map[string][]string, byAgent map[string]map[string][]string) error {
	check := func(where string, overrides map[string][]string) error {
		for name := range overrides {
			if !slices.ContainsFunc(table, func(m rpc.Method) bool { return m.Name == name }) {
				return fmt.Errorf("%s: there is no method %q", where, name)
			}
		}
		return nil
	}
	if err := check("scopes", scopes); err != nil {
		return err
	}
	for id, overrides := range byAgent {
		if err := check("scopes of agent "+id, overrides); err != nil {
			return err
		}
	}
	return nil
}

// Names lists the methods that a Service has, in the order of the table.
func Names() []string {
	var names []string
	for _, m := range (&Service{}).table() {
		names = append(names, m.Name)
	}
	return names
}

// Scopes gives the scopes that a method needs unless a server's configuration says
// otherwise; nil for a method that is not there.
func Scopes(method string) []string {
	for _, m := range (&Service{}).table() {
		if m.Name == method {
			return m.Scopes
		}
	}
	return nil
}

// Mux gives the dispatcher of the methods.
func (s *Service) Mux() *rpc.Mux { return s.mux }

// Ready tells whether the store works and the service takes calls.
func (s *Service) Ready(ctx context.Context) error {
	select {
	case <-s.draining:
		return fmt.Errorf("draining")
	default:
		return s.store.Check(ctx)
	}
}

// Agents gives the cards of all agents, those of this server first, each sorted
// by id.
func (s *Service) Agents() []arc.Agent {
	var cards []arc.Agent
	for _, id := range slices.Sorted(maps.Keys(s.agents)) {
		card, _ := s.Agent(id)
		cards = append(cards, card)
	}
	if s.cfg.Registry != nil {
		for _, a := range s.cfg.Registry.List(registry.Filter{}) {
			cards = append(cards, registeredCard(&a))
		}
	}
	return cards
}

// CountAgents tells how many cards [Service.Agents] gives, without making them.
func (s *Service) CountAgents() int {
	n := len(s.agents)
	if s.cfg.Registry != nil {
		n += s.cfg.Registry.Count()
	}
	return n
}

// Agent gives the card of one agent; ok is false if there is none.
func (s *Service) Agent(id string) (card arc.Agent, ok bool) {
	a, ok := s.agents[id]
	if !ok {
		return s.registered(id)
	}
	card = arc.Agent{
		ID: id, Name: a.Name, Description: a.Description, Version: a.Version,
		Capabilities: a.Capabilities, Status: arc.AgentActive,
	}
	if card.Capabilities == nil {
		card.Capabilities = []string{}
	}
	return card, true
}

// registered gives the card of an agent that registered itself.
func (s *Service) registered(id string) (card arc.Agent, ok bool) {
	if s.cfg.Registry == nil {
		return arc.Agent{}, false
	}
	a, ok := s.cfg.Registry.Agent(id)
	if !ok {
		return arc.Agent{}, false
	}
	return registeredCard(&a), true
}

func registeredCard(a *arc.AgentInfo) arc.Agent {
	card := arc.Agent{
		ID: a.AgentID, Name: a.Name, Description: a.ContextBrief, Version: a.Version,
		Capabilities: a.Capabilities, Status: arc.AgentActive,
	}
	if a.Status != arc.AgentAlive {
		card.Status = arc.AgentInactive
	}
	return card
}

// target gives the agent that the call names; -41001 if it is not known, -41002
// if it is but cannot be given work, -32602 if the call names none (the JSON-RPC
// envelope allows that).
func (s *Service) target(c *rpc.Call) (*agent, error) {
	if c.To == "" {
		return nil, arc.InvalidParam("targetAgent", "is required for "+c.Method)
	}
	if a, ok := s.agents[c.To]; ok {
		return a, nil
	}
	if card, ok := s.registered(c.To); ok {
		return nil, undeliverable(&card)
	}
	e := arc.Errorf(arc.CodeAgentNotFound, "there is no agent %q", c.To).
		With("agentId", c.To).With("requestedAgent", c.To).With("retryable", false)
	if s.cfg.ListAgents {
		e.With("availableAgents", slices.Sorted(maps.Keys(s.agents)))
	}
	return nil, e
}

// undeliverable says why an agent that registered itself gets no work: this
// version knows it, but has no way to hand it a task.
func undeliverable(card *arc.Agent) *arc.Error {
	if card.Status != arc.AgentActive {
		return arc.Errorf(arc.CodeAgentUnavailable, "the agent %q has sent no heartbeat for too long", card.ID).
			With("agentId", card.ID).With("reason", "agent_dead").With("retryable", true)
	}
	return arc.Errorf(arc.CodeAgentUnavailable,
		"the agent %q is registered, but this version of arcd delivers work to its own agents only", card.ID).
		With("agentId", card.ID).With("reason", "no_delivery").With("retryable", false)
}

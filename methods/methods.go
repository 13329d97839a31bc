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
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

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
	// Registry knows the agents that registered themselves, for their cards. Nil:
	// there are none.
	Registry *registry.Registry
	// Remote has those agents, and others outside this process, do the work. Nil:
	// there are none.
	Remote Remote
	// Marks is where the replicas that share the store note that they are there. Nil: this
	// process has the store to itself.
	Marks Marks
	// Presence knows the agents that dialled in to this process, and hears of those at
	// other replicas. Nil: there are none.
	Presence Presence
	// Webhooks sends what task.subscribe asks for. Nil: there are no subscriptions.
	Webhooks Webhooks
	// Scopes replaces the scopes that a method needs, by method name.
	Scopes map[string][]string
	// AgentScopes does so for calls to one agent of Remote, by agent id and then method
	// name; those of Agents say it themselves.
	AgentScopes map[string]map[string][]string
	// ListAgents names the known agents in the details of -41001.
	ListAgents bool

	// Lease is how long a claimed task stays with a process that no longer
	// reports. Default 15 s, at least 1 s.
	Lease time.Duration
	// MaxAttempts is how often a task is begun before it fails with
	// attempts_exhausted. Default 3.
	MaxAttempts int
	// Patience is how long a task waits for an agent that cannot be reached, or is not
	// there, before it fails with -41003. Default 15 min.
	Patience time.Duration
	// MaxHops is through how many agents work may be passed on within one trace.
	// Default 16.
	MaxHops int
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

	// Tracer makes a span of each stretch of work and of each delivery. Nil: there are
	// no spans, and traces are passed on as they come.
	Tracer trace.Tracer
	// Version is the server's version, for the OpenRPC document.
	Version string
	// Now is the clock. Default that of the store, which all replicas share.
	Now func() time.Time
	// Log gets what operators should know. The zero Logger is silent.
	Log zerolog.Logger
}

// Service owns the tasks and chats. Its methods are safe for concurrent use.
type Service struct {
	cfg    Config
	store  store.Store
	log    zerolog.Logger
	mux    *rpc.Mux
	agents map[string]*agent // of this server
	hub    *hub

	webhooks *mailroom

	remoteMu sync.Mutex        // guards remote
	remote   map[string]*agent // elsewhere, as far as somebody asked for them

	absentMu sync.Mutex           // guards absent
	absent   map[string]time.Time // since when agents with waiting tasks are away

	editing  queues
	made     made
	outage   time.Time    // when the store was last found away; of sweep alone
	said     atomic.Int64 // when that was last logged, Unix milliseconds
	replicas *replicas
	follows  follows

	background context.Context // of all runs; ended by stop
	stop       context.CancelCauseFunc
	draining   chan struct{} // closed by Drain
	drainOnce  sync.Once
	leftBehind atomic.Bool    // a drain has given up
	runs       sync.WaitGroup // turns and whatever else works for callers that left

	looks sync.WaitGroup // at queues

	mu          sync.Mutex // guards what follows
	running     map[string]*work
	errands     map[string][]*errand // of what runs, by agent and trace; in the order of their beginning
	closed      bool                 // no new runs
	dispatching context.Context      // of looks at queues; nil: there are none
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
		webhooks: newMailroom(),
		draining: make(chan struct{}),
		running:  make(map[string]*work),
		errands:  make(map[string][]*errand),
		remote:   make(map[string]*agent),
		replicas: newReplicas(),
	}
	s.background, s.stop = context.WithCancelCause(context.Background())
	agentScopes := map[string]map[string][]string{}
	maps.Copy(agentScopes, cfg.AgentScopes)
	for id, a := range cfg.Agents {
		if !arc.ValidAgentID(id) {
			return nil, fmt.Errorf("agent %q: the id %s", id, arc.AgentIDIssue)
		}
		if len(a.Scopes) > 0 {
			agentScopes[id] = a.Scopes
		}
		s.agents[id] = newAgent(id, a)
	}
	table := s.table()
	for i := range table {
		table[i].Handle = withOutage(table[i].Handle)
	}
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
	defaultTo(&cfg.Patience, 15*time.Minute)
	defaultTo(&cfg.MaxHops, 16)
	defaultTo(&cfg.Retention, 24*time.Hour)
	defaultTo(&cfg.KeyTTL, 24*time.Hour)
	defaultTo(&cfg.ChatIdle, 24*time.Hour)
	defaultTo(&cfg.TurnGrace, 2*time.Second)
	if cfg.Now == nil {
		cfg.Now = cfg.Store.Now
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
		{Name: "task.notification", Scopes: []string{auth.ScopeNotify, auth.ScopeServe}, Handle: rpc.Handle(s.NotifyTask), Summary: "Say what became of a task that the calling agent works on."},
		{Name: "task.list", Scopes: task, Handle: rpc.Handle(s.ListTasks), Summary: "List the caller's tasks (extension)."},
		{Name: "task.events", Scopes: task, Handle: rpc.Handle(s.TaskEvents), Summary: "Replay and follow a task's events (extension)."},
		{Name: "task.subscribe", Scopes: task, Handle: rpc.Handle(s.SubscribeTask), Summary: "Have a task's events sent to a URL."},
		{Name: "task.unsubscribe", Scopes: task, Handle: rpc.Handle(s.UnsubscribeTask), Summary: "End a subscription (extension)."},
		{Name: "task.subscriptions", Scopes: task, Handle: rpc.Handle(s.ListSubscriptions), Summary: "List the caller's subscriptions (extension)."},
		{Name: "task.deliveries", Scopes: task, Handle: rpc.Handle(s.ListDeliveries), Summary: "List the attempts to reach them (extension)."},
		{Name: "task.replay", Scopes: task, Handle: rpc.Handle(s.ReplayDelivery), Summary: "Send the event of an attempt again (extension)."},
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
	}
	if s.shared() && !s.replicas.met() {
		return fmt.Errorf("looking for the other replicas")
	}
	return s.store.Check(ctx)
}

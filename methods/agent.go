package methods

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/rpc"
)

// Agent is one agent behind the endpoint and how it may be used.
type Agent struct {
	// Runner does its work. Nil: nobody serves it here; tasks wait in the queue
	// and chats are refused with -41002.
	Runner Runner
	// Elsewhere says that the agent is not in this process: Runner carries the work
	// to it. A task is then SUBMITTED until the agent has it.
	Elsewhere bool

	Name         string
	Description  string
	Version      string
	Capabilities []string

	// Concurrency is the number of tasks that run at once. Default 16, of an agent
	// elsewhere 100: a task that it has in hand keeps its place.
	Concurrency int
	// Turns is the number of chat turns that run at once. Default 1,000.
	Turns int
	// Scopes replaces the scopes that a method needs when it is called for
	// this agent, by method name.
	Scopes map[string][]string
	// KeepTurns lets a chat turn run to its end when its caller's connection
	// is gone.
	KeepTurns bool
	// Room tells how many more tasks the agent would take right now, beside
	// Concurrency; negative: it cannot be reached from this process, and its tasks wait
	// in the queue. Nil: it always takes them. Whoever gives it calls [Service.Wake] when
	// there is room again.
	Room func() int
	// AtHand tells, of an agent elsewhere, whether it is connected to this process right
	// now and knows its tasks by our ids: then claiming a task gives it to the agent. Nil:
	// it is not.
	AtHand func() bool
	// Connected tells whether the agent is connected to another replica, one at least,
	// which then takes what waits for it in the queue. Nil: it is not.
	Connected func() bool
}

// Remote knows the agents outside this process, and how to reach them. Its methods
// are called often and must be quick.
type Remote interface {
	// Agent gives an agent by its id; false if there is none that is known. It may be
	// used for as long as the agent is known: its Runner finds out anew in each run how
	// the agent is reached.
	Agent(id string) (Agent, bool)
	// Others gives the cards of those that the registry does not have, by id.
	Others() []arc.Agent
}

// agent is an Agent in service.
type agent struct {
	Agent
	id    string
	turn  chan struct{} // one slot taken per running chat turn
	slots chan struct{} // one slot taken per running task

	mu      sync.Mutex // guards what follows
	looking bool       // somebody looks at its queue
	again   bool       // and has to look once more
	clear   bool       // all that was seen to wait there has been claimed
	later   bool       // the queue is looked at again in a moment
	share   share      // used by who looks

	left map[string]time.Time // used by who looks: tasks that are left to other replicas, and since when
}

func newAgent(id string, a Agent) *agent {
	if a.Concurrency <= 0 {
		a.Concurrency = 16
		if a.Elsewhere {
			a.Concurrency = 100
		}
	}
	if a.Turns <= 0 {
		a.Turns = 1000
	}
	return &agent{Agent: a, id: id, turn: make(chan struct{}, a.Turns), slots: make(chan struct{}, a.Concurrency)}
}

// room tells how many more tasks the agent takes now from this process; negative: it
// cannot be reached from here.
func (a *agent) room() int {
	free := cap(a.slots) - len(a.slots)
	if a.Room != nil {
		free = min(free, a.Room())
	}
	return free
}

// connected tells whether another replica has a connection of the agent.
func (a *agent) connected() bool { return a.Connected != nil && a.Connected() }

// away tells that the agent can be reached neither from here nor, as far as is known,
// from another replica.
func (a *agent) away() bool { return a.Room != nil && a.Room() < 0 && !a.connected() }

// onlyThere tells that another replica has to do what the agent is asked.
func (a *agent) onlyThere() bool { return a.Room != nil && a.Room() < 0 && a.connected() }

// atHand tells whether the agent is connected to this process.
func (a *agent) atHand() bool { return a.AtHand != nil && a.AtHand() }

// agent finds an agent by its id: one of this server's own, or one elsewhere.
func (s *Service) agent(id string) (*agent, bool) {
	if a, ok := s.agents[id]; ok {
		return a, true
	}
	if s.cfg.Remote == nil {
		return nil, false
	}
	known, ok := s.cfg.Remote.Agent(id)
	s.remoteMu.Lock()
	defer s.remoteMu.Unlock()
	if !ok {
		delete(s.remote, id) // what it has in hand keeps the old one
		return nil, false
	}
	a, ok := s.remote[id]
	if !ok {
		known.Elsewhere = true
		a = newAgent(id, known)
		s.remote[id] = a
	}
	return a, true
}

// forgetAgents forgets the agents elsewhere that are not known any more, or that
// nobody needs now.
func (s *Service) forgetAgents() {
	s.remoteMu.Lock()
	defer s.remoteMu.Unlock()
	for id, a := range s.remote {
		a.mu.Lock()
		idle := !a.looking && len(a.slots) == 0 && len(a.turn) == 0
		a.mu.Unlock()
		if idle {
			delete(s.remote, id)
		}
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
	if s.cfg.Remote != nil {
		cards = append(cards, s.cfg.Remote.Others()...)
	}
	if s.cfg.Registry != nil {
		for _, a := range s.cfg.Registry.List(registry.Filter{}) {
			cards = append(cards, registeredCard(&a))
		}
	}
	return cards
}

// CountAgents tells how many cards [Service.Agents] gives, without making those of
// the registry.
func (s *Service) CountAgents() int {
	n := len(s.agents)
	if s.cfg.Remote != nil {
		n += len(s.cfg.Remote.Others())
	}
	if s.cfg.Registry != nil {
		n += s.cfg.Registry.Count()
	}
	return n
}

// Agent gives the card of one agent; ok is false if there is none.
func (s *Service) Agent(id string) (card arc.Agent, ok bool) {
	a, ok := s.agents[id]
	if !ok {
		return s.agentElsewhere(id)
	}
	card = arc.Agent{
		ID: id, Name: a.Name, Description: a.Description, Version: a.Version,
		Capabilities: a.Capabilities, Status: arc.AgentActive,
	}
	if a.away() {
		card.Status = arc.AgentInactive
	}
	if card.Capabilities == nil {
		card.Capabilities = []string{}
	}
	return card, true
}

// agentElsewhere gives the card of an agent that registered itself or dialled in.
func (s *Service) agentElsewhere(id string) (card arc.Agent, ok bool) {
	if s.cfg.Registry != nil {
		if a, ok := s.cfg.Registry.Agent(id); ok {
			return registeredCard(&a), true
		}
	}
	if s.cfg.Remote != nil {
		for _, card := range s.cfg.Remote.Others() {
			if card.ID == id {
				return card, true
			}
		}
	}
	return arc.Agent{}, false
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

// target gives the agent that the call names; -41001 if it is not known, -32602
// if the call names none (the JSON-RPC envelope allows that).
func (s *Service) target(c *rpc.Call) (*agent, error) {
	if c.To == "" {
		return nil, arc.InvalidParam("targetAgent", "is required for "+c.Method)
	}
	if a, ok := s.agent(c.To); ok {
		return a, nil
	}
	e := arc.Errorf(arc.CodeAgentNotFound, "there is no agent %q", c.To).
		With("agentId", c.To).With("requestedAgent", c.To).With("retryable", false)
	if s.cfg.ListAgents {
		e.With("availableAgents", slices.Sorted(maps.Keys(s.agents)))
	}
	return nil, e
}

// knownTarget reports -41001 if the call names an agent that is not known. What a
// caller has with an agent stays theirs when that is known no more, so this is for
// calls that find nothing.
func (s *Service) knownTarget(c *rpc.Call) error {
	if c.To == "" {
		return nil
	}
	_, err := s.target(c)
	return err
}

// unavailable refuses a chat turn for want of somebody who could answer; nil if
// there is.
func (a *agent) unavailable() error {
	reason := ""
	switch {
	case a.Runner == nil:
		reason = "no_runner"
	case a.away():
		reason = "agent_away"
	default:
		return nil
	}
	return noAgent(a.id, reason)
}

func noAgent(id, reason string) error {
	return arc.Errorf(arc.CodeAgentUnavailable, "the agent is known, but nobody serves it now").
		With("agentId", id).With("reason", reason).With("retryable", true)
}

// namesAgent reports -44002 unless the principal's token names the agent: what only
// an agent may do is not for tokens that may speak as anybody. Without
// authentication there are no such tokens.
func namesAgent(p *auth.Principal, agent string) error {
	if slices.Contains(p.Agents, agent) || p.Agents == nil && p.Anonymous() {
		return nil
	}
	return arc.Errorf(arc.CodeUnauthorized, "the token does not name the agent %q, whose work this is", agent).
		With("reason", "agent_mismatch").With("retryable", false).With("requestAgent", agent)
}

// waiting tells what a task waits for if its agent is away or cannot be reached.
func (s *Service) waiting(th *thread) *arc.Waiting {
	switch {
	case !th.Ended.IsZero():
		return nil
	case th.rec.RetryAt != 0 && th.rec.Away != 0:
		since := time.UnixMilli(th.rec.Away)
		return &arc.Waiting{
			Reason: "agent_unreachable", Since: arc.At(since), Tries: th.rec.Tries,
			Next: arc.At(time.UnixMilli(th.rec.RetryAt)), Until: arc.At(since.Add(s.cfg.Patience)),
		}
	case !th.Ready:
		return nil
	}
	if a, ok := s.agent(th.Agent); ok && !a.away() {
		return nil
	}
	since := th.Updated
	if seen := s.absence(th.Agent); seen.After(since) {
		since = seen
	}
	return &arc.Waiting{Reason: "agent_away", Since: arc.At(since), Until: arc.At(since.Add(s.cfg.Patience))}
}

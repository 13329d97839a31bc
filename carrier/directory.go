package carrier

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
)

// HTTP gives an agent that is always called at one endpoint: one that the
// configuration of the server names. Its card and limits are the caller's to fill in.
func HTTP(id string, cfg HTTPConfig, log zerolog.Logger) methods.Agent {
	cfg.complete()
	line := newHTTPLine(cfg)
	return methods.Agent{Elsewhere: true, Runner: &conversation{
		id: id, poll: cfg.Poll, log: log,
		reach: func() (Line, bool, error) { return line, false, nil },
	}}
}

// Settings are how an agent may be used that is not in this process and has no fixed
// endpoint.
type Settings struct {
	// Agent has the limits and scopes, and the card of an agent that dials in. Its
	// Runner and Room are set by the directory.
	Agent methods.Agent
	// DialsIn says that the agent is known although it does not register itself: it
	// dials in, and is away until it does.
	DialsIn bool
}

// Config says what a [Directory] works with.
type Config struct {
	// Registry knows the agents that registered themselves. Nil: there are none.
	Registry *registry.Registry
	// Sockets knows the agents that dialled in. Nil: there are none.
	Sockets *Sockets
	// Agents are settings by id, for those that have any.
	Agents map[string]Settings
	// HTTP says how the endpoint of a registered agent is called. Nil: as the zero
	// HTTPConfig does.
	HTTP func(id, endpoint string) HTTPConfig
	// Poll is the first pause between two looks at a task; the longest one is thirty
	// times as long. Default 500 ms.
	Poll time.Duration
	// Log gets what operators should know. The zero Logger is silent.
	Log zerolog.Logger
}

// Directory knows the agents that registered themselves or dialled in, and how each
// is reached now: over a connection that it made, or else at its endpoint. It is a
// [methods.Remote], safe for concurrent use.
type Directory struct {
	cfg Config

	mu    sync.Mutex // guards lines
	lines map[string]endpointLine
}

// endpointLine is the line to a registered agent; another endpoint is another line.
type endpointLine struct {
	endpoint string
	line     *httpLine
}

// NewDirectory makes a directory.
func NewDirectory(cfg Config) *Directory {
	if cfg.Poll <= 0 {
		cfg.Poll = usualPoll
	}
	if cfg.HTTP == nil {
		cfg.HTTP = func(_, endpoint string) HTTPConfig { return HTTPConfig{Endpoint: endpoint} }
	}
	return &Directory{cfg: cfg, lines: make(map[string]endpointLine)}
}

// Agent gives an agent that is registered, or dialled in lately, or is expected to.
func (d *Directory) Agent(id string) (methods.Agent, bool) {
	set, named := d.cfg.Agents[id]
	a := set.Agent
	info, registered := d.registered(id)
	switch {
	case registered:
		a.Name, a.Description, a.Version, a.Capabilities = info.Name, info.ContextBrief, info.Version, info.Capabilities
	case named && set.DialsIn:
	case d.cfg.Sockets != nil && d.cfg.Sockets.Seen(id):
		a.Name = cmp.Or(a.Name, id)
	default:
		d.drop(id)
		return methods.Agent{}, false
	}
	a.Elsewhere = true
	a.Room = func() int { return d.room(id) }
	if sockets := d.cfg.Sockets; sockets != nil {
		a.AtHand = func() bool { return sockets.Room(id) >= 0 }
		a.Connected = func() bool { return sockets.Elsewhere(id) }
	}
	a.Runner = &conversation{
		id: id, poll: d.cfg.Poll, log: d.cfg.Log,
		reach: func() (Line, bool, error) { return d.reach(id) },
	}
	return a, true
}

// registered gives a registered agent.
func (d *Directory) registered(id string) (arc.AgentInfo, bool) {
	if d.cfg.Registry == nil {
		return arc.AgentInfo{}, false
	}
	return d.cfg.Registry.Agent(id)
}

// Others gives the cards of the agents that dialled in, or are expected to, and are
// not registered.
func (d *Directory) Others() []arc.Agent {
	cards := map[string]arc.Agent{}
	if d.cfg.Sockets != nil {
		for _, card := range d.cfg.Sockets.Cards() {
			if _, registered := d.registered(card.ID); !registered {
				cards[card.ID] = card
			}
		}
	}
	for id, set := range d.cfg.Agents {
		if _, registered := d.registered(id); registered || !set.DialsIn {
			continue
		}
		card := arc.Agent{
			ID: id, Name: cmp.Or(set.Agent.Name, id), Description: set.Agent.Description, Version: set.Agent.Version,
			Capabilities: set.Agent.Capabilities, Status: cmp.Or(cards[id].Status, arc.AgentInactive),
		}
		if card.Capabilities == nil {
			card.Capabilities = []string{}
		}
		cards[id] = card
	}
	others := make([]arc.Agent, 0, len(cards))
	for _, id := range slices.Sorted(maps.Keys(cards)) {
		others = append(others, cards[id])
	}
	return others
}

// endpoint gives where an agent is called that has no connection; "" if it is one
// that dials in. That it sends no heartbeats is no reason not to call it: many agents
// send none.
func (d *Directory) endpoint(id string) string {
	info, ok := d.registered(id)
	if !ok || info.CommunicationMode == "local" || d.cfg.Sockets != nil && d.cfg.Sockets.Seen(id) {
		return ""
	}
	return info.Endpoint
}

// room tells how many more tasks an agent takes.
func (d *Directory) room(id string) int {
	if d.cfg.Sockets != nil {
		if room := d.cfg.Sockets.Room(id); room >= 0 {
			return room
		}
	}
	if d.endpoint(id) == "" {
		return -1
	}
	return math.MaxInt
}

// reach gives the way to an agent as it is now.
func (d *Directory) reach(id string) (Line, bool, error) {
	if d.cfg.Sockets != nil {
		if line, ok := d.cfg.Sockets.Line(id); ok {
			return line, true, nil
		}
	}
	endpoint := d.endpoint(id)
	if endpoint == "" {
		return nil, false, errAway
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.lines[id]
	if known.endpoint != endpoint {
		cfg := d.cfg.HTTP(id, endpoint)
		cfg.Endpoint = endpoint
		known = endpointLine{endpoint, newHTTPLine(cfg)}
		d.lines[id] = known
	}
	return known.line, false, nil
}

// drop forgets the way to an agent that is not known any more.
func (d *Directory) drop(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.lines, id)
}

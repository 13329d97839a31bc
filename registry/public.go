package registry

import (
	"context"
	"crypto/rand"
	"strings"

	"github.com/arcd-io/arcd/arc"
)

// publicCard gives what anybody may see of a registration; false: nothing.
// Members that the published client insists on get a stand-in of a form that it
// takes (contract sections 4.1 and 7, W26).
func (r *Registry) publicCard(p arc.Registration) (arc.Registration, bool) {
	switch r.cfg.Public {
	case "off":
		return arc.Registration{}, false
	case "full":
		return p, true
	}
	p.Endpoint = r.cfg.PublicURL + "/arc"
	p.Owner = "withheld"
	p.Metadata = map[string]any{"visibility": "public"}
	p.Requirements, p.AIContext = nil, nil
	return p, true
}

// Hidden tells whether nobody may see anything without a token.
func (r *Registry) Hidden() bool { return r.cfg.Public == "off" }

// PublicAgent is GET /public/agent/{agent_id}: what anybody may see of a living
// agent.
//
// Errors: agent-not-found; agent-not-available for a dead one, with last_seen.
func (r *Registry) PublicAgent(id string) (arc.AgentInfo, error) {
	a, err := r.available(id)
	if err != nil {
		return a, err
	}
	r.agents.mu.RLock()
	defer r.agents.mu.RUnlock()
	there, err := r.agents.find(id)
	if err != nil {
		return a, err
	}
	if there.public == nil {
		return a, notRegistered(id)
	}
	return r.view(there, r.now(), false, true), nil
}

// available gives an agent that is alive.
func (r *Registry) available(id string) (arc.AgentInfo, error) {
	a, ok := r.Agent(id)
	switch {
	case !ok || r.cfg.Public == "off":
		return a, notRegistered(id)
	case a.Status != arc.AgentAlive:
		return a, arc.Refuse(arc.ProblemAgentNotAvailable, "agent_not_available", "The agent '%s' has sent no heartbeat for too long", id).
			With("agent_id", id).With("last_seen", a.LastSeen)
	}
	return a, nil
}

// Stats counts the agents that there are.
func (r *Registry) Stats() arc.RegistryStats {
	now := r.now()
	stats := arc.RegistryStats{Types: map[string]int{}}
	r.agents.mu.RLock()
	defer r.agents.mu.RUnlock()
	stats.Total = len(r.agents.byID)
	for _, a := range r.agents.byID {
		if a.status(now, r.cfg.HeartbeatTimeout) == arc.AgentAlive {
			stats.Alive++
		}
		stats.Types[a.Registration.AgentType]++
	}
	stats.Dead = stats.Total - stats.Alive
	return stats
}

// PublicStats is Stats for anybody: where nobody may see an agent, none is counted.
func (r *Registry) PublicStats() arc.RegistryStats {
	if r.Hidden() {
		return arc.RegistryStats{Types: map[string]int{}}
	}
	return r.Stats()
}

// AliveByType counts the living agents of each type.
func (r *Registry) AliveByType() map[string]int {
	now, alive := r.now(), map[string]int{}
	r.agents.mu.RLock()
	defer r.agents.mu.RUnlock()
	for _, a := range r.agents.byID {
		if a.status(now, r.cfg.HeartbeatTimeout) == arc.AgentAlive {
			alive[a.Registration.AgentType]++
		}
	}
	return alive
}

// Types lists the types that an agent may have, in lower case and sorted: those
// that are allowed, or if any is, those that there are and anybody may see.
func (r *Registry) Types() []string {
	types := []string{}
	for t := range r.types {
		types = append(types, t)
	}
	if len(r.types) == 0 {
		for t := range r.PublicStats().Types {
			types = append(types, strings.ToLower(t))
		}
	}
	return unique(types)
}

// KeyIDs gives short public names of the agent keys, never the keys.
func (r *Registry) KeyIDs() []string { return nonNil(r.cfg.Keys.IDs()) }

// Connect is what POST /public/connect/{agent_id} asks of the registry: the agent
// to be told, and what to tell it (contract section 1.4).
//
// Errors: validation-failed; agent-not-found; agent-not-available.
func (r *Registry) Connect(_ context.Context, id string, p arc.ConnectParams) (endpoint string, told map[string]any, reply *arc.ConnectReply, err error) {
	if issues := checkConnect(&p); len(issues) > 0 {
		return "", nil, nil, invalid(issues)
	}
	a, err := r.available(id)
	if err != nil {
		return "", nil, nil, err
	}
	shown, _ := r.publicCard(a.Registration)
	now := arc.At(r.now())
	told = map[string]any{ // the words of the published server, which agents know
		"user_id": p.UserID, "user_endpoint": p.UserEndpoint, "user_display_name": p.DisplayName,
		"connection_type": "external_app", "user_info": p.AdditionalInfo, "timestamp": now, "request_source": "arcp_public_api",
	}
	requirements := shown.Requirements
	if requirements == nil {
		requirements = arc.Requirements{}
	}
	reply = &arc.ConnectReply{
		Status: "connection_requested", Message: "The agent '" + a.Name + "' was told of the request",
		NextSteps: "The agent contacts you at the endpoint that you gave, if it accepts.",
		Agent:     arc.ConnectAgent{Name: shown.Name, AgentType: shown.AgentType, Capabilities: shown.Capabilities, Requirements: requirements},
		RequestID: "conn_" + rand.Text(), Timestamp: now,
	}
	return a.Endpoint, told, reply, nil
}

// Notify is what POST /agents/{agent_id}/connection/notify asks of the registry:
// where the agent is that is to be told. Only an agent itself may say that it is
// there, and administrators.
//
// Errors: validation-failed; insufficient-permissions; agent-not-found.
func (r *Registry) Notify(c *Caller, id string, p arc.NotifyParams) (endpoint string, err error) {
	if issues := checkNotify(&p); len(issues) > 0 {
		return "", invalid(issues)
	}
	if err := own(c, p.AgentID); err != nil {
		return "", err
	}
	a, ok := r.Agent(id)
	if !ok {
		return "", notRegistered(id)
	}
	return a.Endpoint, nil
}

// checkNotify checks what an agent says of itself to another.
func checkNotify(p *arc.NotifyParams) []arc.FieldIssue {
	c := arc.ConnectParams{UserID: p.AgentID, UserEndpoint: p.AgentEndpoint, AdditionalInfo: p.AgentInfo}
	names := map[string]string{"user_id": "agent_id", "user_endpoint": "agent_endpoint", "additional_info": "agent_info"}
	issues := checkConnect(&c)
	for i := range issues {
		if name, ok := names[issues[i].Field]; ok {
			issues[i].Field = name
		}
	}
	return issues
}

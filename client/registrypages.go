package client

import (
	"context"
	"encoding/json"

	"github.com/arcd-io/arcd/arc"
)

// Health is what a server says of itself without being asked much.
type Health struct {
	Status  string `json:"status"` // "ok"
	Server  string `json:"server"`
	Agents  int    `json:"agents"` // that can be a targetAgent
	Version string `json:"version"`
}

// GetHealth asks whether the server is there (GET /health). No token is sent.
func (c *Client) GetHealth(ctx context.Context) (*Health, error) {
	return answered[Health](ctx, c, get("/health").anybody())
}

// CheckReady asks whether the server takes calls (GET /readyz): nil if it does,
// else an error that is [arc.ErrUnavailable]. No token is sent, and nothing is
// tried again.
func (c *Client) CheckReady(ctx context.Context) error {
	p := get("/readyz").anybody()
	p.repeat = false
	_, err := c.page(ctx, p, nil)
	return err
}

// Endpoints are the addresses that a card names.
type Endpoints struct {
	ARC string `json:"arc"`
}

// ServerInfo is the card of a server.
type ServerInfo struct {
	Server      string    `json:"server"`
	Description string    `json:"description"`
	Status      string    `json:"status"` // "active" or "draining"
	Version     string    `json:"version"`
	Endpoints   Endpoints `json:"endpoints"`
	// Agents are those that can be a targetAgent, by id. Nil without a token.
	Agents map[string]ListedAgent `json:"registeredAgents"`
	Total  int                    `json:"totalAgents"` // of Agents
}

// ListedAgent is an agent in the card of its server.
type ListedAgent struct {
	Methods []string        `json:"supportedMethods"`
	Status  arc.AgentStatus `json:"status"`
}

// GetServerInfo gives the card of the server (GET /agent-info).
func (c *Client) GetServerInfo(ctx context.Context) (*ServerInfo, error) {
	return answered[ServerInfo](ctx, c, get("/agent-info"))
}

// AgentCard is the card of an agent that can be a targetAgent.
type AgentCard struct {
	arc.Agent
	Endpoints Endpoints `json:"endpoints"`
	Methods   []string  `json:"supportedMethods"`
}

// GetAgentCard gives the card of an agent (GET /agent-info/{id}).
func (c *Client) GetAgentCard(ctx context.Context, id string) (*AgentCard, error) {
	segment, err := pathID("agent_id", id)
	if err != nil {
		return nil, err
	}
	return answered[AgentCard](ctx, c, get("/agent-info/"+segment))
}

// GetOpenRPC gives the OpenRPC document of the server's methods (rpc.discover, an
// extension of arcd). to is any agent of the server; with JSON-RPC it may be "".
func (c *Client) GetOpenRPC(ctx context.Context, to string) (json.RawMessage, error) {
	var document json.RawMessage
	if err := c.Call(ctx, "rpc.discover", to, nil, &document); err != nil {
		return nil, err
	}
	return document, nil
}

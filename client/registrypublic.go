package client

import (
	"context"
	"iter"
	"strconv"

	"github.com/arcd-io/arcd/arc"
)

// The pages of the registry that need no token: none is sent.

// DiscoverAgents gives the public cards of the living agents one by one, page by
// page as they are read (GET /public/discover). Agents that come or go meanwhile
// may be missing or there twice. f.Status, f.Metrics and f.After take no part.
func (c *Client) DiscoverAgents(ctx context.Context, f AgentFilter) iter.Seq2[arc.AgentInfo, error] {
	limit := min(f.Limit, usualPage) // the server gives no more
	if limit <= 0 {
		limit = usualPage
	}
	return paged("0", func(at string) ([]arc.AgentInfo, string, error) {
		p := get("/public/discover").anybody().with("agent_type", f.Type, "limit", number(limit), "offset", at)
		p.query["capabilities"] = f.Capabilities
		var list []arc.AgentInfo
		if _, err := c.page(ctx, p, &list); err != nil || len(list) < limit {
			return list, "", err
		}
		offset, err := strconv.Atoi(at)
		return list, strconv.Itoa(offset + len(list)), err
	})
}

// SearchPublicAgents finds living agents by words, without a token (POST
// /public/search), the best first.
func (c *Client) SearchPublicAgents(ctx context.Context, p arc.SearchParams) ([]arc.SearchHit, error) {
	hits, err := answered[[]arc.SearchHit](ctx, c, query("/public/search", p).anybody())
	if err != nil {
		return nil, err
	}
	return *hits, nil
}

// GetPublicAgent gives the public card of a living agent (GET
// /public/agent/{id}).
func (c *Client) GetPublicAgent(ctx context.Context, id string) (*arc.AgentInfo, error) {
	segment, err := pathID("agent_id", id)
	if err != nil {
		return nil, err
	}
	return answered[arc.AgentInfo](ctx, c, get("/public/agent/"+segment).anybody())
}

// ConnectAgent asks an agent to get in touch (POST /public/connect/{id}).
func (c *Client) ConnectAgent(ctx context.Context, id string, p arc.ConnectParams) (*arc.ConnectReply, error) {
	segment, err := pathID("agent_id", id)
	if err != nil {
		return nil, err
	}
	return answered[arc.ConnectReply](ctx, c, post("/public/connect/"+segment, p).anybody())
}

// PublicStats counts the living agents, for everybody.
type PublicStats struct {
	Alive     int             `json:"alive_agents"`
	Total     int             `json:"total_agents"`
	Types     int             `json:"agent_types"`   // how many types there may be
	Status    string          `json:"system_status"` // "operational"
	Updated   arc.Time        `json:"last_updated"`
	Features  map[string]bool `json:"features"`
	Available []string        `json:"available_types"`
}

// GetPublicStats counts the living agents (GET /public/stats).
func (c *Client) GetPublicStats(ctx context.Context) (*PublicStats, error) {
	return answered[PublicStats](ctx, c, get("/public/stats").anybody())
}

// PublicInfo says what the public pages of a registry are and allow.
type PublicInfo struct {
	Service       string            `json:"service"`
	Version       string            `json:"version"`
	API           map[string]string `json:"public_api"` // addresses by name
	Capabilities  map[string]bool   `json:"capabilities"`
	Limits        map[string]int    `json:"limits"`
	Documentation string            `json:"documentation"`
	Support       string            `json:"support"`
}

// GetPublicInfo gives what the public pages are and allow (GET /public/info).
func (c *Client) GetPublicInfo(ctx context.Context) (*PublicInfo, error) {
	return answered[PublicInfo](ctx, c, get("/public/info").anybody())
}

// ListAgentTypes gives the types that agents may register as (GET
// /public/agent_types). Empty: any.
func (c *Client) ListAgentTypes(ctx context.Context) ([]string, error) {
	types, err := answered[struct {
		Allowed []string `json:"allowed_agent_types"`
	}](ctx, c, get("/public/agent_types").anybody())
	if err != nil {
		return nil, err
	}
	return types.Allowed, nil
}

package cli

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// agentList is "arcd agent list".
type agentList struct {
	Registered bool       `help:"Only agents of the registry, with what it knows of them. So do --type, --status and --capability."`
	Type       string     `placeholder:"TYPE" help:"Only agents of this type."`
	Status     string     `enum:",alive,dead" placeholder:"alive|dead" default:"" help:"Only agents that are alive, or dead."`
	Capability []string   `placeholder:"WORD" help:"Only agents with one of these capabilities."`
	Limit      int        `default:"20" help:"How many at most; 0 is all."`
	Cursor     identifier `placeholder:"CURSOR" help:"Go on where the last page ended: meta.pagination.next_cursor."`
}

// mostAgents is the largest page that a registry gives.
const mostAgents = 1000

func (*agentList) row() row {
	return row{
		danger: safe, auth: true, data: agentItems{},
		long:     "Without filters these are all agents that can be given tasks, registered or not.",
		examples: []string{"arcd agent list", "arcd agent list --status alive --capability forecast", "arcd agent list --limit 2 --cursor echo"},
	}
}

func (l *agentList) check(p *problems) {
	if l.Limit < 0 || l.Limit > mostAgents {
		p.add("--limit", "must be 0 (all) to %d", mostAgents)
	}
}

func (l *agentList) run(ctx context.Context, c *console) (any, error) {
	server, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	if !l.filtered() {
		return l.callable(ctx, c, server)
	}
	list, err := server.ListAgents(ctx, client.AgentFilter{
		Type: l.Type, Status: l.Status, Capabilities: l.Capability, Limit: l.Limit, After: string(l.Cursor),
	})
	if errors.Is(err, arc.ErrNotFound) {
		return nil, outcome.Errorf(outcome.NotSupported, "%s has no agent registry, which these filters need.", c.link.server).Because(err).
			Suggest("arcd agent list, without filters, lists the agents of the server.")
	}
	if err != nil {
		return nil, err
	}
	data := agentItems{Items: []agentItem{}}
	for i := range list.Agents {
		data.Items = append(data.Items, registeredItem(&list.Agents[i], false))
	}
	c.page(len(data.Items), nil, list.Next)
	return data, nil
}

func (l *agentList) filtered() bool {
	return l.Registered || l.Type != "" || l.Status != "" || len(l.Capability) > 0
}

// callable lists the agents in the card of the server. The card has them all; the
// pages are made here.
func (l *agentList) callable(ctx context.Context, c *console, server *client.Client) (any, error) {
	info, err := server.GetServerInfo(ctx)
	if err != nil {
		return nil, err
	}
	ids := sortedNames(info.Agents)
	total := len(ids)
	ids = slices.DeleteFunc(ids, func(id string) bool { return l.Cursor != "" && id <= string(l.Cursor) })
	next := ""
	if l.Limit > 0 && len(ids) > l.Limit {
		ids = ids[:l.Limit]
		next = ids[len(ids)-1]
	}
	data := agentItems{Items: []agentItem{}}
	for _, id := range ids {
		known := info.Agents[id]
		data.Items = append(data.Items, agentItem{AgentID: wireID(id), Status: wireWord(string(known.Status)), Methods: wireMethods(known.Methods)})
	}
	c.page(len(ids), &total, next)
	return data, nil
}

// agentSearch is "arcd agent search".
type agentSearch struct {
	Words         []string `arg:"" help:"What to look for."`
	Capability    []string `placeholder:"WORD" help:"Only agents with all of these capabilities."`
	Type          string   `placeholder:"TYPE" help:"Only agents of this type."`
	MinSimilarity float64  `name:"min-similarity" placeholder:"SHARE" default:"0.5" help:"The share of the words that an agent must have, 0 to 1."`
	Limit         int      `default:"10" help:"How many at most, 1 to 100."`
}

func (*agentSearch) row() row {
	return row{
		danger: safe, auth: true, data: agentItems{},
		long:     "The registry is searched; the best agent comes first, with its similarity.",
		examples: []string{"arcd agent search storm forecast", "arcd agent search forecast --min-similarity 1 --limit 3"},
	}
}

func (s *agentSearch) check(p *problems) {
	if s.Limit < 1 || s.Limit > 100 {
		p.add("--limit", "must be 1 to 100")
	}
	if !(s.MinSimilarity >= 0 && s.MinSimilarity <= 1) {
		p.add("--min-similarity", "must be 0 to 1")
	}
	if n := len(s.query()); n < 2 || n > 1000 {
		p.add("<words>", "must be 2 to 1000 bytes together")
	}
}

func (s *agentSearch) query() string { return strings.Join(s.Words, " ") }

func (s *agentSearch) run(ctx context.Context, c *console) (any, error) {
	server, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	hits, err := server.SearchAgents(ctx, arc.SearchParams{
		Query: s.query(), TopK: &s.Limit, MinSimilarity: &s.MinSimilarity, Capabilities: s.Capability, AgentType: s.Type,
	})
	if errors.Is(err, arc.ErrNotFound) {
		return nil, outcome.Errorf(outcome.NotSupported, "%s has no agent registry to search.", c.link.server).Because(err).
			Suggest("arcd agent list lists the agents of the server.")
	}
	if err != nil {
		return nil, err
	}
	data := agentItems{Items: []agentItem{}}
	for i := range hits {
		data.Items = append(data.Items, foundItem(&hits[i]))
	}
	c.listed(len(data.Items))
	return data, nil
}

// foundItem is an agent that a search found. The registry finds only living ones.
func foundItem(h *arc.SearchHit) agentItem {
	yes := true
	return agentItem{
		AgentID: wireID(h.ID), Status: arc.AgentAlive, Registered: &yes, Methods: []string{}, Similarity: &h.Similarity,
		About: &agentAbout{
			mark: external, Name: optional(h.Name), Version: optional(h.Version), Owner: optional(h.Owner), Endpoint: optional(h.URL),
			Capabilities: append([]string{}, h.Capabilities...), Metadata: map[string]any{},
		},
	}
}

package cli

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// agentCommand groups the commands about agents.
type agentCommand struct {
	List       agentList       `cmd:"" aliases:"ls" help:"List the agents of the server."`
	Get        agentGet        `cmd:"" aliases:"info,show" help:"Show what is known of an agent."`
	Search     agentSearch     `cmd:"" help:"Find living agents by words."`
	Card       agentCard       `cmd:"" help:"Show an agent's card: what it can be asked."`
	Register   agentRegister   `cmd:"" help:"Register an agent with its agent key, and get its token."`
	Heartbeat  agentHeartbeat  `cmd:"" help:"Say that a registered agent is alive."`
	Run        agentRun        `cmd:"" help:"Dial in as an agent and have a program do its work."`
	Unregister agentUnregister `cmd:"" aliases:"rm,delete" help:"End an agent's registration, and with it its tokens."`
}

// agentItem is an agent in results. What the agent says of itself is apart.
type agentItem struct {
	AgentID      *string `json:"agent_id"`      // null: one that no command of arcd takes
	Status       string  `json:"status"`        // active, alive, dead, …
	Registered   *bool   `json:"registered"`    // it stands in the registry; null: unknown
	LastSeen     *string `json:"last_seen"`     // null: unknown
	RegisteredAt *string `json:"registered_at"` // null: unknown
	// Methods are those of the protocol that it takes; empty: unknown.
	Methods    []string    `json:"methods"`
	Similarity *float64    `json:"similarity"` // 0 to 1, of a search
	About      *agentAbout `json:"about"`      // null: it says nothing
}

// agentAbout is what an agent, or who registered it, says of it.
type agentAbout struct {
	mark
	Name         *string         `json:"name"`
	Description  *string         `json:"description"`
	Type         *string         `json:"agent_type"`
	Version      *string         `json:"version"`
	Owner        *string         `json:"owner"`
	Endpoint     *string         `json:"endpoint"`
	Capabilities []string        `json:"capabilities"`
	Metadata     map[string]any  `json:"metadata"`
	Metrics      json.RawMessage `json:"metrics"` // null: unknown
}

// registeredItem is an agent of the registry. whole tells that metadata and metrics
// are wanted.
func registeredItem(a *arc.AgentInfo, whole bool) agentItem {
	yes := true
	item := agentItem{
		AgentID: wireID(a.AgentID), Status: wireWord(a.Status), Registered: &yes, LastSeen: wireTime(a.LastSeen), RegisteredAt: wireTime(a.RegisteredAt),
		Methods: []string{}, Similarity: a.Similarity,
		About: &agentAbout{
			mark: external, Name: optional(a.Name), Description: optional(a.ContextBrief), Type: optional(a.AgentType), Version: optional(a.Version),
			Owner: optional(a.Owner), Endpoint: optional(a.Endpoint), Capabilities: append([]string{}, a.Capabilities...), Metadata: map[string]any{},
		},
	}
	if whole {
		if a.Metadata != nil {
			item.About.Metadata = a.Metadata
		}
		if a.Metrics != nil {
			item.About.Metrics, _ = encode(a.Metrics)
		}
	}
	return item
}

// cardItem is an agent by its card.
func cardItem(a *client.AgentCard) agentItem {
	return agentItem{
		AgentID: wireID(a.ID), Status: wireWord(string(a.Status)), Methods: wireMethods(a.Methods),
		About: &agentAbout{
			mark: external, Name: optional(a.Name), Description: optional(a.Description), Version: optional(a.Version),
			Capabilities: append([]string{}, a.Capabilities...), Metadata: map[string]any{},
		},
	}
}

func (a agentItem) show(p *page) {
	p.field("agent", textOr(a.AgentID, "(an id that arcd cannot take)"))
	p.field("status", a.Status)
	if a.Registered != nil && *a.Registered {
		p.field("registered", textOr(a.RegisteredAt, "yes"))
	}
	p.field("last seen", value(a.LastSeen))
	if len(a.Methods) > 0 {
		p.hang(p.paint(dim, pad("methods:", 12)), strings.Join(a.Methods, ", "))
	}
	if a.About != nil {
		p.quote("the agent says", a.About.text())
	}
}

// text is what people see of it.
func (a *agentAbout) text() string {
	var lines []string
	for _, line := range [][2]string{
		{"name", value(a.Name)}, {"type", value(a.Type)}, {"version", value(a.Version)}, {"owner", value(a.Owner)},
		{"endpoint", value(a.Endpoint)}, {"capabilities", strings.Join(a.Capabilities, ", ")}, {"", value(a.Description)},
	} {
		if line[1] != "" {
			lines = append(lines, strings.TrimPrefix(line[0]+": "+line[1], ": "))
		}
	}
	return strings.Join(lines, "\n")
}

// textOr gives a text, or another where there is none.
func textOr(text *string, other string) string {
	if text == nil {
		return other
	}
	return *text
}

func (a agentItem) plain() []string { return []string{value(a.AgentID)} }

// agentItems is the result of "agent list" and "agent search".
type agentItems struct {
	Items []agentItem `json:"items"`
}

func (l agentItems) show(p *page) {
	if len(l.Items) == 0 {
		p.line("no agents")
		return
	}
	var rows [][]string
	for _, a := range l.Items {
		about := a.About
		if about == nil {
			about = &agentAbout{}
		}
		rows = append(rows, []string{textOr(a.AgentID, "?"), a.Status, value(a.LastSeen), value(about.Type), strings.Join(about.Capabilities, ", ")})
	}
	p.table(filled([]string{"AGENT", "STATUS", "LAST SEEN", "TYPE", "CAPABILITIES"}, rows))
}

// filled drops the columns of a table in which nothing stands.
func filled(head []string, rows [][]string) ([]string, [][]string) {
	for i := len(head) - 1; i > 0; i-- {
		if slices.ContainsFunc(rows, func(row []string) bool { return row[i] != "" }) {
			continue
		}
		head = slices.Delete(slices.Clone(head), i, i+1)
		for n := range rows {
			rows[n] = slices.Delete(rows[n], i, i+1)
		}
	}
	return head, rows
}

func (l agentItems) plain() []string {
	var ids []string
	for _, a := range l.Items {
		ids = append(ids, a.plain()...)
	}
	return ids
}

// agentGet is "arcd agent get".
type agentGet struct {
	ID identifier `arg:"" help:"The agent."`
}

// agentData is the result of "agent get" and "agent card".
type agentData struct {
	Agent agentItem `json:"agent"`
}

func (d agentData) show(p *page) { d.Agent.show(p) }

func (d agentData) plain() []string { return d.Agent.plain() }

func (*agentGet) row() row {
	return row{
		danger: safe, auth: true, data: agentData{},
		long:     "A registered agent is shown as the registry has it, another by its card.",
		examples: []string{"arcd agent get echo", "arcd agent get weather-1"},
	}
}

// run asks the registry first. A server without one, and an agent that is not
// registered, answer alike; then the card is asked for.
func (g *agentGet) run(ctx context.Context, c *console) (any, error) {
	server, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	info, err := server.GetAgent(ctx, string(g.ID))
	if err == nil {
		return agentData{registeredItem(info, true)}, nil
	}
	if !errors.Is(err, arc.ErrNotFound) {
		return nil, err
	}
	return c.card(ctx, server, string(g.ID))
}

// agentCard is "arcd agent card".
type agentCard struct {
	ID identifier `arg:"" help:"The agent."`
}

func (*agentCard) row() row {
	return row{danger: safe, auth: true, data: agentData{}, examples: []string{"arcd agent card echo"}}
}

func (a *agentCard) run(ctx context.Context, c *console) (any, error) {
	server, err := c.client(ctx, "")
	if err != nil {
		return nil, err
	}
	return c.card(ctx, server, string(a.ID))
}

// card gets the card of an agent.
func (c *console) card(ctx context.Context, server *client.Client, id string) (any, error) {
	card, err := server.GetAgentCard(ctx, id)
	if errors.Is(err, arc.ErrNotFound) {
		return nil, outcome.Errorf(outcome.AgentNotFound, "%s has no agent %s.", c.link.server, id).Because(err)
	}
	if err != nil {
		return nil, err
	}
	return agentData{cardItem(card)}, nil
}

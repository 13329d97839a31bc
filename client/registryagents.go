package client

import (
	"context"
	"errors"
	"iter"
	"net/http"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// AgentFilter says which registered agents are asked for. Zero values: all.
type AgentFilter struct {
	Type         string   // agent_type, exactly
	Status       string   // [arc.AgentAlive] or [arc.AgentDead]
	Capabilities []string // any of these ([Client.DiscoverAgents]: all of these)
	Metrics      bool     // with what is known of their work; it needs more time
	// Limit is the size of a page, 1 to 1,000. 0: ListAgents gives all at once,
	// iterators take pages of 100.
	Limit int
	// After is where a page begins, as AgentPage.Next says; "": at the first.
	After string
}

// AgentPage is a page of registered agents, sorted by their ids.
type AgentPage struct {
	Agents []arc.AgentInfo
	// Next is the After of the page behind it; "": this is the last one.
	Next string
}

// usualPage is the size of the pages that iterators take.
const usualPage = 100

// errStuck is a list whose pages do not end.
var errStuck = errors.New("the next page begins where an earlier one did")

// ListAgents gives a page of the registered agents (GET /agents). It needs any
// good token of the server.
func (c *Client) ListAgents(ctx context.Context, f AgentFilter) (*AgentPage, error) {
	p := get("/agents").with("agent_type", f.Type, "status", f.Status, "limit", number(f.Limit), "after", f.After)
	if f.Metrics {
		p.query.Set("include_metrics", "true")
	}
	p.query["capabilities"] = f.Capabilities
	list := &AgentPage{}
	header, err := c.page(ctx, p, &list.Agents)
	if err != nil {
		return nil, err
	}
	if n := len(list.Agents); n > 0 && hasNext(header) {
		list.Next = list.Agents[n-1].AgentID
	}
	return list, nil
}

// Agents gives the registered agents one by one, page by page as they are read. An
// error ends the iteration.
func (c *Client) Agents(ctx context.Context, f AgentFilter) iter.Seq2[arc.AgentInfo, error] {
	if f.Limit == 0 {
		f.Limit = usualPage
	}
	return paged(f.After, func(after string) ([]arc.AgentInfo, string, error) {
		at := f
		at.After = after
		list, err := c.ListAgents(ctx, at)
		if err != nil {
			return nil, "", err
		}
		return list.Agents, list.Next, nil
	})
}

// paged makes one iteration of pages: read gives the items of the page at a cursor
// and the next cursor, "" at the end.
func paged[T any](at string, read func(at string) ([]T, string, error)) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		mark := at // of every page whose number is a power of two: a circle meets one of them
		for n, at := 1, at; ; n++ {
			if n&(n-1) == 0 {
				mark = at
			}
			items, next, err := read(at)
			if err == nil && next != "" && next == mark {
				err = errStuck
			}
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range items {
				if !yield(item, nil) {
					return
				}
			}
			if next == "" {
				return
			}
			at = next
		}
	}
}

// GetAgent gives a registered agent with its metrics (GET /agents/{id}).
func (c *Client) GetAgent(ctx context.Context, id string) (*arc.AgentInfo, error) {
	return agentCall[arc.AgentInfo](ctx, c, id, http.MethodGet, "", nil)
}

// UnregisterAgent ends a registration (DELETE /agents/{id}), and with it the
// agent's tokens. It needs the agent's token, or an administrator's.
func (c *Client) UnregisterAgent(ctx context.Context, id string) (*arc.Unregistered, error) {
	return agentCall[arc.Unregistered](ctx, c, id, http.MethodDelete, "", nil)
}

// Beat says that an agent is alive (POST /agents/{id}/heartbeat). It needs the
// agent's token.
func (c *Client) Beat(ctx context.Context, id string) (*arc.Heartbeat, error) {
	segment, err := pathID("agent_id", id)
	if err != nil {
		return nil, err
	}
	return answered[arc.Heartbeat](ctx, c, query("/agents/"+segment+"/heartbeat", nil))
}

// GetAgentMetrics gives what is known of an agent's work (GET
// /agents/{id}/metrics). It needs the agent's token, or an administrator's.
func (c *Client) GetAgentMetrics(ctx context.Context, id string) (*arc.AgentMetrics, error) {
	return agentCall[arc.AgentMetrics](ctx, c, id, http.MethodGet, "/metrics", nil)
}

// UpdateAgentMetrics lets an agent say how its work goes (POST
// /agents/{id}/metrics): any of success_rate, error_rate, avg_response_time,
// average_response_time, total_requests and requests_processed, see
// [arc.AgentMetrics].
func (c *Client) UpdateAgentMetrics(ctx context.Context, id string, said map[string]any) (*arc.MetricsUpdated, error) {
	return agentCall[arc.MetricsUpdated](ctx, c, id, http.MethodPost, "/metrics", said)
}

// ReportAgentMetrics counts one answer of an agent, how long it took and whether
// it went well (POST /agents/report-metrics/{id}).
func (c *Client) ReportAgentMetrics(ctx context.Context, id string, took time.Duration, success bool) (*arc.MetricsReported, error) {
	segment, err := pathID("agent_id", id)
	if err != nil {
		return nil, err
	}
	p := post("/agents/report-metrics/"+segment, nil).with(
		"response_time", strconv.FormatFloat(took.Seconds(), 'f', -1, 64), "success", strconv.FormatBool(success))
	return answered[arc.MetricsReported](ctx, c, p)
}

// Notified is the answer to [Client.NotifyAgent].
type Notified struct {
	Status   string `json:"status"` // "notified"
	Message  string `json:"message"`
	Endpoint string `json:"agent_endpoint"` // that was told
	NextStep string `json:"next_step"`
}

// NotifyAgent lets one agent tell another, named by id, that it is there (POST
// /agents/{id}/connection/notify).
func (c *Client) NotifyAgent(ctx context.Context, id string, p arc.NotifyParams) (*Notified, error) {
	return agentCall[Notified](ctx, c, id, http.MethodPost, "/connection/notify", p)
}

// SearchAgents finds living agents by words (POST /agents/search), the best first.
func (c *Client) SearchAgents(ctx context.Context, p arc.SearchParams) ([]arc.SearchHit, error) {
	hits, err := answered[[]arc.SearchHit](ctx, c, query("/agents/search", p))
	if err != nil {
		return nil, err
	}
	return *hits, nil
}

// GetAgentStats counts the registered agents (GET /agents/stats). It needs an
// administrator's token.
func (c *Client) GetAgentStats(ctx context.Context) (*arc.RegistryStats, error) {
	stats, err := answered[struct {
		Registry arc.RegistryStats `json:"registry_statistics"`
	}](ctx, c, get("/agents/stats"))
	if err != nil {
		return nil, err
	}
	return &stats.Registry, nil
}

// agentCall makes a request below one agent.
func agentCall[R any](ctx context.Context, c *Client, id, method, below string, body any) (*R, error) {
	segment, err := pathID("agent_id", id)
	if err != nil {
		return nil, err
	}
	return answered[R](ctx, c, page{
		method: method, path: "/agents/" + segment + below, body: body, repeat: method == http.MethodGet,
	})
}

// answered makes a request and decodes its answer.
func answered[R any](ctx context.Context, c *Client, p page) (*R, error) {
	result := new(R)
	if _, err := c.page(ctx, p, result); err != nil {
		return nil, err
	}
	return result, nil
}

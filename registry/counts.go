package registry

import (
	"encoding/json"
	"math"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// counts is what is known of an agent's work. The reputation is made by the
// server alone (contract section 7, W18).
type counts struct {
	SuccessRate         float64   `json:"success_rate,omitempty"`
	AvgResponseTime     float64   `json:"avg_response_time,omitempty"` // seconds
	TotalRequests       int64     `json:"total_requests,omitempty"`
	RequestsProcessed   int64     `json:"requests_processed,omitempty"`
	AverageResponseTime float64   `json:"average_response_time,omitempty"` // seconds
	ErrorRate           float64   `json:"error_rate,omitempty"`
	LastActive          time.Time `json:"last_active,omitzero"`
}

// encode gives the stored form; nil if nothing is known.
func (n *counts) encode() []byte {
	if *n == (counts{}) {
		return nil
	}
	b, _ := json.Marshal(n) // finite numbers: cannot fail
	return b
}

// view shows the counts of an agent.
func (n *counts) view(id string, seen time.Time) *arc.AgentMetrics {
	v := &arc.AgentMetrics{
		AgentID: id, SuccessRate: n.SuccessRate, AvgResponseTime: n.AvgResponseTime, TotalRequests: n.TotalRequests,
		RequestsProcessed: n.RequestsProcessed, AverageResponseTime: n.AverageResponseTime, ErrorRate: n.ErrorRate,
		ReputationScore: n.reputation(),
	}
	at := n.LastActive
	if at.IsZero() {
		at = seen
	}
	last := arc.At(at)
	v.LastActive = &last
	return v
}

// reputation follows the published server (contract section 4.3): seven tenths
// for success, three for speed. It is 0 for an agent of which nothing is known.
func (n *counts) reputation() float64 {
	if n.TotalRequests == 0 && n.SuccessRate == 0 {
		return 0
	}
	score := 0.7*n.SuccessRate + 0.3*math.Min(1, 1/math.Max(0.1, n.AvgResponseTime))
	return math.Round(score*1e6) / 1e6
}

// count adds one answer of the agent: a running mean of success, a moving one of
// time.
func (n *counts) count(took float64, success bool, now time.Time) {
	hit := 0.0
	if success {
		hit = 1
	}
	n.SuccessRate = (n.SuccessRate*float64(n.TotalRequests) + hit) / float64(n.TotalRequests+1)
	if n.TotalRequests == 0 {
		n.AvgResponseTime = took
	} else {
		n.AvgResponseTime = 0.9*n.AvgResponseTime + 0.1*took
	}
	n.TotalRequests++
	n.LastActive = now
}

// UpdateMetrics is POST /agents/{agent_id}/metrics: the members of AgentMetrics
// that an agent may say of itself are kept, all others are ignored. A wrapper
// member "metrics" is looked into, as ARCP's documents show it.
//
// Errors: insufficient-permissions for another's agent; agent-not-found;
// validation-failed.
func (r *Registry) UpdateMetrics(c *Caller, id string, said map[string]any) (*arc.MetricsUpdated, error) {
	if err := own(c, id); err != nil {
		r.refused(c, "metrics", id, err)
		return nil, err
	}
	if inner, ok := said["metrics"].(map[string]any); ok {
		said = inner
	}
	if issues := checkMetrics(said); len(issues) > 0 {
		return nil, invalid(issues)
	}
	v, err := r.changeCounts(id, func(n *counts, now time.Time) {
		n.take(said)
		n.LastActive = now
	})
	if err != nil {
		return nil, err
	}
	return &arc.MetricsUpdated{Status: "success", Message: "Metrics updated", Metrics: v}, nil
}

// take keeps what an agent may say. The form has been checked.
func (n *counts) take(said map[string]any) {
	for name, to := range map[string]*float64{
		"success_rate": &n.SuccessRate, "avg_response_time": &n.AvgResponseTime,
		"average_response_time": &n.AverageResponseTime, "error_rate": &n.ErrorRate,
	} {
		if v, ok := said[name].(float64); ok {
			*to = v
		}
	}
	for name, to := range map[string]*int64{"total_requests": &n.TotalRequests, "requests_processed": &n.RequestsProcessed} {
		if v, ok := said[name].(float64); ok {
			*to = int64(v)
		}
	}
}

// changeCounts changes what is known of an agent's work and gives all of it.
func (r *Registry) changeCounts(id string, change func(*counts, time.Time)) (*arc.AgentMetrics, error) {
	d := &r.agents
	d.mu.Lock()
	defer d.mu.Unlock()
	a, err := d.find(id)
	if err != nil {
		return nil, err
	}
	change(&a.counts, r.now())
	d.dirty[id] = struct{}{}
	return a.counts.view(id, a.seen), nil
}

// Metrics is GET /agents/{agent_id}/metrics.
//
// Errors: insufficient-permissions for another's agent; agent-not-found.
func (r *Registry) Metrics(c *Caller, id string) (*arc.AgentMetrics, error) {
	if err := own(c, id); err != nil {
		r.refused(c, "metrics", id, err)
		return nil, err
	}
	a, err := r.GetAgent(id, true)
	return a.Metrics, err
}

// ReportMetrics is POST /agents/report-metrics/{agent_id}: one answer of the
// agent took that many seconds, 0 to 3600, and was a success or not. Only the
// agent and administrators may say so.
//
// Errors: insufficient-permissions for another's agent; agent-not-found;
// validation-failed.
func (r *Registry) ReportMetrics(c *Caller, id string, took float64, success bool) (*arc.MetricsReported, error) {
	if err := own(c, id); err != nil {
		r.refused(c, "metrics", id, err)
		return nil, err
	}
	if !(took >= 0 && took <= 3600) {
		return nil, invalid([]arc.FieldIssue{{Field: "response_time", Issue: "must be 0 to 3600 seconds"}})
	}
	v, err := r.changeCounts(id, func(n *counts, now time.Time) { n.count(took, success, now) })
	if err != nil {
		return nil, err
	}
	return &arc.MetricsReported{Status: "success", Message: "Metrics reported", Current: v}, nil
}

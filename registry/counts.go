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

// storedCounts is how the store keeps them.
type storedCounts struct {
	counts
	// Of is the incarnation that they are of; "" in those of older versions. Another
	// replica may write them when the id has just become somebody else's.
	Of string `json:"of,omitempty"`
}

// encode gives the stored form; nil if nothing is known.
func (n *counts) encode(incarnation string) []byte {
	if *n == (counts{}) {
		return nil
	}
	b, _ := json.Marshal(storedCounts{*n, incarnation}) // finite numbers: cannot fail
	return b
}

// readCounts reads the stored form. Those of another incarnation are none.
func readCounts(b []byte, incarnation string) (counts, error) {
	if len(b) == 0 {
		return counts{}, nil
	}
	var s storedCounts
	if err := json.Unmarshal(b, &s); err != nil {
		return counts{}, err
	}
	if s.Of != "" && s.Of != incarnation {
		return counts{}, nil
	}
	return s.counts, nil
}

// observation is one thing that was said of an agent's work: by itself, or that an
// answer took some time.
type observation struct {
	said    map[string]any // nil: an answer
	took    float64        // seconds
	success bool
	at      time.Time
}

// apply adds the observation.
func (o *observation) apply(n *counts) {
	if o.said == nil {
		n.count(o.took, o.success, o.at)
		return
	}
	n.take(o.said)
	n.LastActive = o.at
}

// recount makes the counts of those that are stored and what is pending.
func (a *agent) recount() (err error) {
	a.counts, err = readCounts(a.stored, a.Incarnation)
	for i := range a.pending {
		a.pending[i].apply(&a.counts)
	}
	return err
}

// maxPending bounds what is pending of one agent. Beyond, the oldest is forgotten.
const maxPending = 4096

// observe adds an observation. Where nobody else counts it needs no keeping: the counts
// are written whole.
func (a *agent) observe(o observation, alone bool) {
	o.apply(&a.counts)
	if alone {
		return
	}
	if len(a.pending) >= maxPending {
		a.pending = a.pending[1:]
	}
	a.pending = append(a.pending, o)
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
	v, err := r.observe(id, observation{said: said})
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

// observe adds to what is known of an agent's work and gives all of it.
func (r *Registry) observe(id string, o observation) (*arc.AgentMetrics, error) {
	d := &r.agents
	d.mu.Lock()
	defer d.mu.Unlock()
	a, err := d.find(id)
	if err != nil {
		return nil, err
	}
	o.at = r.now()
	a.observe(o, r.cfg.Alone)
	if r.cfg.Alone {
		d.dirty[id] = struct{}{}
	} else {
		d.counted[id] = struct{}{}
	}
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
	v, err := r.observe(id, observation{took: took, success: success})
	if err != nil {
		return nil, err
	}
	return &arc.MetricsReported{Status: "success", Message: "Metrics reported", Current: v}, nil
}

package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

// Metrics counts what happens, for /metrics: the series of ARCP (contract section
// 6.3, without those about Redis and without a label per agent) and those of the
// ARC endpoint. It belongs to one [Server].
type Metrics struct {
	all *prometheus.Registry

	requests        *prometheus.CounterVec   // method, endpoint, status_code
	durations       *prometheus.HistogramVec // the same
	registrations   *prometheus.CounterVec   // status, agent_type
	unregistrations *prometheus.CounterVec   // status, reason
	heartbeats      *prometheus.CounterVec   // status
	searches        *prometheus.CounterVec   // status
	authAttempts    *prometheus.CounterVec   // status, auth_type
	sockets         prometheus.Gauge
	health          *prometheus.GaugeVec // state

	calls     *prometheus.CounterVec   // method, code
	callTimes *prometheus.HistogramVec // method
	byMethod  map[string]*callSeries   // of the methods that there are

	host hostLoad

	mu    sync.Mutex          // guards types
	types map[string]struct{} // of agents, that have a series of their own
}

// callSeries are the series of a method's good calls, at hand without a look-up.
type callSeries struct {
	ok   prometheus.Counter
	time prometheus.Observer
}

// maxTypes bounds the values of the label agent_type, which agents choose
// themselves: what comes later is "other".
const maxTypes = 50

// other stands for label values that are not counted apart.
const other = "other"

// NewMetrics makes the series, all at zero.
func NewMetrics(version string) *Metrics {
	m := &Metrics{all: prometheus.NewRegistry(), types: map[string]struct{}{}}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.all.MustRegister(v)
		return v
	}
	times := func(name, help string, labels ...string) *prometheus.HistogramVec {
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help, Buckets: []float64{.001, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, labels)
		m.all.MustRegister(v)
		return v
	}
	m.requests = counter("arcp_requests_total", "HTTP requests.", "method", "endpoint", "status_code")
	m.durations = times("arcp_request_duration_seconds", "Time of HTTP requests, streams included.", "method", "endpoint", "status_code")
	m.registrations = counter("arcp_agent_registrations_total", "Registrations of agents.", "status", "agent_type")
	m.unregistrations = counter("arcp_agent_unregistrations_total", "Ends of registrations.", "status", "reason")
	m.heartbeats = counter("arcp_agent_heartbeats_total", "Heartbeats of agents.", "status")
	m.searches = counter("arcp_vector_search_operations_total", "Searches among the agents.", "status")
	m.authAttempts = counter("arcp_auth_attempts_total", "Logins, and tokens asked for.", "status", "auth_type")
	m.calls = counter("arcd_calls_total", "Calls of methods; code is 0 or that of the error.", "method", "code")
	m.callTimes = times("arcd_call_duration_seconds", "Time of calls of methods, until the answer or the first event.", "method")
	m.sockets = prometheus.NewGauge(prometheus.GaugeOpts{Name: "arcp_websocket_connections", Help: "Open WebSockets."})
	m.health = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "arcp_service_health_status", Help: "1 for the state that the server is in.",
	}, []string{"state"})
	info := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "arcp_service_info", Help: "1."}, []string{"version", "name", "environment"})
	info.WithLabelValues(version, "arcd", "").Set(1)
	m.all.MustRegister(m.sockets, m.health, info, &m.host,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// serve connects the series with what they are about.
func (m *Metrics) serve(methods []string, reg *registry.Registry) {
	m.byMethod = make(map[string]*callSeries, len(methods))
	for _, method := range methods {
		m.byMethod[method] = &callSeries{m.calls.WithLabelValues(method, "0"), m.callTimes.WithLabelValues(method)}
	}
	if reg != nil {
		m.all.MustRegister(&activeAgents{reg, m})
	}
}

// Observe counts what the registry says has happened.
func (m *Metrics) Observe(h registry.Happening) {
	status := "success"
	if h.Outcome != "ok" {
		status = "failure"
	}
	switch h.Event {
	case "registered":
		m.registrations.WithLabelValues(status, m.typeLabel(h.AgentType)).Inc()
	case "unregistered":
		reason := h.Reason
		if status == "failure" {
			reason = "refused"
		}
		m.unregistrations.WithLabelValues(status, reason).Inc()
	case "heartbeat":
		m.heartbeats.WithLabelValues(status).Inc()
	case "search":
		m.searches.WithLabelValues(status).Inc()
	}
	if h.AuthType != "" {
		m.authAttempts.WithLabelValues(status, h.AuthType).Inc()
	}
}

// typeLabel gives an agent's type, or other if there are too many.
func (m *Metrics) typeLabel(agentType string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, known := m.types[agentType]; !known {
		if len(m.types) >= maxTypes || agentType == "" || len(agentType) > 50 {
			return other
		}
		m.types[agentType] = struct{}{}
	}
	return agentType
}

// request counts an HTTP request that has been answered.
func (m *Metrics) request(r *http.Request, status int, took time.Duration) {
	if m == nil {
		return
	}
	method, endpoint := r.Method, r.Pattern
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions, http.MethodPut, http.MethodPatch:
	default:
		method = other
	}
	if endpoint == "" || endpoint == "/" && r.URL.Path != "/" {
		endpoint = other
	}
	code := "200"
	if status != http.StatusOK {
		code = strconv.Itoa(status)
	}
	m.requests.WithLabelValues(method, endpoint, code).Inc()
	m.durations.WithLabelValues(method, endpoint, code).Observe(took.Seconds())
}

// call counts a call of a method, whatever it came by.
func (m *Metrics) call(method string, failure *arc.Error, took time.Duration) {
	if m == nil {
		return
	}
	series, known := m.byMethod[method]
	if !known { // anything can stand there
		method = other
	}
	switch {
	case failure != nil:
		m.calls.WithLabelValues(method, strconv.Itoa(int(failure.Code))).Inc()
	case known:
		series.ok.Inc()
	}
	if known {
		series.time.Observe(took.Seconds())
	}
}

// socketOpened counts a WebSocket that opened, or with -1 one that closed.
func (m *Metrics) socketOpened(by float64) {
	if m != nil {
		m.sockets.Add(by)
	}
}

// activeAgents counts the living agents when somebody asks.
type activeAgents struct {
	registry *registry.Registry
	metrics  *Metrics
}

var activeDesc = prometheus.NewDesc("arcp_active_agents", "Registered agents that are alive.", []string{"agent_type"}, nil)

// Describe implements [prometheus.Collector].
func (a *activeAgents) Describe(ch chan<- *prometheus.Desc) { ch <- activeDesc }

// Collect implements [prometheus.Collector].
func (a *activeAgents) Collect(ch chan<- prometheus.Metric) {
	byLabel := map[string]int{}
	for agentType, n := range a.registry.AliveByType() {
		byLabel[a.metrics.typeLabel(agentType)] += n
	}
	for label, n := range byLabel {
		ch <- prometheus.MustNewConstMetric(activeDesc, prometheus.GaugeValue, float64(n), label)
	}
}

// metricsPage answers with all series in Prometheus' text format. Who may see it
// has been decided.
func (s *Server) metricsPage(w *response, r *http.Request) {
	if s.cfg.Metrics == nil {
		s.problem(w, r, nothingHere())
		return
	}
	healthy := 1.0
	if s.draining.Load() {
		healthy = 0
	}
	s.cfg.Metrics.health.WithLabelValues("healthy").Set(healthy)
	s.cfg.Metrics.health.WithLabelValues("draining").Set(1 - healthy)
	w.Header()["Cache-Control"] = noStore
	promhttp.HandlerFor(s.cfg.Metrics.all, promhttp.HandlerOpts{DisableCompression: true}).ServeHTTP(w, r)
}

// scrapes tells whether the request has the scrape token. Digests are compared,
// so that the time tells nothing of the token, its length included.
func (s *Server) scrapes(r *http.Request) bool {
	token, err := auth.Bearer(r.Header)
	if err != nil || s.cfg.ScrapeToken == "" {
		return false
	}
	got, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.cfg.ScrapeToken))
	return subtle.ConstantTimeCompare(got[:], want[:]) == 1
}

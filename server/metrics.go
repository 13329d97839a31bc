package server

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/hostload"
	"github.com/arcd-io/arcd/registry"
)

// Metrics counts what the server and the registry do, for GET /metrics, under
// the names of the published server (contract section 6.3) and some of our own.
// Make it with [NewMetrics] before both, and give it to both: [Config.Metrics]
// and, its method Observe, [registry.Config.Observe]. It belongs to one [Server].
// A nil *Metrics counts nothing.
type Metrics struct {
	version string
	all     *prometheus.Registry
	types   few // agent types

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec
	calls     *prometheus.CounterVec
	callTimes *prometheus.HistogramVec
	sockets   prometheus.Gauge
	byMethod  map[string]*callSeries // "": of what is no method; set by serve

	registrations, unregistrations, heartbeats, searches, attempts *prometheus.CounterVec

	mu     sync.RWMutex // guards served
	served map[servedKey]servedSeries
}

// buckets are those of the published server, in seconds.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewMetrics makes a Metrics with nothing counted yet. version is shown in
// arcp_service_info.
func NewMetrics(version string) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	m := &Metrics{
		version: version, all: prometheus.NewRegistry(),
		served:          make(map[servedKey]servedSeries),
		requests:        counter("arcp_requests_total", "HTTP requests by route.", "method", "endpoint", "status_code"),
		calls:           counter("arcd_calls_total", "Calls of ARC methods; code 0 is success.", "method", "code"),
		registrations:   counter("arcp_agent_registrations_total", "Registrations of agents.", "status", "agent_type"),
		unregistrations: counter("arcp_agent_unregistrations_total", "Ends of registrations.", "status", "reason"),
		heartbeats:      counter("arcp_agent_heartbeats_total", "Heartbeats of agents.", "status"),
		searches:        counter("arcp_vector_search_operations_total", "Searches among the agents.", "status"),
		attempts:        counter("arcp_auth_attempts_total", "Logins, tokens asked for, and tokens refused.", "status", "auth_type"),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "arcp_request_duration_seconds", Help: "Time to answer HTTP requests, streams and sockets aside.", Buckets: buckets,
		}, []string{"method", "endpoint", "status_code"}),
		callTimes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "arcd_call_duration_seconds", Help: "Time of calls of ARC methods; of streams, to their beginning.", Buckets: buckets,
		}, []string{"method"}),
		sockets: prometheus.NewGauge(prometheus.GaugeOpts{Name: "arcp_websocket_connections", Help: "Open WebSockets."}),
	}
	m.all.MustRegister( // fails only for names that are there twice
		m.requests, m.durations, m.calls, m.callTimes, m.sockets,
		m.registrations, m.unregistrations, m.heartbeats, m.searches, m.attempts,
		machine{hostload.New(hostload.Config{})},
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

// Observe counts what happened in the registry.
func (m *Metrics) Observe(h registry.Happening) {
	if m == nil {
		return
	}
	status := "success"
	if h.Outcome != "ok" {
		status = "failed"
	}
	switch h.Event {
	case "registered":
		m.registrations.WithLabelValues(status, m.types.name(h.AgentType, status == "success")).Inc()
	case "unregistered":
		m.unregistrations.WithLabelValues(status, strings.ToLower(h.Reason)).Inc()
	case "heartbeat":
		m.heartbeats.WithLabelValues(status).Inc()
	case "search":
		m.searches.WithLabelValues(status).Inc()
	case "login", "token_issued", "token_refused", "token_refreshed", "refused":
		m.attempts.WithLabelValues(status, h.AuthType).Inc()
	}
}

// few bounds the values of a label. The zero value is ready.
type few struct {
	mu   sync.Mutex // guards seen
	seen map[string]bool
}

const (
	mostTypes = 50      // values of the label agent_type
	otherName = "other" // the value for all further ones
)

// name gives the value that stands for s. Only what is good may take a place.
func (f *few) name(s string, good bool) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.seen[s] {
		return s
	}
	if !good || len(f.seen) >= mostTypes {
		return otherName
	}
	if f.seen == nil {
		f.seen = make(map[string]bool)
	}
	f.seen[s] = true
	return s
}

// socketOpened counts sockets up, or down.
func (m *Metrics) socketOpened(n float64) {
	if m != nil {
		m.sockets.Add(n)
	}
}

// servedKey names the series of a request.
type servedKey struct {
	method, endpoint string
	status           int
}

// servedSeries are the series of a request, found once.
type servedSeries struct {
	count prometheus.Counter
	time  prometheus.Observer
}

// request counts an HTTP request. lasting says that it was a stream or a socket,
// whose time tells nothing of the work.
func (m *Metrics) request(r *http.Request, status int, took time.Duration, lasting bool) {
	if m == nil {
		return
	}
	if status == 0 { // nothing was written: net/http does so
		status = http.StatusOK
	}
	key := servedKey{knownMethod(r.Method), endpointOf(r), status}
	m.mu.RLock()
	series, ok := m.served[key]
	m.mu.RUnlock()
	if !ok {
		code := strconv.Itoa(status)
		series = servedSeries{
			m.requests.WithLabelValues(key.method, key.endpoint, code),
			m.durations.WithLabelValues(key.method, key.endpoint, code),
		}
		m.mu.Lock()
		m.served[key] = series
		m.mu.Unlock()
	}
	series.count.Inc()
	if !lasting {
		series.time.Observe(took.Seconds())
	}
}

// knownMethod keeps the label method to the methods of HTTP.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
		http.MethodDelete, http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return method
	}
	return otherName
}

// endpointOf is the pattern of the route that took the request, never its path.
func endpointOf(r *http.Request) string {
	pattern := strings.TrimSuffix(r.Pattern, "/{$}")
	if pattern == "" || pattern == "/" && r.URL.Path != "/" {
		return otherName
	}
	return pattern
}

// callSeries are the series of one ARC method, found once.
type callSeries struct {
	name string
	good prometheus.Counter
	time prometheus.Observer
}

// serve connects m with the server that it is for.
func (m *Metrics) serve(s *Server) {
	m.byMethod = make(map[string]*callSeries)
	of := func(name string) *callSeries {
		return &callSeries{name, m.calls.WithLabelValues(name, "0"), m.callTimes.WithLabelValues(name)}
	}
	for _, name := range s.mux.Names() {
		m.byMethod[name] = of(name)
	}
	m.byMethod[""] = of(otherName)
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "arcp_service_info", Help: "Information about the service.",
		ConstLabels: prometheus.Labels{"version": m.version, "name": s.cfg.ServerID, "environment": s.cfg.Environment},
	})
	info.Set(1)
	m.all.MustRegister(info, condition{s})
	if s.cfg.Registry != nil {
		m.all.MustRegister(activeAgents{s})
	}
}

// call counts a call of a method, whatever it came by.
func (m *Metrics) call(method string, failure *arc.Error, took time.Duration) {
	if m == nil {
		return
	}
	series, ok := m.byMethod[method]
	if !ok {
		series = m.byMethod[""]
	}
	if failure == nil {
		series.good.Inc()
	} else {
		code := otherName // agents choose the codes of their failures
		if failure.Code.Name() != "unknown" {
			code = strconv.Itoa(int(failure.Code))
		}
		m.calls.WithLabelValues(series.name, code).Inc()
	}
	series.time.Observe(took.Seconds())
}

package server

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/exposition"
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
	all     exposition.Set
	types   few // agent types

	requests  *exposition.Family[exposition.Counter]
	durations *exposition.Family[exposition.Histogram]
	calls     *exposition.Family[exposition.Counter]
	callTimes *exposition.Family[exposition.Histogram]
	sockets   *exposition.Gauge
	byMethod  map[string]*callSeries // "": of what is no method; set by serve

	registrations, unregistrations, heartbeats, searches, attempts *exposition.Family[exposition.Counter]

	mu     sync.RWMutex // guards served
	served map[servedKey]servedSeries
}

// buckets are those of the published server, in seconds.
var buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// NewMetrics makes a Metrics with nothing counted yet. version is shown in
// arcp_service_info.
func NewMetrics(version string) *Metrics {
	m := &Metrics{version: version, served: make(map[servedKey]servedSeries)}
	all := &m.all
	m.requests = all.Counters("arcp_requests_total", "HTTP requests by route.", "method", "endpoint", "status_code")
	m.calls = all.Counters("arcd_calls_total", "Calls of ARC methods; code 0 is success.", "method", "code")
	m.registrations = all.Counters("arcp_agent_registrations_total", "Registrations of agents.", "status", "agent_type")
	m.unregistrations = all.Counters("arcp_agent_unregistrations_total", "Ends of registrations.", "status", "reason")
	m.heartbeats = all.Counters("arcp_agent_heartbeats_total", "Heartbeats of agents.", "status")
	m.searches = all.Counters("arcp_vector_search_operations_total", "Searches among the agents.", "status")
	m.attempts = all.Counters("arcp_auth_attempts_total", "Logins, tokens asked for, and tokens refused.", "status", "auth_type")
	m.durations = all.Histograms("arcp_request_duration_seconds", "Time to answer HTTP requests, streams and sockets aside.",
		buckets, "method", "endpoint", "status_code")
	m.callTimes = all.Histograms("arcd_call_duration_seconds", "Time of calls of ARC methods; of streams, to their beginning.",
		buckets, "method")
	m.sockets = all.Gauge("arcp_websocket_connections", "Open WebSockets.")
	all.Source(machine(hostload.New(hostload.Config{})))
	all.Source(exposition.Process(time.Now()))
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
		m.registrations.With(status, m.types.name(h.AgentType, status == "success")).Inc()
	case "unregistered":
		m.unregistrations.With(status, strings.ToLower(h.Reason)).Inc()
	case "heartbeat":
		m.heartbeats.With(status).Inc()
	case "search":
		m.searches.With(status).Inc()
	case "login", "token_issued", "token_refused", "token_refreshed", "refused":
		m.attempts.With(status, h.AuthType).Inc()
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
	count *exposition.Counter
	time  *exposition.Histogram
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
			m.requests.With(key.method, key.endpoint, code),
			m.durations.With(key.method, key.endpoint, code),
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
	good *exposition.Counter
	time *exposition.Histogram
}

// serve connects m with the server that it is for.
func (m *Metrics) serve(s *Server) {
	m.byMethod = make(map[string]*callSeries)
	of := func(name string) *callSeries {
		return &callSeries{name, m.calls.With(name, "0"), m.callTimes.With(name)}
	}
	for _, name := range s.mux.Names() {
		m.byMethod[name] = of(name)
	}
	m.byMethod[""] = of(otherName)
	m.all.Source(func(p *exposition.Page) {
		p.Gauge("arcp_service_info", "Information about the service.", 1,
			"environment", s.cfg.Environment, "name", s.cfg.ServerID, "version", m.version)
	})
	m.all.Source(s.condition)
	if s.cfg.Registry != nil {
		m.all.Source(s.activeAgents)
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
		m.calls.With(series.name, code).Inc()
	}
	series.time.Observe(took.Seconds())
}

package server_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

const scrapeToken = "a-token-for-scraping"

// startMeasured starts a server that counts.
func startMeasured(t *testing.T) *members {
	t.Helper()
	metrics := server.NewMetrics("1.2.3")
	return startMembers(t, memberOptions{
		registry: func(cfg *registry.Config) { cfg.Observe = metrics.Observe },
		server:   func(cfg *server.Config) { cfg.Metrics, cfg.ScrapeToken, cfg.Environment = metrics, scrapeToken, "test" },
	})
}

// scrape gives the values of all series, which are named as in the text format,
// but without quotes. Labels are in the order of their names.
func (m *members) scrape() map[string]float64 {
	m.t.Helper()
	r := m.do(ask{method: http.MethodGet, path: "/metrics/scrape", token: scrapeToken})
	if r.status != http.StatusOK || !strings.HasPrefix(r.header.Get("Content-Type"), "text/plain") {
		m.t.Fatalf("scraping: %d %s %s", r.status, r.header.Get("Content-Type"), r.body)
	}
	all := map[string]float64{}
	for line := range strings.Lines(r.body) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		series, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseFloat(value, 64)
		if err != nil {
			m.t.Fatalf("line %q: %v", line, err)
		}
		all[strings.ReplaceAll(series, `"`, "")] = n
	}
	return all
}

func TestMetricsCountWhatHappens(t *testing.T) {
	m := startMeasured(t)
	admin, token := m.login(), m.register(1)
	m.registerAs(2, "other-kind")
	m.do(ask{path: "/auth/login", body: `{"username":"root","password":"wrong"}`, header: map[string]string{
		"Content-Type": "application/json", "X-Client-Fingerprint": "x"}})
	m.post("/agents/agent-01/heartbeat", token, "", nil)
	m.do(ask{path: "/agents/agent-02/heartbeat", token: token})
	m.do(ask{path: "/public/search", body: `{"query":"testing"}`})
	m.do(ask{method: http.MethodGet, path: "/agents/agent-01", token: token})
	m.do(ask{method: http.MethodGet, path: "/agents/agent-03", token: token})
	m.do(ask{method: "BREW", path: "/nowhere/at/all"})
	m.do(ask{method: http.MethodGet, path: "/nowhere/else"})
	m.do(ask{method: http.MethodGet, path: "/"})
	m.do(ask{body: rpcCall("task.info", "agent-01", `{"taskId":"t"}`), token: token})
	m.do(ask{body: rpcCall("rpc.discover", "", `{}`), token: token})
	m.do(ask{body: rpcCall("no.such.method", "", `{}`), token: token})
	socket := m.watch(token)
	m.do(ask{method: http.MethodDelete, path: "/agents/agent-02", token: admin, header: map[string]string{"X-Client-Fingerprint": fingerprint}})
	got := m.scrape()
	for series, want := range map[string]float64{
		"arcp_agent_registrations_total{agent_type=testing,status=success}":                           1,
		"arcp_agent_registrations_total{agent_type=other-kind,status=success}":                        1,
		"arcp_agent_unregistrations_total{reason=asked,status=success}":                               1,
		"arcp_agent_heartbeats_total{status=success}":                                                 1,
		"arcp_agent_heartbeats_total{status=failed}":                                                  1,
		"arcp_active_agents{agent_type=testing}":                                                      1,
		"arcp_active_agents{agent_type=other-kind}":                                                   0,
		"arcp_requests_total{endpoint=/agents/{agent_id},method=GET,status_code=200}":                 1,
		"arcp_requests_total{endpoint=/agents/{agent_id},method=GET,status_code=404}":                 1,
		"arcp_request_duration_seconds_count{endpoint=/agents/{agent_id},method=GET,status_code=404}": 1,
		"arcp_requests_total{endpoint=/agents/{agent_id}/heartbeat,method=POST,status_code=403}":      1,
		"arcp_requests_total{endpoint=/agents/register,method=POST,status_code=200}":                  2,
		"arcp_requests_total{endpoint=other,method=other,status_code=404}":                            1,
		"arcp_requests_total{endpoint=other,method=GET,status_code=404}":                              1,
		"arcp_requests_total{endpoint=/,method=GET,status_code=200}":                                  1,
		"arcp_websocket_connections":                                                                  1,
		"arcp_vector_search_operations_total{status=success}":                                         1,
		"arcp_auth_attempts_total{auth_type=admin,status=success}":                                    1,
		"arcp_auth_attempts_total{auth_type=admin,status=failed}":                                     1,
		"arcp_auth_attempts_total{auth_type=agent,status=success}":                                    2,
		"arcp_service_info{environment=test,name=arcd,version=1.2.3}":                                 1,
		"arcp_service_health_status{state=healthy}":                                                   1,
		"arcp_service_health_status{state=degraded}":                                                  0,
		"arcp_service_health_status{state=unhealthy}":                                                 0,
		"arcd_calls_total{code=0,method=rpc.discover}":                                                0,
		"arcd_calls_total{code=-44003,method=rpc.discover}":                                           1,
		"arcd_calls_total{code=-44003,method=other}":                                                  1,
		"arcd_call_duration_seconds_count{method=other}":                                              1,
		"arcd_calls_total{code=0,method=task.create}":                                                 0,
	} {
		if got[series] != want {
			t.Errorf("%s is %v, want %v", series, got[series], want)
		}
	}
	for series := range got {
		if strings.Contains(series, "agent-0") || strings.Contains(series, "nowhere") || strings.Contains(series, "BREW") {
			t.Errorf("%s has a label that callers choose", series)
		}
	}
	if got["go_goroutines"] == 0 || got["process_open_fds"] == 0 {
		t.Error("the process and its runtime are not among the series")
	}
	_ = socket.ws.CloseNow()
	m.log.await(t, "request", "path", "/agents/ws")
	got = m.scrape()
	if got["arcp_websocket_connections"] != 0 || got["arcp_requests_total{endpoint=/agents/ws,method=GET,status_code=101}"] != 1 ||
		got["arcp_request_duration_seconds_count{endpoint=/agents/ws,method=GET,status_code=101}"] != 0 {
		t.Error("the end of the socket is not seen, or its time counts as a request's")
	}
}

// TestMetricsHaveTheLinesOfTheClient reads as the published client does
// (contract section 5.2, get_resource_utilization).
func TestMetricsHaveTheLinesOfTheClient(t *testing.T) {
	m := startMeasured(t)
	r := m.do(ask{method: http.MethodGet, path: "/metrics", token: m.login(), header: map[string]string{
		"X-Client-Fingerprint": fingerprint, "Accept": "*/*"}})
	for _, what := range []string{"cpu", "memory", "network", "disk"} {
		line := regexp.MustCompile(`(?m)^arcp_system_` + what + `_utilization_percent.* (\S+)$`).FindStringSubmatch(r.body)
		if line == nil {
			t.Fatalf("no %s in %d %s", what, r.status, r.body)
		}
		if n, err := strconv.ParseFloat(line[1], 64); err != nil || n < 0 || n > 100 {
			t.Errorf("%s is %s, want a percentage", what, line[1])
		}
	}
}

func TestMetricsAreForAdministratorsAndScrapers(t *testing.T) {
	m := startMeasured(t)
	closed := startMembers(t, memberOptions{})
	agent := m.register(1)
	for label, c := range map[string]struct {
		to     *members
		a      ask
		status int
	}{
		"nobody":                  {m, ask{path: "/metrics"}, http.StatusUnauthorized},
		"an agent":                {m, ask{path: "/metrics", token: agent}, http.StatusForbidden},
		"the scraper":             {m, ask{path: "/metrics", token: scrapeToken}, http.StatusOK},
		"the scraper's own path":  {m, ask{path: "/metrics/scrape", token: scrapeToken}, http.StatusOK},
		"another token":           {m, ask{path: "/metrics/scrape", token: scrapeToken + "x"}, http.StatusForbidden},
		"a part of it":            {m, ask{path: "/metrics/scrape", token: scrapeToken[:5]}, http.StatusForbidden},
		"no token":                {m, ask{path: "/metrics/scrape"}, http.StatusForbidden},
		"no scrape token is set":  {closed, ask{path: "/metrics/scrape", token: scrapeToken}, http.StatusForbidden},
		"no token, none is set":   {closed, ask{path: "/metrics/scrape"}, http.StatusForbidden},
		"administrator, no count": {closed, ask{path: "/metrics", token: closed.login(), header: map[string]string{"X-Client-Fingerprint": fingerprint}}, http.StatusNotFound},
	} {
		c.a.method = http.MethodGet
		if r := c.to.do(c.a); r.status != c.status {
			t.Errorf("%s: %d %s, want %d", label, r.status, r.body, c.status)
		}
	}
}

func TestMetricsBoundTheAgentTypes(t *testing.T) {
	metrics := server.NewMetrics("")
	m := startMembers(t, memberOptions{server: func(cfg *server.Config) { cfg.Metrics, cfg.ScrapeToken = metrics, scrapeToken }})
	for i := range 200 { // what is refused takes no place
		metrics.Observe(registry.Happening{Event: "registered", Outcome: "refused", AgentType: fmt.Sprintf("bad-%d\xff", i)})
	}
	for i := range 60 {
		metrics.Observe(registry.Happening{Event: "registered", Outcome: "ok", AgentType: fmt.Sprintf("good-%d", i)})
	}
	types := map[string]float64{}
	for series, n := range m.scrape() {
		if strings.HasPrefix(series, "arcp_agent_registrations_total{") {
			types[strings.TrimPrefix(series, "arcp_agent_registrations_total")] = n
		}
	}
	if len(types) != 52 || types["{agent_type=other,status=failed}"] != 200 || types["{agent_type=other,status=success}"] != 10 || types["{agent_type=good-49,status=success}"] != 1 {
		t.Errorf("%d series: %v", len(types), types)
	}
	var none *server.Metrics
	none.Observe(registry.Happening{Event: "login"}) // counts nothing
}

func TestMetricsTellOfMissingKeys(t *testing.T) {
	metrics := server.NewMetrics("")
	m := startMembers(t, memberOptions{server: func(cfg *server.Config) {
		cfg.Metrics, cfg.ScrapeToken, cfg.Ready = metrics, scrapeToken, func(context.Context) error { return errors.New("no keys") }
	}})
	if got := m.scrape(); got["arcp_service_health_status{state=degraded}"] != 1 || got["arcp_service_health_status{state=healthy}"] != 0 {
		t.Errorf("health is %v", got)
	}
}

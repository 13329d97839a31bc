package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"math"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/hostload"
)

// metricsPage gives the metrics in the format that the client asks for, by default
// the text format. Who may see them has been decided.
func (s *Server) metricsPage(w *response, r *http.Request) {
	if s.cfg.Metrics == nil {
		s.problem(w, r, nothingHere())
		return
	}
	w.Header()["Cache-Control"] = noStore
	promhttp.HandlerFor(s.cfg.Metrics.all, promhttp.HandlerOpts{
		ErrorHandling: promhttp.ContinueOnError, DisableCompression: true,
	}).ServeHTTP(w, r)
}

// scrapes tells whether the request has the scrape token. Digests are compared,
// so that the time tells nothing of the token, its length included.
func (s *Server) scrapes(r *http.Request) bool {
	if s.cfg.ScrapeToken == "" {
		return false
	}
	token, err := auth.Bearer(r.Header)
	given, want := sha256.Sum256([]byte(token)), sha256.Sum256([]byte(s.cfg.ScrapeToken))
	return err == nil && subtle.ConstantTimeCompare(given[:], want[:]) == 1
}

// activeAgents counts the living agents when it is asked.
type activeAgents struct{ server *Server }

var activeAgentsDesc = prometheus.NewDesc("arcp_active_agents", "Registered agents that are alive.", []string{"agent_type"}, nil)

// Describe names the series.
func (activeAgents) Describe(to chan<- *prometheus.Desc) { to <- activeAgentsDesc }

// Collect counts.
func (a activeAgents) Collect(to chan<- prometheus.Metric) {
	count := map[string]float64{}
	for name, n := range a.server.cfg.Registry.AliveByType() {
		count[a.server.cfg.Metrics.types.name(name, true)] += float64(n)
	}
	for name, n := range count {
		to <- prometheus.MustNewConstMetric(activeAgentsDesc, prometheus.GaugeValue, n, name)
	}
}

// condition tells how the server is when it is asked.
type condition struct{ server *Server }

var conditionDesc = prometheus.NewDesc("arcp_service_health_status", "State of the service: 1 for the one it is in.", []string{"state"}, nil)

// Describe names the series.
func (condition) Describe(to chan<- *prometheus.Desc) { to <- conditionDesc }

// Collect looks at what /readyz looks at: without its store or while it drains
// the server is unhealthy, without keys for tokens degraded.
func (c condition) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	present := "healthy"
	switch why, _ := c.server.unreadiness(ctx); why {
	case "":
	case "auth":
		present = "degraded"
	default:
		present = "unhealthy"
	}
	for _, state := range []string{"healthy", "degraded", "unhealthy"} {
		value := 0.0
		if state == present {
			value = 1
		}
		to <- prometheus.MustNewConstMetric(conditionDesc, prometheus.GaugeValue, value, state)
	}
}

// machine tells how busy the machine is when it is asked.
type machine struct{ meter *hostload.Meter }

func loadDesc(what, help string) *prometheus.Desc {
	return prometheus.NewDesc("arcp_system_"+what+"_utilization_percent", help, nil, nil)
}

var (
	cpuDesc     = loadDesc("cpu", "Use of all processors since the scrape before.")
	memoryDesc  = loadDesc("memory", "Use of the main memory.")
	diskDesc    = loadDesc("disk", "Use of the file system of the working directory.")
	networkDesc = loadDesc("network", "Use of the network in its busier direction since the scrape before, as a share of 1 Gbit/s.")
)

// Describe names the series.
func (machine) Describe(to chan<- *prometheus.Desc) {
	to <- cpuDesc
	to <- memoryDesc
	to <- diskDesc
	to <- networkDesc
}

// Collect gives what is known.
func (m machine) Collect(to chan<- prometheus.Metric) {
	load := m.meter.Load()
	for desc, value := range map[*prometheus.Desc]float64{
		cpuDesc: load.CPU, memoryDesc: load.Memory, diskDesc: load.Disk, networkDesc: load.Network,
	} {
		if !math.IsNaN(value) {
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value)
		}
	}
}

package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"maps"
	"math"
	"net/http"
	"slices"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/exposition"
	"github.com/arcd-io/arcd/internal/hostload"
)

// mediaMetrics is the media type of the metrics.
var mediaMetrics = []string{exposition.ContentType}

// metricsPage gives the metrics in the text format of Prometheus. Who may see them
// has been decided.
func (s *Server) metricsPage(w *response, r *http.Request) {
	if s.cfg.Metrics == nil {
		s.problem(w, r, nothingHere())
		return
	}
	w.Header()["Content-Type"] = mediaMetrics
	w.Header()["Cache-Control"] = noStore
	s.write(w, http.StatusOK, s.cfg.Metrics.all.Text())
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

// activeAgents writes the number of living agents.
func (s *Server) activeAgents(p *exposition.Page) {
	count := map[string]float64{}
	for name, n := range s.cfg.Registry.AliveByType() {
		count[s.cfg.Metrics.types.name(name, true)] += float64(n)
	}
	p.Gauges("arcp_active_agents", "Registered agents that are alive.", "agent_type",
		slices.Sorted(maps.Keys(count)), func(name string) float64 { return count[name] })
}

// condition writes how the server is. It looks at what /readyz looks at: without
// its store or while it drains the server is unhealthy, without keys for tokens
// degraded.
func (s *Server) condition(p *exposition.Page) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	present := "healthy"
	switch why, _ := s.unreadiness(ctx); why {
	case "":
	case "auth":
		present = "degraded"
	default:
		present = "unhealthy"
	}
	p.Gauges("arcp_service_health_status", "State of the service: 1 for the one it is in.", "state",
		[]string{"healthy", "degraded", "unhealthy"}, func(state string) float64 {
			if state == present {
				return 1
			}
			return 0
		})
}

// machine gives a source that writes how busy the machine is.
func machine(meter *hostload.Meter) func(*exposition.Page) {
	return func(p *exposition.Page) {
		load := meter.Load()
		for _, g := range []struct {
			what, help string
			value      float64
		}{
			{"cpu", "Use of all processors since the scrape before.", load.CPU},
			{"memory", "Use of the main memory.", load.Memory},
			{"disk", "Use of the file system of the working directory.", load.Disk},
			{"network", "Use of the network in its busier direction since the scrape before, as a share of 1 Gbit/s.", load.Network},
		} {
			if !math.IsNaN(g.value) {
				p.Gauge("arcp_system_"+g.what+"_utilization_percent", g.help, g.value)
			}
		}
	}
}

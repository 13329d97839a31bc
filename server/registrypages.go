package server

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
)

// agentStats is GET /agents/stats, with the members that the published client
// reads (contract section 1.3).
func (s *Server) agentStats(*exchange) (any, error) {
	type counts struct {
		arc.RegistryStats `json:",inline"`
		Embeddings        bool `json:"embeddings_available"`
		Redis             bool `json:"redis_connected"`
		AI                bool `json:"ai_client_available"`
	}
	stats := s.cfg.Registry.Stats()
	return struct {
		Registry    counts          `json:"registry_statistics"`
		Features    map[string]bool `json:"features"`
		Performance map[string]int  `json:"performance"`
	}{
		Registry: counts{RegistryStats: stats},
		Features: map[string]bool{
			"full_text_search": true, "vector_search": false, "websockets": true, "persistent_storage": true,
		},
		Performance: map[string]int{"registered_agents": stats.Total, "alive_agents": stats.Alive},
	}, nil
}

// publicStats is GET /public/stats.
func (s *Server) publicStats(*exchange) (any, error) {
	stats, types := s.cfg.Registry.PublicStats(), s.cfg.Registry.Types()
	return struct {
		Alive     int             `json:"alive_agents"`
		Total     int             `json:"total_agents"`
		Types     int             `json:"agent_types"`
		Status    string          `json:"system_status"`
		Updated   arc.Time        `json:"last_updated"`
		Features  map[string]bool `json:"features"`
		Available []string        `json:"available_types"`
	}{
		stats.Alive, stats.Total, len(types), "operational", arc.At(s.cfg.Now()),
		map[string]bool{"discovery": true, "search": true, "websocket": true}, types,
	}, nil
}

// publicInfo is GET /public/info.
func (s *Server) publicInfo(*exchange) (any, error) {
	base := s.cfg.PublicURL
	return map[string]any{
		"service": s.cfg.ServerID, "version": s.cfg.Version,
		"public_api": map[string]string{
			"discover": base + "/public/discover", "search": base + "/public/search", "agent": base + "/public/agent/{agent_id}",
			"connect": base + "/public/connect/{agent_id}", "stats": base + "/public/stats", "websocket": base + "/public/ws",
		},
		"capabilities":  map[string]bool{"discovery": true, "search": true, "connection_requests": true},
		"limits":        map[string]int{"discover_limit": 100, "search_top_k": 100, "body_bytes": maxRegistryBody},
		"documentation": base + "/openapi.json",
		"support":       base + "/docs/problems",
	}, nil
}

// dashboardConfig is GET /dashboard/config. Of agent keys it tells how many there
// are and short names of them, never a key.
func (s *Server) dashboardConfig(*exchange) (any, error) {
	ids := s.cfg.Registry.KeyIDs()
	return map[string]any{
		"timezone": "UTC", "ws_ping_interval_ms": s.cfg.KeepAlive.Milliseconds(),
		"log_buffer_maxlen": 0, "log_message_maxlen": 0, "ui": map[string]any{},
		"agent_keys":          map[string]any{"count": len(ids), "ids": ids},
		"allowed_agent_types": s.cfg.Registry.Types(),
	}, nil
}

// registryMetadata is /.well-known/arcp-configuration (contract section 1.5).
func (s *Server) registryMetadata(*exchange) (any, error) {
	base := s.cfg.PublicURL
	return map[string]any{
		"issuer": s.cfg.Issuer.Provider().Issuer, "jwks_uri": base + jwksPath,
		"token_endpoint": base + "/auth/agent/request_temp_token", "validation_endpoint": base + "/auth/agent/validate_compliance",
		"registration_endpoint": base + "/agents/register", "token_endpoint_auth_methods_supported": []string{"none"},
		"id_token_signing_alg_values_supported": s.cfg.Issuer.Provider().Algorithms,
		"dpop_signing_alg_values_supported":     []string{}, "response_types_supported": []string{},
		"grant_types_supported": []string{grantType}, "three_phase_registration_enabled": true, "service_version": s.cfg.Version,
	}, nil
}

// A Notifier posts JSON to an address that a caller named, within a policy about
// addresses, and gives the status of the answer. Its errors are [*arc.Error]s of
// kind endpoint-unreachable, connection-timeout or invalid-url.
type Notifier func(ctx context.Context, url string, body any) (status int, err error)

// notifying bounds the calls that go out because somebody asked for them, and
// notifyingOne those to one agent: a slow one takes no place from the others.
const (
	notifying    = 16
	notifyingOne = 4
)

// notify tells an agent's endpoint something.
func (s *Server) notify(ctx context.Context, agent, endpoint, path string, told any) error {
	if s.cfg.Notify == nil {
		return arc.Refuse(arc.ProblemNotImplemented, "not_implemented", "This server calls no agents")
	}
	u, err := url.Parse(endpoint)
	if err != nil {
		return fmt.Errorf("reading the endpoint of agent %s: %w", agent, err)
	}
	if !s.outboundTo.take(agent) {
		return tellingTooMuch()
	}
	defer s.outboundTo.give(agent)
	select {
	case s.outbound <- struct{}{}:
		defer func() { <-s.outbound }()
	default:
		return tellingTooMuch()
	}
	status, err := s.cfg.Notify(ctx, u.JoinPath(path).String(), told)
	if refusal, ok := errors.AsType[*arc.Error](err); ok {
		return refusal.Clone().With("agent_id", agent)
	}
	if err == nil && status >= http.StatusMultipleChoices {
		return arc.Refuse(arc.ProblemUnreachable, "endpoint_unreachable", "The agent '%s' did not accept the request", agent).
			With("agent_id", agent).With("status_code", status)
	}
	return err
}

// tellingTooMuch refuses one more call to an agent.
func tellingTooMuch() *arc.Error {
	e := arc.Refuse(arc.ProblemRateLimit, "rate_limited", "Too many agents are being told something").With("retry_after", 1)
	e.RetryAfter = time.Second
	return e
}

// withoutEndpoint keeps an agent's endpoint from those who need no token: the
// public card does not show it either (contract section 7, W26).
func withoutEndpoint(err error) error {
	refusal, ok := errors.AsType[*arc.Error](err)
	if !ok {
		return err
	}
	refusal = refusal.Clone()
	delete(refusal.Details, "endpoint")
	return refusal
}

// connectAgent is POST /public/connect/{agent_id}: the agent's endpoint gets
// POST /connection/request.
func (s *Server) connectAgent(x *exchange) (any, error) {
	p, err := read[arc.ConnectParams](s, x)
	if err != nil {
		return nil, err
	}
	endpoint, told, reply, err := s.cfg.Registry.Connect(x.r.Context(), x.agent(), p)
	if err != nil {
		return nil, err
	}
	if err := s.notify(x.r.Context(), x.agent(), endpoint, "/connection/request", told); err != nil {
		return nil, withoutEndpoint(err)
	}
	return reply, nil
}

// notifyAgent is POST /agents/{agent_id}/connection/notify: one agent tells
// another that it is there.
func (s *Server) notifyAgent(x *exchange) (any, error) {
	p, err := read[arc.NotifyParams](s, x)
	if err != nil {
		return nil, err
	}
	endpoint, err := s.cfg.Registry.Notify(x.caller, x.agent(), p)
	if err != nil {
		return nil, err
	}
	if err := s.notify(x.r.Context(), x.agent(), endpoint, "/connection/notify", p); err != nil {
		return nil, err
	}
	return map[string]string{
		"status": "notified", "message": "The agent was told", "agent_endpoint": endpoint,
		"next_step": "Wait for the agent to contact you at the endpoint that you gave",
	}, nil
}

// metricsFor is GET /metrics: for administrators, and for whoever has the scrape
// token.
func (s *Server) metricsFor(x *exchange) (any, error) {
	if !s.scrapes(x.r) {
		if err := s.admit(x, &route{path: "/metrics", method: http.MethodGet, access: registry.Admin}); err != nil {
			return nil, err
		}
	}
	s.metricsPage(x.w, x.r)
	return nil, nil
}

// metricsScrape is GET /metrics/scrape: for whoever has the scrape token.
func (s *Server) metricsScrape(x *exchange) (any, error) {
	if !s.scrapes(x.r) {
		return nil, arc.Refuse(arc.ProblemPermission, "insufficient_permissions", "This needs the scrape token of the server")
	}
	s.metricsPage(x.w, x.r)
	return nil, nil
}

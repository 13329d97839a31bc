package server

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

// registryRoutes names every route of the registry API (contract section 1), who
// may call it, and what it does: the whole surface.
func (s *Server) registryRoutes() []route {
	reg := s.cfg.Registry
	const get, post, del = http.MethodGet, http.MethodPost, http.MethodDelete
	return []route{
		{"/auth/login", post, registry.Public, with(s, reg.Login)},
		{"/auth/logout", post, registry.Holder, func(x *exchange) (any, error) { return reg.Logout(x.r.Context(), x.caller) }},
		{"/auth/session_status", get, registry.Admin, func(x *exchange) (any, error) { return reg.SessionStatus(x.caller) }},
		{"/auth/agent/request_temp_token", post, registry.Public, with(s, reg.RequestTempToken)},
		{"/auth/temp-token", post, registry.Public, with(s, reg.RequestTempToken)},
		{"/auth/agent/validate_compliance", post, registry.Validating, with(s, reg.ValidateCompliance)},
		{"/auth/agent/validation/{validation_id}", get, registry.Reader, func(x *exchange) (any, error) {
			return reg.Validation(x.r.Context(), x.caller, x.r.PathValue("validation_id"))
		}},

		{"/auth/validate", post, registry.Public, s.validateBody},
		{"/tokens/validate", get, registry.Public, s.validateHeader},
		{"/tokens/validate", post, registry.Public, s.validateQuery},
		{"/tokens/refresh", post, registry.Holder, func(x *exchange) (any, error) { return reg.Refresh(x.r.Context(), x.caller) }},
		{"/tokens/mint", post, registry.Admin, func(x *exchange) (any, error) {
			p, err := read[arc.MintParams](s, x)
			if err != nil {
				return nil, err
			}
			return reg.Mint(x.caller, p)
		}},
		{"/tokens/revoke", post, registry.Admin, s.revokeToken},

		{"/agents", get, registry.Reader, s.listAgents},
		{"/agents/register", post, registry.Registering, with(s, reg.Register)},
		{"/agents/search", post, registry.Reader, s.search(false)},
		{"/agents/search", get, registry.Reader, s.searchQuery},
		{"/agents/stats", get, registry.Admin, s.agentStats},
		{"/agents/ws", get, registry.Public, s.upgraded(s.agentSocket)}, // the token comes in a frame
		{"/agents/report-metrics/{agent_id}", post, registry.Member, s.reportMetrics},
		{agentPath, get, registry.Reader, func(x *exchange) (any, error) {
			metrics, err := x.flag("include_metrics", true)
			if err != nil {
				return nil, err
			}
			return reg.GetAgent(x.agent(), metrics)
		}},
		{agentPath, del, registry.Member, func(x *exchange) (any, error) {
			return reg.Unregister(x.r.Context(), x.caller, x.agent())
		}},
		{agentPath + "/heartbeat", post, registry.Member, func(x *exchange) (any, error) { return reg.Beat(x.caller, x.agent()) }},
		{agentPath + "/metrics", post, registry.Member, s.updateMetrics},
		{agentPath + "/metrics", get, registry.Member, func(x *exchange) (any, error) { return reg.Metrics(x.caller, x.agent()) }},
		{agentPath + "/metrics/compat", post, registry.Member, s.reportMetrics},
		{agentPath + "/connection/notify", post, registry.Member, s.notifyAgent},

		{"/public/discover", get, registry.Public, s.discover},
		{"/public/search", post, registry.Public, s.search(true)},
		{"/public/agent/{agent_id}", get, registry.Public, func(x *exchange) (any, error) { return reg.PublicAgent(x.agent()) }},
		{"/public/connect/{agent_id}", post, registry.Public, s.connectAgent},
		{"/public/info", get, registry.Public, s.publicInfo},
		{"/public/stats", get, registry.Public, s.publicStats},
		{"/public/agent_types", get, registry.Public, func(*exchange) (any, error) {
			return map[string][]string{"allowed_agent_types": reg.Types()}, nil
		}},
		{"/public/ws", get, registry.Public, s.upgraded(s.publicSocket)},

		{"/audit", get, registry.Admin, s.auditPage},
		{"/dashboard/config", get, registry.AdminRead, s.dashboardConfig},
		{"/metrics", get, registry.Public, s.metricsFor}, // administrators, or the scrape token
		{"/metrics/scrape", get, registry.Public, s.metricsScrape},
		{"/security/attestation/challenge", post, registry.Public, func(*exchange) (any, error) {
			return nil, arc.Refuse(arc.ProblemNotImplemented, "not_implemented", "Attestation is not enabled: arcd does not have it")
		}},
		{"/.well-known/arcp-configuration", get, registry.Public, s.registryMetadata},
	}
}

// with makes a route of an operation that takes the body as its params.
func with[P, R any](s *Server, operation func(context.Context, *registry.Caller, P) (R, error)) func(*exchange) (any, error) {
	return func(x *exchange) (any, error) {
		p, err := read[P](s, x)
		if err != nil {
			return nil, err
		}
		return operation(x.r.Context(), x.caller, p)
	}
}

// upgraded makes a route of a handler that answers by itself.
func (s *Server) upgraded(handler func(*response, *http.Request)) func(*exchange) (any, error) {
	return func(x *exchange) (any, error) {
		handler(x.w, x.r)
		return nil, nil
	}
}

// agent is the id in the path.
func (x *exchange) agent() string { return x.r.PathValue("agent_id") }

// query gives the query parameters; those that do not parse are refused.
func (x *exchange) query() (url.Values, error) {
	q, err := url.ParseQuery(x.r.URL.RawQuery)
	if err != nil {
		return nil, badField("query", "is not well formed")
	}
	return q, nil
}

// flag reads a query parameter that is true or false.
func (x *exchange) flag(name string, absent bool) (bool, error) {
	q, err := x.query()
	if err != nil || !q.Has(name) {
		return absent, err
	}
	switch q.Get(name) {
	case "true", "True", "1", "yes", "on":
		return true, nil
	case "false", "False", "0", "no", "off":
		return false, nil
	}
	return false, badField(name, "must be true or false")
}

// number reads a query parameter that is a whole number from least to most.
func (x *exchange) number(name string, absent, least, most int) (int, error) {
	q, err := x.query()
	if err != nil || !q.Has(name) {
		return absent, err
	}
	n, err := strconv.Atoi(q.Get(name))
	if err != nil || n < least || n > most {
		return 0, badField(name, "must be a whole number from "+strconv.Itoa(least)+" to "+strconv.Itoa(most))
	}
	return n, nil
}

// validateBody is POST /auth/validate: is the token in the body good?
func (s *Server) validateBody(x *exchange) (any, error) {
	p, err := read[arc.TokenParams](s, x)
	if err != nil {
		return nil, err
	}
	return s.verdict(x, p.Token)
}

// validateHeader is GET /tokens/validate: is the bearer token good? The refusal
// also has the members that the published server answers with (decision D5 of the
// contract, section 8).
func (s *Server) validateHeader(x *exchange) (any, error) {
	token, err := auth.Bearer(x.r.Header)
	if err != nil {
		return nil, invalidVerdict(tokenProblem(s.public(err, x.w.requestID), "", s.cfg.Now()))
	}
	v, err := s.verdict(x, token)
	return v, invalidVerdict(err)
}

// validateQuery is POST /tokens/validate: the token is in the body, or where the
// published server wants it, in the query.
func (s *Server) validateQuery(x *exchange) (any, error) {
	q, err := x.query()
	if err != nil {
		return nil, err
	}
	token := q.Get("token")
	if token == "" {
		p, err := read[arc.TokenParams](s, x)
		if err != nil {
			return nil, err
		}
		token = p.Token
	}
	v, err := s.verdict(x, token)
	return v, invalidVerdict(err)
}

// invalidVerdict adds the published server's members to a refusal.
func invalidVerdict(err error) error {
	if refusal, ok := err.(*arc.Error); ok { //nolint:errorlint // a problem of ours, never wrapped
		return refusal.Clone().With("valid", false).With("error", refusal.Message)
	}
	return err
}

// verdict judges a token that was sent to be judged.
func (s *Server) verdict(x *exchange, token string) (any, error) {
	if token == "" {
		return nil, arc.Refuse(arc.ProblemInput, "invalid_input", "The field 'token' is missing").With("field", "token")
	}
	p, err := s.judge(x.r.Context(), token, x.w.requestID)
	if err != nil {
		return nil, err
	}
	of := *x.caller
	of.Principal = p
	return s.cfg.Registry.Verdict(&of)
}

// revokeToken is POST /tokens/revoke.
func (s *Server) revokeToken(x *exchange) (any, error) {
	p, err := read[arc.RevokeParams](s, x)
	if err != nil {
		return nil, err
	}
	if p.Token == "" {
		return s.cfg.Registry.Revoke(x.r.Context(), x.caller, p, nil)
	}
	token, err := s.judge(x.r.Context(), p.Token, x.w.requestID)
	if refusal, ok := errors.AsType[*arc.Error](err); ok {
		switch refusal.ErrorCode() {
		case "TOKEN_EXPIRED", "TOKEN_REVOKED": // there is nothing left to do
		case "KEYS_UNAVAILABLE":
			return nil, err
		default:
			return nil, arc.Refuse(arc.ProblemInput, "invalid_input", "The token is none that this server takes: %s", refusal.Message).
				With("field", "token")
		}
	}
	return s.cfg.Registry.Revoke(x.r.Context(), x.caller, p, token)
}

// listAgents is GET /agents. Without limit it gives all; with one, the header
// Link names the next page (RFC 8288).
func (s *Server) listAgents(x *exchange) (any, error) {
	q, err := x.query()
	if err != nil {
		return nil, err
	}
	f := registry.Filter{Type: q.Get("agent_type"), Status: q.Get("status"), AnyOf: q["capabilities"], After: q.Get("after")}
	if f.Status != "" && f.Status != arc.AgentAlive && f.Status != arc.AgentDead {
		return nil, badField("status", "must be alive or dead")
	}
	if f.Metrics, err = x.flag("include_metrics", false); err != nil {
		return nil, err
	}
	limit, err := x.number("limit", 0, 1, 1000)
	if err != nil {
		return nil, err
	}
	if limit > 0 {
		f.Limit = limit + 1 // one more, to know whether there is a next page
	}
	list := s.cfg.Registry.List(f)
	if limit > 0 && len(list) > limit {
		list = list[:limit]
		q.Set("after", list[limit-1].AgentID)
		x.w.Header().Set("Link", "<"+s.cfg.PublicURL+"/agents?"+q.Encode()+`>; rel="next"`)
	}
	return list, nil
}

// search is POST /agents/search and /public/search.
func (s *Server) search(public bool) func(*exchange) (any, error) {
	return func(x *exchange) (any, error) {
		p, err := read[arc.SearchParams](s, x)
		if err != nil {
			return nil, err
		}
		return s.cfg.Registry.Search(x.r.Context(), p, public)
	}
}

// searchQuery is GET /agents/search.
func (s *Server) searchQuery(x *exchange) (any, error) {
	q, err := x.query()
	if err != nil {
		return nil, err
	}
	p := arc.SearchParams{Query: q.Get("query"), Capabilities: q["capabilities"], AgentType: q.Get("agent_type")}
	top, err := x.number("top_k", 3, 1, 100)
	if err != nil {
		return nil, err
	}
	p.TopK = &top
	if q.Has("min_similarity") {
		least, err := strconv.ParseFloat(q.Get("min_similarity"), 64)
		if err != nil {
			return nil, badField("min_similarity", "must be a number from 0 to 1")
		}
		p.MinSimilarity = &least
	}
	if p.Weighted, err = x.flag("weighted", false); err != nil {
		return nil, err
	}
	return s.cfg.Registry.Search(x.r.Context(), p, false)
}

// updateMetrics is POST /agents/{agent_id}/metrics.
func (s *Server) updateMetrics(x *exchange) (any, error) {
	said, err := read[map[string]any](s, x)
	if err != nil {
		return nil, err
	}
	return s.cfg.Registry.UpdateMetrics(x.caller, x.agent(), said)
}

// reportMetrics is POST /agents/report-metrics/{agent_id}.
func (s *Server) reportMetrics(x *exchange) (any, error) {
	q, err := x.query()
	if err != nil {
		return nil, err
	}
	took, err := strconv.ParseFloat(q.Get("response_time"), 64)
	if err != nil {
		return nil, badField("response_time", "must be a number of seconds")
	}
	success, err := x.flag("success", true)
	if err != nil {
		return nil, err
	}
	return s.cfg.Registry.ReportMetrics(x.caller, x.agent(), took, success)
}

// discover is GET /public/discover.
func (s *Server) discover(x *exchange) (any, error) {
	q, err := x.query()
	if err != nil {
		return nil, err
	}
	f := registry.Filter{Type: q.Get("agent_type"), AllOf: q["capabilities"]}
	if f.Limit, err = x.number("limit", 50, 1, 100); err != nil {
		return nil, err
	}
	if f.Offset, err = x.number("offset", 0, 0, 1_000_000); err != nil {
		return nil, err
	}
	return s.cfg.Registry.PublicList(f), nil
}

// auditPage is GET /audit.
func (s *Server) auditPage(x *exchange) (any, error) {
	q, err := x.query()
	if err != nil {
		return nil, err
	}
	f := registry.AuditFilter{
		Event: q.Get("event"), Outcome: q.Get("outcome"), Actor: q.Get("actor"), Agent: q.Get("agent_id"), Cursor: q.Get("cursor"),
	}
	for name, to := range map[string]*time.Time{"from": &f.From, "to": &f.To} {
		if !q.Has(name) {
			continue
		}
		if *to, err = time.Parse(time.RFC3339, q.Get(name)); err != nil {
			return nil, badField(name, "must be a time such as 2026-01-02T15:04:05Z")
		}
	}
	if f.Limit, err = x.number("limit", 100, 1, 1000); err != nil {
		return nil, err
	}
	return s.cfg.Registry.Audit(x.r.Context(), f)
}

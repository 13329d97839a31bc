package server

import (
	"net/http"
	"slices"

	"github.com/arcd-io/arcd/arc"
)

// resourcePath is where RFC 9728 puts the metadata of a protected resource; the
// resource's own path comes behind it.
const resourcePath = "/.well-known/oauth-protected-resource"

// metadataCache lets clients keep metadata for a while.
const metadataCache = "public, max-age=300"

// protectedResource tells OAuth clients which tokens this server takes (RFC
// 9728 section 2).
func (s *Server) protectedResource(path string) func(*response, *http.Request) {
	servers := slices.Clone(s.cfg.AuthServers)
	if s.cfg.Issuer != nil && !slices.Contains(servers, s.cfg.Issuer.Provider().Issuer) {
		servers = append(servers, s.cfg.Issuer.Provider().Issuer)
	}
	document := struct {
		Resource string   `json:"resource"`
		Servers  []string `json:"authorization_servers,omitempty"`
		Scopes   []string `json:"scopes_supported"`
		Methods  []string `json:"bearer_methods_supported"`
		Name     string   `json:"resource_name"`
	}{s.cfg.PublicURL + path, servers, s.mux.AllScopes(), []string{"header"}, s.cfg.ServerID}
	return func(w *response, r *http.Request) {
		s.page(w, r, http.StatusOK, metadataCache, document)
	}
}

// endpoints are the addresses that /agent-info names.
type endpoints struct {
	ARC string `json:"arc"`
}

// serverInfo is /agent-info in the shape of the published SDK. The agents are
// for callers with a token.
type serverInfo struct {
	Server      string                 `json:"server"`
	Description string                 `json:"description"`
	Status      string                 `json:"status"`
	Version     string                 `json:"version"`
	Endpoints   endpoints              `json:"endpoints"`
	Agents      map[string]listedAgent `json:"registeredAgents,omitzero"`
	Total       *int                   `json:"totalAgents,omitempty"`
}

// listedAgent is an agent in the list of serverInfo.
type listedAgent struct {
	Methods []string        `json:"supportedMethods"`
	Status  arc.AgentStatus `json:"status"`
}

// agentCard is /agent-info/{id} in the shape of the specification.
type agentCard struct {
	arc.Agent
	Endpoints endpoints `json:"endpoints"`
	Methods   []string  `json:"supportedMethods"`
}

// agentInfo serves both: the server, or the agent named by the path or by
// ?agentId=. An agent is shown to callers with a token only, so that nobody
// else learns which ids exist.
func (s *Server) agentInfo(w *response, r *http.Request) {
	id := r.PathValue("id")
	if id == "" {
		id = r.URL.Query().Get("agentId")
	}
	known := s.anonymous != nil || r.Header.Get("Authorization") != ""
	if known || id != "" {
		if _, err := s.authenticate(r.Context(), r.Header, w.requestID); err != nil {
			s.problem(w, r, tokenProblem(err, s.bearer(r.Header), s.cfg.Now()))
			return
		}
	}
	if id == "" {
		s.page(w, r, http.StatusOK, "no-store", s.serverInfo(known))
		return
	}
	card, ok := s.service.Agent(id)
	if !ok {
		s.problem(w, r, arc.Refuse(arc.ProblemAgentNotFound, "agent_not_found", "There is no agent '%s'", id).With("agent_id", id))
		return
	}
	s.page(w, r, http.StatusOK, "no-store", agentCard{card, s.endpoints(), s.mux.Names()})
}

// endpoints gives the addresses as callers outside see them.
func (s *Server) endpoints() endpoints { return endpoints{ARC: s.cfg.PublicURL + "/arc"} }

// serverInfo makes the page about the server.
func (s *Server) serverInfo(withAgents bool) serverInfo {
	info := serverInfo{
		Server: s.cfg.ServerID, Description: "ARC Protocol server", Status: "active",
		Version: s.cfg.Version, Endpoints: s.endpoints(),
	}
	if s.draining.Load() {
		info.Status = "draining"
	}
	if withAgents {
		agents := s.service.Agents()
		total := len(agents)
		info.Total, info.Agents = &total, make(map[string]listedAgent, total)
		for _, a := range agents {
			info.Agents[a.ID] = listedAgent{Methods: s.mux.Names(), Status: a.Status}
		}
	}
	return info
}

// openRPC serves the OpenRPC document, which rpc.discover gives too.
func (s *Server) openRPC(w *response, _ *http.Request) {
	h := w.Header()
	h["Content-Type"] = mediaJSON
	h["Cache-Control"] = []string{metadataCache}
	s.write(w, http.StatusOK, s.service.OpenRPC())
}

// index lists what is here, and is 404 for whatever no other route takes.
func (s *Server) index(plain http.ResponseWriter, r *http.Request) {
	w := plain.(*response)
	if r.URL.Path != "/" {
		s.problem(w, r, nothingHere())
		return
	}
	s.get(func(w *response, r *http.Request) {
		links := map[string]string{
			"arc": "/arc", "health": "/health", "ready": "/readyz", "agents": "/agent-info",
			"openrpc": "/openrpc.json", "openapi": "/openapi.json", "problems": "/docs/problems",
			"protected_resource": resourcePath + "/arc",
		}
		if s.cfg.Issuer != nil {
			links["token"], links["authorization_server"] = tokenPath, oauthMetadata
		}
		if s.cfg.Registry != nil {
			links["registry"], links["register"] = "/agents", "/agents/register"
			links["login"], links["temp_token"] = "/auth/login", "/auth/agent/request_temp_token"
		}
		for name, path := range links {
			links[name] = s.cfg.PublicURL + path
		}
		s.page(w, r, http.StatusOK, metadataCache, struct {
			Server   string            `json:"server"`
			Service  string            `json:"service"` // as ARCP calls it
			Protocol string            `json:"protocol"`
			Version  string            `json:"version"`
			Status   string            `json:"status"`
			Docs     string            `json:"docs"`
			Links    map[string]string `json:"links"`
		}{s.cfg.ServerID, s.cfg.ServerID, "ARC " + arc.Version, s.cfg.Version, "running", s.cfg.PublicURL + "/openapi.json", links})
	})(w, r)
}

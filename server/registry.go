package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
)

// exchange is one request of the registry API on its way:
//
//	registryRoute
//	├─ bounded              headers, number of query parameters   413, 400
//	├─ identify             bearer token → Principal              401, 503
//	├─ registry.Admit       kind of token, session, role          401, 403
//	└─ route.do             body → params → registry → result     400, 404, 409, 422 …
type exchange struct {
	w      *response
	r      *http.Request
	caller *registry.Caller
	token  string // as it was sent; "" if none was, or none is asked for
}

// route is a row of the registry API: its whole surface is registryRoutes.
type route struct {
	path   string
	method string
	access registry.Access
	do     func(*exchange) (any, error)
}

// Limits of a request to the registry API (contract section 1.0).
const (
	maxRegistryBody = 1 << 20
	maxQuery        = 50
	maxHeaders      = 24 << 10 // a token alone may have 16 KiB
)

// addRegistry adds the registry API to mux. Paths are matched whatever the
// method, so that a wrong one gets a problem document.
func (s *Server) addRegistry(mux *http.ServeMux) {
	byPath := map[string]map[string]route{}
	for _, rt := range s.registryRoutes() {
		if byPath[rt.path] == nil {
			byPath[rt.path] = map[string]route{}
		}
		byPath[rt.path][rt.method] = rt
	}
	for path, methods := range byPath {
		if !strings.HasPrefix(path, agentPath+"/") {
			mux.HandleFunc(path, s.registryRoute(path, methods))
		}
	}
	// What is below one agent is matched by its last segments here: a ServeMux takes
	// /agents/report-metrics/{agent_id} and /agents/{agent_id}/heartbeat for a
	// conflict.
	below := map[string]http.HandlerFunc{}
	for path, methods := range byPath {
		if strings.HasPrefix(path, agentPath+"/") {
			below[path] = s.registryRoute(path, methods)
		}
	}
	mux.HandleFunc(agentPath+"/{part...}", func(w http.ResponseWriter, r *http.Request) {
		if h, ok := below[agentPath+"/"+r.PathValue("part")]; ok {
			h(w, r)
			return
		}
		s.problem(w.(*response), r, nothingHere())
	})
}

// agentPath is that of one agent.
const agentPath = "/agents/{agent_id}"

// registryRoute answers one path.
func (s *Server) registryRoute(path string, methods map[string]route) http.HandlerFunc {
	allowed := []string{}
	for method := range methods {
		allowed = append(allowed, method)
		if method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	return func(plain http.ResponseWriter, r *http.Request) {
		w := plain.(*response)
		r.Pattern = path
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		rt, ok := methods[method]
		if !ok {
			s.refuseMethod(w, r, allowed...)
			return
		}
		x := &exchange{w: w, r: r, caller: &registry.Caller{
			Remote: remote(r), RequestID: w.requestID, Fingerprint: fingerprint(r.Header),
			IdempotencyKey: r.Header.Get("Idempotency-Key"),
		}}
		s.exchange(x, &rt)
	}
}

// fingerprint gives the header X-Client-Fingerprint, "" if it is absent. Several are
// one that matches none of them (RFC 9110 section 5.3): a wrong one is always
// refused, wherever it stands.
func fingerprint(h http.Header) string { return strings.Join(h.Values("X-Client-Fingerprint"), ", ") }

// exchange makes one call of the registry API and answers it.
func (s *Server) exchange(x *exchange, rt *route) {
	err := s.admit(x, rt)
	var result any
	if err == nil {
		result, err = rt.do(x)
	}
	if err != nil {
		s.problem(x.w, x.r, s.public(err, x.w.requestID))
		return
	}
	if x.w.status != 0 { // the route has answered itself
		return
	}
	if x.caller.Replayed {
		x.w.Header()["Idempotency-Replayed"] = theReplays
		x.w.Header()["X-Idempotent-Replayed"] = theReplays
	}
	s.page(x.w, x.r, http.StatusOK, "no-store", result)
}

// admit finds out who calls, and whether they may.
func (s *Server) admit(x *exchange, rt *route) error {
	if err := bounded(x.r); err != nil {
		return err
	}
	if rt.access == registry.Public {
		return nil
	}
	err := s.identify(x)
	if err == nil {
		err = s.cfg.Registry.Admit(x.caller, rt.access)
	}
	if err != nil {
		s.cfg.Registry.Refused(x.caller, rt.method+" "+rt.path, err)
	}
	return err
}

// bounded refuses requests that are larger than any use of this API.
func bounded(r *http.Request) error {
	size := 0
	for name, values := range r.Header {
		for _, value := range values {
			size += len(name) + len(value)
		}
	}
	if size > maxHeaders {
		return arc.Refuse(arc.ProblemHeadersTooLarge, "headers_too_large", "The headers are larger than %d bytes", maxHeaders).
			With("header_size", size).With("max_header_size", maxHeaders)
	}
	if n := strings.Count(r.URL.RawQuery, "&") + 1; n > maxQuery {
		return arc.Refuse(arc.ProblemRequest, "request_error", "There are more than %d query parameters", maxQuery).
			With("query_param_count", n).With("max_query_params", maxQuery)
	}
	return nil
}

// identify turns the request's token into the caller's principal.
func (s *Server) identify(x *exchange) error {
	if s.anonymous != nil && x.r.Header.Get("Authorization") == "" {
		x.caller.Principal = s.anonymous
		return nil
	}
	token, err := auth.Bearer(x.r.Header)
	if err != nil {
		return tokenProblem(s.public(err, x.w.requestID), "", s.cfg.Now())
	}
	x.token = token
	x.caller.Principal, err = s.judge(x.r.Context(), token, x.w.requestID)
	return err
}

// judge validates a token of the registry API. A refusal is a problem of the
// contract's section 2.3.
func (s *Server) judge(ctx context.Context, token, requestID string) (*auth.Principal, error) {
	if s.cfg.RegistryValidator == nil {
		return nil, arc.Refuse(arc.ProblemAuthentication, "no_provider", "This server trusts no issuer of tokens")
	}
	p, err := s.cfg.RegistryValidator.Validate(ctx, token)
	if err != nil {
		return nil, tokenProblem(s.public(err, requestID), token, s.cfg.Now())
	}
	return p, nil
}

// read decodes the body into the params of an operation. Names are
// case-sensitive, none may be there twice, and unknown ones are passed over, as
// the published clients send some.
//
// Errors: validation-failed, naming the field; those of readBody.
func read[P any](s *Server, x *exchange) (p P, err error) {
	body, status, refusal := s.readBody(x.w, x.r, maxRegistryBody)
	if refusal != nil {
		refusal = refusal.Clone()
		refusal.Status = status
		return p, refusal
	}
	if fault := jsonv2.Unmarshal(body, &p, exact); fault != nil {
		return p, badBody(fault)
	}
	return p, nil
}

// exact makes params of the wrong letter case unknown ones.
var exact = jsonv2.MatchCaseInsensitiveNames(false)

// badBody says what is wrong with a body, and where.
func badBody(fault error) *arc.Error {
	field, issue := "body", "is not a JSON object"
	if semantic, ok := errors.AsType[*jsonv2.SemanticError](fault); ok {
		if at := fieldName(semantic.JSONPointer); at != "" {
			field, issue = at, "has the wrong type"
			if semantic.JSONKind != 0 {
				issue += ": it is " + kindName(semantic.JSONKind)
			}
		}
	} else if errors.Is(fault, jsontext.ErrDuplicateName) {
		issue = "has a member twice"
	} else if errors.Is(fault, io.ErrUnexpectedEOF) || errors.Is(fault, io.EOF) {
		issue = "is not complete JSON"
	}
	return badField(field, issue).Because(fault)
}

// fieldName writes a pointer (RFC 6901) as fields are named elsewhere:
// capabilities[1], metadata.key.
func fieldName(at jsontext.Pointer) string {
	var b strings.Builder
	for token := range at.Tokens() {
		switch _, err := strconv.Atoi(token); {
		case err == nil:
			b.WriteString("[" + token + "]")
		case b.Len() > 0:
			b.WriteString("." + token)
		default:
			b.WriteString(token)
		}
	}
	return b.String()
}

// badField refuses one field of a body, or one query parameter.
func badField(name, issue string) *arc.Error {
	return arc.Refuse(arc.ProblemValidation, "validation_failed", "The request is not valid: %s %s", name, issue).
		With("validation_errors", []map[string]string{{"field": name, "message": issue}})
}

// kindName names a kind of JSON value.
func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a text"
	case '0':
		return "a number"
	case '[':
		return "a list"
	}
	return "an object"
}

package server

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
)

// public turns a failure into what may leave the process. An unexpected one is
// logged with the request's id, and the answer names that id.
func (s *Server) public(err error, requestID string) *arc.Error {
	if err == nil {
		err = errors.New("the handler panicked")
	}
	e := arc.Public(methods.Outage(err))
	if e.Code != arc.CodeInternal {
		return e
	}
	if !errors.Is(err, context.Canceled) {
		s.log.Error().Str("event", "internal").Str("request_id", requestID).Err(err).Msg("an internal error")
	}
	return e.Clone().With("errorId", requestID).With("retryable", false)
}

// answer makes the envelope of a call's outcome. Errors come from the server
// itself, results from the agent that was asked.
func (s *Server) answer(q *arc.Request, result any, err *arc.Error) arc.Response {
	r := arc.Response{
		Dialect: q.Dialect, ID: q.ID, From: s.cfg.ServerID, To: q.From, TraceID: q.TraceID, Result: result, Err: err,
	}
	if err == nil && q.To != "" {
		r.From = q.To
	}
	return r
}

// encode appends the envelope of an outcome to dst. A result that does not
// encode becomes -32603, which is given back.
func (s *Server) encode(dst []byte, q *arc.Request, result any, err *arc.Error, requestID string) ([]byte, *arc.Error) {
	r := s.answer(q, result, err)
	b, fault := rpc.Encode(dst, &r)
	if fault == nil {
		return b, err
	}
	err = s.public(fault, requestID)
	r = s.answer(q, nil, err)
	b, _ = rpc.Encode(dst, &r) // details of texts and booleans always encode
	return b, err
}

// status is the HTTP status of an outcome (the table in section 1.6 of the
// contract): the agent layer's failures are 200, unless the caller awaits a
// stream, because the published clients read an error's code only there.
func (s *Server) status(err *arc.Error, streaming bool) int {
	switch {
	case err == nil || s.cfg.HTTPStatus == always200:
		return http.StatusOK
	case errors.Is(err, methods.ErrOutage): // the server's, not the agent's
		return http.StatusServiceUnavailable
	case streaming || err.Code.Envelope() || err.Code.Access() || err.Code == arc.CodeInternal:
		return callStatus(err)
	}
	return http.StatusOK
}

// always200 is the value of HTTPStatus under which the published Python client
// can tell -44003 and -44004 apart from other refusals.
const always200 = "always_200"

// callStatus is the status that fits a call's failure by HTTP's meaning. Keys and
// revocations that cannot be had are our outage: a 401 would make callers drop a good
// token.
func callStatus(err *arc.Error) int {
	if err.Outage() {
		return http.StatusServiceUnavailable
	}
	return err.Code.Status()
}

// refusalHeaders sets WWW-Authenticate and Retry-After where the failure calls
// for them.
func (s *Server) refusalHeaders(h http.Header, err *arc.Error) {
	if err.Code.Access() {
		if c := auth.Challenge(err, realm, s.cfg.PublicURL+resourcePath+"/arc"); c != "" {
			h.Set("WWW-Authenticate", c)
		}
	}
	retryAfter(h, err)
}

// Header values that many answers share; nobody changes them.
var (
	mediaARC     = []string{arc.MediaARC}
	mediaJSON    = []string{arc.MediaJSON}
	mediaSSE     = []string{arc.MediaSSE}
	mediaProblem = []string{"application/problem+json"}
	noStore      = []string{"no-store"}
	noSniff      = []string{"nosniff"}
	noReferrer   = []string{"no-referrer"}
	closeIt      = []string{"close"}
	theReplays   = []string{"true"}
)

// buffers holds the bodies of answers while they are made.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// maxPooled is the largest buffer that is kept for the next answer.
const maxPooled = 256 << 10

// putBuffer keeps a buffer for the next answer, unless it grew large.
func putBuffer(p *[]byte) {
	if cap(*p) <= maxPooled {
		*p = (*p)[:0]
		buffers.Put(p)
	}
}

// respond sends the one answer to a single call. q may be half empty, if the
// call could not be read.
func (s *Server) respond(w *response, q *arc.Request, result any, err *arc.Error, streaming bool) {
	p := buffers.Get().(*[]byte)
	defer putBuffer(p)
	b, err := s.encode((*p)[:0], q, result, err, w.requestID)
	status := s.status(err, streaming)
	if err != nil {
		s.refusalHeaders(w.Header(), err)
		if status >= 300 && q.Dialect == arc.ARC {
			b = appendCopies(b, err)
		}
	}
	*p = b
	s.send(w, status, q.Dialect, b)
}

// appendCopies puts message and details at the top level of an ARC error too,
// where the published Python client looks on any status but 2xx; it reads the
// code from there.
func appendCopies(b []byte, err *arc.Error) []byte {
	details := maps.Clone(err.Object().Details)
	details["code"] = err.Code
	copies, fault := rpc.AppendJSON(nil, struct {
		Message string         `json:"message"`
		Details map[string]any `json:"details"`
	}{err.Message, details})
	if fault != nil {
		return b
	}
	b[len(b)-1] = ','
	return append(b, copies[1:]...)
}

// send writes a finished envelope, or batch of them.
func (s *Server) send(w *response, status int, dialect arc.Dialect, body []byte) {
	h := w.Header()
	h["Content-Type"] = mediaARC
	if dialect == arc.JSONRPC {
		h["Content-Type"] = mediaJSON
	}
	h["Cache-Control"] = noStore
	s.write(w, status, body)
}

// write sends a whole body. A client that is gone is no failure of ours.
func (s *Server) write(w *response, status int, body []byte) {
	const buffered = 2 << 10 // up to here net/http counts the length itself
	if len(body) > buffered {
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}

// get lets only GET and HEAD through to a page.
func (s *Server) get(page func(*response, *http.Request)) http.HandlerFunc {
	return func(plain http.ResponseWriter, r *http.Request) {
		w := plain.(*response)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			s.refuseMethod(w, r, http.MethodGet, http.MethodHead)
			return
		}
		page(w, r)
	}
}

// refuseMethod is 405, naming what is allowed (RFC 9110 section 15.5.6).
func (s *Server) refuseMethod(w *response, r *http.Request, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	err := arc.Errorf(arc.CodeInvalidRequest, "this path does not take %s", r.Method).
		With("allowed", allowed).With("retryable", false)
	err.Problem = arc.ProblemMethod
	s.problemStatus(w, r, http.StatusMethodNotAllowed, err)
}

// page sends a JSON page.
func (s *Server) page(w *response, r *http.Request, status int, cache string, v any) {
	p := buffers.Get().(*[]byte)
	defer putBuffer(p)
	b, err := rpc.AppendJSON((*p)[:0], v)
	if err != nil {
		s.problem(w, r, s.public(err, w.requestID))
		return
	}
	*p = b
	h := w.Header()
	h["Content-Type"] = mediaJSON
	h["Cache-Control"] = []string{cache}
	s.write(w, status, b)
}

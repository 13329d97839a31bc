package server

import (
	"maps"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/rpc"
)

// isARC tells whether a path is the ARC endpoint, whose failures are envelopes.
func isARC(path string) bool { return path == "/arc" || path == "/arc/" }

// statusOf is the HTTP status of a problem document: that of the occurrence, of
// its kind, or of its code. Keys that cannot be had are our outage: a 401 would
// make callers drop a good token.
func statusOf(err *arc.Error) int {
	switch {
	case err.Status != 0:
		return err.Status
	case err.Problem != "":
		return err.Problem.Status()
	}
	return callStatus(err)
}

// problem refuses a request that is no call, or cannot become one. On the ARC
// endpoint the body is an ARC envelope, elsewhere a problem document (RFC 9457).
func (s *Server) problem(w *response, r *http.Request, err *arc.Error) {
	status := statusOf(err)
	if isARC(r.URL.Path) {
		status = callStatus(err)
	}
	s.problemStatus(w, r, status, err)
}

// problemStatus is problem with a status that the error alone does not give.
func (s *Server) problemStatus(w *response, r *http.Request, status int, err *arc.Error) {
	p := buffers.Get().(*[]byte)
	defer putBuffer(p)
	if isARC(r.URL.Path) {
		s.refusalHeaders(w.Header(), err)
		b, _ := s.encode((*p)[:0], &arc.Request{}, nil, err, w.requestID)
		*p = appendCopies(b, err)
		s.send(w, status, arc.ARC, *p)
		return
	}
	w.failure = err
	h := w.Header()
	if c := s.problemChallenge(status, err); c != "" {
		h.Set("WWW-Authenticate", c)
	}
	retryAfter(h, err)
	*p = appendProblem((*p)[:0], problem{
		Type: s.cfg.ProblemBase + string(err.Kind()), Title: err.Kind().Title(), Status: status, Detail: err.Message,
		Instance: r.URL.EscapedPath(), Time: s.cfg.Now().UTC().Format(time.RFC3339), RequestID: w.requestID,
	}, err)
	h["Content-Type"] = mediaProblem
	h["Cache-Control"] = noStore
	s.write(w, status, *p)
}

// problem holds the members that stand first in every problem document, in their
// order.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail"`
	Instance  string `json:"instance"`
	Time      string `json:"timestamp"` // RFC 3339, UTC, whole seconds
	RequestID string `json:"request_id"`
}

// noExtension lists the details of an error that are no extension members: those
// that have a place of their own in the document, and what only ARC answers
// have.
var noExtension = map[string]bool{
	"type": true, "title": true, "status": true, "detail": true, "instance": true, "timestamp": true, "request_id": true,
	"error_code": true, "reason": true, "retryable": true, "errorId": true,
}

// appendProblem appends a problem document: the members of d, the details of err
// sorted by their names, and error_code. A detail that is no JSON is left out.
func appendProblem(b []byte, d problem, err *arc.Error) []byte {
	b, _ = rpc.AppendJSON(b, d) // texts and a number always encode
	for _, name := range slices.Sorted(maps.Keys(err.Details)) {
		if !noExtension[name] {
			b = appendMember(b, name, err.Details[name])
		}
	}
	return appendMember(b, "error_code", err.ErrorCode())
}

// appendMember puts one more member into the object that b ends with.
func appendMember(b []byte, name string, value any) []byte {
	end := len(b) - 1
	longer, err := rpc.AppendJSON(append(b[:end], ','), name)
	if err == nil {
		longer, err = rpc.AppendJSON(append(longer, ':'), value)
	}
	if err != nil {
		return append(b[:end], '}')
	}
	return append(longer, '}')
}

// realm is the protected space that challenges name.
const realm = "arc"

// problemChallenge gives the WWW-Authenticate of a problem document: one for
// every 401 (RFC 9110 section 11.6.1), with an error word only where a token was
// sent (RFC 6750 section 3.1), and one for a token that lacks a scope.
func (s *Server) problemChallenge(status int, err *arc.Error) string {
	shown := err
	switch kind := err.Kind(); {
	case err.Code == arc.CodeInsufficientScope:
	case status != http.StatusUnauthorized:
		return ""
	case err.Code == arc.CodeTokenExpired:
	case kind == arc.ProblemToken, kind == arc.ProblemSession, kind == arc.ProblemSessionExpired:
		shown = &arc.Error{Code: arc.CodeTokenInvalid}
	default:
		shown = arc.Errorf(arc.CodeUnauthenticated, "").With("reason", auth.ReasonMissingToken)
	}
	return auth.Challenge(shown, realm, s.cfg.PublicURL+resourcePath)
}

// retryAfter says when to try again, in whole seconds, if the failure knows.
func retryAfter(h http.Header, err *arc.Error) {
	if err.RetryAfter > 0 {
		seconds := (err.RetryAfter + time.Second - 1) / time.Second
		h.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
}

// normalPath tells whether a ServeMux takes the path as it is. What is not in its
// shortest form, or no path, it would answer with a redirect or a text of its own,
// and the published clients follow no redirects.
func normalPath(p string) bool {
	if p == "" || p[0] != '/' || strings.Contains(p, "//") {
		return false
	}
	clean := path.Clean(p)
	return clean == p || len(p) == len(clean)+1 && p[len(p)-1] == '/'
}

// nothingHere is the 404 of a path that no route takes.
func nothingHere() *arc.Error {
	return arc.Refuse(arc.ProblemNotFound, "not_found", "there is nothing at this path")
}

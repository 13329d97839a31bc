package server

import (
	"crypto/rand"
	"net"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
)

// response is the ResponseWriter that all handlers get: it remembers what the
// access log wants to know.
type response struct {
	http.ResponseWriter
	timeout   time.Duration // for the answer to leave, from its first byte
	requestID string
	traceID   string
	call      *rpc.Call // if its audit line is to be one with the access log's
	failure   *arc.Error
	status    int  // 0 until the header is written
	leaving   bool // of a stream: its deadline is running
	unread    bool // the request has a body, of which not all was read yet
	lasting   bool // a stream or socket: its time tells nothing of the work
	bytes     int64
}

// Unwrap lets [http.ResponseController] reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader remembers the status, and starts the time in which the answer
// must leave. Streams set their own deadlines afterwards.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
		w.lasting = w.lasting || status == http.StatusSwitchingProtocols
		if w.unread { // net/http reads the rest before it sends the answer
			_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(w.timeout / 2))
		}
		w.deadline(w.timeout)
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (w *response) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// deadline gives what is written from now on this time to leave; 0: for ever.
// A connection that has no deadlines, as in a test's recorder, needs none.
func (w *response) deadline(d time.Duration) {
	var at time.Time
	if d > 0 {
		at = time.Now().Add(d)
	}
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(at)
}

// bodyRead ends the time in which the body must arrive; later the deadline would
// keep the end of the connection from being noticed.
func (w *response) bodyRead() {
	w.unread = false
	_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Time{})
}

// frame is what surrounds every request: its id, the access log, recovery, and
// the rules for browsers.
func (s *Server) frame(next http.Handler) http.Handler {
	return http.HandlerFunc(func(plain http.ResponseWriter, r *http.Request) {
		w := &response{ResponseWriter: plain, timeout: s.cfg.WriteTimeout, requestID: requestID(r)}
		if len(s.cfg.TrustedProxies) > 0 {
			r.RemoteAddr = s.fromProxy(r)
		}
		start := s.cfg.Now()
		h := w.Header()
		h["X-Request-Id"] = []string{w.requestID}
		h["X-Content-Type-Options"] = noSniff
		h["Referrer-Policy"] = noReferrer
		if s.leaving.Load() && r.Header.Get("Upgrade") == "" {
			h["Connection"] = closeIt // not cut now, when the next call may be on its way
		}
		if r.Body != nil && r.Body != http.NoBody {
			w.unread = true
			// A connection without deadlines (a test's recorder) has nobody to wait for.
			_ = http.NewResponseController(plain).SetReadDeadline(time.Now().Add(s.cfg.ReadTimeout))
		}
		defer func() {
			took := s.cfg.Now().Sub(start)
			s.cfg.Metrics.request(r, w.status, took, w.lasting)
			s.logAccess(w, r, took)
		}()
		defer s.recover(w, r)
		switch {
		case !s.browser(w, r):
		case !normalPath(r.URL.EscapedPath()):
			s.problem(w, r, nothingHere())
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// requestPrefix begins the ids that problem documents show (contract section
// 2.1).
const requestPrefix = "req_"

// requestID takes the caller's X-Request-ID if it is sane, else makes one.
// Everywhere but on the ARC endpoint, whose callers may name a call as they
// like, it begins with req_.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	if !saneID(id) {
		return newRequestID()
	}
	if isARC(r.URL.Path) || strings.HasPrefix(id, requestPrefix) {
		return id
	}
	return requestPrefix + id
}

// saneID tells whether a caller's id can go into headers, bodies and logs.
func saneID(id string) bool {
	if id == "" || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		c := id[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case strings.IndexByte("-_.:/=+", c) >= 0:
		default:
			return false
		}
	}
	return true
}

// newRequestID makes an id of 130 random bits: it names the request in answers,
// so it must not be guessed from another.
func newRequestID() string { return requestPrefix + rand.Text() }

// recover answers a panic with -32603. One of net/http's own goes on: it asks
// for the connection to be cut.
func (s *Server) recover(w *response, r *http.Request) {
	cause := recover()
	if cause == nil {
		return
	}
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	s.log.Error().Str("event", "panic").Str("request_id", w.requestID).Any("panic", cause).
		Bytes("stack", debug.Stack()).Msg("a handler panicked")
	if w.status != 0 { // what was begun must not look finished
		panic(http.ErrAbortHandler)
	}
	s.problem(w, r, s.public(nil, w.requestID))
}

// logAccess writes one line per HTTP request. For a single call it says too how
// access was judged.
func (s *Server) logAccess(w *response, r *http.Request, took time.Duration) {
	line := s.log.Info()
	if !line.Enabled() {
		return
	}
	if w.call != nil {
		s.judged(line, w.call, w.failure)
	} else {
		line.Str("event", "request").Str("request_id", w.requestID)
		if w.failure != nil {
			line.Str("error_code", w.failure.ErrorCode())
			// Elsewhere the cause may quote the body, which may hold a password.
			if w.failure.Code.Access() || w.status >= http.StatusInternalServerError {
				line.AnErr("cause", w.failure.Unwrap())
			}
		}
		if w.traceID != "" {
			line.Str("trace_id", w.traceID)
		}
	}
	line.Str("http_method", r.Method).Str("path", r.URL.Path).Str("remote", remote(r)).
		Int("status", w.status).Int64("bytes", w.bytes).Dur("duration_ms", took)
	line.Send()
}

// remote is who is at the other end of the connection.
func remote(r *http.Request) string { return host(r.RemoteAddr) }

// host is an address without its port.
func host(address string) string {
	h, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return h
}

// exposed lists the headers that a script may read from an answer.
const exposed = "WWW-Authenticate, Retry-After, Location, Link, Idempotency-Replayed, X-Idempotent-Replayed, X-Request-ID"

// What a script of an allowed origin may send, besides what it may send
// anywhere. The second line is what the ARCP pages' JavaScript and dashboards
// send (contract section 1.0).
const (
	corsMethods = "GET, POST, DELETE, OPTIONS"
	corsHeaders = "Authorization, Content-Type, Accept, Idempotency-Key, Last-Event-ID, X-Request-ID, " +
		"X-Client-Fingerprint, X-Session-Pin, X-Requested-With, X-CSRF-Token, Accept-Language, Content-Language, DPoP"
)

// browser applies the rules for requests that a browser made for a page: CORS
// for the allowed origins, refusal of the others' (see
// [http.CrossOriginProtection]). It tells whether the request goes on.
//
// Credentials are never allowed: a bearer token is no ambient credential, and
// so a wildcard is safe.
func (s *Server) browser(w *response, r *http.Request) bool {
	if s.anonymous != nil && !s.expectedHost(r.Host) {
		s.problem(w, r, refuseOrigin("host_not_allowed", "the Host header names another server"))
		return false
	}
	if !s.cors(w, r) {
		return false
	}
	if s.protection != nil {
		if err := s.protection.Check(r); err != nil {
			s.problem(w, r, refuseOrigin("cross_origin", "pages of this origin may not call here").Because(err))
			return false
		}
	}
	return true
}

// cors tells the browser what a page of another origin may do here, and whether
// the request goes on: preflights end here (Fetch standard, section 3.3).
func (s *Server) cors(w *response, r *http.Request) bool {
	h := w.Header()
	if len(s.cfg.CORSOrigins) > 0 {
		h.Add("Vary", "Origin")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	preflight := r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != ""
	if !s.allowedOrigin(origin) {
		if preflight {
			s.problem(w, r, refuseOrigin("cross_origin", "pages of this origin may not call here"))
		}
		return !preflight
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", exposed)
	if preflight {
		h.Set("Access-Control-Allow-Methods", corsMethods)
		h.Set("Access-Control-Allow-Headers", corsHeaders)
		h.Set("Access-Control-Max-Age", "600")
		w.WriteHeader(http.StatusNoContent)
	}
	return !preflight
}

// refuseOrigin is the 403 for requests that a foreign page had a browser make.
func refuseOrigin(reason, text string) *arc.Error {
	err := arc.Errorf(arc.CodeUnauthorized, "%s", text).With("reason", reason).With("retryable", false)
	err.Problem = arc.ProblemForbidden
	return err
}

// allowedOrigin compares exactly, as browsers send origins in one form only.
func (s *Server) allowedOrigin(origin string) bool {
	return slices.Contains(s.cfg.CORSOrigins, "*") || slices.Contains(s.cfg.CORSOrigins, origin)
}

// expectedHost keeps pages away from a server without authentication that only
// reach it because their own name was made to point to it (DNS rebinding). An
// address or localhost cannot be such a name.
func (s *Server) expectedHost(host string) bool {
	name := (&url.URL{Host: host}).Hostname()
	if name == "localhost" || net.ParseIP(name) != nil {
		return true
	}
	u, err := url.Parse(s.cfg.PublicURL)
	return err == nil && u.Host != "" && strings.EqualFold(u.Hostname(), name)
}

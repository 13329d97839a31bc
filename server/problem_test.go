package server_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
	"github.com/arcd-io/arcd/server"
)

// refusing is a server whose validator refuses every token with the error that
// it holds at the time, at a fixed time of the day.
func refusing(t *testing.T) (*world, *revocable) {
	v := &revocable{}
	return start(t, options{config: func(cfg *server.Config) {
		cfg.Validator = v
		zone := time.FixedZone("east", 2*3600)
		cfg.Now = func() time.Time { return time.Date(2024, 1, 15, 12, 30, 0, 987654321, zone) }
	}}), v
}

// refused gets the problem document that an error becomes.
func (w *world) refused(v *revocable, err *arc.Error) reply {
	w.t.Helper()
	v.mu.Lock()
	v.refused = err
	v.mu.Unlock()
	return w.do(ask{method: http.MethodGet, path: "/agent-info", token: "a.b.c", header: map[string]string{"X-Request-ID": "req_mno345"}})
}

// TestProblemDocument: every byte of a document, whatever an error holds.
func TestProblemDocument(t *testing.T) {
	w, v := refusing(t)
	err := arc.Refuse(arc.ProblemDuplicateAgent, "idempotency_conflict", "%s", "it's a <b> & an object\xff").
		With("zebra", 5).With("agent_id", "a").With("list", []string{}).With("object", map[string]any{"b": 1.5, "a": nil}).
		With("retryable", true).With("errorId", "x").With("no JSON", make(chan int)).
		With("type", "x").With("title", "x").With("status", 1).With("detail", "x").With("instance", "x").
		With("timestamp", "x").With("request_id", "x").With("error_code", "x")
	err.RetryAfter = 1500 * time.Millisecond
	r := w.refused(v, err)
	want := `{"type":"https://arcp.0x001.tech/docs/problems/duplicate-agent","title":"Duplicate Agent","status":409,` +
		`"detail":"it's a <b> & an object` + "\ufffd" + `","instance":"/agent-info","timestamp":"2024-01-15T10:30:00Z",` +
		`"request_id":"req_mno345","agent_id":"a","list":[],"object":{"a":null,"b":1.5},"zebra":5,"error_code":"IDEMPOTENCY_CONFLICT"}`
	if diff := cmp.Diff(want, r.body); diff != "" {
		t.Errorf("document (-want +got):\n%s", diff)
	}
	for name, value := range map[string]string{
		"Content-Type": "application/problem+json", "Cache-Control": "no-store", "Retry-After": "2",
		"X-Request-Id": "req_mno345", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
	} {
		if got := r.header.Get(name); got != value || r.status != http.StatusConflict {
			t.Errorf("%d, %s: %q, want 409, %q", r.status, name, got, value)
		}
	}
	line := w.log.await(t, "request", "request_id", "req_mno345")
	if line["error_code"] != "IDEMPOTENCY_CONFLICT" {
		t.Errorf("the access log has %v", line)
	}
}

// TestCausesInTheLog: the log says why a token was refused and why the server
// failed. What is wrong with a body is not for the log: the cause may quote it.
func TestCausesInTheLog(t *testing.T) {
	w, v := refusing(t)
	for p, shown := range map[arc.Problem]bool{
		arc.ProblemToken: true, arc.ProblemUnreachable: true, arc.ProblemConfiguration: true,
		arc.ProblemValidation: false, arc.ProblemInput: false, arc.ProblemRequest: false,
	} {
		cause := "cause of " + string(p)
		w.refused(v, arc.Refuse(p, "x", "m").Because(errors.New(cause)))
		line := w.log.await(t, "request", "status", fmt.Sprint(p.Status()))
		if logged := strings.Contains(w.log.String(), cause); logged != shown {
			t.Errorf("%s: the cause is in the log: %t, want %t; line %v", p, logged, shown, line)
		}
	}
}

func TestProblemBase(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.ProblemBase = "https://arcd.test/p/" }})
	r := w.do(ask{method: http.MethodGet, path: "/nowhere"})
	if !strings.HasPrefix(r.body, `{"type":"https://arcd.test/p/not-found",`) {
		t.Errorf("document: %s", r.body)
	}
}

func TestProblemStatus(t *testing.T) {
	w, v := refusing(t)
	own := arc.Refuse(arc.ProblemToken, "wrong_token_type", "m")
	own.Status = http.StatusForbidden
	for label, c := range map[string]struct {
		err    *arc.Error
		status int
		kind   arc.Problem
	}{
		"its own":          {own, http.StatusForbidden, arc.ProblemToken},
		"of the kind":      {arc.Refuse(arc.ProblemAgentNotAvailable, "x", "m"), http.StatusNotFound, arc.ProblemAgentNotAvailable},
		"of the code":      {arc.Errorf(arc.CodeAgentUnavailable, "m"), http.StatusServiceUnavailable, arc.ProblemUnavailable},
		"of the code, 409": {arc.Errorf(arc.CodeTaskCanceled, "m"), http.StatusConflict, arc.ProblemRequest},
	} {
		r := w.refused(v, c.err)
		got := document(t, r)
		want := map[string]any{
			"type": "https://arcp.0x001.tech/docs/problems/" + string(c.kind), "title": c.kind.Title(), "status": float64(c.status),
		}
		if diff := cmp.Diff(want, pick(got, "type", "title", "status")); diff != "" || r.status != c.status {
			t.Errorf("%s: status %d, document (-want +got):\n%s", label, r.status, diff)
		}
	}
}

// document reads a problem document and checks what holds for all of them.
func document(t *testing.T, r reply) map[string]any {
	t.Helper()
	var d map[string]any
	if err := json.Unmarshal([]byte(r.body), &d); err != nil {
		t.Errorf("document %q: %v", r.body, err)
		return nil
	}
	if r.header.Get("Content-Type") != "application/problem+json" || d["status"] != float64(r.status) ||
		d["request_id"] != r.header.Get("X-Request-ID") || !strings.HasPrefix(fmt.Sprint(d["request_id"]), "req_") {
		t.Errorf("%d, %v with %s", r.status, r.header, r.body)
	}
	for _, name := range []string{"type", "title", "detail", "timestamp", "error_code"} {
		if d[name] == "" || d[name] == nil {
			t.Errorf("no %s in %s", name, r.body)
		}
	}
	return d
}

// pick gives some members of an object.
func pick(d map[string]any, names ...string) map[string]any {
	some := map[string]any{}
	for _, name := range names {
		some[name] = d[name]
	}
	return some
}

// TestEvery401HasAChallenge (RFC 9110 section 11.6.1); it has an error word only
// where a token was sent (RFC 6750 section 3.1).
func TestEvery401HasAChallenge(t *testing.T) {
	w, v := refusing(t)
	word := map[arc.Problem]bool{arc.ProblemToken: true, arc.ProblemSession: true, arc.ProblemSessionExpired: true}
	metadata := `, resource_metadata="` + w.url + `/.well-known/oauth-protected-resource"`
	for p := range arc.Problems() {
		r := w.refused(v, arc.Refuse(p, "x", "m"))
		got := r.header.Get("WWW-Authenticate")
		switch {
		case p.Status() != http.StatusUnauthorized:
			if got != "" {
				t.Errorf("%s: %d with the challenge %s", p, r.status, got)
			}
		case word[p]:
			if !strings.HasPrefix(got, `Bearer realm="arc", error="invalid_token", error_description="the token `) || !strings.HasSuffix(got, metadata) {
				t.Errorf("%s: WWW-Authenticate: %s, want invalid_token", p, got)
			}
		case got != `Bearer realm="arc"`+metadata:
			t.Errorf("%s: WWW-Authenticate: %s, want no error word", p, got)
		}
	}
	r := w.refused(v, arc.Errorf(arc.CodeInsufficientScope, "m").With("required_scopes", []string{"a", "b"}))
	if got := r.header.Get("WWW-Authenticate"); !strings.Contains(got, `error="insufficient_scope"`) || !strings.Contains(got, `scope="a b"`) {
		t.Errorf("a missing scope: WWW-Authenticate: %s", got)
	}
}

// TestTokenProblems: what the HTTP API makes of each reason for which package
// auth refuses a token (contract section 2.3).
func TestTokenProblems(t *testing.T) {
	w, v := refusing(t)
	const (
		kind      = "https://arcp.0x001.tech/docs/problems/token-invalid"
		signature = "JWT token signature verification failed"
	)
	for reason, want := range map[string]struct {
		status       int
		code, detail string
	}{
		auth.ReasonMalformed:     {401, "MALFORMED_TOKEN", "JWT token format is invalid"},
		auth.ReasonUnknownIssuer: {401, "INVALID_SIGNATURE", signature},
		auth.ReasonUnknownKey:    {401, "INVALID_SIGNATURE", signature},
		auth.ReasonAlgNotAllowed: {401, "INVALID_SIGNATURE", signature},
		auth.ReasonBadSignature:  {401, "INVALID_SIGNATURE", signature},
		auth.ReasonWrongAudience: {401, "INVALID_AUDIENCE", "JWT token is for another audience"},
		auth.ReasonNotYetValid:   {401, "TOKEN_NOT_YET_VALID", "JWT token is not valid yet"},
		auth.ReasonRevoked:       {401, "TOKEN_REVOKED", "JWT token has been revoked"},
		auth.ReasonMissingClaim:  {401, "MISSING_CLAIMS", "JWT token is missing required claims"},
		auth.ReasonExpired:       {401, "TOKEN_EXPIRED", "JWT token has expired"},
		auth.ReasonPolicy:        {403, "WRONG_TOKEN_TYPE", "JWT token is of a type that is not accepted here"},
	} {
		err := arc.Errorf(arc.CodeUnauthenticated, "m").With("reason", reason).Because(io.ErrUnexpectedEOF)
		wanted := map[string]any{
			"type": kind, "title": "Invalid or Expired Token", "status": float64(want.status), "detail": want.detail,
			"instance": "/agent-info", "timestamp": "2024-01-15T10:30:00Z", "request_id": "req_mno345", "error_code": want.code,
		}
		if reason == auth.ReasonMissingClaim {
			err.With("claim", "sub")
			wanted["missing_claims"] = []any{"sub"}
		}
		if diff := cmp.Diff(wanted, document(t, w.refused(v, err))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", reason, diff)
		}
	}
	issuer := arc.Errorf(arc.CodeUnauthenticated, "m").With("reason", auth.ReasonMissingClaim).With("claim", "iss")
	if d := document(t, w.refused(v, issuer)); d["error_code"] != "INVALID_SIGNATURE" || d["missing_claims"] != nil {
		t.Errorf("without an issuer: %v", d)
	}
	outage := arc.Errorf(arc.CodeUnauthenticated, "m").With("reason", auth.ReasonKeysUnavailable)
	outage.RetryAfter = 5 * time.Second
	r := w.refused(v, outage)
	if d := document(t, r); r.status != http.StatusServiceUnavailable || d["error_code"] != "KEYS_UNAVAILABLE" ||
		!strings.HasSuffix(d["type"].(string), "/service-unavailable") || r.header.Get("Retry-After") != "5" || r.header.Get("WWW-Authenticate") != "" {
		t.Errorf("keys unavailable: %+v", r)
	}
}

// TestBadTokensAtTheHTTPAPI sends every bad token that fits into a header field.
func TestBadTokensAtTheHTTPAPI(t *testing.T) {
	w := start(t, options{})
	codes := map[string]string{
		auth.ReasonMalformed: "MALFORMED_TOKEN", auth.ReasonUnknownIssuer: "INVALID_SIGNATURE", auth.ReasonUnknownKey: "INVALID_SIGNATURE",
		auth.ReasonAlgNotAllowed: "INVALID_SIGNATURE", auth.ReasonBadSignature: "INVALID_SIGNATURE", auth.ReasonWrongAudience: "INVALID_AUDIENCE",
		auth.ReasonNotYetValid: "TOKEN_NOT_YET_VALID", auth.ReasonMissingClaim: "MISSING_CLAIMS", auth.ReasonPolicy: "WRONG_TOKEN_TYPE",
		auth.ReasonExpired: "TOKEN_EXPIRED",
	}
	seen := map[string]bool{}
	for _, bad := range arctest.BadTokens(t, w.issuer, audience, time.Now()) {
		if bad.Unsendable {
			continue
		}
		want := codes[bad.Reason]
		switch times, _ := auth.Unverified(bad.Token); {
		case !isToken68(bad.Token):
			want = "AUTH_REQUIRED"
		case !times.Expires.IsZero() && times.Expires.Before(time.Now()):
			want = "TOKEN_EXPIRED"
		case bad.Name == "iss: absent" || bad.Name == "iss: empty" || bad.Name == "iss: written Iss":
			want = "INVALID_SIGNATURE"
		}
		d := document(t, w.do(ask{method: http.MethodGet, path: "/agent-info", token: bad.Token}))
		if d["error_code"] != want {
			t.Errorf("%s: %v, want %s", bad.Name, d, want)
		}
		seen[want] = true
	}
	for _, want := range codes {
		if !seen[want] {
			t.Errorf("no token got %s", want)
		}
	}
}

// TestSeedTokens: the tokens of the seed pages, at a page of arcd's own.
func TestSeedTokens(t *testing.T) {
	w := start(t, options{})
	for label, c := range map[string]struct {
		authorization string
		want          map[string]any
	}{
		"T1, a dummy signature": {
			"Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZ2VudC0wMDEiLCJleHAiOjE3MDUzOTk4MDB9.signature",
			map[string]any{
				"detail": "JWT token has expired at 2024-01-16T10:10:00Z", "error_code": "TOKEN_EXPIRED", "token_expired_at": "2024-01-16T10:10:00Z",
			},
		},
		"T1', with iat": {
			"Bearer x." + arctest.B64([]byte(`{"iat":1705307400,"exp":1705311000.5}`)) + ".",
			map[string]any{
				"detail": "JWT token has expired at 2024-01-15T09:30:00Z", "error_code": "TOKEN_EXPIRED",
				"token_expired_at": "2024-01-15T09:30:00Z", "token_issued_at": "2024-01-15T08:30:00Z",
			},
		},
		"T2": {"Bearer invalid.token.format", map[string]any{"detail": "JWT token format is invalid", "error_code": "MALFORMED_TOKEN"}},
		"s1, cut": {"Bearer eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9...",
			map[string]any{"detail": "JWT token format is invalid", "error_code": "MALFORMED_TOKEN"}},
		"A2, another scheme": {"Basic YTpi", map[string]any{
			"detail": "Authentication required - missing or invalid Authorization header", "error_code": "AUTH_REQUIRED",
		}},
		"A2, no token": {"Bearer", map[string]any{
			"detail": "Authentication required - missing or invalid Authorization header", "error_code": "AUTH_REQUIRED",
		}},
		"A2, two words": {"Bearer a b", map[string]any{
			"detail": "Authentication required - missing or invalid Authorization header", "error_code": "AUTH_REQUIRED",
		}},
	} {
		r := w.do(ask{method: http.MethodGet, path: "/agent-info", header: map[string]string{"Authorization": c.authorization}})
		got := document(t, r)
		if r.status != http.StatusUnauthorized {
			t.Errorf("%s: %d, want 401", label, r.status)
		}
		maps.DeleteFunc(got, func(name string, _ any) bool {
			return strings.Contains(" type title status instance timestamp request_id ", " "+name+" ")
		})
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
	}
}

// TestNoPlainTextAnswers: whatever reaches a handler and fails is a problem
// document, never a redirect or a text of net/http.
func TestNoPlainTextAnswers(t *testing.T) {
	w := start(t, options{})
	for line, want := range map[string]int{
		"GET //":                     404,
		"GET //health":               404,
		"GET /health/":               404,
		"GET /agents/../health":      404,
		"GET /./health":              404,
		"GET /health/.":              404,
		"GET /%2e%2e/health":         404,
		"GET /nothing%2Fhere":        404,
		"GET /%ff%00":                404,
		"GET *":                      404,
		"GET http://127.0.0.1":       404,
		"CONNECT 127.0.0.1:443":      404,
		"CONNECT //x":                404,
		"CONNECT /health":            405,
		"OPTIONS /nothing":           404,
		"OPTIONS /health":            405,
		"TRACE /health":              405,
		"ODD /livez":                 405,
		"DELETE /docs/problems":      405,
		"GET /docs/problems/":        404,
		"GET /docs/problems/odd":     404,
		"PUT /openrpc.json":          405,
		"POST /agent-info/x":         405,
		"GET /arc/x":                 404,
		"HEAD /nothing":              404,
		"GET /agent-info/x%2F..%2Fy": 401,
		"GET /.well-known/nothing":   404,
		"GET /.well-known/../health": 404,
		"PUT /.well-known/oauth-protected-resource": 405,
	} {
		r := w.raw(line + " HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
		if r.status != want || r.header.Get("Location") != "" || r.header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %+v, want a problem document with %d", line, r, want)
			continue
		}
		if want == http.StatusMethodNotAllowed && r.header.Get("Allow") != "GET, HEAD" {
			t.Errorf("%s: Allow: %q", line, r.header.Get("Allow"))
		}
		if !strings.HasPrefix(line, "HEAD ") {
			document(t, r)
		}
	}
	// A target that is no URI is refused by net/http before any handler.
	if r := w.raw("GET /%zz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"); r.status != http.StatusBadRequest || r.body != "400 Bad Request" {
		t.Errorf("GET /%%zz: %+v", r)
	}
	if r := w.raw("GET /%ff%22 HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"); !strings.Contains(r.body, `"instance":"/%FF%22"`) &&
		!strings.Contains(r.body, `"instance":"/%ff%22"`) {
		t.Errorf("a path that is no text: %s", r.body)
	}
}

// raw sends bytes and reads the answer to them.
func (w *world) raw(request string) reply {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
		w.t.Fatal(err)
	}
	fmt.Fprint(conn, request)
	method, _, _ := strings.Cut(request, " ")
	if method == http.MethodConnect { // else its answer would be taken for a tunnel
		method = http.MethodGet
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	if err != nil {
		w.t.Fatalf("%q: %v", request, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%q: %v", request, err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

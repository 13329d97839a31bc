package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/server"
)

// withDatabases runs the tests and stops the PostgreSQL that they used.
type withDatabases struct{ *testing.M }

func (m withDatabases) Run() int { return pgtest.Main(m.M) }

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(withDatabases{m}, goleak.Cleanup(func(int) { http.DefaultClient.CloseIdleConnections() }))
}

func TestRequestID(t *testing.T) {
	w := start(t, options{})
	for sent, kept := range map[string]bool{
		"": false, "abc-1_2.3:4/5=6+7": true, "with space": false, "quote\"": false, "ünï": false,
		strings.Repeat("a", 128): true, strings.Repeat("a", 129): false,
	} {
		header := map[string]string{}
		if sent != "" {
			header["X-Request-ID"] = sent
		}
		got := w.do(ask{method: http.MethodGet, path: "/arc", header: header}).header.Get("X-Request-ID")
		if (got == sent) != kept || !kept && !strings.HasPrefix(got, "req_") {
			t.Errorf("on /arc X-Request-ID %q came back as %q, kept must be %t", sent, got, kept)
		}
		got = w.do(ask{method: http.MethodGet, path: "/livez", header: header}).header.Get("X-Request-ID")
		if (got == "req_"+sent) != kept || !strings.HasPrefix(got, "req_") {
			t.Errorf("elsewhere X-Request-ID %q came back as %q, kept must be %t", sent, got, kept)
		}
	}
}

func TestLogLines(t *testing.T) {
	w := start(t, options{})
	token := w.token()
	body := strings.Replace(arcCall("task.info", "echo", `{"taskId":"t"}`), `"id":1`, `"id":1,"traceId":"w-7"`, 1)
	w.do(ask{body: body, token: token, header: map[string]string{"X-Request-ID": "r-allow"}})
	w.do(ask{body: body, token: w.token("arc.agent.caller"), header: map[string]string{"X-Request-ID": "r-scope"}})
	w.do(ask{body: body, token: "nonsense.x.y", header: map[string]string{"X-Request-ID": "r-bad"}})
	for id, want := range map[string]map[string]any{
		"r-allow": {
			"verdict": "allow", "provider": "test", "sub": "user-1", "client_id": "client-1", "alg": "ES256", "kid": "ES256-1",
			"method": "task.info", "agent": "echo", "request_agent": "tester", "trace_id": "w-7",
		},
		"r-scope": {"verdict": "deny", "code": float64(-44003), "reason": "insufficient_scope", "sub": "user-1"},
		"r-bad":   {"verdict": "deny", "code": float64(-44001), "reason": "malformed", "method": "task.info"},
	} {
		line := w.log.await(t, "access", "request_id", id)
		for name, value := range want {
			if line[name] != value {
				t.Errorf("%s: %s is %v, want %v", id, name, line[name], value)
			}
		}
	}
	line := w.log.await(t, "access", "request_id", "r-allow")
	if line["status"] != float64(200) || line["bytes"] == float64(0) || line["path"] != "/arc" || line["trace_id"] != "w-7" || line["duration_ms"] == nil {
		t.Errorf("the access log has %v", line)
	}
	for _, part := range strings.Split(token, ".") {
		if strings.Contains(w.log.String(), part) {
			t.Error("a part of the token is in the log")
		}
	}
}

// panicking is a validator with a fault.
type panicking struct{}

func (panicking) Validate(context.Context, string) (*auth.Principal, error) { panic("secret detail") }

// failing is a validator that gives an error without a code, or nothing at all.
type failing struct{ err error }

func (f failing) Validate(context.Context, string) (*auth.Principal, error) { return nil, f.err }

func TestInternalErrors(t *testing.T) {
	for label, v := range map[string]auth.Validator{
		"panic": panicking{}, "no code": failing{errors.New("secret detail")}, "nothing": failing{},
	} {
		w := start(t, options{config: func(cfg *server.Config) { cfg.Validator = v }})
		r := w.do(ask{body: arcCall("task.info", "echo", `{"taskId":"t"}`), token: "x", header: map[string]string{"X-Request-ID": "r-1"}})
		if r.status != http.StatusInternalServerError || code(t, r.body) != int(arc.CodeInternal) {
			t.Errorf("%s: %d %s, want 500 and -32603", label, r.status, r.body)
		}
		if strings.Contains(r.body, "secret") || !strings.Contains(r.body, `"errorId":"r-1"`) {
			t.Errorf("%s: the answer is %s, want the request id and no internals", label, r.body)
		}
		if label != "nothing" && !strings.Contains(w.log.String(), "secret detail") {
			t.Errorf("%s: the cause is not in the log", label)
		}
	}
}

func TestNoValidatorRefusesEverything(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.Validator = nil }})
	r := w.do(ask{body: arcCall("task.info", "echo", `{"taskId":"t"}`), token: w.token()})
	if r.status != http.StatusUnauthorized || !strings.Contains(r.body, "no_provider") {
		t.Errorf("%d %s, want 401", r.status, r.body)
	}
}

func TestKeysUnavailableIs503(t *testing.T) {
	v := &revocable{}
	v.refuse(auth.ReasonKeysUnavailable)
	v.refused.RetryAfter = 1500 * time.Millisecond
	w := start(t, options{config: func(cfg *server.Config) { cfg.Validator = v }})
	r := w.do(ask{body: arcCall("task.info", "echo", `{"taskId":"t"}`), token: "x"})
	if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") != "2" || r.header.Get("WWW-Authenticate") != "" {
		t.Errorf("%+v, want 503 with Retry-After and no challenge", r)
	}
}

func TestSocketSurvivesAPanickingValidator(t *testing.T) {
	v := &turning{}
	w := start(t, options{config: func(cfg *server.Config) { v.Validator, cfg.Validator = cfg.Validator, v }})
	c := w.dial(w.token())
	c.say(rpcCall("task.info", "echo", `{"taskId":"t"}`))
	if status := c.closed(); status != websocket.StatusInternalError {
		t.Errorf("closed with %v, want 1011", status)
	}
}

// turning is good once and panics from then on.
type turning struct {
	auth.Validator
	used bool
}

func (v *turning) Validate(ctx context.Context, token string) (*auth.Principal, error) {
	if v.used {
		panic("turned")
	}
	v.used = true
	return v.Validator.Validate(ctx, token)
}

func TestReady(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) {
		cfg.Ready = func(context.Context) error { return errors.New("no keys from https://internal.example") }
	}})
	r := w.do(ask{method: http.MethodGet, path: "/readyz"})
	if r.status != http.StatusServiceUnavailable || r.body != `{"status":"unavailable","reason":"auth"}` {
		t.Errorf("readyz without keys: %d %s", r.status, r.body)
	}
	w = start(t, options{config: func(cfg *server.Config) {
		cfg.Ready = func(context.Context) error { return fmt.Errorf("%w: revocations", server.ErrStore) }
	}})
	if r := w.do(ask{method: http.MethodGet, path: "/readyz"}); r.body != `{"status":"unavailable","reason":"store"}` {
		t.Errorf("readyz without revocations: %d %s", r.status, r.body)
	}
	if r := w.do(ask{method: http.MethodGet, path: "/livez"}); r.status != http.StatusOK {
		t.Errorf("livez without keys: %d", r.status)
	}
}

func TestChunkedBodyIsBounded(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.Limits.BodyBytes = 1000 }})
	for size, want := range map[int]int{900: http.StatusBadRequest, 1100: http.StatusRequestEntityTooLarge} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/arc",
			struct{ *strings.Reader }{strings.NewReader(strings.Repeat("x", size))}) // of no known length
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%d bytes in chunks: %d, want %d", size, resp.StatusCode, want)
		}
	}
}

func TestSlowBodyTimesOut(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.ReadTimeout = 50 * time.Millisecond }})
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "POST /arc HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestTimeout || !resp.Close {
		t.Errorf("status %d, close %t; want 408 and the connection closed", resp.StatusCode, resp.Close)
	}
}

// TestSlowBodyOfRefusedRequests: net/http reads what is left of a body before a
// refusal leaves. A body that never comes must not keep the refusal back, nor the
// connection open.
func TestSlowBodyOfRefusedRequests(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.WriteTimeout = time.Second }})
	for request, want := range map[string]int{
		"POST /health HTTP/1.1\r\n":                          http.StatusMethodNotAllowed,
		"POST /nowhere HTTP/1.1\r\n":                         http.StatusNotFound,
		"POST /arc HTTP/1.1\r\nContent-Type: text/plain\r\n": http.StatusUnsupportedMediaType,
		"PUT /arc HTTP/1.1\r\n":                              http.StatusMethodNotAllowed,
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(10 * time.Second)); err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, request+"Host: x\r\nContent-Length: 100\r\n\r\n{")
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%q: %v", request, err)
			continue
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want || !resp.Close {
			t.Errorf("%q: status %d, close %t; want %d and the connection closed", request, resp.StatusCode, resp.Close, want)
		}
	}
}

func TestLargeHeaderIsRefused(t *testing.T) {
	w := start(t, options{})
	r := w.do(ask{method: http.MethodGet, path: "/livez", header: map[string]string{"X-Large": strings.Repeat("a", 40<<10)}})
	if r.status != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("a header of 40 KiB: %d, want 431", r.status)
	}
}

func TestIdempotencyKeyHeader(t *testing.T) {
	w := start(t, options{})
	var first string
	for i, want := range []string{"", "true"} {
		r := w.do(ask{body: arcCall("task.create", "idle", hello), token: w.token(), header: map[string]string{"Idempotency-Key": "k"}})
		if r.status != http.StatusOK || r.header.Get("Idempotency-Replayed") != want {
			t.Errorf("call %d: %+v, want Idempotency-Replayed %q", i, r, want)
		}
		if i > 0 && taskID(t, r.body) != first {
			t.Errorf("the second call made another task: %s", r.body)
		}
		first = taskID(t, r.body)
	}
}

func taskID(t testing.TB, body string) string {
	t.Helper()
	_, rest, ok := strings.Cut(body, `"taskId":"`)
	if !ok {
		t.Fatalf("no taskId in %s", body)
	}
	id, _, _ := strings.Cut(rest, `"`)
	return id
}

func TestPagesWithoutConversation(t *testing.T) {
	w := start(t, options{})
	r := w.do(ask{method: http.MethodGet, path: "/openrpc.json"})
	if r.status != http.StatusOK || !strings.Contains(r.body, `"openrpc"`) {
		t.Errorf("openrpc.json: %d %.80s", r.status, r.body)
	}
	r = w.do(ask{method: http.MethodHead, path: "/health"})
	if r.status != http.StatusOK || r.body != "" {
		t.Errorf("HEAD /health: %+v", r)
	}
}

// TestHandlerAlone serves the handler by another server, as an embedding
// program would.
func TestHandlerAlone(t *testing.T) {
	w := start(t, options{})
	rec := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/arc", strings.NewReader(arcCall("task.info", "echo", `{"taskId":"t"}`)))
	r.Header.Set("Authorization", "Bearer "+w.token())
	w.server.Handler().ServeHTTP(rec, r)
	if rec.Code != http.StatusOK || code(t, rec.Body.String()) != int(arc.CodeTaskNotFound) {
		t.Errorf("%d %s", rec.Code, rec.Body)
	}
}

func TestStartUpMisusePanics(t *testing.T) {
	w := start(t, options{})
	for label, cfg := range map[string]server.Config{
		"no service": {}, "no origin": {CORSOrigins: []string{"app.example"}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: New did not panic", label)
				}
			}()
			if label != "no service" {
				cfg.Service = w.service(t.Context(), options{}, w.logger())
			}
			server.New(cfg)
		}()
	}
}

func TestServeReportsABrokenListener(t *testing.T) {
	w := start(t, options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	s := server.New(server.Config{Service: w.service(t.Context(), options{}, w.logger())})
	if err := s.Serve(t.Context(), l); err == nil || !strings.HasPrefix(err.Error(), "serving: ") {
		t.Errorf("Serve on a closed listener = %v, want an error", err)
	}
}

func TestTLSWithHTTP2AndHybridKeys(t *testing.T) {
	helper := httptest.NewUnstartedServer(nil) // has a certificate for 127.0.0.1
	helper.StartTLS()
	defer helper.Close()
	w := start(t, options{config: func(cfg *server.Config) {
		cfg.TLS = &tls.Config{Certificates: helper.TLS.Certificates}
	}})
	roots := x509.NewCertPool()
	roots.AddCert(helper.Certificate())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	c := w.client()
	c.HTTP = &http.Client{Transport: transport}
	var last string
	for ev, err := range c.StreamChat(t.Context(), "stream", arc.StartChatParams{InitialMessage: userText("3")}) {
		if err != nil {
			t.Fatal(err)
		}
		last = ev.Name
	}
	if last != "done" {
		t.Errorf("a stream over HTTP/2 ended with %q", last)
	}
	resp, err := c.HTTP.Get(w.url + "/livez")
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.ProtoMajor != 2 || resp.TLS.CurveID != tls.X25519MLKEM768 || resp.TLS.Version != tls.VersionTLS13 {
		t.Errorf("HTTP/%d with TLS %x and curve %v, want HTTP/2, TLS 1.3, X25519MLKEM768", resp.ProtoMajor, resp.TLS.Version, resp.TLS.CurveID)
	}
}

package server_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store"
)

var asJSON = map[string]string{"Content-Type": "application/json", "X-Client-Fingerprint": fingerprint}

// The limiter's refusal is what the caller gets, with the time to wait.
func TestW12TheLimiterIsObeyed(t *testing.T) {
	m := startMembers(t, memberOptions{})
	var last reply
	for range 7 {
		last = m.do(ask{path: "/auth/login", body: `{"username":"root","password":"wrong"}`, header: asJSON})
	}
	last.wantProblem(t, 429, "RATE_LIMITED")
	if last.header.Get("Retry-After") == "" || !strings.Contains(last.body, `"retry_after":`) {
		t.Errorf("no time to wait: %v %s", last.header, last.body)
	}
	for range 7 {
		last = m.do(ask{path: "/auth/agent/request_temp_token", body: `{"agent_id":"agent-01","agent_type":"testing","agent_key":"wrong"}`, header: asJSON})
	}
	last.wantProblem(t, 429, "RATE_LIMITED")
	if strings.Contains(last.body, "127.0.0.1") {
		t.Errorf("the answer tells the address: %s", last.body)
	}
}

// Scraping compares the whole token, and without one set nobody scrapes.
func TestW16ScrapeToken(t *testing.T) {
	const token = "0123456789abcdef-scrape"
	m := startMembers(t, memberOptions{server: func(c *server.Config) {
		c.Metrics, c.ScrapeToken = server.NewMetrics("test"), token
	}})
	for _, path := range []string{"/metrics", "/metrics/scrape"} {
		if r := m.do(ask{method: http.MethodGet, path: path, token: token}); r.status != 200 || !strings.Contains(r.body, "arcp_service_info") {
			t.Errorf("%s: %d %.200s", path, r.status, r.body)
		}
		for _, wrong := range []string{"", token[:len(token)-1], token + "x"} {
			if r := m.do(ask{method: http.MethodGet, path: path, token: wrong}); r.status == 200 {
				t.Errorf("%s with %q: %d", path, wrong, r.status)
			}
		}
	}
	off := startMembers(t, memberOptions{server: func(c *server.Config) { c.Metrics = server.NewMetrics("test") }})
	off.do(ask{method: http.MethodGet, path: "/metrics/scrape", token: "x"}).wantProblem(t, 403, "INSUFFICIENT_PERMISSIONS")
}

// Phase 2 answers at once and well on default settings, and the token it gives
// registers.
func TestW21ValidationWorksAsItComes(t *testing.T) {
	m := startMembers(t, memberOptions{})
	validated := m.post("/auth/agent/validate_compliance", m.temp(1), "validated_token", map[string]any{
		"agent_id": "agent-01", "agent_type": "testing", "endpoint": "http://127.0.0.1:9/agent", "capabilities": []string{"testing"},
	})
	if validated == "" {
		t.Fatal("no token")
	}
	if r := m.do(ask{method: http.MethodGet, path: "/agents", token: validated}); r.status != 200 {
		t.Errorf("the token does not read: %d %s", r.status, r.body)
	}
}

// Endpoints that the policy refuses are neither validated nor called.
func TestW25RefusedEndpoints(t *testing.T) {
	var told atomic.Int64
	refused := arc.Refuse(arc.ProblemURL, "address_not_allowed", "The endpoint is at an address that is not allowed")
	m := startMembers(t, memberOptions{
		registry: func(c *registry.Config) {
			c.ProbeReported = true // even then
			c.Probe = func(context.Context, string, string) registry.Probed {
				return registry.Probed{Failure: refused, Refused: true}
			}
		},
		server: func(c *server.Config) {
			c.Notify = func(context.Context, string, any) (int, error) { told.Add(1); return 0, refused }
		},
	})
	body := `{"agent_id":"agent-01","agent_type":"testing","endpoint":"http://127.0.0.1:9/","capabilities":["testing"]}`
	m.do(ask{path: "/auth/agent/validate_compliance", token: m.temp(1), body: body, header: asJSON}).wantProblem(t, 400, "ADDRESS_NOT_ALLOWED")
	m.register(2)
	wish := `{"user_id":"bob","user_endpoint":"http://127.0.0.1:9/"}`
	m.do(ask{path: "/public/connect/agent-02", body: wish, header: asJSON}).wantProblem(t, 400, "ADDRESS_NOT_ALLOWED")
	if told.Load() != 1 {
		t.Errorf("%d calls", told.Load())
	}
	m.do(ask{path: "/public/connect/agent-09", body: wish, header: asJSON}).wantProblem(t, 404, "AGENT_NOT_FOUND")
	if told.Load() != 1 {
		t.Error("an agent that is not there was called")
	}
}

// A certificate in a header proves nothing and changes nothing.
func TestW27CertificateHeadersAreIgnored(t *testing.T) {
	m := startMembers(t, memberOptions{})
	for _, name := range []string{"X-Client-Cert", "X-SSL-Client-Cert", "X-Forwarded-Client-Cert", "X-Client-Certificate"} {
		m.do(ask{method: http.MethodGet, path: "/agents", header: map[string]string{name: "-----BEGIN CERTIFICATE-----"}}).
			wantProblem(t, 401, "AUTH_REQUIRED")
	}
}

// A proof of possession that nobody checks opens nothing: not as a scheme, not
// beside a token, not in the body.
func TestW28ProofsAreNotPretended(t *testing.T) {
	m := startMembers(t, memberOptions{})
	token := m.register(1)
	m.do(ask{method: http.MethodGet, path: "/agents", header: map[string]string{"Authorization": "DPoP " + token, "DPoP": "x"}}).
		wantProblem(t, 401, "AUTH_REQUIRED")
	m.do(ask{path: "/agents/register", body: `{"jkt":"x","dpop":"y"}`, header: asJSON}).wantProblem(t, 401, "AUTH_REQUIRED")
}

// brokenDisk is a store that stops writing.
type brokenDisk struct {
	store.Registry
	broken atomic.Bool
}

var errDisk = errors.New("disk on fire at /secret/place")

func (f *brokenDisk) fails() error {
	if f.broken.Load() {
		return errDisk
	}
	return nil
}

func (f *brokenDisk) PutAgent(ctx context.Context, a store.Agent) (store.Agent, error) {
	if err := f.fails(); err != nil {
		return a, err
	}
	return f.Registry.PutAgent(ctx, a)
}

func (f *brokenDisk) DeleteAgent(ctx context.Context, id string, rev int64) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.Registry.DeleteAgent(ctx, id, rev)
}

func (f *brokenDisk) Revoke(ctx context.Context, r store.Revocation) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.Registry.Revoke(ctx, r)
}

func (f *brokenDisk) SetMark(ctx context.Context, m store.Mark) error {
	if err := f.fails(); err != nil {
		return err
	}
	return f.Registry.SetMark(ctx, m)
}

func (f *brokenDisk) Unmark(ctx context.Context, kind, value string) (bool, error) {
	if err := f.fails(); err != nil {
		return false, err
	}
	return f.Registry.Unmark(ctx, kind, value)
}

// When the store fails, what had to be stored has not happened: nothing goes on in
// memory, and the answer tells nothing of the cause.
func TestW29NothingHappensInMemoryAlone(t *testing.T) {
	var db *brokenDisk
	m := startMembers(t, memberOptions{registry: func(c *registry.Config) {
		db = &brokenDisk{Registry: c.Store}
		c.Store = db
	}})
	agent, temp, admin := m.register(1), m.temp(2), m.login()
	db.broken.Store(true)
	for _, a := range []ask{
		{path: "/agents/register", token: temp, body: registration(2)},
		{method: http.MethodDelete, path: "/agents/agent-01", token: agent},
		{path: "/auth/logout", token: admin},
		{path: "/auth/login", body: `{"username":"root","password":"correct horse"}`},
		{path: "/auth/agent/request_temp_token", body: `{"agent_id":"agent-03","agent_type":"testing","agent_key":"key-of-agent-03"}`},
	} {
		a.header = asJSON
		r := m.do(a)
		r.wantProblem(t, 500, "INTERNAL_ERROR")
		if strings.Contains(r.body, "secret") {
			t.Errorf("%s: %s", a.path, r.body)
		}
	}
	db.broken.Store(false)
	if r := m.do(ask{method: http.MethodGet, path: "/agents/agent-01", token: agent}); r.status != 200 {
		t.Errorf("agent-01 after a failed removal: %d %s", r.status, r.body)
	}
	if r := m.do(ask{method: http.MethodGet, path: "/agents/agent-02", token: agent}); r.status != 404 {
		t.Errorf("agent-02 after a failed registration: %d %s", r.status, r.body)
	}
	if r := m.do(ask{method: http.MethodGet, path: "/auth/session_status", token: admin, header: asJSON}); r.status != 200 {
		t.Errorf("the session after a failed logout: %d %s", r.status, r.body)
	}
	if r := m.do(ask{path: "/agents/register", token: temp, body: registration(2), header: asJSON}); r.status != 200 {
		t.Errorf("the registration again: %d %s", r.status, r.body)
	}
}

func registration(n int) string {
	return `{"agent_id":"` + agentName(n) + `","name":"Agent","agent_type":"testing","endpoint":"http://127.0.0.1:9/agent",` +
		`"context_brief":"An agent of a test","capabilities":["testing"],"owner":"Tests","public_key":"0123456789abcdef0123456789abcdef",` +
		`"metadata":{"a":"b"},"version":"1.0.0","communication_mode":"remote"}`
}

// noEnd is a body without a length that never ends.
type noEnd struct{ sent atomic.Int64 }

func (e *noEnd) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = ' '
	}
	e.sent.Add(int64(len(b)))
	return len(b), nil
}

// Bodies without a length are limited as others are.
func TestW32ChunkedBodiesAreLimited(t *testing.T) {
	m := startMembers(t, memberOptions{})
	body := &noEnd{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, m.url+"/auth/login", io.NopCloser(body))
	fatal(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err == nil {
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusRequestEntityTooLarge {
			t.Errorf("status %d", resp.StatusCode)
		}
	}
	if sent := body.sent.Load(); sent > 16<<20 {
		t.Errorf("%d bytes were taken", sent)
	}
}

// Bad input to what tells agents something is the caller's fault.
func TestW35NotifyingRefusesBadInput(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(c *server.Config) {
		c.Notify = func(context.Context, string, any) (int, error) { return 200, nil }
	}})
	agent := m.register(1)
	m.register(2)
	for body, want := range map[string]int{
		`{}`: 422, `[]`: 422, `{"agent_id":"agent-01"}`: 422, `{"agent_id":"agent-01","agent_endpoint":"no url"}`: 422,
		`{"agent_id":"agent-02","agent_endpoint":"http://127.0.0.1:9/"}`: 403,
		`{"agent_id":"agent-01","agent_endpoint":"http://127.0.0.1:9/"}`: 200,
	} {
		if r := m.do(ask{path: "/agents/agent-02/connection/notify", token: agent, body: body, header: asJSON}); r.status != want {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
	for body, want := range map[string]int{
		`{}`: 422, `{"user_id":"bob","user_endpoint":"ftp://x"}`: 422, `{"user_id":"bob","user_endpoint":"http://127.0.0.1:9/"}`: 200,
	} {
		if r := m.do(ask{path: "/public/connect/agent-02", body: body, header: asJSON}); r.status != want {
			t.Errorf("%s: %d %s", body, r.status, r.body)
		}
	}
}

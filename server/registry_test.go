package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

// problemSeen is what tests look at in a problem document.
type problemSeen struct {
	Type      string `json:"type"`
	Status    int    `json:"status"`
	ErrorCode string `json:"error_code"`
	RequestID string `json:"request_id"`
	Instance  string `json:"instance"`
}

// wantProblem checks that the answer is a whole problem document.
func (r reply) wantProblem(t testing.TB, status int, code string) {
	t.Helper()
	var p problemSeen
	if err := json.Unmarshal([]byte(r.body), &p); err != nil || r.header.Get("Content-Type") != "application/problem+json" {
		t.Fatalf("got %d %s %q, want a problem document", r.status, r.header.Get("Content-Type"), r.body)
	}
	if r.status != status || p.Status != status || p.ErrorCode != code {
		t.Fatalf("got %d %s, want %d %s: %s", r.status, p.ErrorCode, status, code, r.body)
	}
	if !strings.HasPrefix(p.RequestID, "req_") || p.RequestID != r.header.Get("X-Request-ID") || p.Instance == "" {
		t.Fatalf("request_id %q, header %q, instance %q", p.RequestID, r.header.Get("X-Request-ID"), p.Instance)
	}
	if (status == http.StatusUnauthorized) != (r.header.Get("WWW-Authenticate") != "") {
		t.Fatalf("status %d with the challenge %q", status, r.header.Get("WWW-Authenticate"))
	}
}

// tryRoute calls a route with a token, and no sensible params.
func (m *members) tryRoute(rt server.RegistryRoute, token, print string) reply {
	path := strings.NewReplacer("{agent_id}", "agent-30", "{validation_id}", "val_none").Replace(rt.Path)
	header := map[string]string{"Content-Type": "application/json"}
	if print != "" {
		header["X-Client-Fingerprint"] = print
	}
	body := ""
	if rt.Method == http.MethodPost {
		body = "{}"
	}
	return m.do(ask{method: rt.Method, path: path, token: token, body: body, header: header})
}

// Every route of the table asks who calls: what it opens for whom is written down
// here once more.
func TestEveryRouteAsksWhoCalls(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(c *server.Config) { c.Metrics = server.NewMetrics("test") }})
	m.register(30)
	temp, agent, admin := m.temp(1), m.register(2), m.login()
	// The tokens, and which accesses they open; what is opened is answered with
	// anything but 401 and 403.
	for name, who := range map[string]struct {
		token, print string
		opens        []registry.Access
	}{
		"nobody":            {"", "", nil},
		"temp":              {temp, "", []registry.Access{registry.Reader, registry.Validating, registry.Registering}},
		"agent":             {agent, "", []registry.Access{registry.Reader, registry.Member}},
		"admin":             {admin, fingerprint, []registry.Access{registry.Reader, registry.Member, registry.Admin, registry.AdminRead}},
		"admin, no print":   {admin, "", []registry.Access{registry.AdminRead}},
		"admin, wrong one":  {admin, "another", nil},
		"broken":            {agent[:len(agent)-4] + "AAAA", "", nil},
		"another's, forged": {"eyJhbGciOiJub25lIn0.eyJzdWIiOiJhZG1pbjpyb290IiwidG9rZW5fdHlwZSI6ImFkbWluIn0.", "", nil},
	} {
		for _, rt := range m.server.RegistryRoutes() {
			if rt.Access == registry.Public || rt.Path == "/auth/logout" || rt.Path == "/tokens/refresh" {
				continue // those two end the token, and have tests of their own
			}
			r := m.tryRoute(rt, who.token, who.print)
			opened := r.status != http.StatusUnauthorized && r.status != http.StatusForbidden
			want := false
			for _, access := range who.opens {
				want = want || access == rt.Access
			}
			// What is another's, or of another kind, is refused behind the door.
			inside := map[string]bool{
				"agent " + http.MethodDelete: true, "agent /agents/{agent_id}/heartbeat": true, "agent /agents/{agent_id}/metrics": true,
			}
			if inside[name+" "+rt.Path] || inside[name+" "+rt.Method] {
				want = false
			}
			if opened != want {
				t.Errorf("%s: %s %s gives %d %s", name, rt.Method, rt.Path, r.status, r.body)
			}
			if r.status >= http.StatusInternalServerError {
				t.Errorf("%s: %s %s gives %d %s", name, rt.Method, rt.Path, r.status, r.body)
			}
			if !opened {
				var p problemSeen
				if json.Unmarshal([]byte(r.body), &p) != nil || p.ErrorCode == "" {
					t.Errorf("%s: %s %s refuses with %s", name, rt.Method, rt.Path, r.body)
				}
			}
			if rt.Method == http.MethodDelete && opened && who.token == admin { // was its own turn
				m.register(30)
			}
		}
	}
}

// A temp token opens nothing on /arc, an agent's token just what its scopes say.
func TestRegistryTokensOnARC(t *testing.T) {
	m := startMembers(t, memberOptions{registry: func(c *registry.Config) { c.AgentScopes = []string{"arc.agent.caller"} }})
	call := `{"jsonrpc":"2.0","id":1,"method":"%s","params":{"targetAgent":"agent-02","requestAgent":"%s","initialMessage":{"role":"user","parts":[{"type":"text","content":"x"}]}}}`
	for name, c := range map[string]struct {
		token, method, from string
		status              int
		want                string
	}{
		"temp":             {m.temp(1), "rpc.discover", "agent-01", 401, `"reason":"wrong_audience"`},
		"admin":            {m.login(), "rpc.discover", "user_root", 403, `"code":-44003`},
		"agent":            {m.register(2), "rpc.discover", "agent-02", 200, `"openrpc"`},
		"agent, scope":     {m.register(3), "task.create", "agent-03", 403, `"code":-44003`},
		"agent as another": {m.register(4), "rpc.discover", "agent-02", 403, `"reason":"agent_mismatch"`},
	} {
		r := m.do(ask{token: c.token, body: fmt.Sprintf(call, c.method, c.from)})
		if r.status != c.status || !strings.Contains(r.body, c.want) {
			t.Errorf("%s: %d %.300s", name, r.status, r.body)
		}
	}
}

// A script can read the payload of a token with atob, as the page of the seeds
// does: it has none of the characters that base64 and base64url write differently.
func TestTokensAreReadableWithAtob(t *testing.T) {
	m := startMembers(t, memberOptions{})
	for _, token := range []string{m.temp(1), m.register(2), m.login()} {
		parts := strings.Split(token, ".")
		if len(parts) != 3 || strings.ContainsAny(parts[1], "-_") {
			t.Errorf("payload %s", parts[1])
		}
		if _, err := base64.RawStdEncoding.DecodeString(parts[1]); err != nil {
			t.Error(err)
		}
	}
}

func TestListPagesAreLinked(t *testing.T) {
	m := startMembers(t, memberOptions{})
	token := ""
	for i := range 5 {
		token = m.register(i)
	}
	path, seen := "/agents?limit=2&agent_type=testing", []string{}
	for path != "" {
		r := m.do(ask{method: http.MethodGet, path: path, token: token})
		var list []struct {
			ID string `json:"agent_id"`
		}
		if err := json.Unmarshal([]byte(r.body), &list); err != nil || len(list) > 2 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		for _, a := range list {
			seen = append(seen, a.ID)
		}
		link := r.header.Get("Link")
		next, _, _ := strings.Cut(strings.TrimPrefix(link, "<"), ">")
		path = strings.TrimPrefix(next, m.url)
	}
	if got := strings.Join(seen, " "); got != "agent-00 agent-01 agent-02 agent-03 agent-04" {
		t.Errorf("the pages have %s", got)
	}
	for _, bad := range []string{"?limit=0", "?limit=x", "?status=asleep", "?include_metrics=perhaps", "?%zz"} {
		m.do(ask{method: http.MethodGet, path: "/agents" + bad, token: token}).wantProblem(t, 422, "VALIDATION_FAILED")
	}
}

// Bad bodies are named, and none gets a 500.
func TestBadBodies(t *testing.T) {
	m := startMembers(t, memberOptions{})
	for body, want := range map[string]string{
		``: "VALIDATION_FAILED", `{`: "VALIDATION_FAILED", `[]`: "VALIDATION_FAILED", `null`: "INVALID_INPUT", `"x"`: "VALIDATION_FAILED",
		`{"username":1}`: "VALIDATION_FAILED", `{"username":"a","username":"b"}`: "VALIDATION_FAILED",
		`{"username":"\ud800","password":"x"}`: "VALIDATION_FAILED", "{\"username\":\"\xff\"}": "VALIDATION_FAILED",
		`{"username":"a"} x`: "VALIDATION_FAILED", `{"USERNAME":"a","password":"b"}`: "INVALID_INPUT",
		`{"username":"` + strings.Repeat("a", 256) + `","password":"b"}`: "VALIDATION_FAILED",
		strings.Repeat("[", 20000):                                       "VALIDATION_FAILED",
	} {
		r := m.do(ask{path: "/auth/login", body: body, header: map[string]string{"Content-Type": "application/json", "X-Client-Fingerprint": "x"}})
		status := 422
		if want == "INVALID_INPUT" {
			status = 400
		}
		r.wantProblem(t, status, want)
	}
	m.do(ask{path: "/auth/login", body: "{}", header: map[string]string{"Content-Type": "text/plain"}}).
		wantProblem(t, 415, "UNSUPPORTED_MEDIA_TYPE")
	m.do(ask{path: "/auth/login", body: `{"username":"` + strings.Repeat("a", 1<<20) + `"}`, header: map[string]string{"Content-Type": "application/json"}}).
		wantProblem(t, 413, "REQUEST_TOO_LARGE")
	m.do(ask{method: http.MethodGet, path: "/public/stats?" + strings.Repeat("a=b&", 51)}).wantProblem(t, 400, "REQUEST_ERROR")
	m.do(ask{method: http.MethodGet, path: "/public/stats", header: map[string]string{"X-Long": strings.Repeat("a", 25<<10)}}).
		wantProblem(t, 413, "HEADERS_TOO_LARGE")
	m.do(ask{method: http.MethodPut, path: "/auth/login"}).wantProblem(t, 405, "METHOD_NOT_ALLOWED")
	m.do(ask{method: http.MethodGet, path: "/agents/agent-01/nothing"}).wantProblem(t, 404, "NOT_FOUND")
}

// Whoever has a good token goes on with it, and gives it up, whatever it opens
// otherwise; those for registering cannot.
func TestEveryTokenIsRefreshedAndGivenUp(t *testing.T) {
	m := startMembers(t, memberOptions{})
	minted := m.post("/tokens/mint", m.login(), "access_token", map[string]any{
		"user_id": "bob", "agent_id": "bobs-agent", "scopes": []string{"arc.task.controller"},
	}, "X-Client-Fingerprint", fingerprint)
	next := m.post("/tokens/refresh", minted, "access_token", map[string]any{})
	m.post("/auth/logout", next, "status", map[string]any{})
	for _, token := range []string{minted, next} {
		m.do(ask{method: http.MethodGet, path: "/tokens/validate", token: token}).wantProblem(t, 401, "TOKEN_REVOKED")
	}
	for _, path := range []string{"/tokens/refresh", "/auth/logout"} {
		m.do(ask{path: path, token: m.temp(1)}).wantProblem(t, 403, "WRONG_TOKEN_TYPE")
	}
}

// Of several fingerprints none is the right one, wherever that stands.
func TestSeveralFingerprintsAreAWrongOne(t *testing.T) {
	m := startMembers(t, memberOptions{})
	token := m.login()
	for _, prints := range [][]string{{fingerprint, "another"}, {"another", fingerprint}, {fingerprint, fingerprint}, {"", fingerprint}} {
		for _, path := range []string{"/audit", "/dashboard/config"} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, m.url+path, nil)
			fatal(t, err)
			req.Header["Authorization"], req.Header["X-Client-Fingerprint"] = []string{"Bearer " + token}, prints
			resp, err := http.DefaultClient.Do(req)
			fatal(t, err)
			resp.Body.Close()
			if resp.StatusCode != http.StatusUnauthorized {
				t.Errorf("%s with %q: %d", path, prints, resp.StatusCode)
			}
		}
	}
}

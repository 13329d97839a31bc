package server_test

import (
	"net/http"
	"testing"

	"github.com/arcd-io/arcd/server"
)

// Without authentication the registry can be read without a token, by HTTP and by
// WebSocket. What belongs to an agent or an administrator needs theirs, and what
// judges a token needs one.
func TestRegistryWithoutAuth(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(c *server.Config) { c.InsecureNoAuth = true }})
	agent := m.register(1)
	get := func(path, token string) reply { return m.do(ask{method: http.MethodGet, path: path, token: token}) }
	for _, path := range []string{"/agents", "/agents/agent-01", "/agents/search?query=agent"} {
		if r := get(path, ""); r.status != http.StatusOK {
			t.Errorf("%s: %d %s", path, r.status, r.body)
		}
	}
	if got := m.watch("").agents(); len(got) != 1 {
		t.Errorf("the socket gives %v", got)
	}
	get("/agents/stats", "").wantProblem(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
	get("/tokens/validate", "").wantProblem(t, http.StatusUnauthorized, "AUTH_REQUIRED")
	get("/agents", "not.a.token").wantProblem(t, http.StatusUnauthorized, "MALFORMED_TOKEN")
	m.do(ask{path: "/agents/agent-01/heartbeat"}).wantProblem(t, http.StatusForbidden, "INSUFFICIENT_PERMISSIONS")
	m.do(ask{path: "/tokens/refresh"}).wantProblem(t, http.StatusForbidden, "WRONG_TOKEN_TYPE")
	if r := m.do(ask{path: "/agents/agent-01/heartbeat", token: agent}); r.status != http.StatusOK {
		t.Errorf("the agent itself: %d %s", r.status, r.body)
	}
	if r := m.do(ask{path: "/auth/logout"}); r.status >= 500 {
		t.Errorf("a logout of nobody: %d %s", r.status, r.body)
	}
	if r := get("/agents", ""); r.status != http.StatusOK {
		t.Errorf("after that: %d %s", r.status, r.body)
	}
}

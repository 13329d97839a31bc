package server_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

// Without the registry nothing can be revoked, and the metadata of the token
// service names no address for it.
func TestMetadataWithoutRegistry(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(c *server.Config) { c.Registry = nil }})
	if r := m.do(ask{path: "/oauth/revoke"}); r.status != http.StatusNotFound {
		t.Fatalf("/oauth/revoke: %d %s", r.status, r.body)
	}
	r := m.do(ask{method: http.MethodGet, path: "/.well-known/oauth-authorization-server"})
	if r.status != http.StatusOK || strings.Contains(r.body, "revocation") {
		t.Errorf("metadata: %d %s", r.status, r.body)
	}
}

// Where anybody may see nothing, nobody learns how many agents of which types
// there are.
func TestPublicNumbersAreHidden(t *testing.T) {
	m := startMembers(t, memberOptions{registry: func(c *registry.Config) { c.Public = "off" }})
	m.registerAs(1, "secret-type")
	for path, want := range map[string]string{
		"/public/stats": `"total_agents":0`, "/public/agent_types": `"allowed_agent_types":[]`, "/public/discover": "[]",
	} {
		r := m.do(ask{method: http.MethodGet, path: path})
		if r.status != http.StatusOK || !strings.Contains(r.body, want) || strings.Contains(r.body, "secret-type") {
			t.Errorf("%s: %d %s, want %s", path, r.status, r.body, want)
		}
	}
}

package server_test

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/server"
)

// Behind a proxy that is trusted, one guesser does not lock out the others; what a
// client claims by itself counts for nothing (flaw W11).
func TestW11TrustedProxies(t *testing.T) {
	behind := startMembers(t, memberOptions{server: func(c *server.Config) {
		c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24")}
	}})
	direct := startMembers(t, memberOptions{})
	login := func(m *members, forwarded, password string) int {
		return m.do(ask{path: "/auth/login", body: `{"username":"root","password":"` + password + `"}`, header: map[string]string{
			"Content-Type": "application/json", "X-Client-Fingerprint": "x", "X-Forwarded-For": forwarded,
		}}).status
	}
	for range 7 {
		login(behind, "198.51.100.7", "wrong")
		login(direct, "198.51.100.7", "wrong")
	}
	for name, c := range map[string]struct {
		m         *members
		forwarded string
		want      int
	}{
		"the guesser":             {behind, "198.51.100.7", http.StatusTooManyRequests},
		"the guesser, hidden":     {behind, "203.0.113.1, 198.51.100.7", http.StatusTooManyRequests},
		"the guesser, two hops":   {behind, "198.51.100.7, 192.0.2.9", http.StatusTooManyRequests},
		"junk before the guesser": {behind, "junk, 198.51.100.7", http.StatusTooManyRequests},
		"the guesser, port":       {behind, "198.51.100.7:4711", http.StatusTooManyRequests},
		"somebody else, IPv6":     {behind, "[2001:db8::9]:4711", http.StatusOK},
		"somebody else":           {behind, "198.51.100.8", http.StatusOK},
		"somebody else, mapped":   {behind, "::ffff:198.51.100.9", http.StatusOK},
		"no proxy is trusted":     {direct, "198.51.100.8", http.StatusTooManyRequests},
	} {
		if got := login(c.m, c.forwarded, "correct horse"); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	for _, client := range []string{"198.51.100.8", "2001:db8::9"} {
		if log := behind.log.String(); !strings.Contains(log, `"remote":"`+client+`"`) {
			t.Errorf("the log does not tell the client's address %s", client)
		}
	}
}

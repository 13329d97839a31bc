package egress_test

import (
	"errors"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/internal/egress"
)

func TestForms(t *testing.T) {
	for _, test := range []struct {
		url  string
		good bool
	}{
		{"http://agent.example", true},
		{"https://agent.example/", true},
		{"HTTPS://Agent.Example:8443/base/path?x=1&y=%20", true},
		{"http://agent.example.:80/", true},
		{"http://xn--bcher-kva.example/", true},
		{"http://under_score:9000/", true},
		{"http://agent-1.svc.7.local/", true},
		{"http://0xfeed.example/", true},
		{"http://192.0.2.1:1/", true},
		{"http://[2001:db8::1]:65535/", true},
		{"http://agent.example/" + strings.Repeat("a", 2000), true},

		{"", false},
		{"agent.example", false},
		{"/health", false},
		{"//agent.example/", false},
		{"http:agent.example", false},
		{"http:///path", false},
		{"http://", false},
		{"ftp://agent.example/", false},
		{"file:///etc/passwd", false},
		{"gopher://agent.example/", false},
		{"javascript:alert(1)", false},
		{"http://user@agent.example/", false},
		{"http://user:secret@agent.example/", false},
		{"http://@agent.example/", false},
		{"http://agent.example/#part", false},
		{"http://agent.example/#", false},
		{"http://agent.example:0/", false},
		{"http://agent.example:65536/", false},
		{"http://agent.example:-1/", false},
		{"http://agent.example:http/", false},
		{"http://agent.example:/", false},
		{"http://agent example/", false},
		{" http://agent.example/", false},
		{"http://agent.example/ ", false},
		{"http://agent.example/\r\nX-Injected: 1", false},
		{"http://agent.example\\@evil.example/", false},
		{"http://agent.example/" + strings.Repeat("a", 2048), false},

		// Numbers that some readers take for 127.0.0.1.
		{"http://2130706433/", false},
		{"http://0x7f000001/", false},
		{"http://0x7f.1/", false},
		{"http://0177.0.0.1/", false},
		{"http://017700000001/", false},
		{"http://127.1/", false},
		{"http://127.0.0.1./", false},
		{"http://127.0.0.01/", false},
		{"http://127.0.0.0x1/", false},
		{"http://0/", false},
		{"http://0x/", false},
		{"http://1.2.3.4.5/", false},
		{"http://256.256.256.256/", false},
		{"http://%31%32%37.0.0.1/", false},
		{"http://１２７.0.0.1/", false},
		{"http://127。0。0。1/", false},
		{"http://①②⑦.0.0.1/", false},

		{"http://bücher.example/", false},
		{"http://-agent.example/", false},
		{"http://agent..example/", false},
		{"http://./", false},
		{"http://" + strings.Repeat("a", 64) + ".example/", false},
		{"http://" + strings.Repeat("a.", 127) + "example/", false},
		{"http://agent.example,evil.example/", false},
		{"http://[127.0.0.1]/", false},
		{"http://::1/", false},
		{"http://[::1/", false},
		{"http://[fe80::1%25eth0]/", false},
		{"http://[v1.fe]/", false},
		{"http://[agent.example]/", false},
	} {
		t.Run(test.url, func(t *testing.T) {
			u, err := egress.Parse(test.url)
			if test.good {
				if err != nil || u == nil {
					t.Fatalf("refused: %v", err)
				}
				return
			}
			refused, ok := errors.AsType[*egress.Refused](err)
			if !ok || refused.Reason != egress.ReasonURL || refused.Detail == "" || u != nil {
				t.Fatalf("got %v, %v; want a refusal of the form", u, err)
			}
		})
	}
}

// FuzzParse: what is taken names its host in a way that every reader
// understands alike.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"http://agent.example:80/a?b", "https://[::1]:1/", "http://127.1/", "http://a@b/", "http://0x7f.1/", "http:\\\\a"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := egress.Parse(text)
		if err != nil {
			return
		}
		host := u.Hostname()
		_, notAddress := netip.ParseAddr(host)
		if u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" || host == "" ||
			strings.ContainsAny(host, "@/\\%? \t") || notAddress != nil && regexp.MustCompile(`(^|\.)(\d+|0[xX][0-9a-fA-F]*)\.?$`).MatchString(host) {
			t.Errorf("took %q: %#v", text, u)
		}
		again, err := egress.Parse(u.String())
		if err != nil || again.Hostname() != host || again.Port() != u.Port() {
			t.Errorf("%q became %q: %v", text, u, err)
		}
	})
}

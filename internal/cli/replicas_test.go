package cli_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// TestReplicaSettings checks what is said about how servers share a store, and about
// how much a caller may call.
func TestReplicaSettings(t *testing.T) {
	postgres := "store: postgres://arcd@127.0.0.1:1/arcd\n"
	for yaml, want := range map[string]string{
		postgres + "hints: notify":                               "",
		postgres + "hints: off":                                  "",
		postgres + `hints: ""`:                                   "",
		postgres + "hints: nats://u:s3cret@a:4222,tls://b:4222":  "",
		postgres + "{hints: nats://a:4222, nats: {prefix: x.y}}": "",
		postgres + "hints: nats":                                 "hints: must be notify, off, or a URL",
		postgres + "hints: http://u:s3cret@a":                    "hints: must be nats://HOST:4222",
		postgres + "hints: nats://a:4222\nnats: {prefix: a b}":   "hints: the prefix",
		postgres + "hints: nats://a\nnats: {ca: none.pem}":       "hints: reading the authorities",
		postgres + "nats: {prefix: x}":                           "nats: is for hints over NATS",
		"hints: notify":                                          "hints: is for PostgreSQL",
		"nats: {ca: x}":                                          "nats: is for PostgreSQL",
		"limits: {calls_per_second: 2.5}":                        "",
		"limits: {calls_per_second: 10, call_burst: 3}":          "",
		"limits: {calls_per_second: -1}":                         "limits.calls_per_second: must be 0",
		"limits: {calls_per_second: 1e-9}":                       "limits.calls_per_second: must be 0",
		"limits: {calls_per_second: .nan}":                       "limits.calls_per_second: must be 0",
		"limits: {calls_per_second: .inf}":                       "limits.calls_per_second: must be 0",
		"limits: {calls_per_second: many}":                       "limits.calls_per_second: must be a number",
		"limits: {calls_per_second: true}":                       "limits.calls_per_second: must be a number",
		"limits: {calls_per_second: 1, call_burst: -1}":          "limits.call_burst: must be 0",
		"limits: {calls_per_second: 1, call_burst: 1.5}":         "limits.call_burst: must be a whole number",
		"limits: {call_burst: 3}":                                "limits.call_burst: has no effect",
		"drain_delay: 5s":                                        "",
		"drain_delay: -1s":                                       "drain_delay: must be",
	} {
		yaml = strings.ReplaceAll(yaml, "{hints: nats://a:4222, nats: {prefix: x.y}}", "hints: nats://a:4222\nnats: {prefix: x.y}")
		got := run(t, nil, "config", "check", "--config", file(t, "arcd.yaml", yaml)).complaint(t)
		if got == "" != (want == "") || !strings.Contains(got, want) || strings.Contains(got, "s3cret") {
			t.Errorf("%s\ngives %q, want %q", yaml, got, want)
		}
	}
}

func TestHintsShown(t *testing.T) {
	path := file(t, "arcd.yaml", "store: postgres://arcd@127.0.0.1:1/arcd\n")
	secret := file(t, "nats", "nats://u:s3cret@h:4222\n")
	for label, c := range map[string]struct{ env, want string }{
		"a word":  {"ARCD_HINTS=off", "off"},
		"a URL":   {"ARCD_HINTS=nats://u:s3cret@h:4222", "(hidden)"},
		"a file":  {"ARCD_HINTS_FILE=" + secret, "(hidden)"},
		"nothing": {"ARCD_X=", "notify"},
	} {
		if d := cmp.Diff(c.want, show(t, []string{c.env}, "--config", path)["hints"][0]); d != "" {
			t.Errorf("%s (-want +got):\n%s", label, d)
		}
	}
	rate := show(t, []string{"ARCD_LIMITS__CALLS_PER_SECOND=2.5"})["limits.calls_per_second"]
	if d := cmp.Diff([2]string{"2.5", "env ARCD_LIMITS__CALLS_PER_SECOND"}, rate); d != "" {
		t.Errorf("limits.calls_per_second (-want +got):\n%s", d)
	}
}

// TestPublicURLs: a server whose public_url is not that of the others says so.
func TestPublicURLs(t *testing.T) {
	t.Chdir(t.TempDir())
	config := "auth: {issuer: {enabled: true}}\nlog: {format: json}\nstore: " + pgtest.Database(t) + "\nstore_unsafe: true\npublic_url: "
	for _, c := range []struct {
		url  string
		want bool
	}{{"http://127.0.0.1:1", false}, {"http://127.0.0.1:1/", false}, {"http://127.0.0.1:2", true}} {
		s := serve(t, "--config", file(t, "arcd.yaml", config+c.url+"\n"))
		if got := strings.Contains(s.log.String(), `"event":"other_public_url"`); got != c.want {
			t.Errorf("%s: warned %v, want %v", c.url, got, c.want)
		}
	}
}

// TestCallLimit serves with a limit on either store: two servers on one database count
// together.
func TestCallLimit(t *testing.T) {
	limits := "limits: {calls_per_second: 0.01, call_burst: 4}\nagents: {echo: {kind: demo}}\n" +
		"auth: {issuer: {enabled: true}}\nlog: {format: json}\n"
	for name, c := range map[string]struct {
		store   string
		servers int
	}{
		"sqlite":   {"sqlite:arcd.db", 1},
		"postgres": {pgtest.Database(t) + "\nstore_unsafe: true", 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			path := file(t, "arcd.yaml", limits+"public_url: http://127.0.0.1:1\nstore: "+c.store+"\n")
			var servers []*served
			for range c.servers {
				s := serve(t, "--config", path)
				s.url = "http://" + regexp.MustCompile(`"addr":"([^"]+)"`).FindStringSubmatch(s.log.String())[1]
				servers = append(servers, s)
			}
			token := run(t, nil, "dev", "token", "--unmask", "-o", "plain", "--config", path)
			if token.code != 0 {
				t.Fatalf("dev token: %s", token.stderr)
			}
			countCalls(t, servers, strings.TrimSpace(token.stdout), 4)
		})
	}
}

// countCalls makes calls in turns and wants so many of them to pass.
func countCalls(t *testing.T, servers []*served, token string, want int) {
	t.Helper()
	passed := 0
	for i := range 10 {
		s := servers[i%len(servers)]
		switch a := s.create(token, "echo"); a.status {
		case http.StatusOK:
			passed++
		case http.StatusTooManyRequests:
		default:
			t.Fatalf("a call gives %d %+v", a.status, a.Error)
		}
	}
	if passed != want {
		t.Errorf("%d calls passed, want %d", passed, want)
	}
}

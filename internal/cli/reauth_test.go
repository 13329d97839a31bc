package cli_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/cli"
)

// What a server says never gets into the command that an agent runs blindly: it
// could lead the client's secret elsewhere.
func TestReauthHoldsNoServerText(t *testing.T) {
	for name, test := range map[string]struct{ challenge, body string }{
		"a blank that is none of ASCII": {"", `{"jsonrpc":"2.0","id":1,"error":{"code":-44003,"message":"no","data":{"required_scopes":["a\u2003--token-url\u2003http://127.0.0.1:1/"]}}}`},
		"tabs":                          {"", `{"jsonrpc":"2.0","id":1,"error":{"code":-44003,"message":"no","data":{"required_scopes":["a\t--token-url\thttp://127.0.0.1:1/"]}}}`},
		"a shell":                       {"", `{"jsonrpc":"2.0","id":1,"error":{"code":-44003,"message":"no","data":{"required_scopes":["$(id)","a;id"]}}}`},
		"a flag in the challenge":       {`Bearer error="insufficient_scope", scope="--token-url=http://127.0.0.1:1/ a$(id)"`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "application/json")
				if test.challenge != "" {
					w.Header().Set("WWW-Authenticate", test.challenge)
				}
				w.WriteHeader(http.StatusForbidden)
				fmt.Fprint(w, test.body)
			}))
			defer server.Close()
			e := told(t, home(t, "ARCD_TOKEN=opaque-token"), 8, "PERMISSION_DENIED", "task", "list", "--server", server.URL)
			command, _ := e.Error["reauth_command"].(string)
			if !strings.Contains(command, "auth login --headless") || strings.Contains(command, "token-url") || strings.Contains(command, "id)") {
				t.Errorf("reauth_command is %q", command)
			}
		})
	}
}

// After a reauth_command that ends with 0 the call does not fail with the same
// code (contract section 2.6), wherever its token came from.
func TestReauthIsHonest(t *testing.T) {
	s, env := machine(t)
	dead, low := s.minted("--sub", "ci", "--ttl", "-120s"), s.minted("--sub", "ci", "--scope", auth.ScopeCaller)
	folder := filepath.Join(t.TempDir(), "with blanks; $(id)")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "token")
	if err := os.WriteFile(path, []byte(dead), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		variable, stdin string
		flags           []string
		exit            int
		cured           bool
	}{
		"dead variable":                {"ARCD_TOKEN=" + dead, "", nil, 10, true},
		"dead variable of a flag":      {"FOO=" + dead, "", []string{"--token", "env:FOO"}, 10, true},
		"dead file":                    {"ARCD_TOKEN_FILE=" + path, "", nil, 10, true},
		"dead file that needs quotes":  {"", "", []string{"--token", "file:" + path}, 10, false},
		"dead standard input":          {"", dead, []string{"--token", "-"}, 10, false},
		"dead variable, no successor":  {"ARCD_TOKEN=" + dead, "", []string{"--no-token-successor"}, 10, false},
		"foreign variable":             {"ARCD_TOKEN=opaque", "", nil, 8, false},
		"foreign variable of a flag":   {"FOO=opaque", "", []string{"--token", "env:FOO"}, 8, false},
		"foreign standard input":       {"", "opaque", []string{"--token", "-"}, 8, false},
		"no token at all":              {"ARCD_TOKEN=two words", "", nil, 8, false},
		"no file":                      {"ARCD_TOKEN_FILE=" + path + ".gone", "", nil, 8, false},
		"variable without scope":       {"ARCD_TOKEN=" + low, "", nil, 8, false},
		"flag's variable without them": {"FOO=" + low, "", []string{"--token", "env:FOO"}, 8, false},
	} {
		t.Run(name, func(t *testing.T) {
			env := with(env, "ARCD_STATE_DIR", "ARCD_STATE_DIR="+t.TempDir(), test.variable)
			call := func(stdin string, args ...string) (int, *envelope) {
				var stdout, stderr bytes.Buffer
				code := cli.Run(t.Context(), args, env, strings.NewReader(stdin), &stdout, &stderr)
				return code, validateEnvelope(t, stdout.String(), "")
			}
			args := append([]string{"task", "list"}, test.flags...)
			exit, first := call(test.stdin, args...)
			command, _ := first.Error["reauth_command"].(string)
			words := strings.Fields(command)
			if exit != test.exit || len(words) < 3 {
				t.Fatalf("exit %d, reauth_command %q\n%v", exit, command, first.Error)
			}
			cure, _ := call("", words[1:]...)
			if cure == 10 || (cure == 0) != test.cured {
				t.Errorf("%s ends with %d", command, cure)
			}
			again, second := call(test.stdin, args...)
			if cure == 0 && (again == exit || second.code() == first.code()) {
				t.Errorf("%s ends with 0, and the call fails again: %s", command, second.code())
			}
		})
	}
}

// A token that the server refuses does not take the place of a login that is good.
func TestRefusedTokenIsNotStored(t *testing.T) {
	_, env := machine(t)
	told(t, env, 0, "", "auth", "login", "--headless")
	told(t, with(env, "", "FOO=opaque"), 8, "TOKEN_INVALID", "auth", "login", "--headless", "--token", "env:FOO")
	told(t, env, 0, "", "task", "list")
}

// Expiry is judged by the last word of the server's clock: a token that is over by
// this machine's clock alone is sent.
func TestServersClock(t *testing.T) {
	var asked atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Date", time.Now().Add(-2*time.Hour).UTC().Format(http.TimeFormat))
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"jsonrpc":"2.0","id":1,"result":{"type":"tasks","tasks":[]}}`)
	}))
	defer server.Close()
	s, _ := machine(t)
	env := home(t, "ARCD_SERVER="+server.URL)
	over := with(env, "", "ARCD_TOKEN="+s.minted("--ttl", "-30m"))
	told(t, over, 10, "CREDENTIALS_EXPIRED", "task", "list")
	if asked.Load() != 0 {
		t.Error("the server was asked")
	}
	run(t, with(env, "", "ARCD_TOKEN="+s.minted()), "task", "list")
	before := asked.Load()
	run(t, over, "task", "list")
	if asked.Load() == before {
		t.Error("the token was not sent, though it is good by the server's clock")
	}
}

package cli_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/auth"
)

// home gives the environment of somebody whose files are in a folder of the test.
func home(t *testing.T, more ...string) []string {
	t.Helper()
	dir := t.TempDir()
	return append([]string{"HOME=" + dir, "ARCD_CONFIG_DIR=" + filepath.Join(dir, "config"), "ARCD_STATE_DIR=" + filepath.Join(dir, "state"), "ARCD_KEYRING=off"}, more...)
}

// told runs a command and checks its exit code, error code ("" for none) and
// envelope.
func told(t *testing.T, env []string, exit int, code string, args ...string) *envelope {
	t.Helper()
	got := run(t, env, args...)
	e := validateEnvelope(t, got.stdout, "")
	if got.code != exit || e.code() != code || e.exit() != exit {
		t.Fatalf("arcd %s: exit %d %s, want %d %s\n%s", strings.Join(args, " "), got.code, e.code(), exit, code, got.stdout)
	}
	return e
}

// data decodes the data of an envelope.
func (e *envelope) data(t *testing.T) map[string]any {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	return data
}

// has checks members of data.
func (e *envelope) has(t *testing.T, want map[string]any) {
	t.Helper()
	data := e.data(t)
	for name, value := range want {
		if fmt.Sprint(data[name]) != fmt.Sprint(value) {
			t.Errorf("data.%s is %v, want %v\n%s", name, data[name], value, e.Data)
		}
	}
}

// warned tells whether there is a warning of the code.
func (e *envelope) warned(code string) bool {
	return slices.ContainsFunc(e.Warnings, func(w string) bool { return strings.HasPrefix(w, code+":") })
}

// minted makes a token of the server in the current folder.
func (s *served) minted(args ...string) string {
	s.t.Helper()
	got := run(s.t, nil, append([]string{"dev", "token", "--public-url", s.url, "--unmask", "-o", "plain"}, args...)...)
	if got.code != 0 {
		s.t.Fatalf("dev token: %s", got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

// machine serves with a client that the environment has the secret of.
func machine(t *testing.T) (*served, []string) {
	t.Helper()
	t.Chdir(t.TempDir())
	added := run(t, nil, "client", "add", "ci", "--scope", strings.Join([]string{auth.ScopeTask, auth.ScopeCaller}, ","))
	e := validateEnvelope(t, added.stdout, "client.add")
	s := serve(t, "--dev")
	secret, _ := e.data(t)["client_secret"].(string)
	if secret == "" {
		t.Fatalf("client add: %s", added.stdout)
	}
	return s, home(t, "ARCD_SERVER="+s.url, "ARCD_CLIENT_ID=ci", "ARCD_CLIENT_SECRET="+secret)
}

// with gives env without the named variables, and with more.
func with(env []string, drop string, more ...string) []string {
	env = slices.DeleteFunc(slices.Clone(env), func(e string) bool { return drop != "" && strings.HasPrefix(e, drop) })
	return append(env, more...)
}

// The life of a stored credential: login, refreshes with their effects, logout.
func TestAuthLife(t *testing.T) {
	s, env := machine(t)
	told(t, env, 8, "AUTH_REQUIRED", "auth", "status").has(t, map[string]any{"state": "missing", "server": s.url})
	told(t, env, 0, "", "auth", "login", "--headless", "--dry-run").has(t, map[string]any{"effect": "would_create", "logged_in": false})
	told(t, env, 8, "AUTH_REQUIRED", "auth", "status")

	login := told(t, env, 0, "", "auth", "login", "--headless")
	login.has(t, map[string]any{"effect": "created", "logged_in": true, "status": "logged_in", "user": "ci", "client": "ci", "refreshable": true})
	told(t, env, 0, "", "auth", "status", "--verify").has(t, map[string]any{"state": "valid", "source": "store:default", "user": "ci", "verified": true, "refreshable": true})
	told(t, env, 0, "", "auth", "refresh").has(t, map[string]any{"effect": "noop"})
	told(t, env, 0, "", "auth", "refresh", "--force", "--dry-run").has(t, map[string]any{"effect": "would_update"})
	told(t, env, 0, "", "auth", "refresh", "--force").has(t, map[string]any{"effect": "updated"})

	expiring := told(t, env, 10, "CREDENTIALS_EXPIRING", "auth", "status", "--min-ttl", "2h")
	expiring.has(t, map[string]any{"state": "expiring"})
	if command, _ := expiring.Error["reauth_command"].(string); !strings.Contains(command, "auth refresh --min-ttl 2h0m0s") || expiring.Error["expired"] != false {
		t.Errorf("the error is %v", expiring.Error)
	}
	// Tokens live for 15 minutes, so this cure cannot help, and must not say that it did.
	told(t, env, 4, "PRECONDITION_FAILED", "auth", "refresh", "--min-ttl", "2h")

	other := told(t, env, 8, "AUTH_REQUIRED", "--instance-id", "b", "auth", "status")
	if command, _ := other.Error["reauth_command"].(string); !strings.Contains(command, "--instance-id b") {
		t.Errorf("reauth_command is %q", command)
	}
	told(t, env, 2, "CONFIRMATION_REQUIRED", "auth", "logout")
	told(t, env, 0, "", "auth", "logout", "--dry-run").has(t, map[string]any{"effect": "would_delete"})
	gone := told(t, env, 0, "", "auth", "logout", "--confirm-destructive")
	gone.has(t, map[string]any{"effect": "deleted", "source": "store:default"})
	if gone.data(t)["audit"] == nil {
		t.Error("there is no record of who destroyed what")
	}
	told(t, env, 0, "", "auth", "logout").has(t, map[string]any{"effect": "noop"})
	told(t, env, 0, "", "auth", "refresh").has(t, map[string]any{"effect": "updated"}) // made anew, from the environment
}

// A dead token of the environment is succeeded by one of the same identity, and
// by no other.
func TestAuthDeadToken(t *testing.T) {
	s, env := machine(t)
	dead := with(env, "", "ARCD_TOKEN="+s.minted("--sub", "ci", "--ttl", "-120s"))
	e := told(t, dead, 10, "CREDENTIALS_EXPIRED", "auth", "status")
	e.has(t, map[string]any{"state": "expired", "source": "env:ARCD_TOKEN", "refreshable": true})
	if e.Error["expired_at"] != e.data(t)["expires_at"] || e.Error["detected_by"] != "client" {
		t.Errorf("the error is %v", e.Error)
	}
	if command, _ := e.Error["reauth_command"].(string); !strings.HasSuffix(command, "auth refresh") {
		t.Errorf("reauth_command is %q", command)
	}
	told(t, dead, 0, "", "auth", "refresh").has(t, map[string]any{"effect": "updated", "supersedes": "env:ARCD_TOKEN"})
	told(t, dead, 0, "", "auth", "refresh").has(t, map[string]any{"effect": "noop"})
	if e := told(t, dead, 0, "", "auth", "status", "--verify"); !e.warned("ENV_TOKEN_SUPERSEDED") {
		t.Errorf("warnings are %q", e.Warnings)
	}
	told(t, dead, 10, "CREDENTIALS_EXPIRED", "auth", "status", "--no-token-successor")

	foreign := with(env, "", "ARCD_TOKEN="+s.minted("--sub", "other", "--ttl", "-120s"))
	told(t, foreign, 8, "REFRESH_REJECTED", "auth", "refresh")
	hidden := told(t, foreign, 4, "PRECONDITION_FAILED", "auth", "login", "--headless")
	if fix, _ := hidden.Error["fix_required"].(string); !strings.Contains(fix, "ARCD_TOKEN") {
		t.Errorf("fix_required is %q", fix)
	}

	// Nothing to renew it with.
	bare := with(dead, "ARCD_CLIENT")
	bare = with(bare, "ARCD_STATE_DIR", "ARCD_STATE_DIR="+t.TempDir())
	e = told(t, bare, 10, "CREDENTIALS_EXPIRED", "auth", "status")
	if e.Error["refresh_command"] != nil || e.Error["refreshable"] != false || e.Error["fix_command"] != nil {
		t.Errorf("the error is %v", e.Error)
	}
	told(t, bare, 4, "PRECONDITION_FAILED", "auth", "refresh")
}

// What a server says of a token is told, and only what it says.
func TestAuthVerify(t *testing.T) {
	s, env := machine(t)
	good := s.minted()
	for name, test := range map[string]struct {
		token, server   string
		exit            int
		code            string
		state, verified string
	}{
		"good":             {good, s.url, 0, "", "valid", "true"},
		"without scope":    {s.minted("--scope", auth.ScopeServe), s.url, 0, "", "valid", "true"},
		"another audience": {s.minted("--audience", "https://else.example"), s.url, 8, "TOKEN_INVALID", "invalid", "false"},
		"no token":         {"not.a.jwt", s.url, 8, "TOKEN_INVALID", "invalid", "false"},
		"changed":          {good[:len(good)-8] + "AAAAAAAA", s.url, 8, "TOKEN_INVALID", "invalid", "false"},
		"header":           {"Bearer " + good, s.url, 8, "TOKEN_INVALID", "invalid", "<nil>"},
		"server down":      {good, "http://127.0.0.1:1", 12, "CONNECTION_FAILED", "valid", "<nil>"},
	} {
		t.Run(name, func(t *testing.T) {
			e := told(t, with(env, "ARCD_CLIENT", "ARCD_TOKEN="+test.token), test.exit, test.code, "auth", "status", "--verify", "--server", test.server)
			e.has(t, map[string]any{"state": test.state, "verified": test.verified})
			if strings.Contains(fmt.Sprint(e), test.token) {
				t.Error("the token is shown")
			}
		})
	}
}

// How answers of other servers are read (contract section 2.5).
func TestAuthForeignServers(t *testing.T) {
	for name, test := range map[string]struct {
		status       int
		header, body string
		exit         int
		code         string
		error        map[string]any
	}{
		"challenge names expiry": {
			401, `Bearer error="invalid_token", error_description="The access token expired"`, "", 10, "CREDENTIALS_EXPIRED", map[string]any{"detected_by": "server", "expired": true},
		},
		"ARC error at 200": {
			200, "", `{"jsonrpc":"2.0","id":1,"error":{"code":-44004,"message":"expired","data":{"expired_at":"2026-05-04T10:15:00Z"}}}`,
			10, "CREDENTIALS_EXPIRED", map[string]any{"expired_at": "2026-05-04T10:15:00Z", "detected_by": "server"},
		},
		"problem document": {
			401, "", `{"type":"about:blank","title":"expired","status":401,"detail":"over","error_code":"TOKEN_EXPIRED","token_expired_at":"2026-05-04T10:15:00Z"}`,
			10, "CREDENTIALS_EXPIRED", map[string]any{"expired_at": "2026-05-04T10:15:00Z"},
		},
		"invalid without expiry": {401, `Bearer error="invalid_token"`, "", 8, "TOKEN_INVALID", map[string]any{"expired": false}},
		"scope refused":          {403, `Bearer error="insufficient_scope", scope="x y"`, "", 0, "", nil},
		"forbidden by a proxy":   {403, "", "<html>no</html>", 8, "PERMISSION_DENIED", nil},
		"down":                   {503, "", "", 12, "UNAVAILABLE", nil},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if test.header != "" {
					w.Header().Set("WWW-Authenticate", test.header)
				}
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(test.status)
				fmt.Fprint(w, test.body)
			}))
			defer server.Close()
			e := told(t, home(t, "ARCD_TOKEN=opaque-token"), test.exit, test.code, "auth", "status", "--verify", "--retries", "0", "--server", server.URL)
			for name, want := range test.error {
				if e.Error[name] != want {
					t.Errorf("error.%s is %v, want %v", name, e.Error[name], want)
				}
			}
		})
	}
}

// guard is an authorization server and the server that names it.
type guard struct {
	*httptest.Server

	mu     sync.Mutex // guards what follows
	asked  int        // token requests
	answer func(r *http.Request) (status int, body string)
}

// newGuard starts one whose token endpoint answers so.
func newGuard(t *testing.T, answer func(*http.Request) (int, string)) *guard {
	t.Helper()
	g := &guard{answer: answer}
	mux := http.NewServeMux()
	page := func(path, format string) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, strings.ReplaceAll(format, "URL", g.URL))
		})
	}
	page("/.well-known/oauth-protected-resource/arc", `{"resource":"URL/arc","authorization_servers":["URL"]}`)
	page("/.well-known/oauth-authorization-server", `{"issuer":"URL","token_endpoint":"URL/token","device_authorization_endpoint":"URL/device","grant_types_supported":["refresh_token"]}`)
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.asked++
		status, body := g.answer(r)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	})
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"device_code":"device-secret","user_code":"ABCD-EFGH","verification_uri":"%s/enter","expires_in":600,"interval":1}`, g.URL)
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// become changes what the token endpoint answers.
func (g *guard) become(status int, body string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.answer = func(*http.Request) (int, string) { return status, body }
}

const freshToken = `{"access_token":"fresh-token","token_type":"Bearer","expires_in":3600,"refresh_token":"next-refresh"}`

// A refresh that the token service refuses is final, and names the login.
func TestAuthRefreshRejected(t *testing.T) {
	g := newGuard(t, func(*http.Request) (int, string) { return 200, freshToken })
	env := home(t, "ARCD_SERVER="+g.URL, "REFRESH=first-refresh")
	told(t, env, 0, "", "auth", "login", "--refresh-token", "env:REFRESH", "--client-id", "cli").has(t, map[string]any{"logged_in": true, "grant": "refresh_token", "refreshable": true})
	g.become(400, `{"error":"invalid_grant","error_description":"revoked"}`)
	e := told(t, env, 8, "REFRESH_REJECTED", "auth", "refresh", "--force")
	command, _ := e.Error["reauth_command"].(string)
	if e.Error["retryable"] != false || !strings.HasSuffix(command, "auth login --headless") {
		t.Errorf("the error is %v", e.Error)
	}
	g.become(503, ``)
	down := told(t, env, 12, "CONNECTION_FAILED", "auth", "refresh", "--force")
	if text, _ := down.Error["message"].(string); !strings.HasPrefix(text, "The token service gives no answer") {
		t.Errorf("the message is %q", text)
	}
	g.become(429, ``)
	told(t, env, 11, "RATE_LIMITED", "auth", "refresh", "--force")
	g.become(500, ``)
	told(t, env, 1, "SERVER_ERROR", "auth", "refresh", "--force")
	got := run(t, env, "auth", "refresh", "--force")
	if all := got.stdout + got.stderr; strings.Contains(all, "next-refresh") || strings.Contains(all, "fresh-token") {
		t.Errorf("a secret is shown: %s", all)
	}
}

// Refreshes at once make one token request.
func TestAuthRefreshParallel(t *testing.T) {
	g := newGuard(t, nil)
	token := func(exp int64) string {
		return handmade(`{"alg":"EdDSA"}`, fmt.Sprintf(`{"iss":%q,"sub":"ci","client_id":"ci","exp":%d}`, g.URL, exp))
	}
	g.become(200, `{"access_token":"`+token(time.Now().Add(time.Hour).Unix())+`","token_type":"Bearer","expires_in":3600}`)
	env := home(t, "ARCD_SERVER="+g.URL, "ARCD_CLIENT_ID=ci", "ARCD_CLIENT_SECRET=x", "ARCD_TOKEN="+token(1_700_000_000))
	var all sync.WaitGroup
	replies := make([]outcome, 10)
	for i := range replies {
		all.Go(func() { replies[i] = run(t, env, "auth", "refresh") })
	}
	all.Wait()
	for _, got := range replies {
		if got.code != 0 {
			t.Errorf("exit %d: %s", got.code, got.stdout)
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.asked != 1 {
		t.Errorf("%d token requests, want 1", g.asked)
	}
}

// A device login returns at once where nobody waits, and goes on with the same
// code.
func TestAuthDevice(t *testing.T) {
	g := newGuard(t, func(*http.Request) (int, string) { return 400, `{"error":"authorization_pending"}` })
	env := home(t, "ARCD_SERVER="+g.URL)
	pending := told(t, env, 0, "", "auth", "login", "--grant", "device", "--client-id", "cli")
	pending.has(t, map[string]any{"status": "pending", "logged_in": false, "open_url": g.URL + "/enter", "user_code": "ABCD-EFGH"})
	if pending.Meta["headless"] != true {
		t.Error("meta.headless is not true")
	}
	next, _ := pending.data(t)["next_command"].(string)
	if !strings.HasSuffix(next, " auth login --grant device --headless --wait --client-id cli") || strings.Contains(string(pending.Data), "device-secret") {
		t.Errorf("next_command is %q in %s", next, pending.Data)
	}
	g.become(200, freshToken)
	told(t, env, 0, "", strings.Fields(next)[1:]...).has(t, map[string]any{"status": "logged_in", "logged_in": true, "grant": "device"})
	told(t, env, 0, "", "auth", "status").has(t, map[string]any{"state": "valid", "source": "store:default"})
}

// What a login lacks is told all at once, and nothing is sent.
func TestAuthLoginLacks(t *testing.T) {
	env := home(t, "ARCD_SERVER=http://127.0.0.1:1")
	e := told(t, env, 4, "INPUT_REQUIRED", "auth", "login")
	methods, _ := e.Error["auth_methods"].([]any)
	if len(methods) == 0 || e.Error["reauth_env_var"] != "ARCD_TOKEN" {
		t.Errorf("the error is %v", e.Error)
	}
	for grant, want := range map[string]string{
		"client_credentials": "[--client-id --client-secret]", "token": "[--token]", "device": "[--client-id]",
		"password": "[--username --password]", "refresh_token": "[--refresh-token --client-id]",
	} {
		e := told(t, env, 2, "VALIDATION_ERROR", "auth", "login", "--grant", grant)
		if got := fmt.Sprint(e.Error["missing_args"]); got != want {
			t.Errorf("%s: missing_args is %s, want %s", grant, got, want)
		}
	}
	for _, flag := range []string{"--client-secret", "--password", "--refresh-token"} {
		got := run(t, env, "auth", "login", flag, "hunter2", "--username", "x")
		if got.code != 2 || !strings.Contains(got.stdout, "SECRET_IN_ARGV") || strings.Contains(got.stdout+got.stderr, "hunter2") {
			t.Errorf("%s: exit %d: %s", flag, got.code, got.stdout)
		}
	}
	told(t, with(env, "", "ARCD_CLIENT_ID=x", "ARCD_CLIENT_SECRET=y"), 12, "CONNECTION_FAILED", "auth", "login", "--token-url", "http://127.0.0.1:1/token")
}

// An administrator logs in with a password, and the registry judges the token.
func TestAuthAdministrator(t *testing.T) {
	s, env := machine(t)
	env = with(env, "ARCD_CLIENT", "PASSWORD=ARCP", "WRONG=nope")
	told(t, env, 8, "TOKEN_INVALID", "auth", "login", "--username", "ARCP", "--password", "env:WRONG")
	told(t, env, 0, "", "auth", "login", "--username", "ARCP", "--password", "env:PASSWORD").has(t, map[string]any{"grant": "password", "user": "admin:ARCP", "server": s.url})
	told(t, env, 0, "", "auth", "status", "--verify").has(t, map[string]any{"state": "valid", "verified": true})
	told(t, env, 0, "", "auth", "refresh", "--force").has(t, map[string]any{"effect": "updated"})
	told(t, env, 0, "", "auth", "status", "--verify").has(t, map[string]any{"state": "valid", "verified": true})
	told(t, env, 0, "", "auth", "logout", "--confirm-destructive").has(t, map[string]any{"effect": "deleted", "revoked": true})
}

// A token is shown in short, whole when asked for, or written to a private file.
func TestAuthToken(t *testing.T) {
	s, env := machine(t)
	token := s.minted()
	env = with(env, "ARCD_CLIENT", "ARCD_TOKEN="+token)
	short := told(t, env, 0, "", "auth", "token")
	if text, _ := short.data(t)["token"].(string); !strings.HasPrefix(text, "[JWT: sub=dev, exp=20") || strings.Contains(string(short.Data), token) {
		t.Errorf("data is %s", short.Data)
	}
	if got := run(t, env, "auth", "token", "--unmask", "-o", "plain"); got.stdout != token+"\n" {
		t.Errorf("stdout is %q", got.stdout)
	}
	path := filepath.Join(t.TempDir(), "token")
	written := told(t, env, 0, "", "auth", "token", "--output-file", path)
	written.has(t, map[string]any{"file": path, "masked": true})
	content, err := os.ReadFile(path)
	info, _ := os.Stat(path)
	if err != nil || string(content) != token+"\n" || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", err, info)
	}
	told(t, env, 4, "PRECONDITION_FAILED", "auth", "token", "--output-file", filepath.Join(path, "below"))
	told(t, with(env, "ARCD_TOKEN", "ARCD_TOKEN="+s.minted("--ttl", "-120s")), 10, "CREDENTIALS_EXPIRED", "auth", "token")
	told(t, with(env, "ARCD_TOKEN"), 8, "AUTH_REQUIRED", "auth", "token")
}

// Scopes are compared with those that commands need.
func TestAuthCheck(t *testing.T) {
	s, env := machine(t)
	low := with(env, "ARCD_CLIENT", "ARCD_TOKEN="+s.minted("--scope", auth.ScopeCaller))
	e := told(t, low, 8, "PERMISSION_DENIED", "auth", "check", "--for", "task.create")
	if fmt.Sprint(e.Error["missing_scopes"]) != "["+auth.ScopeTask+"]" || e.Error["required_permission"] != auth.ScopeTask {
		t.Errorf("the error is %v", e.Error)
	}
	all := told(t, low, 0, "", "auth", "check")
	if commands, _ := all.data(t)["commands"].(map[string]any); len(commands) < 5 || commands["task.create"] == nil {
		t.Errorf("data is %s", all.Data)
	}
	wide := with(env, "ARCD_CLIENT", "ARCD_TOKEN="+s.minted("--scope", strings.Join(auth.Scopes, ",")))
	told(t, wide, 0, "", "auth", "check-permissions", "--for", "task create").has(t, map[string]any{"command": "task.create", "over_privileged": true, "missing_scopes": "[]"})
	if e := told(t, wide, 0, "", "task", "list"); !e.warned("OVER_PRIVILEGED") {
		t.Errorf("warnings are %q", e.Warnings)
	}
	if e := told(t, with(env, "ARCD_CLIENT", "ARCD_TOKEN="+s.minted()), 0, "", "task", "list"); e.warned("OVER_PRIVILEGED") {
		t.Errorf("warnings are %q", e.Warnings)
	}
	told(t, low, 2, "VALIDATION_ERROR", "auth", "check", "--for", "tsk.create")
	told(t, low, 2, "VALIDATION_ERROR", "auth", "check", "--for", "version")
}

// A file takes the place of files only: not of a folder, nor of a device.
func TestTokenFileTakesNoOthersPlace(t *testing.T) {
	env := home(t, "ARCD_TOKEN=opaque")
	for _, path := range []string{t.TempDir(), os.DevNull} {
		told(t, env, 4, "PRECONDITION_FAILED", "auth", "token", "--output-file", path)
		if stat, err := os.Stat(path); err != nil || stat.Mode().IsRegular() {
			t.Errorf("%s: %v, %v", path, stat, err)
		}
	}
}

// A login that has nothing to log in with does not name itself as the cure.
func TestLoginWithNothingTellsPeopleWhatToGive(t *testing.T) {
	got := run(t, home(t), "-o", "text", "auth", "login", "--headless")
	if got.code != 4 || !strings.Contains(got.stderr, "cure: Set ARCD_CLIENT_ID") {
		t.Errorf("exit %d\n%s", got.code, got.stderr)
	}
}

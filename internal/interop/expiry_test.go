package interop_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// expiryPage is the page about credentials that expire in the middle of a
// session. Its check and its program are run against arcd as they stand there.
const expiryPage = "cli-credential-expiry.txt"

// retryProgram gives the program of the page. The page has lost the indentation,
// so testdata has a copy with it, which must not differ from the page in anything
// else.
func retryProgram(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("testdata", "seeds", expiryPage))
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(filepath.Join("testdata", "auth_retry.py"))
	if err != nil {
		t.Fatal(err)
	}
	lines := func(text string) []string {
		var all []string
		for line := range strings.Lines(text) {
			if line = strings.TrimSpace(line); line != "" {
				all = append(all, line)
			}
		}
		return all
	}
	onPage, ours := lines(string(page)), lines(string(program))
	begin, end := slices.Index(onPage, ours[0]), slices.Index(onPage, ours[len(ours)-1])
	if begin < 0 || end < 0 || !slices.Equal(onPage[begin:end+1], ours) {
		t.Fatal("testdata/auth_retry.py is not the program of the page")
	}
	return string(program)
}

// agentDriver calls the program of the page with the command line that it is
// given, and tells what came of it.
const agentDriver = `
import sys
try:
    print(json.dumps({"parsed": run_with_auth_retry(sys.argv[1:])}))
except PermissionError as e:
    print(json.dumps({"permission": str(e)}))
except RuntimeError as e:
    print(json.dumps({"failure": str(e)}))
`

// session is an agent's shell: where it may log in, and what arcd keeps there.
type session struct {
	env []string
	dir string
}

// newSession gives a session with an empty home and arcd on its path.
func newSession(t *testing.T, d *daemon, env ...string) *session {
	t.Helper()
	home := t.TempDir()
	path := filepath.Dir(binary) + string(os.PathListSeparator) + os.Getenv("PATH")
	return &session{dir: home, env: append([]string{"HOME=" + home, "PATH=" + path, "ARCD_SERVER=" + d.endpoint()}, env...)}
}

// called is how a command of arcd ended.
type called struct {
	code int
	OK   bool
	Data struct {
		TaskID string `json:"task_id"`
		Effect string
	}
	Error struct {
		Code          string
		Expired       bool
		ExpiredAt     string `json:"expired_at"`
		Retryable     bool
		ReauthCommand string `json:"reauth_command"`
		ReauthEnvVar  string `json:"reauth_env_var"`
	}
	text string
}

// arcd runs a command of arcd in the session.
func (s *session) arcd(t *testing.T, args ...string) called {
	t.Helper()
	cmd := exec.Command(binary, args...)
	cmd.Env, cmd.Dir = s.env, s.dir
	out, err := cmd.Output()
	if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
		t.Error(err)
		return called{code: -1}
	}
	got := called{code: cmd.ProcessState.ExitCode(), text: string(out)}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Errorf("arcd %s: exit %d, %v: %s", strings.Join(args, " "), got.code, err, out)
	}
	return got
}

// agentResult is what the program of the page makes of a command.
type agentResult struct {
	Parsed     map[string]any
	Permission string
	Failure    string
}

// agent runs the program of the page with a command of arcd.
func (s *session) agent(t *testing.T, program string, args ...string) agentResult {
	cmd := exec.Command("python3", append([]string{"-c", program + agentDriver, "arcd"}, args...)...)
	cmd.Env, cmd.Dir = s.env, s.dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Errorf("the program of the page: %v\n%s", err, &stderr)
		return agentResult{}
	}
	var got agentResult
	if err := json.Unmarshal(out, &got); err != nil {
		t.Errorf("the program of the page: %v in %s", err, out)
	}
	return got
}

// expiryWorld is a server with a client, and an agent's task.
type expiryWorld struct {
	*daemon
	secret, task string
}

// newExpiryWorld starts one whose tokens live as long as ttl says.
func newExpiryWorld(t *testing.T, ttl string) *expiryWorld {
	t.Helper()
	d := newDaemon(t, "")
	w := &expiryWorld{daemon: d}
	w.setTTL(t, ttl)
	w.secret = d.run(t, "client", "add", "ci", "--scope", allScopes, "-o", "plain")
	d.start(t)
	created := newSession(t, d, "ARCD_TOKEN="+d.token(t, "--sub", "ci")).arcd(t, "task", "create", "--agent", "echo", "--message", "hello")
	if w.task = created.Data.TaskID; w.task == "" {
		t.Fatalf("task create: exit %d %s", created.code, created.text)
	}
	return w
}

// setTTL writes the configuration with this lifetime of tokens, for the next
// start.
func (w *expiryWorld) setTTL(t *testing.T, ttl string) {
	t.Helper()
	old, err := os.ReadFile(w.configFile())
	if err != nil {
		t.Fatal(err)
	}
	base, _, _ := strings.Cut(string(old), "auth:\n")
	auth := "auth:\n  leeway: 0s\n  issuer: {enabled: true, token_ttl: " + ttl + ", key_file: " + w.dir + "/keys.json, clients_file: " + w.dir + "/clients.json}\n"
	if err := os.WriteFile(w.configFile(), []byte(base+auth), 0o600); err != nil {
		t.Fatal(err)
	}
}

// clientVariables let arcd get tokens as the client ci.
func (w *expiryWorld) clientVariables() []string {
	return []string{"ARCD_CLIENT_ID=ci", "ARCD_CLIENT_SECRET=" + w.secret}
}

// loggedOut gives a session whose stored credential has run out: it was made while
// tokens lived for a second. From now on they live for an hour.
func (w *expiryWorld) loggedOut(t *testing.T) *session {
	t.Helper()
	s := newSession(t, w.daemon, w.clientVariables()...)
	if got := s.arcd(t, "auth", "login", "--headless"); got.code != 0 {
		t.Fatalf("auth login: exit %d %s", got.code, got.text)
	}
	eventually(t, "the token has run out", func() bool { return s.arcd(t, "task", "get", w.task).code == 10 })
	w.restart(t, "1h")
	return s
}

// restart starts the server anew, with this lifetime of tokens and a log that
// begins again.
func (w *expiryWorld) restart(t *testing.T, ttl string) {
	t.Helper()
	w.stop(t)
	w.setTTL(t, ttl)
	w.log = new(logBuffer)
	w.start(t)
}

// logged ends the server, so that its log is whole, and counts the lines with all
// of these texts.
func (w *expiryWorld) logged(t *testing.T, texts ...string) int {
	t.Helper()
	w.stop(t)
	n := 0
	for line := range strings.Lines(w.log.tail(1 << 30)) {
		if !slices.ContainsFunc(texts, func(text string) bool { return !strings.Contains(line, text) }) {
			n++
		}
	}
	return n
}

// tokenRequests counts the requests for tokens, good and bad, and ends the server.
func (w *expiryWorld) tokenRequests(t *testing.T) int {
	t.Helper()
	return w.logged(t, `"event":"token_`)
}

// TestExpiryCheck is the check of the page, with the condition of each score.
func TestExpiryCheck(t *testing.T) {
	w := newExpiryWorld(t, "1h")
	expired := newSession(t, w.daemon, append(w.clientVariables(), "ARCD_TOKEN="+w.token(t, "--ttl", "-120s", "--sub", "ci"))...)
	for _, args := range [][]string{{"task", "get", w.task}, {"task", "list"}, {"chat", "start", "--agent", "echo", "--message", "hi"}, {"call", "task.list"}} {
		got := expired.arcd(t, args...)
		e := got.Error
		if got.OK || e.Code != "CREDENTIALS_EXPIRED" || e.ExpiredAt == "" || e.ReauthCommand == "" || !e.Expired {
			t.Errorf("arcd %q does not reach score 2: %s", args, got.text)
		}
		if got.code != 10 || !e.Retryable || e.ReauthEnvVar != "ARCD_TOKEN" {
			t.Errorf("arcd %q does not reach score 3: exit %d %s", args, got.code, got.text)
		}
	}
	refused := newSession(t, w.daemon, "ARCD_TOKEN="+w.token(t, "--scope", "arc.agent.caller"))
	if got := refused.arcd(t, "task", "get", w.task); got.code != 8 || got.Error.Code != "PERMISSION_DENIED" || got.Error.Retryable || got.Error.ReauthCommand == "" {
		t.Errorf("a refusal: exit %d %s", got.code, got.text)
	}
}

// TestExpiryProgram runs the program of the page: an expired credential is renewed
// once and the command goes well; a refusal is final.
func TestExpiryProgram(t *testing.T) {
	program := retryProgram(t)
	t.Run("stored credential", func(t *testing.T) {
		w := newExpiryWorld(t, "1s")
		s := w.loggedOut(t)
		wantTask(t, w, s.agent(t, program, "task", "get", w.task))
		if n := w.tokenRequests(t); n != 1 {
			t.Errorf("%d requests for tokens, want 1", n)
		}
	})
	t.Run("ARCD_TOKEN", func(t *testing.T) {
		w := newExpiryWorld(t, "1h")
		s := newSession(t, w.daemon, append(w.clientVariables(), "ARCD_TOKEN="+w.token(t, "--ttl", "-120s", "--sub", "ci"))...)
		wantTask(t, w, s.agent(t, program, "task", "get", w.task))
		wantTask(t, w, s.agent(t, program, "task", "get", w.task))
		if n := w.tokenRequests(t); n != 1 {
			t.Errorf("%d requests for tokens, want 1", n)
		}
	})
	t.Run("in the middle of a wait", func(t *testing.T) {
		w := newExpiryWorld(t, "1h")
		created := newSession(t, w.daemon, "ARCD_TOKEN="+w.token(t, "--sub", "ci")).arcd(t, "task", "create", "--agent", "slow", "--message", "20")
		w.task = created.Data.TaskID // it takes four seconds
		s := newSession(t, w.daemon, append(w.clientVariables(), "ARCD_TOKEN="+w.token(t, "--ttl", "2s", "--sub", "ci"))...)
		got := s.agent(t, program, "task", "wait", w.task)
		wantTask(t, w, got)
		if data, _ := got.Parsed["data"].(map[string]any); data["status"] != "COMPLETED" {
			t.Errorf("the task is %v, want COMPLETED", data["status"])
		}
		if n := w.tokenRequests(t); n != 1 {
			t.Errorf("%d requests for tokens, want 1", n)
		}
	})
	t.Run("refusal", func(t *testing.T) {
		w := newExpiryWorld(t, "1h")
		s := newSession(t, w.daemon, append(w.clientVariables(), "ARCD_TOKEN="+w.token(t, "--scope", "arc.agent.caller", "--sub", "ci"))...)
		got := s.agent(t, program, "task", "get", w.task)
		if !strings.HasPrefix(got.Permission, "Permanent auth failure [PERMISSION_DENIED]") {
			t.Errorf("got %+v, want a PermissionError", got)
		}
		if n := w.logged(t, `"event":"access"`, `"method":"task.info"`); n != 1 {
			t.Errorf("%d calls, want 1: a refusal is not repeated", n)
		}
	})
}

// wantTask checks that the program of the page got the task.
func wantTask(t *testing.T, w *expiryWorld, got agentResult) {
	t.Helper()
	text, err := json.Marshal(got.Parsed)
	if err != nil || got.Parsed["ok"] != true || !strings.Contains(string(text), w.task) {
		t.Errorf("got %+v, want the task", got)
	}
}

// parallel is how many processes share one expired credential.
const parallel = 20

// TestExpiryInParallel: many processes with one expired credential ask for one
// token, and all of them go on with it.
func TestExpiryInParallel(t *testing.T) {
	program := retryProgram(t)
	for name, call := range map[string]func(t *testing.T, w *expiryWorld, s *session){
		"by themselves": func(t *testing.T, w *expiryWorld, s *session) {
			s = &session{dir: s.dir, env: append(slices.Clone(s.env), "ARCD_AUTO_REFRESH=1")}
			if got := s.arcd(t, "task", "get", w.task); got.code != 0 {
				t.Errorf("exit %d: %s", got.code, got.text)
			}
		},
		"program of the page": func(t *testing.T, w *expiryWorld, s *session) {
			wantTask(t, w, s.agent(t, program, "task", "get", w.task))
		},
	} {
		t.Run(name+" stored", func(t *testing.T) {
			w := newExpiryWorld(t, "1s")
			w.inParallel(t, w.loggedOut(t), call)
		})
		t.Run(name+" ARCD_TOKEN", func(t *testing.T) {
			w := newExpiryWorld(t, "1h")
			token := "ARCD_TOKEN=" + w.token(t, "--ttl", "-120s", "--sub", "ci")
			w.inParallel(t, newSession(t, w.daemon, append(w.clientVariables(), token)...), call)
		})
	}
}

// inParallel makes the call in many processes and counts the tokens.
func (w *expiryWorld) inParallel(t *testing.T, s *session, call func(*testing.T, *expiryWorld, *session)) {
	t.Helper()
	var running sync.WaitGroup
	for range parallel {
		running.Go(func() { call(t, w, s) })
	}
	running.Wait()
	if n := w.tokenRequests(t); n != 1 {
		t.Errorf("%d requests for tokens, want 1", n)
	}
}

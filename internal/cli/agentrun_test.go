package cli_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

// worker is a program for "arcd agent run": it does what the text of its work says.
const worker = `request=$(cat)
case $(printf %s "$request" | sed 's/.*"text":"\([^"]*\)".*/\1/') in
hello) echo one; printf 'two\n'; echo '{"progress":70,"note":"nearly"}'; echo '{"text":"!"}'
  echo '{"artifact":{"name":"a","parts":[{"type":"TextPart","content":"made"}]}}'; printf 'no end' ;;
env) echo "$ARCD_TASK_ID $ARCD_PARENT_TASK $ARCD_AGENT $ARC_TRACE_ID $ARCD_CHAT_ID" ;;
child) arcd task create --agent echo --message Hi -o plain ;;
ask) echo 'one moment'; echo '{"input":"which one?"}' ;;
this) echo '{"part":{"type":"DataPart","content":{"a":1}}}' ;;
fail) echo '{"error":{"code":-42004,"message":"it is broken","reason":"broken"}}' ;;
exit) echo 'only in the log' >&2; exit 3 ;;
again) test "$(printf %s "$request" | sed 's/.*"attempt":\([0-9]*\).*/\1/')" = 2 || exit 75; echo 'the second time' ;;
json) echo '{"answer":42}' ;;
big) head -c 9000000 /dev/zero | tr '\0' x | fold -w 1000 ;;
unread) exec <&-; echo fine ;;
stay) sh -c 'trap "" TERM; echo $$ > pid; sleep 100' & trap 'echo stopped > stopped; exit 1' TERM; echo '{"progress":1}'; wait ;;
esac
`

// runner is an "arcd agent run" that serves.
type runner struct {
	*exec.Cmd
	stdout bytes.Buffer
	stderr *watched
}

// runAgent starts "arcd agent run" with a worker in dir, and waits until it serves.
func runAgent(t *testing.T, s *served, dir string, args ...string) *runner {
	t.Helper()
	script := filepath.Join(dir, "worker.sh")
	if err := os.WriteFile(script, []byte(worker), 0o600); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(dir, "token")
	if err := os.WriteFile(token, []byte(s.token("--agent", "w-1", "--sub", "the-worker", "--scope",
		"arc.agent.receiver,arc.task.notify,arc.agent.caller,arc.task.controller")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := &runner{stderr: &watched{}}
	r.Cmd = exec.CommandContext(t.Context(), "arcd", append([]string{
		"agent", "run", "--id", "w-1", "--exec", "sh worker.sh", "--server", s.url + "/arc", "--token", "file:token",
	}, args...)...)
	r.Dir, r.Stdout, r.Stderr = dir, &r.stdout, r.stderr
	r.Env = append(os.Environ(), "HOME="+dir, "ARCD_KEYRING=off")
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	<-r.stderr.seen("serving w-1 at")
	return r
}

// stop ends it as a service would, and gives its envelope's data.
func (r *runner) stop(t *testing.T) (data struct{ Done, Failed, Lost int }) {
	t.Helper()
	if err := r.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if err := r.Wait(); err != nil {
		t.Errorf("after SIGTERM: %v, %s", err, r.stderr)
	}
	e := validateEnvelope(t, r.stdout.String(), "agent.run")
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatal(err)
	}
	return data
}

// worked is what a task of the worker has come to.
type worked struct {
	TaskID string `json:"task_id"`
	Status string
	Parent string `json:"parent_task_id"`
	Task   struct {
		Attempt   int
		Progress  *struct{ Note string }
		Error     *struct{ Message, Reason string }
		Artifacts []struct{ Name string }
		Messages  []struct {
			Role  string
			Parts []struct{ Content json.RawMessage }
		}
	}
}

// said gives what the worker said, one line per part.
func (w worked) said() string {
	var lines []string
	for _, m := range w.Task.Messages {
		for _, p := range m.Parts {
			var text string
			if json.Unmarshal(p.Content, &text) != nil {
				text = string(p.Content)
			}
			if m.Role == "agent" {
				lines = append(lines, text)
			}
		}
	}
	return strings.Join(lines, "\n--\n")
}

func taskOf(t *testing.T, env []string, args ...string) worked {
	t.Helper()
	var w worked
	e := validateEnvelope(t, run(t, env, args...).stdout, "")
	if err := json.Unmarshal(e.Data, &w); err != nil {
		t.Fatalf("%s: %v", e.Data, err)
	}
	return w
}

func TestAgentRun(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	dir := t.TempDir()
	r := runAgent(t, s, dir)
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=" + s.url + "/arc", "ARCD_TOKEN=" + s.token(), "ARC_TRACE_ID=the-trace"}
	ask := func(text string) worked {
		t.Helper()
		return taskOf(t, env, "task", "wait", taskOf(t, env, "task", "create", "--agent", "w-1", "--message", text).TaskID)
	}
	got := ask("hello")
	if got.Status != "COMPLETED" || got.said() != "one\ntwo!\nno end" || len(got.Task.Artifacts) != 1 || got.Task.Progress.Note != "nearly" {
		t.Errorf("hello: %s %q %+v", got.Status, got.said(), got.Task)
	}
	if got = ask("env"); strings.TrimSpace(got.said()) != got.TaskID+" "+got.TaskID+" w-1 the-trace" {
		t.Errorf("the environment is %q in %s", got.said(), got.TaskID)
	}
	if got = ask("child"); got.Status == "COMPLETED" {
		mine := []string{env[0], env[1], env[2], "ARCD_TOKEN_FILE=" + filepath.Join(dir, "token")}
		if child := taskOf(t, mine, "task", "get", strings.TrimSpace(got.said())); child.Parent != got.TaskID {
			t.Errorf("the child's parent is %q, want %s", child.Parent, got.TaskID)
		}
	} else {
		t.Errorf("child: %+v\n%s", got, r.stderr)
	}
	if got = ask("ask"); got.Status != "INPUT_REQUIRED" || got.said() != "one moment\n--\nwhich one?" {
		t.Errorf("ask: %s %q", got.Status, got.said())
	}
	run(t, env, "task", "send", got.TaskID, "--message", "this")
	if got = taskOf(t, env, "task", "wait", got.TaskID); got.Status != "COMPLETED" {
		t.Errorf("after the answer: %+v", got)
	}
	if got = ask("again"); got.said() != "the second time" || got.Task.Attempt != 2 {
		t.Errorf("again: %q in attempt %d", got.said(), got.Task.Attempt)
	}
	for text, want := range map[string]string{"json": `{"answer":42}`, "unread": "fine"} {
		if got = ask(text); got.said() != want {
			t.Errorf("%s: %q, want %q", text, got.said(), want)
		}
	}
	for text, want := range map[string]string{"fail": "it is broken", "exit": "the agent failed", "big": "the agent failed"} {
		if got = ask(text); got.Status != "FAILED" || got.Task.Error.Message != want {
			t.Errorf("%s: %s %+v", text, got.Status, got.Task.Error)
		}
	}
	for _, line := range []string{"only in the log", "exit status 3", "more than 4194304 bytes"} {
		if !strings.Contains(r.stderr.String(), line) {
			t.Errorf("stderr has no %q: %s", line, r.stderr)
		}
	}
	if data := r.stop(t); data.Done != 8 || data.Failed != 4 {
		t.Errorf("%+v", data)
	}
}

// TestAgentRunCancels ends the program and all that it started.
func TestAgentRunCancels(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	dir := t.TempDir()
	r := runAgent(t, s, dir, "--capacity", "1")
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=" + s.url + "/arc", "ARCD_TOKEN=" + s.token()}
	task := taskOf(t, env, "task", "create", "--agent", "w-1", "--message", "stay")
	got := run(t, env, "task", "watch", task.TaskID, "--timeout", "2s") // until its progress was told
	if !regexp.MustCompile(`"progress"`).MatchString(got.stdout) {
		t.Fatalf("the events are %s\n%s", got.stdout, r.stderr)
	}
	run(t, env, "task", "cancel", task.TaskID, "--confirm-destructive")
	// With one place the next task begins only when the program is gone.
	if next := taskOf(t, env, "task", "create", "--agent", "w-1", "--message", "hello", "--wait"); next.Status != "COMPLETED" {
		t.Errorf("the next task: %+v", next)
	}
	if _, err := os.Stat(filepath.Join(dir, "stopped")); err != nil {
		t.Errorf("the program did not get SIGTERM: %v", err)
	}
	pid, err := os.ReadFile(filepath.Join(dir, "pid"))
	if err != nil {
		t.Fatal(err)
	}
	if state, err := os.ReadFile(filepath.Join("/proc", strings.TrimSpace(string(pid)), "stat")); err == nil && !bytes.Contains(state, []byte(") Z ")) {
		t.Errorf("what it started is still there: %s", state)
	}
	if data := r.stop(t); data.Done != 1 || data.Lost != 1 {
		t.Errorf("%+v", data)
	}
}

func TestAgentRunRefusals(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=" + s.url + "/arc"}
	for label, c := range map[string]struct {
		token []string // flags of dev token
		args  []string
		code  string
		exit  int
	}{
		"an id of somebody else": {[]string{"--agent", "other", "--scope", "arc.agent.receiver"}, nil, "PERMISSION_DENIED", 8},
		"no scope":               {[]string{"--agent", "w-1", "--scope", "arc.agent.caller"}, nil, "PERMISSION_DENIED", 8},
		"expired":                {[]string{"--agent", "w-1", "--ttl", "-120s"}, nil, "CREDENTIALS_EXPIRED", 10},
		"no capacity":            {nil, []string{"--capacity", "0"}, "VALIDATION_ERROR", 2},
		"an id that is none":     {nil, []string{"--id", "../x"}, "", 2},
		"nothing to do":          {nil, []string{"--dry-run"}, "", 0},
	} {
		with := append(env, "ARCD_TOKEN="+s.token(c.token...))
		got := run(t, with, append([]string{"agent", "run", "--id", "w-1", "--exec", "true"}, c.args...)...)
		e := validateEnvelope(t, got.stdout, "agent.run")
		if e.exit() != c.exit || c.code != "" && e.code() != c.code {
			t.Errorf("%s: exit %d %s, want %d %s", label, e.exit(), e.code(), c.exit, c.code)
		}
	}
}

// A refusal tells that the client in the environment was not the one that asked.
func TestStoredLoginFirst(t *testing.T) {
	_, env := machine(t)
	told(t, env, 0, "", "auth", "login", "--headless")
	env = with(env, "ARCD_CLIENT_ID", "ARCD_CLIENT_ID=worker")
	e := told(t, env, 8, "PERMISSION_DENIED", "agent", "run", "--id", "helper", "--exec", "cat")
	if cure, _ := e.Error["suggestion"].(string); !strings.Contains(cure, "ARCD_CLIENT_ID was not used: a stored login (store:default) comes first") {
		t.Errorf("the suggestion is %q", cure)
	}
}

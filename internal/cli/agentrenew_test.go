package cli_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestAgentRunOutlivesItsToken gives "arcd agent run" client credentials in the
// environment only, and tokens that live for six seconds: work that goes on while one
// is renewed is not begun again.
func TestAgentRunOutlivesItsToken(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	file := filepath.Join(dir, "arcd.yaml")
	config := fmt.Sprintf("auth: {leeway: 1ms, issuer: {token_ttl: 6s, clients_file: %s}}\n", filepath.Join(dir, "clients.json"))
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	added := run(t, nil, "client", "add", "worker", "--scope", "arc.agent.receiver,arc.task.notify", "--agent", "w-1", "--config", file, "-o", "plain")
	secret := strings.TrimSpace(added.stdout)
	if added.code != 0 || secret == "" {
		t.Fatalf("client add: %d %s", added.code, added.stderr)
	}
	s := serve(t, "--dev", "--config", file)
	r := &runner{stderr: &watched{}}
	r.Cmd = exec.CommandContext(t.Context(), "arcd", "agent", "run", "--id", "w-1", "--server", s.url+"/arc",
		"--exec", `sleep 3; echo "secrets: $ARCD_CLIENT_SECRET$ARCD_TOKEN"; echo '{"text":5}'`)
	r.Dir, r.Stdout, r.Stderr = dir, &r.stdout, r.stderr
	r.Env = append(os.Environ(), "HOME="+dir, "ARCD_KEYRING=off", "ARCD_CLIENT_ID=worker", "ARCD_CLIENT_SECRET="+secret)
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	<-r.stderr.seen("serving w-1 at")
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=" + s.url + "/arc"}
	for range 3 {
		env := append(env, "ARCD_TOKEN="+s.token())
		got := taskOf(t, env, "task", "create", "--agent", "w-1", "--message", "hello", "--wait")
		if got.Status != "COMPLETED" || got.said() != "secrets: \n{\"text\":5}" || got.Task.Attempt != 1 {
			t.Fatalf("%s %q in attempt %d\n%s", got.Status, got.said(), got.Task.Attempt, r.stderr)
		}
	}
	if data := r.stop(t); data.Done != 3 || data.Failed+data.Lost != 0 {
		t.Errorf("%+v", data)
	}
	said := r.stderr.String()
	if strings.Count(said, "serving") != 1 || strings.Contains(said, "refused") || strings.Contains(said, secret) || !strings.Contains(said, "the member /text") {
		t.Errorf("stderr: %s", said)
	}
}

func TestAgentRunNeedsItsCommand(t *testing.T) {
	env := []string{"HOME=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_SERVER=http://127.0.0.1:1/arc", "ARCD_TOKEN=x"}
	for command, want := range map[string]int{
		"/nonexistent/program --flag": 2, "no-such-program-of-arcd": 2, "cat": 0, "cd /; cat": 0, "A=1 cat": 0, `"$HOME/worker"`: 0,
	} {
		got := run(t, env, "agent", "run", "--id", "w-1", "--dry-run", "--exec", command)
		if e := validateEnvelope(t, got.stdout, "agent.run"); e.exit() != want {
			t.Errorf("%q: exit %d %s, want %d", command, e.exit(), e.code(), want)
		}
	}
}

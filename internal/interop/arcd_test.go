package interop_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// binary is the arcd that the tests run, built once by TestMain.
var binary string

func TestMain(m *testing.M) {
	os.Exit(withBinary(m.Run))
}

func withBinary(run func() int) int {
	dir, err := os.MkdirTemp("", "arcd-interop-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "arcd")
	build := exec.Command("go", "build", "-o", binary, "github.com/arcd-io/arcd/cmd/arcd")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building arcd: %v\n%s", err, out)
		return 1
	}
	return run()
}

// cache gives a path below .cache/interop, where setup.sh installs. What is not
// there fails the test: a proof that did not run proves nothing.
func cache(t *testing.T, path string) string {
	t.Helper()
	full, err := filepath.Abs(filepath.Join("..", "..", ".cache", "interop", path))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(full); err != nil {
		t.Fatalf("%s is not installed: run \"make setup\" (internal/interop/setup.sh) first", path)
	}
	return full
}

// allScopes are those that a caller needs for tasks and chats.
const allScopes = "arc.task.controller,arc.chat.controller,arc.agent.caller"

// daemon is arcd as a process of its own, with its files in dir.
type daemon struct {
	dir  string
	addr string
	dev  []string // flags of "serve --dev"; nil: it is served with its configuration file
	cmd  *exec.Cmd
	log  *logBuffer
	done chan struct{} // closed when the process has ended
}

// newDaemon writes a configuration for a daemon on a free loopback port with
// the demo agents; extra is more YAML, on the top level.
func newDaemon(t *testing.T, extra string) *daemon {
	t.Helper()
	d := &daemon{dir: t.TempDir(), addr: freeAddress(t), log: new(logBuffer)}
	config := fmt.Sprintf(`listen: %s
public_url: http://%[1]s
store: sqlite:%[2]s/arcd.db
log: {format: json}
%[3]s
agents:
  echo: {kind: demo}
  slow: {kind: demo}
  fail: {kind: demo}
  input: {kind: demo}
  stream: {kind: demo}
  flaky: {kind: demo}
`, d.addr, d.dir, extra)
	if err := os.WriteFile(d.configFile(), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	d.endWith(t)
	return d
}

// startedDev gives a running "arcd serve --dev" in an empty folder, as somebody
// tries it out: with the keys and accounts that the pages of the registry API
// name. flags are more of its flags.
func startedDev(t *testing.T, flags ...string) *daemon {
	t.Helper()
	d := &daemon{dir: t.TempDir(), addr: freeAddress(t), log: new(logBuffer)}
	d.dev = append([]string{"serve", "--dev", "--listen", d.addr}, flags...)
	d.endWith(t)
	d.start(t)
	return d
}

// endWith ends the process with the test.
func (d *daemon) endWith(t *testing.T) {
	t.Cleanup(func() {
		d.kill()
		if t.Failed() {
			t.Logf("end of the server's log:\n%s", d.log.tail(8000))
		}
	})
}

// ownIssuer is the configuration of arcd's own token service.
func ownIssuer(dir string) string {
	return fmt.Sprintf("auth:\n  issuer: {enabled: true, key_file: %s/keys.json, clients_file: %[1]s/clients.json}\n", dir)
}

// started gives a running daemon with arcd's own token service.
func started(t *testing.T, extra string) *daemon {
	t.Helper()
	d := newDaemon(t, ownIssuer(t.TempDir())+extra)
	d.start(t)
	return d
}

func (d *daemon) configFile() string { return filepath.Join(d.dir, "arcd.yaml") }
func (d *daemon) url() string        { return "http://" + d.addr }
func (d *daemon) endpoint() string   { return d.url() + "/arc" }

// start runs the server and waits until it takes calls.
func (d *daemon) start(t *testing.T) {
	t.Helper()
	args := []string{"serve", "--config", d.configFile()}
	if d.dev != nil {
		args = d.dev
	}
	d.cmd = exec.Command(binary, args...)
	d.cmd.Dir = d.dir
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	d.done = make(chan struct{})
	go func() {
		_, _ = io.Copy(d.log, stderr)
		_ = d.cmd.Wait()
		close(d.done)
	}()
	eventually(t, "arcd is ready", func() bool {
		select {
		case <-d.done:
			t.Fatalf("arcd ended at its start:\n%s", d.log.tail(8000))
		default:
		}
		response, err := http.Get("http://" + d.addr + "/readyz")
		if err != nil {
			return false
		}
		_ = response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
}

// kill ends the process as a crash would.
func (d *daemon) kill() {
	if d.cmd == nil || d.done == nil {
		return
	}
	_ = d.cmd.Process.Kill()
	<-d.done
}

// stop ends the process politely; it must then exit with 0.
func (d *daemon) stop(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-d.done
	if code := d.cmd.ProcessState.ExitCode(); code != 0 {
		t.Fatalf("arcd exits with %d after SIGTERM, want 0", code)
	}
}

// run runs a command of arcd with this daemon's configuration, in its folder, and
// gives its standard output.
func (d *daemon) run(t *testing.T, args ...string) string {
	t.Helper()
	if d.dev == nil {
		args = append(args, "--config", d.configFile())
	}
	cmd := exec.Command(binary, args...)
	var stderr bytes.Buffer
	cmd.Stderr, cmd.Dir = &stderr, d.dir
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("arcd %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	return strings.TrimSpace(string(out))
}

// token mints a token of arcd's own service.
func (d *daemon) token(t *testing.T, flags ...string) string {
	t.Helper()
	return d.run(t, append([]string{"dev", "token", "--unmask", "-o", "plain", "--public-url", d.url()}, flags...)...)
}

// freeAddress gives a loopback address that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	port, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// eventually waits until ok holds. Another process is looked at, whose events
// cannot be waited for, so it looks again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	eventuallyWithin(t, 30*time.Second, what, ok)
}

// eventuallyWithin is eventually with a patience of its own.
func eventuallyWithin(t *testing.T, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// listening starts a program that prints "listening ADDRESS" when it does, and
// gives the address. The program ends with the test, or when stop is called.
func listening(t *testing.T, cmd *exec.Cmd) (address string, stop func()) {
	t.Helper()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "listening "); ok {
			return address, stop
		}
	}
	stop()
	t.Fatalf("%s does not start:\n%s", filepath.Base(cmd.Path), &stderr)
	return "", nil
}

// logBuffer keeps what a process logs.
type logBuffer struct {
	mu   sync.Mutex // guards text
	text []byte
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	return len(b), nil
}

func (l *logBuffer) tail(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text[max(0, len(l.text)-n):])
}

package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/internal/cli"
	"github.com/arcd-io/arcd/internal/pgtest"
)

// noRaceRest keeps a process of this test binary from resting for a second at its
// end, as the race detector has it do.
var noRaceRest = [2]string{"GORACE", "atexit_sleep_ms=0"}

// TestMain puts this test binary on the path as "arcd", for the tests that need
// a process: called by that name it is arcd.
func TestMain(m *testing.M) {
	os.Setenv(noRaceRest[0], noRaceRest[1])
	testscript.Main(leakless{m}, map[string]func(){"arcd": func() {
		signal.Ignore(syscall.SIGPIPE) // as main does
		os.Exit(cli.Run(context.Background(), os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr))
	}})
}

// leakless fails the tests if goroutines are left behind.
type leakless struct{ *testing.M }

func (l leakless) Run() int {
	code := pgtest.Main(l.M)
	if code == 0 {
		if err := goleak.Find(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// watched is a writer that tells when a text has come by.
type watched struct {
	mu      sync.Mutex // guards what follows
	text    bytes.Buffer
	waiting map[string]chan struct{}
}

func (w *watched) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.text.Write(b)
	for text, seen := range w.waiting {
		if bytes.Contains(w.text.Bytes(), []byte(text)) {
			close(seen)
			delete(w.waiting, text)
		}
	}
	return len(b), nil
}

// seen gives a channel that is closed when the text has come by.
func (w *watched) seen(text string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := make(chan struct{})
	if bytes.Contains(w.text.Bytes(), []byte(text)) {
		close(seen)
		return seen
	}
	if w.waiting == nil {
		w.waiting = map[string]chan struct{}{}
	}
	w.waiting[text] = seen
	return seen
}

func (w *watched) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

// served is a server that "arcd serve" runs in this process.
type served struct {
	t    *testing.T
	url  string
	out  *watched // its standard output
	log  *watched
	stop func() int // ends it and gives the exit code
}

// serve runs "arcd serve" on a free port of loopback, in the current folder,
// until the test ends.
func serve(t *testing.T, args ...string) *served {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, log := &watched{}, &watched{}
	exited := make(chan int, 1)
	go func() {
		args := append([]string{"serve", "--listen", "127.0.0.1:0", "--log-format", "json"}, args...)
		exited <- cli.Run(ctx, args, nil, strings.NewReader(""), out, log)
	}()
	stop := sync.OnceValue(func() int {
		cancel()
		return <-exited
	})
	t.Cleanup(func() {
		http.DefaultClient.CloseIdleConnections()
		stop()
	})
	select {
	case <-log.seen(`"event":"serving"`):
	case code := <-exited:
		exited <- code
		t.Fatalf("arcd serve ended with %d: %s", code, log)
	}
	url := regexp.MustCompile(`"url":"([^"]+)"`).FindStringSubmatch(log.String())
	return &served{t: t, url: url[1], out: out, log: log, stop: stop}
}

// answer is an answer of the ARC endpoint.
type answer struct {
	status        int
	header        http.Header
	ResponseAgent string
	Result        struct {
		Task struct{ TaskID, Status string }
	}
	Error *struct {
		Code    int
		Details map[string]any
	}
}

func (a answer) code() int {
	if a.Error == nil {
		return 0
	}
	return a.Error.Code
}

// create calls task.create for an agent. Without a token it sends none.
func (s *served) create(token, agent string) answer {
	s.t.Helper()
	return s.call(http.DefaultClient, token, `{"arc":"1.0","id":1,"method":"task.create","requestAgent":"me","targetAgent":"`+agent+
		`","params":{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"Hi"}]}}}`)
}

// call posts a body to the endpoint.
func (s *served) call(client *http.Client, token, body string) answer {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/arc", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/arc+json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := client.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	got := answer{status: res.StatusCode, header: res.Header}
	if err := json.NewDecoder(res.Body).Decode(&got); err != nil {
		s.t.Fatalf("%s: %v", res.Status, err)
	}
	return got
}

// token mints one with the key file of the folder.
func (s *served) token(args ...string) string {
	s.t.Helper()
	got := run(s.t, nil, append([]string{"dev", "token", "--unmask", "-o", "plain", "--public-url", s.url}, args...)...)
	if got.code != 0 {
		s.t.Fatalf("dev token: exit %d: %s", got.code, got.stderr)
	}
	return strings.TrimSpace(got.stdout)
}

func TestServeDev(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	token := regexp.MustCompile(`Bearer (\S+)'`).FindStringSubmatch(s.log.String())
	if token == nil {
		t.Fatalf("no token is printed: %s", s.log)
	}
	got := s.create(token[1], "echo")
	if got.status != http.StatusOK || got.Result.Task.Status != "SUBMITTED" || !strings.HasPrefix(got.Result.Task.TaskID, "task-") {
		t.Errorf("task.create: %+v", got)
	}
	if strings.Contains(strings.SplitAfter(s.log.String(), `"event":"serving"`)[1], token[1]) {
		t.Error("the log holds the token")
	}
	if code := s.stop(); code != 0 {
		t.Errorf("exit %d after the end of ctx, want 0", code)
	}
}

// TestServeCurl pastes what --dev prints.
func TestServeCurl(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	commands := regexp.MustCompile(`(?m)^curl .*$`).FindAllString(s.log.String(), -1)
	if len(commands) != 3 {
		t.Fatalf("%d curl commands are printed, want 3: %s", len(commands), s.log)
	}
	for i, want := range []string{`"status":"SUBMITTED"`, `"taskId":"task-`, `"access_token":"`} {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", commands[i])
		out, err := cmd.CombinedOutput()
		if err != nil || !strings.Contains(string(out), want) {
			t.Errorf("%s\ngives %v: %s", commands[i], err, out)
		}
	}
}

func TestServeClosedByDefault(t *testing.T) {
	t.Chdir(t.TempDir())
	for args, want := range map[string]outcome{
		"serve":                    {code: 2, stdout: "no token would be accepted"},
		"serve --listen 0.0.0.0:0": {code: 2, stdout: "can be reached from other machines"},
		"serve --listen nonsense":  {code: 2, stdout: "flag --listen: listen: must be host:port"},
		"serve --store postgres:x": {code: 2, stdout: "store: must be sqlite:FILE"},
		"serve --insecure-no-auth --insecure-http --listen 0.0.0.0:0":       {code: 2, stdout: "is for a loopback address"},
		"serve --dev --listen 127.0.0.1:0 --tls-cert a --tls-key b":         {code: 2, stdout: "tls.cert: "},
		"serve --dev --listen 127.0.0.1:0 --store sqlite:no/such/folder.db": {code: 2, stdout: "no/such"},
		"serve --bogus": {code: 2, stdout: "--bogus"},
		"bogus":         {code: 2, stdout: "There is no command \"arcd bogus\"."},
		"client add x":  {code: 2, stdout: "--scope is missing"},
	} {
		t.Run(args, func(t *testing.T) {
			got := run(t, nil, strings.Fields(args)...)
			if got.code != want.code || !strings.Contains(got.complaint(t), want.stdout) {
				t.Errorf("exit %d, want %d and %q; got:\n%s", got.code, want.code, want.stdout, got.stdout)
			}
		})
	}
}

func TestServeAddressInUse(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	address := strings.TrimPrefix(s.url, "http://")
	if got := run(t, nil, "serve", "--dev", "--listen", address); got.code != 4 || got.reply(t).Error.Code != "ADDRESS_IN_USE" {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
	if got := run(t, nil, "serve", "--dev", "--listen", "127.0.0.1:0"); got.code == 0 || !strings.Contains(got.complaint(t), "another process has this database open") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

func TestServeWithoutAuth(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--insecure-no-auth", "-c", file(t, "arcd.yaml", "agents: {echo: {kind: demo}}"))
	if got := s.create("", "echo"); got.code() != 0 {
		t.Errorf("task.create: %+v", got)
	}
	if !strings.Contains(s.log.String(), "no authentication") {
		t.Errorf("the log does not warn: %s", s.log)
	}
}

// TestServeWithoutAuthWithRegistry: the registry's tokens are judged, and calls
// without one are taken; the log warns of it.
func TestServeWithoutAuthWithRegistry(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--insecure-no-auth", "-c", file(t, "arcd.yaml", "agents: {echo: {kind: demo}}\nauth: {issuer: {enabled: true}}"))
	if got := s.create("", "echo"); got.code() != 0 {
		t.Errorf("task.create: %+v", got)
	}
	if !strings.Contains(s.log.String(), "no authentication") {
		t.Errorf("the log does not warn: %s", s.log)
	}
}

// TestServeSignals: the first signal drains, and the process ends with 0.
func TestServeSignals(t *testing.T) {
	for _, signal := range []os.Signal{syscall.SIGTERM, os.Interrupt} {
		cmd, log := child(t)
		stdout := &watched{}
		cmd.Stdout = stdout
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		<-log.seen(`"event":"serving"`)
		<-stdout.seen("\n")
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("%v: %v, want exit 0\n%s", signal, err, log)
		}
		<-log.seen(`"event":"stopped"`)
		e := validateEnvelope(t, stdout.String(), "serve")
		var ready struct{ Event, Listening string }
		if len(e.before) != 1 || json.Unmarshal(e.before[0], &ready) != nil || ready.Event != "ready" || ready.Listening == "" {
			t.Errorf("before the envelope stands %q, want the ready line", e.before)
		}
		listener, err := net.Listen("tcp", ready.Listening)
		if err != nil {
			t.Fatalf("the port is not free: %v", err)
		}
		listener.Close()
	}
}

// TestServeSecondSignal: who does not want to wait for the drain need not.
func TestServeSecondSignal(t *testing.T) {
	cmd, log := child(t)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-log.seen(`"event":"serving"`)
	s := &served{t: t, log: log}
	s.url = "http://" + address(s)
	token := regexp.MustCompile(`Bearer (\S+)'`).FindStringSubmatch(log.String())[1]
	got := s.call(http.DefaultClient, token, `{"arc":"1.0","id":1,"method":"task.create","requestAgent":"me","targetAgent":"slow",
		"params":{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"10000"}]}}}`)
	if got.code() != 0 {
		t.Fatalf("task.create: %+v", got.Error)
	}
	signal := func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	signal()
	<-log.seen(`"event":"draining"`)
	signal()
	err := cmd.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); !ok || e.ExitCode() != 143 {
		t.Errorf("got %v, want exit status 143\n%s", err, log)
	}
}

// child makes "arcd serve --dev" a process of its own, for the caller to start.
func child(t *testing.T) (*exec.Cmd, *watched) {
	t.Helper()
	log := &watched{}
	cmd := exec.CommandContext(t.Context(), "arcd", "serve", "--dev", "--listen", "127.0.0.1:0", "--log-format", "json")
	cmd.Dir, cmd.Stderr = t.TempDir(), log
	return cmd, log
}

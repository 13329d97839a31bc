package interop_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/pgtest"
)

// proxied are three arcd on one PostgreSQL behind HAProxy, with the configurations of
// deploy/compose: only addresses are others, and what is silent is cut after 3 s instead
// of 5 minutes.
type proxied struct {
	url      string
	dir      string // of the clients file and the secrets
	replicas []*daemon
	http     *http.Client // trusts the certificate
	secret   string       // of the client "worker"
}

// substitute puts new texts in the place of old ones, each of which must be there.
func substitute(t *testing.T, file string, pairs ...string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "deploy", "compose", file))
	if err != nil {
		t.Fatal(err)
	}
	text := string(content)
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("deploy/compose/%s does not have %q", file, pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// startProxied starts all of it.
func startProxied(t *testing.T) *proxied {
	t.Helper()
	database, err := pgtest.New(pgtest.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Remove)
	front := freeAddress(t)
	p := &proxied{url: "https://" + front, dir: t.TempDir()}
	write := func(name, content string) string {
		path := filepath.Join(p.dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	script := write("secrets.sh", substitute(t, "secrets.sh"))
	if out, err := exec.CommandContext(t.Context(), "bash", script).CombinedOutput(); err != nil {
		t.Fatalf("secrets.sh: %v\n%s", err, out)
	}
	store := write("store", database.URL("postgres"))
	routes := []string{"bind :8443", "bind " + front, "/run/secrets/", p.dir + "/secrets/", "timeout client 5m", "timeout client 3s",
		"timeout server 5m", "timeout server 3s"}
	for n := 1; n <= 3; n++ {
		d := &daemon{dir: p.dir, addr: freeAddress(t), log: new(logBuffer)}
		config := substitute(t, "arcd.yaml", "0.0.0.0:8001", d.addr, "https://localhost:8443", p.url, "172.30.80.0/24", "127.0.0.1", "/run/secrets/store", store)
		d.dev = []string{"serve", "--config", write(fmt.Sprintf("arcd-%d.yaml", n), config+"  patient: {kind: websocket}\nkeep_alive: 1s\n")}
		d.endWith(t)
		p.replicas = append(p.replicas, d)
		routes = append(routes, fmt.Sprintf("server arcd-%d arcd-%[1]d:8001", n), fmt.Sprintf("server arcd-%d %s", n, d.addr))
	}
	p.secret = p.replicas[0].run(t, "client", "add", "worker", "--scope", allScopes+",arc.agent.receiver,arc.task.notify", "--agent", "worker,patient",
		"-o", "plain", "--config", filepath.Join(p.dir, "arcd-1.yaml"))
	for _, d := range p.replicas {
		d.start(t)
	}
	if p.http, err = client.NewHTTP(client.HTTPConfig{CAFile: filepath.Join(p.dir, "secrets", "tls.crt")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.http.CloseIdleConnections)
	p.startHAProxy(t, write("haproxy.cfg", substitute(t, "haproxy.cfg", routes...)))
	return p
}

// startHAProxy runs it until the end of the test.
func (p *proxied) startHAProxy(t *testing.T, config string) {
	t.Helper()
	program, err := exec.LookPath("haproxy")
	if err != nil {
		program = "/usr/sbin/haproxy" // where Debian has it
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("haproxy is not installed: run deploy/lint.sh as root, or install the package haproxy")
	}
	said := new(logBuffer)
	cmd := exec.Command(program, "-db", "-f", config)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("end of the proxy's log:\n%s", said.tail(4000))
		}
	})
	eventually(t, "the proxy finds arcd ready", func() bool {
		resp, err := p.http.Get(p.url + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
}

// client gives a client that goes through the proxy.
func (p *proxied) client(agent string, attempts int) *client.Client {
	token := &client.ClientCredentials{TokenURL: p.url + "/oauth/token", ClientID: "worker", ClientSecret: p.secret, HTTP: p.http}
	return &client.Client{URL: p.url, Token: token, Agent: agent, Attempts: attempts, Retries: -1, HTTP: p.http}
}

// TestProxy proves the proxy's configuration with what proxies are known to break:
// streams that are silent for long, sockets, servers that leave and servers that die.
func TestProxy(t *testing.T) {
	p := startProxied(t)
	t.Run("silent stream and socket", p.testSilence)
	t.Run("a replica leaves", p.testLeaving)
	t.Run("a replica dies", p.testDying)
}

// testSilence follows a task of an agent that dialled in and says nothing for longer
// than the proxy waits: neither the stream nor the socket is cut, and what comes at
// last comes at once.
func (p *proxied) testSilence(t *testing.T) {
	served, release := make(chan struct{}, 1), make(chan struct{})
	agent := &client.Agent{
		Client: p.client("patient", 3), IDs: []string{"patient"}, Served: func() { served <- struct{}{} },
		Failed: func(err error) { t.Errorf("the agent's connection: %v", err) },
		Handle: func(ctx context.Context, w *client.Work) error {
			select {
			case <-release:
				return w.Write(ctx, "patience")
			case <-ctx.Done():
				return ctx.Err()
			}
		},
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := agent.Run(ctx); err != nil {
			t.Errorf("the agent ended: %v", err)
		}
	})
	defer running.Wait()
	defer stop()
	<-served
	c := p.client("worker", 3)
	task, err := c.CreateTask(t.Context(), "patient", arc.CreateTaskParams{InitialMessage: new(arc.Text(arc.RoleUser, "Take your time."))})
	if err != nil {
		t.Fatal(err)
	}
	stream := p.follow(t, c, task.ID)
	defer stream.Close()
	silent := 0
	for lines := bufio.NewScanner(stream); ; {
		if !lines.Scan() {
			t.Fatalf("the stream ends after %d s of silence: %v", silent, lines.Err())
		}
		if strings.HasPrefix(lines.Text(), ":") {
			if silent++; silent == 5 { // one each second, and the proxy waits for 3 s
				close(release)
			}
		}
		if strings.Contains(lines.Text(), "TASK_COMPLETED") {
			break
		}
	}
	if silent < 5 {
		t.Errorf("the stream was silent for %d s only", silent)
	}
}

// follow opens the stream of a task's events without a client that would take it up
// again.
func (p *proxied) follow(t *testing.T, c *client.Client, task string) io.ReadCloser {
	t.Helper()
	token, err := c.Token.Token(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	body := fmt.Sprintf(`{"arc":"1.0","id":"1","method":"task.events","requestAgent":"worker","targetAgent":"patient","params":{"taskId":%q}}`, task)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/arc", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/arc+json")
	resp, err := p.http.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/event-stream") || resp.ProtoMajor != 2 {
		t.Fatalf("HTTP/%d %s, %s, want a stream over HTTP/2", resp.ProtoMajor, resp.Status, kind)
	}
	return resp.Body
}

// testLeaving has a replica leave under load. No call may fail, and none is repeated by
// its caller.
func (p *proxied) testLeaving(t *testing.T) {
	leaving := p.replicas[0]
	made := p.load(t, 1, func() {
		if err := leaving.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Error(err)
			return
		}
		select {
		case <-leaving.done:
		case <-time.After(time.Minute):
			t.Error("the replica does not leave")
			return
		}
		if code := leaving.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("the replica exits with %d", code)
		}
	})
	t.Logf("%d calls, none refused", made)
	leaving.start(t)
}

// testDying kills a replica under load. What was under way there its callers repeat, by
// the rule that package client has.
func (p *proxied) testDying(t *testing.T) {
	made := p.load(t, 3, p.replicas[1].kill)
	t.Logf("%d calls, none failed", made)
}

// load has 8 callers create tasks before, while and after something happens, and gives
// how many they made. Each has to succeed.
func (p *proxied) load(t *testing.T, attempts int, happens func()) int64 {
	t.Helper()
	const before, after = 200, 200
	var calls sync.WaitGroup
	var made, until atomic.Int64
	warm := make(chan struct{})
	until.Store(1 << 62)
	for caller := range 8 {
		c := p.client("worker", attempts)
		calls.Go(func() {
			for n := 0; made.Load() < until.Load() && !t.Failed(); n++ {
				key := fmt.Sprintf("%s, %d, %d", t.Name(), caller, n)
				if _, err := c.CreateTask(t.Context(), "echo", keyed(key)); err != nil {
					t.Errorf("%s: %v", key, err)
					return
				}
				if made.Add(1) == before {
					close(warm)
				}
			}
		})
	}
	select {
	case <-warm:
		happens()
	case <-time.After(time.Minute):
		t.Error("the callers do not get on")
	}
	until.Store(made.Load() + after)
	calls.Wait()
	return made.Load()
}

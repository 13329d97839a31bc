package natshints_test

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// natsServer is a real nats-server as a process of its own, always at the same port.
type natsServer struct {
	t    *testing.T
	addr string
	args []string
	cmd  *exec.Cmd
}

// newServer gives one that does not run yet; args are more of its flags.
func newServer(t *testing.T, args ...string) *natsServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	s := &natsServer{t: t, addr: l.Addr().String(), args: args}
	t.Cleanup(s.kill)
	return s
}

// started gives one that runs.
func started(t *testing.T, args ...string) *natsServer {
	t.Helper()
	s := newServer(t, args...)
	s.start()
	return s
}

func (s *natsServer) url() string { return "nats://" + s.addr }

// start runs it and waits until it takes connections.
func (s *natsServer) start() {
	s.t.Helper()
	bin, err := filepath.Abs("../../.cache/interop/nats-server")
	if err != nil {
		s.t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		s.t.Fatal("nats-server is not there: run \"make setup\" (internal/interop/setup.sh) first")
	}
	host, port, _ := net.SplitHostPort(s.addr)
	s.cmd = exec.Command(bin, append([]string{"-a", host, "-p", port}, s.args...)...)
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	eventually(s.t, "the server listens", func() bool {
		c, err := net.Dial("tcp", s.addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
}

// kill ends it without a goodbye.
func (s *natsServer) kill() {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(syscall.SIGCONT)
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
	s.cmd = nil
}

// freeze stops it so that its connections stay open and take nothing any more.
func (s *natsServer) freeze() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		s.t.Fatal(err)
	}
}

func (s *natsServer) thaw() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		s.t.Fatal(err)
	}
}

// eventually waits until ok holds. Another process is looked at, whose events cannot be
// waited for, so it looks again and again.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
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

// proxy passes a connection on, until it is cut: nothing goes through then, and
// nobody is told.
type proxy struct {
	addr string

	mu    sync.Mutex // guards what follows
	cut   bool
	conns []net.Conn
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{addr: l.Addr().String()}
	var work sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		work.Wait()
	})
	work.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			work.Go(func() { p.pass(in, out) })
			work.Go(func() { p.pass(out, in) })
		}
	})
	return p
}

func (p *proxy) pass(to, from net.Conn) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		cut := p.cut
		p.mu.Unlock()
		if cut {
			continue
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) setCut(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
}

// lines is a log.
type lines struct {
	mu sync.Mutex // guards b
	b  strings.Builder
}

var _ io.Writer = (*lines)(nil)

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// file writes a file for the test.
func file(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

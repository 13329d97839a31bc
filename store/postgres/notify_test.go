package postgres_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
)

// lines is a log that tells when a text was written.
type lines struct {
	mu    sync.Mutex // guards what follows
	text  bytes.Buffer
	grown chan struct{} // closed and made anew by every line
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.grown)
	l.grown = make(chan struct{})
	return l.text.Write(b)
}

// wait waits for a text and gives the log.
func (l *lines) wait(t *testing.T, text string) string {
	t.Helper()
	late := time.After(30 * time.Second)
	for {
		l.mu.Lock()
		all, grown := l.text.String(), l.grown
		l.mu.Unlock()
		if strings.Contains(all, text) {
			return all
		}
		select {
		case <-grown:
		case <-late:
			t.Fatalf("no %s in %s", text, all)
		}
	}
}

// TestHintsLost: while the server is away that is told once, in one line that has its
// address once, and once that it is back; hints then arrive again.
func TestHintsLost(t *testing.T) {
	server, err := pgtest.New(pgtest.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Remove)
	log := &lines{grown: make(chan struct{})}
	one, err := postgres.Open(t.Context(), postgres.Config{URL: server.URL("postgres"), Unsafe: true, Log: zerolog.New(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer closeIt(t, one)
	two := open(t, server.URL("postgres"))
	defer closeIt(t, two)
	heard := make(chan store.Hint, 1000)
	defer two.Watch(func(h store.Hint) {
		if h.Thread == "x" {
			heard <- h
		}
	})()

	server.Stop()
	log.wait(t, "hints_lost")
	one.Tell(store.Hint{Thread: "y"})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	all := log.wait(t, "hints_back")
	if strings.Count(all, "hints_lost") != 1 || strings.Count(all, `"level":"warn"`) != 1 || strings.Count(all, "127.0.0.1") > 1 || strings.Contains(all, `\n`) {
		t.Errorf("the log is\n%s", all)
	}
	again := time.NewTicker(50 * time.Millisecond) // the other one may not listen yet
	defer again.Stop()
	late := time.After(30 * time.Second)
	for {
		one.Tell(store.Hint{Thread: "x"})
		select {
		case <-heard:
			return
		case <-again.C:
		case <-late:
			t.Fatal("no hint arrives after the outage")
		}
	}
}

package carrier_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/store/sqlite"
)

// TestHandOver: a server that is stopped in mid-task leaves the agent alone, and the
// next one goes on where it was.
func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Bool
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.send":   always(m{"success": true}),
			"task.info": func(*request) any {
				if !done.Load() {
					return task("r1", "WORKING", m{"messages": []m{agentText("well")}})
				}
				return task("r1", "COMPLETED", m{"messages": []m{agentText("well"), agentText("done")}})
			},
		}.handle)
		file := filepath.Join(t.TempDir(), "shared.db")
		first, stop := startOn(t, file, methods.Config{Agents: map[string]methods.Agent{"far": f.agent()}})
		id := first.create()
		first.until(id, arc.TaskWorking)
		first.send(id, "more")
		time.Sleep(10 * time.Second)
		stop()
		done.Store(true)
		second, stop := startOn(t, file, methods.Config{Agents: map[string]methods.Agent{"far": f.agent()}})
		defer stop()
		got := second.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "more", "well", "done"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		for method, want := range map[string]int{"task.create": 1, "task.send": 1, "task.cancel": 0} {
			if n := f.count(method); n != want {
				t.Errorf("%s was called %d times, want %d", method, n, want)
			}
		}
	})
}

// startOn starts a service on a store that outlives it.
func startOn(t *testing.T, file string, cfg methods.Config) (*world, func()) {
	t.Helper()
	db, err := sqlite.Open(context.Background(), sqlite.Config{File: file})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = db
	s, err := methods.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- s.Run(ctx) }()
	return &world{t: t, s: s}, func() {
		stop()
		if err := errors.Join(<-stopped, db.Close()); err != nil {
			t.Error(err)
		}
	}
}

// transportFunc makes a transport of a function.
type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestForbidden: an endpoint that must not be called is no agent to wait for.
func TestForbidden(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := transportFunc(func(*http.Request) (*http.Response, error) {
			return nil, arc.Errorf(arc.CodeInternal, "the address is private")
		})
		far := carrier.HTTP("far", carrier.HTTPConfig{Endpoint: "https://far.example", Transport: refused}, zerolog.Nop())
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"far": far}})
		begun := time.Now()
		got := w.until(w.create(), arc.TaskFailed)
		if got.Error.Reason != "endpoint_refused" || time.Since(begun) > time.Second {
			t.Errorf("the error is %+v after %v", got.Error, time.Since(begun))
		}
		if got := w.chat("", "hello", true); got.err == nil || got.err.Reason() != "endpoint_refused" {
			t.Errorf("got %+v", got)
		}
	})
}

// tokens is a source that fails so often, and then gives one token after the other.
type tokens struct {
	failures int
	n        int
}

func (s *tokens) Token(_ context.Context, expired string) (string, error) {
	if s.failures > 0 {
		s.failures--
		return "", fmt.Errorf("the token service is down: %w", arc.ErrUnavailable)
	}
	if expired != "" || s.n == 0 {
		s.n++
	}
	return fmt.Sprint("token-", s.n), nil
}

// TestTokens: the agent is shown arcd's own token; one that has expired is renewed, and
// one that cannot be got is waited for.
func TestTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"task.create": func(r *request) any {
			if r.header.Get("Authorization") == "Bearer token-1" {
				e := arc.Errorf(arc.CodeTokenExpired, "expired")
				e.Status = http.StatusUnauthorized
				return e
			}
			return task("r1", "COMPLETED")
		}}.handle)
		cfg := f.cfg()
		cfg.Token = &tokens{failures: 5}
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"far": carrier.HTTP("far", cfg, zerolog.Nop())}})
		w.until(w.create(), arc.TaskCompleted)
		if got := f.call("task.create", 1).header.Get("Authorization"); got != "Bearer token-2" {
			t.Errorf("shown %q", got)
		}
		if n := f.count("task.create"); n != 2 {
			t.Errorf("called %d times", n)
		}
	})
}

// TestInsecure: a token does not travel in the open.
func TestInsecure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"task.create": always(task("r1", "COMPLETED"))}.handle)
		cfg := f.cfg()
		cfg.Token, cfg.Endpoint = &tokens{}, "http://far.example/arc"
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"far": carrier.HTTP("far", cfg, zerolog.Nop())}})
		got := w.until(w.create(), arc.TaskFailed)
		if got.Error.Reason != "endpoint_refused" || len(f.asked()) != 0 {
			t.Errorf("the error is %+v after %v", got.Error, f.asked())
		}
		cfg.AllowHTTP = true
		allowed := start(t, methods.Config{Agents: map[string]methods.Agent{"far": carrier.HTTP("far", cfg, zerolog.Nop())}})
		allowed.until(allowed.create(), arc.TaskCompleted)
	})
}

// TestSecretsInEndpoints: what is behind the question mark stays out of the log.
func TestSecretsInEndpoints(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{}.handle)
		f.wire.cut()
		cfg := f.cfg()
		cfg.Endpoint = "http://127.0.0.1:1/arc?key=hush"
		var lines strings.Builder
		w := start(t, methods.Config{
			Agents: map[string]methods.Agent{"far": carrier.HTTP("far", cfg, zerolog.Nop())}, Log: zerolog.New(zerolog.SyncWriter(&lines)),
			Patience: 10 * time.Second,
		})
		w.until(w.create(), arc.TaskFailed)
		synctest.Wait()
		if text := lines.String(); strings.Contains(text, "hush") || !strings.Contains(text, "connection refused") {
			t.Errorf("the log is %s", text)
		}
	})
}

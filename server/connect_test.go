package server_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/server"
)

const connectWish = `{"user_id":"bob","user_endpoint":"http://127.0.0.1:9/bob"}`

// Whoever asks for a connection is told that the agent cannot be reached, and not
// where it is.
func TestW26ConnectHidesTheEndpoint(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(c *server.Config) {
		c.Notify = func(_ context.Context, url string, _ any) (int, error) {
			return 0, arc.Refuse(arc.ProblemUnreachable, "endpoint_unreachable", "The endpoint cannot be reached.").With("endpoint", url)
		}
	}})
	agent := m.register(1)
	m.register(2)
	r := m.do(ask{path: "/public/connect/agent-02", body: connectWish, header: asJSON})
	r.wantProblem(t, http.StatusBadGateway, "ENDPOINT_UNREACHABLE")
	if strings.Contains(r.body, "127.0.0.1:9") {
		t.Errorf("the endpoint is in %s", r.body)
	}
	r = m.do(ask{
		path: "/agents/agent-02/connection/notify", token: agent, header: asJSON,
		body: `{"agent_id":"agent-01","agent_endpoint":"http://127.0.0.1:9/one"}`,
	})
	r.wantProblem(t, http.StatusBadGateway, "ENDPOINT_UNREACHABLE")
	if !strings.Contains(r.body, `"endpoint":"http://127.0.0.1:9/agent/connection/notify"`) {
		t.Errorf("another agent, who may see it, is told %s", r.body)
	}
}

// The path of the call goes behind that of the endpoint, not behind its query.
func TestConnectKeepsTheQueryOfTheEndpoint(t *testing.T) {
	var called string
	m := startMembers(t, memberOptions{server: func(c *server.Config) {
		c.Notify = func(_ context.Context, url string, _ any) (int, error) { called = url; return http.StatusOK, nil }
	}})
	for endpoint, want := range map[string]string{
		"http://127.0.0.1:9":                 "http://127.0.0.1:9/connection/request",
		"http://127.0.0.1:9/agent/":          "http://127.0.0.1:9/agent/connection/request",
		"http://127.0.0.1:9/a%2Fb/?tenant=7": "http://127.0.0.1:9/a%2Fb/connection/request?tenant=7",
	} {
		agent := m.registerWith(1, map[string]any{"endpoint": endpoint})
		m.post("/public/connect/agent-01", "", "status", map[string]any{"user_id": "bob", "user_endpoint": "http://127.0.0.1:9/bob"})
		if called != want {
			t.Errorf("%s: called %s, want %s", endpoint, called, want)
		}
		m.do(ask{method: http.MethodDelete, path: "/agents/agent-01", token: agent})
	}
}

// An agent that answers slowly keeps nobody from the others.
func TestConnectToASlowAgentLeavesPlaces(t *testing.T) {
	const calls, places = 20, 4
	begun, answer := make(chan struct{}, calls), make(chan struct{})
	m := startMembers(t, memberOptions{server: func(c *server.Config) {
		c.Notify = func(_ context.Context, url string, _ any) (int, error) {
			if strings.Contains(url, "/slow/") {
				begun <- struct{}{}
				<-answer
			}
			return http.StatusOK, nil
		}
	}})
	m.registerWith(1, map[string]any{"endpoint": "http://127.0.0.1:9/slow"})
	m.register(2)
	statuses := make(chan int, calls)
	var asking sync.WaitGroup
	for range calls {
		asking.Go(func() {
			statuses <- m.do(ask{path: "/public/connect/agent-01", body: connectWish, header: asJSON}).status
		})
	}
	waiting := 0
	for range calls { // each is refused or waits
		select {
		case <-begun:
			waiting++
		case status := <-statuses:
			if status != http.StatusTooManyRequests {
				t.Errorf("one call too many: %d", status)
			}
		}
	}
	if r := m.do(ask{path: "/public/connect/agent-02", body: connectWish, header: asJSON}); r.status != http.StatusOK || waiting != places {
		t.Errorf("%d calls wait; the other agent: %d %s", waiting, r.status, r.body)
	}
	close(answer)
	asking.Wait()
	for range waiting {
		if status := <-statuses; status != http.StatusOK {
			t.Errorf("a call that was made: %d", status)
		}
	}
}

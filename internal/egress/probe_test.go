package egress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/egress"
)

func TestProbe(t *testing.T) {
	long := strings.Repeat("ä", 100)
	for _, test := range []struct {
		body   string
		status int
		says   string
		err    error // by its type; nil: good
	}{
		{body: `{"status":"healthy","agent_id":"agent-1"}`, says: "agent-1"},
		{body: `{"agentId":"agent-1"}`, says: "agent-1"},
		{body: `{"agent_id":"agent-1","agentId":"other"}`, says: "agent-1"},
		{body: `{"agent_id":null,"agentId":"agent-1"}`, says: "agent-1"},
		{body: `{"agent_id":null}`},
		{body: `{"agent_id":""}`},
		{body: `{"status":"ok"}`},
		{body: ``},
		{body: `OK`},
		{body: `[1,2]`},
		{body: `"agent-2"`},
		{body: `{"agent_id":"agent-2`},
		{body: `{"agent_id":"agent-2"}`, says: "agent-2", err: &egress.OtherAgent{}},
		{body: `{"agentId":"Agent-1"}`, says: "Agent-1", err: &egress.OtherAgent{}},
		{body: `{"agent_id":7}`, says: "7", err: &egress.OtherAgent{}},
		{body: `{"agent_id":["agent-1"]}`, says: `["agent-1"]`, err: &egress.OtherAgent{}},
		{body: `{"agent_id":"` + long + `"}`, says: strings.Repeat("ä", 50), err: &egress.OtherAgent{}},
		{body: `{"agent_id":"a` + long + `"}`, says: "a" + strings.Repeat("ä", 49), err: &egress.OtherAgent{}},
		{status: 201, err: &egress.BadStatus{}},
		{status: 204, err: &egress.BadStatus{}},
		{status: 302, err: &egress.BadStatus{}},
		{status: 404, err: &egress.BadStatus{}},
		{status: 503, body: `{"agent_id":"agent-2"}`, says: "agent-2", err: &egress.BadStatus{}},
	} {
		t.Run(fmt.Sprintf("%d %.40s", test.status, test.body), func(t *testing.T) {
			s := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.Path != "/health" {
					t.Errorf("asks %s %s", r.Method, r.URL)
				}
				if test.status != 0 {
					w.WriteHeader(test.status)
				}
				_, _ = io.WriteString(w, test.body)
			})
			if test.status == 0 {
				test.status = http.StatusOK
			}
			c, _ := client(loopback())
			r := c.Probe(t.Context(), s.URL, "agent-1")
			if !r.Reached || r.Status != test.status || r.AgentID != test.says || r.Latency <= 0 {
				t.Errorf("got %+v", r)
			}
			if want, got := fmt.Sprintf("%T", test.err), fmt.Sprintf("%T", r.Err); got != want {
				t.Errorf("got error %v (%s), want %s", r.Err, got, want)
			}
		})
	}
}

// TestProbePath: /health goes behind the path of the endpoint.
func TestProbePath(t *testing.T) {
	for endpoint, want := range map[string]string{
		"": "/health", "/": "/health", "/agents/one": "/agents/one/health", "/agents/one/": "/agents/one/health",
		"/a%2Fb": "/a%2Fb/health", "/run?key=1": "/run/health?key=1", "/a/../b": "/b/health",
	} {
		t.Run(endpoint, func(t *testing.T) {
			var got string
			s := serve(t, func(_ http.ResponseWriter, r *http.Request) { got = r.RequestURI })
			c, _ := client(loopback())
			if r := c.Probe(t.Context(), s.URL+endpoint, "agent-1"); r.Err != nil {
				t.Fatal(r.Err)
			}
			if got != want {
				t.Errorf("asked for %s, want %s", got, want)
			}
		})
	}
}

func TestProbeOfTheUnreachable(t *testing.T) {
	s := serve(t, nil)
	s.Close()
	c, dialled := client(loopback())
	r := c.Probe(t.Context(), s.URL, "agent-1")
	wantUnreachable(t, r.Err, false)
	if r.Reached || r.Status != 0 || r.Latency <= 0 {
		t.Errorf("got %+v", r)
	}
	before := len(dialled.list())
	for _, endpoint := range []string{"http://10.0.0.1/", "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", ""} {
		r := c.Probe(t.Context(), endpoint, "agent-1")
		if _, ok := errors.AsType[*egress.Refused](r.Err); !ok || r.Reached {
			t.Errorf("%s: got %+v", endpoint, r)
		}
	}
	if all := dialled.list(); len(all) != before {
		t.Errorf("dialled %v", all)
	}
}

func TestNotify(t *testing.T) {
	for _, test := range []struct {
		status int
		good   bool
	}{{200, true}, {202, true}, {204, true}, {301, false}, {400, false}, {500, false}} {
		var got, kind string
		s := serve(t, func(w http.ResponseWriter, r *http.Request) {
			content, _ := io.ReadAll(r.Body)
			got, kind = r.Method+" "+r.URL.Path+" "+string(content), r.Header.Get("Content-Type")
			w.WriteHeader(test.status)
		})
		c, _ := client(loopback())
		status, err := c.Notify(t.Context(), s.URL+"/connection/request", struct {
			UserID string `json:"user_id"`
		}{"ada"})
		if diff := cmp.Diff([]string{`POST /connection/request {"user_id":"ada"}`, "application/json"}, []string{got, kind}); diff != "" {
			t.Errorf("%d: sent:\n%s", test.status, diff)
		}
		bad, isBad := errors.AsType[*egress.BadStatus](err)
		if status != test.status || (err == nil) != test.good || isBad && bad.Status != test.status {
			t.Errorf("%d: got %d, %v", test.status, status, err)
		}
	}
	c, _ := client(egress.Policy{})
	status, err := c.Notify(t.Context(), "http://127.0.0.1:9/", map[string]any{})
	wantRefused(t, err, "127.0.0.1")
	if status != 0 {
		t.Errorf("got status %d", status)
	}
	if _, err := c.Notify(t.Context(), "http://127.0.0.1:9/", func() {}); err == nil {
		t.Error("a body that is no JSON was taken")
	}
}

func TestProblems(t *testing.T) {
	const endpoint = "http://agent.example/"
	_, form := egress.Parse("ftp://agent.example/")
	c, _ := client(egress.Policy{Resolver: name("agent.example", "10.0.0.1")})
	for _, test := range []struct {
		err     error
		problem arc.Problem
		code    string
		member  string // one that must be there
	}{
		{form, arc.ProblemURL, "INVALID_URL", "endpoint"},
		{c.Check(t.Context(), endpoint), arc.ProblemURL, "ADDRESS_NOT_ALLOWED", "endpoint"},
		{&egress.Unreachable{Err: io.EOF}, arc.ProblemUnreachable, "ENDPOINT_UNREACHABLE", "endpoint"},
		{&egress.Unreachable{Err: io.EOF, TimedOut: true}, arc.ProblemConnectionTimeout, "CONNECTION_TIMEOUT", "endpoint"},
		{&egress.BadStatus{Status: 503}, arc.ProblemUnreachable, "ENDPOINT_UNREACHABLE", "status_code"},
		{&egress.OtherAgent{Want: "agent-1", Got: "secret"}, arc.ProblemRegistration, "AGENT_ID_MISMATCH", "agent_id"},
		{context.Canceled, arc.ProblemTimeout, "TIMEOUT", "retryable"},
		{io.EOF, arc.ProblemInternal, "INTERNAL_ERROR", "retryable"},
	} {
		got := egress.Problem(fmt.Errorf("wrapped: %w", test.err), endpoint)
		if got.Kind() != test.problem || got.ErrorCode() != test.code || got.Details[test.member] == nil || !errors.Is(got, test.err) {
			t.Errorf("%v: got %v, %s, %v", test.err, got.Kind(), got.ErrorCode(), got.Details)
		}
		// Neither addresses nor what a foreign body says goes to the caller.
		if strings.Contains(got.Message, "10.0.0.1") || strings.Contains(got.Message, "secret") {
			t.Errorf("%v: the caller reads %q", test.err, got.Message)
		}
	}
	if egress.Problem(nil, endpoint) != nil {
		t.Error("no error is a problem")
	}
}

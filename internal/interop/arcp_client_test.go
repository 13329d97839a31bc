package interop_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// arcpOrder is one order to arcp/driver.py.
type arcpOrder struct {
	Client  string         `json:"client"`
	Base    string         `json:"base,omitempty"`
	Call    string         `json:"call,omitempty"`
	Args    map[string]any `json:"args,omitempty"`
	Next    string         `json:"next,omitempty"`
	End     string         `json:"end,omitempty"`
	Methods bool           `json:"methods,omitempty"`
}

// visitor is an ARCPClient object: the published client, unchanged.
type visitor struct {
	driver *python
	base   string
	name   string
	called map[string]bool // methods that visitors of this driver have called
}

// newVisitor starts the published client of the registry API.
func newVisitor(t *testing.T, d *daemon, name string) visitor {
	t.Helper()
	return visitor{newDriver(t, "venv-arcp", "arcp", arcpEnv...), d.url(), name, map[string]bool{}}
}

// other is another client object in the same process.
func (v visitor) other(name string) visitor {
	v.name = name
	return v
}

// do calls a method that must not raise and gives the whole observation.
func (v visitor) do(t *testing.T, method string, args map[string]any) observed {
	t.Helper()
	v.called[method] = true
	seen := v.driver.tell(t, method, arcpOrder{Client: v.name, Base: v.base, Call: method, Args: args})
	if seen.Error != nil {
		t.Fatalf("%s: %s raises %s: %s", v.name, method, seen.Error.Class, seen.Error.Text)
	}
	return seen
}

// call calls a method that must not raise and gives what it returns.
func (v visitor) call(t *testing.T, method string, args map[string]any) any {
	t.Helper()
	return v.do(t, method, args).Value
}

// wantRaise calls a method that must raise this class with this text in it.
func (v visitor) wantRaise(t *testing.T, method string, args map[string]any, class, text string) {
	t.Helper()
	seen := v.driver.tell(t, method, arcpOrder{Client: v.name, Base: v.base, Call: method, Args: args})
	if seen.Error == nil {
		t.Errorf("%s: %s returns %v, want %s", v.name, method, seen.Value, class)
	} else if seen.Error.Class != class || !strings.Contains(seen.Error.Text, text) {
		t.Errorf("%s: %s raises %s: %s, want %s with %q", v.name, method, seen.Error.Class, seen.Error.Text, class, text)
	}
}

// next waits for the next message of a stream.
func (v visitor) next(t *testing.T, stream string) any {
	t.Helper()
	seen := v.driver.tell(t, stream, arcpOrder{Client: v.name, Next: stream})
	if seen.Error != nil {
		t.Fatalf("%s: %s raises %s: %s", v.name, stream, seen.Error.Class, seen.Error.Text)
	}
	return seen.Value
}

// nextOf waits for the next message of a stream that ok holds for. Others may
// come before it: messages of the clock.
func (v visitor) nextOf(t *testing.T, stream, what string, ok func(message any) bool) any {
	t.Helper()
	for range 20 {
		if message := v.next(t, stream); ok(message) {
			return message
		}
	}
	t.Fatalf("%s: 20 messages of %s, but %s is not among them", v.name, stream, what)
	return nil
}

// end ends a stream or a task.
func (v visitor) end(t *testing.T, what string) {
	t.Helper()
	if seen := v.driver.tell(t, what, arcpOrder{Client: v.name, End: what}); seen.Error != nil {
		t.Errorf("%s: the end of %s raises %s: %s", v.name, what, seen.Error.Class, seen.Error.Text)
	}
}

// methods are all that the client offers.
func (v visitor) methods(t *testing.T) []any {
	t.Helper()
	names, _ := v.driver.tell(t, "methods", arcpOrder{Methods: true}).Value.([]any)
	return names
}

// loopbackAgent is an agent's HTTP side: it is healthy, and notes the people that
// want to be connected.
type loopbackAgent struct {
	endpoint string
	wishes   chan map[string]any // bodies of POST /connection/request
}

func newLoopbackAgent(t *testing.T, id string) loopbackAgent {
	t.Helper()
	wishes := make(chan map[string]any, 4)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(map[string]any{"status": "healthy", "agent_id": id})
	})
	mux.HandleFunc("POST /connection/request", func(w http.ResponseWriter, r *http.Request) {
		var wish map[string]any
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = json.Unmarshal(body, &wish)
		}
		if err != nil || r.Header.Get("Content-Type") != "application/json" {
			http.Error(w, "no JSON", http.StatusBadRequest)
			return
		}
		wishes <- wish
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return loopbackAgent{server.URL, wishes}
}

// registration is what an agent registers with: the required members only.
func registration(id, endpoint, key string) map[string]any {
	return map[string]any{
		"agent_id": id, "name": "Agent " + id, "agent_type": "processing", "endpoint": endpoint,
		"capabilities":  []any{"data-processing", "report writing"},
		"context_brief": "Reads invoices and writes quarterly reports about them",
		"version":       "1.0.0", "owner": "system@example.com",
		"public_key": "your-public-key-of-32-characters-or-more", "communication_mode": "remote",
		"metadata": map[string]any{"team": "finance", "gpus": 2.0, "beta": true, "regions": []any{"eu", "us"}}, "agent_key": key,
	}
}

package interop_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// arcpTour is a walk through the whole client, on one server.
type arcpTour struct {
	d              *daemon
	agent          loopbackAgent
	one, two       visitor // agents
	admin, visitor visitor
}

// TestARCPClient calls every public method of the published client of the
// registry API. The parts build on each other.
func TestARCPClient(t *testing.T) {
	d := startedDev(t)
	v := newVisitor(t, d, "visitor")
	tour := &arcpTour{d, newLoopbackAgent(t, "agent-one"), v.other("one"), v.other("two"), v.other("admin"), v}
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"before anybody is there", tour.empty},
		{"register in one call", tour.register},
		{"register phase by phase", tour.registerByPhases},
		{"read", tour.read},
		{"search", tour.search},
		{"heartbeat", tour.heartbeat},
		{"metrics", tour.metrics},
		{"tokens", tour.tokens},
		{"connection", tour.connection},
		{"administration", tour.administration},
		{"sockets", tour.sockets},
		{"unregister", tour.unregister},
	} {
		if !t.Run(part.name, part.run) {
			t.FailNow()
		}
	}
	for _, method := range v.methods(t) {
		if !v.called[method.(string)] {
			t.Errorf("nobody has called %s", method)
		}
	}
}

func (w *arcpTour) empty(t *testing.T) {
	info := w.visitor.call(t, "get_system_info", nil)
	for _, name := range []string{"service", "version", "status", "docs"} {
		if _, ok := info.(map[string]any)[name]; !ok {
			t.Errorf("get_system_info: no member %s in %v", name, info)
		}
	}
	want(t, w.visitor.call(t, "health_check", nil), "ok", "status")
	want(t, w.visitor.call(t, "get_public_stats", nil), 0.0, "total_agents")
	if types, ok := w.visitor.call(t, "get_allowed_agent_types", nil).([]any); !ok {
		t.Errorf("get_allowed_agent_types gives %v, want a list", types)
	}
	if diff := cmp.Diff([]any{}, w.visitor.call(t, "discover_agents", nil)); diff != "" {
		t.Errorf("discover_agents (-want +got):\n%s", diff)
	}
	if got := w.visitor.call(t, "is_authenticated", nil); got != false {
		t.Errorf("is_authenticated: %v", got)
	}
	if got := w.visitor.call(t, "request_attestation_challenge", map[string]any{"agent_id": "agent-one"}); got != nil {
		t.Errorf("request_attestation_challenge gives %v, want None", got)
	}
	w.visitor.wantRaise(t, "list_agents", nil, "ARCPError", "Authentication failed")
	w.visitor.wantRaise(t, "get_public_agent", map[string]any{"agent_id": "agent-one"}, "ARCPError", "Endpoint not found")
}

// register makes the three phases in one call, with every optional member.
func (w *arcpTour) register(t *testing.T) {
	w.one.wantRaise(t, "register_agent", registration("agent-one", w.agent.endpoint, "invalid-key"), "RegistrationError", "Authentication failed")
	args := registration("agent-one", w.agent.endpoint, "valid-agent-key")
	options := map[string]any{
		"features": []any{"streaming"}, "max_tokens": 4096.0, "language_support": []any{"en", "de"}, "rate_limit": 60.0,
		"requirements": map[string]any{"system_requirements": []any{"linux"}, "minimum_memory_mb": 512.0, "network_ports": []any{"8080", "9000-9010"}},
		"policy_tags":  []any{"internal"}, "ai_context": "POST /run takes an invoice.",
	}
	maps.Copy(args, options)
	info := w.one.call(t, "register_agent", args)
	for name, sent := range args {
		if name == "agent_key" || name == "requirements" {
			continue
		}
		if diff := cmp.Diff(sent, at(info, name)); diff != "" {
			t.Errorf("%s (-sent +read):\n%s", name, diff)
		}
	}
	want(t, info, "alive", "status")
	want(t, info, 512.0, "requirements", "minimum_memory_mb")
	want(t, info, "9000-9010", "requirements", "network_ports", 1)
	if got := w.one.call(t, "is_authenticated", nil); got != true {
		t.Errorf("is_authenticated: %v", got)
	}
}

// registerByPhases makes each phase in a call of its own, to an endpoint where
// nobody is: that is a warning in --dev.
func (w *arcpTour) registerByPhases(t *testing.T) {
	args := registration("agent-two", "http://"+freeAddress(t), "agent-key")
	phase := func(names ...string) map[string]any {
		chosen := maps.Clone(args)
		maps.DeleteFunc(chosen, func(name string, _ any) bool { return !slices.Contains(names, name) })
		return chosen
	}
	temp, _ := w.two.call(t, "request_temp_token", phase("agent_id", "agent_type", "agent_key")).(string)
	validated, _ := w.two.call(t, "validate_compliance", phase("agent_id", "agent_type", "endpoint", "capabilities", "metadata")).(string)
	if !tokenForm.MatchString(temp) || !tokenForm.MatchString(validated) || temp == validated {
		t.Errorf("temp token %q, validated token %q", temp, validated)
	}
	delete(args, "agent_key")
	args["skip_validation"] = true
	want(t, w.two.call(t, "register_agent", args), "agent-two", "agent_id")
}

// ids are the agent ids of a list of agents, sorted.
func ids(list any, member string) []string {
	var found []string
	agents, _ := list.([]any)
	for _, agent := range agents {
		id, _ := at(agent, member).(string)
		found = append(found, id)
	}
	slices.Sort(found)
	return found
}

func (w *arcpTour) read(t *testing.T) {
	both := []string{"agent-one", "agent-two"}
	tests := map[string]struct {
		who    visitor
		method string
		args   map[string]any
		want   []string
	}{
		"all":                     {w.one, "list_agents", nil, both},
		"with metrics":            {w.one, "list_agents", map[string]any{"include_metrics": true}, both},
		"alive":                   {w.two, "list_agents", map[string]any{"status": "alive"}, both},
		"dead":                    {w.two, "list_agents", map[string]any{"status": "dead"}, nil},
		"of a type":               {w.one, "list_agents", map[string]any{"agent_type": "processing"}, both},
		"of another type":         {w.one, "list_agents", map[string]any{"agent_type": "testing"}, nil},
		"any of two capabilities": {w.one, "list_agents", map[string]any{"capabilities": []any{"data-processing", "cooking"}}, both},
		"all of two capabilities": {w.visitor, "discover_agents", map[string]any{"capabilities": []any{"data-processing", "cooking"}}, nil},
		"discover":                {w.visitor, "discover_agents", map[string]any{"agent_type": "processing", "capabilities": []any{"data-processing", "report writing"}}, both},
		"discover one":            {w.visitor, "discover_agents", map[string]any{"limit": 1}, both[:1]},
		"discover the next":       {w.visitor, "discover_agents", map[string]any{"limit": 1, "offset": 1}, both[1:]},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ids(test.who.call(t, test.method, test.args), "agent_id")); diff != "" {
				t.Errorf("agents (-want +got):\n%s", diff)
			}
		})
	}
	want(t, w.two.call(t, "get_agent", map[string]any{"agent_id": "agent-one"}), "Agent agent-one", "name")
	want(t, w.visitor.call(t, "get_public_agent", map[string]any{"agent_id": "agent-one"}), "Agent agent-one", "name")
	w.two.wantRaise(t, "get_agent", map[string]any{"agent_id": "nobody"}, "ARCPError", "Endpoint not found")
}

func (w *arcpTour) search(t *testing.T) {
	for name, public := range map[string]bool{"public": true, "private": false} {
		t.Run(name, func(t *testing.T) {
			search := func(query string, more map[string]any) []string {
				args := map[string]any{"query": query, "public_api": public}
				maps.Copy(args, more)
				return ids(w.one.call(t, "search_agents", args), "id")
			}
			if diff := cmp.Diff([]string{"agent-one", "agent-two"}, search("quarterly reports", nil)); diff != "" {
				t.Errorf("found (-want +got):\n%s", diff)
			}
			if got := search("quarterly reports", map[string]any{"top_k": 1, "weighted": true, "min_similarity": 0.1}); len(got) != 1 {
				t.Errorf("top_k 1 finds %v", got)
			}
			for _, none := range []map[string]any{{"agent_type": "testing"}, {"capabilities": []any{"data-processing", "cooking"}}} {
				if got := search("quarterly reports", none); len(got) > 0 {
					t.Errorf("with %v it finds %v", none, got)
				}
			}
			if got := search("submarine periscope", nil); len(got) > 0 {
				t.Errorf("found %v", got)
			}
		})
	}
}

func (w *arcpTour) heartbeat(t *testing.T) {
	me := map[string]any{"agent_id": "agent-one"}
	beat := w.one.call(t, "update_heartbeat", me)
	want(t, beat, "success", "status")
	want(t, beat, "agent-one", "agent_id")
	w.one.wantRaise(t, "update_heartbeat", map[string]any{"agent_id": "agent-two"}, "ARCPError", "Access forbidden")

	seen := func() time.Time {
		text, _ := at(w.two.call(t, "get_agent", me), "last_seen").(string)
		last, err := time.Parse(time.RFC3339, text)
		if err != nil {
			t.Fatal(err)
		}
		return last
	}
	before := seen()
	w.one.call(t, "start_heartbeat_task", map[string]any{"agent_id": "agent-one", "interval": 0.05})
	eventually(t, "a later heartbeat is seen", func() bool { return seen().After(before) })
	w.one.end(t, "start_heartbeat_task")
}

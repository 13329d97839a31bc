package interop_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func (w *arcpTour) metrics(t *testing.T) {
	me := map[string]any{"agent_id": "agent-one"}
	data := map[string]any{"success_rate": 0.75, "avg_response_time": 1.5, "total_requests": 4, "requests_processed": 4, "error_rate": 0.25, "reputation_score": 99999}
	want(t, w.one.call(t, "update_metrics", map[string]any{"agent_id": "agent-one", "metrics_data": data}), "success", "status")
	got := w.two.wantOwn(t, "get_metrics", me, w.one)
	want(t, got, 0.75, "success_rate")
	want(t, got, 1.5, "avg_response_time")
	want(t, got, 4.0, "total_requests")
	if score, _ := at(got, "reputation_score").(float64); score < 0 || score > 10 {
		t.Errorf("reputation_score %v: an agent has made up its own", score)
	}
	w.two.wantRaise(t, "update_metrics", map[string]any{"agent_id": "agent-one", "metrics_data": data}, "ARCPError", "Access forbidden")
}

// wantOwn calls a method that is forbidden to v and gives its answer to owner.
func (v visitor) wantOwn(t *testing.T, method string, args map[string]any, owner visitor) any {
	t.Helper()
	v.wantRaise(t, method, args, "ARCPError", "Access forbidden")
	return owner.call(t, method, args)
}

func (w *arcpTour) tokens(t *testing.T) {
	verdict := w.one.call(t, "validate_token", nil)
	want(t, verdict, true, "valid")
	want(t, verdict, "agent-one", "agent_id")
	first := at(verdict, "payload", "jti")
	if got := w.one.call(t, "refresh_authentication", nil); got != true {
		t.Fatalf("refresh_authentication gives %v", got)
	}
	verdict = w.one.call(t, "validate_token", nil)
	want(t, verdict, "agent-one", "agent_id")
	if at(verdict, "payload", "jti") == first {
		t.Errorf("the refreshed token is the old one")
	}
	want(t, w.one.call(t, "get_agent", map[string]any{"agent_id": "agent-one"}), "agent-one", "agent_id")
	if got := w.visitor.call(t, "refresh_authentication", nil); got != false {
		t.Errorf("refresh_authentication without a token gives %v", got)
	}
	w.visitor.wantRaise(t, "validate_token", map[string]any{"token": expiredToken}, "AuthenticationError", "invalid or expired token")
}

func (w *arcpTour) connection(t *testing.T) {
	answer := w.visitor.call(t, "request_agent_connection", map[string]any{
		"agent_id": "agent-one", "user_id": "jane@example.com", "user_endpoint": "https://jane.example.com/inbox",
		"display_name": "Jane", "additional_info": map[string]any{"topic": "invoices"},
	})
	want(t, answer, "connection_requested", "status")
	want(t, answer, "Agent agent-one", "agent_info", "name")
	wish := <-w.agent.wishes
	delete(wish, "timestamp")
	sent := map[string]any{
		"user_id": "jane@example.com", "user_endpoint": "https://jane.example.com/inbox", "user_display_name": "Jane",
		"connection_type": "external_app", "user_info": map[string]any{"topic": "invoices"}, "request_source": "arcp_public_api",
	}
	if diff := cmp.Diff(sent, wish); diff != "" {
		t.Errorf("the agent reads (-want +got):\n%s", diff)
	}
	w.visitor.wantRaise(t, "request_agent_connection", map[string]any{
		"agent_id": "agent-two", "user_id": "jane", "user_endpoint": "https://jane.example.com/inbox",
	}, "ARCPError", "Server error: 502")
}

func (w *arcpTour) administration(t *testing.T) {
	w.admin.wantRaise(t, "login_admin", map[string]any{"username": "ARCP", "password": "wrong"}, "AuthenticationError", "Authentication failed")
	w.one.wantRaise(t, "get_system_stats", nil, "ARCPError", "Access forbidden")
	login := map[string]any{"username": "ARCP", "password": "ARCP"}
	want(t, w.admin.call(t, "login_admin", login), "user_ARCP", "agent_id")

	stats := w.admin.call(t, "get_system_stats", nil)
	want(t, stats, 2.0, "registry_statistics", "total_agents")
	want(t, stats, 2.0, "registry_statistics", "alive_agents")
	want(t, stats, 2.0, "registry_statistics", "agent_types", "processing")
	text, _ := w.admin.call(t, "get_system_metrics", nil).(string)
	for _, series := range []string{"arcp_agent_registrations_total{", "arcp_active_agents{", "arcp_requests_total{", "arcp_service_info{"} {
		if !strings.Contains(text, "\n"+series) {
			t.Errorf("no series %s in\n%s", series, text)
		}
	}
	wantUtilization(t, w.admin.call(t, "get_resource_utilization", nil))
	snapshot := w.admin.call(t, "get_metrics_snapshot", nil)
	wantUtilization(t, at(snapshot, "resource_utilization"))
	want(t, snapshot, 2.0, "agent_stats", "registry_statistics", "total_agents")
	for format, holds := range map[string]string{"prometheus": "arcp_active_agents", "json": `"total_agents": 2`} {
		exported, _ := w.admin.call(t, "export_metrics", map[string]any{"format": format}).(string)
		if !strings.Contains(exported, holds) {
			t.Errorf("export_metrics as %s: no %s in\n%s", format, holds, exported)
		}
	}
	want(t, w.admin.call(t, "admin_health_check", nil), 2.0, "checks", "agent_availability", "alive_agents")
	account := map[string]any{"base_url": w.d.url(), "username": "ARCP", "password": "ARCP"}
	want(t, w.admin.call(t, "module.get_system_health", account), "ok", "checks", "agent_availability", "status")

	once := map[string]any{"interval": 1, "duration": 1}
	printed := w.admin.do(t, "monitor_system", once).Printed
	wantPrinted(t, printed, `(\[[\d:]+\] CPU: +[\d.]+% \| Memory: +[\d.]+% \| Agents:  2\n)+\nMonitoring completed after 1 seconds \(\d iterations\)\n`)
	want(t, w.admin.call(t, "validate_token", nil), true, "valid")
	if got := w.admin.call(t, "refresh_authentication", nil); got != true {
		t.Errorf("refresh_authentication gives %v", got)
	}
	want(t, w.admin.call(t, "get_system_stats", nil), 2.0, "registry_statistics", "total_agents")
}

// wantUtilization looks for the four gauges of the client, in percent.
func wantUtilization(t *testing.T, got any) {
	t.Helper()
	for _, name := range []string{"cpu", "memory", "network", "disk"} {
		if percent, ok := at(got, name).(float64); !ok || percent < 0 || percent > 100 {
			t.Errorf("utilization of %s is %v", name, at(got, name))
		}
	}
}

// sockets opens both WebSockets and registers and unregisters a third agent
// meanwhile.
func (w *arcpTour) sockets(t *testing.T) {
	w.visitor.call(t, "websocket_public", nil)
	w.one.call(t, "websocket_agent", nil)
	want(t, w.visitor.next(t, "websocket_public"), "welcome", "type")
	data := w.visitor.nextOf(t, "websocket_public", "discovery_data", typeIs("discovery_data"))
	if diff := cmp.Diff([]string{"agent-one", "agent-two"}, ids(at(data, "data", "agents"), "agent_id")); diff != "" {
		t.Errorf("discovery_data (-want +got):\n%s", diff)
	}
	pages := map[string]any{
		"current_page": 1.0, "page_size": 50.0, "total_agents": 2.0, "total_pages": 1.0,
		"has_next": false, "has_previous": false, "next_page": nil, "previous_page": nil,
	}
	if diff := cmp.Diff(pages, at(data, "data", "pagination")); diff != "" {
		t.Errorf("pagination (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"agent-one", "agent-two"}, ids(w.one.next(t, "websocket_agent"), "agent_id")); diff != "" {
		t.Errorf("first list (-want +got):\n%s", diff)
	}

	three := w.visitor.other("three")
	three.call(t, "register_agent", registration("agent-three", "http://"+freeAddress(t), "your-agent-key"))
	w.wantSockets(t, 3)
	three.call(t, "unregister_agent", map[string]any{"agent_id": "agent-three"})
	w.wantSockets(t, 2)

	w.visitor.end(t, "websocket_public")
	w.one.end(t, "websocket_agent")
	w.visitor.call(t, "websocket_agent", map[string]any{"token": expiredToken})
	seen := w.visitor.driver.tell(t, "websocket_agent", arcpOrder{Client: w.visitor.name, Next: "websocket_agent"})
	if seen.Error == nil || seen.Error.Class != "AuthenticationError" {
		t.Errorf("websocket_agent with an expired token: %+v", seen)
	}
}

// wantSockets waits until both WebSockets have said that there are n agents.
func (w *arcpTour) wantSockets(t *testing.T, n int) {
	t.Helper()
	update := w.visitor.nextOf(t, "websocket_public", "agents_update", func(message any) bool {
		return typeIs("agents_update")(message) && at(message, "data", "total_count") == float64(n)
	})
	if got := ids(at(update, "data", "agents"), "agent_id"); len(got) != n {
		t.Errorf("agents_update with the agents %v, want %d", got, n)
	}
	w.one.nextOf(t, "websocket_agent", "the new list", func(message any) bool {
		list, ok := message.([]any)
		return ok && len(list) == n
	})
}

func typeIs(name string) func(any) bool {
	return func(message any) bool {
		object, _ := message.(map[string]any)
		return object["type"] == name
	}
}

// unregister ends both agents with their own tokens. An agent key alone ends none:
// the token that it gets is for registering.
func (w *arcpTour) unregister(t *testing.T) {
	w.one.wantRaise(t, "unregister_agent", map[string]any{"agent_id": "agent-two"}, "ARCPError", "Access forbidden")
	want(t, w.one.call(t, "unregister_agent", map[string]any{"agent_id": "agent-one"}), "success", "status")
	w.one.wantRaise(t, "validate_token", nil, "AuthenticationError", "invalid or expired token")
	w.one.wantRaise(t, "update_heartbeat", map[string]any{"agent_id": "agent-one"}, "ARCPError", "Authentication failed")
	restarted := w.visitor.other("two, restarted")
	restarted.wantRaise(t, "unregister_agent", map[string]any{"agent_id": "agent-two", "agent_key": "agent-key"}, "ARCPError", "Access forbidden")
	want(t, w.two.call(t, "unregister_agent", map[string]any{"agent_id": "agent-two"}), "success", "status")
	want(t, w.visitor.call(t, "get_public_stats", nil), 0.0, "total_agents")
	for _, v := range []visitor{w.one, w.two, restarted, w.admin, w.visitor} {
		v.call(t, "close", nil)
	}
}

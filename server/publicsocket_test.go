package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

func TestPublicSocketWelcomes(t *testing.T) {
	m := startMembers(t, memberOptions{})
	f := m.dialPath("/public/ws").frame()
	delete(f, "timestamp")
	want := map[string]any{
		"type": "welcome", "message": "Connected to the public WebSocket of the agent registry",
		"features": []any{"agent_updates", "public_stats", "discovery_events", "paginated_discovery"},
		"commands": map[string]any{
			"ping": "Send ping to check the connection", "get_discovery": "Get the agents, page by page",
		},
		"pagination": map[string]any{
			"default_page_size": 30.0, "max_page_size": 100.0,
			"usage": "Send {type: 'get_discovery', page: 1, page_size: 30, agent_type: 'optional'}",
		},
	}
	if d := cmp.Diff(want, f); d != "" {
		t.Errorf("the welcome (-want +got):\n%s", d)
	}
}

func TestPublicSocketPages(t *testing.T) {
	m := startMembers(t, memberOptions{})
	for n := range 5 {
		kind := "testing"
		if n == 4 {
			kind = "other"
		}
		m.registerAs(n, kind)
	}
	c := m.dialPath("/public/ws")
	c.frame()
	page := func(page, size, agents, pages, next, previous any) map[string]any {
		return map[string]any{
			"current_page": page, "page_size": size, "total_agents": agents, "total_pages": pages,
			"has_next": next != nil, "has_previous": previous != nil, "next_page": next, "previous_page": previous,
		}
	}
	for _, tt := range []struct {
		say        string
		ids        string
		pagination map[string]any
		filter     any
	}{
		{`{"type":"get_discovery"}`, "00 01 02 03 04", page(1.0, 30.0, 5.0, 1.0, nil, nil), nil},
		{`{"type":"get_discovery","page":1,"page_size":2}`, "00 01", page(1.0, 2.0, 5.0, 3.0, 2.0, nil), nil},
		{`{"type":"get_discovery","page":2,"page_size":2}`, "02 03", page(2.0, 2.0, 5.0, 3.0, 3.0, 1.0), nil},
		{`{"type":"get_discovery","page":3,"page_size":2}`, "04", page(3.0, 2.0, 5.0, 3.0, nil, 2.0), nil},
		{`{"type":"get_discovery","page":4,"page_size":2,"agent_type":null}`, "", page(4.0, 2.0, 5.0, 3.0, nil, 3.0), nil},
		{`{"type":"get_discovery","page":-4,"page_size":1000}`, "00 01 02 03 04", page(1.0, 100.0, 5.0, 1.0, nil, nil), nil},
		{`{"type":"get_discovery","page":1e300,"page_size":0}`, "", page(2147483647.0, 1.0, 5.0, 5.0, nil, 2147483646.0), nil},
		{`{"type":"get_discovery","agent_type":"other"}`, "04", page(1.0, 30.0, 1.0, 1.0, nil, nil), "other"},
		{`{"type":"get_discovery","agent_type":"none"}`, "", page(1.0, 30.0, 0.0, 0.0, nil, nil), "none"},
	} {
		c.say(tt.say)
		f := c.frame()
		for f["type"] == "agents_update" { // of the registrations before
			f = c.frame()
		}
		data, _ := f["data"].(map[string]any)
		if f["type"] != "discovery_data" || data == nil {
			t.Fatalf("%s: %v", tt.say, f)
		}
		var ids []string
		for _, a := range data["agents"].([]any) {
			ids = append(ids, strings.TrimPrefix(a.(map[string]any)["agent_id"].(string), "agent-"))
		}
		if got := strings.Join(ids, " "); got != tt.ids {
			t.Errorf("%s: agents %q, want %q", tt.say, got, tt.ids)
		}
		if d := cmp.Diff(tt.pagination, data["pagination"]); d != "" {
			t.Errorf("%s: pagination (-want +got):\n%s", tt.say, d)
		}
		if d := cmp.Diff(map[string]any{"agent_type": tt.filter}, data["filters"]); d != "" {
			t.Errorf("%s: filters (-want +got):\n%s", tt.say, d)
		}
	}
	for _, say := range []string{`{"type":"get_discovery","page":"1"}`, `{"type":"get_discovery","agent_type":3}`, `{"type":"agents"}`, `no`} {
		c.say(say)
		if f := c.frame(); f["type"] != "error" {
			t.Errorf("%s: %v, want an error", say, f)
		}
	}
}

// TestW26PublicFramesHideTheOwnersWords: nobody without a token sees where an
// agent is, whose it is, and what its owner noted.
func TestW26PublicFramesHideTheOwnersWords(t *testing.T) {
	m := startMembers(t, memberOptions{})
	c := m.dialPath("/public/ws")
	c.frame()
	m.register(1)
	update := c.hear()
	c.say(`{"type":"get_discovery"}`)
	for _, frame := range []string{update, c.hear()} {
		if !strings.Contains(frame, `"agent-01"`) {
			t.Errorf("the agent is not in %s", frame)
		}
		for _, word := range []string{"127.0.0.1:9", "Tests", "of the owner"} {
			if strings.Contains(frame, word) {
				t.Errorf("%q is in %s", word, frame)
			}
		}
	}
	var f struct {
		Type string `json:"type"`
		Data struct {
			Agents []json.RawMessage `json:"agents"`
			Total  int               `json:"total_count"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(update), &f); err != nil || f.Type != "agents_update" || len(f.Data.Agents) != 1 || f.Data.Total != 1 {
		t.Errorf("the update is %s (%v)", update, err)
	}
}

func TestPublicSocketIsNotThereWhenHidden(t *testing.T) {
	m := startMembers(t, memberOptions{registry: func(cfg *registry.Config) { cfg.Public = "off" }})
	if r := m.upgrade("/public/ws", ""); r.status != http.StatusNotFound {
		t.Errorf("%d %s, want 404", r.status, r.body)
	}
}

// TestTextSocketTakesFramesThatCrossItsPings: the pong comes behind a frame that
// was sent before it, and must be read all the same.
func TestTextSocketTakesFramesThatCrossItsPings(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(cfg *server.Config) {
		cfg.KeepAlive, cfg.WriteTimeout = 20*time.Millisecond, 2*time.Second
	}})
	var ws *websocket.Conn
	ws, _, err := websocket.Dial(t.Context(), m.url+"/public/ws", &websocket.DialOptions{
		OnPingReceived: func(ctx context.Context, _ []byte) bool {
			if err := ws.Write(ctx, websocket.MessageText, []byte("ping")); err != nil {
				t.Errorf("writing: %v", err)
			}
			return true // now the pong goes out
		},
	})
	fatal(t, err)
	t.Cleanup(func() { _ = ws.CloseNow() })
	c := talker{t, ws}
	c.frame() // welcome
	for range 3 {
		if got := c.hear(); got != "pong" {
			t.Errorf("got %q, want pong", got)
		}
	}
}

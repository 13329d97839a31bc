package server_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
)

func TestAgentSocketSendsTheListAndItsChanges(t *testing.T) {
	m := startMembers(t, memberOptions{})
	token := m.register(1)
	c := m.watch(token)
	if d := cmp.Diff([]string{"agent-01"}, c.agents()); d != "" {
		t.Errorf("the first list (-want +got):\n%s", d)
	}
	began := time.Now()
	for n := 2; n < 6; n++ { // many changes, few lists
		m.register(n)
	}
	lists := 0
	for got := []string{}; len(got) < 5; lists++ {
		got = c.agents()
	}
	if most := 2 + int(time.Since(began)/time.Second); lists > most {
		t.Errorf("%d lists came within %v, want at most one a second", lists, time.Since(began))
	}
	m.do(ask{method: http.MethodDelete, path: "/agents/agent-01", token: token}) // closes it, after the list or before
	if status := c.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v after the agent unregistered, want 1008", status)
	}
}

// TestAgentSocketListsFitTheClient: the published client takes frames of at most 1
// MiB.
func TestAgentSocketListsFitTheClient(t *testing.T) {
	m := startMembers(t, memberOptions{})
	large := map[string]any{}
	for i := range 48 {
		large[fmt.Sprintf("note%d", i)] = strings.Repeat("x", 1000)
	}
	for n := range 25 {
		m.registerWith(n, map[string]any{"metadata": large})
	}
	c := m.watch(m.temp(30))
	if got := c.agents(); len(got) < 15 || len(got) > 24 { // the reader's limit is 1 MiB
		t.Errorf("%d agents came", len(got))
	}
	f := c.frame()
	data, _ := f["data"].(map[string]any)
	if f["type"] != "list_truncated" || data["total_count"] != 25.0 {
		t.Errorf("after the list came %v", f)
	}
}

// TestAgentSocketFrames: who is in is answered; nothing that is said opens
// anything else.
func TestAgentSocketFrames(t *testing.T) {
	m := startMembers(t, memberOptions{})
	c := m.watch(m.temp(1)) // a temp token may read lists
	if got := c.agents(); len(got) != 0 {
		t.Errorf("the first list is %v, want an empty one", got)
	}
	for _, f := range []struct{ say, want string }{
		{"ping", "pong"}, {" PING\n", "pong"}, {`{"type":"ping"}`, `{"type":"pong"`},
		{`{"type":"get_discovery"}`, `{"type":"error","message":"Unknown message type: get_discovery"`},
		{`[]`, `{"type":"error"`}, {`{"type":1}`, `{"type":"error"`}, {`{"type":"x","type":"y"}`, `{"type":"error"`},
		{"\x01\x02", `{"type":"error"`}, {`{"type":"` + strings.Repeat("x", 10_000) + `"}`, `{"type":"error"`},
	} {
		c.say(f.say)
		if got := c.hear(); !strings.HasPrefix(got, f.want) || len(got) > 300 {
			t.Errorf("to %.50q: %q, want %q…", f.say, got, f.want)
		}
	}
	c.say("pong") // is not answered
	c.say(`{"type":"pong"}`)
	c.say("ping")
	if got := c.hear(); got != "pong" {
		t.Errorf("got %q, want only the pong", got)
	}
}

func TestAgentSocketRefusals(t *testing.T) {
	m := startMembers(t, memberOptions{})
	admin := m.login()
	gone := m.register(1)
	m.do(ask{method: http.MethodDelete, path: "/agents/agent-01", token: gone})
	for label, c := range map[string]struct{ say, code string }{
		"no object":         {`hello`, "AUTH_REQUIRED"},
		"no token":          {`{"token":""}`, "AUTH_REQUIRED"},
		"another type":      {`{"token":7}`, "AUTH_REQUIRED"},
		"twice":             {`{"token":"a","token":"b"}`, "AUTH_REQUIRED"},
		"junk":              {`{"token":"x"}`, "MALFORMED_TOKEN"},
		"dummy, expired":    {`{"token":"eyJhbGciOiJIUzI1NiJ9.eyJleHAiOjF9.signature"}`, "TOKEN_EXPIRED"},
		"unregistered":      {`{"token":"` + gone + `"}`, "TOKEN_REVOKED"},
		"no fingerprint":    {`{"token":"` + admin + `"}`, "SESSION_INVALID"},
		"wrong fingerprint": {`{"token":"` + admin + `","fingerprint":"client-2"}`, "SESSION_INVALID"},
	} {
		ws := m.dialPath("/agents/ws")
		ws.frame()
		ws.say(c.say)
		if f := ws.frame(); f["type"] != "auth_error" || f["error_code"] != c.code || f["message"] == "" {
			t.Errorf("%s: got %v, want auth_error %s", label, f, c.code)
		}
		if status := ws.closed(); status != websocket.StatusPolicyViolation {
			t.Errorf("%s: closed with %v, want 1008", label, status)
		}
	}
	if log := m.log.String(); strings.Contains(log, admin) || strings.Contains(log, gone) || !strings.Contains(log, `"(agents socket)"`) {
		t.Error("the log holds a token, or no line about the socket")
	}
}

// TestW8SocketsFollowTheSession: an administrator's socket needs the fingerprint
// of the login, and ends with the session.
func TestW8SocketsFollowTheSession(t *testing.T) {
	m := startMembers(t, memberOptions{})
	token := m.login()
	inHeader := m.watch(token, "X-Client-Fingerprint", fingerprint)
	inFrame := m.dialPath("/agents/ws")
	inFrame.frame()
	inFrame.say(`{"token":"` + token + `","fingerprint":"` + fingerprint + `"}`)
	if f := inFrame.frame(); f["type"] != "auth_success" {
		t.Fatalf("got %v, want auth_success", f)
	}
	ended := time.Now()
	m.post("/auth/logout", token, "", map[string]any{}, "X-Client-Fingerprint", fingerprint)
	for label, c := range map[string]talker{"header": inHeader, "frame": inFrame} {
		if status := c.closed(); status != websocket.StatusPolicyViolation {
			t.Errorf("%s: closed with %v, want 1008", label, status)
		}
	}
	if late := time.Since(ended); late > time.Second {
		t.Errorf("closed after %v, want within a second", late)
	}
}

// TestRevokedTokensCloseAllSockets: within a second, on /arc and on the lists.
func TestRevokedTokensCloseAllSockets(t *testing.T) {
	m := startMembers(t, memberOptions{})
	admin, token := m.login(), m.register(1)
	list := m.watch(token)
	calls := m.dial(token)
	other := m.watch(m.register(2))
	revoked := time.Now()
	m.post("/tokens/revoke", admin, "", map[string]any{"token": token}, "X-Client-Fingerprint", fingerprint)
	for label, c := range map[string]talker{"/agents/ws": list, "/arc": calls} {
		if status := c.closed(); status != websocket.StatusPolicyViolation {
			t.Errorf("%s: closed with %v, want 1008", label, status)
		}
	}
	if late := time.Since(revoked); late > time.Second {
		t.Errorf("closed after %v, want within a second", late)
	}
	other.say(`{"type":"ping"}`)
	for f := ""; !strings.HasPrefix(f, `{"type":"pong"`); {
		f = other.hear() // lists may come before; that it is still open is what counts
	}
}

func TestAgentSocketEndsWithTheToken(t *testing.T) {
	m := startMembers(t, memberOptions{registry: func(cfg *registry.Config) { cfg.AgentTTL = 10 * time.Minute }})
	c := m.watch(m.register(1))
	c.agents()
	m.advance(10*time.Minute + time.Second)
	expired := time.Now()
	if status := c.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
	if late := time.Since(expired); late > time.Second {
		t.Errorf("closed %v after the expiry, want within a second", late)
	}
}

func TestAgentSocketWaitsOnlySoLong(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(cfg *server.Config) { cfg.ReadTimeout = 50 * time.Millisecond }})
	c := m.dialPath("/agents/ws")
	c.frame()
	if f := c.frame(); f["type"] != "auth_error" || f["error_code"] != "AUTH_REQUIRED" {
		t.Errorf("got %v, want auth_error", f)
	}
	if status := c.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
}

func TestTextSocketLimits(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(cfg *server.Config) {
		cfg.Limits.ListSockets, cfg.Limits.ListSocketsPerAddress = 3, 2
	}})
	token := m.temp(1)
	for _, path := range []string{"/agents/ws", "/public/ws"} {
		open := []talker{m.dialPath(path), m.dialPath(path)}
		if status := m.upgrade(path, "").status; status != http.StatusTooManyRequests {
			t.Errorf("%s: a third socket of one address gave %d, want 429", path, status)
		}
		_ = open[0].ws.Close(websocket.StatusNormalClosure, "")
		m.log.await(t, "request", "path", path) // its end is logged
	}
	for label, c := range map[string]struct {
		misbehave func(talker)
		status    websocket.StatusCode
	}{
		"binary":          {func(c talker) { _ = c.ws.Write(t.Context(), websocket.MessageBinary, []byte("ping")) }, websocket.StatusUnsupportedData},
		"huge":            {func(c talker) { c.say(strings.Repeat(" ", 21<<10)) }, websocket.StatusMessageTooBig},
		"huge, known":     {func(c talker) { c.say(`{"token":"` + token + `"}`); c.say(strings.Repeat(" ", 21<<10)) }, websocket.StatusMessageTooBig},
		"too many frames": {func(c talker) { flood(c) }, websocket.StatusPolicyViolation},
	} {
		s := startMembers(t, memberOptions{})
		ws := s.dialPath("/public/ws")
		if strings.Contains(label, "known") {
			ws, token = s.dialPath("/agents/ws"), s.temp(1)
		}
		c.misbehave(ws)
		if status := ws.closed(); status != c.status {
			t.Errorf("%s: closed with %v, want %v", label, status, c.status)
		}
	}
}

// flood sends until the server has had enough.
func flood(c talker) {
	for range 1000 {
		if c.ws.Write(c.t.Context(), websocket.MessageText, []byte("pong")) != nil {
			return
		}
	}
}

// upgrade asks for a WebSocket and gives what comes instead.
func (m *members) upgrade(path, origin string) reply {
	h := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}
	if origin != "" {
		h["Origin"] = origin
	}
	return m.do(ask{method: http.MethodGet, path: path, header: h})
}

func TestTextSocketHandshakes(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(cfg *server.Config) { cfg.Limits.ListSockets, cfg.Limits.ListSocketsPerAddress = 1, 5 }})
	m.dialPath("/public/ws")
	for label, c := range map[string]struct {
		r      reply
		status int
		code   string
	}{
		"no upgrade":   {m.do(ask{method: http.MethodGet, path: "/agents/ws"}), http.StatusUpgradeRequired, ""},
		"other origin": {m.upgrade("/agents/ws", "https://evil.example"), http.StatusForbidden, ""},
		"full":         {m.upgrade("/public/ws", ""), http.StatusServiceUnavailable, "BUSY"},
	} {
		d := document(t, c.r)
		if c.r.status != c.status || c.code != "" && d["error_code"] != c.code {
			t.Errorf("%s: %d %s, want %d %s", label, c.r.status, c.r.body, c.status, c.code)
		}
	}
}

func TestTextSocketSlowReaderIsCut(t *testing.T) {
	m := startMembers(t, memberOptions{
		listen: func(l net.Listener) net.Listener { return smallBuffers{l} },
		server: func(cfg *server.Config) {
			cfg.WriteTimeout = 50 * time.Millisecond
			cfg.KeepAlive = 10 * time.Millisecond
		},
	})
	// A peer that never reads answers no ping.
	ws, _, err := websocket.Dial(t.Context(), m.url+"/public/ws", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	m.log.await(t, "request", "status", "101") // the socket's end is logged
}

func TestTextSocketIsPinged(t *testing.T) {
	m := startMembers(t, memberOptions{server: func(cfg *server.Config) { cfg.KeepAlive = 10 * time.Millisecond }})
	pinged := make(chan struct{}, 100)
	ws, _, err := websocket.Dial(t.Context(), m.url+"/public/ws", &websocket.DialOptions{
		OnPingReceived: func(context.Context, []byte) bool { pinged <- struct{}{}; return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	if _, _, err := ws.Read(t.Context()); err != nil { // the welcome
		t.Fatal(err)
	}
	ctx := ws.CloseRead(t.Context())
	for range 3 {
		select {
		case <-pinged:
		case <-ctx.Done():
			t.Fatal("the socket closed")
		}
	}
}

func TestDrainClosesTextSockets(t *testing.T) {
	m := startMembers(t, memberOptions{})
	open := map[string]talker{
		"agents": m.watch(m.temp(1)), "not yet known": m.dialPath("/agents/ws"), "public": m.dialPath("/public/ws"),
	}
	m.stop()
	for label, c := range open {
		if status := c.closed(); status != websocket.StatusGoingAway {
			t.Errorf("%s: closed with %v, want 1001", label, status)
		}
	}
}

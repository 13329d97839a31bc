package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// members is a whole server with its agent registry, as arcd serve puts it
// together: its own issuer is the only one, "root" with password
// "correct horse" the administrator, and agents agent-00 to agent-39 have keys.
type members struct {
	*world
	registry *registry.Registry
	ahead    *atomic.Int64 // how far the clock of all parts is ahead
}

// memberOptions changes what startMembers would make by itself.
type memberOptions struct {
	registry func(*registry.Config)
	server   func(*server.Config)
	listen   func(net.Listener) net.Listener
}

func startMembers(t testing.TB, o memberOptions) *members {
	t.Helper()
	m := &members{world: &world{t: t, log: newJournal(), served: make(chan error, 1)}, ahead: new(atomic.Int64)}
	clock := func() time.Time { return time.Now().Add(time.Duration(m.ahead.Load())) }
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.url = "http://" + l.Addr().String()
	if o.listen != nil {
		l = o.listen(l)
	}
	folder := t.TempDir()
	db, err := sqlite.Open(ctx, sqlite.Config{File: filepath.Join(folder, "arcd.db")})
	fatal(t, err)
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	issuer, err := auth.OpenIssuer(auth.IssuerConfig{
		URL: m.url, KeyFile: filepath.Join(folder, "keys.json"), Now: clock, LongestTTL: time.Hour,
		Clients: map[string]auth.Client{"root": {SecretHash: cheapHash("correct horse"), Admin: true}},
	})
	fatal(t, err)
	var entries []string
	for i := range 40 {
		entries = append(entries, fmt.Sprintf("agent-%02d=key-of-agent-%02d", i, i))
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: entries, Now: clock})
	fatal(t, err)
	rc := registry.Config{Store: db, Issuer: issuer, Keys: keys, PublicURL: m.url, Now: clock, Log: m.logger()}
	if o.registry != nil {
		o.registry(&rc)
	}
	m.registry, err = registry.Open(ctx, rc)
	fatal(t, err)
	service, err := methods.New(methods.Config{Store: db, Registry: m.registry, Log: m.logger(), Version: "test"})
	fatal(t, err)
	providers, err := auth.NewProviders(auth.Config{
		Providers: []auth.Provider{issuer.Provider()}, Revoked: m.registry.Revoked, Leeway: time.Millisecond, Now: clock,
	})
	fatal(t, err)
	var running sync.WaitGroup
	running.Go(func() { providers.Run(ctx) })
	running.Go(func() { _ = service.Run(ctx) })
	running.Go(func() { _ = m.registry.Run(ctx) })
	t.Cleanup(func() { cancel(); running.Wait() })
	cfg := server.Config{
		Service: service, Validator: providers, Issuer: issuer, Registry: m.registry,
		RegistryValidator: providers.For(auth.IssuerName, registry.AudienceValidate, registry.AudienceRegister),
		PublicURL:         m.url, Version: "test", Log: m.logger(), Now: clock, DrainTimeout: 5 * time.Second,
	}
	if o.server != nil {
		o.server(&cfg)
	}
	m.server = server.New(cfg)
	var serving context.Context
	serving, m.stop = context.WithCancel(ctx)
	go func() { m.served <- m.server.Serve(serving, l) }()
	t.Cleanup(func() {
		m.stop()
		if err := <-m.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return m
}

func fatal(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// advance puts the clock forward.
func (m *members) advance(d time.Duration) { m.ahead.Add(int64(d)) }

// post makes a call of the registry API that must go well, and gives the member
// of the answer; "" for none.
func (m *members) post(path, token, member string, body any, header ...string) string {
	m.t.Helper()
	text, err := json.Marshal(body)
	fatal(m.t, err)
	a := ask{method: http.MethodPost, path: path, token: token, body: string(text), header: map[string]string{"Content-Type": "application/json"}}
	for i := 0; i < len(header); i += 2 {
		a.header[header[i]] = header[i+1]
	}
	r := m.do(a)
	if r.status != http.StatusOK {
		m.t.Fatalf("POST %s: %d %s", path, r.status, r.body)
	}
	var answer map[string]any
	fatal(m.t, json.Unmarshal([]byte(r.body), &answer))
	value, _ := answer[member].(string)
	return value
}

// temp gets the token for registering agent n.
func (m *members) temp(n int) string {
	m.t.Helper()
	return m.post("/auth/agent/request_temp_token", "", "temp_token", map[string]any{
		"agent_id": agentName(n), "agent_type": "testing", "agent_key": fmt.Sprintf("key-of-agent-%02d", n),
	})
}

func agentName(n int) string { return fmt.Sprintf("agent-%02d", n) }

// register registers agent n and gives its token.
func (m *members) register(n int) string {
	m.t.Helper()
	return m.registerAs(n, "testing")
}

func (m *members) registerAs(n int, agentType string) string {
	m.t.Helper()
	return m.registerWith(n, map[string]any{"agent_type": agentType})
}

// registerWith registers agent n with other members than usual.
func (m *members) registerWith(n int, other map[string]any) string {
	m.t.Helper()
	registration := map[string]any{
		"agent_id": agentName(n), "name": "Agent", "agent_type": "testing", "endpoint": "http://127.0.0.1:9/agent",
		"context_brief": "An agent of a test", "capabilities": []string{"testing"}, "owner": "Tests",
		"public_key": "0123456789abcdef0123456789abcdef", "metadata": map[string]any{"secret": "of the owner"},
		"version": "1.0.0", "communication_mode": "remote",
	}
	maps.Copy(registration, other)
	return m.post("/agents/register", m.temp(n), "access_token", registration)
}

// fingerprint is that of the administrator's client.
const fingerprint = "client-1"

// login gives an administrator's token.
func (m *members) login() string {
	m.t.Helper()
	return m.post("/auth/login", "", "access_token", map[string]any{"username": "root", "password": "correct horse"},
		"X-Client-Fingerprint", fingerprint)
}

// dialPath opens a WebSocket; header holds pairs of name and value.
func (m *members) dialPath(path string, header ...string) talker {
	m.t.Helper()
	h := http.Header{}
	for i := 0; i < len(header); i += 2 {
		h.Set(header[i], header[i+1])
	}
	ws, resp, err := websocket.Dial(m.t.Context(), m.url+path, &websocket.DialOptions{HTTPHeader: h})
	if err != nil {
		m.t.Fatalf("dialing: %v (%v)", err, resp)
	}
	ws.SetReadLimit(1 << 20)
	m.t.Cleanup(func() { _ = ws.CloseNow() })
	return talker{m.t, ws}
}

// frame hears a frame that is an object.
func (c talker) frame() map[string]any {
	c.t.Helper()
	text := c.hear()
	var f map[string]any
	if err := json.Unmarshal([]byte(text), &f); err != nil {
		c.t.Fatalf("frame %q: %v", text, err)
	}
	return f
}

// agents hears a bare list of agents and gives their ids.
func (c talker) agents() []string {
	c.t.Helper()
	text := c.hear()
	var list []struct {
		ID string `json:"agent_id"`
	}
	if err := json.Unmarshal([]byte(text), &list); err != nil {
		c.t.Fatalf("frame %q: %v", text, err)
	}
	ids := []string{}
	for _, a := range list {
		ids = append(ids, a.ID)
	}
	return ids
}

// watch opens /agents/ws with a token, up to the first list.
func (m *members) watch(token string, header ...string) talker {
	m.t.Helper()
	c := m.dialPath("/agents/ws", header...)
	if f := c.frame(); f["type"] != "auth_required" {
		m.t.Fatalf("the first frame is %v", f)
	}
	c.say(`{"token":"` + token + `"}`)
	if f := c.frame(); f["type"] != "auth_success" {
		m.t.Fatalf("the answer to the token is %v", f)
	}
	return c
}

package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/arctest"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

const audience = "https://arcd.test"

// world is a whole server on loopback: store, service, issuer, HTTP.
type world struct {
	t      testing.TB
	url    string // scheme://host:port
	issuer *arctest.Issuer
	server *server.Server
	log    *journal
	stop   context.CancelFunc // begins the drain
	served chan error         // what Serve gave

	sockets carrier.Sockets // agents that dialled in
}

// options changes what start would make by itself.
type options struct {
	config func(*server.Config)
	listen func(net.Listener) net.Listener
	auth   func(*auth.Config)
	agents map[string]methods.Agent
	tracer trace.Tracer
	db     replicaStore    // that others have too; nil: one of its own
	issuer *arctest.Issuer // nil: one of its own
}

// replicaStore is a store that several servers share.
type replicaStore interface {
	store.Store
	methods.Marks
}

func start(t testing.TB, o options) *world {
	t.Helper()
	w := &world{t: t, issuer: o.issuer, log: newJournal(), served: make(chan error, 1)}
	if w.issuer == nil {
		w.issuer = arctest.NewIssuer(t)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	log := w.logger()
	service := w.service(ctx, o, log)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.url = "http://" + l.Addr().String()
	if o.listen != nil {
		l = o.listen(l)
	}
	providers := w.providers(ctx, o.auth)
	cfg := server.Config{
		Service: service, Sockets: &w.sockets, Tracer: o.tracer, Validator: providers, PublicURL: w.url, Version: "test", Log: log,
		Ready:        func(context.Context) error { return providers.Ready() },
		AuthServers:  []string{w.issuer.URL},
		DrainTimeout: 5 * time.Second,
	}
	if o.config != nil {
		o.config(&cfg)
	}
	if cfg.TLS != nil {
		w.url = "https://" + l.Addr().String()
	}
	w.server = server.New(cfg)
	var serving context.Context
	serving, w.stop = context.WithCancel(ctx)
	go func() { w.served <- w.server.Serve(serving, l) }()
	t.Cleanup(func() {
		w.stop()
		select {
		case err := <-w.served:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(20 * time.Second):
			t.Error("Serve did not end")
		}
	})
	return w
}

func (w *world) logger() zerolog.Logger { return zerolog.New(w.log) }

// service runs a service on a real store with the demo agents, and with those that
// dial in.
func (w *world) service(ctx context.Context, o options, log zerolog.Logger) *methods.Service {
	w.t.Helper()
	cfg := methods.Config{Log: log, Version: "test", TurnGrace: time.Minute, Tracer: o.tracer}
	closing := func() error { return nil }
	if o.db != nil {
		cfg.Store, cfg.Marks, cfg.Presence, cfg.Now = o.db, o.db, &w.sockets, o.db.Now
	} else {
		db, err := sqlite.Open(ctx, sqlite.Config{File: filepath.Join(w.t.TempDir(), "arcd.db")})
		if err != nil {
			w.t.Fatal(err)
		}
		cfg.Store, closing = db, db.Close
	}
	agents := map[string]methods.Agent{"idle": {}}
	for _, kind := range methods.DemoKinds() {
		agents[kind], _ = methods.Demo(kind)
	}
	for id, a := range o.agents {
		agents[id] = a
	}
	w.sockets.Taken = func(id string) bool { return agents[id].Runner != nil }
	cfg.Agents, cfg.Remote = agents, carrier.NewDirectory(carrier.Config{Sockets: &w.sockets, Log: log})
	service, err := methods.New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.sockets.Wake = service.Wake
	ctx, stop := context.WithCancel(ctx)
	stopped := make(chan error, 1)
	go func() { stopped <- service.Run(ctx) }()
	w.t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			w.t.Errorf("Run: %v", err)
		}
		if err := closing(); err != nil {
			w.t.Errorf("closing the store: %v", err)
		}
	})
	return service
}

// providers trusts the test's issuer, and waits until its keys are there.
func (w *world) providers(ctx context.Context, change func(*auth.Config)) *auth.Providers {
	w.t.Helper()
	cfg := auth.Config{
		Providers: []auth.Provider{w.issuer.Provider("test", audience)},
	}
	if change != nil {
		change(&cfg)
	}
	providers, err := auth.NewProviders(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { providers.Run(ctx) })
	w.t.Cleanup(func() { stop(); running.Wait() })
	// Asking for a token's key fetches the set, if Run has not yet.
	if _, err := providers.Validate(ctx, w.issuer.Token(w.t, audience)); err != nil {
		w.t.Fatalf("a good token: %v", err)
	}
	return providers
}

// token mints a token with these scopes; none given: all.
func (w *world) token(scopes ...string) string {
	claims := w.issuer.Claims(audience, time.Now())
	if len(scopes) > 0 {
		claims["scope"] = strings.Join(scopes, " ")
	}
	return w.issuer.Mint(w.t, "ES256", claims)
}

// client gives the real client, with all scopes.
func (w *world) client() *client.Client {
	c := &client.Client{URL: w.url, Token: client.StaticToken(w.token()), Agent: "tester"}
	w.t.Cleanup(c.CloseIdleConnections)
	return c
}

// ask is one raw request.
type ask struct {
	method, path, body string
	header             map[string]string
	token              string // "": none
}

type reply struct {
	status int
	header http.Header
	body   string
}

// do makes a raw request. Without a path it posts to /arc.
func (w *world) do(a ask) reply {
	w.t.Helper()
	if a.path == "" {
		a.path = "/arc"
	}
	if a.method == "" {
		a.method = http.MethodPost
	}
	req, err := http.NewRequestWithContext(context.Background(), a.method, w.url+a.path, strings.NewReader(a.body))
	if err != nil {
		w.t.Fatal(err)
	}
	if a.token != "" {
		req.Header.Set("Authorization", "Bearer "+a.token)
	}
	for name, value := range a.header {
		req.Header.Set(name, value)
	}
	if h, ok := a.header["Host"]; ok {
		req.Host = h
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", a.method, a.path, err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: reading the answer: %v", a.method, a.path, err)
	}
	return reply{resp.StatusCode, resp.Header, string(b)}
}

// arcCall and rpcCall make envelopes of a method, an agent and params.
func arcCall(method, to, params string) string {
	return `{"arc":"1.0","id":1,"method":"` + method + `","requestAgent":"tester","targetAgent":"` + to + `","params":` + params + `}`
}

func rpcCall(method, to, params string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"` + method + `","targetAgent":"` + to + `","params":` + params + `}`
}

const hello = `{"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"hello"}]}}`

// code reads the error code out of an answer in either envelope, 0 for none.
func code(t testing.TB, body string) int {
	t.Helper()
	var a struct {
		Error struct {
			Code int `json:"code"`
		} `json:"error"`
	}
	if err := json.Unmarshal([]byte(body), &a); err != nil {
		t.Fatalf("answer %q: %v", body, err)
	}
	return a.Error.Code
}

// journal keeps log lines, and wakes who waits for one.
type journal struct {
	mu    sync.Mutex // guards lines
	more  *sync.Cond // there are more lines
	lines []string
}

func newJournal() *journal {
	j := &journal{}
	j.more = sync.NewCond(&j.mu)
	return j
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.lines = append(j.lines, string(p))
	j.more.Broadcast()
	return len(p), nil
}

// await gives the first line of this event whose member has this value, when it
// is there.
func (j *journal) await(t testing.TB, event, member, value string) map[string]any {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for next := 0; ; next++ {
		for next >= len(j.lines) {
			j.more.Wait()
		}
		var line map[string]any
		if err := json.Unmarshal([]byte(j.lines[next]), &line); err != nil {
			t.Fatalf("log line %q: %v", j.lines[next], err)
		}
		if line["event"] == event && (member == "" || fmt.Sprint(line[member]) == value) {
			return line
		}
	}
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Join(j.lines, "")
}

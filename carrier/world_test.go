package carrier_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store/sqlite"
)

type m = map[string]any

// wire is a network in memory, so that time can be that of testing/synctest. While it
// is down nobody can connect.
type wire struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once

	mu   sync.Mutex // guards what follows
	down bool
	open []net.Conn
}

func newWire() *wire { return &wire{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (w *wire) Accept() (net.Conn, error) {
	select {
	case c := <-w.conns:
		return c, nil
	case <-w.closed:
		return nil, net.ErrClosed
	}
}

func (w *wire) Close() error {
	w.once.Do(func() { close(w.closed) })
	return nil
}

func (w *wire) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1} }

func (w *wire) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, errors.New("connection refused")
	}
	near, far := net.Pipe()
	w.open = append(w.open, near, far)
	select {
	case w.conns <- far:
		return near, nil
	case <-w.closed:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// cut ends all connections and lets no new ones in until the wire is mended.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = true
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

// request is a call as the fake agent gets it.
type request struct {
	ARC     string          `json:"arc"`
	ID      json.RawMessage `json:"id"`
	Method  string          `json:"method"`
	From    string          `json:"requestAgent"`
	To      string          `json:"targetAgent"`
	TraceID string          `json:"traceId"`
	Params  json.RawMessage `json:"params"`

	header http.Header
	ctx    context.Context
	w      http.ResponseWriter
}

// param gives one of the params.
func (r *request) param(name string) any {
	var params m
	_ = json.Unmarshal(r.Params, &params)
	return params[name]
}

// text gives the text of the message among the params.
func (r *request) text() string {
	var params struct {
		InitialMessage, Message *arc.Message
	}
	_ = json.Unmarshal(r.Params, &params)
	if params.Message != nil {
		return params.Message.Text()
	}
	return params.InitialMessage.Text()
}

// fake is an agent's server, over real HTTP. What a handler gives is the result; an
// [*arc.Error] is the error, a raw an answer as it stands, and nil means that the
// handler has answered.
type fake struct {
	t      *testing.T
	wire   *wire
	handle func(r *request) any

	mu    sync.Mutex // guards calls
	calls []*request
}

// raw is an answer as it stands.
type raw struct {
	status int
	header http.Header
	body   string
}

func newFake(t *testing.T, handle func(r *request) any) *fake {
	f := &fake{t: t, wire: newWire(), handle: handle}
	s := httptest.NewUnstartedServer(f)
	_ = s.Listener.Close()
	s.Listener = f.wire
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(func() {
		f.wire.cut()
		s.Close()
	})
	return f
}

func (f *fake) ServeHTTP(w http.ResponseWriter, h *http.Request) {
	body, err := io.ReadAll(h.Body)
	if err != nil {
		return
	}
	r := &request{header: h.Header, ctx: h.Context(), w: w}
	if err := json.Unmarshal(body, r); err != nil {
		f.t.Errorf("the agent was sent %s", body)
		return
	}
	f.mu.Lock()
	f.calls = append(f.calls, r)
	f.mu.Unlock()
	envelope := m{"arc": "1.0", "id": r.ID, "responseAgent": r.To, "targetAgent": r.From, "result": nil, "error": nil}
	switch answer := f.handle(r).(type) {
	case nil:
		return
	case raw:
		for name, values := range answer.header {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.status)
		_, _ = io.WriteString(w, answer.body)
		return
	case *arc.Error:
		envelope["error"] = answer.Object()
		if answer.Status != 0 {
			w.WriteHeader(answer.Status)
		}
	default:
		envelope["result"] = answer
	}
	_ = json.NewEncoder(w).Encode(envelope)
}

// asked lists the methods that were called, and how often a method was.
func (f *fake) asked() (all []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.calls {
		all = append(all, r.Method)
	}
	return all
}

func (f *fake) count(method string) (n int) {
	for _, name := range f.asked() {
		if name == method {
			n++
		}
	}
	return n
}

// call gives the n-th call of a method, from 0.
func (f *fake) call(method string, n int) *request {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.calls {
		if r.Method == method {
			if n == 0 {
				return r
			}
			n--
		}
	}
	f.t.Fatalf("%s was not called so often", method)
	return nil
}

// cfg is how the fake is called.
func (f *fake) cfg() carrier.HTTPConfig {
	transport := carrier.NewTransport()
	transport.DialContext = f.wire.dial
	f.t.Cleanup(transport.CloseIdleConnections)
	return carrier.HTTPConfig{Endpoint: "http://127.0.0.1:1/arc", Transport: transport}
}

// agent is the fake as an agent of the service.
func (f *fake) agent() methods.Agent { return carrier.HTTP("far", f.cfg(), zerolog.Nop()) }

// world is a real service on a real store.
type world struct {
	t *testing.T
	s *methods.Service
}

func start(t *testing.T, cfg methods.Config) *world {
	t.Helper()
	db, err := sqlite.Open(context.Background(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	if err != nil {
		t.Fatal(err)
	}
	cfg.Store = db
	s, err := methods.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return &world{t: t, s: s}
}

// with starts a service with one fake agent, named far.
func with(t *testing.T, f *fake) *world {
	t.Helper()
	return start(t, methods.Config{Agents: map[string]methods.Agent{"far": f.agent()}})
}

func caller() *auth.Principal {
	return &auth.Principal{Issuer: "https://issuer.test/", Subject: "alice", Scopes: slices.Sorted(slices.Values(auth.Scopes))}
}

// call makes a call as the caller alice, whose agent is near.
func (w *world) call(method string, params any) (json.RawMessage, error) {
	w.t.Helper()
	return w.callAs(caller(), "near", method, params)
}

func (w *world) callAs(p *auth.Principal, from, method string, params any) (json.RawMessage, error) {
	w.t.Helper()
	to := ""
	if method == "task.create" {
		to = "far"
	}
	return w.callTo(p, from, to, method, params)
}

func (w *world) callTo(p *auth.Principal, from, to, method string, params any) (json.RawMessage, error) {
	w.t.Helper()
	c := &rpc.Call{
		Request:   arc.Request{Dialect: arc.JSONRPC, Method: method, From: from, To: to, TraceID: "trace-1"},
		Principal: p, TraceParent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
	}
	var err error
	if c.Params, err = json.Marshal(params); err != nil {
		w.t.Fatal(err)
	}
	result, err := w.s.Mux().Dispatch(context.Background(), c)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(result)
	if err != nil {
		w.t.Fatal(err)
	}
	return b, nil
}

// notify tells the server something as the agent far does.
func (w *world) notify(taskID string, event arc.EventType, data m) {
	w.t.Helper()
	p := caller()
	p.Subject, p.Agents = "far", []string{"far"}
	params := m{"taskId": taskID, "event": event, "timestamp": "2026-01-02T03:04:05Z", "data": data}
	if _, err := w.callAs(p, "far", "task.notification", params); err != nil {
		w.t.Errorf("task.notification: %v", err)
	}
}

func text(s string) m { return m{"role": "user", "parts": []m{{"type": "TextPart", "content": s}}} }

func agentText(s string) m {
	return m{"role": "agent", "parts": []m{{"type": "TextPart", "content": s}}}
}

func artifact(id, s string) m {
	return m{"artifactId": id, "name": id, "parts": []m{{"type": "TextPart", "content": s}}}
}

// task makes the result of task.create and task.info.
func task(id, status string, more ...m) m {
	t := m{"taskId": id, "status": status, "createdAt": "2026-01-02T03:04:05"} // as naive as the Python server
	for _, members := range more {
		for name, value := range members {
			t[name] = value
		}
	}
	return m{"type": "task", "task": t}
}

func (w *world) create(params ...m) string {
	w.t.Helper()
	all := m{"initialMessage": text("hello")}
	for _, members := range params {
		for name, value := range members {
			all[name] = value
		}
	}
	result, err := w.call("task.create", all)
	if err != nil {
		w.t.Fatalf("task.create: %v", err)
	}
	return taskOf(w.t, result).ID
}

func taskOf(t *testing.T, result json.RawMessage) arc.Task {
	t.Helper()
	var r arc.TaskResult
	if err := json.Unmarshal(result, &r); err != nil || r.Task == nil {
		t.Fatalf("not a task: %s (%v)", result, err)
	}
	return *r.Task
}

func (w *world) info(id string) arc.Task {
	w.t.Helper()
	result, err := w.call("task.info", m{"taskId": id})
	if err != nil {
		w.t.Fatalf("task.info: %v", err)
	}
	return taskOf(w.t, result)
}

func (w *world) send(id, s string) {
	w.t.Helper()
	if _, err := w.call("task.send", m{"taskId": id, "message": text(s)}); err != nil {
		w.t.Fatalf("task.send: %v", err)
	}
}

// said lists the texts of the messages of a task.
func said(task arc.Task) (all []string) {
	for _, m := range task.Messages {
		all = append(all, m.Text())
	}
	return all
}

// made lists the artifacts of a task.
func made(task arc.Task) (all []string) {
	for _, a := range task.Artifacts {
		var texts []string
		for _, p := range a.Parts {
			texts = append(texts, p.Text())
		}
		all = append(all, a.ID+"="+strings.Join(texts, "+"))
	}
	return all
}

// event is one event of a stream as an agent sends it.
func event(name, data string) string { return "event: " + name + "\ndata: " + data + "\n\n" }

// stream answers with events.
func stream(events ...string) raw {
	return raw{200, http.Header{"Content-Type": {"text/event-stream"}}, strings.Join(events, "")}
}

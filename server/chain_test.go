package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/tracing/otlp"
	"github.com/arcd-io/arcd/internal/tracing/tracetest"
	"github.com/arcd-io/arcd/methods"
)

// chain is three agents, one per carrier, each of which has the next one do its work:
// a in the process of the server, b behind an HTTP endpoint, c over a WebSocket.
type chain struct {
	*world
	b       *chainServer
	reached chan string // "c" when the work has come there
	stopped chan error  // how the context of c ended, when it was not let go
	letGo   chan struct{}
}

func startChain(t *testing.T, o options) *chain {
	t.Helper()
	ch := &chain{reached: make(chan string, 1), stopped: make(chan error, 1), letGo: make(chan struct{})}
	ch.b = &chainServer{chain: ch, tasks: map[string]*arc.Task{}}
	ch.b.Server = httptest.NewServer(ch.b)
	t.Cleanup(ch.b.Close)
	o.agents = map[string]methods.Agent{
		"a": {Runner: methods.RunnerFunc(ch.a)},
		"b": carrier.HTTP("b", carrier.HTTPConfig{Endpoint: ch.b.URL + "/arc", Poll: 20 * time.Millisecond}, zerolog.Nop()),
	}
	ch.world = start(t, o)
	ch.running(ch.agent("c", func(ctx context.Context, w *client.Work) error {
		ch.reached <- w.TraceID
		select {
		case <-ch.letGo:
			return w.Write(ctx, "from c")
		case <-ctx.Done():
			ch.stopped <- context.Cause(ctx)
			return ctx.Err()
		}
	}))
	return ch
}

// as is a client with the token of an agent.
func (ch *chain) as(id string) *client.Client {
	c := &client.Client{URL: ch.url, Agent: id, Token: client.StaticToken(ch.agentToken(id))}
	ch.t.Cleanup(c.CloseIdleConnections)
	return c
}

// delegate has another agent do the work, and gives what it said.
func delegate(ctx context.Context, c *client.Client, to string, params arc.CreateTaskParams) (string, error) {
	m := arc.Text(arc.RoleUser, "on behalf of "+c.Agent)
	params.InitialMessage = &m
	task, err := c.CreateTask(ctx, to, params)
	if err != nil {
		return "", err
	}
	task, err = c.WaitTask(ctx, to, client.WaitTaskParams{TaskID: task.ID})
	if err != nil {
		return "", err
	}
	return said(task), nil
}

// a is a Go function.
func (ch *chain) a(ctx context.Context, t *methods.Turn) error {
	ctx = client.WithTrace(ctx, client.Trace{ID: t.TraceID, Parent: t.TraceParent})
	text, err := delegate(ctx, ch.as("a"), "b", arc.CreateTaskParams{ParentTaskID: t.Task.ID})
	if err != nil {
		return err
	}
	return t.Write(ctx, "a: "+text)
}

// chainServer is agent b: a small ARC server, which knows nothing of arcd but the
// traceId and the traceparent that it passes on.
type chainServer struct {
	*httptest.Server
	chain *chain

	mu    sync.Mutex // guards tasks
	tasks map[string]*arc.Task
	stops []context.CancelFunc
}

// ServeHTTP answers task.create at once, and works on.
func (b *chainServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var q struct {
		ID           string          `json:"id"`
		Method       string          `json:"method"`
		RequestAgent string          `json:"requestAgent"`
		TraceID      string          `json:"traceId"`
		Params       json.RawMessage `json:"params"`
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	const id = "b-1"
	switch q.Method {
	case "task.create":
		b.tasks[id] = &arc.Task{ID: id, Status: arc.TaskWorking}
		ctx, stop := context.WithCancel(context.Background())
		b.stops = append(b.stops, stop)
		go b.work(client.WithTrace(ctx, client.Trace{ID: q.TraceID, Parent: r.Header.Get("Traceparent")}), id)
	case "task.cancel":
		b.tasks[id].Status = arc.TaskCanceled
		for _, stop := range b.stops {
			stop()
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"arc": "1.0", "id": q.ID, "responseAgent": "b", "targetAgent": q.RequestAgent, "error": nil,
		"result": map[string]any{"type": "task", "task": b.tasks[id]},
	})
}

func (b *chainServer) work(ctx context.Context, id string) {
	text, err := delegate(ctx, b.chain.as("b"), "c", arc.CreateTaskParams{})
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil {
		b.tasks[id].Status = arc.TaskFailed
		return
	}
	b.tasks[id].Status = arc.TaskCompleted
	m := arc.Text(arc.RoleAgent, "b: "+text)
	b.tasks[id].Messages = append(b.tasks[id].Messages, m)
}

// begin gives a the task, in a trace.
func (ch *chain) begin(trace string) *arc.Task {
	ch.t.Helper()
	m := arc.Text(arc.RoleUser, "go")
	c := ch.client()
	task, err := c.CreateTask(client.WithTrace(ch.t.Context(), client.Trace{ID: trace}), "a", arc.CreateTaskParams{InitialMessage: &m})
	if err != nil {
		ch.t.Fatal(err)
	}
	task.AssignedAgent = "a"
	if got := <-ch.reached; got != trace {
		ch.t.Errorf("c is told the trace %q", got)
	}
	return task
}

// TestChainIsOneTrace: one traceId, one picture.
func TestChainIsOneTrace(t *testing.T) {
	receiver := tracetest.New(t)
	receiver.Setenv(t)
	exporter, err := otlp.Open(t.Context(), otlp.Config{Getenv: getenv(receiver)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := exporter.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	ch := startChain(t, options{tracer: exporter.Tracer()})
	task := ch.begin("quarterly report")
	close(ch.letGo)
	done := ch.ended(task, arc.TaskCompleted)
	if said(done) != "a: b: from c" {
		t.Fatalf("a says %q: %+v", said(done), done)
	}
	wanted := map[string]bool{"task.create": true, "task.run": true}
	enough := func(spans []tracetest.Span) bool {
		return strings.Count(tracetest.Tree(spansOf(spans, wanted)), "\n") >= 8
	}
	spans := receiver.Wait(t, enough)
	traces := map[string]bool{}
	for _, s := range spansOf(spans, wanted) {
		traces[s.TraceID] = true
		if s.Attributes["arc.trace_id"] != "quarterly report" {
			t.Errorf("%s has the attributes %v", s.Name, s.Attributes)
		}
	}
	if len(traces) != 1 {
		t.Errorf("%d traces", len(traces))
	}
	want := `arcd task.create [server]
  arcd task.run [consumer]
    arcd task.create [server]
      arcd task.run [consumer]
        arcd task.create [client]
          arcd task.create [server]
            arcd task.run [consumer]
              arcd task.create [client]
`
	if diff := cmp.Diff(want, tracetest.Tree(spansOf(spans, wanted))); diff != "" {
		t.Errorf("the picture:\n%s", diff)
	}
}

// spansOf gives the spans with these names.
func spansOf(spans []tracetest.Span, names map[string]bool) []tracetest.Span {
	var picked []tracetest.Span
	for _, s := range spans {
		if names[s.Name] {
			picked = append(picked, s)
		}
	}
	return picked
}

func getenv(r *tracetest.Receiver) func(string) string {
	return func(name string) string {
		for _, pair := range r.Env() {
			if key, value, _ := strings.Cut(pair, "="); key == name {
				return value
			}
		}
		return ""
	}
}

// TestChainIsCanceledAtOnce: cancel at a stops c.
func TestChainIsCanceledAtOnce(t *testing.T) {
	ch := startChain(t, options{})
	task := ch.begin("to be canceled")
	c := ch.client()
	if _, err := c.CancelTask(t.Context(), "a", arc.CancelTaskParams{TaskID: task.ID, Cascade: true}); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ch.stopped:
		if err == nil {
			t.Error("the context of c ended without a cause")
		}
	case <-t.Context().Done():
	}
}

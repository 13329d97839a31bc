package tracing_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/internal/tracing"
	"github.com/arcd-io/arcd/internal/tracing/otlp"
	"github.com/arcd-io/arcd/internal/tracing/tracetest"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// hop is an arcd of a test, without authentication.
type hop struct {
	url    string // of the ARC endpoint
	traces *otlp.Exporter

	mu   sync.Mutex
	seen []http.Header // of calls, oldest first
}

// start starts one. It makes spans in the name of service if receiver is not nil.
func start(t *testing.T, service string, receiver *tracetest.Receiver, agents map[string]methods.Agent) *hop {
	t.Helper()
	h := &hop{}
	if receiver != nil {
		receiver.Setenv(t)
		t.Setenv("OTEL_SERVICE_NAME", service)
		var err error
		if h.traces, err = otlp.Open(t.Context(), otlp.Config{Getenv: os.Getenv, Log: zerolog.Nop()}); err != nil {
			t.Fatal(err)
		}
	}
	db, err := sqlite.Open(t.Context(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	if err != nil {
		t.Fatal(err)
	}
	work, err := methods.New(methods.Config{Store: db, Agents: agents, Tracer: h.traces.Tracer()})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.url = "http://" + listener.Addr().String() + "/arc"
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = work.Run(ctx) })
	running.Go(func() {
		_ = server.New(server.Config{Service: work, InsecureNoAuth: true, Tracer: h.traces.Tracer()}).Serve(ctx, noting{listener, h})
	})
	t.Cleanup(func() {
		stop()
		running.Wait()
		_ = db.Close()
		if err := h.traces.Close(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return h
}

// noting keeps the headers that arrive: the wire is what another server would see.
type noting struct {
	net.Listener
	hop *hop
}

func (n noting) Accept() (net.Conn, error) {
	c, err := n.Listener.Accept()
	return noted{c, n.hop}, err
}

type noted struct {
	net.Conn
	hop *hop
}

func (n noted) Read(b []byte) (int, error) {
	count, err := n.Conn.Read(b)
	head, _, _ := bytes.Cut(b[:count], []byte("\r\n\r\n"))
	if bytes.HasPrefix(head, []byte("POST ")) {
		h := http.Header{}
		for line := range strings.SplitSeq(string(head), "\r\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				h.Add(name, value)
			}
		}
		n.hop.mu.Lock()
		n.hop.seen = append(n.hop.seen, h)
		n.hop.mu.Unlock()
	}
	return count, err
}

// first gives the headers of the first call.
func (h *hop) first() http.Header {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.seen[0]
}

// call makes a call and gives its result.
func (h *hop) call(t *testing.T, body string, header map[string]string) map[string]json.RawMessage {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", arc.MediaJSON)
	for name, value := range header {
		r.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var a struct {
		Result map[string]json.RawMessage
		Error  json.RawMessage
	}
	if err := json.Unmarshal(answer, &a); err != nil || a.Error != nil {
		t.Fatalf("%s\nanswered %s", body, answer)
	}
	return a.Result
}

// createTask is a call of task.create; members go into its envelope.
func createTask(agent, members string) string {
	return `{"jsonrpc":"2.0","id":1,"method":"task.create","targetAgent":"` + agent + `"` + members +
		`,"params":{"initialMessage":{"role":"user","parts":[{"type":"text","content":"hello"}]}}}`
}

// chain starts two servers: a has the agent "far", which is "echo" of b.
func chain(t *testing.T, here, there *tracetest.Receiver) (a, b *hop) {
	t.Helper()
	echo, _ := methods.Demo("echo")
	b = start(t, "b", there, map[string]methods.Agent{"far": echo})
	transport := carrier.NewTransport()
	t.Cleanup(transport.CloseIdleConnections)
	far := carrier.HTTP("far", carrier.HTTPConfig{Endpoint: b.url, Transport: transport}, zerolog.Nop())
	return start(t, "a", here, map[string]methods.Agent{"far": far, "echo": echo}), b
}

// wholeTree is what a task of the agent "far" looks like, without polls.
const wholeTree = `a task.create [server]
  a task.run [consumer]
    a task.create [client]
      b task.create [server]
        b task.run [consumer]
`

// whole waits for these spans, and leaves out how often a asked b for news.
func whole(t *testing.T, receiver *tracetest.Receiver) []tracetest.Span {
	t.Helper()
	spans := receiver.Wait(t, func(spans []tracetest.Span) bool {
		return strings.Count(tracetest.Tree(spans), "task.run") == 2 && slices.ContainsFunc(spans, func(s tracetest.Span) bool {
			return s.Name == "task.run" && s.Service == "a"
		})
	})
	return slices.DeleteFunc(spans, func(s tracetest.Span) bool { return s.Name == "task.info" })
}

// TestChain: one trace across two servers, whatever it began with.
func TestChain(t *testing.T) {
	for label, c := range map[string]struct {
		members, parent string
		trace, traceID  string // "": any
	}{
		"a traceId":           {`,"traceId":"workflow_42"`, "", "68fbc0f74184324eb630dee63a98fa0c", "workflow_42"},
		"a traceparent":       {"", parent, hexID, hexID},
		"both":                {`,"traceId":"workflow_42"`, parent, hexID, "workflow_42"},
		"nothing":             {"", "", "", ""},
		"a malformed one":     {"", parent + "x", "", ""},
		"malformed beside it": {`,"traceId":"workflow_42"`, "00", "68fbc0f74184324eb630dee63a98fa0c", "workflow_42"},
	} {
		t.Run(label, func(t *testing.T) {
			receiver := tracetest.New(t)
			a, b := chain(t, receiver, receiver)
			header := map[string]string{}
			if c.parent != "" {
				header["Traceparent"] = c.parent
			}
			a.call(t, createTask("far", c.members), header)
			spans := whole(t, receiver)
			if diff := cmp.Diff(wholeTree, tracetest.Tree(spans)); diff != "" {
				t.Fatalf("the tree (-want +got):\n%s", diff)
			}
			for _, s := range spans {
				if s.TraceID != spans[0].TraceID || c.trace != "" && s.TraceID != c.trace {
					t.Errorf("%s %s is in the trace %s, want %s", s.Service, s.Name, s.TraceID, c.trace)
				}
				if id := s.Attributes[tracing.Trace]; s.Kind != "client" && (id == "" || c.traceID != "" && id != c.traceID) {
					t.Errorf("%s %s has the traceId %q, want %q", s.Service, s.Name, id, c.traceID)
				}
			}
			if got := spans[0].Parent; c.parent == parent && got != "00f067aa0ba902b7" || c.parent != parent && got != "" {
				t.Errorf("the parent of the first span is %q", got)
			}
			if got := b.first().Get("Baggage"); got != "arc.trace_id="+spans[0].Attributes[tracing.Trace] {
				t.Errorf("the baggage is %q", got)
			}
		})
	}
}

// TestAttributes: what the spans of one task tell.
func TestAttributes(t *testing.T) {
	receiver := tracetest.New(t)
	a, _ := chain(t, receiver, nil)
	a.call(t, createTask("echo", `,"requestAgent":"me","traceId":"workflow_42"`), nil)
	spans := receiver.Wait(t, tracetest.Names("task.create", "task.run"))
	task := spans[0].Attributes[tracing.Task]
	want := []map[string]string{
		{
			"arc.agent": "echo", "arc.request_agent": "me", "arc.task_id": task, "arc.trace_id": "workflow_42",
			"rpc.method": "task.create", "rpc.system.name": "arc", "arc.request_id": spans[0].Attributes["arc.request_id"],
		},
		{"arc.agent": "echo", "arc.request_agent": "me", "arc.task_id": task, "arc.trace_id": "workflow_42", "arc.attempt": "1"},
	}
	for i, s := range spans {
		if diff := cmp.Diff(want[i], s.Attributes); diff != "" || task == "" || s.Failed {
			t.Errorf("%s, failed %v, attributes (-want +got):\n%s", s.Name, s.Failed, diff)
		}
	}
}

// TestFailedCalls: a refusal is told with its code, and names that callers make up are
// no names of spans.
func TestFailedCalls(t *testing.T) {
	receiver := tracetest.New(t)
	fail, _ := methods.Demo("fail")
	a := start(t, "a", receiver, map[string]methods.Agent{"fail": fail})
	call := func(body string) {
		resp, err := http.Post(a.url, arc.MediaJSON, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	call(createTask("nobody", ""))
	call(strings.Replace(createTask("fail", ""), "task.create", "made.up", 1))
	call(createTask("fail", ""))
	spans := receiver.Wait(t, func(s []tracetest.Span) bool { return len(s) == 4 })
	got := map[string]string{}
	for _, s := range spans {
		got[s.Name+" of "+s.Attributes[tracing.Agent]] = s.Attributes["error.type"]
	}
	want := map[string]string{"task.create of nobody": "-41001", "_OTHER of fail": "-32601", "task.create of fail": "", "task.run of fail": got["task.run of fail"]}
	if diff := cmp.Diff(want, got); diff != "" || got["task.run of fail"] == "" {
		t.Errorf("error.type (-want +got):\n%s", diff)
	}
}

// TestThroughOff: a server that makes no spans keeps the trace together.
func TestThroughOff(t *testing.T) {
	for label, c := range map[string]struct{ members, parent, trace, above string }{
		"a traceId":     {`,"traceId":"workflow_42"`, "", "68fbc0f74184324eb630dee63a98fa0c", "5109b834576440a"},
		"a traceparent": {"", parent, hexID, "00f067aa0ba902b7"},
	} {
		receiver := tracetest.New(t)
		a, b := chain(t, nil, receiver)
		header := map[string]string{}
		if c.parent != "" {
			header["Traceparent"] = c.parent
		}
		a.call(t, createTask("far", c.members), header)
		spans := receiver.Wait(t, tracetest.Names("task.create", "task.run"))
		for _, s := range spans {
			if s.TraceID != c.trace || s.Name == "task.create" && !strings.Contains(s.Parent, c.above) {
				t.Errorf("%s: %s %s below %s, want the trace %s", label, s.Name, s.TraceID, s.Parent, c.trace)
			}
		}
		if got := b.first().Get("Traceparent"); !strings.HasPrefix(got, "00-"+c.trace+"-") {
			t.Errorf("%s: the traceparent is %s", label, got)
		}
	}
}

// TestChatTrace: each turn is below the call that it answers, streamed or not, and a
// batch is in the trace of its headers.
func TestChatTrace(t *testing.T) {
	receiver := tracetest.New(t)
	a, _ := chain(t, receiver, nil)
	const message = `{"role":"user","parts":[{"type":"text","content":"hello"}]}`
	result := a.call(t, `{"jsonrpc":"2.0","id":1,"method":"chat.start","targetAgent":"echo","params":{"initialMessage":`+message+`}}`, nil)
	var chat struct{ ChatID string }
	if err := json.Unmarshal(result["chat"], &chat); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url,
		strings.NewReader(`{"jsonrpc":"2.0","id":2,"method":"chat.message","params":{"chatId":"`+chat.ChatID+`","stream":true,"message":`+message+`}}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {arc.MediaJSON}, "Accept": {arc.MediaSSE}, "Traceparent": {parent}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	if events, err := io.ReadAll(resp.Body); err != nil || !bytes.Contains(events, []byte("event: done")) {
		t.Fatalf("%v\n%s", err, events)
	}
	resp.Body.Close()
	batch, err := http.NewRequestWithContext(t.Context(), http.MethodPost, a.url,
		strings.NewReader(`[{"jsonrpc":"2.0","id":3,"method":"chat.end","params":{"chatId":"`+chat.ChatID+`"}}]`))
	if err != nil {
		t.Fatal(err)
	}
	batch.Header = http.Header{"Content-Type": {arc.MediaJSON}, "Traceparent": {parent}}
	if resp, err = http.DefaultClient.Do(batch); err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()

	spans := receiver.Wait(t, func(s []tracetest.Span) bool { return len(s) == 5 })
	want := "a chat.start [server]\n  a chat.turn [internal]\na chat.message [server]\n  a chat.turn [internal]\na chat.end [server]\n"
	if diff := cmp.Diff(want, tracetest.Tree(spans)); diff != "" {
		t.Errorf("the tree (-want +got):\n%s", diff)
	}
	traces := map[string]string{}
	for _, s := range spans {
		traces[s.Name+s.Parent] = s.TraceID
		if s.Attributes[tracing.Chat] != chat.ChatID {
			t.Errorf("%s is of the chat %q", s.Name, s.Attributes[tracing.Chat])
		}
	}
	if traces["chat.message00f067aa0ba902b7"] != hexID || traces["chat.end00f067aa0ba902b7"] != hexID || traces["chat.start"] == hexID {
		t.Errorf("the traces are %v", slices.Sorted(maps.Keys(traces)))
	}
}

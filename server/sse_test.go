package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
)

// gate is an agent that writes a piece for each signal and ends with the last.
type gate struct{ next chan string }

func (g gate) Run(ctx context.Context, t *methods.Turn) error {
	for {
		select {
		case piece, ok := <-g.next:
			if !ok {
				return nil
			}
			if err := t.Write(ctx, piece); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func userText(s string) *arc.Message {
	m := arc.Text(arc.RoleUser, s)
	return &m
}

// open posts a body and gives the answer unread.
func (w *world) open(ctx context.Context, body string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url+"/arc", strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token())
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

const streamedHello = `{"stream":true,` + `"initialMessage":{"role":"user","parts":[{"type":"TextPart","content":"hello"}]}}`

func TestStreamKeepsAlive(t *testing.T) {
	g := gate{make(chan string)}
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		config: func(cfg *server.Config) { cfg.KeepAlive = 20 * time.Millisecond },
	})
	resp := w.open(t.Context(), arcCall("chat.start", "gate", streamedHello))
	lines := bufio.NewReader(resp.Body)
	read := func() string {
		t.Helper()
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("reading the stream: %v", err)
		}
		return line
	}
	for range 2 { // comments between events, as long as nothing else comes
		if got := read() + read(); got != ": keep-alive\n\n" {
			t.Fatalf("got %q, want a keep-alive", got)
		}
	}
	g.next <- "a"
	close(g.next)
	var event string
	for event == "" || event == ": keep-alive\n" || event == "\n" {
		event = read()
	}
	if event != "event: stream\n" {
		t.Errorf("got %q, want the first event", event)
	}
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-cache, no-transform", "X-Accel-Buffering": "no",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	rest, err := io.ReadAll(lines)
	if err != nil || strings.Count(string(rest), "event: done\n") != 1 || strings.Contains(string(rest), "\r") {
		t.Errorf("the rest is %q, %v; want one done event and no CR", rest, err)
	}
}

// cutter breaks the answers to the first requests after some bytes.
type cutter struct {
	mu   sync.Mutex
	cuts []int // one for each answer still to break
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cuts) > 0 {
		resp.Body = &cutBody{resp.Body, c.cuts[0]}
		c.cuts = c.cuts[1:]
	}
	return resp, nil
}

type cutBody struct {
	io.ReadCloser
	left int
}

var errCut = errors.New("cut")

func (b *cutBody) Read(p []byte) (int, error) {
	if b.left == 0 {
		return 0, errCut
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

func TestCutStreamResumesWithoutLossOrDoubles(t *testing.T) {
	w := start(t, options{})
	const whole = "piece 1 piece 2 piece 3 piece 4 piece 5 piece 6 piece 7 piece 8 piece 9 piece 10 "
	for _, jsonrpc := range []bool{false, true} {
		for _, cuts := range [][]int{{200}, {260, 150, 380}, {301, 302, 303}} {
			c := w.client()
			c.JSONRPC = jsonrpc
			c.HTTP = &http.Client{Transport: &cutter{cuts: cuts}}
			var text string
			var names []string
			for ev, err := range c.StreamChat(t.Context(), "stream", arc.StartChatParams{InitialMessage: userText("10")}) {
				if err != nil {
					t.Fatalf("cuts %v: %v", cuts, err)
				}
				names = append(names, ev.Name)
				var chunk arc.ChatChunk
				if ev.Name == "stream" {
					if err := ev.Decode(&chunk); err != nil {
						t.Fatal(err)
					}
				}
				text += chunk.Message.Text()
			}
			if text != whole || names[len(names)-1] != "done" {
				t.Errorf("cuts %v: got %q in %v, want %q", cuts, text, names, whole)
			}
		}
	}
}

func TestCutTaskEventsResume(t *testing.T) {
	w := start(t, options{})
	c := w.client()
	task, err := c.CreateTask(t.Context(), "echo", arc.CreateTaskParams{InitialMessage: userText("x")})
	if err != nil {
		t.Fatal(err)
	}
	follow := func(c *client.Client) []int64 {
		var seqs []int64
		for ev, err := range c.TaskEvents(t.Context(), "echo", arc.TaskEventsParams{TaskID: task.ID}) {
			if err != nil {
				t.Fatal(err)
			}
			if ev.Name == "stream" {
				seqs = append(seqs, ev.Seq)
			}
		}
		return seqs
	}
	want := follow(c)
	cut := w.client()
	cut.HTTP = &http.Client{Transport: &cutter{cuts: []int{100, 400, 20, 700}}}
	if diff := cmp.Diff(want, follow(cut)); diff != "" {
		t.Errorf("events after four cuts (-whole +cut):\n%s", diff)
	}
}

func TestStreamsPerSubject(t *testing.T) {
	g := gate{make(chan string)}
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		config: func(cfg *server.Config) { cfg.Limits.StreamsPerSubject = 1; cfg.KeepAlive = 5 * time.Millisecond },
	})
	ctx, cancel := context.WithCancel(t.Context())
	w.open(ctx, arcCall("chat.start", "gate", streamedHello)) // returns with the first keep-alive
	r := w.do(ask{body: arcCall("chat.start", "gate", streamedHello), token: w.token()})
	if r.status != http.StatusTooManyRequests || code(t, r.body) != int(arc.CodeRateLimited) || r.header.Get("Retry-After") != "1" {
		t.Errorf("a second stream: %+v, want 429 with Retry-After", r)
	}
	cancel()
	w.log.await(t, "request", "status", "200") // the first stream has ended
	close(g.next)
	r = w.do(ask{body: arcCall("chat.start", "stream", streamedHello), token: w.token()})
	if r.status != http.StatusOK {
		t.Errorf("after the first has ended: %+v, want a stream", r)
	}
}

// smallBuffers keeps the kernel from taking much for a reader that does not
// read.
type smallBuffers struct{ net.Listener }

func (l smallBuffers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		err = c.(*net.TCPConn).SetWriteBuffer(4 << 10)
	}
	return c, err
}

func TestSlowReaderIsCut(t *testing.T) {
	w := start(t, options{
		listen: func(l net.Listener) net.Listener { return smallBuffers{l} },
		config: func(cfg *server.Config) { cfg.WriteTimeout = 50 * time.Millisecond },
	})
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.(*net.TCPConn).SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	body := strings.Replace(arcCall("chat.start", "stream", streamedHello), "hello", "10000", 1)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.url+"/arc", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.token())
	if err := req.Write(conn); err != nil {
		t.Fatal(err)
	}
	w.log.await(t, "request", "status", "200") // the handler has given up
	if err := conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(string(rest), "event: done") {
		t.Errorf("the stream went on: %d bytes, %v", len(rest), err)
	}
}

func TestDrainEndsStreamsWithAHint(t *testing.T) {
	g := gate{make(chan string)}
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		config: func(cfg *server.Config) {
			cfg.KeepAlive, cfg.DrainTimeout = 10*time.Millisecond, 100*time.Millisecond
		},
	})
	resp := w.open(t.Context(), arcCall("chat.start", "gate", streamedHello))
	w.stop()
	b, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasSuffix(string(b), "retry: 1000\n\n") {
		t.Errorf("the stream ended as %q, %v; want a retry hint at its end", b, err)
	}
	if err := <-w.served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	w.served <- nil // for the cleanup
}

func TestDrainAnswersUntilTurnsEnd(t *testing.T) {
	g := gate{make(chan string)}
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		config: func(cfg *server.Config) { cfg.KeepAlive = 10 * time.Millisecond },
	})
	socket := w.dial(w.token())
	resp := w.open(t.Context(), arcCall("chat.start", "gate", streamedHello))
	w.stop()
	if _, err := io.ReadAll(resp.Body); err != nil { // ends as the drain begins
		t.Fatal(err)
	}
	r := w.do(ask{method: http.MethodGet, path: "/readyz"})
	if r.status != http.StatusServiceUnavailable || r.body != `{"status":"unavailable","reason":"draining"}` {
		t.Errorf("readyz while draining: %d %s", r.status, r.body)
	}
	r = w.do(ask{body: arcCall("chat.start", "echo", streamedHello), token: w.token()})
	if r.status != http.StatusServiceUnavailable || code(t, r.body) != int(arc.CodeAgentUnavailable) {
		t.Errorf("a new turn while draining: %d %s", r.status, r.body)
	}
	r = w.do(ask{method: http.MethodGet, token: w.token(), header: map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}})
	if r.status != http.StatusServiceUnavailable {
		t.Errorf("a new socket while draining: %d %s", r.status, r.body)
	}
	socket.say(rpcCall("chat.start", "echo", streamedHello))
	if got := socket.hear(); code(t, got) != int(arc.CodeAgentUnavailable) {
		t.Errorf("a new turn on a socket while draining: %s", got)
	}
	close(g.next)
	if err := <-w.served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	w.served <- nil // for the cleanup
}

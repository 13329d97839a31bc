package server_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
)

// TestLeaving begins the end of a server with a delay: it is not ready any more, and
// serves everything in full, over connections that are open and new ones.
func TestLeaving(t *testing.T) {
	g := gate{make(chan string)}
	var listener net.Listener
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		config: func(cfg *server.Config) { cfg.DrainDelay = time.Minute },
		listen: func(l net.Listener) net.Listener {
			listener = l
			return l
		},
	})
	socket := w.dial(w.token())
	stream := w.open(t.Context(), arcCall("chat.start", "gate", streamedHello))
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lines := bufio.NewReader(conn)
	head := func() *http.Response {
		t.Helper()
		if _, err := io.WriteString(conn, "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r, err := http.ReadResponse(lines, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Fatal(err)
		}
		return r
	}
	if r := head(); r.Close {
		t.Fatal("a connection is closed before the end")
	}
	w.stop()
	w.log.await(t, "leaving", "level", "info")

	r := w.do(ask{method: http.MethodGet, path: "/readyz"})
	if r.status != http.StatusServiceUnavailable || r.body != `{"status":"unavailable","reason":"draining"}` {
		t.Errorf("readyz: %d %s", r.status, r.body)
	}
	if r := head(); r.StatusCode != http.StatusOK || !r.Close {
		t.Errorf("on a connection that was open: %d, closed %v; want 200 and closed", r.StatusCode, r.Close)
	}
	if r := w.do(ask{body: arcCall("task.create", "echo", hello), token: w.token()}); r.status != http.StatusOK || code(t, r.body) != 0 {
		t.Errorf("a new task: %d %s", r.status, r.body)
	}
	if r := w.do(ask{body: arcCall("chat.start", "echo", streamedHello), token: w.token()}); r.status != http.StatusOK || !strings.Contains(r.body, "event: done") {
		t.Errorf("a new turn: %d %s", r.status, r.body)
	}
	socket.say(rpcCall("task.create", "echo", hello))
	if got := socket.hear(); code(t, got) != 0 {
		t.Errorf("a call on a socket: %s", got)
	}
	_ = socket.ws.CloseNow()
	_ = w.dial(w.token()).ws.CloseNow() // a new one is taken too
	g.next <- "the answer"
	close(g.next)
	if b, err := io.ReadAll(stream.Body); err != nil || !strings.Contains(string(b), "event: done") {
		t.Errorf("a stream that was open: %q, %v", b, err)
	}
	listener.Close() // it would go on for a minute
	if err := <-w.served; err == nil {
		t.Error("Serve = nil without a listener")
	}
	w.served <- nil // for the cleanup
}

func TestDrainAfterDelay(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.DrainDelay, cfg.KeepAlive = 50*time.Millisecond, 10*time.Millisecond }})
	socket := w.dial(w.token())
	w.stop()
	if status := socket.closed(); status != websocket.StatusGoingAway {
		t.Errorf("the socket was closed with %v, want 1001", status)
	}
	if err := <-w.served; err != nil {
		t.Errorf("Serve = %v, want nil", err)
	}
	w.served <- nil // for the cleanup
	log := w.log.String()
	if leaving, draining := strings.Index(log, `"leaving"`), strings.Index(log, `"draining"`); leaving < 0 || draining < leaving {
		t.Error("the log does not tell of both steps")
	}
}

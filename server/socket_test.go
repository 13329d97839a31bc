package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
)

// talker is a test's end of a socket.
type talker struct {
	t  testing.TB
	ws *websocket.Conn
}

// dial opens a socket; header "Authorization" is set from the token.
func (w *world) dial(token string) talker {
	w.t.Helper()
	ws, resp, err := websocket.Dial(w.t.Context(), w.url+"/arc", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + token}},
	})
	if err != nil {
		w.t.Fatalf("dialing: %v (%v)", err, resp)
	}
	ws.SetReadLimit(1 << 20)
	w.t.Cleanup(func() { _ = ws.CloseNow() })
	return talker{w.t, ws}
}

func (c talker) say(frame string) {
	c.t.Helper()
	if err := c.ws.Write(c.t.Context(), websocket.MessageText, []byte(frame)); err != nil {
		c.t.Fatalf("writing: %v", err)
	}
}

func (c talker) hear() string {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	_, b, err := c.ws.Read(ctx)
	if err != nil {
		c.t.Fatalf("reading: %v", err)
	}
	return string(b)
}

// closed gives the status that the server closed with.
func (c talker) closed() websocket.StatusCode {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, _, err := c.ws.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

func TestSocketAnswersInBothEnvelopes(t *testing.T) {
	w := start(t, options{})
	c := w.dial(w.token())
	for send, want := range map[string]string{
		strings.Replace(arcCall("task.info", "echo", `{"taskId":"t"}`), `"id":1`, `"id":-1.50`, 1):      `{"arc":"1.0","id":-1.50,"responseAgent":"arcd","targetAgent":"tester","result":null,"error":{"code":-42001,"message":"there is no such task","details":{"reason":"task_not_found","retryable":false,"taskId":"t"}}}`,
		strings.Replace(rpcCall("task.info", "echo", `{"taskId":"t"}`), `"id":1`, `"id":"<\u00e9>"`, 1): `{"jsonrpc":"2.0","id":"<\u00e9>","error":{"code":-42001,"message":"there is no such task","data":{"reason":"task_not_found","retryable":false,"taskId":"t"}}}`,
		`{"arc":`:                  `{"arc":"1.0","id":"error","responseAgent":"arcd","targetAgent":"unknown","result":null,"error":{"code":-32700,"message":"the body is not one JSON value in UTF-8","details":{"offset":7,"reason":"parse_error","retryable":false}}}`,
		`{"jsonrpc":"2.0","id":1}`: `{"jsonrpc":"2.0","id":1,"error":{"code":-32600,"message":"the envelope lacks method","data":{"field":"method","issue":"is required","protocolCode":-45002,"reason":"invalid_request","retryable":false}}}`,
		`[{"jsonrpc":"2.0","id":1,"method":"foo"},{"jsonrpc":"2.0","method":"foo"}]`: `[{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"there is no method \"foo\"","data":{"method":"foo","reason":"method_not_found","retryable":false,"supportedMethods":["chat.end","chat.message","chat.start","rpc.discover","task.cancel","task.create","task.deliveries","task.events","task.info","task.list","task.notification","task.replay","task.send","task.subscribe","task.subscriptions","task.unsubscribe"]}}}]`,
	} {
		c.say(send)
		if got := c.hear(); got != want {
			t.Errorf("to %s\ngot  %s\nwant %s", send, got, want)
		}
	}
	// Notifications are not answered; what follows them is.
	c.say(`{"jsonrpc":"2.0","method":"foo"}`)
	c.say(`[{"jsonrpc":"2.0","method":"foo"}]`)
	c.say(rpcCall("task.create", "echo", hello))
	if got := c.hear(); !strings.Contains(got, `"status":"SUBMITTED"`) {
		t.Errorf("task.create gave %s", got)
	}
}

func TestSocketStreams(t *testing.T) {
	w := start(t, options{})
	c := w.dial(w.token())
	params := strings.Replace(streamedHello, "hello", "3", 1)
	for call, form := range map[string]struct{ event, answer string }{
		arcCall("chat.start", "stream", params): {`{"arc":"1.0","id":1,"event":%q,"seq":%d,"data":{`, `{"arc":"1.0","id":1,"responseAgent":"stream","targetAgent":"tester","result":{"chatId":`},
		rpcCall("chat.start", "stream", params): {`{"jsonrpc":"2.0","method":"stream","params":{"id":1,"event":%q,"seq":%d,"data":{`, `{"jsonrpc":"2.0","id":1,"result":{"chatId":`},
	} {
		c.say(call)
		for i := range 4 {
			name := "stream"
			if i == 3 {
				name = "done"
			}
			if got, want := c.hear(), fmt.Sprintf(form.event, name, i+2); !strings.HasPrefix(got, want) || !json.Valid([]byte(got)) {
				t.Errorf("event %d is %s, want %s...", i, got, want)
			}
		}
		if got := c.hear(); !strings.HasPrefix(got, form.answer) || !strings.Contains(got, `"done":true`) {
			t.Errorf("the answer is %s, want %s...", got, form.answer)
		}
	}
	c.say(rpcCall("chat.start", "fail", params))
	if got := c.hear(); code(t, got) != int(arc.CodeTaskFailed) {
		t.Errorf("a failing stream gave %s", got)
	}
}

func TestSocketHandshakeRefusals(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.CORSOrigins = []string{"https://app.example"} }})
	upgrade := map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}
	for label, c := range map[string]struct {
		header map[string]string
		token  string
		status int
	}{
		"no token":     {nil, "", http.StatusUnauthorized},
		"bad token":    {map[string]string{"Authorization": "Bearer x"}, "", http.StatusUnauthorized},
		"other origin": {map[string]string{"Origin": "https://evil.example"}, w.token(), http.StatusForbidden},
		"old version":  {map[string]string{"Sec-WebSocket-Version": "8"}, w.token(), http.StatusBadRequest},
	} {
		header := map[string]string{}
		for _, m := range []map[string]string{upgrade, c.header} {
			for name, value := range m {
				header[name] = value
			}
		}
		r := w.do(ask{method: http.MethodGet, header: header, token: c.token})
		if r.status != c.status || code(t, r.body) == 0 {
			t.Errorf("%s: %d %s, want %d with an ARC error", label, r.status, r.body, c.status)
		}
		if want := c.status == http.StatusUnauthorized; (r.header.Get("WWW-Authenticate") != "") != want {
			t.Errorf("%s: WWW-Authenticate is %q", label, r.header.Get("WWW-Authenticate"))
		}
	}
}

// revocable wraps the standard validator with a deny list of its own.
type revocable struct {
	auth.Validator
	mu      sync.Mutex
	refused *arc.Error // if set, every token is refused so
}

func (v *revocable) Validate(ctx context.Context, token string) (*auth.Principal, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.refused != nil {
		return nil, v.refused
	}
	return v.Validator.Validate(ctx, token)
}

func (v *revocable) refuse(reason string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.refused = arc.Errorf(arc.CodeUnauthenticated, "the token is not valid").With("reason", reason).With("retryable", false)
}

func TestSocketClosesWhenTheTokenIsRevoked(t *testing.T) {
	v := &revocable{}
	w := start(t, options{config: func(cfg *server.Config) {
		v.Validator, cfg.Validator = cfg.Validator, v
		cfg.KeepAlive = 20 * time.Millisecond // the time between two looks too
	}})
	c := w.dial(w.token())
	v.refuse(auth.ReasonKeysUnavailable) // our own trouble closes nothing
	c.say(rpcCall("task.info", "echo", `{"taskId":"t"}`))
	if got := c.hear(); code(t, got) != int(arc.CodeUnauthenticated) {
		t.Errorf("got %s, want a refused call", got)
	}
	v.refuse(auth.ReasonRevoked)
	if status := c.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
}

func TestSocketJudgesEachCall(t *testing.T) {
	v := &revocable{}
	w := start(t, options{config: func(cfg *server.Config) { v.Validator, cfg.Validator = cfg.Validator, v }})
	c := w.dial(w.token())
	v.refuse(auth.ReasonRevoked)
	c.say(`[` + rpcCall("task.info", "echo", `{"taskId":"t"}`) + `]`)
	if got := c.hear(); !strings.Contains(got, `-44001`) {
		t.Errorf("got %s, want a refused call", got)
	}
	if status := c.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
}

func TestSocketClosesWhenTheTokenExpires(t *testing.T) {
	w := start(t, options{auth: func(cfg *auth.Config) { cfg.Leeway = time.Millisecond }})
	claims := w.issuer.Claims(audience, time.Now())
	claims["exp"] = time.Now().Add(1200*time.Millisecond).Unix() + 1
	c := w.dial(w.issuer.Mint(t, "ES256", claims))
	if status := c.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
}

func TestSocketLimits(t *testing.T) {
	g := gate{make(chan string)}
	w := start(t, options{
		agents: map[string]methods.Agent{"gate": {Runner: g}},
		config: func(cfg *server.Config) {
			cfg.Limits.BodyBytes, cfg.Limits.SocketCalls, cfg.Limits.StreamsPerSubject = 1000, 1, 2
		},
	})
	c := w.dial(w.token())
	c.say(rpcCall("chat.start", "gate", hello)) // takes the one slot until the gate opens
	c.say(strings.Replace(rpcCall("task.info", "echo", `{"taskId":"t"}`), `"id":1`, `"id":2`, 1))
	if got := c.hear(); code(t, got) != int(arc.CodeRateLimited) || !strings.Contains(got, `"id":2`) {
		t.Errorf("a second call at once gave %s", got)
	}
	c.say(`[` + rpcCall("a", "echo", `{}`) + `,1,{"jsonrpc":"2.0","method":"x"}]`)
	if got := c.hear(); strings.Count(got, "-44007") != 1 || strings.Count(got, "-32600") != 1 {
		t.Errorf("a batch at once gave %s", got)
	}
	close(g.next)
	if got := c.hear(); !strings.Contains(got, `"result"`) {
		t.Errorf("the first call gave %s", got)
	}
	w.dial(w.token())
	r := w.do(ask{method: http.MethodGet, token: w.token(), header: map[string]string{
		"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
	}})
	if r.status != http.StatusTooManyRequests {
		t.Errorf("a third socket: %d %s, want 429", r.status, r.body)
	}
	c.say(strings.Repeat(" ", 2000))
	if status := c.closed(); status != websocket.StatusMessageTooBig {
		t.Errorf("a large frame closed with %v, want 1009", status)
	}
}

func TestSocketTakesTextOnly(t *testing.T) {
	w := start(t, options{})
	c := w.dial(w.token())
	if err := c.ws.Write(t.Context(), websocket.MessageBinary, []byte("{}")); err != nil {
		t.Fatal(err)
	}
	if status := c.closed(); status != websocket.StatusUnsupportedData {
		t.Errorf("closed with %v, want 1003", status)
	}
}

func TestSocketIsPinged(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.KeepAlive = 10 * time.Millisecond }})
	pinged := make(chan struct{}, 100)
	ws, _, err := websocket.Dial(t.Context(), w.url+"/arc", &websocket.DialOptions{
		HTTPHeader:     http.Header{"Authorization": {"Bearer " + w.token()}},
		OnPingReceived: func(context.Context, []byte) bool { pinged <- struct{}{}; return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	ctx := ws.CloseRead(t.Context())
	for range 3 {
		select {
		case <-pinged:
		case <-ctx.Done():
			t.Fatal("the socket closed")
		}
	}
}

func TestSocketSlowReaderIsCut(t *testing.T) {
	w := start(t, options{
		listen: func(l net.Listener) net.Listener { return smallBuffers{l} },
		config: func(cfg *server.Config) { cfg.WriteTimeout = 50 * time.Millisecond },
	})
	dialer := &net.Dialer{}
	ws, _, err := websocket.Dial(t.Context(), w.url+"/arc", &websocket.DialOptions{
		HTTPHeader: http.Header{"Authorization": {"Bearer " + w.token()}},
		HTTPClient: &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := dialer.DialContext(ctx, network, address)
				if err == nil {
					err = conn.(*net.TCPConn).SetReadBuffer(4 << 10)
				}
				return conn, err
			},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	call := strings.Replace(rpcCall("chat.start", "stream", streamedHello), "hello", "10000", 1)
	if err := ws.Write(t.Context(), websocket.MessageText, []byte(call)); err != nil {
		t.Fatal(err)
	}
	w.log.await(t, "request", "status", "101") // the socket's end is logged
}

func TestDrainClosesSockets(t *testing.T) {
	w := start(t, options{})
	c := w.dial(w.token())
	w.stop()
	if status := c.closed(); status != websocket.StatusGoingAway {
		t.Errorf("closed with %v, want 1001", status)
	}
}

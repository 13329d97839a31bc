package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
)

const (
	// dialTime is how long a connection may take to be made.
	dialTime = 30 * time.Second
	// replyTime is how long a call of the agent's own may take on a connection, and a
	// frame to be written.
	replyTime = 30 * time.Second
)

// connect makes a connection and has it serve. refused is a token that must not be
// used any more, "" if there is none.
func (a *Agent) connect(ctx context.Context, refused *string) (*agentConn, error) {
	dialing, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	x := &exchange{name: serveMethod, url: a.Client.endpoint(), tokens: a.Client.Token}
	token, err := a.Client.bearer(dialing, x, *refused)
	if err != nil {
		return nil, err
	}
	c := newAgentConn(a, token)
	err = c.dial(dialing)
	if errors.Is(err, arc.ErrExpired) && *refused == "" {
		fresh, failed := a.Client.bearer(dialing, x, token)
		switch {
		case errors.Is(failed, ErrNoNewToken):
			return nil, err // the refusal says more
		case failed != nil:
			return nil, failed
		}
		c = newAgentConn(a, fresh)
		err = c.dial(dialing)
	}
	if err != nil {
		return nil, err
	}
	*refused = ""
	if err := c.serve(dialing, a.IDs); err != nil {
		c.close(websocket.StatusNormalClosure, "")
		return nil, err
	}
	if a.Served != nil {
		a.Served()
	}
	return c, nil
}

// dial makes the WebSocket.
func (c *agentConn) dial(ctx context.Context) error {
	web, err := c.agent.Client.web()
	if err != nil {
		return err
	}
	header := http.Header{}
	if c.token != "" {
		header.Set("Authorization", "Bearer "+c.token)
	}
	ws, resp, err := websocket.Dial(ctx, c.agent.Client.endpoint(), &websocket.DialOptions{
		HTTPClient: web, HTTPHeader: header,
		OnPingReceived: func(context.Context, []byte) bool { c.heard(); return true },
	})
	if err != nil {
		return dialError(resp, err)
	}
	ws.SetReadLimit(c.agent.Client.maxAnswer())
	c.begin(ws)
	return nil
}

// dialError tells why there is no WebSocket: what the server says, if it says
// something.
func dialError(resp *http.Response, err error) error {
	if resp == nil || resp.StatusCode == http.StatusSwitchingProtocols {
		return broken(err)
	}
	var body []byte
	if resp.Body != nil {
		body, _ = io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
		_ = resp.Body.Close()
	}
	if resp.StatusCode < http.StatusMultipleChoices {
		return fmt.Errorf("%w: HTTP status %d", errNoSocket, resp.StatusCode)
	}
	failure := refusal(resp, body)
	if resp.StatusCode < http.StatusInternalServerError && !transientStatus(resp.StatusCode) && !final(failure) {
		return fmt.Errorf("%w: %w", errNoSocket, failure)
	}
	return failure
}

// serve says which agents the connection serves from now on.
func (c *agentConn) serve(ctx context.Context, ids []string) error {
	var result struct {
		HeartbeatMs int64 `json:"heartbeatMs"`
		MaxBytes    int64 `json:"maxBytes"`
	}
	if ids == nil {
		ids = []string{}
	}
	params := map[string]any{"agents": ids, "capacity": c.agent.capacity()}
	if err := c.call(ctx, serveMethod, "", params, &result); err != nil {
		return err
	}
	c.promised(time.Duration(result.HeartbeatMs)*time.Millisecond, result.MaxBytes)
	return nil
}

// serveMethod is the extension by which an agent says what it serves.
const serveMethod = "agent.serve"

// closedError tells why a connection has ended.
func (c *agentConn) closedError(err error) error {
	var frame websocket.CloseError
	if !errors.As(err, &frame) {
		if c.silent.Load() {
			return &brokenError{arc.ErrTimeout, errors.New("the server has not been heard of for too long")}
		}
		return broken(fmt.Errorf("%w: %w", ErrLost, err))
	}
	if reason, ok := strings.CutPrefix(frame.Reason, "token refused: "); ok && frame.Code == websocket.StatusPolicyViolation {
		c.refused = c.token
		code := arc.CodeUnauthenticated
		if reason == "expired" {
			code = arc.CodeTokenExpired
		}
		return arc.Errorf(code, "the server does not take the token any more").With("reason", excerpt(reason, c.token)).With("retryable", false)
	}
	return &brokenError{arc.ErrUnavailable, fmt.Errorf("the server closed the connection: %d %s", frame.Code, excerpt(frame.Reason, c.token))}
}

// agentFrames is the [jsonrpc2.ObjectStream] of a connection. Calls of the server
// reach jsonrpc2 with their id only; the params are the raw text, of which it would
// change the order of members, and which says more than it knows.
type agentFrames struct {
	c  *agentConn
	in json.RawMessage // the call that was read last
}

// ReadObject reads a message. What is none is skipped: the server may say more in
// time than this client understands.
func (f *agentFrames) ReadObject(v any) error {
	for {
		_, text, err := f.c.ws.Read(f.c.ctx)
		if err != nil {
			f.c.ended(err)
			return err
		}
		f.c.heard()
		var head struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		if json.Unmarshal(text, &head) != nil {
			continue
		}
		if head.Method == "" {
			if json.Unmarshal(text, v) == nil {
				return nil
			}
			continue
		}
		f.in = text
		stand := `{"method":"call"}`
		if len(head.ID) > 0 {
			stand = `{"method":"call","id":` + string(head.ID) + `}`
		}
		if json.Unmarshal([]byte(stand), v) == nil {
			return nil
		}
	}
}

// received puts the text of a call in.
func (f *agentFrames) received(req *jsonrpc2.Request, resp *jsonrpc2.Response) {
	if resp == nil {
		text := f.in
		req.Params = &text
	}
}

// WriteObject writes a message.
func (f *agentFrames) WriteObject(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(f.c.ctx, replyTime)
	defer cancel()
	return f.c.ws.Write(ctx, websocket.MessageText, b)
}

// Close ends the connection without a goodbye.
func (f *agentFrames) Close() error { return f.c.ws.CloseNow() }

// silentLog drops the log lines of jsonrpc2.
type silentLog struct{}

// Printf drops the line.
func (silentLog) Printf(string, ...any) {}

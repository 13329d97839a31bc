package server

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/coder/websocket"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/rpc"
)

// socket carries calls over one WebSocket, each frame one body. The token is
// checked before the upgrade, again with each frame, and by the guard; when it is
// no longer good the socket closes with 1008.
type socket struct {
	server    *Server
	ws        *websocket.Conn
	conn      *jsonrpc2.Conn
	token     string // "" without authentication
	remote    string
	requestID string

	inFlight chan struct{} // one slot taken per running call
	agent    service       // for an agent at the other end
}

// socket upgrades GET /arc.
//
//	socket
//	├─ authenticate, slots       401, 429, 503
//	├─ websocket.Accept          400, 403 (origin)
//	├─ jsonrpc2.Conn             reads frames, calls Handle
//	│  ├─ Handle → answer        one goroutine per call, bounded
//	│  └─ answers to Call        if an agent serves here
//	└─ watch                     ping, token, end; on this goroutine
func (s *Server) socket(w *response, r *http.Request) {
	c := &socket{
		server: s, remote: r.RemoteAddr, requestID: w.requestID,
		inFlight: make(chan struct{}, s.cfg.Limits.SocketCalls),
	}
	principal, err := s.authenticate(r.Context(), r.Header, w.requestID)
	if err != nil {
		s.auditRefusal(w, r, &arc.Request{Method: "(socket)"}, err)
		s.problem(w, r, err)
		return
	}
	c.token = s.bearer(r.Header)
	owner := principal.Owner()
	if !s.sockets.take(owner) {
		s.problem(w, r, tooMany("sockets", s.sockets.most))
		return
	}
	defer s.sockets.give(owner)
	if !s.enterSocket() {
		s.problem(w, r, goingAway())
		return
	}
	defer s.socketWork.Done()
	if c.ws = s.upgrade(w, r); c.ws != nil {
		s.cfg.Metrics.socketOpened(1)
		defer s.cfg.Metrics.socketOpened(-1)
		c.run(principal)
	}
}

// goingAway refuses what would outlive the server: another one, or this one
// restarted, will take it.
func goingAway() *arc.Error {
	e := arc.Errorf(arc.CodeAgentUnavailable, "the server is going down").
		With("reason", "draining").With("retryable", true)
	e.RetryAfter = time.Second
	return e
}

// enterSocket counts one more socket, unless the server drains.
func (s *Server) enterSocket() bool {
	s.socketMu.Lock()
	defer s.socketMu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.socketWork.Add(1)
	return true
}

// upgrade makes the WebSocket; nil if the handshake was refused, which is then
// answered.
func (s *Server) upgrade(w *response, r *http.Request) *websocket.Conn {
	refusal := &upgradeRefusal{ResponseWriter: w}
	ws, err := websocket.Accept(refusal, r, &websocket.AcceptOptions{
		OriginPatterns:     s.cfg.CORSOrigins,
		InsecureSkipVerify: slices.Contains(s.cfg.CORSOrigins, "*"),
	})
	if err != nil {
		s.problemStatus(w, r, max(refusal.status, http.StatusBadRequest),
			arc.Errorf(arc.CodeInvalidRequest, "the WebSocket handshake was refused").
				With("retryable", false).Because(err))
		return nil
	}
	ws.SetReadLimit(s.cfg.Limits.BodyBytes)
	return ws
}

// upgradeRefusal keeps the plain text with which a handshake is refused from
// the wire; the refusal is then sent as JSON.
type upgradeRefusal struct {
	http.ResponseWriter
	status int // of the refusal
}

// Unwrap lets the handshake take over the connection.
func (w *upgradeRefusal) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader passes on the switch of protocols only.
func (w *upgradeRefusal) WriteHeader(status int) {
	if status >= http.StatusBadRequest {
		w.status = status
		return
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write drops the text of a refusal.
func (w *upgradeRefusal) Write(b []byte) (int, error) {
	if w.status != 0 {
		return len(b), nil
	}
	return w.ResponseWriter.Write(b)
}

// run serves the socket until it ends.
func (c *socket) run(principal *auth.Principal) {
	// Not below socketCtx: its end is for watch, which says goodbye first.
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c.agent.ctx, c.agent.end = context.WithCancelCause(ctx)
	defer c.agent.end(nil)
	frames := &frames{
		ctx: ctx, ws: c.ws, timeout: c.server.cfg.WriteTimeout, started: make(chan struct{}),
		calls: &c.agent.calls, limits: rpc.Limits{Depth: c.server.cfg.Limits.Depth},
	}
	c.conn = jsonrpc2.NewConn(ctx, frames, c, jsonrpc2.SetLogger(quiet{}),
		jsonrpc2.OnRecv(frames.received), jsonrpc2.OnSend(frames.sending))
	close(frames.started)
	held, leave := c.server.holdOpen(ctx, principal, c.token, c.requestID)
	defer leave()
	status, reason := c.watch(held)
	c.agent.leave() // before the goodbye, for which the peer may take its time
	if status != 0 {
		_ = c.ws.Close(status, reason) // fails only if the peer is gone already
	}
	_ = c.conn.Close()
	cancel()
	c.agent.calls.close()
	c.agent.says.Wait()
	for range cap(c.inFlight) { // until every call has ended
		c.inFlight <- struct{}{}
	}
}

// watch pings the peer until the socket ends, or held: then the token is no
// longer good. It gives the status to close with, 0 if the peer is gone.
func (c *socket) watch(held context.Context) (websocket.StatusCode, string) {
	ping := time.NewTicker(c.server.cfg.KeepAlive)
	defer ping.Stop()
	moving := c.server.moving
	for {
		select {
		case <-moving:
			moving = nil
			c.move()
		case <-c.conn.DisconnectNotify():
			return 0, ""
		case <-c.server.socketCtx.Done():
			return websocket.StatusGoingAway, "the server is going down"
		case <-held.Done():
			return websocket.StatusPolicyViolation, closeReason(refusalOf(held))
		case <-ping.C:
			ctx, cancel := c.server.writing(held)
			err := c.ws.Ping(ctx)
			cancel()
			if err != nil && held.Err() == nil {
				return 0, ""
			}
		}
	}
}

// principal judges the socket's token anew.
func (c *socket) principal(ctx context.Context) (*auth.Principal, *arc.Error) {
	if c.token == "" {
		return c.server.anonymous, nil
	}
	return c.server.validate(ctx, c.token, c.requestID)
}

// closeReason is what the close frame says: the stable word, which fits into
// its 123 bytes.
func closeReason(err *arc.Error) string {
	if err == nil { // of a context that ended for want of the connection
		return ""
	}
	return "token refused: " + err.Reason()
}

package server

import (
	"context"
	"net/http"
	"time"

	"github.com/coder/websocket"
	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/rpc"
)

// agentSocketCall names the socket in the audit lines.
const agentSocketCall = "(agents socket)"

// agentSocket is GET /agents/ws: the list of all agents, now and after every
// change (contract section 1.6). The token comes in the first frame, since the
// published client sends it there; it is judged again as long as the socket is
// open.
//
//	server  {"type":"auth_required", …}
//	client  {"token":"…"}                      within ReadTimeout
//	server  {"type":"auth_success", …}         or auth_error, and close 1008
//	server  [{agent}, …]                       a bare list, at most one a second
//	server  {"type":"list_truncated", …}       if they did not all go into a frame
func (s *Server) agentSocket(w *response, r *http.Request) {
	s.textSocket(w, r, s.agentPlaces, func(ctx context.Context, c *textSocket) (websocket.StatusCode, string) {
		return (&agentSocket{textSocket: c}).run(ctx)
	})
}

// agentSocket is one WebSocket of GET /agents/ws.
type agentSocket struct {
	*textSocket
	token       string
	fingerprint string // of the client: of the handshake, or else of the first frame
}

func (c *agentSocket) run(ctx context.Context) (websocket.StatusCode, string) {
	s := c.server
	if !c.send(ctx, s.notice(notice{Type: "auth_required", Message: "Send your token: {\"token\": \"…\"}"})) {
		return 0, ""
	}
	frame, refusal := c.credentials(ctx)
	if refusal == nil && frame == nil {
		return 0, ""
	}
	var p *auth.Principal
	if refusal == nil {
		refusal = c.readCredentials(frame)
	}
	if refusal == nil {
		p, refusal = c.admit(ctx)
	}
	switch {
	case s.socketCtx.Err() != nil:
		return websocket.StatusGoingAway, "the server is going down"
	case refusal != nil:
		return c.refuse(ctx, p, refusal)
	}
	s.audit(c.request.RemoteAddr, &rpc.Call{Request: arc.Request{Method: agentSocketCall}, Principal: p, RequestID: c.requestID}, nil)
	held, leave := s.guard.enter(ctx, p.Expires, func(ctx context.Context) *arc.Error {
		_, refusal := c.admit(ctx)
		return refusal
	})
	defer leave()
	if !c.send(held, s.notice(notice{Type: "auth_success", Message: "Authentication successful"})) {
		return 0, ""
	}
	return c.feed(held, feed{list: s.agentRoster, first: true, answer: c.answer})
}

// credentials waits for the frame with the token; nil without a refusal: the peer
// is gone.
func (c *agentSocket) credentials(ctx context.Context) ([]byte, *arc.Error) {
	patience := time.NewTimer(c.server.cfg.ReadTimeout)
	defer patience.Stop()
	for {
		select {
		case frame, ok := <-c.in:
			if !ok {
				return nil, nil
			}
			reply, ok := c.server.pong(frame)
			if !ok {
				return frame, nil
			}
			c.reply(ctx, reply)
		case <-patience.C:
			return nil, arc.Refuse(arc.ProblemAuthentication, "auth_required", "No token came in time")
		case <-c.server.socketCtx.Done():
			return nil, goingAway()
		}
	}
}

// readCredentials takes the token out of a frame.
func (c *agentSocket) readCredentials(frame []byte) *arc.Error {
	var p struct {
		Token       string `json:"token"`
		Fingerprint string `json:"fingerprint"`
	}
	if err := jsonv2.Unmarshal(frame, &p); err != nil {
		return arc.Refuse(arc.ProblemAuthentication, "auth_required", "The first frame must be a JSON object with the member token").Because(err)
	}
	if p.Token == "" && c.server.anonymous == nil {
		return arc.Refuse(arc.ProblemAuthentication, "auth_required", "Token required")
	}
	c.token, c.fingerprint = p.Token, p.Fingerprint
	if h := fingerprint(c.request.Header); h != "" {
		c.fingerprint = h
	}
	return nil
}

// admit judges the token, and whether its holder may read lists.
func (c *agentSocket) admit(ctx context.Context) (p *auth.Principal, refusal *arc.Error) {
	s := c.server
	defer func() {
		if cause := recover(); cause != nil { // of a validator that is not ours
			p, refusal = nil, s.panicked(cause, agentSocketCall, c.requestID)
		}
	}()
	caller := &registry.Caller{Remote: remote(c.request), RequestID: c.requestID, Fingerprint: c.fingerprint}
	err := error(nil)
	if c.token == "" {
		caller.Principal = s.anonymous
	} else {
		caller.Principal, err = s.judge(ctx, c.token, c.requestID)
	}
	if err == nil {
		err = s.cfg.Registry.Admit(caller, registry.Reader)
	}
	if err != nil {
		return caller.Principal, s.public(err, c.requestID)
	}
	return caller.Principal, nil
}

// refuse tells the peer why it may not read here, and the logs.
func (c *agentSocket) refuse(ctx context.Context, p *auth.Principal, refusal *arc.Error) (websocket.StatusCode, string) {
	s := c.server
	call := arc.Request{Method: agentSocketCall}
	if p != nil {
		s.audit(c.request.RemoteAddr, &rpc.Call{Request: call, Principal: p, RequestID: c.requestID}, refusal)
	} else {
		s.auditRefusal(&response{requestID: c.requestID}, c.request, &call, refusal)
	}
	s.cfg.Registry.Refused(&registry.Caller{Principal: p, Remote: remote(c.request), RequestID: c.requestID}, "GET /agents/ws", refusal)
	c.send(ctx, s.notice(notice{Type: "auth_error", Message: refusal.Message, ErrorCode: refusal.ErrorCode()}))
	return websocket.StatusPolicyViolation, closeReason(refusal)
}

// answer gives the reply to a frame of a peer that is known.
func (c *agentSocket) answer(frame []byte) []byte {
	if reply, ok := c.server.pong(frame); ok {
		return reply
	}
	return c.server.unknown(frame)
}

// agentListFrames are the frames with all agents: one bare list. What does not go
// into it is left out, and a second frame says so.
func (s *Server) agentListFrames() [][]byte {
	all := s.cfg.Registry.List(registry.Filter{})
	sent, list, err := fitting(all)
	if err != nil {
		s.log.Error().Str("event", "internal").Err(err).Msg("the list of agents does not encode")
		return nil
	}
	if len(sent) == len(all) {
		return [][]byte{list}
	}
	return [][]byte{list, s.notice(notice{
		Type: "list_truncated", Message: "The list is too long for one frame; GET /agents has all of it",
		Data: map[string]int{"sent": len(sent), "total_count": len(all)},
	})}
}

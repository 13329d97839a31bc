package server

import (
	"context"
	"fmt"
	"net/http"
	"runtime/debug"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/rpc"
)

// invoke makes one call and writes its audit line.
func (s *Server) invoke(ctx context.Context, remote string, c *rpc.Call) (result any, failure *arc.Error) {
	result, failure = s.dispatch(ctx, c)
	s.audit(remote, c, failure)
	return result, failure
}

// dispatch makes one call, whatever transport it came by. A panic of a method
// becomes -32603.
func (s *Server) dispatch(ctx context.Context, c *rpc.Call) (result any, failure *arc.Error) {
	start := s.cfg.Now()
	ctx, span := s.trace(ctx, c)
	defer func() {
		if cause := recover(); cause != nil {
			result, failure = nil, s.panicked(cause, c.Method, c.RequestID)
		}
		result = traced(span, c, result, failure)
		s.cfg.Metrics.call(c.Method, failure, s.cfg.Now().Sub(start))
	}()
	if refusal := s.limit(ctx, c.Principal); refusal != nil {
		return nil, refusal
	}
	result, err := s.mux.Dispatch(ctx, c)
	if err != nil {
		return nil, s.public(err, c.RequestID)
	}
	return result, nil
}

// panicked makes the answer of a method's panic, whose cause and stack go to
// the log.
func (s *Server) panicked(cause any, method, requestID string) *arc.Error {
	s.log.Error().Str("event", "panic").Str("request_id", requestID).Str("method", method).
		Any("panic", cause).Bytes("stack", debug.Stack()).Msg("a method panicked")
	return s.public(fmt.Errorf("%s panicked", method), requestID)
}

// audit writes the one line that says how access was judged: who, what, and
// why not. It never holds the token; the token's id goes in hashed.
func (s *Server) audit(remote string, c *rpc.Call, failure *arc.Error) {
	if line := s.log.Info(); line.Enabled() {
		s.judged(line.Str("remote", host(remote)), c, failure).Send()
	}
}

// judged puts what an audit line says into line.
func (s *Server) judged(line *zerolog.Event, c *rpc.Call, failure *arc.Error) *zerolog.Event {
	p := c.Principal
	line.Str("event", "access").Str("request_id", c.RequestID).
		Str("provider", p.Provider).Str("sub", p.Subject).Str("client_id", p.ClientID)
	if p.TokenID != "" {
		line.Str("jti_hash", auth.TokenIDHash(p.TokenID))
	}
	line.Str("kid", p.KeyID).Str("alg", p.Alg)
	return verdict(line, &c.Request, failure)
}

// auditRefusal is the line for a call that never got a principal.
func (s *Server) auditRefusal(w *response, r *http.Request, q *arc.Request, failure *arc.Error) {
	line := s.log.Info()
	if line == nil || !line.Enabled() {
		return
	}
	verdict(line.Str("event", "access").Str("request_id", w.requestID).Str("remote", remote(r)), q, failure).Send()
}

// verdict puts the judgement into line. A failure of the method itself is no
// refusal.
func verdict(line *zerolog.Event, q *arc.Request, failure *arc.Error) *zerolog.Event {
	line.Str("method", q.Method).Str("agent", q.To).Str("request_agent", q.From)
	if q.TraceID != "" {
		line.Str("trace_id", q.TraceID)
	}
	if failure == nil || !failure.Code.Access() && !failure.Code.Envelope() {
		return line.Str("verdict", "allow")
	}
	line.Str("verdict", "deny").Int("code", int(failure.Code)).Str("reason", failure.Reason())
	if cause := failure.Unwrap(); cause != nil {
		line.Str("cause", cause.Error())
	}
	return line
}

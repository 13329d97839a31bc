package server

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/coder/websocket"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/rpc"
)

// Handle takes one frame. It never waits, or pongs and the end of the
// connection would not be seen: what is too much at once is refused.
func (c *socket) Handle(ctx context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	body := []byte(*req.Params)
	select {
	case c.inFlight <- struct{}{}:
		go func() { // run waits for the slot
			defer func() { <-c.inFlight }()
			defer c.recover()
			c.answer(ctx, body)
		}()
	default:
		batch := c.decode(body)
		c.refuseAll(ctx, &batch, tooMany("calls", cap(c.inFlight)))
	}
}

// recover ends the socket, not the process, when a validator panics.
func (c *socket) recover() {
	if cause := recover(); cause != nil {
		c.server.panicked(cause, "(socket)", c.requestID)
		_ = c.ws.Close(websocket.StatusInternalError, "an internal error occurred")
	}
}

// decode reads a frame by the rules for bodies.
func (c *socket) decode(body []byte) rpc.Batch {
	limits := c.server.cfg.Limits
	return rpc.Decode(body, rpc.Limits{Depth: limits.Depth, Batch: limits.Batch})
}

// answer makes the call or calls of one frame.
func (c *socket) answer(ctx context.Context, body []byte) {
	s := c.server
	batch := c.decode(body)
	first := &batch.Items[0]
	if !batch.Array && first.Err != nil {
		c.reply(ctx, &first.Request, nil, first.Err)
		return
	}
	principal, err := c.principal(ctx)
	if err != nil {
		c.refuseAll(ctx, &batch, err)
		if final(err) {
			_ = c.ws.Close(websocket.StatusPolicyViolation, closeReason(err))
		}
		return
	}
	if !batch.Array {
		c.single(ctx, body, &first.Request, principal)
		return
	}
	b := []byte{'['}
	for i := range batch.Items {
		b = s.appendAnswer(ctx, b, &batch.Items[i], principal, nil, c.remote, c.requestID)
	}
	if len(b) > 1 {
		c.send(ctx, append(b, ']'))
	}
}

// refuseAll answers every call of a frame with one error.
func (c *socket) refuseAll(ctx context.Context, batch *rpc.Batch, err *arc.Error) {
	b := []byte{}
	if batch.Array {
		b = append(b, '[')
	}
	empty := len(b)
	for i := range batch.Items {
		item := &batch.Items[i]
		failure := err
		if item.Err != nil {
			failure = item.Err
		} else if item.Request.ID == "" {
			continue
		}
		if len(b) > empty {
			b = append(b, ',')
		}
		b, _ = c.server.encode(b, &item.Request, nil, failure, c.requestID)
	}
	if len(b) == empty {
		return
	}
	if batch.Array {
		b = append(b, ']')
	}
	c.send(ctx, b)
}

// single makes the one call of a frame and answers it; a stream's events go out as
// frames of their own before the answer.
func (c *socket) single(ctx context.Context, frame []byte, q *arc.Request, p *auth.Principal) {
	s := c.server
	if c.serves(q) {
		call := &rpc.Call{Request: *q, Principal: p, RequestID: c.requestID}
		result, err := c.serve(ctx, call)
		if q.ID != "" {
			c.reply(ctx, q, result, err)
		}
		return
	}
	call := &rpc.Call{
		Request: *q, Principal: p, RequestID: c.requestID,
		Streaming: q.ID != "", Tick: s.cfg.KeepAlive, Gap: s.cfg.EventGap,
	}
	var parent string
	parent, call.Hops = beside(frame)
	inTrace(call, parent, "")
	if wantsStream(call) {
		if !s.streams.take(p.Owner()) {
			c.reply(ctx, q, nil, tooMany("streams", s.streams.most))
			return
		}
		defer s.streams.give(p.Owner())
	}
	result, err := s.invoke(ctx, c.remote, call)
	if stream, ok := result.(rpc.Stream); ok && err == nil {
		result, err = c.stream(ctx, q, stream)
	}
	if q.ID != "" {
		q.From = call.From
		c.reply(ctx, q, result, err)
	}
}

// beside reads what stands beside params on a socket, and in headers over HTTP: where
// the work comes from that a call is made for.
func beside(frame []byte) (traceParent string, hops int) {
	if !bytes.Contains(frame, []byte(`"traceparent"`)) && !bytes.Contains(frame, []byte(`"hops"`)) {
		return "", 0
	}
	var members struct {
		TraceParent any `json:"traceparent"`
		Hops        any `json:"hops"`
	}
	if jsonv2.Unmarshal(frame, &members) != nil {
		return "", 0
	}
	traceParent, _ = members.TraceParent.(string)
	n, _ := members.Hops.(float64)
	return traceParent, int(min(max(n, 0), 1<<15))
}

// stream sends the events and gives the data of the last one, which is the
// call's result.
func (c *socket) stream(ctx context.Context, q *arc.Request, stream rpc.Stream) (last any, failure *arc.Error) {
	defer func() {
		if cause := recover(); cause != nil {
			last, failure = nil, c.server.panicked(cause, q.Method, c.requestID)
		}
	}()
	for event, err := range stream {
		if err != nil {
			return nil, c.server.public(err, c.requestID)
		}
		if event.Name == "" {
			continue // pings keep a socket alive
		}
		frame, err := eventFrame(q, &event)
		if err != nil {
			return nil, c.server.public(err, c.requestID)
		}
		if !c.send(ctx, frame) {
			break
		}
		if event.Name == "done" {
			return event.Data, nil
		}
	}
	return nil, goingAway()
}

// eventFrame is one event on a socket: a notification in JSON-RPC, a frame with
// the call's id in ARC.
func eventFrame(q *arc.Request, event *rpc.StreamEvent) ([]byte, error) {
	inner := struct {
		ID    json.RawMessage `json:"id"`
		Event string          `json:"event"`
		Seq   int64           `json:"seq,omitempty"`
		Data  any             `json:"data"`
	}{json.RawMessage(q.ID), event.Name, event.Seq, event.Data}
	if q.Dialect == arc.ARC {
		b, err := rpc.AppendJSON([]byte(`{"arc":"`+arc.Version+`",`), inner)
		return slices.Delete(b, len(`{"arc":"1.0",`), len(`{"arc":"1.0",{`)), err
	}
	b, err := rpc.AppendJSON([]byte(`{"jsonrpc":"2.0","method":"stream","params":`), inner)
	return append(b, '}'), err
}

// reply sends the answer to one call.
func (c *socket) reply(ctx context.Context, q *arc.Request, result any, err *arc.Error) {
	b, _ := c.server.encode(nil, q, result, err, c.requestID)
	c.send(ctx, b)
}

// send writes one finished frame; false if the peer is gone or too slow.
func (c *socket) send(ctx context.Context, frame json.RawMessage) bool {
	return c.conn.SendResponse(ctx, &jsonrpc2.Response{Result: &frame}) == nil
}

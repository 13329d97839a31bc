package server

import (
	"context"
	"net/http"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/tracing"
	"github.com/arcd-io/arcd/rpc"
)

// comesFrom finds the trace that a call belongs to in its headers.
func comesFrom(c *rpc.Call, h http.Header) {
	if parent := h.Get("Traceparent"); parent != "" {
		inTrace(c, parent, h.Get("Baggage"))
	}
}

// inTrace puts a call into the trace of a traceparent, unless that is malformed.
func inTrace(c *rpc.Call, parent, baggage string) {
	c.TraceParent = tracing.Valid(parent)
	c.TraceID = tracing.ID(c.TraceID, c.TraceParent, baggage)
}

// trace begins the span of a call. What the call leads to is below it.
func (s *Server) trace(ctx context.Context, c *rpc.Call) (context.Context, tracing.Span) {
	if s.cfg.Tracer == nil {
		return ctx, tracing.Span{}
	}
	name := c.Method
	if !s.mux.Has(name) {
		name = tracing.Other
	}
	ctx = tracing.Continue(ctx, c.TraceID, c.TraceParent)
	ctx, span := tracing.Start(ctx, s.cfg.Tracer, name, tracing.Server)
	c.TraceParent = tracing.Parent(ctx, c.TraceID, c.TraceParent)
	c.TraceID = tracing.ID(c.TraceID, c.TraceParent, "")
	span.Set(tracing.System, "arc")
	span.Set(tracing.Method, name)
	span.Set(tracing.Trace, c.TraceID)
	span.Set(tracing.RequestID, c.RequestID)
	return ctx, span
}

// traced ends the span of a call, or has it end with the stream that is the result.
func traced(span tracing.Span, c *rpc.Call, result any, failure *arc.Error) any {
	if !span.Recording() {
		return result
	}
	span.Set(tracing.Agent, c.To)
	span.Set(tracing.RequestAgent, c.From)
	if failure != nil {
		span.End(failure)
		return result
	}
	stream, ok := result.(rpc.Stream)
	if !ok {
		span.End(nil)
		return result
	}
	return rpc.Stream(func(yield func(rpc.StreamEvent, error) bool) {
		var failed error
		defer func() { span.End(failed) }()
		for event, err := range stream {
			failed = err
			if !yield(event, err) {
				return
			}
		}
	})
}

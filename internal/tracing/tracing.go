// Package tracing makes the traceId of ARC and the traceparent of W3C Trace Context one
// trace, and reports what happens in it as spans of OpenTelemetry.
//
// The ids go on from hop to hop whether spans are made or not. Spans are made where a
// [trace.Tracer] is given: internal/tracing/otlp has the one that exports. The rules:
//
//   - a valid traceparent says which trace and which span a call belongs to; the traceId
//     is kept beside it, as the attribute [Trace] of spans and as the member [Member] of
//     the baggage;
//   - from a call with a traceId alone, every party derives the same trace: the traceId
//     itself if it is 32 lower-case hexadecimal digits, else the first 16 bytes of its
//     SHA-256;
//   - a call with a traceparent alone has the trace-id in it as its traceId.
package tracing

import (
	"context"
	"errors"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcd-io/arcd/arc"
)

// Names of attributes. Those of ARC are ours; the others are of OpenTelemetry's semantic
// conventions for RPC, HTTP and errors.
const (
	Trace        = "arc.trace_id"      // the traceId as it was sent
	Agent        = "arc.agent"         // the targetAgent
	RequestAgent = "arc.request_agent" // who asks, by its own word
	Task         = "arc.task_id"       // of this server
	Chat         = "arc.chat_id"       // of this server
	Attempt      = "arc.attempt"       // 1 for the first
	Delivery     = "arc.delivery_id"   // of a webhook
	Outcome      = "arc.outcome"       // of work that ended neither well nor badly
	Event        = "arc.event"         // its kind, as in task.notification
	Carrier      = "arc.carrier"       // how an agent is reached: process, http or websocket
	RequestID    = "arc.request_id"    // of the HTTP request, as in the log
	Method       = "rpc.method"        // a method of the protocol or, of others, Other
	System       = "rpc.system.name"   // always "arc"
	HTTPStatus   = "http.response.status_code"
	statusCode   = "rpc.response.status_code"
	errorType    = "error.type"
)

// Scope is the instrumentation scope of arcd's spans.
const Scope = "github.com/arcd-io/arcd"

// Other stands for names that anybody can make up, so that there are few names of spans.
const Other = "_OTHER"

// Kind says which side of a call a span is.
type Kind = trace.SpanKind

// The kinds of spans.
const (
	Server   = trace.SpanKindServer   // answers a call
	Client   = trace.SpanKindClient   // makes one, and waits for the answer
	Consumer = trace.SpanKindConsumer // does later what was asked for
	Producer = trace.SpanKindProducer // hands on what is looked at later
	Internal = trace.SpanKindInternal
)

// Span is a piece of work within a trace. The zero Span records nothing.
type Span struct{ span trace.Span }

// Start begins a span below that of ctx, see [Continue], and gives the context of the
// work. Without a tracer it gives ctx and the zero Span. The name should be one of few;
// whoever starts a span ends it.
func Start(ctx context.Context, tracer trace.Tracer, name string, kind Kind) (context.Context, Span) {
	if tracer == nil {
		return ctx, Span{}
	}
	return begin(ctx, tracer, name, kind)
}

// Child begins a span below the one of ctx, with its tracer. Where that records nothing,
// it gives ctx and the zero Span.
func Child(ctx context.Context, name string, kind Kind) (context.Context, Span) {
	parent := trace.SpanFromContext(ctx)
	if !parent.IsRecording() {
		return ctx, Span{}
	}
	return begin(ctx, parent.TracerProvider().Tracer(Scope), name, kind)
}

// Current gives the span of ctx, to tell more of it; the zero Span if it records nothing.
func Current(ctx context.Context) Span {
	if span := trace.SpanFromContext(ctx); span.IsRecording() {
		return Span{span}
	}
	return Span{}
}

func begin(ctx context.Context, tracer trace.Tracer, name string, kind Kind) (context.Context, Span) {
	ctx, span := tracer.Start(ctx, name, trace.WithSpanKind(kind))
	if !span.IsRecording() {
		span = nil // the ids of ctx are all that is left of it
	}
	return ctx, Span{span}
}

// Recording tells whether it is worth while to find out more about the work.
func (s Span) Recording() bool { return s.span != nil }

// Set gives the span an attribute; "" is none. The span must not have ended.
func (s Span) Set(name, value string) {
	if s.span != nil && value != "" {
		s.span.SetAttributes(attribute.String(name, value))
	}
}

// SetInt gives the span an attribute.
func (s Span) SetInt(name string, value int) {
	if s.span != nil {
		s.span.SetAttributes(attribute.Int(name, value))
	}
}

// End ends the span. An error is told by its code and, if it is an [arc.Error], its
// message, which callers read too. The text of others may hold secrets: they are in the
// log.
func (s Span) End(err error) {
	if s.span == nil {
		return
	}
	e, ok := errors.AsType[*arc.Error](err)
	switch {
	case err == nil:
	case ok:
		code := strconv.Itoa(int(e.Code))
		s.span.SetAttributes(attribute.String(statusCode, code))
		s.fail(code, e.Message)
	case errors.Is(err, context.Canceled):
		s.fail("canceled", "")
	case errors.Is(err, context.DeadlineExceeded):
		s.fail("timeout", "")
	default:
		s.fail(Other, "")
	}
	s.span.End()
}

// Fail ends the span as failed, of one of few kinds, and with a message that anybody may
// read. "" is none.
func (s Span) Fail(kind, message string) {
	if s.span != nil {
		s.fail(kind, message)
		s.span.End()
	}
}

func (s Span) fail(kind, message string) {
	s.span.SetStatus(codes.Error, message)
	s.span.SetAttributes(attribute.String(errorType, kind))
}

package tracing_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/tracing"
)

// record gives a tracer and what it has recorded.
func record(options ...sdktrace.TracerProviderOption) (trace.Tracer, func() tracetest.SpanStubs) {
	made := tracetest.NewInMemoryExporter()
	options = append(options, sdktrace.WithSyncer(made))
	return sdktrace.NewTracerProvider(options...).Tracer("test"), made.GetSpans
}

func TestSpan(t *testing.T) {
	tracer, spans := record()
	ctx := tracing.Continue(t.Context(), "workflow_42", "")
	ctx, span := tracing.Start(ctx, tracer, "task.create", tracing.Server)
	if !span.Recording() {
		t.Fatal("the span is not recorded")
	}
	span.Set(tracing.Trace, "workflow_42")
	span.Set(tracing.Agent, "")
	span.SetInt(tracing.Attempt, 2)

	// Another process goes on with what this one sends.
	there := tracing.Continue(t.Context(), "workflow_42", tracing.Parent(ctx, "workflow_42", ""))
	_, child := tracing.Start(there, tracer, "run", tracing.Consumer)
	child.End(nil)
	span.End(nil)

	got := spans()
	if len(got) != 2 {
		t.Fatalf("%d spans, want 2", len(got))
	}
	below, above := got[0], got[1]
	const derived = "68fbc0f74184324eb630dee63a98fa0c"
	if above.SpanContext.TraceID().String() != derived || above.Parent.HasSpanID() || above.SpanKind != trace.SpanKindServer {
		t.Errorf("the first span is %+v; want it in the trace %s without a parent", above.SpanContext, derived)
	}
	if below.Parent.SpanID() != above.SpanContext.SpanID() || below.SpanContext.TraceID() != above.SpanContext.TraceID() ||
		!below.Parent.IsRemote() || below.SpanKind != trace.SpanKindConsumer {
		t.Errorf("the second span %+v is no child of the first", below)
	}
	want := []attribute.KeyValue{attribute.String("arc.trace_id", "workflow_42"), attribute.Int("arc.attempt", 2)}
	if diff := cmp.Diff(fmt.Sprint(want), fmt.Sprint(above.Attributes)); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
}

func TestEnd(t *testing.T) {
	const secret = "password=hunter2"
	for label, c := range map[string]struct {
		err        error
		message    string
		attributes map[attribute.Key]string
	}{
		"well":         {nil, "", map[attribute.Key]string{}},
		"an ARC error": {arc.Errorf(arc.CodeAgentNotFound, "no such agent").Because(errors.New(secret)), "no such agent", map[attribute.Key]string{"error.type": "-41001", "rpc.response.status_code": "-41001"}},
		"a wrapped one": {fmt.Errorf("%s: %w", secret, arc.Errorf(arc.CodeInternal, "sorry")), "sorry",
			map[attribute.Key]string{"error.type": "-32603", "rpc.response.status_code": "-32603"}},
		"canceled":    {fmt.Errorf("%s: %w", secret, context.Canceled), "", map[attribute.Key]string{"error.type": "canceled"}},
		"too late":    {context.DeadlineExceeded, "", map[attribute.Key]string{"error.type": "timeout"}},
		"of anything": {errors.New(secret), "", map[attribute.Key]string{"error.type": "_OTHER"}},
	} {
		tracer, spans := record()
		_, span := tracing.Start(t.Context(), tracer, "x", tracing.Client)
		span.End(c.err)
		got := spans()[0]
		attributes := map[attribute.Key]string{}
		for _, a := range got.Attributes {
			attributes[a.Key] = a.Value.AsString()
		}
		if diff := cmp.Diff(c.attributes, attributes); diff != "" {
			t.Errorf("%s: attributes (-want +got):\n%s", label, diff)
		}
		if failed := got.Status.Code == codes.Error; failed != (c.err != nil) || got.Status.Description != c.message {
			t.Errorf("%s: status %+v, want the message %q", label, got.Status, c.message)
		}
	}
}

// TestUnsampled: what is not recorded is passed on all the same, as not recorded.
func TestUnsampled(t *testing.T) {
	tracer, spans := record(sdktrace.WithSampler(sdktrace.NeverSample()))
	ctx, span := tracing.Start(tracing.Continue(t.Context(), "", parent), tracer, "x", tracing.Server)
	span.Set("a", "b")
	span.End(errors.New("x"))
	if span.Recording() || len(spans()) != 0 {
		t.Error("a span was recorded")
	}
	if got := tracing.Parent(ctx, "", parent); got[:36] != parent[:36] || got[53:] != "00" || got[36:52] == parent[36:52] {
		t.Errorf("%s is passed on; want a span of its own in the trace, not sampled", got)
	}
}

// TestOff: nothing is made without a tracer.
func TestOff(t *testing.T) {
	ctx := t.Context()
	if n := testing.AllocsPerRun(100, func() { off(ctx, t) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func off(ctx context.Context, t testing.TB) {
	inner, span := tracing.Start(ctx, nil, "task.create", tracing.Server)
	span.Set(tracing.Agent, "echo")
	span.SetInt(tracing.Attempt, 1)
	span.End(nil)
	if inner != ctx || span.Recording() || tracing.ID("mine", "", "") != "mine" || tracing.Valid("") != "" {
		t.Error("it does something")
	}
}

// BenchmarkStart is what a call pays: off, with a traceparent that is only passed on,
// and recorded.
func BenchmarkStart(b *testing.B) {
	ctx := b.Context()
	b.Run("off", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			off(ctx, b)
		}
	})
	b.Run("off, with a traceparent", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			off(ctx, b)
			_ = tracing.Valid(parent)
		}
	})
	b.Run("recorded", func(b *testing.B) {
		b.ReportAllocs()
		tracer := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(nothing{})).Tracer("test")
		for b.Loop() {
			_, span := tracing.Start(tracing.Continue(ctx, "mine", parent), tracer, "task.create", tracing.Server)
			span.Set(tracing.Agent, "echo")
			span.Set(tracing.Task, "t")
			span.End(nil)
		}
	})
}

// nothing does nothing with spans.
type nothing struct{}

func (nothing) OnStart(context.Context, sdktrace.ReadWriteSpan) {}
func (nothing) OnEnd(sdktrace.ReadOnlySpan)                     {}
func (nothing) Shutdown(context.Context) error                  { return nil }
func (nothing) ForceFlush(context.Context) error                { return nil }

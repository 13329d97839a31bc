package otlp_test

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/arcd-io/arcd/internal/tracing/otlp"
	"github.com/arcd-io/arcd/internal/tracing/tracetest"
)

// everything is an attribute of each kind.
var everything = []attribute.KeyValue{
	attribute.String("text", "größe\x00"), attribute.String("empty", ""), attribute.Bool("yes", true), attribute.Bool("no", false),
	attribute.Int64("least", math.MinInt64), attribute.Int("zero", 0), attribute.Int64("most", math.MaxInt64),
	attribute.Float64("e", math.E), attribute.Float64("inf", math.Inf(-1)), attribute.Float64("0.0", 0),
	attribute.StringSlice("texts", []string{"", "a"}), attribute.BoolSlice("bools", []bool{false, true}),
	attribute.Int64Slice("ints", []int64{-1, 0}), attribute.Float64Slice("floats", []float64{0, 1.5}), attribute.StringSlice("none", nil),
	{Key: "bytes", Value: attribute.ByteSliceValue([]byte{0, 255})}, {Key: "nothing"},
	{Key: "mixed", Value: attribute.SliceValue(attribute.IntValue(1), attribute.StringValue("b"))},
	{Key: "map", Value: attribute.MapValue(attribute.String("k", "v"), attribute.Int("n", 0))},
}

// makeSpans makes spans with whatever spans can have, of two scopes.
func makeSpans(t *testing.T, provider *sdktrace.TracerProvider) {
	t.Helper()
	state, err := trace.ParseTraceState("vendor=a")
	if err != nil {
		t.Fatal(err)
	}
	remote := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1, 2}, SpanID: trace.SpanID{3}, TraceFlags: trace.FlagsSampled | trace.FlagsRandom, TraceState: state, Remote: true,
	})
	first := provider.Tracer("first", trace.WithInstrumentationVersion("1.2"), trace.WithSchemaURL("https://opentelemetry.io/schemas/1.43.0"),
		trace.WithInstrumentationAttributes(everything...))
	second := provider.Tracer("second")

	ctx, span := first.Start(trace.ContextWithRemoteSpanContext(t.Context(), remote), "a call", trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(everything...), trace.WithLinks(trace.Link{SpanContext: remote, Attributes: everything}, trace.Link{}))
	span.AddEvent("an event", trace.WithAttributes(everything...), trace.WithTimestamp(time.Unix(5, 7)))
	span.RecordError(errors.New("an error"))
	span.SetStatus(codes.Error, "it failed")
	for _, kind := range []trace.SpanKind{trace.SpanKindUnspecified, trace.SpanKindInternal, trace.SpanKindClient, trace.SpanKindProducer, trace.SpanKindConsumer} {
		_, child := second.Start(ctx, kind.String(), trace.WithSpanKind(kind), trace.WithTimestamp(time.Unix(-5, 0)))
		child.SetStatus(codes.Ok, "")
		child.End()
	}
	span.End(trace.WithTimestamp(time.Now().Add(time.Hour)))
	_, long := second.Start(t.Context(), "a root with more than fits")
	for range 200 {
		long.SetAttributes(attribute.Int(time.Now().String(), 1))
		long.AddEvent("e")
		long.AddLink(trace.Link{SpanContext: remote})
	}
	long.End()
}

// TestEncode compares what arrives with what the official exporter sends of the same
// spans.
func TestEncode(t *testing.T) {
	for label, about := range map[string]*resource.Resource{
		"a resource": resource.NewWithAttributes("https://opentelemetry.io/schemas/1.43.0", everything...),
		"none":       resource.Empty(),
	} {
		receiver := tracetest.New(t)
		official, err := otlptracehttp.New(t.Context(), otlptracehttp.WithEndpointURL(receiver.URL+"/v1/traces"))
		if err != nil {
			t.Fatal(err)
		}
		provider := sdktrace.NewTracerProvider(sdktrace.WithResource(about), sdktrace.WithBatcher(official),
			sdktrace.WithBatcher(otlp.NewExporter(receiver.URL)))
		makeSpans(t, provider)
		if err := provider.Shutdown(t.Context()); err != nil {
			t.Fatal(err)
		}
		got, _ := receiver.Requests()
		if len(got) != 2 {
			t.Fatalf("%s: %d requests, want one of each exporter", label, len(got))
		}
		if diff := cmp.Diff(byScope(got[0]), byScope(got[1]), protocmp.Transform()); diff != "" {
			t.Errorf("%s: the two exporters differ:\n%s", label, diff)
		}
	}
}

// byScope puts the spans of a scope together, as the official exporter does, and the
// scopes in order.
func byScope(all *tracepb.TracesData) *tracepb.TracesData {
	for _, of := range all.GetResourceSpans() {
		var merged []*tracepb.ScopeSpans
		for _, s := range of.GetScopeSpans() {
			i := slices.IndexFunc(merged, func(m *tracepb.ScopeSpans) bool { return proto.Equal(m.GetScope(), s.GetScope()) })
			if i < 0 {
				merged = append(merged, s)
			} else {
				merged[i].Spans = append(merged[i].Spans, s.GetSpans()...)
			}
		}
		slices.SortFunc(merged, func(a, b *tracepb.ScopeSpans) int {
			return strings.Compare(a.GetScope().GetName(), b.GetScope().GetName())
		})
		of.ScopeSpans = merged
	}
	return all
}

// FuzzRejected: answers are what others send.
func FuzzRejected(f *testing.F) {
	f.Add([]byte{0x0a, 6, 0x08, 3, 0x12, 2, 'n', 'o'})
	f.Add([]byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1})
	f.Fuzz(func(t *testing.T, answer []byte) {
		if _, why := otlp.Rejected(answer); len(why) > len(answer) {
			t.Errorf("%d bytes of %d", len(why), len(answer))
		}
	})
}

package tracing_test

import (
	"context"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/tracing"
)

const (
	hexID  = "4bf92f3577b34da6a3ce929d0e0e4736"
	parent = "00-" + hexID + "-00f067aa0ba902b7-01"
)

func TestID(t *testing.T) {
	// The trace that the traceId "workflow_42" leads to, as another party would write it.
	derived := strings.Split(tracing.Parent(t.Context(), "workflow_42", ""), "-")[1]
	inTrace := "00-" + derived + "-00f067aa0ba902b7-01"
	for label, c := range map[string]struct{ traceID, parent, bag, want string }{
		"nothing":                       {"", "", "", ""},
		"traceId alone":                 {"workflow_42", "", "", "workflow_42"},
		"traceparent alone":             {"", parent, "", hexID},
		"both":                          {"workflow_42", parent, "", "workflow_42"},
		"malformed":                     {"", "00-" + hexID + "-00f067aa0ba902b7", "", ""},
		"baggage of the trace":          {"", inTrace, "a=b, arc.trace_id=workflow_42", "workflow_42"},
		"baggage of another trace":      {"", parent, "arc.trace_id=workflow_42", hexID},
		"baggage without a traceparent": {"", "", "arc.trace_id=workflow_42", ""},
		"baggage beside a traceId":      {"mine", inTrace, "arc.trace_id=workflow_42", "mine"},
		"baggage with bad members":      {"", inTrace, "=,;;,arc.trace_id=workflow%5f42,(x)", "workflow_42"},
		"baggage that is empty":         {"", inTrace, "arc.trace_id=", derived},
		"baggage that is no traceId":    {"", inTrace, "arc.trace_id=workflow_42%00", derived},
		"baggage that is huge":          {"", inTrace, strings.Repeat("a=b,", 4096) + "arc.trace_id=workflow_42", derived},
	} {
		if got := tracing.ID(c.traceID, c.parent, c.bag); got != c.want {
			t.Errorf("%s: %q, want %q", label, got, c.want)
		}
	}
}

// TestDerived keeps the rule by which parties agree on a trace.
func TestDerived(t *testing.T) {
	for label, c := range map[string]struct{ traceID, want string }{
		"hexadecimal digits": {hexID, hexID},
		// printf %s workflow_42 | sha256sum
		"a text":        {"workflow_42", "68fbc0f74184324eb630dee63a98fa0c"},
		"upper case":    {strings.ToUpper(hexID), "95ba3c1395fdf906c6df0522fc20f447"},
		"zeros":         {strings.Repeat("0", 32), "84e0c0eafaa95a34c293f278ac52e45c"},
		"not of ASCII":  {"größe", "d353a2671b67afff0941ae456e5c76e9"},
		"digits, short": {hexID[1:], "f965f00a3922471f95a7a4a6a03d6cd6"},
	} {
		got := tracing.Parent(t.Context(), c.traceID, "")
		if !strings.HasPrefix(got, "00-"+c.want+"-") || !strings.HasSuffix(got, "-01") || tracing.Valid(got) != got {
			t.Errorf("%s: %s, want the trace %s, sampled", label, got, c.want)
		}
		ctx := tracing.Continue(t.Context(), c.traceID, "")
		if sc := trace.SpanContextFromContext(ctx); sc.TraceID().String() != c.want || sc.HasSpanID() || sc.IsSampled() {
			t.Errorf("%s: continued as %v, want that trace without a parent", label, sc)
		}
	}
}

func TestContinue(t *testing.T) {
	for label, c := range map[string]struct{ traceID, parent, want string }{
		"nothing":                {"", "", "00000000000000000000000000000000-0000000000000000"},
		"traceparent":            {"", parent, hexID + "-00f067aa0ba902b7"},
		"both":                   {"workflow_42", parent, hexID + "-00f067aa0ba902b7"},
		"malformed":              {"", parent + "x", "00000000000000000000000000000000-0000000000000000"},
		"malformed with traceId": {hexID, "00-x", hexID + "-0000000000000000"},
	} {
		ctx := tracing.Continue(t.Context(), c.traceID, c.parent)
		sc := trace.SpanContextFromContext(ctx)
		if got := sc.TraceID().String() + "-" + sc.SpanID().String(); got != c.want {
			t.Errorf("%s: %s, want %s", label, got, c.want)
		}
		if c.want[:4] == "0000" && ctx != t.Context() {
			t.Errorf("%s: the context is another", label)
		}
	}
}

func TestParent(t *testing.T) {
	within := trace.ContextWithSpanContext(t.Context(), trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2},
	}))
	const own = "00-01000000000000000000000000000000-0200000000000000-00"
	for label, c := range map[string]struct {
		ctx                   context.Context
		traceID, parent, want string
	}{
		"nothing":                   {t.Context(), "", "", ""},
		"a span":                    {within, "x", parent, own},
		"what came":                 {t.Context(), "x", parent, parent},
		"malformed":                 {t.Context(), "", "00", ""},
		"a traceId":                 {t.Context(), hexID, "", "00-" + hexID + "-76445dc23178f8b3-01"},
		"malformed, with a traceId": {t.Context(), hexID, parent[:54] + "g", "00-" + hexID + "-76445dc23178f8b3-01"},
	} {
		if got := tracing.Parent(c.ctx, c.traceID, c.parent); got != c.want {
			t.Errorf("%s: %q, want %q", label, got, c.want)
		}
	}
}

func TestBaggage(t *testing.T) {
	for label, c := range map[string]struct{ traceID, want string }{
		"none":           {"", ""},
		"a text":         {"workflow_42", "arc.trace_id=workflow_42"},
		"with specials":  {`a b,c;d"\é`, "arc.trace_id=a%20b%2Cc%3Bd%22%5C%C3%A9"},
		"a line end":     {"a\r\nX: y", ""},
		"no UTF-8":       {"a\xff", ""},
		"too long a one": {strings.Repeat("x", 129), ""},
	} {
		got := tracing.Baggage(c.traceID)
		if got != c.want {
			t.Errorf("%s: %q, want %q", label, got, c.want)
		}
		if got != "" {
			if back := tracing.ID("", tracing.Parent(t.Context(), c.traceID, ""), got); back != c.traceID {
				t.Errorf("%s: it comes back as %q", label, back)
			}
		}
	}
}

// TestValid is about what client accepts too: what it sends must not be lost here.
func TestValid(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "x": "", parent: parent,
		parent[:54]:               "",
		parent + "-more":          "",
		strings.ToUpper(parent):   "",
		"ff" + parent[2:]:         "",
		"cc" + parent[2:]:         parent,
		"cc" + parent[2:] + "-go": parent,
		"00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01": "",
		"00-" + hexID + "-0000000000000000-01":                   "",
		"00-" + hexID + "-00f067aa0ba902b7-00":                   "00-" + hexID + "-00f067aa0ba902b7-00",
	} {
		if got := tracing.Valid(s); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
		if _, ok := client.TraceIDOf(s); ok != (want != "") {
			t.Errorf("%q: client says %v", s, ok)
		}
	}
}

func FuzzValid(f *testing.F) {
	f.Add(parent)
	f.Add("cc" + parent[2:] + "-more")
	f.Fuzz(func(t *testing.T, s string) {
		v := tracing.Valid(s)
		if v == "" {
			return
		}
		if id, ok := client.TraceIDOf(v); !ok || id != tracing.ID("", s, "") || tracing.Valid(v) != v {
			t.Errorf("%q became %q, whose id is %q", s, v, id)
		}
	})
}

package methods_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

// told gives what the spans say, in a line each.
func told(made *tracetest.InMemoryExporter, name string) []string {
	var lines []string
	for _, s := range made.GetSpans() {
		if s.Name != name {
			continue
		}
		line := s.Parent.TraceID().String() + " " + s.Parent.SpanID().String()
		for _, a := range s.Attributes {
			switch a.Key {
			case "arc.attempt", "arc.outcome", "arc.event", "http.response.status_code", "error.type":
				line += fmt.Sprintf(" %s=%s", a.Key, a.Value.String())
			}
		}
		if s.Status.Code == codes.Error {
			line += fmt.Sprintf(" failed %q", s.Status.Description)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestSpansOfWork: how each way to end a stretch of work is told.
func TestSpansOfWork(t *testing.T) {
	const above = "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331"
	for label, c := range map[string]struct {
		run  methods.RunnerFunc
		want []string
	}{
		"well": {func(context.Context, *methods.Turn) error { return nil }, []string{above + " arc.attempt=1"}},
		"a question": {func(ctx context.Context, t *methods.Turn) error {
			return t.NeedInput(ctx, arc.Message{Parts: []arc.Part{arc.TextPart("which?")}})
		},
			[]string{above + " arc.attempt=1 arc.outcome=input_required"}},
		"another attempt": {func(_ context.Context, t *methods.Turn) error {
			if t.Attempt == 1 {
				return methods.Retry(arc.Errorf(arc.CodeAgentUnavailable, "not now"), 0)
			}
			return nil
		}, []string{above + ` arc.attempt=1 error.type=-41002 failed "not now"`, above + " arc.attempt=2"}},
		"a secret": {func(context.Context, *methods.Turn) error { return fmt.Errorf("password=x") },
			[]string{above + ` arc.attempt=1 error.type=_OTHER failed ""`}},
		"a panic": {func(context.Context, *methods.Turn) error { panic("password=x") },
			[]string{above + ` arc.attempt=1 error.type=_OTHER failed ""`}},
		"canceled": {func(ctx context.Context, _ *methods.Turn) error { <-ctx.Done(); return ctx.Err() },
			[]string{above + ` arc.attempt=1 error.type=canceled failed ""`}},
	} {
		synctest.Test(t, func(t *testing.T) {
			made := tracetest.NewInMemoryExporter()
			tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(made)).Tracer("test")
			passed := ""
			w := start(t, methods.Config{Tracer: tracer, Agents: map[string]methods.Agent{"x": {Runner: methods.RunnerFunc(
				func(ctx context.Context, turn *methods.Turn) error {
					passed = turn.TraceParent
					return c.run(ctx, turn)
				})}}})
			call := call("task.create", "x")
			call.TraceParent, call.Principal, call.From = traceParent, alice(), "caller"
			result, err := w.dispatch(call, m{"initialMessage": text("hello")})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if label == "canceled" {
				w.must(alice(), "task.cancel", "", m{"taskId": taskOf(t, result).ID})
				synctest.Wait()
			}
			if diff := cmp.Diff(c.want, told(made, "task.run")); diff != "" {
				t.Errorf("%s: spans (-want +got):\n%s", label, diff)
			}
			spans := made.GetSpans()
			own := spans[len(spans)-1].SpanContext
			if want := "00-" + own.TraceID().String() + "-" + own.SpanID().String() + "-01"; passed != want {
				t.Errorf("%s: the runner passes on %s, want %s", label, passed, want)
			}
		})
	}
}

// TestSpansOfDeliveries: one for each attempt, which the receiver is told.
func TestSpansOfDeliveries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		made := tracetest.NewInMemoryExporter()
		r := &posts{answer: func(_ context.Context, _ methods.Webhook, n int) (methods.WebhookAnswer, error) {
			if n == 1 {
				return methods.WebhookAnswer{Status: 500}, nil
			}
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		w := start(t, methods.Config{Webhooks: r, Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(made)).Tracer("test")})
		c := call("task.create", "idle")
		c.TraceParent, c.Principal, c.From = traceParent, alice(), "caller"
		result, err := w.dispatch(c, m{"initialMessage": text("x")})
		if err != nil {
			t.Fatal(err)
		}
		id := taskOf(t, result).ID
		w.subscribe(id, hook, "NEW_MESSAGE")
		w.say(id, "hello")
		for len(r.list()) < 2 {
			time.Sleep(time.Second)
			synctest.Wait()
		}
		const above = "0af7651916cd43dd8448eb211c80319c b7ad6b7169203331"
		want := []string{
			above + ` arc.event=NEW_MESSAGE arc.attempt=1 http.response.status_code=500 error.type=500 failed "the receiver answered with status 500"`,
			above + " arc.event=NEW_MESSAGE arc.attempt=2 http.response.status_code=200",
		}
		if diff := cmp.Diff(want, told(made, "webhook")); diff != "" {
			t.Errorf("spans (-want +got):\n%s", diff)
		}
		var own []string
		for _, s := range made.GetSpans() {
			if s.Name == "webhook" {
				own = append(own, "00-"+s.SpanContext.TraceID().String()+"-"+s.SpanContext.SpanID().String()+"-01")
			}
		}
		for i, p := range r.list() {
			if p.Header["Traceparent"] != own[i] {
				t.Errorf("post %d has the traceparent %s, want %s", i+1, p.Header["Traceparent"], own[i])
			}
		}
	})
}

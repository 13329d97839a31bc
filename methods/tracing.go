package methods

import (
	"context"
	"errors"
	"strconv"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/tracing"
)

// span begins the span of a stretch of work, below the call that asked for it, however
// long ago that was, and has the calls that are made for the work begin there.
func (w *work) span(t *Turn) (context.Context, tracing.Span) {
	ctx, span := w.ctx, tracing.Span{}
	if tracer := w.s.cfg.Tracer; tracer != nil {
		name, kind := "task.run", tracing.Consumer
		if t.Chat != nil {
			name, kind = "chat.turn", tracing.Internal
		}
		ctx, span = tracing.Start(tracing.Continue(ctx, t.TraceID, t.TraceParent), tracer, name, kind)
		t.TraceParent = tracing.Parent(ctx, t.TraceID, t.TraceParent)
	}
	span.Set(tracing.Trace, t.TraceID)
	span.Set(tracing.Agent, t.Agent)
	span.Set(tracing.RequestAgent, t.From)
	if t.Chat != nil {
		span.Set(tracing.Chat, t.Chat.ID)
	} else {
		span.Set(tracing.Task, t.Task.ID)
		span.SetInt(tracing.Attempt, t.Attempt)
	}
	return ctx, span
}

// endSpan ends the span of a stretch of work. A question to the caller is no failure.
func (w *work) endSpan(span tracing.Span, err error) {
	if !span.Recording() {
		return
	}
	_, asks := errors.AsType[*inputError](err)
	cause := context.Cause(w.ctx)
	switch {
	case asks:
		span.Set(tracing.Outcome, "input_required")
		span.End(nil)
	case err == nil:
		span.End(nil)
	case errors.Is(cause, errDeadline):
		span.End(context.DeadlineExceeded)
	case cause != nil:
		span.End(context.Canceled)
	default:
		span.End(err)
	}
}

// deliverySpan begins the span of an attempt to deliver a webhook, and gives the
// traceparent that goes along.
func (s *Service) deliverySpan(ctx context.Context, sub *subscription, d *arc.Delivery) (context.Context, tracing.Span, string) {
	span := tracing.Span{}
	if tracer := s.cfg.Tracer; tracer != nil {
		ctx, span = tracing.Start(tracing.Continue(ctx, sub.rec.Trace, sub.rec.TraceParent), tracer, "webhook", tracing.Client)
		span.Set(tracing.Trace, sub.rec.Trace)
		span.Set(tracing.Task, d.TaskID)
		span.Set(tracing.Delivery, d.ID)
		span.Set(tracing.Event, string(d.Event))
		span.SetInt(tracing.Attempt, d.Attempt)
	}
	return ctx, span, tracing.Parent(ctx, sub.rec.Trace, sub.rec.TraceParent)
}

// endDelivery ends it.
func endDelivery(span tracing.Span, d *arc.Delivery) {
	if d.Status != 0 {
		span.SetInt(tracing.HTTPStatus, d.Status)
	}
	switch {
	case d.State == arc.DeliveryDelivered:
		span.End(nil)
	case d.Status != 0:
		span.Fail(strconv.Itoa(d.Status), d.Error)
	default:
		span.Fail(tracing.Other, d.Error)
	}
}

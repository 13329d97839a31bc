package client

import (
	"context"
	"fmt"
	"strings"

	"github.com/arcd-io/arcd/arc"
)

// Trace says which larger piece of work calls belong to.
type Trace struct {
	// ID is the traceId of the envelope. "": the trace-id of Parent.
	ID string
	// Parent goes as the header traceparent (W3C Trace Context, section 3.2).
	// "": no such header.
	Parent string
}

// traceKey is where a context holds its Trace.
type traceKey struct{}

// WithTrace gives a context whose calls carry t, in place of [Client.TraceID]. A
// Parent that is no traceparent makes each call fail before anything is sent.
func WithTrace(ctx context.Context, t Trace) context.Context {
	return context.WithValue(ctx, traceKey{}, t)
}

// trace gives what a call carries.
func (c *Client) trace(ctx context.Context) (Trace, error) {
	t, _ := ctx.Value(traceKey{}).(Trace)
	if t.Parent != "" {
		id, ok := traceParentID(t.Parent)
		if !ok {
			return Trace{}, fmt.Errorf("the trace's parent %q is no traceparent of W3C Trace Context: %w", t.Parent, arc.ErrInvalid)
		}
		if t.ID == "" {
			t.ID = id
		}
	}
	if t.ID == "" {
		t.ID = c.TraceID
	}
	return t, nil
}

// TraceIDOf gives the trace-id of a traceparent (W3C Trace Context, section 3.2.2);
// false for what is none.
func TraceIDOf(parent string) (id string, ok bool) { return traceParentID(parent) }

// traceParentID gives the trace-id of a traceparent; false for what is none.
// Versions above 00 may have more behind a dash.
func traceParentID(parent string) (id string, ok bool) {
	if len(parent) < 55 || len(parent) > 512 || len(parent) > 55 && (parent[55] != '-' || parent[:2] == "00") {
		return "", false
	}
	fields := strings.Split(parent[:55], "-")
	if len(fields) != 4 || len(fields[0]) != 2 || len(fields[1]) != 32 || len(fields[2]) != 16 || len(fields[3]) != 2 {
		return "", false
	}
	for _, field := range fields {
		if strings.Trim(field, "0123456789abcdef") != "" {
			return "", false
		}
	}
	for i := 55; i < len(parent); i++ {
		if parent[i] <= ' ' || parent[i] >= 0x7f {
			return "", false
		}
	}
	zero := strings.Trim(fields[1], "0") == "" || strings.Trim(fields[2], "0") == ""
	return fields[1], fields[0] != "ff" && !zero
}

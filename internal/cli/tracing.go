package cli

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/arcd-io/arcd/client"
)

// findTrace finds the trace that calls belong to: the id of --trace-id, and the span
// of the variable TRACEPARENT, as tools of OpenTelemetry hand it to programs that they
// start. One that is malformed begins a trace of its own (W3C Trace Context, 4.3).
func (c *console) findTrace() {
	c.trace = client.Trace{ID: c.globals.TraceID}
	if parent := c.variable("TRACEPARENT"); parent != "" {
		if id, ok := client.TraceIDOf(parent); ok {
			c.trace = client.Trace{ID: cmp.Or(c.globals.TraceID, id), Parent: parent}
		}
	}
	c.meta.TraceID = c.trace.ID
}

// withTrace gives the context of a command's calls. A server's own calls belong to
// the work that they are made for.
func (c *console) withTrace(ctx context.Context) context.Context {
	if !c.parsed.command.row().calls() {
		return ctx
	}
	return client.WithTrace(ctx, c.trace)
}

// tracing tells on stderr what is sent and received, with --debug. Of headers it
// names only that a credential went along.
type tracing struct {
	console *console
	next    http.RoundTripper
}

// traced lets a client tell what it does, if that is asked for.
func (c *console) traced(web *http.Client) {
	if c.globals.Debug {
		web.Transport = &tracing{c, web.Transport}
	}
}

func (t *tracing) RoundTrip(r *http.Request) (*http.Response, error) {
	credential := ""
	if r.Header.Get("Authorization") != "" {
		credential = ", Authorization: [REDACTED]"
	}
	began := time.Now()
	answer, err := t.next.RoundTrip(r)
	took := time.Since(began).Round(time.Millisecond)
	if err != nil {
		t.console.debugf("%s %s%s: no answer after %s: %v", r.Method, r.URL.Redacted(), credential, took, err)
		return nil, err
	}
	t.console.debugf("%s %s%s: %s after %s", r.Method, r.URL.Redacted(), credential, answer.Status, took)
	return answer, nil
}

// CloseIdleConnections does for the client what it does for the transport behind.
func (t *tracing) CloseIdleConnections() {
	(&http.Client{Transport: t.next}).CloseIdleConnections()
}

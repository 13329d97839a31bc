package cli

import (
	"net/http"
	"time"
)

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

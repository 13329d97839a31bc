package outcome_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// way answers requests in place of the network.
type way func(*http.Request) (*http.Response, error)

func (w way) RoundTrip(r *http.Request) (*http.Response, error) { return w(r) }

// fails is a way on which every request fails.
func fails(err error) http.RoundTripper {
	return way(func(*http.Request) (*http.Response, error) { return nil, err })
}

// says is a way that answers every request.
func says(status int, body string) http.RoundTripper {
	return way(func(r *http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})
}

// ask makes a call and gives its error.
func ask(t *testing.T, url, token string, through http.RoundTripper) error {
	t.Helper()
	c := &client.Client{URL: url, Token: client.StaticToken(token), Attempts: 1}
	if through != nil {
		c.HTTP = &http.Client{Transport: through}
	}
	t.Cleanup(c.CloseIdleConnections)
	_, err := c.GetTask(t.Context(), "echo", arc.GetTaskParams{TaskID: "t"})
	if err == nil {
		t.Fatal("the call worked")
	}
	return err
}

// dialed is an error of a connection that was not made.
func dialed(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }

// late is an error of package net that says it took too long.
type late string

func (l late) Error() string { return string(l) }
func (late) Timeout() bool   { return true }
func (late) Temporary() bool { return true }

// TestTransport: why no answer came, and how far the call was.
func TestTransport(t *testing.T) {
	const server = "https://arc.test/arc"
	dns := &net.DNSError{Err: "no such host", Name: "arc.test", IsNotFound: true}
	for label, test := range map[string]struct {
		err   error
		want  outcome.Code
		stage string
		says  string
	}{
		"no such host":          {ask(t, server, "x", fails(dialed(dns))), "CONNECTION_FAILED", "dns", "no such host"},
		"name server is late":   {ask(t, server, "x", fails(dialed(&net.DNSError{Err: "i/o timeout", IsTimeout: true}))), "TIMEOUT", "dns", "in time"},
		"connecting is late":    {ask(t, server, "x", fails(dialed(late("i/o timeout")))), "TIMEOUT", "connect", "in time"},
		"the proxy refuses":     {ask(t, server, "x", fails(&net.OpError{Op: "proxyconnect", Err: errors.New("no thanks")})), "CONNECTION_FAILED", "connect", "no thanks"},
		"the handshake is late": {ask(t, server, "x", fails(late("net/http: TLS handshake timeout"))), "TIMEOUT", "tls", "in time"},
		"the deadline":          {ask(t, server, "x", fails(context.DeadlineExceeded)), "TIMEOUT", "answer", "in time"},
		"cut off":               {ask(t, server, "x", fails(io.ErrUnexpectedEOF)), "CONNECTION_FAILED", "answer", "unexpected EOF"},
		"an old protocol":       {ask(t, server, "x", fails(errors.New("tls: server selected unsupported protocol version 301"))), "TLS_CONFIG", "tls", "unsupported protocol version"},
		"an alert":              {ask(t, server, "x", fails(&net.OpError{Op: "remote error", Err: errors.New("tls: handshake failure")})), "TLS_CONFIG", "tls", "handshake failure"},
		"escapes":               {ask(t, server, "x", fails(dialed(errors.New("\x1b[2Jgone")))), "CONNECTION_FAILED", "connect", "[2Jgone"},
		"a web page":            {ask(t, server, "x", says(200, "<html>hello</html>")), "PROTOCOL_ERROR", "", "no answer that can be read"},
		"cut JSON":              {ask(t, server, "x", says(200, `{"arc":"1.0",`)), "PROTOCOL_ERROR", "", "no answer that can be read"},
		"an open line":          {ask(t, "http://arc.test/arc", "x", fails(errors.New("it was sent"))), "INSECURE_SERVER", "", "http://arc.test: a token is sent over https or to this machine only."},
		"a token of two lines":  {ask(t, server, "x\ny", fails(errors.New("it was sent"))), "TOKEN_INVALID", "", "the token"},
		"anything":              {errors.New("out of paper"), "GENERAL_ERROR", "", "Out of paper."},
		"canceled":              {ask(t, server, "x", fails(context.Canceled)), "GENERAL_ERROR", "", "canceled"},
	} {
		e := outcome.Classify(test.err, live)
		if e.Code != test.want || !strings.Contains(strings.ToLower(e.Message), strings.ToLower(test.says)) || strings.Contains(e.Message, "\x1b") {
			t.Errorf("%s: %s %q, want %s with %q (%v)", label, e.Code, e.Message, test.want, test.says, test.err)
		}
		if (e.Network != nil) != (test.stage != "") || e.Network != nil && (e.Network.Stage != test.stage || e.Network.Server != live.Server) {
			t.Errorf("%s: network_context %+v, want stage %q", label, e.Network, test.stage)
		}
		if !errors.Is(e, test.err) {
			t.Errorf("%s: the cause is lost", label)
		}
		if e.Code == "TOKEN_INVALID" && e.DetectedBy != "client" {
			t.Errorf("%s: detected by %s, but nothing was sent", label, e.DetectedBy)
		}
		valid(t, label, e)
	}
	if e := outcome.Classify(context.DeadlineExceeded, reads); !e.Retryable || e.RetryStrategy == "" {
		t.Errorf("a read that got no answer in time cannot be repeated: %+v", e)
	}
	if e := outcome.Classify(context.DeadlineExceeded, live); e.Retryable {
		t.Error("a change that got no answer in time can be repeated")
	}
}

// TestLoopback: the same with what this machine's network and TLS really say.
func TestLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := l.Addr().String()
	if err := l.Close(); err != nil { // nobody listens there now
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	plain, secure, strict := httptest.NewUnstartedServer(http.NotFoundHandler()), httptest.NewUnstartedServer(http.NotFoundHandler()), httptest.NewUnstartedServer(http.NotFoundHandler())
	for _, s := range []*httptest.Server{plain, secure, strict} {
		s.Config.ErrorLog = quiet
		t.Cleanup(s.Close)
	}
	strict.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert, MaxVersion: tls.VersionTLS12}
	plain.Start()
	secure.StartTLS()
	strict.StartTLS()
	for label, test := range map[string]struct {
		err   error
		want  outcome.Code
		stage string
	}{
		"refused":                     {ask(t, "http://"+closed, "x", nil), "CONNECTION_FAILED", "connect"},
		"unknown authority":           {ask(t, secure.URL, "x", nil), "TLS_CONFIG", "tls"},
		"no TLS there":                {ask(t, strings.Replace(plain.URL, "http:", "https:", 1), "x", nil), "TLS_CONFIG", "tls"},
		"wants a certificate of ours": {ask(t, strict.URL, "x", strict.Client().Transport), "TLS_CONFIG", "tls"},
		"TLS there":                   {ask(t, strings.Replace(secure.URL, "https:", "http:", 1), "x", nil), "VALIDATION_ERROR", ""},
	} {
		e := outcome.Classify(test.err, live)
		if e.Code != test.want || (e.Network != nil) != (test.stage != "") || e.Network != nil && e.Network.Stage != test.stage {
			t.Errorf("%s: %s, %+v, want %s at %q (%v)", label, e.Code, e.Network, test.want, test.stage, test.err)
		}
		valid(t, label, e)
	}
}

// TestNoTokenInErrors: a server that says the token again does not get it shown.
func TestNoTokenInErrors(t *testing.T) {
	const token = "opaque-Secret-0123456789"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		body := `{"arc":"1.0","error":{"code":-44005,"message":"no token: ` + sent + `","details":{"reason":"` + sent + `","errors":[{"field":"` + sent + `","issue":"` + sent + `"}]}}}`
		switch {
		case strings.HasSuffix(r.URL.Path, "/challenge"):
			w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token", error_description="no token: `+sent+`", scope="`+sent+`"`)
			body = "no token: " + sent
		case strings.HasSuffix(r.URL.Path, "/problem"):
			w.Header().Set("Content-Type", "application/problem+json")
			body = `{"type":"x","title":"no","detail":"no token: ` + sent + `","error_code":"NO_TOKEN","request_id":"` + sent + `"}`
		}
		w.WriteHeader(http.StatusUnauthorized)
		if _, err := io.WriteString(w, body); err != nil {
			t.Error(err)
		}
	}))
	t.Cleanup(server.Close)
	for _, path := range []string{"/body", "/challenge", "/problem"} {
		err := ask(t, server.URL+path, token, nil)
		e := outcome.Classify(err, live)
		if doc := string(valid(t, path, e)); e.Code != "TOKEN_INVALID" || strings.Contains(strings.ToLower(doc+err.Error()), strings.ToLower(token)) {
			t.Errorf("%s: %s\n%v", path, doc, err)
		}
	}
}

package otlp_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/internal/tracing"
	"github.com/arcd-io/arcd/internal/tracing/otlp"
	"github.com/arcd-io/arcd/internal/tracing/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// env gives variables of a test.
func env(pairs ...string) func(string) string {
	all := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return all[name] }
}

// log is where a test reads what was logged.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// open opens an exporter whose requests go to answer.
func open(t *testing.T, answer func(*http.Request) (*http.Response, error), pairs ...string) (*otlp.Exporter, *log) {
	t.Helper()
	l := &log{}
	e, err := otlp.Open(t.Context(), otlp.Config{
		Version: "1.2.3", Getenv: env(pairs...), Log: zerolog.New(l), Transport: transport(answer),
	})
	if err != nil {
		t.Fatal(err)
	}
	return e, l
}

type transport func(*http.Request) (*http.Response, error)

func (f transport) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// says makes an answer.
func says(status int, header http.Header, body string) (*http.Response, error) {
	return &http.Response{StatusCode: status, Status: http.StatusText(status), Header: header, Body: io.NopCloser(strings.NewReader(body))}, nil
}

// span makes a span.
func span(t *testing.T, e *otlp.Exporter) {
	t.Helper()
	_, s := tracing.Start(t.Context(), e.Tracer(), "x", tracing.Internal)
	s.End(nil)
}

func TestAsked(t *testing.T) {
	const endpoint, traces, exporter = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_TRACES_EXPORTER"
	for label, c := range map[string]struct {
		env  []string
		want string // "" for off, "on", or what the error says
	}{
		"nothing":               {nil, ""},
		"endpoint":              {[]string{endpoint, "http://127.0.0.1:1"}, "on"},
		"endpoint of traces":    {[]string{traces, "https://127.0.0.1:1"}, "on"},
		"exporter":              {[]string{exporter, "otlp"}, "on"},
		"exporter among others": {[]string{exporter, "console, otlp"}, "on"},
		"none":                  {[]string{exporter, "none", endpoint, "http://127.0.0.1:1"}, ""},
		"disabled":              {[]string{"OTEL_SDK_DISABLED", "TRUE", exporter, "otlp"}, ""},
		"not disabled":          {[]string{"OTEL_SDK_DISABLED", "1", exporter, "otlp"}, "on"},
		"of metrics only":       {[]string{"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "http://127.0.0.1:1"}, ""},
		"another exporter":      {[]string{exporter, "zipkin"}, `OTEL_TRACES_EXPORTER: there is no exporter "zipkin", only otlp`},
		"gRPC":                  {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}, `OTEL_EXPORTER_OTLP_PROTOCOL: there is no "grpc", only http/protobuf`},
		"JSON":                  {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json"}, `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: there is no "http/json", only http/protobuf`},
		"its own protocol":      {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf"}, "on"},
		"a host":                {[]string{endpoint, "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL of http or https"},
		"no URL":                {[]string{traces, "http://%"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT must be a URL of http or https"},
		"bad headers":           {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_HEADERS", "secret"}, "OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs, with a comma between them"},
		"headers that break":    {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0aX: y"}, "OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs, with a comma between them"},
		"names that break":      {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_HEADERS", "a b=c"}, "OTEL_EXPORTER_OTLP_HEADERS must be name=value pairs, with a comma between them"},
		"compression":           {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"}, `OTEL_EXPORTER_OTLP_COMPRESSION: there is no "zstd", only gzip and none`},
		"timeout":               {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT", "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT must be a number of milliseconds above 0"},
		"no authorities":        {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_CERTIFICATE", "otlp_test.go"}, "reading OTEL_EXPORTER_OTLP_CERTIFICATE: there is no certificate in it"},
		"no key":                {[]string{exporter, "otlp", "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "otlp_test.go"}, "reading OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE and its key: open : no such file or directory"},
	} {
		e, err := otlp.Open(t.Context(), otlp.Config{Getenv: env(c.env...), Log: zerolog.Nop()})
		got := ""
		if err != nil {
			got = err.Error()
		} else if e != nil {
			got = "on"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", label, got, c.want)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Errorf("%s: %v", label, err)
		}
	}
}

// TestOff: an exporter that is off is used like one that is on.
func TestOff(t *testing.T) {
	e, err := otlp.Open(t.Context(), otlp.Config{Getenv: env()})
	if e != nil || err != nil || e.Tracer() != nil || e.Close(t.Context()) != nil {
		t.Errorf("%v, %v", e, err)
	}
}

func TestExport(t *testing.T) {
	receiver := tracetest.New(t)
	receiver.Setenv(t)
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,team=a%20b")
	t.Setenv("OTEL_SERVICE_NAME", "mine")
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret, x-team = a")
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
	e, err := otlp.Open(t.Context(), otlp.Config{Version: "1.2.3", Getenv: os.Getenv, Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, outer := tracing.Start(t.Context(), e.Tracer(), "outer", tracing.Server)
	_, inner := tracing.Start(ctx, e.Tracer(), "inner", tracing.Client)
	inner.Set(tracing.Agent, "echo")
	inner.SetInt(tracing.Attempt, 0)
	inner.End(nil)
	outer.End(nil)
	spans := receiver.Wait(t, tracetest.Names("outer", "inner"))
	if diff := cmp.Diff("mine outer [server]\n  mine inner [client]\n", tracetest.Tree(spans)); diff != "" {
		t.Errorf("the tree (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]string{"arc.agent": "echo", "arc.attempt": "0"}, spans[1].Attributes); diff != "" {
		t.Errorf("attributes (-want +got):\n%s", diff)
	}
	all, headers := receiver.Requests()
	for name, want := range map[string]string{"Authorization": "Bearer secret", "X-Team": "a", "User-Agent": "arcd/1.2.3", "Content-Encoding": "gzip"} {
		if got := headers[0].Get(name); got != want {
			t.Errorf("header %s: %q, want %q", name, got, want)
		}
	}
	about := all[0].String()
	for _, want := range []string{"service.version", "1.2.3", "service.instance.id", "host.name", "telemetry.sdk.name", "a b", tracing.Scope} {
		if !strings.Contains(about, want) {
			t.Errorf("the resource has no %s:\n%s", want, about)
		}
	}
	if err := e.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if tracing.Parent(t.Context(), "", "") != "" || e.Tracer() == nil {
		t.Error("a closed exporter has no tracer")
	}
	span(t, e) // is lost, and does no harm
}

// TestEndpoint: the endpoint of traces is taken as it is.
func TestEndpoint(t *testing.T) {
	for label, c := range map[string]struct{ general, traces, want string }{
		"nothing":            {"", "", "http://localhost:4318/v1/traces"},
		"a general one":      {"http://127.0.0.1:1/base/", "", "http://127.0.0.1:1/base/v1/traces"},
		"with a query":       {"http://127.0.0.1:1?key=secret", "", "http://127.0.0.1:1/v1/traces?key=secret"},
		"of traces":          {"http://127.0.0.1:1", "https://127.0.0.1:2/x", "https://127.0.0.1:2/x"},
		"of traces, at root": {"", "http://127.0.0.1:2", "http://127.0.0.1:2/"},
	} {
		called := make(chan string, 1)
		e, l := open(t, func(r *http.Request) (*http.Response, error) {
			called <- r.URL.String()
			return says(200, nil, "")
		}, "OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_ENDPOINT", c.general, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.traces)
		span(t, e)
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if got := <-called; got != c.want {
			t.Errorf("%s: %s, want %s", label, got, c.want)
		}
		if shown, _, _ := strings.Cut(c.want, "?"); !strings.Contains(l.String(), `"endpoint":"`+shown+`"`) {
			t.Errorf("%s: the log does not say %s:\n%s", label, shown, l)
		}
		if strings.Contains(l.String(), "secret") {
			t.Errorf("%s: the log has a secret:\n%s", label, l)
		}
	}
}

// TestFailures: what is tried again, when, and what the log says. The clock is that of
// the bubble.
func TestFailures(t *testing.T) {
	down := func() (*http.Response, error) { return nil, errors.New("connection refused") }
	status := func(code int, header ...string) func() (*http.Response, error) {
		h := http.Header{}
		for i := 0; i < len(header); i += 2 {
			h.Set(header[i], header[i+1])
		}
		return func() (*http.Response, error) { return says(code, h, "") }
	}
	well := status(200)
	partial := func() (*http.Response, error) {
		return says(200, http.Header{"Content-Type": {"application/x-protobuf"}}, "\x0a\x06\x08\x03\x12\x02no")
	}
	for label, c := range map[string]struct {
		answers     []func() (*http.Response, error) // the last one again and again
		calls       int
		least, most time.Duration
		log         string // "" for nothing
	}{
		"well":               {[]func() (*http.Response, error){well}, 1, 0, 0, ""},
		"down for a moment":  {[]func() (*http.Response, error){down, status(503), well}, 3, 1500 * time.Millisecond, 3 * time.Second, ""},
		"asked to wait":      {[]func() (*http.Response, error){status(429, "Retry-After", "7"), well}, 2, 7 * time.Second, 7 * time.Second, ""},
		"asked for too long": {[]func() (*http.Response, error){status(503, "Retry-After", "3600")}, 1, 0, 0, "Service Unavailable"},
		"down for long":      {[]func() (*http.Response, error){down}, 6, 15 * time.Second, 30 * time.Second, "connection refused"},
		"refused":            {[]func() (*http.Response, error){status(401)}, 1, 0, 0, "Unauthorized"},
		"sent elsewhere":     {[]func() (*http.Response, error){status(307, "Location", "http://127.0.0.1:1/secret")}, 1, 0, 0, "Temporary Redirect"},
		"taken in part":      {[]func() (*http.Response, error){partial}, 1, 0, 0, `refused 3 spans: \"no\"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			calls := 0
			e, l := open(t, func(*http.Request) (*http.Response, error) {
				calls++
				return c.answers[min(calls, len(c.answers))-1]()
			}, "OTEL_TRACES_EXPORTER", "otlp")
			span(t, e)
			began := time.Now()
			if err := e.Close(t.Context()); err != nil { // sends the rest
				t.Error(err)
			}
			took := time.Since(began)
			if calls < c.calls || calls > c.calls+3 || c.calls == 1 && calls > 1 || took < c.least || took > c.most {
				t.Errorf("%s: %d calls in %v, want %d in %v to %v", label, calls, took, c.calls, c.least, c.most)
			}
			said := strings.Contains(l.String(), "cannot be exported")
			if said != (c.log != "") || !strings.Contains(l.String(), c.log) || strings.Contains(l.String(), "secret") {
				t.Errorf("%s: the log should say %q:\n%s", label, c.log, l)
			}
		})
	}
}

// TestLog: a receiver that stays away is one line, and another when it is back.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var away atomic.Bool
		e, l := open(t, func(*http.Request) (*http.Response, error) {
			if away.Load() {
				return says(401, nil, "")
			}
			return says(200, nil, "")
		}, "OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:secret@127.0.0.1:1/?key=secret")
		for i := range 4 {
			away.Store(i < 2)
			span(t, e)
			time.Sleep(6 * time.Second) // more than OTEL_BSP_SCHEDULE_DELAY
		}
		if n := strings.Count(l.String(), "cannot be exported"); n != 1 {
			t.Errorf("%d lines of failure, want 1:\n%s", n, l)
		}
		if !strings.Contains(l.String(), `"lost":2`) || strings.Count(l.String(), "can be exported again") != 1 || strings.Contains(l.String(), "secret") {
			t.Errorf("the log:\n%s", l)
		}
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestClose: a receiver that does not answer holds nobody up longer than the context.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e, _ := open(t, func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}, "OTEL_TRACES_EXPORTER", "otlp")
		span(t, e)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		if err := e.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v, want the end of the context", err, time.Since(began))
		}
		synctest.Wait() // and the bubble ends only without goroutines
	})
}

// TestTimeout: an attempt lasts as long as OTEL_EXPORTER_OTLP_TIMEOUT says.
func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var took []time.Duration
		e, _ := open(t, func(r *http.Request) (*http.Response, error) {
			if len(took) > 0 {
				return says(200, nil, "")
			}
			<-r.Context().Done()
			took = append(took, time.Since(began))
			return nil, r.Context().Err()
		}, "OTEL_TRACES_EXPORTER", "otlp", "OTEL_EXPORTER_OTLP_TIMEOUT", "2500")
		span(t, e)
		if err := e.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]time.Duration{2500 * time.Millisecond}, took); diff != "" {
			t.Error(diff)
		}
	})
}

// TestBadResource: a malformed variable of the SDK is told, and costs no traces.
func TestBadResource(t *testing.T) {
	t.Setenv("OTEL_RESOURCE_ATTRIBUTES", "without-a-value")
	t.Setenv("OTEL_TRACES_SAMPLER", "sometimes")
	calls := 0
	e, l := open(t, func(*http.Request) (*http.Response, error) {
		calls++
		return says(200, nil, "")
	}, "OTEL_TRACES_EXPORTER", "otlp")
	span(t, e)
	if err := e.Close(t.Context()); err != nil || calls != 1 {
		t.Errorf("%v after %d calls", err, calls)
	}
	for _, want := range []string{"tell less", "unsupported sampler"} {
		if !strings.Contains(l.String(), want) {
			t.Errorf("the log has no %q:\n%s", want, l)
		}
	}
}

// TestCertificates: a receiver with a certificate of its own gets spans from those who
// were told to trust it, and shows that it wants theirs.
func TestCertificates(t *testing.T) {
	got := make(chan string, 10)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got <- fmt.Sprint(len(r.TLS.PeerCertificates))
	}))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.Config.ErrorLog = stdlog.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)

	folder := t.TempDir()
	pair := server.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"ca.pem": {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, "key.pem": {Type: "PRIVATE KEY", Bytes: key}} {
		if err := os.WriteFile(filepath.Join(folder, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ca := filepath.Join(folder, "ca.pem")
	for label, c := range map[string]struct {
		env  []string
		want string // number of certificates shown; "" for nothing that arrives
	}{
		"trusted":               {[]string{"OTEL_EXPORTER_OTLP_CERTIFICATE", ca}, "0"},
		"with a certificate":    {[]string{"OTEL_EXPORTER_OTLP_CERTIFICATE", ca, "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", ca, "OTEL_EXPORTER_OTLP_CLIENT_KEY", filepath.Join(folder, "key.pem")}, "1"},
		"not trusted by anyone": {nil, ""},
	} {
		l := &log{}
		e, err := otlp.Open(t.Context(), otlp.Config{
			Getenv: env(append(c.env, "OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)...), Log: zerolog.New(l),
		})
		if err != nil {
			t.Fatal(err)
		}
		span(t, e)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if c.want == "" {
			cancel()
			ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
		}
		err = e.Close(ctx)
		cancel()
		select {
		case n := <-got:
			if n != c.want || err != nil {
				t.Errorf("%s: %s certificates were shown, %v", label, n, err)
			}
		default:
			if c.want != "" {
				t.Errorf("%s: nothing arrived:\n%s", label, l)
			}
		}
	}
}

// Package otlp sends the spans of package tracing to where the standard variables of
// OpenTelemetry say, by OTLP over HTTP.
//
// The exporter is our own, and a small one: the official ones link protocol buffers and
// gRPC, whose package initialisation would add about a third to the start of every
// command. Spans, sampling, batches and limits are those of OpenTelemetry's SDK.
package otlp

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/arcd-io/arcd/internal/tracing"
)

// Config says who sends spans.
type Config struct {
	// Version is the attribute service.version. "": none.
	Version string
	// Getenv reads the variables of the exporter; the SDK reads its own from the
	// process. Required, usually [os.Getenv].
	Getenv func(string) string
	// Log gets what goes wrong.
	Log zerolog.Logger
	// Transport carries the requests. Nil: one of their own, with the proxy that the
	// environment names.
	Transport http.RoundTripper
}

// Exporter makes spans and sends them. A nil Exporter is one that is off.
type Exporter struct {
	provider *sdktrace.TracerProvider
	sender   *exporter
}

// Open begins to export traces if the environment asks for it: if OTEL_TRACES_EXPORTER
// is "otlp" or, where that is not set, if OTEL_EXPORTER_OTLP_ENDPOINT or
// OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is; not if OTEL_SDK_DISABLED is "true". It gives
// nil otherwise, and an error, without calling anybody, if what the variables ask for is
// not there. Whoever opens an Exporter closes it.
func Open(ctx context.Context, cfg Config) (*Exporter, error) {
	on, err := asked(cfg.Getenv)
	if err != nil || !on {
		return nil, err
	}
	s, err := read(cfg.Getenv)
	if err != nil {
		return nil, err
	}
	about, err := describe(ctx, cfg.Version)
	if err != nil {
		cfg.Log.Warn().Str("event", "traces").Err(err).Msg("spans tell less of this process")
	}
	// The SDK tells only this handler, of which there is one for a process, that a
	// variable of its own is malformed. Its default writes plain text to stderr.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		cfg.Log.Warn().Str("event", "traces").Err(err).Msg("tracing")
	}))
	sender := &exporter{settings: s, http: webClient(cfg.Transport, s), log: cfg.Log, agent: "arcd/" + cfg.Version}
	sender.ctx, sender.stop = context.WithCancel(context.WithoutCancel(ctx))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(sender), sdktrace.WithResource(about))
	cfg.Log.Info().Str("event", "traces").Str("endpoint", s.place()).Msg("exporting traces")
	return &Exporter{provider, sender}, nil
}

// webClient makes the client that sends spans. It follows no redirects: the headers may
// be secrets that are not for others.
func webClient(transport http.RoundTripper, s *settings) *http.Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, TLSClientConfig: s.tls, ForceAttemptHTTP2: true,
			MaxIdleConns: 2, IdleConnTimeout: time.Minute, TLSHandshakeTimeout: s.timeout,
		}
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// describe says who sends the spans. OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
// With an error, which a malformed variable is, it gives what else is known.
func describe(ctx context.Context, version string) (*resource.Resource, error) {
	known := []attribute.KeyValue{attribute.String("service.name", "arcd")}
	if version != "" {
		known = append(known, attribute.String("service.version", version))
	}
	return resource.New(ctx, resource.WithService(), resource.WithHost(), resource.WithTelemetrySDK(),
		resource.WithAttributes(known...), resource.WithFromEnv())
}

// Tracer gives what makes spans; nil if e is.
func (e *Exporter) Tracer() trace.Tracer {
	if e == nil {
		return nil
	}
	return e.provider.Tracer(tracing.Scope)
}

// Close sends the rest, as long as ctx lasts, and ends the Exporter.
func (e *Exporter) Close(ctx context.Context) error {
	if e == nil {
		return nil
	}
	defer e.sender.stop() // what is late is not sent
	if err := e.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("sending the last spans: %w", err)
	}
	return nil
}

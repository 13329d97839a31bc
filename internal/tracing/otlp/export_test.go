package otlp

import (
	"context"
	"net/http"
	"net/url"

	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// NewExporter makes the exporter alone, to compare it with others.
func NewExporter(endpoint string) sdktrace.SpanExporter {
	u, err := url.Parse(endpoint + "/v1/traces")
	if err != nil {
		panic(err)
	}
	e := &exporter{settings: &settings{url: u, header: http.Header{}, timeout: defaultTimeout}, log: zerolog.Nop()}
	e.http = webClient(nil, e.settings)
	e.ctx, e.stop = context.WithCancel(context.Background())
	return e
}

// Rejected is for the fuzzer.
func Rejected(answer []byte) (int64, string) { return rejected(answer) }

package cli

import (
	"context"
	"os"
	"time"

	"github.com/arcd-io/arcd/internal/tracing/otlp"
)

// lastSpans is how long the spans that are left may take when a server stops.
const lastSpans = 3 * time.Second

// openTraces begins to export traces if the standard variables of OpenTelemetry ask for
// it. What is wrong with them is told in the log, and no reason not to serve: they are
// often set for all programs of a machine at once.
func (a *app) openTraces(ctx context.Context) {
	var err error
	a.traces, err = otlp.Open(ctx, otlp.Config{Version: version(), Getenv: os.Getenv, Log: a.log})
	if err != nil {
		a.log.Warn().Str("event", "traces").Err(err).Msg("no traces are exported")
	}
}

// closeTraces sends the spans that are left.
func (a *app) closeTraces() {
	ctx, cancel := context.WithTimeout(context.Background(), lastSpans)
	defer cancel()
	if err := a.traces.Close(ctx); err != nil {
		a.log.Warn().Str("event", "traces").Err(err).Msg("the last spans are lost")
	}
}

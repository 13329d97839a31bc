package otlp

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

// exporter sends spans by OTLP/HTTP with binary protocol buffers (opentelemetry-proto,
// "OTLP/HTTP"). It tells the log when sending begins to fail and when it works again, and
// nobody else: spans are never worth a failure.
type exporter struct {
	settings *settings
	http     *http.Client
	log      zerolog.Logger
	agent    string // User-Agent

	ctx  context.Context // ends with stop, and what is being sent with it
	stop context.CancelFunc

	mu   sync.Mutex
	lost int // spans, since sending fails
}

// Limits of the exporter.
const (
	maxAnswer = 64 << 10        // bytes of an answer that are looked at
	minPause  = time.Second     // between the first and the second attempt
	maxPause  = 8 * time.Second // between later ones
)

// ExportSpans sends a batch. ctx ends when the batch is given up (OTEL_BSP_EXPORT_TIMEOUT).
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if len(spans) == 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.ctx, cancel)()
	body := encode(spans)
	if e.settings.gzip {
		body = compress(body)
	}
	e.tell(e.send(ctx, body), len(spans))
	return nil
}

// Shutdown ends what is being sent.
func (e *exporter) Shutdown(context.Context) error {
	e.stop()
	e.http.CloseIdleConnections()
	return nil
}

// tell writes to the log what changes.
func (e *exporter) tell(err error, spans int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if err == nil {
		if e.lost > 0 {
			e.log.Info().Str("event", "traces").Int("lost", e.lost).Msg("spans can be exported again")
			e.lost = 0
		}
		return
	}
	if e.lost == 0 {
		e.log.Warn().Str("event", "traces").Str("endpoint", e.settings.place()).Err(err).
			Msg("spans cannot be exported; they are dropped until that works again")
	}
	e.lost += spans
}

// place is the endpoint without what may be a secret.
func (s *settings) place() string { return s.url.Scheme + "://" + s.url.Host + s.url.Path }

// failure is an attempt that may be repeated, after pause at the soonest.
type failure struct {
	err   error
	pause time.Duration
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// send sends a body, again and again as long as ctx lasts and that may help.
func (e *exporter) send(ctx context.Context, body []byte) error {
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		err := e.post(ctx, body)
		again, ok := errors.AsType[*failure](err)
		if !ok || ctx.Err() != nil {
			return err
		}
		wait := max(again.pause, pause/2+rand.N(pause/2))
		if deadline, ok := ctx.Deadline(); ok && time.Until(deadline) < wait {
			return err
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
	}
}

// post makes one attempt.
func (e *exporter) post(ctx context.Context, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, e.settings.timeout)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, e.settings.url.String(), bytes.NewReader(body))
	if err != nil {
		return errors.New("the endpoint cannot be called")
	}
	r.Header = e.settings.header.Clone()
	r.Header.Set("Content-Type", mediaProtobuf)
	if r.Header.Get("User-Agent") == "" {
		r.Header.Set("User-Agent", e.agent)
	}
	if e.settings.gzip {
		r.Header.Set("Content-Encoding", "gzip")
	}
	resp, err := e.http.Do(r)
	if err != nil {
		if cause, ok := errors.AsType[*url.Error](err); ok {
			err = cause.Err // the URL may hold a secret
		}
		return &failure{err: err}
	}
	defer resp.Body.Close()
	return judge(resp)
}

// mediaProtobuf is the media type of both directions.
const mediaProtobuf = "application/x-protobuf"

// judge tells what became of an attempt ("OTLP/HTTP Response").
func judge(resp *http.Response) error {
	answer, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	switch {
	case resp.StatusCode/100 == 2:
		if !strings.HasPrefix(resp.Header.Get("Content-Type"), mediaProtobuf) {
			return nil
		}
		if n, why := rejected(answer); n > 0 {
			return fmt.Errorf("the receiver refused %d spans: %.200q", n, why)
		}
		return nil
	case resp.StatusCode == http.StatusTooManyRequests, resp.StatusCode == http.StatusBadGateway,
		resp.StatusCode == http.StatusServiceUnavailable, resp.StatusCode == http.StatusGatewayTimeout:
		return &failure{err: fmt.Errorf("the receiver answered %s", resp.Status), pause: retryAfter(resp.Header)}
	}
	return fmt.Errorf("the receiver answered %s", resp.Status)
}

// retryAfter reads the header Retry-After (RFC 9110, section 10.2.3); 0 if there is none.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 24); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return time.Until(at)
	}
	return 0
}

// compress compresses a body.
func compress(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // a buffer takes everything
	_ = w.Close()
	return b.Bytes()
}

package server_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/server"
)

// discard is a ResponseWriter that costs nothing, so that what is measured is
// the server's own.
type discard struct{ header http.Header }

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) WriteHeader(int)             {}
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }

// BenchmarkHandler measures one call from its header to its answer, with a
// token from the cache and without a log.
func BenchmarkHandler(b *testing.B) {
	w := start(b, options{config: func(cfg *server.Config) { cfg.Log = zerolog.Nop() }})
	created := w.do(ask{body: arcCall("task.create", "idle", hello), token: w.token()})
	for _, c := range []struct{ name, body string }{
		{"task.info", arcCall("task.info", "idle", `{"taskId":"`+taskID(b, created.body)+`"}`)},
		{"unknown method", arcCall("x", "idle", `{}`)},
		{"task.create", arcCall("task.create", "idle", hello)},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodPost, "/arc", nil)
			r.Header.Set("Authorization", "Bearer "+w.token())
			r.Header.Set("Content-Type", "application/arc+json")
			r.ContentLength = int64(len(c.body))
			body := strings.NewReader(c.body)
			r.Body = io.NopCloser(body)
			out := &discard{header: http.Header{}}
			handler := w.server.Handler()
			b.ReportAllocs()
			for b.Loop() {
				body.Reset(c.body)
				clear(out.header)
				handler.ServeHTTP(out, r)
			}
		})
	}
}

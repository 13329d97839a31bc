package cli

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// dated tells the store what the server's clock says, by the first answer: expiry
// is judged by it (contract section 2.5 row 2).
type dated struct {
	link *link
	host string // of the server
	next http.RoundTripper
	once sync.Once
}

// noteWait bounds the wait for the lock of the store: the clock is only a hint.
const noteWait = time.Second

func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := d.next.RoundTrip(r)
	if err != nil || r.URL.Host != d.host {
		return answer, err
	}
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		d.once.Do(func() {
			ctx, cancel := context.WithTimeout(r.Context(), noteWait)
			defer cancel()
			_ = d.link.store.NoteDate(ctx, d.link.server, date) // a read-only home is no failure
		})
	}
	return answer, nil
}

// CloseIdleConnections does for the client what it does for the transport behind.
func (d *dated) CloseIdleConnections() {
	(&http.Client{Transport: d.next}).CloseIdleConnections()
}

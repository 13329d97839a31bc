package interop_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// looking is the time between two looks of the balancer at a server.
const looking = 100 * time.Millisecond

// balancer is a reverse proxy as one stands in front of replicas: it asks each whether
// it is ready, sends calls to those that are in turns, and to another one where nobody
// listens any more. What has been sent it never repeats.
type balancer struct {
	url  string
	next atomic.Int64 // turn

	mu    sync.Mutex     // guards what follows
	ready []bool         // by replica
	bad   map[int]int    // answers from 500 on by status
	came  map[string]int // calls by replica
}

// balance runs one in front of these addresses until the end of the test.
func balance(t *testing.T, addrs []string) *balancer {
	t.Helper()
	b := &balancer{ready: make([]bool, len(addrs)), bad: map[int]int{}, came: map[string]int{}}
	onward := &onward{balancer: b, addrs: addrs, to: &http.Transport{MaxIdleConnsPerHost: 64}}
	proxy := &httputil.ReverseProxy{
		Transport: onward,
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetXForwarded() },
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil {
				t.Logf("balancer: %s: %v", r.URL.Path, err)
				b.count(http.StatusBadGateway)
			}
			w.WriteHeader(http.StatusBadGateway)
		},
		ModifyResponse: func(r *http.Response) error {
			b.count(r.StatusCode)
			return nil
		},
	}
	front := httptest.NewServer(proxy)
	b.url = front.URL
	ctx, stop := context.WithCancel(context.Background())
	var looks sync.WaitGroup
	for i, addr := range addrs {
		looks.Go(func() { b.look(ctx, i, addr) })
	}
	t.Cleanup(func() {
		stop()
		looks.Wait()
		front.CloseClientConnections()
		front.Close()
		onward.to.CloseIdleConnections()
	})
	return b
}

// count notes an answer.
func (b *balancer) count(status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if status >= http.StatusInternalServerError {
		b.bad[status]++
	}
}

// look asks a server again and again whether it is ready.
func (b *balancer) look(ctx context.Context, i int, addr string) {
	web := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(looking)
	defer tick.Stop()
	for {
		ready := false
		if r, err := web.Get("http://" + addr + "/readyz"); err == nil {
			_ = r.Body.Close()
			ready = r.StatusCode == http.StatusOK
		}
		b.mu.Lock()
		b.ready[i] = ready
		b.mu.Unlock()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// isReady tells what is known of a server.
func (b *balancer) isReady(i int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ready[i]
}

// onward sends a request to a server.
type onward struct {
	*balancer
	addrs []string
	to    *http.Transport
}

// RoundTrip tries the servers that are ready, in turns, then the others.
func (o *onward) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	_ = r.Body.Close()
	turn := int(o.next.Add(1))
	for _, wanted := range []bool{true, false} {
		for n := range o.addrs {
			i := (turn + n) % len(o.addrs)
			if o.isReady(i) != wanted {
				continue
			}
			var answer *http.Response
			if answer, err = o.try(r, i, body); !refused(err) {
				return answer, err
			}
		}
	}
	return nil, err
}

// try sends the request to one server.
func (o *onward) try(r *http.Request, i int, body []byte) (*http.Response, error) {
	o.mu.Lock()
	o.came[o.addrs[i]]++
	o.mu.Unlock()
	again := r.Clone(r.Context())
	again.URL = &url.URL{Scheme: "http", Host: o.addrs[i], Path: r.URL.Path, RawQuery: r.URL.RawQuery}
	again.Body, again.ContentLength, again.GetBody = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	if len(body) == 0 {
		again.Body = http.NoBody
	}
	return o.to.RoundTrip(again)
}

// refused tells whether there was nobody to talk to.
func refused(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && e.Op == "dial"
}

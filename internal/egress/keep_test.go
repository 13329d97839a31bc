package egress_test

import (
	"bufio"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/internal/egress"
)

// keeping is loopback with kept connections.
func keeping() egress.Policy {
	p := loopback()
	p.KeepAlive = true
	return p
}

func TestConnectionsAreKept(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/2 %v", h2), func(t *testing.T) {
			s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, r.Proto)
			}))
			s.EnableHTTP2, s.Config.ErrorLog = h2, quiet()
			s.StartTLS()
			t.Cleanup(s.Close)
			p := keeping()
			p.Roots = x509.NewCertPool()
			p.Roots.AddCert(s.Certificate())
			c, dialled := client(p)
			t.Cleanup(c.Close)
			for range 5 {
				got, err := c.Do(get(t, s.URL))
				if err != nil || (string(got.Body) == "HTTP/2.0") != h2 {
					t.Fatalf("got %+v, %v", got, err)
				}
			}
			if all := dialled.list(); len(all) != 1 {
				t.Errorf("five calls in a row dialled %d times", len(all))
			}
			c.Close()
			if _, err := c.Do(get(t, s.URL)); err != nil {
				t.Errorf("after Close: %v", err)
			}
			if all := dialled.list(); len(all) != 2 {
				t.Errorf("after Close: dialled %d times", len(all))
			}
		})
	}
}

// TestManyCallsShareConnections: more calls than connections, none of which is
// lost or waits for ever.
func TestManyCallsShareConnections(t *testing.T) {
	for _, h2 := range []bool{false, true} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			text, _ := io.ReadAll(r.Body)
			_, _ = w.Write(text)
		}))
		s.EnableHTTP2, s.Config.ErrorLog = h2, quiet()
		s.StartTLS()
		t.Cleanup(s.Close)
		p := keeping()
		p.Roots, p.PerHost = x509.NewCertPool(), 3
		p.Roots.AddCert(s.Certificate())
		c, dialled := client(p)
		t.Cleanup(c.Close)
		var calls sync.WaitGroup
		for n := range 100 {
			calls.Go(func() {
				text := strings.Repeat(fmt.Sprint(n), 5000)
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader(text))
				if err != nil {
					t.Error(err)
					return
				}
				got, err := c.Do(req)
				if err != nil || string(got.Body) != text {
					t.Errorf("call %d: got %+v, %v", n, got, err)
				}
			})
		}
		calls.Wait()
		if n := len(dialled.list()); n > 3 {
			t.Errorf("HTTP/2 %v: %d connections", h2, n)
		}
	}
}

// TestTransport: another client's calls are under the same policy.
func TestTransport(t *testing.T) {
	inner := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("was called") })
	outer := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL, http.StatusFound) })
	c, dialled := client(keeping())
	t.Cleanup(c.Close)
	res, err := c.HTTP().Do(get(t, outer.URL))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusFound {
		t.Errorf("status %d, want the redirect itself", res.StatusCode)
	}
	seen := len(dialled.list())
	for _, url := range []string{"http://10.0.0.1/", "http://[::ffff:169.254.169.254]/", "http://[::1]/", "http://user@127.0.0.1/", "ftp://127.0.0.1/", "http://0x7f.1/"} {
		req := get(t, url)
		body := &closing{}
		req.Body = body
		res, err := c.HTTP().Do(req)
		if err == nil {
			_ = res.Body.Close()
		}
		if _, ok := errors.AsType[*egress.Refused](err); !ok {
			t.Errorf("%s: %v, want *Refused", url, err)
		}
		if !body.closed {
			t.Errorf("%s: the request's body was left open", url)
		}
	}
	if n := len(dialled.list()); n != seen {
		t.Errorf("dialled %d times", n-seen)
	}
}

type closing struct{ closed bool }

func (*closing) Read([]byte) (int, error) { return 0, io.EOF }
func (c *closing) Close() error           { c.closed = true; return nil }

// TestNameIsJudgedAtEachDial: a name that changes its mind after the first call
// leads nowhere else, over a kept connection or over a new one.
func TestNameIsJudgedAtEachDial(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	p := keeping()
	p.Resolver = &names{answers: map[string][][]string{"agent.example": {{"127.0.0.1"}, {"10.0.0.1"}}}}
	c, dialled := client(p)
	t.Cleanup(c.Close)
	url := fmt.Sprintf("http://agent.example:%d/", address(s).Port())
	for range 2 { // the second over the connection of the first
		if _, err := c.Do(get(t, url)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	_, err := c.Do(get(t, url))
	wantRefused(t, err, "10.0.0.1")
	if all := dialled.list(); len(all) != 1 {
		t.Errorf("dialled %v", all)
	}
}

// TestStreams: an answer may take longer than Policy.Timeout and have more bytes
// than Policy.MaxBody when somebody else reads it, and ends with its context.
func TestStreams(t *testing.T) {
	next := make(chan string)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		for {
			select {
			case text := <-next:
				_, _ = io.WriteString(w, text+"\n")
				_ = http.NewResponseController(w).Flush()
			case <-r.Context().Done():
				return
			}
		}
	})
	p := keeping()
	p.Timeout, p.MaxBody = 1, 1
	c, _ := client(p)
	t.Cleanup(c.Close)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { next <- "first" }()
	res, err := c.HTTP().Do(get(t, s.URL).WithContext(ctx))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	lines := bufio.NewReader(res.Body)
	if text, err := lines.ReadString('\n'); text != "first\n" {
		t.Fatalf("got %q, %v", text, err)
	}
	next <- "second"
	if text, err := lines.ReadString('\n'); text != "second\n" {
		t.Fatalf("got %q, %v", text, err)
	}
	cancel()
	if _, err := lines.ReadString('\n'); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}

// TestErrorsOfTransport: they are the package's own, and do not show the URL.
func TestErrorsOfTransport(t *testing.T) {
	s := serve(t, silent(t))
	closed := serve(t, nil)
	closed.Close()
	p := keeping()
	p.HeaderTimeout = 1
	c, _ := client(p)
	t.Cleanup(c.Close)
	for url, late := range map[string]bool{s.URL: true, closed.URL: false} {
		_, err := c.Transport().RoundTrip(get(t, url+"/?secret=1"))
		wantUnreachable(t, err, late)
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("the error shows the query: %v", err)
		}
	}
}

package egress_test

import (
	"compress/gzip"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// loopback is a policy under which the tests' own servers may be called.
func loopback() egress.Policy { return egress.Policy{Allow: prefixes("127.0.0.0/8")} }

// serve starts a server on loopback.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

func address(s *httptest.Server) netip.AddrPort {
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// quiet keeps what a server says of handshakes that are meant to fail.
func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

// silent is a handler that answers nothing until the test or the caller is done.
func silent(t *testing.T) http.HandlerFunc {
	return func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-t.Context().Done():
		}
	}
}

func TestDoReadsTheAnswer(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "" {
			t.Errorf("asks for %q", r.Header.Get("Accept-Encoding"))
		}
		w.Header().Set("X-Seen", r.Host)
		w.WriteHeader(http.StatusTeapot)
		_, _ = io.WriteString(w, "short and stout")
	})
	p := loopback()
	p.Resolver = name("agent.example", "127.0.0.1")
	c, dialled := client(p)
	host := fmt.Sprintf("agent.example:%d", address(s).Port())
	got, err := c.Do(get(t, "http://"+host+"/pot"))
	if err != nil {
		t.Fatal(err)
	}
	if got.Status != http.StatusTeapot || string(got.Body) != "short and stout" || got.Cut || got.Header.Get("X-Seen") != host {
		t.Errorf("got %+v", got)
	}
	if diff := cmp.Diff([]netip.AddrPort{address(s)}, dialled.list(), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b })); diff != "" {
		t.Errorf("dialled:\n%s", diff)
	}
}

func TestOwnServersAreRefusedUnlessAllowed(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("was called") })
	c, dialled := client(egress.Policy{})
	_, err := c.Do(get(t, s.URL))
	wantRefused(t, err, "127.0.0.1")
	if all := dialled.list(); len(all) > 0 {
		t.Errorf("dialled %v", all)
	}
}

// TestRedirectsAreAnswers: following one would lead wherever the host likes.
func TestRedirectsAreAnswers(t *testing.T) {
	inner := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	for _, status := range []int{301, 302, 303, 307, 308} {
		s := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, inner.URL, status) })
		c, _ := client(loopback())
		got, err := c.Do(get(t, s.URL))
		if err != nil || got.Status != status || got.Header.Get("Location") != inner.URL {
			t.Errorf("%d: got %+v, %v", status, got, err)
		}
	}
}

func TestNothingIsKeptBetweenCalls(t *testing.T) {
	var mu sync.Mutex
	from := map[string]bool{}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if len(r.Cookies()) > 0 {
			t.Errorf("sends the cookies %v", r.Cookies())
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
		mu.Lock()
		defer mu.Unlock()
		from[r.RemoteAddr] = true
	})
	c, _ := client(loopback())
	for range 3 {
		if _, err := c.Do(get(t, s.URL)); err != nil {
			t.Fatal(err)
		}
	}
	if len(from) != 3 {
		t.Errorf("three calls came over %d connections", len(from))
	}
}

// TestNoProxy: a proxy would look the name up itself.
func TestNoProxy(t *testing.T) {
	proxy := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the proxy was asked") })
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "ALL_PROXY"} {
		t.Setenv(name, proxy.URL)
	}
	p := loopback()
	p.Resolver = name("agent.example", "10.0.0.1")
	c, dialled := client(p)
	_, err := c.Do(get(t, "http://agent.example/"))
	wantRefused(t, err, "10.0.0.1")
	if all := dialled.list(); len(all) > 0 {
		t.Errorf("dialled %v", all)
	}
}

func TestBodyIsBounded(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		text := strings.Repeat("x", 1000)
		for range 20 { // until the reader goes away
			if _, err := io.WriteString(w, text); err != nil {
				return
			}
		}
	})
	for _, test := range []struct {
		most int64
		size int
		cut  bool
	}{{most: 19_999, size: 19_999, cut: true}, {most: 20_000, size: 20_000}, {most: 0, size: 20_000}, {most: 1, size: 1, cut: true}} {
		p := loopback()
		p.MaxBody = test.most
		c, _ := client(p)
		got, err := c.Do(get(t, s.URL))
		if err != nil || len(got.Body) != test.size || got.Cut != test.cut {
			t.Errorf("MaxBody %d: got %d bytes, cut %v, %v", test.most, len(got.Body), got.Cut, err)
		}
	}
}

// TestEndlessAnswersEnd: a body or a header without end costs no more than the
// limits say.
func TestEndlessAnswersEnd(t *testing.T) {
	endless := func(write func(io.Writer) error) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n")
			for write(conn) == nil {
			}
		}
	}
	c, _ := client(loopback())
	header := serve(t, endless(func(w io.Writer) error {
		_, err := io.WriteString(w, "X-More: "+strings.Repeat("x", 1000)+"\r\n")
		return err
	}))
	_, err := c.Do(get(t, header.URL))
	wantUnreachable(t, err, false)
	first := true
	body := serve(t, endless(func(w io.Writer) error {
		if first {
			first = false
			_, err := io.WriteString(w, "\r\n")
			return err
		}
		_, err := io.WriteString(w, strings.Repeat("x", 1000))
		return err
	}))
	if got, err := c.Do(get(t, body.URL)); err != nil || !got.Cut || len(got.Body) != egress.DefaultMaxBody {
		t.Errorf("got %d bytes, %v", len(got.Body), err)
	}
}

// TestNoSwitch: an answer that begins another protocol has no body. It would never
// end: the context of a call does not reach such a connection.
func TestNoSwitch(t *testing.T) {
	left := make(chan struct{})
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		defer close(left)
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_, _ = io.Copy(io.Discard, buf) // until the caller leaves
	})
	c, _ := client(loopback())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if got, err := c.Do(get(t, s.URL)); err != nil || got.Status != 101 || len(got.Body) != 0 {
			t.Errorf("got %+v, %v", got, err)
		}
	}()
	for _, ended := range []chan struct{}{answered, left} {
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			t.Fatal("the call or its connection goes on")
		}
	}
}

// TestNothingIsUnpacked: a few bytes that unpack to many stay as they came.
func TestNothingIsUnpacked(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = z.Write(make([]byte, 1<<20))
		_ = z.Close()
	})
	c, _ := client(loopback())
	got, err := c.Do(get(t, s.URL))
	if err != nil || got.Cut || len(got.Body) > 10_000 {
		t.Errorf("got %d bytes, %v", len(got.Body), err)
	}
}

// wantUnreachable expects that the call was tried in vain.
func wantUnreachable(t *testing.T, err error, timedOut bool) {
	t.Helper()
	e, ok := errors.AsType[*egress.Unreachable](err)
	if !ok || e.TimedOut != timedOut || e.Host == "" {
		t.Errorf("got %v, want *Unreachable with TimedOut %v", err, timedOut)
	}
}

func TestUnreachable(t *testing.T) {
	closed := serve(t, nil)
	closed.Close()
	garbage := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
	})
	cutOff := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "10")
		_, _ = io.WriteString(w, "short")
	})
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = quiet()
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	p := loopback()
	p.Resolver = &names{answers: map[string][][]string{"empty.example": {{}}}}
	c, _ := client(p)
	for what, url := range map[string]string{
		"nobody listens":      closed.URL,
		"no HTTP":             garbage.URL,
		"cut off":             cutOff.URL,
		"unknown certificate": stranger.URL,
		"https to http":       strings.Replace(cutOff.URL, "http:", "https:", 1),
		"no such name":        "http://nobody.example/",
		"no address":          "http://empty.example/",
	} {
		t.Run(what, func(t *testing.T) {
			_, err := c.Do(get(t, url+"?secret=1"))
			wantUnreachable(t, err, false)
			if strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("the error shows the query: %v", err)
			}
		})
	}
	wantUnreachable(t, c.Check(t.Context(), "http://nobody.example/"), false)
}

func TestCertificates(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.Proto)
	}))
	s.EnableHTTP2, s.Config.ErrorLog = true, quiet()
	s.StartTLS()
	t.Cleanup(s.Close)
	p := loopback()
	p.Roots = x509.NewCertPool()
	p.Roots.AddCert(s.Certificate())
	p.Resolver = &names{answers: map[string][][]string{"example.com": {{"127.0.0.1"}}, "other.test": {{"127.0.0.1"}}}}
	c, _ := client(p)
	port := address(s).Port()
	got, err := c.Do(get(t, fmt.Sprintf("https://example.com:%d/", port)))
	if err != nil || string(got.Body) != "HTTP/2.0" {
		t.Errorf("got %+v, %v; want an answer over HTTP/2", got, err)
	}
	_, err = c.Do(get(t, fmt.Sprintf("https://other.test:%d/", port)))
	wantUnreachable(t, err, false)
	if _, ok := errors.AsType[x509.HostnameError](err); !ok {
		t.Errorf("got %v, want that the name is wrong", err)
	}
}

// waiting is a resolver that never answers.
type waiting struct{}

func (waiting) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestTimeouts(t *testing.T) {
	unanswered := serve(t, silent(t))
	begun := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		silent(t)(w, r)
	})
	mute, err := net.Listen("tcp", "127.0.0.1:0") // the kernel connects, nobody accepts
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = mute.Close() })
	p := loopback()
	p.Timeout, p.Resolver = 50*time.Millisecond, waiting{}
	c, _ := client(p)
	for what, url := range map[string]string{
		"no answer": unanswered.URL, "no end": begun.URL, "no address": "http://agent.example/",
		"no handshake": "https://" + mute.Addr().String(),
	} {
		t.Run(what, func(t *testing.T) {
			_, err := c.Do(get(t, url))
			wantUnreachable(t, err, true)
		})
	}
	wantUnreachable(t, c.Check(t.Context(), "http://agent.example/"), true)
}

// TestDialEndsWithTheCall: nothing of a call goes on when its caller has left.
func TestDialEndsWithTheCall(t *testing.T) {
	looking := make(lookups, 1)
	p := loopback()
	p.Resolver = looking
	c, _ := client(p)
	ctx, cancel := context.WithCancel(t.Context())
	var left context.Context
	go func() {
		left = <-looking
		cancel()
	}()
	if _, err := c.Do(get(t, "http://agent.example/").WithContext(ctx)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-left.Done()
}

// lookups is a resolver that tells its contexts and waits for their end.
type lookups chan context.Context

func (l lookups) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	l <- ctx
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestCallersEnd: that the caller gave up says nothing about the host.
func TestCallersEnd(t *testing.T) {
	called := make(chan struct{}, 1)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		called <- struct{}{}
		silent(t)(w, r)
	})
	c, _ := client(loopback())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-called
		cancel()
	}()
	_, err := c.Do(get(t, s.URL).WithContext(ctx))
	if _, ok := errors.AsType[*egress.Unreachable](err); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that the context ended", err)
	}
	if err := c.Check(ctx, "http://agent.example/"); !errors.Is(err, context.Canceled) {
		t.Errorf("Check: %v", err)
	}
}

// TestNextAddress: a name works as long as one of its first addresses does.
func TestNextAddress(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) {})
	p := loopback()
	p.Resolver = name("agent.example", "127.0.0.9", "127.0.0.8", "127.0.0.1")
	c, dialled := client(p)
	if _, err := c.Do(get(t, fmt.Sprintf("http://agent.example:%d/", address(s).Port()))); err != nil {
		t.Fatal(err)
	}
	if all := dialled.list(); len(all) != 3 {
		t.Errorf("dialled %v", all)
	}
	p.Resolver = name("agent.example", "127.0.0.9", "127.0.0.8", "127.0.0.7", "127.0.0.6", "127.0.0.5", "127.0.0.1")
	c, dialled = client(p)
	_, err := c.Do(get(t, fmt.Sprintf("http://agent.example:%d/", address(s).Port())))
	wantUnreachable(t, err, false)
	if all := dialled.list(); len(all) != 4 {
		t.Errorf("dialled %v, want four tries", all)
	}
}

// TestOneHostIsNotFlooded: of many calls to one host eight are under way, the
// others wait for their turn or their time.
func TestOneHostIsNotFlooded(t *testing.T) {
	var mu sync.Mutex
	var now, most int
	full, release := make(chan struct{}), make(chan struct{})
	s := serve(t, func(http.ResponseWriter, *http.Request) {
		mu.Lock()
		now++
		most = max(most, now)
		if now == 8 {
			close(full)
		}
		mu.Unlock()
		<-release
		mu.Lock()
		now--
		mu.Unlock()
	})
	c, dialled := client(loopback())
	var calls sync.WaitGroup
	for range 8 {
		calls.Go(func() {
			if _, err := c.Do(get(t, s.URL)); err != nil {
				t.Error(err)
			}
		})
	}
	<-full
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := c.Do(get(t, s.URL).WithContext(ctx)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the ninth call: %v", err)
	}
	if all := dialled.list(); len(all) != 8 {
		t.Errorf("dialled %d times", len(all))
	}
	close(release)
	calls.Wait()
	if _, err := c.Do(get(t, s.URL)); err != nil {
		t.Errorf("after the others: %v", err)
	}
	if most > 8 {
		t.Errorf("%d calls at once", most)
	}
}

func TestDoJudgesTheForm(t *testing.T) {
	c, dialled := client(loopback())
	for _, url := range []string{"http://user@127.0.0.1/", "http://127.1/", "http://[::1%25lo]/", "ftp://127.0.0.1/"} {
		_, err := c.Do(get(t, url))
		if e, ok := errors.AsType[*egress.Refused](err); !ok || e.Reason != egress.ReasonURL {
			t.Errorf("%s: %v", url, err)
		}
		if e, ok := errors.AsType[*egress.Refused](c.Check(t.Context(), url)); !ok || e.Reason != egress.ReasonURL {
			t.Errorf("Check of %s: %v", url, e)
		}
	}
	if all := dialled.list(); len(all) > 0 {
		t.Errorf("dialled %v", all)
	}
}

var _ egress.Resolver = (*net.Resolver)(nil)

package webhook_test

import (
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
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/egress"
	"github.com/arcd-io/arcd/internal/webhook"
	"github.com/arcd-io/arcd/methods"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names is a resolver that gives a host's answers one after the other, the last one
// again and again.
type names struct {
	mu      sync.Mutex // guards answers
	answers map[string][]string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := n.answers[host]
	if len(all) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(all) > 1 {
		n.answers[host] = all[1:]
	}
	return []netip.Addr{netip.MustParseAddr(all[0])}, nil
}

// sender makes a Sender that may call 127.0.0.1 alone.
func sender(t *testing.T, cfg webhook.Config, p egress.Policy) *webhook.Sender {
	t.Helper()
	p.Allow, p.KeepAlive = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}, true
	if cfg.Timeout > 0 {
		p.Timeout = cfg.Timeout
	}
	cfg.Calls = egress.New(p)
	t.Cleanup(cfg.Calls.Close)
	return webhook.New(cfg)
}

func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}

// TestCheck is the table of what a callback URL may be. Nothing is dialled.
func TestCheck(t *testing.T) {
	resolver := &names{answers: map[string][]string{
		"public.example": {"8.8.8.8"}, "local.example": {"127.0.0.1"}, "private.example": {"10.1.2.3"}, "metadata.example": {"169.254.169.254"},
		"mapped.example": {"::ffff:10.0.0.1"}, "nat64.example": {"64:ff9b::a00:1"}, "six.example": {"fd00::1"},
	}}
	strict := sender(t, webhook.Config{}, egress.Policy{Resolver: resolver})
	lax := sender(t, webhook.Config{AllowHTTP: true}, egress.Policy{Resolver: resolver})
	for url, want := range map[string]string{
		"https://public.example/hook?key=1":                  "",
		"https://8.8.8.8/":                                   "",
		"https://127.0.0.1:8443/":                            "", // is allowed here
		"http://public.example/":                             "https_required",
		"ftp://public.example/":                              "invalid_url",
		"file:///etc/passwd":                                 "invalid_url",
		"/hook":                                              "invalid_url",
		"https://":                                           "invalid_url",
		"https://user:pw@public.example/":                    "invalid_url",
		"https://public.example/#part":                       "invalid_url",
		"https://2130706433/":                                "invalid_url",
		"https://0x7f.1/":                                    "invalid_url",
		"https://0177.0.0.1/":                                "invalid_url",
		"https://[fe80::1%25eth0]/":                          "invalid_url",
		"https://public.example\\@10.0.0.1":                  "invalid_url",
		"https://" + strings.Repeat("a", 2100) + ".example/": "invalid_url",
		"https://nobody.example/":                            "unresolvable",
		"https://127.0.0.2/":                                 "address_not_allowed",
		"https://0.0.0.0/":                                   "address_not_allowed",
		"https://10.0.0.1/":                                  "address_not_allowed",
		"https://172.16.0.1/":                                "address_not_allowed",
		"https://192.168.1.1/":                               "address_not_allowed",
		"https://100.64.0.1/":                                "address_not_allowed",
		"https://169.254.169.254/latest/meta-data/":          "address_not_allowed",
		"https://168.63.129.16/":                             "address_not_allowed",
		"https://224.0.0.1/":                                 "address_not_allowed",
		"https://255.255.255.255/":                           "address_not_allowed",
		"https://[::1]/":                                     "address_not_allowed",
		"https://[::]/":                                      "address_not_allowed",
		"https://[fe80::1]/":                                 "address_not_allowed",
		"https://[fd00:ec2::254]/":                           "address_not_allowed",
		"https://[ff02::1]/":                                 "address_not_allowed",
		"https://[::ffff:169.254.169.254]/":                  "address_not_allowed",
		"https://[::ffff:127.0.0.2]/":                        "address_not_allowed",
		"https://[64:ff9b::a9fe:a9fe]/":                      "address_not_allowed",
		"https://[2002:a00:1::]/":                            "address_not_allowed",
		"https://private.example/":                           "address_not_allowed",
		"https://metadata.example/":                          "address_not_allowed",
		"https://mapped.example/":                            "address_not_allowed",
		"https://nat64.example/":                             "address_not_allowed",
		"https://six.example/":                               "address_not_allowed",
	} {
		t.Run(url[:min(len(url), 60)], func(t *testing.T) {
			err := strict.Check(t.Context(), url)
			e, ok := errors.AsType[*arc.Error](err)
			switch {
			case want == "" && err != nil, want != "" && (!ok || e.Reason() != want || e.Code != arc.CodeInvalidParams || e.Details["field"] != "callbackUrl"):
				t.Errorf("got %v, want reason %q", err, want)
			case ok:
				said := fmt.Sprint(e.Message, e.Details)
				for _, inside := range []string{"10.1.2.3", "fd00::1", "a00:1"} {
					if strings.Contains(said, inside) && !strings.Contains(url, inside) {
						t.Errorf("it tells what the name resolves to: %s", said)
					}
				}
			}
		})
	}
	if err := lax.Check(t.Context(), "http://public.example/"); err != nil {
		t.Errorf("http where it is allowed: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	slow := sender(t, webhook.Config{}, egress.Policy{Resolver: never{}})
	if err := slow.Check(ended, "https://public.example/"); !errors.Is(err, context.Canceled) {
		t.Errorf("after the caller has left: %v", err)
	}
}

// never is a resolver that does not answer.
type never struct{}

func (never) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func message(url string) methods.Webhook {
	return methods.Webhook{URL: url, Header: map[string]string{"Content-Type": arc.MediaARC, "webhook-id": "sub-1.7"}, Body: []byte(`{"arc":"1.0"}`)}
}

func TestPost(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.Method != http.MethodPost || string(body) != `{"arc":"1.0"}` || r.Header.Get("Webhook-Id") != "sub-1.7" ||
			r.URL.RawQuery != "key=1" || r.Header.Get("Authorization") != "" || r.ContentLength != int64(len(body)) {
			t.Errorf("%s %s %v %s", r.Method, r.URL, r.Header, body)
		}
		if r.URL.Path == "/json" != (r.Header.Get("Content-Type") == arc.MediaJSON) {
			t.Errorf("%s: %s", r.URL.Path, r.Header.Get("Content-Type"))
		}
		w.Header().Set("Retry-After", "17")
		w.WriteHeader(http.StatusAccepted)
	})
	for path, contentType := range map[string]string{"/arc": "", "/json": arc.MediaJSON} {
		sender := sender(t, webhook.Config{AllowHTTP: true, ContentType: contentType}, egress.Policy{})
		got, err := sender.Post(t.Context(), message(s.URL+path+"?key=1"))
		if err != nil || got != (methods.WebhookAnswer{Status: 202, RetryAfter: 17 * time.Second}) {
			t.Errorf("got %+v, %v", got, err)
		}
	}
}

// TestRefusedAtTheDial: a name that leads elsewhere after it was checked, and what
// is no longer allowed. The addresses are loopback ones: were they dialled, nothing
// would leave the machine.
func TestRefusedAtTheDial(t *testing.T) {
	s := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("was called") })
	u, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	for what, second := range map[string]string{"other loopback": "127.0.0.2", "mapped": "::ffff:127.0.0.2", "IPv6 loopback": "::1"} {
		t.Run(what, func(t *testing.T) {
			resolver := &names{answers: map[string][]string{"rebind.example": {"127.0.0.1", second}}}
			sender := sender(t, webhook.Config{AllowHTTP: true}, egress.Policy{Resolver: resolver})
			callback := "http://rebind.example:" + u.Port() + "/"
			if err := sender.Check(t.Context(), callback); err != nil {
				t.Fatalf("Check: %v", err)
			}
			_, err := sender.Post(t.Context(), message(callback))
			e, ok := errors.AsType[*arc.Error](err)
			if !ok || e.Reason() != "address_not_allowed" || strings.Contains(e.Message, second) {
				t.Errorf("got %v", err)
			}
		})
	}
	_, err = sender(t, webhook.Config{}, egress.Policy{}).Post(t.Context(), message(s.URL))
	if e, ok := errors.AsType[*arc.Error](err); !ok || e.Reason() != "https_required" {
		t.Errorf("http that is no longer allowed: %v", err)
	}
}

// TestAnswers: the status is the answer, whatever comes with it.
func TestAnswers(t *testing.T) {
	inner := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	for what, test := range map[string]struct {
		answer http.HandlerFunc
		want   methods.WebhookAnswer
	}{
		"500": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, methods.WebhookAnswer{Status: 500}},
		"410": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(410) }, methods.WebhookAnswer{Status: 410}},
		"429 with seconds": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "120")
			w.WriteHeader(429)
		}, methods.WebhookAnswer{Status: 429, RetryAfter: 2 * time.Minute}},
		"503 with nonsense": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "-5 soon")
			w.WriteHeader(503)
		}, methods.WebhookAnswer{Status: 503}},
		"in the past": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "Mon, 01 Jan 2001 00:00:00 GMT")
			w.WriteHeader(503)
		}, methods.WebhookAnswer{Status: 503}},
		"redirect": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, inner.URL, http.StatusTemporaryRedirect)
		}, methods.WebhookAnswer{Status: 307}},
		"redirect to nonsense": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://[::bad%zz/")
			w.WriteHeader(http.StatusFound)
		}, methods.WebhookAnswer{Status: 302}},
		"another protocol": {func(w http.ResponseWriter, _ *http.Request) {
			conn, buf, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
			_, _ = io.Copy(io.Discard, buf) // until the caller leaves
		}, methods.WebhookAnswer{Status: 101}},
		"huge body": {func(w http.ResponseWriter, _ *http.Request) {
			for range 1000 {
				if _, err := w.Write(make([]byte, 1<<20)); err != nil {
					return
				}
			}
			t.Error("a gigabyte was read")
		}, methods.WebhookAnswer{Status: 200}},
		"endless body": {func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}, methods.WebhookAnswer{Status: 200}},
		"cut off": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "short")
		}, methods.WebhookAnswer{Status: 200}},
	} {
		t.Run(what, func(t *testing.T) {
			s := serve(t, test.answer)
			got, err := sender(t, webhook.Config{AllowHTTP: true}, egress.Policy{}).Post(t.Context(), message(s.URL))
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v; want %+v", got, err, test.want)
			}
		})
	}
	at := time.Now().Add(time.Hour)
	s := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", at.UTC().Format(http.TimeFormat))
		w.WriteHeader(503)
	})
	got, err := sender(t, webhook.Config{AllowHTTP: true}, egress.Policy{}).Post(t.Context(), message(s.URL))
	if err != nil || got.RetryAfter < 59*time.Minute || got.RetryAfter > time.Hour {
		t.Errorf("a date: %+v, %v", got, err)
	}
}

// TestNoAnswer: what the subscriber reads of why none came.
func TestNoAnswer(t *testing.T) {
	closed := serve(t, nil)
	closed.Close()
	silent := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // or the server does not see that the caller leaves
		<-r.Context().Done()
	})
	garbage := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "220 mail.example ESMTP\r\n")
	})
	stranger := httptest.NewUnstartedServer(http.NotFoundHandler())
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	for url, want := range map[string]string{
		closed.URL:               "the connection was refused",
		silent.URL:               "no answer came in time",
		garbage.URL:              "the connection failed before an answer came",
		stranger.URL:             "the certificate of the host is not valid",
		"https://nobody.example": "the name of the host does not resolve",
	} {
		p := sender(t, webhook.Config{AllowHTTP: true, Timeout: 300 * time.Millisecond}, egress.Policy{Resolver: &names{}})
		if _, err := p.Post(t.Context(), message(url+"/?secret=1")); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := sender(t, webhook.Config{AllowHTTP: true}, egress.Policy{}).Post(ctx, message(silent.URL)); !errors.Is(err, context.Canceled) {
		t.Errorf("cut off by us: %v", err)
	}
}

// tokens is a source that counts.
type tokens struct{ n int }

func (s *tokens) Token(_ context.Context, expired string) (string, error) {
	if s.n < 0 {
		return "", errors.New("secret of the token endpoint")
	}
	if expired != "" {
		s.n++
	}
	return fmt.Sprint("token-", s.n), nil
}

// TestTokens: a receiver is shown its own token, and a new one if it refuses that.
func TestTokens(t *testing.T) {
	var seen []string
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"))
		if r.Header.Get("Authorization") == "Bearer token-0" {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})
	source := &tokens{}
	cfg := webhook.Config{AllowHTTP: true, Token: func(callback string) client.TokenSource {
		if strings.Contains(callback, "stranger") {
			return nil
		}
		return source
	}}
	p := sender(t, cfg, egress.Policy{})
	if got, err := p.Post(t.Context(), message(s.URL)); err != nil || got.Status != 200 {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := p.Post(t.Context(), message(s.URL+"/stranger")); err != nil {
		t.Error(err)
	}
	if got := strings.Join(seen, ","); got != "Bearer token-0,Bearer token-1," {
		t.Errorf("shown: %s", got)
	}
	source.n = -1
	if _, err := p.Post(t.Context(), message(s.URL)); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("without a token: %v", err)
	}
}

// TestHTTPS: a certificate that is in order, and the connection is kept.
func TestHTTPS(t *testing.T) {
	var mu sync.Mutex
	from := map[string]bool{}
	s := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		from[r.RemoteAddr] = true
	}))
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	p := sender(t, webhook.Config{}, egress.Policy{Roots: roots})
	for range 3 {
		if got, err := p.Post(t.Context(), message(s.URL)); err != nil || got.Status != 200 {
			t.Fatalf("got %+v, %v", got, err)
		}
	}
	if len(from) != 1 {
		t.Errorf("%d connections", len(from))
	}
}

var _ methods.Webhooks = (*webhook.Sender)(nil)

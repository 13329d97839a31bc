package client_test

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// overTLS serves with HTTP/2 and gives the file of its certificate, and how the
// last request came.
func overTLS(t *testing.T) (url, caFile string, last *atomic.Pointer[http.Request]) {
	t.Helper()
	last = &atomic.Pointer[http.Request]{}
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last.Store(r)
		w.WriteHeader(http.StatusTeapot)
	}))
	web.EnableHTTP2 = true
	web.StartTLS()
	t.Cleanup(web.Close)
	caFile = filepath.Join(t.TempDir(), "ca.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: web.Certificate().Raw})
	if err := os.WriteFile(caFile, block, 0o600); err != nil {
		t.Fatal(err)
	}
	return web.URL, caFile, last
}

// TestTLS: trust comes from the file, the key exchange is the post-quantum hybrid,
// and the connection HTTP/2.
func TestTLS(t *testing.T) {
	url, caFile, last := overTLS(t)
	web, err := client.NewHTTP(client.HTTPConfig{CAFile: caFile})
	if err != nil {
		t.Fatal(err)
	}
	c := &client.Client{URL: url, HTTP: web, Token: client.StaticToken("t")}
	t.Cleanup(c.CloseIdleConnections)
	if e, ok := errors.AsType[*client.StatusError](c.Call(t.Context(), "m", "a", nil, nil)); !ok || e.Status != http.StatusTeapot {
		t.Fatalf("got %v", e)
	}
	if how := last.Load(); how.ProtoMajor != 2 || how.TLS.CurveID != tls.X25519MLKEM768 || how.TLS.Version != tls.VersionTLS13 {
		t.Errorf("%s, key exchange %s, version %x; want HTTP/2, X25519MLKEM768, TLS 1.3", how.Proto, how.TLS.CurveID, how.TLS.Version)
	}
	strict := &client.Client{URL: url} // does not know the certificate
	t.Cleanup(strict.CloseIdleConnections)
	err = strict.Call(t.Context(), "m", "a", nil, nil)
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok || errors.Is(err, arc.ErrUnavailable) {
		t.Errorf("an unknown certificate: %v", err)
	}
}

// TestNoProxyForThisMachine: what may travel in the open as it stays on this
// machine does not go through the proxy of the environment, however the machine is
// named. The environment is read once in a process, so the test starts one.
func TestNoProxyForThisMachine(t *testing.T) {
	const variable, proxy = "HTTP_PROXY", "http://127.0.0.1:9"
	if os.Getenv(variable) != proxy {
		again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		again.Env = append(os.Environ(), variable+"="+proxy, "NO_PROXY=", "REQUEST_METHOD=")
		if out, err := again.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	web, err := client.NewHTTP(client.HTTPConfig{})
	must(t, err)
	for url, proxied := range map[string]bool{
		"http://LOCALHOST:1/arc": false, "http://localhost/arc": false, "http://[::ffff:127.0.0.1]/arc": false, "http://arc.test/arc": true,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, nil)
		must(t, err)
		if to, err := web.Transport.(*http.Transport).Proxy(req); err != nil || (to != nil) != proxied {
			t.Errorf("%s goes through %v, %v", url, to, err)
		}
	}
}

func TestCAFiles(t *testing.T) {
	dir := t.TempDir()
	empty := filepath.Join(dir, "empty.pem")
	if err := os.WriteFile(empty, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{empty, filepath.Join(dir, "absent"), dir} {
		if _, err := client.NewHTTP(client.HTTPConfig{CAFile: path}); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v, want an error that names it", path, err)
		}
	}
}

// TestRedirects: a call goes to the server that it was meant for, or nowhere.
func TestRedirects(t *testing.T) {
	var reached atomic.Int32
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached.Add(1) }))
	t.Cleanup(other.Close)
	web := http.NewServeMux()
	here := httptest.NewServer(web)
	t.Cleanup(here.Close)
	web.HandleFunc("/again", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/again", http.StatusTemporaryRedirect)
	})
	web.HandleFunc("/arc", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer t" || r.Method != http.MethodPost {
			t.Errorf("redirected within the server: %s with %q", r.Method, r.Header.Get("Authorization"))
		}
		w.WriteHeader(http.StatusTeapot)
	})
	for path, to := range map[string]string{"/other": other.URL + "/arc", "/get": "/arc", "/moved": "/arc", "/scheme": strings.Replace(here.URL, "http", "https", 1) + "/arc"} {
		status := http.StatusPermanentRedirect
		if path == "/get" {
			status = http.StatusSeeOther
		}
		web.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, status) })
	}
	for path, want := range map[string]int{"/other": 308, "/get": 303, "/moved": 418, "/scheme": 308, "/again": 307} {
		for label, transport := range map[string]*http.Client{"own": nil, "given": {}} {
			c := &client.Client{URL: here.URL + path, Token: client.StaticToken("t"), HTTP: transport}
			t.Cleanup(c.CloseIdleConnections)
			e, ok := errors.AsType[*client.StatusError](c.Call(t.Context(), "m", "a", nil, nil))
			if !ok || e.Status != want || reached.Load() != 0 {
				t.Errorf("%s, %s client: %v, reached %d; want status %d", path, label, e, reached.Load(), want)
			}
		}
	}
}

// TestNothingIsLeft: a client that has closed its idle connections holds nothing.
func TestNothingIsLeft(t *testing.T) {
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusTeapot) }))
	defer web.Close()
	c := &client.Client{URL: web.URL}
	_ = c.Call(t.Context(), "m", "a", nil, nil) // refused
	c.CloseIdleConnections()
}

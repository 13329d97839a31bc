package cli_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestSettingsReachTheirParts: each of these settings changes what a caller
// sees.
func TestSettingsReachTheirParts(t *testing.T) {
	create := func(s *served) answer { return s.create(s.token(), "echo") }
	for setting, c := range map[string]struct {
		call func(*served) answer
		want func(answer) bool
	}{
		"server_id: box": {
			func(s *served) answer { return s.create(s.token(), "nobody") },
			func(a answer) bool { return a.ResponseAgent == "box" && a.Error.Details["availableAgents"] == nil },
		},
		"list_agents: true": {
			func(s *served) answer { return s.create(s.token(), "nobody") },
			func(a answer) bool { return a.Error.Details["availableAgents"] != nil },
		},
		"http_status: always_200": {
			func(s *served) answer { return s.create("", "echo") },
			func(a answer) bool { return a.status == 200 && a.code() == -44001 },
		},
		"limits: {body_bytes: 100}": {create, func(a answer) bool { return a.status == 413 && a.code() == -45004 }},
		"limits: {depth: 2}":        {create, func(a answer) bool { return a.status == 400 }},
		"auth: {leeway: 100s, issuer: {enabled: true}}": {
			func(s *served) answer { return s.create(s.token("--ttl", "-80s"), "echo") },
			func(a answer) bool { return a.code() == 0 },
		},
		"auth: {leeway: 0s, issuer: {enabled: true}}": {
			func(s *served) answer { return s.create(s.token("--ttl", "-5s"), "echo") },
			func(a answer) bool { return a.code() == -44004 },
		},
		"auth: {scopes: {task.create: [special]}, issuer: {enabled: true}}": {
			create, func(a answer) bool { return a.status == 403 && a.code() == -44003 },
		},
		"agents: {echo: {kind: demo, scopes: {task.create: [special]}}}": {
			create, func(a answer) bool { return a.status == 403 && a.code() == -44003 },
		},
		"agents: {other: {kind: demo, demo: slow}}": {
			func(s *served) answer { return s.create(s.token(), "other") },
			func(a answer) bool { return a.code() == 0 && a.ResponseAgent == "other" },
		},
		"public_url: https://arc.example": {
			func(s *served) answer {
				s.url = "http://" + address(s)
				return s.create(s.token("--public-url", "https://arc.example", "--ttl", "-1h"), "echo")
			},
			func(a answer) bool {
				return a.code() == -44004 && strings.Contains(a.header.Get("WWW-Authenticate"), "https://arc.example/.well-known/")
			},
		},
	} {
		t.Run(setting, func(t *testing.T) {
			t.Chdir(t.TempDir())
			yaml := setting + "\n"
			if !strings.Contains(setting, "auth:") {
				yaml += "auth: {issuer: {enabled: true}}\n"
			}
			if !strings.Contains(setting, "agents:") {
				yaml += "agents: {echo: {kind: demo}}\n"
			}
			s := serve(t, "-c", file(t, "arcd.yaml", yaml))
			if got := c.call(s); !c.want(got) {
				t.Errorf("got %d %d %+v", got.status, got.code(), got)
			}
		})
	}
}

// address gives where the server listens, from its log.
func address(s *served) string {
	_, rest, _ := strings.Cut(s.log.String(), `"addr":"`)
	addr, _, _ := strings.Cut(rest, `"`)
	return addr
}

func TestServeUnknownMethodInScopes(t *testing.T) {
	t.Chdir(t.TempDir())
	for key, yaml := range map[string]string{
		"task.creat": "auth: {scopes: {task.creat: [x]}}",
		"chat.strt":  "agents: {echo: {kind: demo, scopes: {chat.strt: [x]}}}",
	} {
		got := run(t, nil, "serve", "--dev", "--listen", "127.0.0.1:0", "-c", file(t, "arcd.yaml", yaml))
		if got.code == 0 || !strings.Contains(got.complaint(t), key) {
			t.Errorf("exit %d, want an error that names %s: %s", got.code, key, got.stdout)
		}
	}
}

// TestServeTLS: Go's defaults are in force: HTTP/2, TLS 1.3, and the
// post-quantum key exchange where the client offers it.
func TestServeTLS(t *testing.T) {
	t.Chdir(t.TempDir())
	pool := certificate(t, "cert.pem", "key.pem")
	s := serve(t, "--dev", "--tls-cert", "cert.pem", "--tls-key", "key.pem")
	if !strings.HasPrefix(s.url, "https://") {
		t.Fatalf("the url is %s", s.url)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Get(s.url + "/health")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.TLS.Version != tls.VersionTLS13 || res.TLS.CurveID != tls.X25519MLKEM768 {
		t.Errorf("got %s, TLS %x, key exchange %v", res.Proto, res.TLS.Version, res.TLS.CurveID)
	}
}

// certificate writes a certificate for 127.0.0.1 and gives who trusts it.
func certificate(t *testing.T, certFile, keyFile string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	for name, block := range map[string]*pem.Block{
		certFile: {Type: "CERTIFICATE", Bytes: cert}, keyFile: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
	return pool
}

// TestBackup copies the state of a running server and serves the copy.
func TestBackup(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev", "--public-url", "http://127.0.0.1:1")
	s.url = "http://" + address(s)
	token := s.token("--public-url", "http://127.0.0.1:1")
	id := s.create(token, "echo").Result.Task.TaskID
	if got := run(t, nil, "backup", "copy.db"); got.code != 0 {
		t.Fatalf("backup: exit %d: %s", got.code, got.stderr)
	}
	if got := run(t, nil, "backup", "copy.db"); got.code != 6 || !strings.Contains(got.complaint(t), "never overwrites") {
		t.Errorf("backup over a file: exit %d: %s", got.code, got.stdout)
	}
	if got := run(t, nil, "backup", "--store", "sqlite:none.db", "other.db"); got.code == 0 || !strings.Contains(got.complaint(t), "none.db") {
		t.Errorf("backup of nothing: exit %d: %s", got.code, got.stdout)
	}
	restored := serve(t, "--dev", "--store", "sqlite:copy.db", "--public-url", "http://127.0.0.1:1")
	restored.url = "http://" + address(restored)
	body := fmt.Sprintf(`{"arc":"1.0","id":1,"method":"task.info","requestAgent":"me","targetAgent":"echo","params":{"taskId":%q}}`, id)
	if got := restored.call(http.DefaultClient, token, body); got.Result.Task.TaskID != id {
		t.Errorf("the copy does not have the task: %+v", got)
	}
}

func TestVersion(t *testing.T) {
	if got := run(t, nil, "version"); got.code != 0 || !strings.Contains(got.stdout, `"version":"`) {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
	if got := run(t, nil, "version", "-o", "text"); !strings.HasPrefix(got.stdout, "arcd ") {
		t.Errorf("got %s", got.stdout)
	}
}

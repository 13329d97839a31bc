package auth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/auth"
)

// refused gives the OAuthError of err, which must be one.
func refused(t *testing.T, err error) *auth.OAuthError {
	t.Helper()
	refusal, ok := errors.AsType[*auth.OAuthError](err)
	if !ok {
		t.Fatalf("error %v (%T), want an *auth.OAuthError", err, err)
	}
	return refusal
}

func TestAddClient(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clients.json")
	want := auth.Client{Scopes: []string{"a", "b"}, Agents: []string{"agent"}, Audience: "https://x", Admin: true}
	secret, err := auth.AddClient(file, "ci", want)
	if err != nil {
		t.Fatalf("AddClient: %v", err)
	}
	random, found := strings.CutPrefix(secret, "arcd_secret_")
	if bits, err := base64.RawURLEncoding.DecodeString(random); !found || err != nil || len(bits) != 32 {
		t.Errorf("secret %q does not hold 256 bits (%v)", secret, err)
	}
	if mode := modeOf(t, file); mode != 0o600 {
		t.Errorf("mode %04o, want 0600", mode)
	}
	if content, err := os.ReadFile(file); err != nil || strings.Contains(string(content), random) {
		t.Errorf("the file holds the secret itself (%v)", err)
	}
	clients, err := auth.Clients(file)
	if err != nil {
		t.Fatalf("Clients: %v", err)
	}
	if hash := clients["ci"].SecretHash; !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("stored hash %q", hash)
	}
	want.SecretHash = clients["ci"].SecretHash
	if diff := cmp.Diff(map[string]auth.Client{"ci": want}, clients); diff != "" {
		t.Errorf("Clients (-want +got):\n%s", diff)
	}
}

func TestAddClientRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "clients.json")
	if _, err := auth.AddClient(file, "taken", auth.Client{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		client auth.Client
		want   string
	}{
		{"taken", auth.Client{}, "exists already"},
		{"", auth.Client{}, "client id"},
		{"a b", auth.Client{}, "client id"},
		{"ä", auth.Client{}, "client id"},
		{strings.Repeat("a", 129), auth.Client{}, "client id"},
		{"agent:x", auth.Client{}, `must not begin with "agent:"`},
		{"admin:", auth.Client{}, `must not begin with "admin:"`},
		{"user:x", auth.Client{}, `must not begin with "user:"`},
		{"temp:x", auth.Client{}, `must not begin with "temp:"`},
		{"x", auth.Client{Scopes: []string{"a\"b"}}, "is not a scope"},
		{"x", auth.Client{Scopes: []string{""}}, "is not a scope"},
		{"x", auth.Client{Agents: []string{"a b"}}, "agents"},
	}
	for _, tt := range tests {
		secret, err := auth.AddClient(file, tt.name, tt.client)
		if err == nil || !strings.Contains(err.Error(), tt.want) || secret != "" {
			t.Errorf("AddClient(%q, %+v) = %q, %v; want an error with %q", tt.name, tt.client, secret, err, tt.want)
		}
	}
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := auth.AddClient(file, "x", auth.Client{}); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("AddClient to a file that others read: %v", err)
	}
}

// A chosen secret is stored as it is, and only as a hash.
func TestAddClientSecret(t *testing.T) {
	i, cfg := openTestIssuer(t, newTestClock(), nil)
	for name, secret := range map[string]string{
		"short": "eleven char", "binary": "twelve chars\xff", "long": strings.Repeat("x", 1025), "empty": "",
	} {
		err := auth.AddClientSecret(cfg.ClientsFile, name, secret, auth.Client{})
		if err == nil || !strings.Contains(err.Error(), "12 characters") || secret != "" && strings.Contains(err.Error(), secret) {
			t.Errorf("AddClientSecret(%q): %v", secret, err)
		}
	}
	for name, secret := range map[string]string{"ascii": " twelve char", "umlauts": "äöüäöüäöüäöü", "long": strings.Repeat("x", 1024)} {
		if err := auth.AddClientSecret(cfg.ClientsFile, name, secret, auth.Client{Scopes: []string{"a"}}); err != nil {
			t.Fatalf("AddClientSecret(%q): %v", secret, err)
		}
		if _, err := i.Authenticate(name, secret, "192.0.2.1"); err != nil {
			t.Errorf("Authenticate with %q: %v", secret, err)
		}
		if content, err := os.ReadFile(cfg.ClientsFile); err != nil || strings.Contains(string(content), secret) {
			t.Errorf("the file holds the secret itself (%v)", err)
		}
	}
	if err := auth.AddClientSecret(cfg.ClientsFile, "ascii", password, auth.Client{}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("AddClientSecret of a taken id: %v", err)
	}
}

func TestAddClientSideBySide(t *testing.T) {
	const clients = 6
	file := filepath.Join(t.TempDir(), "clients.json")
	var wg sync.WaitGroup
	for n := range clients {
		wg.Go(func() {
			if _, err := auth.AddClient(file, fmt.Sprint("client-", n), auth.Client{}); err != nil {
				t.Errorf("AddClient: %v", err)
			}
		})
	}
	wg.Wait()
	if got, err := auth.Clients(file); err != nil || len(got) != clients {
		t.Errorf("%d clients (%v), want %d", len(got), err, clients)
	}
}

// A running issuer takes up an added client and drops a removed one at once,
// although its clock stands still.
func TestClientFileCountsAtOnce(t *testing.T) {
	i, cfg := openTestIssuer(t, newTestClock(), nil)
	secret, err := auth.AddClient(cfg.ClientsFile, "late", auth.Client{Scopes: []string{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	request := auth.GrantRequest{ClientID: "late", Secret: secret}
	for range 2 { // the second time it is remembered
		if _, err := i.Grant(request); err != nil {
			t.Errorf("Grant to a client just added: %v", err)
		}
	}
	if err := auth.RemoveClient(cfg.ClientsFile, "late"); err != nil {
		t.Fatal(err)
	}
	if _, err := i.Grant(request); refused(t, err).Code != auth.OAuthInvalidClient {
		t.Errorf("Grant to a client just removed: %v", err)
	}
	if err := auth.RemoveClient(cfg.ClientsFile, "late"); err == nil || !strings.Contains(err.Error(), `no client "late"`) {
		t.Errorf("RemoveClient of an unknown client: %v", err)
	}
	if again, err := auth.AddClient(cfg.ClientsFile, "late", auth.Client{}); err != nil || again == secret {
		t.Errorf("AddClient after a removal: %q, %v", again, err)
	}
	if _, err := i.Grant(request); refused(t, err).Code != auth.OAuthInvalidClient {
		t.Errorf("Grant with the secret of before: %v", err)
	}
	if err := os.Remove(cfg.ClientsFile); err != nil {
		t.Fatal(err)
	}
	if got, err := auth.Clients(cfg.ClientsFile); err != nil || len(got) != 0 {
		t.Errorf("Clients of a missing file = %v, %v", got, err)
	}
}

func TestConfiguredClientWinsOverFile(t *testing.T) {
	i, cfg := openTestIssuer(t, newTestClock(), nil)
	secret, err := auth.AddClient(cfg.ClientsFile, "ci", auth.Client{Scopes: []string{"everything"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := i.Grant(auth.GrantRequest{ClientID: "ci", Secret: secret}); err == nil {
		t.Error("the secret of the file was good for a client of the configuration")
	}
}

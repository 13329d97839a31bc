package cli_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
)

// tokenFor asks the token service for a token; "" if it gives none.
func (s *served) tokenFor(id, secret string) string {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/oauth/token",
		strings.NewReader(url.Values{"grant_type": {"client_credentials"}}.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth(id, secret)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	var grant struct {
		AccessToken string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&grant); err != nil {
		s.t.Fatal(err)
	}
	return grant.AccessToken
}

// TestClientCredentials is the way of a machine: add a client, start, get a
// token, call.
func TestClientCredentials(t *testing.T) {
	t.Chdir(t.TempDir())
	got := run(t, nil, "client", "add", "ci", "--scope", "arc.task.controller,arc.agent.caller", "--agent", "me")
	var added struct {
		ID     string   `json:"client_id"`
		Secret string   `json:"client_secret"`
		Agents []string `json:"agents"`
	}
	if got.into(t, &added); added.ID != "ci" || added.Secret == "" || len(added.Agents) != 1 {
		t.Fatalf("client add: %s", got.stdout)
	}
	stored, err := os.ReadFile("arcd-clients.json")
	if err != nil || strings.Contains(string(stored), added.Secret) {
		t.Errorf("the clients file: %v; it must not hold the secret", err)
	}

	// A client is there, so no configuration is needed for the token service.
	s := serve(t, "-c", file(t, "arcd.yaml", "agents: {echo: {kind: demo}}"))
	token := s.tokenFor("ci", added.Secret)
	if got := s.create(token, "echo"); got.code() != 0 {
		t.Errorf("task.create: %+v", got.Error)
	}
	if s.tokenFor("ci", "wrong") != "" {
		t.Error("a wrong secret gets a token")
	}

	// A client that is added while the server runs is known at once, and one
	// that is removed is not.
	text := run(t, nil, "client", "add", "late", "--scope", "arc.agent.caller", "-o", "text")
	_, rest, _ := strings.Cut(text.stdout, "secret:")
	secret := strings.Fields(rest)[0]
	if s.tokenFor("late", secret) == "" {
		t.Errorf("no token for a client that was added later: %s", text.stdout)
	}
	if got := run(t, nil, "client", "remove", "late", "--confirm-destructive"); got.code != 0 {
		t.Errorf("client remove: exit %d: %s", got.code, got.stderr)
	}
	if s.tokenFor("late", secret) != "" {
		t.Error("a client that was removed gets a token")
	}
	if got := run(t, nil, "client", "list"); !strings.Contains(got.stdout, `"client_id":"ci"`) || strings.Contains(got.stdout, "late") {
		t.Errorf("client list: %s", got.stdout)
	}
	if got := run(t, nil, "client", "list", "-o", "text"); !strings.Contains(got.stdout, "CLIENT") || !strings.Contains(got.stdout, "ci ") {
		t.Errorf("client list: %s", got.stdout)
	}
	for args, want := range map[string]int{"client add ci --scope x": 6, "client remove nobody": 5, "client remove ci": 2} {
		if got := run(t, nil, strings.Fields(args)...); got.code != want || got.complaint(t) == "" {
			t.Errorf("%s: exit %d, want %d: %s", args, got.code, want, got.stdout)
		}
	}
}

func TestClientOfConfigurationIsTaken(t *testing.T) {
	t.Chdir(t.TempDir())
	yaml := "auth: {issuer: {clients: {ci: {secret_hash: '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2g', scopes: [x]}}}}"
	got := run(t, nil, "client", "add", "ci", "--scope", "x", "-c", file(t, "arcd.yaml", yaml))
	if got.code != 6 || !strings.Contains(got.complaint(t), "auth.issuer.clients.ci") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

// TestDevToken mints what tests need, and the server judges it as meant.
func TestDevToken(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	for args, want := range map[string]struct {
		status, code int
		reason       string
	}{
		"":                                     {200, 0, ""},
		"--agent me,you":                       {200, 0, ""},
		"--ttl -60s":                           {401, -44004, "expired"},
		"--scope arc.agent.caller":             {403, -44003, "insufficient_scope"},
		"--scope arc.agent.caller --ttl=-1h":   {401, -44004, "expired"},
		"--audience https://other.example":     {401, -44001, "wrong_audience"},
		"--agent somebody-else":                {403, -44002, "agent_mismatch"},
		"--key-file other.json":                {401, -44001, "unknown_key"},
		"--public-url https://unknown.example": {401, -44001, "unknown_issuer"},
	} {
		t.Run(args, func(t *testing.T) {
			got := s.create(s.token(strings.Fields(args)...), "echo")
			reason := ""
			if got.Error != nil {
				reason, _ = got.Error.Details["reason"].(string)
			}
			if got.status != want.status || got.code() != want.code || reason != want.reason {
				t.Errorf("got %d %d %q, want %+v", got.status, got.code(), reason, want)
			}
		})
	}
}

// TestKeysRotate: new tokens have a new key, and old tokens stay good.
func TestKeysRotate(t *testing.T) {
	t.Chdir(t.TempDir())
	const url = "http://127.0.0.1:1"
	old := (&served{t: t, url: url}).token()
	if got := run(t, nil, "keys", "rotate"); got.code != 0 {
		t.Fatalf("keys rotate: exit %d: %s", got.code, got.stderr)
	}
	s := serve(t, "--dev", "--public-url", url)
	fresh := s.token()
	s.url = "http://" + address(s)
	if header(old) == header(fresh) {
		t.Error("the new token has the old key")
	}
	for name, token := range map[string]string{"old": old, "new": fresh} {
		if got := s.create(token, "echo"); got.code() != 0 {
			t.Errorf("%s token: %+v", name, got.Error)
		}
	}
	res, err := http.Get(s.url + "/.well-known/jwks.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	keys, err := io.ReadAll(res.Body)
	if n := strings.Count(string(keys), `"kid"`); err != nil || n != 2 {
		t.Errorf("%d keys are published (%v), want 2: %s", n, err, keys)
	}
}

// header gives a token's header, which names the key.
func header(token string) string {
	h, _, _ := strings.Cut(token, ".")
	return h
}

func TestKeysRotateWithoutFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if got := run(t, nil, "keys", "rotate", "--key-file", "none.json"); got.code == 0 || !strings.Contains(got.complaint(t), "none.json") {
		t.Errorf("exit %d: %s", got.code, got.stdout)
	}
}

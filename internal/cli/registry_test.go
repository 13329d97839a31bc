package cli_test

import (
	"io"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
)

// post sends JSON to a path and gives the status and the body.
func (s *served) post(path, body string) (int, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("X-Client-Fingerprint", "test")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

const (
	seedLogin = `{"username":"ARCP","password":"ARCP"}`
	seedKey   = `{"agent_id":"my-agent","agent_type":"processing","agent_key":"valid-agent-key"}`
)

// Accounts and keys that everybody knows are there with --dev alone, and then
// nobody but this machine gets in (flaw W34).
func TestW34KnownCredentialsAreForDevOnly(t *testing.T) {
	t.Chdir(t.TempDir())
	refused := run(t, nil, "serve", "--dev", "--listen", "0.0.0.0:0", "--insecure-http")
	if refused.code == 0 || !strings.Contains(refused.complaint(t), "loopback") {
		t.Errorf("--dev on all addresses: exit %d, %s", refused.code, refused.stderr)
	}
	if err := os.WriteFile("arcd.yaml", []byte("auth: {issuer: {enabled: true}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--config", "arcd.yaml")
	for path, body := range map[string]string{"/auth/login": seedLogin, "/auth/agent/request_temp_token": seedKey} {
		if status, answer := s.post(path, body); status != http.StatusUnauthorized {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
}

func TestDevHasTheCredentialsOfThePages(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	for path, body := range map[string]string{"/auth/login": seedLogin, "/auth/temp-token": seedKey} {
		if status, answer := s.post(path, body); status != http.StatusOK {
			t.Errorf("%s: %d %s", path, status, answer)
		}
	}
}

// The JavaScript of the pages works from the usual ports of this machine, and from
// the server's own by its other name.
func TestDevTakesPagesOfThisMachine(t *testing.T) {
	t.Chdir(t.TempDir())
	s := serve(t, "--dev")
	_, own, _ := strings.Cut(strings.TrimPrefix(s.url, "http://"), ":")
	for origin, want := range map[string]int{
		"http://localhost:3000": 204, "http://127.0.0.1:8080": 204, "http://localhost:" + own: 204, "http://elsewhere.test": 403,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, s.url+"/auth/login", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		req.Header.Set("Access-Control-Request-Headers", "content-type,x-client-fingerprint")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != want {
			t.Errorf("%s: %d, want %d", origin, resp.StatusCode, want)
		}
	}
}

// Agent keys come from the file too, whose changes count while the server runs.
func TestAgentKeyFile(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("arcd.yaml", []byte("auth: {issuer: {enabled: true}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := serve(t, "--config", "arcd.yaml")
	if status, answer := s.post("/auth/temp-token", seedKey); status != http.StatusUnauthorized {
		t.Errorf("without the key: %d %s", status, answer)
	}
	if err := os.WriteFile("arcd-agent-keys", []byte("# of the tests\nmy-agent=valid-agent-key\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if status, answer := s.post("/auth/temp-token", seedKey); status != http.StatusOK {
		t.Errorf("with the key: %d %s", status, answer)
	}
}

// What was revoked stays so when the registry is turned off (flaw W29).
func TestW29RevocationsOutliveTheRegistry(t *testing.T) {
	t.Chdir(t.TempDir())
	var added struct {
		Secret string `json:"client_secret"`
	}
	run(t, nil, "client", "add", "ci", "--scope", "arc.agent.caller").into(t, &added)
	const settings = "public_url: http://arcd.test\nagents: {echo: {kind: demo}}\n" // the issuer stays the same
	start := func(more string) *served {
		s := serve(t, "-c", file(t, "arcd.yaml", settings+more))
		s.url = "http://" + regexp.MustCompile(`"addr":"([^"]+)"`).FindStringSubmatch(s.log.String())[1]
		return s
	}
	s := start("")
	kept, revoked := s.tokenFor("ci", added.Secret), s.tokenFor("ci", added.Secret)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.url+"/oauth/revoke", strings.NewReader("token="+revoked))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.SetBasicAuth("ci", added.Secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	s.stop()
	s = start("registry: {enabled: false}\n")
	const discover = `{"arc":"1.0","id":1,"method":"rpc.discover","requestAgent":"me","targetAgent":"arcd","params":{}}`
	if got := s.call(http.DefaultClient, kept, discover); got.status != http.StatusOK {
		t.Errorf("the other token: %d %+v", got.status, got.Error)
	}
	if got := s.call(http.DefaultClient, revoked, discover); got.status != http.StatusUnauthorized {
		t.Errorf("the revoked token: %d", got.status)
	}
}

func TestRegistryConfigIsChecked(t *testing.T) {
	t.Chdir(t.TempDir())
	for setting, want := range map[string]string{
		"endpoint_check: requird":       "did you mean required",
		"endpoint_allow: [10.0.0.0/99]": "registry.endpoint_allow",
		"public: some":                  "registry.public",
		"session_ttl: 1500ms":           "whole seconds",
		"agent_token_ttl: 400d":         "registry.agent_token_ttl",
		"heartbeat_timeout: 1ms":        "registry.heartbeat_timeout",
		"max_agents: 0":                 "registry.max_agents",
		"problem_base: problems":        "registry.problem_base",
		"scrape_token: short":           "registry.scrape_token",
		"agent_keyz: [a]":               "agent_keys",
		"agent_keys: [valid-agent-key]": "everybody knows",
		"agent_keys: [x-1=agent-key]":   "everybody knows",
	} {
		if err := os.WriteFile("arcd.yaml", []byte("registry: {"+setting+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		got := run(t, nil, "config", "check", "--config", "arcd.yaml")
		if got.code == 0 || !strings.Contains(got.complaint(t), want) {
			t.Errorf("%s: exit %d, %s%s; want %q", setting, got.code, got.stdout, got.stderr, want)
		}
	}
	if err := os.WriteFile("arcd.yaml", []byte("registry: {agent_keys: [a-key-that-is-secret]}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := run(t, nil, "config", "show", "--config", "arcd.yaml")
	if strings.Contains(got.stdout, "a-key-that-is-secret") || !strings.Contains(got.stdout, "(1 hidden)") {
		t.Errorf("config show: %s", got.stdout)
	}
}

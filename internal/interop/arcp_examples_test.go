package interop_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/auth"
)

// arcpEnv is what the client of the registry API needs in its environment: it
// compares each agent that it reads with a list of types of its own.
var arcpEnv = []string{"ALLOWED_AGENT_TYPES=processing,testing", "NO_PROXY=*", "PYTHONDONTWRITEBYTECODE=1"}

// callFunction runs a program without its main part, and then a coroutine function
// of it with text arguments.
const callFunction = `
import asyncio, runpy, sys
file, name, *args = sys.argv[1:]
asyncio.run(runpy.run_path(file)[name](*args))
`

// runPython runs a program of a page with the unchanged client and gives what it
// prints. Only the base URL is another. With a function it is not run as main, but
// that function is called.
func runPython(t *testing.T, d *daemon, program string, function ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "example.py")
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(program, "http://localhost:8001", d.url())), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{file}
	if len(function) > 0 {
		args = append([]string{"-c", callFunction, file}, function...)
	}
	cmd := exec.CommandContext(t.Context(), cache(t, "venv-arcp/bin/python"), args...)
	cmd.Env = append(os.Environ(), arcpEnv...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, &stderr)
	}
	return string(out)
}

// wantPrinted compares what a program printed with a pattern of the whole text.
func wantPrinted(t *testing.T, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile(`(?s)^` + pattern + `$`).MatchString(got) {
		t.Errorf("printed:\n%s\nwant a text like:\n%s", got, pattern)
	}
}

// TestSeedPython runs the Python programs of both pages as they stand there. They
// end as the client lets them: its own model refuses the registration of the page,
// whatever the server says, until it has a longer key and metadata.
func TestSeedPython(t *testing.T) {
	// The commands of the page have another password for admin than its program.
	config := filepath.Join(t.TempDir(), "arcd.yaml")
	text := "auth: {issuer: {clients: {admin: {admin: true, secret_hash: '" + auth.HashSecret("your-password") + "'}}}}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	d := startedDev(t, "--config", config)
	login := pythonPrograms(t, authenticationPage)[0].text
	programs := pythonPrograms(t, tokenPage)
	check, managed, robust := programs[0].text, programs[1].text, programs[2].text

	t.Run("login and temp token", func(t *testing.T) {
		wantPrinted(t, runPython(t, d, login),
			`Admin login successful: \{'access_token': '[\w.-]+', 'token_type': 'bearer', 'expires_in': 1800, 'agent_id': 'user_admin'\}\n`+
				`Temporary token acquired: [\w-]+\.[\w-]+\.[\w-]+\n`)
	})
	t.Run("check of no token", func(t *testing.T) {
		wantPrinted(t, runPython(t, d, check), `Token validation failed: Token validation failed: No token available for validation\n`)
	})
	t.Run("check of a token", func(t *testing.T) {
		token := request(t, d, "POST", "/auth/temp-token", tempRequest, nil).member(t, "temp_token")
		wantPrinted(t, runPython(t, d, check, "check_token_validity", token), `Token is valid: \{'valid': True, 'agent_id': 'my-agent', .*\}\n`)
	})
	t.Run("check of a bad token", func(t *testing.T) {
		wantPrinted(t, runPython(t, d, check, "check_token_validity", "your-token-here"), `Token validation failed: Token validation failed: Unexpected error: Authentication failed - invalid or expired token\n`)
	})
	t.Run("managed client", func(t *testing.T) {
		wantPrinted(t, runPython(t, d, managed, "example_with_auto_refresh"), `Found 0 agents\n`)
	})
	t.Run("robust operations", func(t *testing.T) {
		wantPrinted(t, runPython(t, d, robust), `Agent authenticated successfully\nRetrieved 0 agents\n`+
			`Unexpected error: Invalid registration data: 2 validation errors for AgentRegistration\n`+
			`public_key\n.*public_key must be at least 32 characters.*metadata\n.*metadata cannot be empty.*`)
	})
	t.Run("robust operations with a longer key and metadata", func(t *testing.T) {
		short, long := `public_key="your-public-key"`, `public_key="your-public-key-of-32-characters-or-more", metadata={"page": "token-invalid"}`
		if !strings.Contains(robust, short) {
			t.Fatalf("no %s in\n%s", short, robust)
		}
		wantPrinted(t, runPython(t, d, strings.ReplaceAll(robust, short, long)),
			`Agent authenticated successfully\nRetrieved 0 agents\nAgent registration completed: my-agent\n`)
	})
	t.Run("managed client sees the agent", func(t *testing.T) {
		wantPrinted(t, runPython(t, d, managed, "example_with_auto_refresh"), `Found 1 agents\n`)
	})
}

// script is what page.mjs reports of a JavaScript class.
type script struct {
	Value   any `json:"value"`
	Answers []struct {
		Status int `json:"status"`
		Body   any `json:"body"`
	} `json:"answers"`
	Errors [][]any           `json:"errors"` // arguments of console.error
	Stored map[string]string `json:"stored"` // localStorage
}

// runScript runs a body of JavaScript with a class of a page.
func runScript(t *testing.T, d *daemon, class example, body string) script {
	t.Helper()
	name := strings.Fields(class.text)[1]
	cmd := exec.CommandContext(t.Context(), "node", filepath.Join("arcp", "page.mjs"), d.url(), name, body)
	cmd.Stdin = strings.NewReader(class.text)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v\n%s", err, &stderr)
	}
	var s script
	if err := json.Unmarshal(out, &s); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return s
}

// TestSeedScripts runs the JavaScript classes of both pages.
func TestSeedScripts(t *testing.T) {
	d := startedDev(t)
	client, manager := scriptClasses(t, authenticationPage)[0], scriptClasses(t, tokenPage)[0]

	t.Run("login", func(t *testing.T) {
		s := runScript(t, d, client, `const c = new ARCPClient(base); return [await c.loginAdmin('ARCP', 'ARCP'), c.token];`)
		if token, _ := at(s.Value, 1).(string); at(s.Value, 0) != true || !tokenForm.MatchString(token) || len(s.Errors) > 0 {
			t.Errorf("login gives %v, logs %v", s.Value, s.Errors)
		}
	})
	// What a browser asks before it sends that login from a page of another origin.
	t.Run("preflight of the login", func(t *testing.T) {
		got := request(t, d, "OPTIONS", "/auth/login", "", map[string]string{
			"Origin": "http://localhost:3000", "Access-Control-Request-Method": "POST",
			"Access-Control-Request-Headers": "content-type,x-client-fingerprint",
		})
		allowed := strings.ToLower(got.header.Get("Access-Control-Allow-Headers"))
		if got.status != 204 || got.header.Get("Access-Control-Allow-Origin") != "http://localhost:3000" ||
			!strings.Contains(allowed, "content-type") || !strings.Contains(allowed, "x-client-fingerprint") {
			t.Errorf("answer %d %v", got.status, got.header)
		}
	})
	t.Run("login with a wrong password", func(t *testing.T) {
		s := runScript(t, d, client, `const c = new ARCPClient(base); return [await c.loginAdmin('admin', 'wrong-password'), c.token];`)
		if at(s.Value, 0) != false || at(s.Value, 1) != nil || len(s.Errors) != 1 || at(s.Errors[0], 0) != "Login failed:" || at(s.Errors[0], 1, "error_code") != "INVALID_CREDENTIALS" {
			t.Errorf("login gives %v, logs %v", s.Value, s.Errors)
		}
	})
	// Its login has no fingerprint, so it gets no token: the header is required.
	t.Run("token manager", func(t *testing.T) {
		s := runScript(t, d, manager, `const m = new TokenManager(); m.username = 'ARCP'; m.password = 'ARCP'; return await m.getValidToken();`)
		if s.Value != nil || len(s.Answers) != 1 || s.Answers[0].Status != 401 || at(s.Answers[0].Body, "error_code") != "FINGERPRINT_REQUIRED" || len(s.Stored) > 0 {
			t.Errorf("value %v, answers %v, stored %v", s.Value, s.Answers, s.Stored)
		}
	})
	// It decodes payloads with atob, which does not know the letters - and _ of
	// base64url: none of our tokens may have them.
	t.Run("expiry of a token", func(t *testing.T) {
		for range 3 {
			for name, token := range map[string]string{
				"temp":  request(t, d, "POST", "/auth/temp-token", tempRequest, nil).member(t, "temp_token"),
				"admin": request(t, d, "POST", "/auth/login", adminLogin, fingerprint("a")).member(t, "access_token"),
			} {
				wantExpired(t, d, manager, name, token, false)
			}
		}
		wantExpired(t, d, manager, "the page's", expiredToken, true)
		wantExpired(t, d, manager, "no", "expired-or-invalid-token", true)
	})
}

func wantExpired(t *testing.T, d *daemon, manager example, name, token string, want bool) {
	t.Helper()
	if s := runScript(t, d, manager, fmt.Sprintf(`return new TokenManager().isTokenExpired(%q);`, token)); s.Value != want {
		t.Errorf("isTokenExpired of the %s token is %v, want %v", name, s.Value, want)
	}
}

package cli_test

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/cli"
)

// addWith runs "client add" with this text on its standard input.
func addWith(t *testing.T, stdin string, args ...string) outcome {
	t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(t.Context(), append([]string{"client", "add"}, args...), nil, strings.NewReader(stdin), &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// issuer opens the token service of the folder.
func issuer(t *testing.T) *auth.Issuer {
	t.Helper()
	i, err := auth.OpenIssuer(auth.IssuerConfig{
		URL: "http://127.0.0.1:8001", KeyFile: "arcd-keys.json", ClientsFile: "arcd-clients.json",
	})
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// An administrator's own secret comes from standard input, is good as it was
// typed, and is shown nowhere.
func TestAddAdmin(t *testing.T) {
	const secret = " correct horse, \"battery\" "
	for name, end := range map[string]string{"no": "", "lf": "\n", "crlf": "\r\n"} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			got := addWith(t, secret+end, "root", "--admin", "--secret-stdin")
			var added map[string]any
			got.into(t, &added)
			want := map[string]any{"client_id": "root", "scopes": []any{}, "admin": true, "login_url": "http://127.0.0.1:8001/auth/login"}
			if diff := cmp.Diff(want, added); diff != "" || got.stderr != "" || strings.Contains(got.stdout, "horse") {
				t.Errorf("client add (-want +got):\n%s%s", diff, got.stderr)
			}
			i := issuer(t)
			if _, err := i.Login("root", secret, "127.0.0.1"); err != nil {
				t.Errorf("Login: %v", err)
			}
			if _, err := i.Login("root", strings.TrimSpace(secret), "127.0.0.1"); err == nil {
				t.Error("Login without the blanks of the secret was good")
			}
			if file, err := os.ReadFile("arcd-clients.json"); err != nil || strings.Contains(string(file), "horse") {
				t.Errorf("the clients file: %v; it must not hold the secret", err)
			}
		})
	}
}

// Without --secret-stdin arcd makes the secret of an administrator too.
func TestAddAdminWithARandomSecret(t *testing.T) {
	t.Chdir(t.TempDir())
	got := addWith(t, "", "root", "--admin", "--scope", "arc.agent.caller")
	var added struct {
		Secret   string `json:"client_secret"`
		TokenURL string `json:"token_url"`
		LoginURL string `json:"login_url"`
	}
	got.into(t, &added)
	if added.TokenURL == "" || added.LoginURL == "" {
		t.Fatalf("client add: %s", got.stdout)
	}
	if c, err := issuer(t).Login("root", added.Secret, "127.0.0.1"); err != nil || !c.Admin {
		t.Errorf("Login = %+v, %v", c, err)
	}
	text := addWith(t, "", "other", "--admin", "-o", "text")
	if !strings.Contains(text.stdout, "may log in at http://127.0.0.1:8001/auth/login") || strings.Contains(text.stdout, "oauth") {
		t.Errorf("client add -o text:\n%s", text.stdout)
	}
	text = addWith(t, "twelve chars", "third", "--scope", "arc.agent.caller", "--secret-stdin", "-o", "text")
	if !strings.Contains(text.stdout, "curl -sS http://127.0.0.1:8001/oauth/token -u 'third' -d") || strings.Contains(text.stdout, "twelve") {
		t.Errorf("client add -o text:\n%s", text.stdout)
	}
}

func TestAddClientRefusesSecrets(t *testing.T) {
	t.Chdir(t.TempDir())
	for name, test := range map[string]struct{ stdin, want string }{
		"nothing":      {"", "not text of 12 characters"},
		"an end":       {"\n", "not text of 12 characters"},
		"eleven":       {"eleven char\n", "not text of 12 characters"},
		"two lines":    {"twelve chars\ntwelve chars\n", "more than one line"},
		"empty second": {"twelve chars\n\n", "more than one line"},
		"a lone cr":    {"twelve\rchars\n", "more than one line"},
		"no end":       {strings.Repeat("x", 5000), "more than one line"},
		"too long":     {strings.Repeat("x", 1025), "1024 bytes"},
		"no text":      {"twelve chars\xff\n", "not text of 12 characters"},
	} {
		t.Run(name, func(t *testing.T) {
			got := addWith(t, test.stdin, "root", "--admin", "--secret-stdin")
			if got.code == 0 || !strings.Contains(got.complaint(t), test.want) || strings.Contains(got.stdout+got.stderr, "twelve") {
				t.Errorf("exit %d: %s; want %q", got.code, got.stdout, test.want)
			}
		})
	}
	if got := addWith(t, "", "root", "--admin", "--secret", "on the line"); got.code != 2 {
		t.Errorf("a secret as an argument: exit %d: %s", got.code, got.stderr)
	}
	if got := addWith(t, "", "admin:root", "--admin"); got.code == 0 || !strings.Contains(got.complaint(t), `must not begin with "admin:"`) {
		t.Errorf("a subject of the registry as an id: exit %d: %s", got.code, got.stderr)
	}
	if _, err := os.Stat("arcd-clients.json"); err == nil {
		t.Error("a refused client left a file")
	}
}

func TestListShowsAdmins(t *testing.T) {
	t.Chdir(t.TempDir())
	addWith(t, "", "root", "--admin")
	addWith(t, "", "ci", "--scope", "arc.agent.caller")
	yaml := "auth: {issuer: {clients: {boss: {secret_hash: '$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNoaGFzaA', admin: true}}}}"
	config := file(t, "arcd.yaml", yaml)
	if got := run(t, nil, "config", "check", "-c", config); got.code != 0 {
		t.Errorf("config check of an administrator without scopes: exit %d: %s", got.code, got.stderr)
	}
	got := run(t, nil, "client", "list", "-c", config)
	var listed struct {
		Items []struct {
			ID    string `json:"client_id"`
			Admin bool   `json:"admin"`
		}
	}
	got.into(t, &listed)
	admins := map[string]bool{}
	for _, c := range listed.Items {
		admins[c.ID] = c.Admin
	}
	if diff := cmp.Diff(map[string]bool{"root": true, "ci": false, "boss": true}, admins); diff != "" {
		t.Errorf("client list (-want +got):\n%s", diff)
	}
	text := run(t, nil, "client", "list", "-o", "text", "-c", config)
	if !strings.Contains(text.stdout, "ADMIN") || strings.Count(text.stdout, "  yes  ") != 2 {
		t.Errorf("client list -o text:\n%s", text.stdout)
	}
}

package cli_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// elsewhere is a server of somebody else that is called by arcd: an agent, which
// completes every task at once, and a receiver of webhooks.
type elsewhere struct {
	*httptest.Server
	shown chan string // the header Authorization of each call
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	e := &elsewhere{shown: make(chan string, 100)}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			ID json.RawMessage `json:"id"`
		}
		if err := json.NewDecoder(r.Body).Decode(&call); err != nil {
			t.Errorf("a call that is no JSON: %v", err)
			return
		}
		e.shown <- r.Header.Get("Authorization")
		w.Header().Set("Content-Type", "application/arc+json")
		fmt.Fprintf(w, `{"arc":"1.0","id":%s,"responseAgent":"mine","targetAgent":"arcd","result":{"type":"task","task":`+
			`{"taskId":"their-1","status":"COMPLETED","createdAt":"2026-01-02T03:04:05Z","messages":[],"artifacts":[]}},"error":null}`, call.ID)
	}))
	t.Cleanup(e.Close)
	return e
}

// claimsOf reads the claims of a bearer token; nil for a header without a token.
func claimsOf(t *testing.T, header string) (claims struct {
	Sub, Scope string
	Aud        any
}) {
	t.Helper()
	parts := strings.Split(strings.TrimPrefix(header, "Bearer "), ".")
	if len(parts) != 3 {
		t.Fatalf("Authorization is %q", header)
	}
	text, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(text, &claims)
	}
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// TestTokensForAgents: an agent is shown the token that its settings name, never that
// of the caller.
func TestTokensForAgents(t *testing.T) {
	asked := make(chan string, 10)
	provider := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id, secret, _ := r.BasicAuth()
		body, _ := io.ReadAll(r.Body)
		asked <- fmt.Sprintf("%s:%s %s %s", id, secret, r.Header.Get("Content-Type"), body)
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"of-the-provider","token_type":"Bearer","expires_in":3600}`)
	}))
	t.Cleanup(provider.Close)
	for name, c := range map[string]struct {
		agent, more string
		check       func(t *testing.T, shown, origin string)
	}{
		"arcd by default": {"", "", func(t *testing.T, shown, origin string) {
			claims := claimsOf(t, shown)
			if claims.Sub != "server:arcd" || fmt.Sprint(claims.Aud) != origin && fmt.Sprint(claims.Aud) != "["+origin+"]" {
				t.Errorf("the token is of %s for %v", claims.Sub, claims.Aud)
			}
			if scopes := strings.Fields(claims.Scope); len(scopes) != 3 || !slices.Contains(scopes, "arc.task.controller") {
				t.Errorf("its scopes are %q", claims.Scope)
			}
		}},
		"scopes": {"provider: arcd, provider_scopes: [special]", "", func(t *testing.T, shown, _ string) {
			if claims := claimsOf(t, shown); claims.Scope != "special" {
				t.Errorf("its scopes are %q", claims.Scope)
			}
		}},
		"none": {"provider: none", "", func(t *testing.T, shown, _ string) {
			if shown != "" {
				t.Errorf("Authorization is %q", shown)
			}
		}},
		"basic": {"provider: idp", "scopes: [a, b], audience: api", func(t *testing.T, shown, _ string) {
			if got := <-asked; shown != "Bearer of-the-provider" || !strings.HasPrefix(got, "me:s3cret application/x-www-form-urlencoded") || !strings.Contains(got, "scope=a+b") || !strings.Contains(got, "audience=api") {
				t.Errorf("shown %q, asked for by %q", shown, got)
			}
		}},
		"form": {"provider: idp", "style: form", func(t *testing.T, shown, _ string) {
			if got := <-asked; shown != "Bearer of-the-provider" || !strings.HasPrefix(got, ": application/x-www-form-urlencoded") || !strings.Contains(got, "client_secret=s3cret") {
				t.Errorf("shown %q, asked for by %q", shown, got)
			}
		}},
		"json": {"provider: idp, provider_scopes: [c]", "style: json, scopes: [a]", func(t *testing.T, shown, _ string) {
			if got := <-asked; shown != "Bearer of-the-provider" || !strings.HasPrefix(got, ": application/json") || !strings.Contains(got, `"scope":"c"`) {
				t.Errorf("shown %q, asked for by %q", shown, got)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			agent := newElsewhere(t)
			s := serve(t, "-c", file(t, "arcd.yaml", fmt.Sprintf(
				"auth: {issuer: {enabled: true}}\nagents: {mine: {kind: http, endpoint: '%s/arc', %s}}\n"+
					"outbound: {providers: {idp: {token_url: '%s/token', client_id: me, client_secret: s3cret, %s}}}\n", agent.URL, c.agent, provider.URL, c.more)))
			if got := s.create(s.token(), "mine"); got.code() != 0 {
				t.Fatalf("task.create: %+v", got)
			}
			c.check(t, <-agent.shown, agent.URL)
		})
	}
}

// TestTokensForReceivers: receivers of webhooks are shown nothing, unless a provider
// is named, and then its token if they may have it.
func TestTokensForReceivers(t *testing.T) {
	for name, c := range map[string]struct {
		settings string // ORIGIN is that of the receiver
		issuer   string
		check    func(t *testing.T, shown, origin string)
	}{
		"nobody": {"", "", func(t *testing.T, shown, _ string) {
			if shown != "" {
				t.Errorf("Authorization is %q", shown)
			}
		}},
		"arcd": {"provider: arcd", "", func(t *testing.T, shown, origin string) {
			claims := claimsOf(t, shown)
			if !strings.Contains(fmt.Sprint(claims.Aud), origin) || claims.Scope != "arc.task.notify arc.agent.receiver" {
				t.Errorf("the token is for %v, with %q", claims.Aud, claims.Scope)
			}
		}},
		"named": {"provider: arcd, token_origins: [ORIGIN, 'https://app.example']", "", func(t *testing.T, shown, _ string) { claimsOf(t, shown) }},
		"others": {"provider: arcd, token_origins: ['https://app.example']", "", func(t *testing.T, shown, _ string) {
			if shown != "" {
				t.Errorf("Authorization is %q", shown)
			}
		}},
		"what arcd itself takes": {"provider: arcd", ", audience: [ORIGIN]", func(t *testing.T, shown, _ string) {
			if shown != "" {
				t.Errorf("Authorization is %q", shown)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			receiver := newElsewhere(t)
			settings := "auth: {issuer: {enabled: true" + c.issuer + "}}\nagents: {input: {kind: demo}}\n" +
				"webhooks: {allow: [127.0.0.0/8], allow_http: true, " + c.settings + "}\n"
			s := serve(t, "-c", file(t, "arcd.yaml", strings.ReplaceAll(settings, "ORIGIN", "'"+receiver.URL+"'")))
			flags := []string{"--unmask", "-o", "plain"}
			if c.issuer != "" {
				flags = append(flags, "--audience", receiver.URL)
			}
			env := []string{"HOME=" + t.TempDir(), "ARCD_TOKEN=" + s.token(flags...), "ARCD_SERVER=" + s.url, "ARCD_KEYRING=off"}
			var task struct {
				ID string `json:"task_id"`
			}
			run(t, env, "task", "create", "--agent", "input", "--message", "hi").into(t, &task)
			run(t, env, "task", "subscribe", task.ID, "--callback-url", receiver.URL+"/hook", "--events", "TASK_CANCELED").into(t, &struct{}{})
			run(t, env, "task", "cancel", task.ID, "--yes").into(t, &struct{}{})
			c.check(t, <-receiver.shown, receiver.URL)
		})
	}
}

package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/crypto/argon2"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// tokenService is a whole server with an issuer, its client "ci" and what it
// logs.
type tokenService struct {
	*httptest.Server
	issuer    *auth.Issuer
	validator auth.Validator
	secret    string // of ci
	other     string // secret of "other", which has no scopes
	log       *lockedBuffer
}

// A lockedBuffer takes log lines of many goroutines.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startTokenService runs the service over a store; wrap, if not nil, may stand
// before the store.
func startTokenService(t *testing.T, wrap func(store.Registry) store.Registry) *tokenService {
	t.Helper()
	folder := t.TempDir()
	ts := &tokenService{log: new(lockedBuffer)}
	st, err := sqlite.Open(t.Context(), sqlite.Config{File: filepath.Join(folder, "arcd.db")})
	if err != nil {
		t.Fatalf("sqlite.Open: %v", err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	var kept store.Registry = st
	if wrap != nil {
		kept = wrap(st)
	}
	service, err := methods.New(methods.Config{Store: st})
	if err != nil {
		t.Fatalf("methods.New: %v", err)
	}
	ts.Server = httptest.NewUnstartedServer(nil)
	public := "http://" + ts.Listener.Addr().String()
	ts.secret, ts.other = "secret-of-ci", "secret-of-other"
	ts.issuer, err = auth.OpenIssuer(auth.IssuerConfig{
		URL: public, KeyFile: filepath.Join(folder, "keys.json"),
		Clients: map[string]auth.Client{
			"ci":    {SecretHash: cheapHash(ts.secret), Scopes: []string{auth.ScopeTask, auth.ScopeCaller}, Agents: []string{"ci-agent"}},
			"other": {SecretHash: cheapHash(ts.other)},
			"a:b+c": {SecretHash: cheapHash("p&ss wörd%:+")},
		},
	})
	if err != nil {
		t.Fatalf("OpenIssuer: %v", err)
	}
	reg, err := registry.Open(t.Context(), registry.Config{Store: kept, Issuer: ts.issuer})
	if err != nil {
		t.Fatalf("registry.Open: %v", err)
	}
	providers, err := auth.NewProviders(auth.Config{Providers: []auth.Provider{ts.issuer.Provider()}, Revoked: reg.Revoked})
	if err != nil {
		t.Fatalf("NewProviders: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { providers.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	ts.validator = providers
	ts.Config.Handler = server.New(server.Config{
		Service: service, Validator: providers, Issuer: ts.issuer, Registry: reg, PublicURL: public, Log: zerolog.New(ts.log),
	}).Handler()
	ts.Start()
	t.Cleanup(ts.Close)
	return ts
}

// cheapHash is a valid argon2id hash that costs next to nothing to verify.
func cheapHash(secret string) string {
	salt := []byte("0123456789abcdef")
	enc := base64.RawStdEncoding
	return "$argon2id$v=19$m=8,t=1,p=1$" + enc.EncodeToString(salt) + "$" +
		enc.EncodeToString(argon2.IDKey([]byte(secret), salt, 1, 8, 1, 32))
}

// oauthAnswer is what came back: the status, the headers, the body decoded.
type oauthAnswer struct {
	Status int
	Header http.Header
	Body   map[string]any
	raw    string
}

// do sends a request; header holds pairs of name and value.
func (ts *tokenService) do(t *testing.T, method, path, body string, header ...string) oauthAnswer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, ts.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; n < len(header); n += 2 {
		r.Header.Add(header[n], header[n+1])
	}
	res, err := ts.Client().Do(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	a := oauthAnswer{Status: res.StatusCode, Header: res.Header, raw: string(b)}
	if len(b) > 0 {
		if err := json.Unmarshal(b, &a.Body); err != nil {
			t.Errorf("%s %s answered %q, which is not JSON: %v", method, path, b, err)
		}
	}
	return a
}

const (
	formType = "application/x-www-form-urlencoded"
	jsonType = "application/json"
)

func basic(id, secret string) string {
	pair := url.QueryEscape(id) + ":" + url.QueryEscape(secret)
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(pair))
}

// grantToken gets a token of ci.
func (ts *tokenService) grantToken(t *testing.T) string {
	t.Helper()
	a := ts.do(t, "POST", "/oauth/token", "grant_type=client_credentials", "Content-Type", formType, "Authorization", basic("ci", ts.secret))
	token, _ := a.Body["access_token"].(string)
	if a.Status != http.StatusOK || token == "" {
		t.Fatalf("token request: %d %s", a.Status, a.raw)
	}
	return token
}

// The three ways to ask for a token give the same answer.
func TestTokenRequest(t *testing.T) {
	ts := startTokenService(t, nil)
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {"ci"}, "client_secret": {ts.secret}}.Encode()
	tests := []struct {
		name, body string
		header     []string
		scope      string
	}{
		{"form", form, []string{"Content-Type", formType}, "arc.agent.caller arc.task.controller"},
		{"form with charset", form, []string{"Content-Type", formType + "; charset=UTF-8"}, "arc.agent.caller arc.task.controller"},
		{"form with scope", form + "&scope=arc.task.controller", []string{"Content-Type", formType}, "arc.task.controller"},
		{"form with empty and unknown parameters", form + "&scope=&foo=bar", []string{"Content-Type", formType}, "arc.agent.caller arc.task.controller"},
		{"form with resources", form + "&resource=" + url.QueryEscape(ts.URL) + "&resource=" + url.QueryEscape(ts.URL+"/arc"), []string{"Content-Type", formType}, "arc.agent.caller arc.task.controller"},
		{"Basic", "grant_type=client_credentials", []string{"Content-Type", formType, "Authorization", basic("ci", ts.secret)}, "arc.agent.caller arc.task.controller"},
		{"basic in small letters and the id again", "grant_type=client_credentials&client_id=ci", []string{"Content-Type", formType, "Authorization", "basic" + strings.TrimPrefix(basic("ci", ts.secret), "Basic")}, "arc.agent.caller arc.task.controller"},
		{"Basic, form-encoded", "grant_type=client_credentials", []string{"Content-Type", formType, "Authorization", basic("a:b+c", "p&ss wörd%:+")}, ""},
		{"JSON", fmt.Sprintf(`{"client_id":"ci","client_secret":%q,"audience":%q,"grant_type":"client_credentials"}`, ts.secret, ts.URL), []string{"Content-Type", jsonType}, "arc.agent.caller arc.task.controller"},
		{"JSON with more", fmt.Sprintf(`{"client_id":"ci","client_secret":%q,"grant_type":"client_credentials","scope":"arc.agent.caller","resource":[%q],"x":{"y":1},"audience":null}`, ts.secret, ts.URL+"/arc"), []string{"Content-Type", jsonType}, "arc.agent.caller"},
		{"JSON and Basic", `{"grant_type":"client_credentials"}`, []string{"Content-Type", jsonType, "Authorization", basic("ci", ts.secret)}, "arc.agent.caller arc.task.controller"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := ts.do(t, "POST", "/oauth/token", tt.body, tt.header...)
			token, _ := a.Body["access_token"].(string)
			delete(a.Body, "access_token")
			want := map[string]any{"token_type": "Bearer", "expires_in": 900.0}
			if tt.scope != "" {
				want["scope"] = tt.scope
			}
			if diff := cmp.Diff(want, a.Body); a.Status != http.StatusOK || diff != "" {
				t.Fatalf("answer %d (-want +got):\n%s", a.Status, diff)
			}
			for name, want := range map[string]string{
				"Content-Type": "application/json;charset=UTF-8", "Cache-Control": "no-store", "Pragma": "no-cache",
			} {
				if got := a.Header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if _, err := ts.validator.Validate(t.Context(), token); err != nil {
				t.Errorf("the token is refused: %v", err)
			}
		})
	}
}

func TestTokenRequestRefused(t *testing.T) {
	ts := startTokenService(t, nil)
	good := url.Values{"grant_type": {"client_credentials"}, "client_id": {"ci"}, "client_secret": {ts.secret}}.Encode()
	proof := basic("ci", ts.secret)
	tests := []struct {
		name, path, body string
		header           []string
		status           int
		code             string
	}{
		{"no grant type", "", "client_id=ci&client_secret=x", nil, 400, "invalid_request"},
		{"other grant type", "", "grant_type=password&client_id=ci&client_secret=x", nil, 400, "unsupported_grant_type"},
		{"no client", "", "grant_type=client_credentials", nil, 401, "invalid_client"},
		{"no secret", "", "grant_type=client_credentials&client_id=ci", nil, 401, "invalid_client"},
		{"wrong secret", "", "grant_type=client_credentials&client_id=ci&client_secret=x", nil, 401, "invalid_client"},
		{"unknown client", "", "grant_type=client_credentials&client_id=no&client_secret=x", nil, 401, "invalid_client"},
		{"Bearer", "", "grant_type=client_credentials", []string{"Authorization", "Bearer abc"}, 401, "invalid_client"},
		{"Basic that is no base64", "", "grant_type=client_credentials", []string{"Authorization", "Basic %%%"}, 401, "invalid_client"},
		{"Basic that is not form-encoded", "", "grant_type=client_credentials", []string{"Authorization", "Basic " + base64.StdEncoding.EncodeToString([]byte("ci:100%"))}, 401, "invalid_client"},
		{"two Authorization headers", "", "grant_type=client_credentials", []string{"Authorization", proof, "Authorization", proof}, 400, "invalid_request"},
		{"header and body", "", good, []string{"Authorization", proof}, 400, "invalid_request"},
		{"two ids", "", "grant_type=client_credentials&client_id=other", []string{"Authorization", proof}, 400, "invalid_request"},
		{"doubled", "", good + "&client_id=ci", nil, 400, "invalid_request"},
		{"doubled and empty", "", good + "&scope=&scope=", nil, 400, "invalid_request"},
		{"unknown doubled", "", good + "&foo=1&foo=2", nil, 400, "invalid_request"},
		{"no form", "", good + "&x=%zz", nil, 400, "invalid_request"},
		{"not UTF-8", "", good + "&x=%ff", nil, 400, "invalid_request"},
		{"credentials in the address", "?client_id=ci&client_secret=x", good, nil, 400, "invalid_request"},
		{"grant type in the address", "?grant_type=client_credentials", good, nil, 400, "invalid_request"},
		{"scope too wide", "", good + "&scope=arc.chat.controller", nil, 400, "invalid_scope"},
		{"other audience", "", good + "&audience=https%3A%2F%2Felsewhere", nil, 400, "invalid_target"},
		{"other resource", "", good + "&resource=https%3A%2F%2Felsewhere", nil, 400, "invalid_target"},
		{"plain text", "", good, []string{"Content-Type", "text/plain"}, 400, "invalid_request"},
		{"no media type", "", good, []string{"Content-Type", ""}, 400, "invalid_request"},
		{"too large", "", good + "&x=" + strings.Repeat("a", 64<<10), nil, 413, "invalid_request"},
		{"JSON array", "", `[]`, []string{"Content-Type", jsonType}, 400, "invalid_request"},
		{"JSON null", "", `null`, []string{"Content-Type", jsonType}, 400, "invalid_request"},
		{"JSON cut", "", `{"grant_type":`, []string{"Content-Type", jsonType}, 400, "invalid_request"},
		{"JSON doubled", "", `{"grant_type":"client_credentials","grant_type":"x"}`, []string{"Content-Type", jsonType}, 400, "invalid_request"},
		{"JSON with a number", "", `{"grant_type":"client_credentials","client_id":5}`, []string{"Content-Type", jsonType}, 400, "invalid_request"},
		{"JSON with a list", "", `{"grant_type":["client_credentials"]}`, []string{"Content-Type", jsonType}, 400, "invalid_request"},
		{"JSON with a list of numbers", "", `{"grant_type":"client_credentials","audience":[1]}`, []string{"Content-Type", jsonType}, 400, "invalid_request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := tt.header
			if !strings.Contains(strings.Join(header, " "), "Content-Type") {
				header = append([]string{"Content-Type", formType}, header...)
			}
			a := ts.do(t, "POST", "/oauth/token"+tt.path, tt.body, header...)
			if a.Status != tt.status || a.Body["error"] != tt.code || a.Body["error_description"] == nil || len(a.Body) != 2 {
				t.Errorf("%d %s, want %d %s", a.Status, a.raw, tt.status, tt.code)
			}
			if got := a.Header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control: %q", got)
			}
			challenge := a.Header.Get("WWW-Authenticate")
			if (challenge == `Basic realm="arcd", charset="UTF-8"`) != (tt.status == 401) {
				t.Errorf("WWW-Authenticate: %q with %d", challenge, tt.status)
			}
		})
	}
}

func TestTokenRequestLimited(t *testing.T) {
	ts := startTokenService(t, nil)
	for n := range 6 {
		body := fmt.Sprint("grant_type=client_credentials&client_id=ci&client_secret=guess", n)
		a := ts.do(t, "POST", "/oauth/token", body, "Content-Type", formType)
		if n < 5 && a.Status != http.StatusUnauthorized {
			t.Fatalf("guess %d: %d %s, want 401", n, a.Status, a.raw)
		}
		if n == 5 && (a.Status != http.StatusTooManyRequests || a.Header.Get("Retry-After") == "" || a.Body["error"] != "temporarily_unavailable") {
			t.Errorf("guess %d: %d %s, Retry-After %q; want 429", n, a.Status, a.raw, a.Header.Get("Retry-After"))
		}
	}
}

func TestRevocation(t *testing.T) {
	ts := startTokenService(t, nil)
	token, second := ts.grantToken(t), ts.grantToken(t)
	revoke := func(token, header string) oauthAnswer {
		body := url.Values{"token": {token}, "token_type_hint": {"access_token"}}.Encode()
		return ts.do(t, "POST", "/oauth/revoke", body, "Content-Type", formType, "Authorization", header)
	}
	if _, err := ts.validator.Validate(t.Context(), token); err != nil {
		t.Fatalf("before: %v", err)
	}
	if a := revoke(token, basic("other", ts.other)); a.Status != http.StatusBadRequest || a.Body["error"] != "unauthorized_client" {
		t.Errorf("revocation by another client: %d %s, want 400 unauthorized_client", a.Status, a.raw)
	}
	if a := revoke(token, basic("ci", "wrong")); a.Status != http.StatusUnauthorized || a.Body["error"] != "invalid_client" {
		t.Errorf("revocation with a wrong secret: %d %s, want 401 invalid_client", a.Status, a.raw)
	}
	if a := ts.do(t, "POST", "/oauth/revoke", "", "Content-Type", formType, "Authorization", basic("ci", ts.secret)); a.Status != 400 || a.Body["error"] != "invalid_request" {
		t.Errorf("revocation of nothing: %d %s, want 400 invalid_request", a.Status, a.raw)
	}
	if _, err := ts.validator.Validate(t.Context(), token); err != nil {
		t.Fatalf("after refused revocations: %v", err)
	}
	for name, value := range map[string]string{"good": token, "again": token, "unknown": "abc", "cut": token[:len(token)-5]} {
		if a := revoke(value, basic("ci", ts.secret)); a.Status != http.StatusOK || a.raw != "" || a.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("revocation of the %s token: %d %s, want an empty 200", name, a.Status, a.raw)
		}
	}
	if _, err := ts.validator.Validate(t.Context(), token); err == nil {
		t.Error("the revoked token is still good")
	}
	if _, err := ts.validator.Validate(t.Context(), second); err != nil {
		t.Errorf("the other token of the client: %v", err)
	}
}

// A revocation that was not stored must not be answered as done.
func TestRevocationNotStored(t *testing.T) {
	ts := startTokenService(t, func(st store.Registry) store.Registry { return failingStore{st} })
	body := url.Values{"token": {ts.grantToken(t)}}.Encode()
	a := ts.do(t, "POST", "/oauth/revoke", body, "Content-Type", formType, "Authorization", basic("ci", ts.secret))
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || strings.Contains(a.raw, "disk") {
		t.Errorf("%d %s, want 503 with Retry-After and without internals", a.Status, a.raw)
	}
}

// failingStore is a store whose disk fails on revocations.
type failingStore struct{ store.Registry }

func (failingStore) Revoke(context.Context, store.Revocation) error {
	return errors.New("disk on fire")
}

func TestTokenServiceMetadata(t *testing.T) {
	ts := startTokenService(t, nil)
	a := ts.do(t, "GET", "/.well-known/oauth-authorization-server", "")
	scopes := a.Body["scopes_supported"]
	delete(a.Body, "scopes_supported")
	methods := []any{"client_secret_basic", "client_secret_post"}
	want := map[string]any{
		"issuer": ts.URL, "token_endpoint": ts.URL + "/oauth/token", "revocation_endpoint": ts.URL + "/oauth/revoke",
		"jwks_uri": ts.URL + "/.well-known/jwks.json", "response_types_supported": []any{},
		"grant_types_supported": []any{"client_credentials"}, "token_endpoint_auth_methods_supported": methods,
		"revocation_endpoint_auth_methods_supported": methods,
	}
	if diff := cmp.Diff(want, a.Body); diff != "" || a.Status != http.StatusOK {
		t.Errorf("metadata %d (-want +got):\n%s", a.Status, diff)
	}
	if list, _ := scopes.([]any); len(list) < 3 {
		t.Errorf("scopes_supported: %v", scopes)
	}
	keys := ts.do(t, "GET", "/.well-known/jwks.json", "")
	if strings.TrimSpace(keys.raw) != string(ts.issuer.JWKS()) || keys.Header.Get("Content-Type") != "application/jwk-set+json" {
		t.Errorf("JWKS %s as %s", keys.raw, keys.Header.Get("Content-Type"))
	}
	for _, a := range []oauthAnswer{a, keys} {
		if got := a.Header.Get("Cache-Control"); got != "public, max-age=300" {
			t.Errorf("Cache-Control: %q", got)
		}
	}
}

func TestTokenServiceMethods(t *testing.T) {
	ts := startTokenService(t, nil)
	for path, allow := range map[string]string{
		"/oauth/token": "POST", "/oauth/revoke": "POST", "/.well-known/jwks.json": "GET, HEAD",
		"/.well-known/oauth-authorization-server": "GET, HEAD",
	} {
		for _, method := range []string{"GET", "POST", "PUT", "DELETE"} {
			a := ts.do(t, method, path, "")
			if strings.Contains(allow, method) {
				if a.Status == http.StatusMethodNotAllowed {
					t.Errorf("%s %s: 405", method, path)
				}
				continue
			}
			word, want := a.Body["error"], "invalid_request"
			if strings.HasPrefix(path, "/.well-known/") {
				word, want = a.Body["error_code"], "METHOD_NOT_ALLOWED"
			}
			if a.Status != http.StatusMethodNotAllowed || a.Header.Get("Allow") != allow || word != want {
				t.Errorf("%s %s: %d %s, Allow %q; want 405 with Allow %q", method, path, a.Status, a.raw, a.Header.Get("Allow"), allow)
			}
		}
	}
	if a := ts.do(t, "HEAD", "/.well-known/jwks.json", ""); a.Status != http.StatusOK || a.raw != "" {
		t.Errorf("HEAD of the JWKS: %d %q", a.Status, a.raw)
	}
}

// Each decision leaves one line, and no line holds a secret, a token or the id of
// one.
func TestTokenServiceAudit(t *testing.T) {
	ts := startTokenService(t, nil)
	token := ts.grantToken(t)
	ts.do(t, "POST", "/oauth/token", "grant_type=client_credentials&client_id=ci&client_secret=wr0ngsecret", "Content-Type", formType, "X-Request-ID", "req_7")
	ts.do(t, "POST", "/oauth/revoke", "token="+token, "Content-Type", formType, "Authorization", basic("ci", ts.secret))
	principal, err := ts.issuer.Read(token)
	if err != nil {
		t.Fatal(err)
	}
	log := ts.log.String()
	for _, secret := range []string{ts.secret, "wr0ngsecret", token, principal.TokenID} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
	var got []map[string]any
	for line := range strings.Lines(log) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatalf("log line %q: %v", line, err)
		}
		if event, _ := m["event"].(string); strings.HasPrefix(event, "token_") {
			for _, name := range []string{"time", "request_id", "jti_hash"} {
				if m["request_id"] != "req_7" {
					delete(m, name)
				}
			}
			got = append(got, m)
		}
	}
	want := []map[string]any{
		{
			"level": "info", "event": "token_issued", "remote": "127.0.0.1", "client_id": "ci", "grant_type": "client_credentials",
			"scope": "arc.agent.caller arc.task.controller", "aud": []any{ts.URL}, "expires_in": 900.0,
		},
		{
			"level": "warn", "event": "token_refused", "remote": "127.0.0.1", "client_id": "ci", "request_id": "req_7",
			"path": "/oauth/token", "error": "invalid_client", "reason": "wrong_secret", "status": 401.0,
		},
		{"level": "info", "event": "token_revoked", "remote": "127.0.0.1", "client_id": "ci", "known": true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("audit lines (-want +got):\n%s", diff)
	}
}

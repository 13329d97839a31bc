package credential_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/credential"
)

// authority is an ARC server and its authorization server in one, as far as
// credentials go. Its tokens are JWTs with a dummy signature.
type authority struct {
	*httptest.Server

	mu       sync.Mutex
	subject  string        // of the next tokens
	ttl      time.Duration // of the next tokens
	skew     time.Duration // how far its clock is ahead
	opaque   bool          // its tokens are no JWTs
	down     bool          // the token endpoint answers 503
	refresh  string        // the one refresh token that counts; "": none
	requests []string      // grant types asked for, in order
	revoked  []string      // tokens that were taken back
	approved bool          // somebody has entered the user code
	polls    []string      // error codes to answer polls with, first
	hold     func()        // if not nil: called by the token endpoint after it has decided
	admin    string        // the administrator's living token
	prints   []string      // fingerprints of registry requests
	serial   int
}

// clientID and clientSecret are the only ones.
const (
	clientID     = "ci"
	clientSecret = "correct-horse"
)

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{subject: clientID, ttl: time.Hour, refresh: "refresh-0"}
	mux := http.NewServeMux()
	a.Server = httptest.NewServer(mux)
	t.Cleanup(a.Close)
	t.Cleanup(http.DefaultTransport.(*http.Transport).CloseIdleConnections)
	serve := func(path string, document map[string]any) {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, document) })
	}
	serve("/.well-known/oauth-protected-resource/arc", map[string]any{"resource": a.URL + "/arc", "authorization_servers": []string{a.URL}})
	serve("/.well-known/oauth-authorization-server", map[string]any{
		"issuer": a.URL, "token_endpoint": a.URL + "/oauth/token", "revocation_endpoint": a.URL + "/oauth/revoke",
		"device_authorization_endpoint": a.URL + "/oauth/device",
	})
	mux.HandleFunc("POST /oauth/token", a.token)
	mux.HandleFunc("POST /oauth/revoke", a.revoke)
	mux.HandleFunc("POST /oauth/device", a.device)
	mux.HandleFunc("POST /auth/login", a.login)
	mux.HandleFunc("POST /auth/logout", a.logout)
	mux.HandleFunc("POST /tokens/refresh", a.renew)
	return a
}

func answer(w http.ResponseWriter, status int, document any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(document)
}

func refuse(w http.ResponseWriter, status int, code string) {
	answer(w, status, map[string]any{"error": code, "error_description": "SECRET-IN-BODY"})
}

// token is the token endpoint.
func (a *authority) token(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	a.mu.Lock()
	status, document := a.decide(r)
	hold, skew := a.hold, a.skew
	a.mu.Unlock()
	if hold != nil {
		hold()
	}
	if skew != 0 {
		w.Header().Set("Date", time.Now().Add(skew).UTC().Format(http.TimeFormat))
	}
	answer(w, status, document)
}

func (a *authority) decide(r *http.Request) (int, any) {
	grant := r.PostForm.Get("grant_type")
	a.requests = append(a.requests, grant)
	deny := func(code string) (int, any) {
		return http.StatusBadRequest, map[string]any{"error": code, "error_description": "SECRET-IN-BODY"}
	}
	if a.down {
		return http.StatusServiceUnavailable, map[string]any{"note": "SECRET-IN-BODY"}
	}
	more := map[string]any{}
	switch grant {
	case "client_credentials":
		if id, secret, _ := r.BasicAuth(); id != clientID || secret != clientSecret {
			return deny("invalid_client")
		}
	case "refresh_token":
		if a.refresh == "" || r.PostForm.Get("refresh_token") != a.refresh {
			return deny("invalid_grant")
		}
		a.serial++
		a.refresh = fmt.Sprintf("refresh-%d", a.serial)
		more["refresh_token"] = a.refresh
	case "urn:ietf:params:oauth:grant-type:device_code":
		if len(a.polls) > 0 {
			code := a.polls[0]
			a.polls = a.polls[1:]
			return deny(code)
		}
		if !a.approved || r.PostForm.Get("device_code") != "device-secret" {
			return deny("authorization_pending")
		}
		a.approved = false // once
		more["refresh_token"] = a.refresh
	default:
		return deny("unsupported_grant_type")
	}
	return http.StatusOK, a.granted(more)
}

// granted makes the answer with a token.
func (a *authority) granted(more map[string]any) map[string]any {
	a.serial++
	document := map[string]any{"token_type": "Bearer", "expires_in": int(a.ttl / time.Second), "scope": "x y"}
	if a.opaque {
		document["access_token"] = fmt.Sprintf("opaque-%d", a.serial)
	} else {
		document["access_token"] = jwt(claims{
			"iss": a.URL, "sub": a.subject, "client_id": clientID, "exp": time.Now().Add(a.skew + a.ttl).Unix(),
			"iat": time.Now().Add(a.skew).Unix(), "jti": a.serial, "scope": "x y",
		})
	}
	maps.Copy(document, more)
	return document
}

func (a *authority) revoke(w http.ResponseWriter, r *http.Request) {
	_ = r.ParseForm()
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = append(a.revoked, r.PostForm.Get("token"))
}

func (a *authority) device(w http.ResponseWriter, r *http.Request) {
	answer(w, http.StatusOK, map[string]any{
		"device_code": "device-secret", "user_code": "WDJB-MJHT", "verification_uri": a.URL + "/activate",
		"verification_uri_complete": a.URL + "/activate?user_code=WDJB-MJHT", "expires_in": 600, "interval": 1,
	})
}

func (a *authority) login(w http.ResponseWriter, r *http.Request) {
	var p struct{ Username, Password string }
	_ = json.NewDecoder(r.Body).Decode(&p)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.prints = append(a.prints, r.Header.Get("X-Client-Fingerprint"))
	if p.Username != "admin" || p.Password != "open-sesame" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = w.Write([]byte(`{"type":"https://x/authentication-failed","title":"t","status":401,"detail":"no","error_code":"INVALID_CREDENTIALS"}`))
		return
	}
	a.session(w)
}

func (a *authority) session(w http.ResponseWriter) {
	document := a.granted(nil)
	a.admin = document["access_token"].(string)
	document["token_type"] = "bearer"
	answer(w, http.StatusOK, document)
}

func (a *authority) renew(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.requests = append(a.requests, "registry")
	a.prints = append(a.prints, r.Header.Get("X-Client-Fingerprint"))
	if r.Header.Get("Authorization") != "Bearer "+a.admin {
		refuse(w, http.StatusUnauthorized, "no")
		return
	}
	a.session(w)
}

func (a *authority) logout(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.revoked = append(a.revoked, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	answer(w, http.StatusOK, map[string]any{"status": "success", "message": "out"})
}

// set changes what the authority does.
func (a *authority) set(change func(*authority)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

// asked gives the grant types that were asked for.
func (a *authority) asked() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.requests)
}

// target is the authority's ARC endpoint.
func (a *authority) target() credential.Target {
	return credential.Target{Server: a.URL + "/arc", Context: "staging", ClientID: clientID}
}

type claims map[string]any

// jwt makes a token with a dummy signature.
func jwt(c claims) string {
	payload, _ := json.Marshal(c)
	return "eyJhbGciOiJub25lIn0." + base64.RawURLEncoding.EncodeToString(payload) + ".c2ln"
}

// token makes one like the authority's that expires in ttl.
func (a *authority) like(ttl time.Duration) string {
	return jwt(claims{"iss": a.URL, "sub": clientID, "client_id": clientID, "exp": time.Now().Add(ttl).Unix(), "iat": time.Now().Add(ttl - time.Hour).Unix()})
}

// newStore makes a store of its own, without a keyring.
func newStore(t *testing.T, environ ...string) *credential.Store {
	t.Helper()
	return &credential.Store{
		Folder:  filepath.Join(t.TempDir(), "state", "instances", "default"),
		Environ: append([]string{"ARCD_KEYRING=off"}, environ...),
	}
}

// withSecret is the environment of the client.
func withSecret(more ...string) []string {
	return append([]string{"ARCD_CLIENT_ID=" + clientID, "ARCD_CLIENT_SECRET=" + clientSecret}, more...)
}

// content reads the store's file.
func content(t *testing.T, s *credential.Store) string {
	t.Helper()
	b, err := os.ReadFile(s.Path())
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// stored gives the names of the credentials in the store's file, sorted.
func stored(t *testing.T, s *credential.Store) []string {
	t.Helper()
	var file struct {
		Credentials map[string]json.RawMessage `json:"credentials"`
	}
	if err := json.Unmarshal([]byte(content(t, s)), &file); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(file.Credentials))
}

// later moves the store's clock.
func later(s *credential.Store, d time.Duration) {
	s.Now = func() time.Time { return time.Now().Add(d) }
}

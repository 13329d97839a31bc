package cli_test

import (
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// failing gives the checks that fail, with required ones marked by a star, and
// complains about those without a fix.
func failing(t *testing.T, e *envelope) []string {
	t.Helper()
	var names []string
	for _, c := range e.data(t)["checks"].([]any) {
		check := c.(map[string]any)
		if check["ok"] != false {
			continue
		}
		name := check["name"].(string)
		if check["required"] == true {
			name += "*"
		}
		names = append(names, name)
		if check["fix"] == nil || check["error"] == nil {
			t.Errorf("%s has no fix or no error: %v", name, check)
		}
	}
	return names
}

// handmade is a token with this header and payload, signed by nobody.
func handmade(header, payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(header)) + "." + encode([]byte(payload)) + "." + encode([]byte("signature"))
}

// The doctor finds why a token is refused, with the server and without.
func TestDoctorToken(t *testing.T) {
	s, env := machine(t)
	env = with(env, "ARCD_CLIENT")
	good := s.minted()
	later := time.Now().Add(time.Hour).Unix()
	claims := fmt.Sprintf(`"iss":%q,"sub":"dev","aud":%q,"exp":%d,"scope":"arc.agent.caller"`, s.url, s.url, later)
	for name, test := range map[string]struct {
		token   string
		offline string // names of the checks that fail
		online  string
	}{
		"good":        {good, "", ""},
		"expired":     {s.minted("--ttl", "-120s"), "token.expiry*", "token.expiry* token.accepted*"},
		"quotes":      {`"` + good + `"`, "token.form*", "token.form* token.accepted*"},
		"header":      {"Bearer " + good, "token.form*", "token.form*"},
		"two lines":   {good[:40] + "\n" + good[40:], "token.form*", "token.form*"},
		"opaque":      {"opaque", "token.form", "token.form token.accepted*"},
		"cut off":     {good[:strings.LastIndex(good, ".")-3] + ".x", "token.form*", "token.form* token.accepted*"},
		"audience":    {s.minted("--audience", "https://else.example"), "", "token.audience token.accepted*"},
		"no scopes":   {s.minted("--scope", "other"), "token.scopes", "token.scopes"},
		"unsigned":    {handmade(`{"alg":"none"}`, `{`+claims+`,"iat":1}`), "token.alg* token.kid", "token.alg* token.kid token.signature* token.accepted*"},
		"shared key":  {handmade(`{"alg":"HS256","kid":"k"}`, `{`+claims+`,"iat":1}`), "token.alg*", "token.alg* token.signature* token.accepted*"},
		"unknown key": {handmade(`{"alg":"EdDSA","kid":"k"}`, `{`+claims+`,"iat":1}`), "", "token.signature* token.accepted*"},
		"changed":     {good[:strings.LastIndex(good, ".")+1] + strings.Repeat("A", 86), "", "token.signature* token.accepted*"},
		"claims": {handmade(`{"alg":"EdDSA","kid":"k"}`, fmt.Sprintf(`{"iss":"https://else.example","exp":%d,"scp":["arc.agent.caller"]}`, later)),
			"token.claims*", "token.claims* token.audience token.issuer token.accepted*"},
		"ID token":      {handmade(`{"alg":"EdDSA","kid":"k"}`, `{`+claims+`,"iat":1,"at_hash":"x"}`), "token.use*", "token.use* token.signature* token.accepted*"},
		"logout token":  {handmade(`{"alg":"EdDSA","kid":"k","typ":"logout+jwt"}`, `{`+claims+`,"iat":1}`), "token.typ*", "token.typ* token.signature* token.accepted*"},
		"not yet valid": {handmade(`{"alg":"EdDSA","kid":"k"}`, `{`+claims+fmt.Sprintf(`,"iat":%d}`, later)), "token.iat*", "token.iat* token.signature* token.accepted*"},
	} {
		t.Run(name, func(t *testing.T) {
			env := with(env, "", "ARCD_TOKEN="+test.token)
			for _, way := range []struct {
				args []string
				want string
			}{{[]string{"doctor", "token", "--offline", "--server", "http://127.0.0.1:1"}, test.offline}, {[]string{"doctor", "token"}, test.online}} {
				exit, code := 0, ""
				if strings.Contains(way.want, "*") {
					exit, code = 1, "CHECK_FAILED"
				}
				e := told(t, env, exit, code, way.args...)
				if got := strings.Join(failing(t, e), " "); got != way.want {
					t.Errorf("%v: failing are %q, want %q\n%s", way.args, got, way.want, e.Data)
				}
				if strings.Contains(fmt.Sprint(e), test.token) && test.token != "opaque" {
					t.Error("the token is shown")
				}
			}
		})
	}
}

// Without a credential, and without a server, the doctor says what to do.
func TestDoctorAll(t *testing.T) {
	s, env := machine(t)
	if got := failing(t, told(t, env, 1, "CHECK_FAILED", "doctor")); strings.Join(got, " ") != "auth.source* token.present*" {
		t.Errorf("without a credential %q fail", got)
	}
	told(t, env, 0, "", "auth", "login", "--headless")
	e := told(t, env, 0, "", "doctor")
	if got := failing(t, e); len(got) > 0 {
		t.Errorf("with a good credential %q fail\n%s", got, e.Data)
	}
	e = told(t, with(env, "", "ARCD_TOKEN="+s.minted()), 0, "", "doctor", "auth")
	if text := string(e.Data); !strings.Contains(text, "ARCD_TOKEN goes before what is stored") || !strings.Contains(text, "store:default of ci") {
		t.Errorf("data is %s", text)
	}
	if got := failing(t, told(t, env, 1, "CHECK_FAILED", "doctor", "tls", "--server", "http://127.0.0.1:1")); strings.Join(got, " ") != "server.reachable*" {
		t.Errorf("without a server %q fail", got)
	}
	if got := failing(t, told(t, env, 1, "CHECK_FAILED", "doctor", "tls", "--offline", "--server", "http://arc.example")); strings.Join(got, " ") != "tls.encrypted*" {
		t.Errorf("with plain http %q fail", got)
	}
	files := told(t, env, 0, "", "status", "--show-files").data(t)["files"].([]any)
	for _, f := range files {
		if file := f.(map[string]any); file["name"] == "credentials" {
			if err := os.Chmod(file["path"].(string), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := failing(t, told(t, env, 1, "CHECK_FAILED", "doctor", "auth", "--offline")); strings.Join(got, " ") != "auth.source* auth.stored* auth.files*" {
		t.Errorf("with an open file %q fail", got)
	}
	told(t, env, 2, "VALIDATION_ERROR", "doctor", "tokn")
}

// The doctor says what is wrong with a certificate, and what the connection is.
func TestDoctorTLS(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMethodNotAllowed) }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	env := home(t)
	e := told(t, env, 1, "CHECK_FAILED", "doctor", "tls", "--server", server.URL)
	if got := failing(t, e); strings.Join(got, " ") != "tls.certificate*" {
		t.Errorf("with an unknown authority %q fail\n%s", got, e.Data)
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	e = told(t, env, 0, "", "doctor", "tls", "--server", server.URL, "--ca-file", ca)
	if text := string(e.Data); len(failing(t, e)) > 0 || !strings.Contains(text, "X25519MLKEM768") || !strings.Contains(text, "TLS 1.3") {
		t.Errorf("data is %s", text)
	}
}

// A clock that is wrong is found by the header Date.
func TestDoctorClock(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(10*time.Minute).UTC().Format(http.TimeFormat))
		w.WriteHeader(http.StatusNotFound)
	}))
	defer server.Close()
	e := told(t, home(t, "ARCD_TOKEN="+handmade(`{"alg":"EdDSA"}`, `{}`)), 0, "", "doctor", "auth", "--server", server.URL)
	if got := failing(t, e); strings.Join(got, " ") != "auth.refresh auth.token_endpoint auth.clock" {
		t.Errorf("failing are %q\n%s", got, e.Data)
	}
}

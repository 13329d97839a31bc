package server_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/server"
)

// These tests are named after the flaws of the published ARCP server that must
// not be ours too (contract section 7).

// TestW23ErrorsShowNoInternals: an unexpected failure is told to the log, and to
// the caller only under which id the log has it.
func TestW23ErrorsShowNoInternals(t *testing.T) {
	for label, v := range map[string]auth.Validator{
		"panic": panicking{}, "no code": failing{errors.New("secret detail")}, "nothing": failing{},
		"cause": failing{arc.Refuse(arc.ProblemConfiguration, "configuration_error", "m").Because(errors.New("secret detail"))},
	} {
		w := start(t, options{config: func(cfg *server.Config) { cfg.Validator = v }})
		r := w.do(ask{method: http.MethodGet, path: "/agent-info", token: "x"})
		d := document(t, r)
		if r.status != http.StatusInternalServerError || strings.Contains(r.body, "secret") || len(d) != 8 {
			t.Errorf("%s: %d %s", label, r.status, r.body)
		}
		line := w.log.await(t, "request", "request_id", r.header.Get("X-Request-ID"))
		if line["error_code"] != d["error_code"] {
			t.Errorf("%s: the log has %v", label, line)
		}
		if label != "nothing" && !strings.Contains(w.log.String(), "secret detail") {
			t.Errorf("%s: the cause is not in the log", label)
		}
	}
}

// TestW24TextsAreNotAltered: JSON encoding is all that a text needs.
func TestW24TextsAreNotAltered(t *testing.T) {
	const text = `the object's location <a href="x">requires</a> a template & a document; \ ` + "\u2028 \x00 é"
	w, v := refusing(t)
	d := document(t, w.refused(v, arc.Refuse(arc.ProblemInput, "invalid_input", "%s", text).With("field", text)))
	if d["detail"] != text || d["field"] != text {
		t.Errorf("detail %q, field %q; want %q", d["detail"], d["field"], text)
	}
	r := w.refused(v, arc.Refuse(arc.ProblemInput, "invalid_input", "agent 'a' <b> & more"))
	if !strings.Contains(r.body, `"detail":"agent 'a' <b> & more"`) {
		t.Errorf("escapes that JSON does not need: %s", r.body)
	}
}

// TestW33NoCredentialsForPages: whichever origins may call, no answer lets a
// browser send what it keeps for this server, and other origins get nothing.
func TestW33NoCredentialsForPages(t *testing.T) {
	const good, evil = "https://app.example", "https://evil.example"
	for _, configured := range []string{"", good, "*"} {
		w := start(t, options{config: func(cfg *server.Config) {
			if configured != "" {
				cfg.CORSOrigins = []string{configured}
			}
		}})
		for _, origin := range []string{good, evil} {
			for _, path := range []string{"/arc", "/", "/health", "/nothing", "/agents"} {
				allowed := configured == "*" || configured == origin
				checkPreflight(t, w, path, origin, allowed)
				r := w.do(ask{method: http.MethodGet, path: path, header: map[string]string{"Origin": origin}})
				got := r.header.Get("Access-Control-Allow-Origin")
				if allowed != (got == origin) || !allowed && got != "" || r.header.Get("Access-Control-Allow-Credentials") != "" {
					t.Errorf("origins %q: GET %s from %s: %v", configured, path, origin, r.header)
				}
			}
		}
	}
}

func checkPreflight(t *testing.T, w *world, path, origin string, allowed bool) {
	t.Helper()
	r := w.do(ask{method: http.MethodOptions, path: path, header: map[string]string{
		"Origin": origin, "Access-Control-Request-Method": "DELETE", "Access-Control-Request-Headers": "x-client-fingerprint",
	}})
	h := r.header
	if h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%s from %s: credentials are allowed", path, origin)
	}
	if !allowed {
		if r.status != http.StatusForbidden || h.Get("Access-Control-Allow-Origin")+h.Get("Access-Control-Allow-Methods") != "" {
			t.Errorf("%s from %s: %+v, want 403 and no permission", path, origin, r)
		}
		if path != "/arc" && document(t, r)["error_code"] != "CROSS_ORIGIN" {
			t.Errorf("%s from %s: %s", path, origin, r.body)
		}
		return
	}
	if r.status != http.StatusNoContent || h.Get("Access-Control-Allow-Origin") != origin || h.Get("Vary") != "Origin" ||
		h.Get("Access-Control-Allow-Methods") != "GET, POST, DELETE, OPTIONS" || h.Get("Access-Control-Max-Age") != "600" {
		t.Errorf("%s from %s: %d %v", path, origin, r.status, h)
	}
	for _, name := range []string{
		"Accept", "Accept-Language", "Authorization", "Content-Language", "Content-Type", "DPoP", "Idempotency-Key",
		"X-CSRF-Token", "X-Client-Fingerprint", "X-Requested-With", "X-Session-Pin",
	} {
		if !listed(h.Get("Access-Control-Allow-Headers"), name) {
			t.Errorf("%s from %s: a page may not send %s", path, origin, name)
		}
	}
	for _, name := range []string{"X-Request-ID", "X-Idempotent-Replayed", "Retry-After", "WWW-Authenticate", "Location", "Link"} {
		if !listed(h.Get("Access-Control-Expose-Headers"), name) {
			t.Errorf("%s from %s: a page may not read %s", path, origin, name)
		}
	}
}

// listed tells whether a header value is a list that has the name.
func listed(value, name string) bool {
	return strings.Contains(", "+value+",", ", "+name+",")
}

// TestW36CachesAreAllowedWhereTheyHelp: no rule for all answers takes back what a
// page says of itself.
func TestW36CachesAreAllowedWhereTheyHelp(t *testing.T) {
	ts := startTokenService(t, nil)
	for path, want := range map[string]string{
		"/.well-known/jwks.json":                    "public, max-age=300",
		"/.well-known/oauth-authorization-server":   "public, max-age=300",
		"/.well-known/oauth-protected-resource/arc": "public, max-age=300",
		"/openrpc.json":                             "public, max-age=300",
		"/docs/problems":                            "public, max-age=3600",
		"/health":                                   "no-store",
		"/nothing":                                  "no-store",
		"/oauth/token":                              "no-store",
	} {
		resp, err := http.DefaultClient.Get(ts.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		h := resp.Header
		if h.Get("Cache-Control") != want || len(h.Values("Cache-Control")) != 1 {
			t.Errorf("%s: Cache-Control: %q, want %q", path, h.Values("Cache-Control"), want)
		}
		if h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s: %v lacks nosniff or no-referrer", path, h)
		}
		if csp := h.Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") {
			t.Errorf("%s: Content-Security-Policy: %s", path, csp)
		}
	}
}

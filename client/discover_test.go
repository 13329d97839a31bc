package client_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

const (
	resourceDoc = `{"resource":"https://arc.test/arc","authorization_servers":["https://id.test/tenant"],"scopes_supported":["a","b"]}`
	issuerDoc   = `{"issuer":"https://id.test/tenant","token_endpoint":"https://id.test/token","device_authorization_endpoint":"https://id.test/device",
		"revocation_endpoint":"https://id.test/revoke","scopes_supported":["openid"],"grant_types_supported":["client_credentials"]}`
)

func TestDiscover(t *testing.T) {
	const (
		ofPath = "https://arc.test/.well-known/oauth-protected-resource/arc"
		ofHost = "https://arc.test/.well-known/oauth-protected-resource"
		oauth  = "https://id.test/.well-known/oauth-authorization-server/tenant"
		openID = "https://id.test/.well-known/openid-configuration/tenant"
		inside = "https://id.test/tenant/.well-known/openid-configuration"
	)
	full := &client.AuthServer{
		Issuer: "https://id.test/tenant", TokenEndpoint: "https://id.test/token", DeviceEndpoint: "https://id.test/device",
		RevocationEndpoint: "https://id.test/revoke", Scopes: []string{"a", "b"}, Grants: []string{"client_credentials"},
	}
	for label, c := range map[string]struct {
		pages map[string]string
		want  *client.AuthServer
		says  string // of the error
	}{
		"at the usual places":       {map[string]string{ofPath: resourceDoc, oauth: issuerDoc}, full, ""},
		"of the whole host":         {map[string]string{ofHost: strings.Replace(resourceDoc, "/arc\"", "/\"", 1), oauth: issuerDoc}, full, ""},
		"named by the challenge":    {map[string]string{"https://arc.test/meta": resourceDoc, oauth: issuerDoc}, full, ""},
		"OpenID, appended":          {map[string]string{ofPath: resourceDoc, openID: issuerDoc}, full, ""},
		"OpenID, inside":            {map[string]string{ofPath: resourceDoc, inside: issuerDoc}, full, ""},
		"the second of two":         {map[string]string{ofPath: strings.Replace(resourceDoc, `["https://id`, `["https://no.test","https://id`, 1), oauth: issuerDoc}, full, ""},
		"nobody":                    {nil, nil, "404"},
		"no authorization server":   {map[string]string{ofPath: `{"resource":"https://arc.test/arc"}`}, nil, "names none"},
		"another issuer":            {map[string]string{ofPath: resourceDoc, oauth: strings.Replace(issuerDoc, "/tenant", "/other", 1)}, nil, "RFC 8414"},
		"another resource":          {map[string]string{ofPath: strings.Replace(resourceDoc, "arc.test", "arc2.test", 1)}, nil, "another server"},
		"a longer resource":         {map[string]string{ofPath: strings.Replace(resourceDoc, "/arc\"", "/arc/x\"", 1)}, nil, "another server"},
		"a half name as resource":   {map[string]string{ofPath: strings.Replace(resourceDoc, "/arc\"", "/ar\"", 1)}, nil, "another server"},
		"an issuer over http":       {map[string]string{ofPath: strings.Replace(resourceDoc, "https://id", "http://id", 1)}, nil, "not https"},
		"an issuer on this machine": {map[string]string{ofPath: strings.Replace(resourceDoc, "https://id.test", "http://127.0.0.1:1", 1)}, nil, "not https"},
		"https on this machine":     {map[string]string{ofPath: strings.Replace(resourceDoc, "https://id.test", "https://localhost:1", 1)}, nil, "may name"},
		"an endpoint on this one":   {map[string]string{ofPath: resourceDoc, oauth: strings.Replace(issuerDoc, "https://id.test/token", "https://127.0.0.1/token", 1)}, nil, "may name"},
		"an endpoint over http":     {map[string]string{ofPath: resourceDoc, oauth: strings.Replace(issuerDoc, "https://id.test/token", "http://id.test/token", 1)}, nil, "not https"},
		"an endpoint of no kind":    {map[string]string{ofPath: resourceDoc, oauth: strings.Replace(issuerDoc, "https://id.test/revoke", "javascript:x", 1)}, nil, "not https"},
		"a redirect elsewhere":      {map[string]string{ofPath: "redirect https://evil.test/meta", "https://evil.test/meta": resourceDoc}, nil, "evil.test/meta"},
		"wrong types":               {map[string]string{ofPath: `{"resource":[7]}`}, nil, "reading"},
		"much too large":            {map[string]string{ofPath: `{"resource":"` + strings.Repeat("x", 2<<20) + `"}`}, nil, "larger"},
	} {
		web := over(func(r *http.Request) (*http.Response, error) {
			if r.Header.Get("Authorization") != "" {
				t.Errorf("%s: a token went to %s", label, r.URL)
			}
			page, ok := c.pages[r.URL.String()]
			switch to, away := strings.CutPrefix(page, "redirect "); {
			case away:
				return says(r, 302, "", "Location: "+to), nil
			case ok:
				return says(r, 200, page, "Content-Type: application/json"), nil
			case r.Method == http.MethodPost && strings.Contains(label, "challenge"):
				return says(r, 401, "", `WWW-Authenticate: Bearer realm="arc", resource_metadata="https://arc.test/meta"`), nil
			}
			return says(r, 404, ""), nil
		})
		got, err := web.Discover(t.Context())
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s%v", label, diff, err)
		}
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %q", label, err, c.says)
		}
		if label == "nobody" && !errors.Is(err, arc.ErrNotFound) {
			t.Errorf("%s: %v is not ErrNotFound", label, err)
		}
	}
}

// TestDiscoverOnThisMachine: over plain http, and by whichever name of it.
func TestDiscoverOnThisMachine(t *testing.T) {
	doc := func(v any) string {
		b, _ := json.Marshal(v)
		return string(b)
	}
	web := over(func(r *http.Request) (*http.Response, error) {
		switch r.URL.Path {
		case "/.well-known/oauth-protected-resource/arc":
			return says(r, 200, doc(map[string]any{"resource": "http://127.0.0.1:8001/arc", "authorization_servers": []string{"http://127.0.0.1:8001"}})), nil
		case "/.well-known/oauth-authorization-server":
			return says(r, 200, doc(map[string]any{"issuer": "http://127.0.0.1:8001", "token_endpoint": "http://127.0.0.1:8001/oauth/token", "scopes_supported": []string{"s"}})), nil
		}
		return says(r, 404, ""), nil
	})
	web.URL = "http://localhost:8001"
	want := &client.AuthServer{
		Issuer: "http://127.0.0.1:8001", TokenEndpoint: "http://127.0.0.1:8001/oauth/token", Scopes: []string{"s"}, Grants: []string{"authorization_code", "implicit"},
	}
	got, err := web.Discover(t.Context())
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	web.URL = "http://localhost:8002" // another server
	if _, err := web.Discover(t.Context()); err == nil {
		t.Error("a document about another port was taken")
	}
	for _, url := range []string{"", "arc.test", "https://"} {
		if _, err := (&client.Client{URL: url}).Discover(t.Context()); !errors.Is(err, arc.ErrInvalid) {
			t.Errorf("URL %q: %v", url, err)
		}
	}
}

// TestDiscoverUnreachable: what is not there is not asked three times.
func TestDiscoverUnreachable(t *testing.T) {
	calls := 0
	web := over(func(*http.Request) (*http.Response, error) {
		calls++
		return nil, refusedConn
	})
	if _, err := web.Discover(t.Context()); !errors.Is(err, arc.ErrUnavailable) || calls != 1 {
		t.Errorf("%v after %d requests", err, calls)
	}
}

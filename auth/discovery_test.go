package auth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

func contextWithCancel(t *testing.T) (context.Context, context.CancelFunc) {
	return context.WithCancel(t.Context())
}

// web answers requests by URL, without a network; what it does not know is 404.
type web map[string]string

func (w web) RoundTrip(r *http.Request) (*http.Response, error) {
	body, ok := w[r.URL.String()]
	res := &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, Request: r, Body: io.NopCloser(strings.NewReader(body)),
	}
	if to, is := strings.CutPrefix(body, "redirect "); is {
		res.StatusCode = http.StatusFound
		res.Header.Set("Location", to)
	}
	if !ok {
		res.StatusCode = http.StatusNotFound
	}
	return res, nil
}

func metadata(issuer, jwks string) string {
	b, err := json.Marshal(map[string]string{"issuer": issuer, "jwks_uri": jwks})
	if err != nil {
		panic(err)
	}
	return string(b)
}

func TestDiscovery(t *testing.T) {
	iss := arctest.NewIssuer(t)
	set := string(iss.JWKS())
	const (
		name  = "https://id.example/tenant/"
		oidc  = "https://id.example/tenant/.well-known/openid-configuration"
		oauth = "https://id.example/.well-known/oauth-authorization-server/tenant"
		jwks  = "https://keys.example/jwks"
	)
	for _, test := range []struct {
		name   string
		web    web
		reason string
	}{
		{"OpenID Connect", web{oidc: metadata(name, jwks), jwks: set}, ""},
		{"RFC 8414", web{oauth: metadata(name, jwks), jwks: set}, ""},
		{"the second if the first is another's", web{oidc: metadata("x", "https://x"), oauth: metadata(name, jwks), jwks: set}, ""},
		{"nothing", web{jwks: set}, auth.ReasonKeysUnavailable},
		{"issuer without the slash", web{oidc: metadata(strings.TrimSuffix(name, "/"), jwks), jwks: set}, auth.ReasonKeysUnavailable},
		{"no issuer", web{oidc: fmt.Sprintf(`{"jwks_uri":%q}`, jwks), jwks: set}, auth.ReasonKeysUnavailable},
		{"no jwks_uri", web{oidc: metadata(name, ""), jwks: set}, auth.ReasonKeysUnavailable},
		{"jwks_uri in plain http", web{oidc: metadata(name, "http://127.0.0.1/jwks"), "http://127.0.0.1/jwks": set}, auth.ReasonKeysUnavailable},
		{"jwks_uri a file", web{oidc: metadata(name, "file:///etc/passwd")}, auth.ReasonKeysUnavailable},
		{"doubled issuer", web{oidc: `{"issuer":"x",` + metadata(name, jwks)[1:], jwks: set}, auth.ReasonKeysUnavailable},
		{"not JSON", web{oidc: "<html>", jwks: set}, auth.ReasonKeysUnavailable},
		{"redirect on the host", web{oidc: "redirect https://id.example/b", "https://id.example/b": metadata(name, jwks), jwks: set}, ""},
		{"redirect to another host", web{oidc: "redirect https://b.example/", "https://b.example/": metadata(name, jwks), jwks: set}, auth.ReasonKeysUnavailable},
		{"redirect to plain http", web{oidc: "redirect http://id.example/b", "http://id.example/b": metadata(name, jwks), jwks: set}, auth.ReasonKeysUnavailable},
		{"key set redirects away", web{oidc: metadata(name, jwks), jwks: "redirect https://b.example/", "https://b.example/": set}, auth.ReasonKeysUnavailable},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := auth.Provider{Name: "id", Issuer: name, Audience: []string{audience}, AllowHTTP: true}
			ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}, Transport: test.web})
			claims := iss.Claims(audience, now())
			claims["iss"] = name
			judged(t, ps, iss.Mint(t, "EdDSA", claims), test.reason)
		})
	}
}

// The transport of our own speaks to no link-local address, where clouds keep
// their metadata services.
func TestTransportAddresses(t *testing.T) {
	iss := arctest.NewIssuer(t)
	p := iss.Provider("test", audience)
	p.JWKSURI = "https://169.254.169.254/jwks"
	ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}})
	e := judged(t, ps, iss.Token(t, audience), auth.ReasonKeysUnavailable)
	if !strings.Contains(e.Error(), "not one that an issuer can have") {
		t.Errorf("cause: got %v; want the refusal of the address", e)
	}
	if strings.Contains(e.Message, "169.254") {
		t.Errorf("message %q shows the address", e.Message)
	}
}

// Over TLS the certificate is checked, and an embedding program can bring its
// own authorities.
func TestTransportTLS(t *testing.T) {
	iss := arctest.NewIssuer(t)
	server := httptest.NewUnstartedServer(document(iss.JWKS()))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	p := iss.Provider("test", audience)
	p.JWKSURI = server.URL
	token := iss.Token(t, audience)
	judged(t, newProviders(t, auth.Config{Providers: []auth.Provider{p}}), token, auth.ReasonKeysUnavailable)
	judged(t, newProviders(t, auth.Config{Providers: []auth.Provider{p}, Transport: server.Client().Transport}), token, "")
}

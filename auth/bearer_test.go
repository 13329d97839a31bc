package auth_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

func TestBearer(t *testing.T) {
	const invalid, none = `invalid_request`, `none`
	for _, test := range []struct {
		header []string
		token  string
		reason string
		word   string // error word of the challenge
	}{
		{[]string{"Bearer abc.d-f._~+/=="}, "abc.d-f._~+/==", "", ""},
		{[]string{"bearer abc"}, "abc", "", ""},
		{[]string{"BEARER abc"}, "abc", "", ""},
		{nil, "", auth.ReasonMissingToken, none},
		{[]string{""}, "", auth.ReasonMissingToken, none},
		{[]string{"Basic dTpw"}, "", auth.ReasonMissingToken, none},
		{[]string{"DPoP abc"}, "", auth.ReasonMissingToken, none},
		{[]string{"abc"}, "", auth.ReasonMissingToken, none},
		{[]string{"Bearerabc"}, "", auth.ReasonMissingToken, none},
		{[]string{"Bearer"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer "}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer  abc"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer\tabc"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer abc def"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer abc, Bearer def"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer =="}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer abc=d"}, "", auth.ReasonMalformed, invalid},
		{[]string{`Bearer "abc"`}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer abc\r\n"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer \u00e9"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer abc", "Bearer abc"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Basic dTpw", "Bearer abc"}, "", auth.ReasonMalformed, invalid},
		{[]string{"Bearer " + strings.Repeat("a", auth.MaxToken)}, strings.Repeat("a", auth.MaxToken), "", ""},
		{[]string{"Bearer " + strings.Repeat("a", auth.MaxToken+1)}, "", auth.ReasonMalformed, "invalid_token"},
	} {
		label := strings.Join(test.header, " + ")
		t.Run(label[:min(len(label), 40)], func(t *testing.T) {
			token, err := auth.Bearer(http.Header{"Authorization": test.header})
			if token != test.token {
				t.Errorf("token: got %.40q, want %.40q", token, test.token)
			}
			if test.reason == "" {
				if err != nil {
					t.Errorf("Bearer: %v", err)
				}
				return
			}
			e := arc.Public(err)
			if e.Code != arc.CodeUnauthenticated || e.Reason() != test.reason || e.Details["retryable"] != false {
				t.Errorf("refusal: got %v %v, want -44001 %s", e, e.Details, test.reason)
			}
			word := none
			if _, rest, ok := strings.Cut(auth.Challenge(e, "arc", ""), `error="`); ok {
				word, _, _ = strings.Cut(rest, `"`)
			}
			if word != test.word {
				t.Errorf("error word: got %s, want %s", word, test.word)
			}
		})
	}
}

func TestChallenge(t *testing.T) {
	_, missing := auth.Bearer(http.Header{})
	_, header := auth.Bearer(http.Header{"Authorization": {"Bearer a b"}})
	refusal := func(code arc.Code, reason string) error { return arc.Errorf(code, "x").With("reason", reason) }
	metadata := "https://api.example/.well-known/oauth-protected-resource/arc"
	for name, test := range map[string]struct {
		err  error
		want string
	}{
		"missing":                         {missing, `Bearer realm="arc", resource_metadata="` + metadata + `"`},
		"header":                          {header, `Bearer realm="arc", error="invalid_request", error_description="the Authorization header is malformed", resource_metadata="` + metadata + `"`},
		"bad":                             {refusal(arc.CodeUnauthenticated, auth.ReasonBadSignature), `Bearer realm="arc", error="invalid_token", error_description="the token is not valid", resource_metadata="` + metadata + `"`},
		"malformed":                       {refusal(arc.CodeUnauthenticated, auth.ReasonMalformed), `Bearer realm="arc", error="invalid_token", error_description="the token is not valid", resource_metadata="` + metadata + `"`},
		"expired":                         {refusal(arc.CodeTokenExpired, auth.ReasonExpired), `Bearer realm="arc", error="invalid_token", error_description="the token has expired", resource_metadata="` + metadata + `"`},
		"a validator of another's making": {refusal(arc.CodeTokenInvalid, "custom"), `Bearer realm="arc", error="invalid_token", error_description="the token is not valid", resource_metadata="` + metadata + `"`},
		"scope": {
			(&auth.Principal{Scopes: []string{"x"}}).Require("arc.agent.caller", "arc.task.controller"),
			`Bearer realm="arc", error="insufficient_scope", error_description="the token lacks a scope that this call needs", ` +
				`scope="arc.agent.caller arc.task.controller", resource_metadata="` + metadata + `"`,
		},
		"no keys":       {refusal(arc.CodeUnauthenticated, auth.ReasonKeysUnavailable), ""},
		"another agent": {(&auth.Principal{Agents: []string{}}).SpeakAs("a"), ""},
		"not ours":      {refusal(arc.CodeTaskNotFound, ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, auth.Challenge(arc.Public(test.err), "arc", metadata)); diff != "" {
				t.Errorf("challenge (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("quoting", func(t *testing.T) {
		if got, want := auth.Challenge(arc.Public(missing), "a\"b\\c\r\nd\u00e9", ""), `Bearer realm="a\"b\\cd"`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	})
}

func TestConfigFaults(t *testing.T) {
	good := func() auth.Provider {
		return auth.Provider{Name: "okta", Issuer: "https://id.example", Audience: []string{"a"}}
	}
	one := func(change func(*auth.Provider)) auth.Config {
		p := good()
		change(&p)
		return auth.Config{Providers: []auth.Provider{p}}
	}
	for want, cfg := range map[string]auth.Config{
		"auth.providers: at least one":                         {},
		"auth.leeway: 2m1s is more than 2m0s":                  {Providers: []auth.Provider{good()}, Leeway: 121 * time.Second},
		"auth.providers.okta: each provider needs a name":      {Providers: []auth.Provider{good(), good()}},
		"auth.providers.b.issuer: \"https://id.example\" is":   {Providers: []auth.Provider{good(), one(func(p *auth.Provider) { p.Name = "b" }).Providers[0]}},
		"auth.providers.: each provider needs":                 one(func(p *auth.Provider) { p.Name = "" }),
		"auth.providers.okta.issuer: a text without":           one(func(p *auth.Provider) { p.Issuer = "" }),
		"auth.providers.okta.issuer: \"id.example\" is not":    one(func(p *auth.Provider) { p.Issuer = "id.example" }),
		"auth.providers.okta.issuer: \"http://127.0.0.1/\"":    one(func(p *auth.Provider) { p.Issuer = "http://127.0.0.1/" }),
		"plain http to another machine":                        one(func(p *auth.Provider) { p.Issuer, p.AllowHTTP = "http://10.0.0.1/", true }),
		"is not an https URL":                                  one(func(p *auth.Provider) { p.JWKSURI = "file:///etc/passwd" }),
		"auth.providers.okta.jwks_uri: \"http://localhost/k\"": one(func(p *auth.Provider) { p.JWKSURI = "http://localhost/k" }),
		"auth.providers.okta.jwks_uri: \"https://u:p@id":       one(func(p *auth.Provider) { p.JWKSURI = "https://u:p@id.example/" }),
		"auth.providers.okta.audience: at least one":           one(func(p *auth.Provider) { p.Audience = nil }),
		"and none may be empty":                                one(func(p *auth.Provider) { p.Audience = []string{"a", ""} }),
		"auth.providers.okta.algorithms: \"HS256\" is not":     one(func(p *auth.Provider) { p.Algorithms = []string{"HS256"} }),
		"auth.providers.okta.algorithms: \"none\" is not":      one(func(p *auth.Provider) { p.Algorithms = []string{"none"} }),
		"auth.providers.okta.algorithms: an empty list":        one(func(p *auth.Provider) { p.Algorithms = []string{} }),
		"auth.providers.okta.scope_claims":                     one(func(p *auth.Provider) { p.ScopeClaims = []string{""} }),
		"auth.providers.okta.profile: \"strict\" is neither":   one(func(p *auth.Provider) { p.Profile = "strict" }),
		"auth.providers.okta.refetch_cooldown":                 one(func(p *auth.Provider) { p.RefetchCooldown = -1 }),
	} {
		t.Run(want, func(t *testing.T) {
			_, err := auth.NewProviders(cfg)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("NewProviders: got %v; want an error with %q", err, want)
			}
		})
	}
	for name, cfg := range map[string]auth.Config{
		"as short as it goes":        {Providers: []auth.Provider{good()}},
		"leeway at the limit":        {Providers: []auth.Provider{good()}, Leeway: 120 * time.Second},
		"http on loopback":           one(func(p *auth.Provider) { p.Issuer, p.AllowHTTP = "http://[::1]:8080/", true }),
		"issuer that is no URL":      one(func(p *auth.Provider) { p.Issuer, p.JWKSURI = "accounts.example", "https://id.example/k" }),
		"keys in this process, http": one(func(p *auth.Provider) { p.Issuer, p.Keys = "http://127.0.0.1", func() []byte { return nil } }),
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := auth.NewProviders(cfg); err != nil {
				t.Errorf("NewProviders: %v", err)
			}
		})
	}
}

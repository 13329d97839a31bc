package interop_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
)

// arcdAudience is whom the providers' tokens are for.
const arcdAudience = "https://arcd.interop.example"

// provider is a foreign OpenID provider behind a reverse proxy that counts. The
// proxy's address is the issuer, so the provider can be restarted behind it.
type provider struct {
	name, issuer string
	keysPath     string // of its key set
	tokenPath    string
	client       string // id of the one client
	secret       string
	command      func(t *testing.T, issuer, alg, keys string) *exec.Cmd

	life    *testing.T // the test that the provider lives as long as
	keys    string     // key file, which lives on over restarts
	backend atomic.Pointer[url.URL]
	stop    func()
	keySets atomic.Int64 // requests for the key set
	all     atomic.Int64 // requests
}

// panva is the npm package oidc-provider.
func panva() *provider {
	return &provider{
		name: "panva", keysPath: "/jwks", tokenPath: "/token",
		client: "machine-a", secret: "the secret of machine a, for tests only",
		command: func(t *testing.T, issuer, alg, keys string) *exec.Cmd {
			deps := filepath.Dir(cache(t, "panva/node_modules"))
			cmd := exec.Command("node", filepath.Join("panva", "provider.mjs"))
			cmd.Env = append(cmd.Environ(), "ISSUER="+issuer, "ALG="+alg, "AUDIENCE="+arcdAudience, "KEYS="+keys, "DEPS="+deps)
			return cmd
		},
	}
}

// zitadel is zitadel/oidc; its issuer ends in a slash.
func zitadel() *provider {
	return &provider{
		name: "zitadel", keysPath: "/keys", tokenPath: "/oauth/token",
		client: "machine-b", secret: "the secret of machine b, for tests only",
		command: func(t *testing.T, issuer, _, keys string) *exec.Cmd {
			cmd := exec.Command(cache(t, "zitadel-provider"))
			cmd.Env = append(cmd.Environ(), "ISSUER="+issuer, "AUDIENCE="+arcdAudience, "KEYS="+keys)
			return cmd
		},
	}
}

// open starts the proxy and the provider behind it.
func (p *provider) open(t *testing.T, alg string) {
	t.Helper()
	p.life = t
	p.keys = filepath.Join(t.TempDir(), "keys.json")
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(p.backend.Load())
			r.Out.Host = r.In.Host // so that its own links lead through the proxy
			p.all.Add(1)
			if r.In.URL.Path == p.keysPath {
				p.keySets.Add(1)
			}
		},
	})
	t.Cleanup(front.Close)
	p.issuer = front.URL
	if p.name == "zitadel" {
		p.issuer += "/"
	}
	p.start(alg)
}

// start starts the provider with one more key, which it signs with.
func (p *provider) start(alg string) {
	p.life.Helper()
	address, stop := listening(p.life, p.command(p.life, p.issuer, alg, p.keys))
	p.backend.Store(&url.URL{Scheme: "http", Host: address})
	p.stop = stop
}

// restart starts the provider anew, with one more key.
func (p *provider) restart(alg string) {
	p.life.Helper()
	p.stop()
	p.start(alg)
}

// config is the provider's entry in arcd's configuration; its keys are found
// by discovery.
func (p *provider) config() string {
	return fmt.Sprintf("    %s: {issuer: %q, audience: %s, allow_http: true, refetch_cooldown: 100ms}\n", p.name, p.issuer, arcdAudience)
}

// token gets a token by client credentials (RFC 6749 section 4.4).
func (p *provider) token(t *testing.T, scopes ...string) string {
	t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "scope": {strings.Join(scopes, " ")}}
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost,
		strings.TrimSuffix(p.issuer, "/")+p.tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.SetBasicAuth(url.QueryEscape(p.client), url.QueryEscape(p.secret))
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var answer struct {
		AccessToken string `json:"access_token"`
		Error       string `json:"error_description"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.AccessToken == "" {
		t.Fatalf("%s grants no token: %s %v %s", p.name, response.Status, err, answer.Error)
	}
	return answer.AccessToken
}

var taskScopes = []string{"arc.task.controller", "arc.agent.caller"}

// completesTask gives echo a task with the token and waits for its artifact.
func completesTask(t *testing.T, py *python, d *daemon, token string) {
	t.Helper()
	c := caller{py, d.endpoint(), token, ""}
	e := c.call(t, "task.create", map[string]any{"target_agent": "echo", "initial_message": text("from afar")})
	task := c.until(t, "echo", taskOf(t, e), "COMPLETED")
	want(t, task, "from afar", "artifacts", 0, "parts", 0, "content")
}

// TestProviders runs arcd with two foreign providers at once: their tokens
// create tasks, with each algorithm; new keys are found without a restart; the
// tokens of one never cause a request to the other.
func TestProviders(t *testing.T) {
	a, b := panva(), zitadel()
	a.open(t, "RS256")
	b.open(t, "RS256")
	d := newDaemon(t, "auth:\n  providers:\n"+a.config()+b.config())
	d.start(t) // it is ready once it has both key sets
	py := newPython(t)

	t.Run("both at once", func(t *testing.T) {
		before := [2]int64{a.keySets.Load(), b.keySets.Load()}
		if before[0] == 0 || before[1] == 0 {
			t.Errorf("arcd is ready after %v requests for key sets, want at least one each", before)
		}
		completesTask(t, py, d, a.token(t, taskScopes...))
		completesTask(t, py, d, b.token(t, taskScopes...))
		if after := [2]int64{a.keySets.Load(), b.keySets.Load()}; after != before {
			t.Errorf("good tokens caused requests for key sets: %v before, %v after", before, after)
		}
	})
	t.Run("owners are apart", func(t *testing.T) {
		mine := caller{py, d.endpoint(), a.token(t, taskScopes...), ""}
		theirs := caller{py, d.endpoint(), b.token(t, taskScopes...), ""}
		id := taskOf(t, mine.call(t, "task.create", map[string]any{"target_agent": "echo", "initial_message": text("mine")}))
		theirs.raises(t, "task.info", map[string]any{"target_agent": "echo", "task_id": id}).
			check(t, raised{"TaskNotFoundError", -42001, []string{"taskId"}})
	})
	t.Run("too few scopes", func(t *testing.T) {
		for _, p := range []*provider{a, b} {
			c := caller{py, d.endpoint(), p.token(t, "arc.agent.caller"), ""}
			c.raises(t, "task.create", map[string]any{"target_agent": "echo", "initial_message": text("x")}).
				check(t, raised{"AuthorizationError", -44002, []string{"required_scopes"}})
		}
	})
	for _, alg := range []string{"RS256", "ES256", "EdDSA"} {
		t.Run("a new "+alg+" key of the first", func(t *testing.T) {
			old := a.token(t, taskScopes...)
			rotates(t, py, d, a, b, alg)
			completesTask(t, py, d, old) // its key is still published
		})
	}
	t.Run("a new key of the second", func(t *testing.T) { rotates(t, py, d, b, a, "RS256") })
	t.Run("a bad signature", func(t *testing.T) {
		// Refused, and neither provider is asked anything: the key is known.
		token := a.token(t, taskScopes...)
		before := [2]int64{a.all.Load(), b.all.Load()}
		c := caller{py, d.endpoint(), token[:len(token)-8] + "AAAAAAAA", ""}
		c.raises(t, "task.create", map[string]any{"target_agent": "echo", "initial_message": text("x")}).
			check(t, raised{"AuthenticationError", -44001, []string{"reason"}})
		if after := [2]int64{a.all.Load(), b.all.Load()}; after != before {
			t.Errorf("a bad signature caused requests: %v before, %v after", before, after)
		}
	})
}

// rotates has p sign with a new key. arcd, which keeps running, must find it,
// and must not ask the other provider anything.
func rotates(t *testing.T, py *python, d *daemon, p, other *provider, alg string) {
	t.Helper()
	p.restart(alg)
	token := p.token(t, taskScopes...)
	before, untouched := p.keySets.Load(), other.all.Load()
	completesTask(t, py, d, token)
	if got := p.keySets.Load() - before; got != 1 {
		t.Errorf("the new key of %s took %d requests for its key set, want 1", p.name, got)
	}
	if got := other.all.Load(); got != untouched {
		t.Errorf("a token of %s caused %d requests to %s", p.name, got-untouched, other.name)
	}
}

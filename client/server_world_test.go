package client_test

import (
	"context"
	"encoding/base64"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/arctest"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// audience is that of the tokens of the test's own issuer.
const audience = "https://arcd.test"

// What the real server knows: a client of its token service, an administrator,
// and the key of an agent.
const (
	serviceID, serviceSecret = "ci", "s3cret of ci"
	adminName, adminPassword = "root", "correct horse"
	agentID, agentKey        = "weather-1", "key-of-weather-1"
)

// world is a whole arcd on a socket of loopback: store, demo agents, token
// service, registry. It trusts a second issuer, whose tokens can be anything.
type world struct {
	t       testing.TB
	url     string // scheme://host:port
	issuer  *arctest.Issuer
	ahead   atomic.Int64  // how far the clock of the server is ahead
	grants  atomic.Int32  // requests to /oauth/token
	arrived chan struct{} // has one for each request to /arc
	told    atomic.Int32  // calls that would have gone to agents' endpoints
	hooks   hooks         // what would have gone to subscribers
	agents  map[string]methods.Agent
	limits  server.Limits
	barrier func(http.Handler) http.Handler // around the server's handler; nil: nothing
}

// start starts the world. change may set its agents, limits and barrier.
func start(t testing.TB, change func(*world)) *world {
	t.Helper()
	w := &world{t: t, arrived: make(chan struct{}, 1024), issuer: arctest.NewIssuer(t), agents: map[string]methods.Agent{"idle": {}}}
	for _, kind := range methods.DemoKinds() {
		w.agents[kind], _ = methods.Demo(kind)
	}
	if change != nil {
		change(w)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	w.url = "http://" + l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	db, err := sqlite.Open(ctx, sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	must(t, err)
	web := &http.Server{Handler: w.handler(ctx, &running, db), ReadHeaderTimeout: time.Minute}
	running.Go(func() {
		if err := web.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	t.Cleanup(func() {
		_ = web.Close()
		cancel()
		running.Wait()
		must(t, db.Close())
	})
	return w
}

// handler puts the parts together, as arcd serve does.
func (w *world) handler(ctx context.Context, running *sync.WaitGroup, db *sqlite.Engine) http.Handler {
	t := w.t
	t.Helper()
	now := func() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }
	issuer, err := auth.OpenIssuer(auth.IssuerConfig{
		URL: w.url, KeyFile: filepath.Join(t.TempDir(), "keys.json"), Now: now, LongestTTL: time.Hour,
		Clients: map[string]auth.Client{
			adminName: {SecretHash: cheapHash(adminPassword), Admin: true},
			serviceID: {SecretHash: cheapHash(serviceSecret), Scopes: strings.Fields(allScopes)},
		},
	})
	must(t, err)
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: []string{agentID + "=" + agentKey, "radar-1=key-of-radar-1"}, Now: now})
	must(t, err)
	reg, err := registry.Open(ctx, registry.Config{Store: db, Issuer: issuer, Keys: keys, PublicURL: w.url, Now: now})
	must(t, err)
	service, err := methods.New(methods.Config{Store: db, Agents: w.agents, Registry: reg, Webhooks: &w.hooks, Version: "test", TurnGrace: time.Minute})
	must(t, err)
	providers, err := auth.NewProviders(auth.Config{
		Providers: []auth.Provider{issuer.Provider(), w.issuer.Provider("test", audience)},
		Revoked:   reg.Revoked, Leeway: time.Millisecond, Now: now,
	})
	must(t, err)
	running.Go(func() { providers.Run(ctx) })
	running.Go(func() { _ = reg.Run(ctx) })
	running.Go(func() { _ = service.Run(ctx) })
	_, err = providers.Validate(ctx, w.issuer.Token(t, audience)) // its keys are there from now on
	must(t, err)
	handler := server.New(server.Config{
		Service: service, Validator: providers, Issuer: issuer, Registry: reg, Limits: w.limits,
		RegistryValidator: providers.For(auth.IssuerName, registry.AudienceValidate, registry.AudienceRegister),
		AuthServers:       []string{w.issuer.URL}, PublicURL: w.url, Version: "test", Now: now,
		KeepAlive: 200 * time.Millisecond, // also how often tokens of streams are looked at
		Notify: func(context.Context, string, any) (int, error) {
			w.told.Add(1)
			return http.StatusOK, nil
		},
	}).Handler()
	if w.barrier != nil {
		handler = w.barrier(handler)
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/oauth/token":
			w.grants.Add(1)
		case "/arc":
			select {
			case w.arrived <- struct{}{}:
			default: // nobody waits for so many
			}
		}
		handler.ServeHTTP(rw, r)
	})
}

// hooks is a receiver of webhooks that takes what is sent, unless it was told to
// refuse.
type hooks struct {
	refuses atomic.Bool
	got     atomic.Int32
}

// Check refuses plain http.
func (h *hooks) Check(_ context.Context, url string) error {
	if !strings.HasPrefix(url, "https://") {
		return arc.InvalidParam("callbackUrl", "must be https")
	}
	return nil
}

// Post takes a message, or answers that there is no such page.
func (h *hooks) Post(context.Context, methods.Webhook) (methods.WebhookAnswer, error) {
	h.got.Add(1)
	if h.refuses.Load() {
		return methods.WebhookAnswer{Status: http.StatusNotFound}, nil
	}
	return methods.WebhookAnswer{Status: http.StatusOK}, nil
}

// forget empties arrived.
func (w *world) forget() {
	for len(w.arrived) > 0 {
		<-w.arrived
	}
}

// allScopes are those that the nine methods need.
const allScopes = "arc.agent.caller arc.agent.receiver arc.chat.controller arc.task.controller arc.task.notify"

// token mints a good token, with changes to its claims.
func (w *world) token(change map[string]any) string {
	claims := w.issuer.Claims(audience, time.Now())
	for name, value := range change {
		claims[name] = value
	}
	return w.issuer.Mint(w.t, "ES256", claims)
}

// client gives a client with a good token and all scopes.
func (w *world) client() *client.Client { return w.with(client.StaticToken(w.token(nil))) }

// with gives a client with the tokens of a source; nil sends none.
func (w *world) with(tokens client.TokenSource) *client.Client {
	return &client.Client{URL: w.url, Token: tokens, Agent: "tester"}
}

// service gives a client with tokens of the server's own token service.
func (w *world) service() *client.Client {
	return w.with(&client.ClientCredentials{TokenURL: w.url + "/oauth/token", ClientID: serviceID, ClientSecret: serviceSecret})
}

// admin gives the client of an administrator who has logged in.
func (w *world) admin() *client.Client {
	w.t.Helper()
	before := &client.Client{URL: w.url, Fingerprint: "client of the test"}
	grant, err := before.Login(w.t.Context(), adminName, adminPassword)
	must(w.t, err)
	return &client.Client{URL: w.url, Fingerprint: before.Fingerprint, Token: client.StaticToken(grant.AccessToken)}
}

// cheapHash is a valid argon2id hash that costs next to nothing to verify.
func cheapHash(secret string) string {
	salt, enc := []byte("0123456789abcdef"), base64.RawStdEncoding
	return "$argon2id$v=19$m=8,t=1,p=1$" + enc.EncodeToString(salt) + "$" +
		enc.EncodeToString(argon2.IDKey([]byte(secret), salt, 1, 8, 1, 32))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

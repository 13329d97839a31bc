package client_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// serveExample starts an arcd with the demo agents, a client "ci" of its token
// service and a key of the agent weather-1. stop ends it.
func serveExample() (url string, stop func()) {
	folder, err := os.MkdirTemp("", "arcd-example")
	expect(err)
	ctx, cancel := context.WithCancel(context.Background())
	db, err := sqlite.Open(ctx, sqlite.Config{File: filepath.Join(folder, "arcd.db")})
	expect(err)
	var handler http.Handler
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler.ServeHTTP(w, r) }))
	var running sync.WaitGroup
	handler = exampleHandler(ctx, &running, web.URL, folder, db)
	return web.URL, func() {
		web.CloseClientConnections()
		web.Close()
		cancel()
		running.Wait()
		expect(db.Close())
		expect(os.RemoveAll(folder))
	}
}

// exampleHandler puts the parts of the example's server together.
func exampleHandler(ctx context.Context, running *sync.WaitGroup, url, folder string, db *sqlite.Engine) http.Handler {
	issuer, err := auth.OpenIssuer(auth.IssuerConfig{
		URL: url, KeyFile: filepath.Join(folder, "keys.json"),
		Clients: map[string]auth.Client{"ci": {SecretHash: cheapHash("s3cret"), Scopes: strings.Fields(allScopes)}},
	})
	expect(err)
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: []string{"weather-1=s3cret"}})
	expect(err)
	reg, err := registry.Open(ctx, registry.Config{Store: db, Issuer: issuer, Keys: keys, PublicURL: url})
	expect(err)
	agents := map[string]methods.Agent{}
	for _, kind := range methods.DemoKinds() {
		agents[kind], _ = methods.Demo(kind)
	}
	service, err := methods.New(methods.Config{Store: db, Agents: agents, Registry: reg})
	expect(err)
	providers, err := auth.NewProviders(auth.Config{Providers: []auth.Provider{issuer.Provider()}, Revoked: reg.Revoked})
	expect(err)
	running.Go(func() { providers.Run(ctx) })
	running.Go(func() { _ = reg.Run(ctx) })
	running.Go(func() { _ = service.Run(ctx) })
	return server.New(server.Config{
		Service: service, Validator: providers, Issuer: issuer, Registry: reg, PublicURL: url,
		RegistryValidator: providers.For(auth.IssuerName, registry.AudienceValidate, registry.AudienceRegister),
	}).Handler()
}

func expect(err error) {
	if err != nil {
		panic(err)
	}
}

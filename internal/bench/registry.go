package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// The environment variables that tell the registry's server how many agents it
// has, and after which silence they count as dead.
const (
	childAgents  = "ARCD_BENCH_AGENTS"
	childSilence = "ARCD_BENCH_SILENCE"
)

// registryParts is what the registry's server is made of.
type registryParts struct {
	db        *sqlite.Engine
	store     *counted
	issuer    *auth.Issuer
	service   *methods.Service
	registry  *registry.Registry
	providers *auth.Providers
	registrar auth.Validator // takes what the registry's routes take
	log       zerolog.Logger
	logFile   *os.File
}

// serveRegistry serves arcd with its agent registry as "arcd serve" puts it
// together, with agents that have registered, whose tokens it leaves in a file.
func serveRegistry(ctx context.Context, ln net.Listener, dir string) (served, error) {
	debug.SetGCPercent(400) // as arcd serve does
	count, err := strconv.Atoi(os.Getenv(childAgents))
	if err != nil {
		return served{}, fmt.Errorf("reading %s: %w", childAgents, err)
	}
	silence, err := time.ParseDuration(os.Getenv(childSilence))
	if err != nil {
		return served{}, fmt.Errorf("reading %s: %w", childSilence, err)
	}
	p, err := openRegistry(ctx, "http://"+ln.Addr().String(), dir, count, silence)
	if err != nil {
		return served{}, err
	}
	tokens, err := register(ctx, p.registry, p.registrar, count)
	if err == nil {
		err = writeTokens(dir, tokens)
	}
	if err != nil {
		return served{}, err
	}
	return p.serve(ctx, ln), nil
}

// openRegistry opens all parts but the server.
func openRegistry(ctx context.Context, url, dir string, count int, silence time.Duration) (*registryParts, error) {
	var p registryParts
	var err error
	if p.logFile, err = os.Create(filepath.Join(dir, "arcd.log")); err != nil {
		return nil, err
	}
	p.log = zerolog.New(p.logFile).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	if p.db, err = sqlite.Open(ctx, sqlite.Config{File: filepath.Join(dir, "arcd.db"), Log: p.log}); err != nil {
		return nil, err
	}
	p.store = &counted{Registry: p.db}
	if p.service, err = methods.New(methods.Config{Store: p.db, Log: p.log}); err != nil {
		return nil, err
	}
	p.issuer, err = auth.OpenIssuer(auth.IssuerConfig{URL: url, KeyFile: filepath.Join(dir, "keys.json"), LongestTTL: time.Hour, Log: p.log})
	if err != nil {
		return nil, err
	}
	entries := make([]string, count)
	for n := range entries {
		entries[n] = agentID(n) + "=" + agentKey(n)
	}
	keys, err := auth.OpenAgentKeys(auth.AgentKeysConfig{Entries: entries, Log: p.log})
	if err != nil {
		return nil, err
	}
	p.registry, err = registry.Open(ctx, registry.Config{
		Store: p.store, Issuer: p.issuer, Keys: keys, HeartbeatTimeout: silence, Log: p.log, Alone: true,
	})
	if err != nil {
		return nil, err
	}
	return &p, p.openProviders()
}

// openProviders trusts arcd's own tokens only: they are all that the registry's
// workloads use.
func (p *registryParts) openProviders() (err error) {
	p.providers, err = auth.NewProviders(auth.Config{
		Providers: []auth.Provider{p.issuer.Provider()}, Leeway: 30 * time.Second, Log: p.log,
		Revoked: p.registry.Revoked,
	})
	if err != nil {
		return err
	}
	p.registrar = p.providers.For(auth.IssuerName, registry.AudienceValidate, registry.AudienceRegister)
	return nil
}

// serve runs all parts until ctx ends.
func (p *registryParts) serve(ctx context.Context, ln net.Listener) served {
	srv := server.New(server.Config{
		Metrics: server.NewMetrics("bench"),
		Service: p.service, Validator: p.providers, Issuer: p.issuer,
		Registry: p.registry, RegistryValidator: p.registrar,
		PublicURL: "http://" + ln.Addr().String(), DrainTimeout: 2 * time.Second, Log: p.log,
	})
	var running, serving sync.WaitGroup
	var runErr, registryErr, serveErr error
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	running.Go(func() { p.providers.Run(background) })
	running.Go(func() { runErr = p.service.Run(background) })
	running.Go(func() { registryErr = p.registry.Run(background) })
	serving.Go(func() { serveErr = srv.Serve(ctx, ln) })
	return served{
		writes: p.store.writes,
		wait: func() error {
			serving.Wait()
			stop()
			running.Wait()
			return errors.Join(serveErr, runErr, registryErr, p.db.Close(), p.logFile.Close())
		},
	}
}

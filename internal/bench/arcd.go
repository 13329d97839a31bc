package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// arcdParts is what an arcd without a registry is made of.
type arcdParts struct {
	dir     string
	url     string
	log     zerolog.Logger
	logFile *os.File
	db      io.Closer
	store   *ended
	// The caller may add to these before serve.
	service methods.Config
	server  server.Config
	// wake, if not nil, is told the service.
	wake func(*methods.Service)
}

// serveArcd serves arcd as "arcd serve" puts it together, its log in a file, with
// agents in the same process.
func serveArcd(ctx context.Context, ln net.Listener, dir string) (served, error) {
	p, err := openArcd(ctx, ln, dir)
	if err != nil {
		return served{}, err
	}
	return p.serve(ctx, ln)
}

// openArcd opens what is below the methods, on SQLite.
func openArcd(ctx context.Context, ln net.Listener, dir string) (*arcdParts, error) {
	p, err := newArcd(ln, dir)
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(ctx, sqlite.Config{File: filepath.Join(dir, "arcd.db"), Log: p.log})
	if err != nil {
		return nil, err
	}
	p.keepIn(db)
	return p, nil
}

// newArcd makes what is below the store.
func newArcd(ln net.Listener, dir string) (*arcdParts, error) {
	debug.SetGCPercent(400) // as arcd serve does
	p := &arcdParts{dir: dir, url: "http://" + ln.Addr().String()}
	var err error
	if p.logFile, err = os.Create(filepath.Join(dir, "arcd.log")); err != nil {
		return nil, err
	}
	p.log = zerolog.New(p.logFile).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	return p, nil
}

// keepIn has the state kept in an open store.
func (p *arcdParts) keepIn(db store.Store) {
	p.db, p.store = db, &ended{Store: db}
	p.service = methods.Config{Store: p.store, Agents: agents(), Log: p.log}
}

// serve makes what is above, and runs all of it until ctx ends.
func (p *arcdParts) serve(ctx context.Context, ln net.Listener) (served, error) {
	service, err := methods.New(p.service)
	if err != nil {
		return served{}, err
	}
	if p.wake != nil {
		p.wake(service)
	}
	providers, err := newProviders(p.dir, p.log)
	if err != nil {
		return served{}, err
	}
	cfg := p.server
	cfg.Metrics = server.NewMetrics("bench")
	cfg.Service, cfg.Validator, cfg.PublicURL = service, providers, p.url
	cfg.Limits = server.Limits{StreamsPerSubject: 1 << 20}
	cfg.DrainTimeout, cfg.Log = 2*time.Second, p.log
	cfg.Ready = func(context.Context) error { return providers.Ready() }
	srv := server.New(cfg)
	var running, serving sync.WaitGroup
	var runErr, serveErr error
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	running.Go(func() { providers.Run(background) })
	running.Go(func() { runErr = service.Run(background) })
	serving.Go(func() { serveErr = srv.Serve(ctx, ln) })
	return served{
		done: p.store.tasks.Load, writes: p.store.writes,
		wait: func() error {
			serving.Wait()
			stop()
			running.Wait()
			return errors.Join(serveErr, runErr, p.db.Close(), p.logFile.Close())
		},
	}, nil
}

// newProviders trusts the benchmark's issuer, whose key set is in a file.
func newProviders(dir string, log zerolog.Logger) (*auth.Providers, error) {
	keys, err := os.ReadFile(filepath.Join(dir, keysFile))
	if err != nil {
		return nil, err
	}
	return auth.NewProviders(auth.Config{
		Providers: []auth.Provider{{
			Name: "outside", Issuer: issuerURL, Audience: []string{audience},
			Keys: func() []byte { return keys }, AgentClaim: agentClaim,
		}},
		Leeway: 30 * time.Second, Log: log, CacheSize: 10_000,
	})
}

// agents are those in the process of arcd: queue takes tasks and never begins them,
// echo completes them, chat answers in chunks.
func agents() map[string]methods.Agent {
	echo, _ := methods.Demo("echo")
	return map[string]methods.Agent{
		"queue": {},
		"echo":  echo,
		"chat":  {Runner: methods.RunnerFunc(inChunks)},
	}
}

// inChunks answers with the chunks of the stream workload; who reads no stream gets
// one.
func inChunks(ctx context.Context, t *methods.Turn) error {
	if !t.Streams {
		return t.Write(ctx, farSummary)
	}
	for i := range chunks {
		if err := t.Write(ctx, chunk(i)); err != nil {
			return err
		}
	}
	return nil
}

// chunk is the i-th piece of an answer.
func chunk(i int) string { return fmt.Sprintf("Once upon a time there was chunk %02d. ", i) }

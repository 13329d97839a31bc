package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// serveArcd serves arcd as "arcd serve" puts it together, its log in a file,
// with three agents: queue takes tasks and never begins them, echo completes
// them, chat answers in chunks.
func serveArcd(ctx context.Context, ln net.Listener, dir string) (served, error) {
	debug.SetGCPercent(400) // as arcd serve does
	logFile, err := os.Create(filepath.Join(dir, "arcd.log"))
	if err != nil {
		return served{}, err
	}
	log := zerolog.New(logFile).Level(zerolog.InfoLevel).With().Timestamp().Logger()
	db, err := sqlite.Open(ctx, sqlite.Config{File: filepath.Join(dir, "arcd.db"), Log: log})
	if err != nil {
		return served{}, err
	}
	var echoed atomic.Int64
	service, err := methods.New(methods.Config{Store: db, Agents: agents(&echoed), Log: log})
	if err != nil {
		return served{}, err
	}
	providers, err := newProviders(dir, log)
	if err != nil {
		return served{}, err
	}
	srv := server.New(server.Config{
		Metrics: server.NewMetrics("bench"),
		Service: service, Validator: providers, PublicURL: "http://" + ln.Addr().String(),
		Limits:       server.Limits{StreamsPerSubject: 1 << 20},
		DrainTimeout: 2 * time.Second, Log: log,
		Ready: func(context.Context) error { return providers.Ready() },
	})
	var running sync.WaitGroup
	var runErr, serveErr error
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	running.Go(func() { providers.Run(background) })
	running.Go(func() { runErr = service.Run(background) })
	var serving sync.WaitGroup
	serving.Go(func() { serveErr = srv.Serve(ctx, ln) })
	return served{
		echoed: echoed.Load,
		wait: func() error {
			serving.Wait()
			stop()
			running.Wait()
			return errors.Join(serveErr, runErr, db.Close(), logFile.Close())
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
			Keys: func() []byte { return keys },
		}},
		Leeway: 30 * time.Second, Log: log, CacheSize: 10_000,
	})
}

func agents(echoed *atomic.Int64) map[string]methods.Agent {
	echo, _ := methods.Demo("echo")
	run := echo.Runner
	echo.Runner = methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		defer echoed.Add(1)
		return run.Run(ctx, t)
	})
	return map[string]methods.Agent{
		"queue": {},
		"echo":  echo,
		"chat":  {Runner: methods.RunnerFunc(inChunks)},
	}
}

// inChunks answers with the chunks of the stream workload.
func inChunks(ctx context.Context, t *methods.Turn) error {
	for i := range chunks {
		if err := t.Write(ctx, fmt.Sprintf("Once upon a time there was chunk %02d. ", i)); err != nil {
			return err
		}
	}
	return nil
}

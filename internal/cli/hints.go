package cli

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/natshints"
	"github.com/arcd-io/arcd/store/postgres"
)

// The words for how replicas tell each other what happened; all else is a URL of NATS.
const (
	hintsNotify = "notify"
	hintsOff    = "off"
)

// checkHints checks how replicas tell each other what happened.
func (c *checker) checkHints() {
	if !c.sharedStore() {
		for key, set := range map[string]bool{"hints": c.Hints != "", "nats": c.NATS != natsConfig{}} {
			if set {
				c.problem(key, "is for PostgreSQL: a SQLite store has one server, which tells itself")
			}
		}
		return
	}
	switch c.Hints {
	case "", hintsNotify, hintsOff:
		if (c.NATS != natsConfig{}) {
			c.problem("nats", "is for hints over NATS: set hints to nats://HOST:4222")
		}
		return
	}
	if !strings.Contains(c.Hints, "://") {
		c.problem("hints", "must be notify, off, or a URL such as nats://HOST:4222")
		return
	}
	if err := natshints.Check(c.natsHints(zerolog.Nop())); err != nil {
		c.problem("hints", "%w", err)
	}
}

// natsHints is how NATS is used.
func (c *config) natsHints(log zerolog.Logger) natshints.Config {
	return natshints.Config{URL: c.Hints, CredentialsFile: c.NATS.Credentials, CAFile: c.NATS.CA, Prefix: c.NATS.Prefix, Log: log}
}

// openPostgres opens a PostgreSQL store with the hints that the configuration names.
func openPostgres(ctx context.Context, c *config, log zerolog.Logger) (engine, error) {
	cfg := postgres.Config{URL: c.Store, Unsafe: c.StoreUnsafe, Log: log}
	switch c.Hints {
	case "", hintsNotify:
		return orNil[engine](postgres.Open(ctx, cfg))
	case hintsOff:
		cfg.Hints = noHints{}
		return orNil[engine](postgres.Open(ctx, cfg))
	}
	hints, err := natshints.Open(c.natsHints(log))
	if err != nil {
		return nil, err
	}
	cfg.Hints = hints
	db, err := postgres.Open(ctx, cfg)
	if err != nil {
		hints.Close()
		return nil, err
	}
	s := &natsStore{Engine: db, hints: hints}
	id, err := clusterID(ctx, db)
	if err != nil {
		_ = s.Close() // the first error counts
		return nil, fmt.Errorf("reading the id of the cluster: %w", err)
	}
	hints.Join(id)
	return s, nil
}

// natsStore is a PostgreSQL store whose hints go over NATS.
type natsStore struct {
	*postgres.Engine
	hints *natshints.Hints
}

// Close closes both.
func (s *natsStore) Close() error {
	defer s.hints.Close()
	return s.Engine.Close()
}

// clusterID gives the text that all servers on one database share, however each of them
// calls that database. The first one makes it.
func clusterID(ctx context.Context, r store.Registry) (string, error) {
	m := store.Mark{Kind: "cluster", Value: "id", Body: []byte(rand.Text())}
	before, err := r.Mark(ctx, m, time.Now())
	if err != nil {
		return "", err
	}
	if before != nil {
		m = *before
	}
	return string(m.Body), nil
}

// noHints leaves everything to the look at the store that each server takes once a
// second.
type noHints struct{}

// Publish implements [store.Hints].
func (noHints) Publish(...store.Hint) {}

// Subscribe implements [store.Hints].
func (noHints) Subscribe(ctx context.Context, _ func(store.Hint)) error {
	<-ctx.Done()
	return ctx.Err()
}

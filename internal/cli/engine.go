package cli

import (
	"context"
	"strings"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
)

// engine is an open store: all that a server keeps.
type engine interface {
	store.Store
	store.Registry
}

// openStore opens the store that the configuration names. That has been checked, so it
// is sqlite:FILE or the URL of a PostgreSQL database.
func openStore(ctx context.Context, c *config, log zerolog.Logger) (engine, error) {
	if file, ok := strings.CutPrefix(c.Store, "sqlite:"); ok {
		return orNil[engine](sqlite.Open(ctx, sqlite.Config{File: file, Log: log}))
	}
	return openPostgres(ctx, c, log)
}

// sharedStore tells whether several servers may have the store open at once.
func (c *config) sharedStore() bool { return !strings.HasPrefix(c.Store, "sqlite:") }

// checkStore checks where the state is to be.
func (c *checker) checkStore() {
	switch scheme, rest, _ := strings.Cut(c.Store, ":"); {
	case scheme == "sqlite" && rest != "":
		if c.StoreUnsafe {
			c.problem("store_unsafe", "is for PostgreSQL: a SQLite store always flushes")
		}
	case (scheme == "postgres" || scheme == "postgresql") && strings.HasPrefix(rest, "//"):
		if err := postgres.CheckURL(c.Store); err != nil {
			c.problem("store", "%v", err)
		}
	default:
		c.problem("store", "must be sqlite:FILE, such as sqlite:arcd.db, or postgres://USER@HOST/DATABASE")
	}
}

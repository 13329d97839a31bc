package main

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// newPostgres starts a server that flushes as in production: what it has acknowledged
// is on the disk.
func newPostgres(o options) (*pgtest.Server, error) {
	var settings []string
	if o.profile != "" {
		settings = []string{"shared_preload_libraries = 'pg_stat_statements'", "pg_stat_statements.track_planning = on", "track_io_timing = on"}
	}
	return pgtest.New(pgtest.Config{Durable: true, Settings: settings})
}

// newDatabase makes a database on a server and gives its URL.
func newDatabase(ctx context.Context, engine *pgtest.Server, name string) (string, error) {
	c, err := pgx.Connect(ctx, engine.URL("postgres"))
	if err != nil {
		return "", err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return engine.URL(name), err
}

// ask gives the answer of a query on the server, beside all else that goes on there.
func ask[T any](ctx context.Context, engine *pgtest.Server, query string, args ...any) (answer T, err error) {
	c, err := pgx.Connect(ctx, engine.URL("postgres"))
	if err != nil {
		return answer, err
	}
	defer c.Close(ctx)
	err = c.QueryRow(ctx, query, args...).Scan(&answer)
	return answer, err
}

// engineCPU is the CPU time that the database server has used up so far.
func engineCPU(ctx context.Context, engine *pgtest.Server) (time.Duration, error) {
	c, err := pgx.Connect(ctx, engine.URL("postgres"))
	if err != nil {
		return 0, err
	}
	defer c.Close(ctx)
	return familyCPU(int(c.PgConn().PID()))
}

// Command million measures what a large store costs: the time to copy it from SQLite
// to PostgreSQL and back, verified, and to check it; and a page of tasks and a search
// among agents on it, against a store with a thousand tasks.
//
// The tasks are made up and loaded as a copy is, without a server. Rounds are
// interleaved and the median round counts, because a shared machine changes under the
// run. PostgreSQL is started by the program, with durable settings.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/registry"
	"github.com/arcd-io/arcd/store/postgres"
	"github.com/arcd-io/arcd/store/sqlite"
	"github.com/arcd-io/arcd/store/transfer"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "million:", err)
		os.Exit(1)
	}
}

// small is how many tasks the store has that the large one is compared with.
const small = 1000

// run makes the stores, copies them and measures.
func run(ctx context.Context, args []string) (err error) {
	flags := flag.NewFlagSet("million", flag.ContinueOnError)
	tasks := flags.Int("tasks", 1_000_000, "number of tasks, at least 1000")
	agents := flags.Int("agents", 10_000, "number of registered agents")
	rounds := flags.Int("rounds", 9, "number of rounds of pages and searches")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "arcd-million-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	server, err := pgtest.New(pgtest.Config{Durable: true, Settings: []string{"shared_buffers = 1GB", "max_wal_size = 4GB"}})
	if err != nil {
		return err
	}
	defer server.Remove()
	b := &bench{dir: dir, server: server, large: *tasks, agents: *agents}
	fmt.Printf("%d processors; %d tasks, %d agents\n\n", runtime.NumCPU(), *tasks, *agents)
	if err := b.stores(ctx); err != nil {
		return err
	}
	return b.reads(ctx, *rounds)
}

// bench is a run.
type bench struct {
	dir           string
	server        *pgtest.Server
	large, agents int
}

func (b *bench) file(name string) string { return filepath.Join(b.dir, name+".db") }

// stores makes the large stores and the small ones.
func (b *bench) stores(ctx context.Context) error {
	fmt.Printf("%-34s %10s %9s %10s %10s\n", "", "rows", "copying", "rows/s", "comparing")
	for _, name := range []string{"large", "small", "back"} {
		if err := b.newDatabase(ctx, name); err != nil {
			return err
		}
	}
	made := map[string]int{"large": b.large, "small": small}
	for _, name := range []string{"large", "small"} {
		into, err := sqlite.OpenWriter(ctx, b.file(name), registry.Texts)
		if err != nil {
			return err
		}
		if err := timed(ctx, name+": made up → SQLite", &source{tasks: made[name], agents: b.agents}, into); err != nil {
			return err
		}
		from, err := sqlite.OpenReader(ctx, b.file(name), true)
		if err != nil {
			return err
		}
		to, err := postgres.OpenWriter(ctx, b.server.URL(name), registry.Texts)
		if err != nil {
			return err
		}
		if err := timed(ctx, name+": SQLite → PostgreSQL", from, to); err != nil {
			return err
		}
	}
	from, err := postgres.OpenReader(ctx, b.server.URL("large"), true)
	if err != nil {
		return err
	}
	to, err := sqlite.OpenWriter(ctx, b.file("back"), registry.Texts)
	if err != nil {
		return err
	}
	if err := timed(ctx, "large: PostgreSQL → SQLite", from, to); err != nil {
		return err
	}
	return b.checks(ctx)
}

// timed copies, prints how long that took, and closes both sides.
func timed(ctx context.Context, what string, from transfer.Reader, to transfer.Writer) error {
	defer from.Close()
	defer to.Close()
	r, err := transfer.Copy(ctx, from, to, transfer.Config{Source: what})
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Printf("%-34s %10d %8.1fs %10.0f %9.1fs\n", what, r.Rows, r.Copying.Seconds(), float64(r.Rows)/r.Copying.Seconds(), r.Checking.Seconds())
	return nil
}

// checks checks the large stores and prints their sizes.
func (b *bench) checks(ctx context.Context) error {
	file, err := sqlite.OpenReader(ctx, b.file("large"), false)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := os.Stat(b.file("large"))
	if err != nil {
		return err
	}
	database, err := postgres.OpenReader(ctx, b.server.URL("large"), false)
	if err != nil {
		return err
	}
	defer database.Close()
	var size int64
	err = database.Query(ctx, `SELECT pg_database_size(current_database())`, nil, func(v []any) error {
		size, _ = v[0].(int64)
		return nil
	})
	if err != nil {
		return err
	}
	fmt.Println()
	for _, c := range []struct {
		name string
		x    transfer.Examiner
		size int64
	}{{"SQLite", file, info.Size()}, {"PostgreSQL", database, size}} {
		began := time.Now()
		checked, err := transfer.Check(ctx, c.x, nil)
		if err != nil {
			return err
		}
		fmt.Printf("large on %-10s %6.0f MB; checked in %.1fs, %d things wrong\n", c.name, float64(c.size)/1e6, time.Since(began).Seconds(), checked.Total)
	}
	return nil
}

// newDatabase makes a database.
func (b *bench) newDatabase(ctx context.Context, name string) error {
	c, err := pgx.Connect(ctx, b.server.URL("postgres"))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	_, err = c.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	return err
}

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/jackc/pgx/v5"
)

// profiles runs each workload on arcd once more, with a CPU profile, if the options ask
// for that; of several replicas the first has one. With the state in PostgreSQL it also
// writes what that says of its statements.
func (b *bench) profiles(ctx context.Context, loads []workload) error {
	for _, w := range loads {
		if b.profile == "" || w.on[0] == b.bare {
			continue
		}
		err := b.profiled(ctx, w.name, w.on, func(question string) error {
			_, err := w.on.measureFrom(ctx, question, w.load, b.connections, b.duration, b.limit)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// profileTasks does so with whole tasks.
func (b *bench) profileTasks(ctx context.Context) error {
	for name, on := range map[string]fleet{doneArcd: {b.arcd}, doneOne: b.one.servers, doneTwo: b.two.servers} {
		if b.profile == "" {
			return nil
		}
		err := b.profiled(ctx, name, on, func(question string) error {
			_, _, err := b.throughput(ctx, on, question, "echo", 2*b.duration)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// profiled has f measure with a profile; f gets the question to begin with.
func (b *bench) profiled(ctx context.Context, name string, on fleet, f func(question string) error) error {
	file := filepath.Join(b.profile, strings.NewReplacer(" ", "-", ",", "", ":", "").Replace(name))
	r := b.replicatedOn(on)
	if r == nil {
		return named(name, f(profiling+file+".prof"))
	}
	c, err := pgx.Connect(ctx, r.url)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for _, text := range []string{"CREATE EXTENSION IF NOT EXISTS pg_stat_statements", "SELECT pg_stat_statements_reset()"} {
		if _, err := c.Exec(ctx, text); err != nil {
			return named(name, err)
		}
	}
	if err := f(profiling + file + ".prof"); err != nil {
		return named(name, err)
	}
	return named(name, writeStatements(ctx, c, file+".statements"))
}

// replicatedOn gives the database of servers; nil if they have none.
func (b *bench) replicatedOn(on fleet) *replicated {
	for _, r := range []*replicated{b.one, b.two} {
		if on[0] == r.servers[0] {
			return r
		}
	}
	return nil
}

// named says of which workload's profile an error is.
func named(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("profile of %s: %w", name, err)
}

// writeStatements writes what PostgreSQL knows of the statements that took longest, of
// the tables, and of deadlocks so far.
func writeStatements(ctx context.Context, c *pgx.Conn, file string) error {
	var text strings.Builder
	for _, q := range []string{
		`SELECT calls, rows, round((total_exec_time + total_plan_time)::numeric, 1) AS ms,
			round(((total_exec_time + total_plan_time) / greatest(calls, 1))::numeric, 3) AS each,
			round(total_plan_time::numeric, 1) AS planning, wal_bytes, regexp_replace(query, '\s+', ' ', 'g') AS statement
			FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
			ORDER BY total_exec_time + total_plan_time DESC LIMIT 40`,
		`SELECT relname, seq_scan, seq_tup_read, idx_scan, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_live_tup, n_dead_tup
			FROM pg_stat_user_tables WHERE n_tup_ins + n_tup_upd > 0 ORDER BY n_tup_ins + n_tup_upd DESC`,
		`SELECT xact_commit, xact_rollback, deadlocks FROM pg_stat_database WHERE datname = current_database()`,
	} {
		rows, err := c.Query(ctx, q, pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			return err
		}
		if err := writeRows(&text, rows); err != nil {
			return err
		}
	}
	return os.WriteFile(file, []byte(text.String()), 0o600)
}

// writeRows writes rows below the names of their columns, as text between tabs.
func writeRows(text *strings.Builder, rows pgx.Rows) error {
	defer rows.Close()
	for i, column := range rows.FieldDescriptions() {
		fmt.Fprintf(text, "%s%s", strings.Repeat("\t", min(i, 1)), column.Name)
	}
	for rows.Next() {
		text.WriteString("\n")
		for i, value := range rows.RawValues() { // the simple protocol gives texts
			fmt.Fprintf(text, "%s%s", strings.Repeat("\t", min(i, 1)), value)
		}
	}
	text.WriteString("\n\n")
	return rows.Err()
}

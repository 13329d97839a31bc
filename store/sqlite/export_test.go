package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/arcd-io/arcd/store"
)

// Exec runs a statement on the writer's connection, behind the engine's back.
func Exec(ctx context.Context, s *Engine, text string) error {
	return s.write(ctx, "test", func(b *batch) error {
		return b.conn.query(text, nil, func([]driver.Value) error { return nil })
	})
}

// BreakCommit lets every commit fail with err from the next one on.
func BreakCommit(ctx context.Context, s *Engine, err error) error {
	return s.write(ctx, "test", func(b *batch) error {
		b.conn.raw = failing{b.conn.raw, err}
		delete(b.conn.stmts, "COMMIT")
		return nil
	})
}

// failing is a connection that cannot commit.
type failing struct {
	driver.Conn
	err error
}

func (f failing) Prepare(text string) (driver.Stmt, error) {
	if text == "COMMIT" {
		return nil, f.err
	}
	return f.Conn.Prepare(text)
}

// CheckFileSystem is checkFileSystem.
var CheckFileSystem = checkFileSystem

// PackEvents and the others are the codec of the log's rows.
var (
	PackEvents   = packEvents
	UnpackEvents = unpackEvents
	PackItems    = packItems
	UnpackItems  = unpackItems
)

// SetOutside runs a statement on the writer's connection outside of any
// transaction.
func SetOutside(ctx context.Context, s *Engine, text string) error {
	return s.write(ctx, "test", func(b *batch) error {
		if _, err := b.conn.exec("COMMIT"); err != nil {
			return err
		}
		_, err := b.conn.exec(text)
		_, berr := b.conn.exec("BEGIN IMMEDIATE")
		return errors.Join(err, berr)
	})
}

// Plan tells how SQLite finds the threads of a query.
func Plan(ctx context.Context, s *Engine, q *store.Query) (string, error) {
	text, args := selectThreads(q)
	return explainPlan(ctx, s, text, args...)
}

// PlanAudit tells how SQLite finds a page of the audit log.
func PlanAudit(ctx context.Context, s *Engine, q *store.AuditQuery) (string, error) {
	text, args := selectAudit(q)
	return explainPlan(ctx, s, text, args...)
}

// PlanAgents tells how SQLite finds a page of agents.
func PlanAgents(ctx context.Context, s *Engine) (string, error) {
	return explainPlan(ctx, s, listAgents, "", int64(1))
}

// PlanSearch tells how SQLite searches.
func PlanSearch(ctx context.Context, s *Engine) (string, error) {
	return explainPlan(ctx, s, searchAgents, matching([]string{"a"}, 1), int64(1))
}

// PlanSweeps tells how SQLite finds what PruneRegistry removes.
func PlanSweeps(ctx context.Context, s *Engine) (string, error) {
	var all string
	for _, text := range sweeps {
		plan, err := explainPlan(ctx, s, text, int64(1), int64(1))
		if err != nil {
			return "", err
		}
		all += plan
	}
	return all, nil
}

func explainPlan(ctx context.Context, s *Engine, text string, args ...any) (plan string, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query("EXPLAIN QUERY PLAN "+text, args, func(row []driver.Value) error {
			detail, _ := row[3].(string)
			plan += detail + "\n"
			return nil
		})
	})
	return plan, err
}

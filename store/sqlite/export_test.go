package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"

	"github.com/arcd-io/arcd/store"
)

// Exec runs a statement on the writer's connection, behind the engine's back.
func Exec(ctx context.Context, s store.Store, text string) error {
	return s.(*engine).write(ctx, "test", func(b *batch) error {
		return b.conn.query(text, nil, func([]driver.Value) error { return nil })
	})
}

// BreakCommit lets every commit fail with err from the next one on.
func BreakCommit(ctx context.Context, s store.Store, err error) error {
	return s.(*engine).write(ctx, "test", func(b *batch) error {
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
func SetOutside(ctx context.Context, s store.Store, text string) error {
	return s.(*engine).write(ctx, "test", func(b *batch) error {
		if _, err := b.conn.exec("COMMIT"); err != nil {
			return err
		}
		_, err := b.conn.exec(text)
		_, berr := b.conn.exec("BEGIN IMMEDIATE")
		return errors.Join(err, berr)
	})
}

// Plan tells how SQLite finds the threads of a query.
func Plan(ctx context.Context, s store.Store, q *store.Query) (plan string, err error) {
	text, args := selectThreads(q)
	err = s.(*engine).read(ctx, func(c *conn) error {
		return c.query("EXPLAIN QUERY PLAN "+text, args, func(row []driver.Value) error {
			detail, _ := row[3].(string)
			plan += detail + "\n"
			return nil
		})
	})
	return plan, err
}

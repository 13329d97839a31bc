package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/store"
)

// taskJob is a job without numbers to hand back: it runs do in the transaction.
type taskJob struct {
	do      func(b *batch) error
	outcome chan error
}

func (j *taskJob) apply(b *batch) error { return j.do(b) }
func (j *taskJob) finish(err error)     { j.outcome <- err }

// write runs do on the writer and waits for the flush.
func (s *engine) write(ctx context.Context, what string, do func(b *batch) error) error {
	j := &taskJob{do: do, outcome: make(chan error, 1)}
	err := s.w.do(ctx, j)
	if err == nil {
		err = <-j.outcome
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

// Prune implements [store.Store].
func (s *engine) Prune(ctx context.Context, now, endedBefore time.Time, limit int) (int, error) {
	deleted := 0
	err := s.write(ctx, "pruning", func(b *batch) error {
		deleted = 0
		err := b.conn.query(`DELETE FROM thread WHERE n IN (SELECT n FROM thread INDEXED BY thread_ended
			WHERE ended IS NOT NULL AND ended < ? ORDER BY ended LIMIT ?) RETURNING n, id`,
			[]any{endedBefore.UnixMilli(), int64(limit)}, func(row []driver.Value) error {
				n, _ := row[0].(int64)
				id, _ := row[1].(string)
				deleted++
				b.set(id, nil)
				_, err := b.conn.exec(`DELETE FROM log WHERE pos > ? AND pos < ?`, logPos(n, 0), logPos(n+1, 0))
				return err
			})
		if err != nil {
			return err
		}
		_, err = b.conn.exec(`DELETE FROM idem WHERE (owner, name) IN (SELECT owner, name FROM idem
			WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?)`, now.UnixMilli(), int64(max(limit, 1)))
		if err != nil {
			return err
		}
		_, err = b.conn.exec(`DELETE FROM revocation WHERE expires IS NOT NULL AND expires <= ?`, now.UnixMilli())
		return err
	})
	return deleted, err
}

// Revoke implements [store.Store].
func (s *engine) Revoke(ctx context.Context, r store.Revocation) error {
	return s.write(ctx, "revoking", func(b *batch) error {
		_, err := b.conn.exec(`INSERT INTO revocation (kind, value, before, expires) VALUES (?, ?, ?, ?)
			ON CONFLICT (kind, value) DO UPDATE SET before = excluded.before, expires = excluded.expires`,
			r.Kind, r.Value, millis(r.Before), millis(r.Expires))
		return err
	})
}

// Revocations implements [store.Store].
func (s *engine) Revocations(ctx context.Context, now time.Time) ([]store.Revocation, error) {
	var out []store.Revocation
	err := s.read(ctx, func(c *conn) error {
		return c.query(`SELECT kind, value, before, expires FROM revocation WHERE expires IS NULL OR expires > ?
			ORDER BY kind, value`, []any{now.UnixMilli()}, func(row []driver.Value) error {
			kind, _ := row[0].(string)
			value, _ := row[1].(string)
			out = append(out, store.Revocation{Kind: kind, Value: value, Before: instant(row[2]), Expires: instant(row[3])})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading revocations: %w", err)
	}
	return out, nil
}

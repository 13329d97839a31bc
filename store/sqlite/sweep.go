package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"
)

// taskJob is a job without numbers to hand back: it runs do in the transaction.
type taskJob struct {
	do      func(b *batch) error
	outcome chan error
}

func (j *taskJob) apply(b *batch) error { return j.do(b) }
func (j *taskJob) finish(err error)     { j.outcome <- err }

// write runs do on the writer and waits for the flush.
func (s *Engine) write(ctx context.Context, what string, do func(b *batch) error) error {
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
func (s *Engine) Prune(ctx context.Context, now, endedBefore time.Time, limit int) (int, error) {
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
		return err
	})
	return deleted, err
}

// sweeps are the statements of PruneRegistry. Each removes rows from before its
// first argument, the oldest first, and at most as many as the second says.
var sweeps = []string{
	`DELETE FROM mark WHERE (kind, value) IN (SELECT kind, value FROM mark INDEXED BY mark_expires
		WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?)`,
	`DELETE FROM revocation WHERE (kind, value) IN (SELECT kind, value FROM revocation INDEXED BY revocation_expires
		WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?)`,
	`DELETE FROM audit WHERE id IN (SELECT id FROM audit INDEXED BY audit_at WHERE at < ? ORDER BY at LIMIT ?)`,
}

// PruneRegistry implements [store.Registry].
func (s *Engine) PruneRegistry(ctx context.Context, now, auditBefore time.Time, limit int) (int, error) {
	before := []int64{now.UnixMilli(), now.UnixMilli(), auditBefore.UnixMilli()}
	var removed int64
	err := s.write(ctx, "pruning the registry", func(b *batch) error {
		removed = 0
		for i, text := range sweeps {
			n, err := b.conn.exec(text, before[i], int64(max(limit, 1)))
			if err != nil {
				return err
			}
			removed += n
		}
		return nil
	})
	return int(removed), err
}

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

// pruneRoom is how many deliveries one transaction of Prune deletes at most, so
// that a thread with very many does not hold up the writer.
const pruneRoom = 1000

// prunable finds the threads that have ended before ?1 and about which nobody is
// waiting to be told.
const prunable = `SELECT n, id FROM thread t INDEXED BY thread_ended
	WHERE ended IS NOT NULL AND ended < ?1 AND NOT EXISTS (SELECT 1 FROM subscription s INDEXED BY subscription_thread
		WHERE s.thread = t.id AND s.ended IS NULL AND s.due IS NOT NULL)
	ORDER BY ended LIMIT ?2`

// Prune implements [store.Store]. A reader looks for the threads, because there
// may be many that are not to go yet; the writer looks at each again.
func (s *Engine) Prune(ctx context.Context, now, endedBefore time.Time, limit int) (int, error) {
	var left []doomed
	err := s.read(ctx, func(c *conn) error {
		return c.query(prunable, []any{endedBefore.UnixMilli(), int64(limit)}, func(row []driver.Value) error {
			n, _ := row[0].(int64)
			id, _ := row[1].(string)
			left = append(left, doomed{n, id})
			return nil
		})
	})
	if err != nil {
		return 0, fmt.Errorf("looking for what to prune: %w", err)
	}
	err = s.pruneKeys(ctx, now, int64(max(limit, 1)))
	deleted := 0
	for err == nil && len(left) > 0 {
		var gone, done int
		err = s.write(ctx, "pruning", func(b *batch) (err error) {
			gone, done, err = pruneThreads(b, left, endedBefore)
			return err
		})
		if err == nil {
			deleted += gone
			left = left[done:]
		}
	}
	return deleted, err
}

// pruneKeys deletes the keys that have expired, so many in a transaction.
func (s *Engine) pruneKeys(ctx context.Context, now time.Time, limit int64) error {
	for {
		var gone int64
		err := s.write(ctx, "pruning keys", func(b *batch) (err error) {
			gone, err = b.conn.exec(`DELETE FROM idem WHERE (owner, name) IN (SELECT owner, name FROM idem
				WHERE expires IS NOT NULL AND expires <= ? ORDER BY expires LIMIT ?)`, now.UnixMilli(), limit)
			return err
		})
		if err != nil || gone < limit {
			return err
		}
	}
}

// doomed is a thread that Prune deletes.
type doomed struct {
	n  int64
	id string
}

// pruneThreads deletes threads until it has deleted pruneRoom deliveries. It gives
// how many threads it deleted, and with how many of the list it is done.
func pruneThreads(b *batch, list []doomed, before time.Time) (gone, done int, err error) {
	room := int64(pruneRoom)
	for _, d := range list {
		free, subscribed, err := mayPrune(b.conn, d.n, before)
		if err != nil {
			return 0, 0, err
		}
		if !free {
			done++
			continue
		}
		if subscribed {
			n, err := b.conn.exec(pruneDeliveries, d.id, room)
			if err != nil {
				return 0, 0, err
			}
			if room -= n; room == 0 { // the rest next time, and the thread last
				return gone, done, nil
			}
		}
		if err := pruneThread(b, d, subscribed); err != nil {
			return 0, 0, err
		}
		gone, done = gone+1, done+1
	}
	return gone, done, nil
}

// mayPrune tells whether a thread may still go, and whether it has subscriptions
// that must go along.
func mayPrune(c *conn, n int64, before time.Time) (free, subscribed bool, err error) {
	err = c.query(mayPruneThread, []any{n, before.UnixMilli()}, func(row []driver.Value) error {
		all, _ := row[0].(int64)
		waiting, _ := row[1].(int64)
		free, subscribed = waiting == 0, all > 0
		return nil
	})
	return free, subscribed, err
}

const mayPruneThread = `SELECT count(s.id), count(s.id) FILTER (WHERE s.ended IS NULL AND s.due IS NOT NULL)
	FROM thread t LEFT JOIN subscription s INDEXED BY subscription_thread ON s.thread = t.id
	WHERE t.n = ? AND t.ended IS NOT NULL AND t.ended < ? GROUP BY t.n`

const pruneDeliveries = `DELETE FROM delivery WHERE id IN
	(SELECT id FROM delivery INDEXED BY delivery_thread WHERE thread = ? LIMIT ?)`

// pruneThread deletes a thread that has no deliveries any more.
func pruneThread(b *batch, d doomed, subscribed bool) error {
	if subscribed {
		if _, err := b.conn.exec(`DELETE FROM subscription WHERE thread = ?`, d.id); err != nil {
			return err
		}
	}
	if _, err := b.conn.exec(`DELETE FROM thread WHERE n = ?`, d.n); err != nil {
		return err
	}
	b.set(d.id, nil)
	_, err := b.conn.exec(`DELETE FROM log WHERE pos > ? AND pos < ?`, logPos(d.n, 0), logPos(d.n+1, 0))
	return err
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

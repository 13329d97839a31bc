package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store/internal/engine"
)

const (
	// pruneAtOnce is how many threads one transaction of Prune deletes at most,
	// pruneRoom how many deliveries.
	pruneAtOnce = 100
	pruneRoom   = 1000

	// prunable finds threads that have ended before $1 and about which nobody is waiting
	// to be told. Those that another replica is pruning it passes over. The threads are
	// held, so that nobody subscribes meanwhile.
	prunable = `SELECT t.id FROM thread t WHERE t.ended IS NOT NULL AND t.ended < $1 AND NOT EXISTS (
		SELECT 1 FROM subscription s WHERE s.thread = t.id AND s.ended IS NULL AND s.due IS NOT NULL)
	ORDER BY t.ended LIMIT $2 FOR UPDATE SKIP LOCKED`

	pruneKeys = `DELETE FROM idem i USING (SELECT owner, name FROM idem WHERE expires IS NOT NULL AND expires <= $1
		ORDER BY expires LIMIT $2 FOR UPDATE SKIP LOCKED) v WHERE i.owner = v.owner AND i.name = v.name`

	pruneDeliveries = `DELETE FROM delivery d USING (SELECT id FROM delivery WHERE thread = ANY($1::text[]) LIMIT $2) v
	WHERE d.id = v.id`
)

// Prune implements [store.Store].
func (s *Engine) Prune(ctx context.Context, now, endedBefore time.Time, limit int) (int, error) {
	limit = max(limit, 1)
	err := s.pruneKeys(ctx, now, limit)
	deleted := 0
	for err == nil && deleted < limit {
		var gone []string
		more := false
		err = s.write(ctx, "pruning", func(ctx context.Context, tx pgx.Tx) (err error) {
			gone, more, err = s.pruneSome(ctx, tx, endedBefore, min(limit-deleted, pruneAtOnce))
			return err
		})
		if err == nil {
			deleted += len(gone)
			s.forget(gone)
		}
		if !more {
			break
		}
	}
	return deleted, err
}

// pruneKeys deletes the keys that have expired, so many in a transaction.
func (s *Engine) pruneKeys(ctx context.Context, now time.Time, limit int) error {
	for {
		gone := 0
		err := s.write(ctx, "pruning keys", func(ctx context.Context, tx pgx.Tx) error {
			tag, err := tx.Exec(ctx, pruneKeys, now.UnixMilli(), limit)
			gone = int(tag.RowsAffected())
			return err
		})
		if err != nil || gone < limit {
			return err
		}
	}
}

// pruneSome deletes threads with all that belongs to them, or first some of their
// deliveries, if these are many. more says that there is something left to do.
func (s *Engine) pruneSome(ctx context.Context, tx pgx.Tx, before time.Time, limit int) (gone []string, more bool, err error) {
	rows, err := tx.Query(ctx, prunable, before.UnixMilli(), limit)
	if err != nil {
		return nil, false, err
	}
	gone, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(gone) == 0 {
		return nil, false, err
	}
	tag, err := tx.Exec(ctx, pruneDeliveries, gone, pruneRoom)
	if err != nil || tag.RowsAffected() == pruneRoom {
		return nil, true, err
	}
	b := &pgx.Batch{}
	for _, text := range []string{
		`DELETE FROM subscription WHERE thread = ANY($1::text[])`,
		`DELETE FROM log WHERE thread = ANY($1::text[])`,
		`DELETE FROM thread WHERE id = ANY($1::text[])`,
	} {
		b.Queue(text, gone)
	}
	return gone, len(gone) == limit, tx.SendBatch(ctx, b).Close()
}

// forget drops threads that are gone from memory.
func (s *Engine) forget(ids []string) {
	nothing := make(map[string]*engine.Entry, len(ids))
	for _, id := range ids {
		nothing[got(id)] = nil
	}
	s.cache.Settle(nothing)
}

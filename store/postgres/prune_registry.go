package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// The statements of PruneRegistry. Each removes rows from before its argument, the
// oldest first. What another replica has locked, because it removes or renews it, is
// passed over. How many rows at most is part of the text, because the planner would
// take an argument for a tenth of the table.
const (
	pruneMarks = `WITH old AS MATERIALIZED (SELECT kind, value FROM mark WHERE expires <= $1
		ORDER BY expires LIMIT %d FOR UPDATE SKIP LOCKED)
	DELETE FROM mark m USING old WHERE m.kind = old.kind AND m.value = old.value`
	pruneRevocations = `WITH old AS MATERIALIZED (SELECT kind, value FROM revocation WHERE expires <= $1
		ORDER BY expires LIMIT %d FOR UPDATE SKIP LOCKED)
	DELETE FROM revocation r USING old WHERE r.kind = old.kind AND r.value = old.value`
	pruneAudit = `WITH old AS MATERIALIZED (SELECT id FROM audit WHERE at < $1
		ORDER BY at LIMIT %d FOR UPDATE SKIP LOCKED)
	DELETE FROM audit a USING old WHERE a.id = old.id`
)

// PruneRegistry implements [store.Registry]. What expires is nobody's change: all can
// tell the time.
func (s *Engine) PruneRegistry(ctx context.Context, now, auditBefore time.Time, limit int) (int, error) {
	limit = max(limit, 1)
	var removed int64
	count := func(tag pgconn.CommandTag) error { removed += tag.RowsAffected(); return nil }
	_, err := s.batch(ctx, "pruning the registry", func(b *pgx.Batch) {
		removed = 0
		b.Queue(fmt.Sprintf(pruneMarks, limit), now.UnixMilli()).Exec(count)
		b.Queue(fmt.Sprintf(pruneRevocations, limit), now.UnixMilli()).Exec(count)
		b.Queue(fmt.Sprintf(pruneAudit, limit), auditBefore.UnixMilli()).Exec(count)
	})
	if err == nil {
		err = s.pruneGone(ctx, now, limit)
	}
	return int(removed), err
}

// keepGone is how long it is known what was deleted. Who has not asked for changes for
// so long reads all anew.
const keepGone = 24 * time.Hour

const (
	// oldGone finds up to which change all was deleted before $1, looking at the first $2
	// only.
	oldGone = `SELECT coalesce(max(change), 0) FROM
		(SELECT change, at FROM gone ORDER BY change LIMIT $2) g WHERE at <= $1`
	// forgetGone also takes the lock that those wait for who write to gone.
	forgetGone = `UPDATE registry_version SET pruned = greatest(pruned, $1) WHERE id = 1`
	deleteGone = `DELETE FROM gone WHERE change <= $1`
)

// pruneGone forgets what was deleted long ago. Its rows are no part of the registry, and
// nobody counts them.
func (s *Engine) pruneGone(ctx context.Context, now time.Time, limit int) error {
	var upTo int64
	err := s.read(ctx, "looking for deletions to forget", func(q querier) error {
		return q.QueryRow(ctx, oldGone, now.Add(-keepGone).UnixMilli(), limit).Scan(&upTo)
	})
	if err != nil || upTo == 0 {
		return err
	}
	_, err = s.batch(ctx, "forgetting deletions", func(b *pgx.Batch) {
		b.Queue(forgetGone, upTo)
		b.Queue(deleteGone, upTo)
	})
	return err
}

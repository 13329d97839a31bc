package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

const (
	// greatest passes over NULL: no time before is before any; but no expiry is never.
	putRevocation = `INSERT INTO revocation AS r (kind, value, change, before, expires)
	SELECT $1, $2, n, $3, $4 FROM registry_version WHERE id = 1
	ON CONFLICT (kind, value) DO UPDATE SET change = excluded.change, before = greatest(r.before, excluded.before),
		expires = CASE WHEN r.expires IS NOT NULL AND excluded.expires IS NOT NULL
			THEN greatest(r.expires, excluded.expires) END`
	listRevocations = `SELECT kind, value, before, expires FROM revocation
	WHERE expires IS NULL OR expires > $1 ORDER BY kind, value`
)

// Revoke implements [store.Registry].
func (s *Engine) Revoke(ctx context.Context, r store.Revocation) error {
	_, err := s.change(ctx, "revoking", "", func(b *pgx.Batch) {
		b.Queue(putRevocation, put(r.Kind), put(r.Value), millis(r.Before), millis(r.Expires))
	})
	if err == nil {
		s.changed()
	}
	return err
}

// Revocations implements [store.Registry].
func (s *Engine) Revocations(ctx context.Context, now time.Time) (rs []store.Revocation, err error) {
	err = s.read(ctx, "reading revocations", func(q querier) error {
		rows, _ := q.Query(ctx, listRevocations, now.UnixMilli()) // CollectRows gives the error
		rs, err = pgx.CollectRows(rows, scanRevocation)
		return err
	})
	return rs, err
}

func scanRevocation(row pgx.CollectableRow) (r store.Revocation, err error) {
	var before, expires *int64
	err = row.Scan(&r.Kind, &r.Value, &before, &expires)
	r.Kind, r.Value, r.Before, r.Expires = got(r.Kind), got(r.Value), instant(before), instant(expires)
	return r, err
}

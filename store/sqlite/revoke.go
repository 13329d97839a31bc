package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Revoke implements [store.Registry].
func (s *Engine) Revoke(ctx context.Context, r store.Revocation) error {
	return s.write(ctx, "revoking", func(b *batch) error {
		// No expiry is never, and max(NULL, x) is NULL.
		_, err := b.conn.exec(`INSERT INTO revocation (kind, value, before, expires) VALUES (?, ?, ?, ?)
			ON CONFLICT (kind, value) DO UPDATE SET
			before = max(coalesce(before, excluded.before), coalesce(excluded.before, before)),
			expires = max(expires, excluded.expires)`,
			r.Kind, r.Value, millis(r.Before), millis(r.Expires))
		return err
	})
}

// Revocations implements [store.Registry].
func (s *Engine) Revocations(ctx context.Context, now time.Time) ([]store.Revocation, error) {
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

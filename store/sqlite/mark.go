package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Mark implements [store.Registry]. The statement that looks is the one that
// writes, so of equal calls one wins.
func (s *Engine) Mark(ctx context.Context, m store.Mark, now time.Time) (*store.Mark, error) {
	var there *store.Mark
	err := s.write(ctx, "setting mark", func(b *batch) error {
		there = nil
		set, err := b.conn.exec(`INSERT INTO mark (kind, value, body, expires) VALUES (?, ?, ?, ?)
			ON CONFLICT (kind, value) DO UPDATE SET body = excluded.body, expires = excluded.expires
			WHERE mark.expires <= ?`, m.Kind, m.Value, m.Body, millis(m.Expires), now.UnixMilli())
		if err != nil || set == 1 {
			return err
		}
		there, err = findMark(b.conn, m.Kind, m.Value, now)
		return err
	})
	return there, err
}

// SetMark implements [store.Registry].
func (s *Engine) SetMark(ctx context.Context, m store.Mark) error {
	return s.write(ctx, "replacing mark", func(b *batch) error {
		_, err := b.conn.exec(`INSERT INTO mark (kind, value, body, expires) VALUES (?, ?, ?, ?)
			ON CONFLICT (kind, value) DO UPDATE SET body = excluded.body, expires = excluded.expires`,
			m.Kind, m.Value, m.Body, millis(m.Expires))
		return err
	})
}

// Unmark implements [store.Registry].
func (s *Engine) Unmark(ctx context.Context, kind, value string) (bool, error) {
	var removed int64
	err := s.write(ctx, "removing mark", func(b *batch) (err error) {
		removed, err = b.conn.exec(`DELETE FROM mark WHERE kind = ? AND value = ?`, kind, value)
		return err
	})
	return removed == 1, err
}

// Marks implements [store.Registry].
func (s *Engine) Marks(ctx context.Context, kind string, now time.Time) ([]store.Mark, error) {
	var ms []store.Mark
	err := s.read(ctx, func(c *conn) error {
		return c.query(`SELECT value, body, expires FROM mark WHERE kind = ? AND (expires IS NULL OR expires > ?)
			ORDER BY value`, []any{kind, now.UnixMilli()}, func(row []driver.Value) error {
			value, _ := row[0].(string)
			body, _ := row[1].([]byte)
			ms = append(ms, store.Mark{Kind: kind, Value: value, Body: body, Expires: instant(row[2])})
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading marks: %w", err)
	}
	return ms, nil
}

// FindMark implements [store.Registry].
func (s *Engine) FindMark(ctx context.Context, kind, value string, now time.Time) (m *store.Mark, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		m, err = findMark(c, kind, value, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading mark: %w", err)
	}
	return m, nil
}

func findMark(c *conn, kind, value string, now time.Time) (m *store.Mark, err error) {
	err = c.query(`SELECT body, expires FROM mark WHERE kind = ? AND value = ? AND (expires IS NULL OR expires > ?)`,
		[]any{kind, value, now.UnixMilli()}, func(row []driver.Value) error {
			body, _ := row[0].([]byte)
			m = &store.Mark{Kind: kind, Value: value, Body: body, Expires: instant(row[1])}
			return nil
		})
	return m, err
}

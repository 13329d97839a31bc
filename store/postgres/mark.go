package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

const (
	setMark = `INSERT INTO mark (kind, value, change, body, expires)
	SELECT $1, $2, n, $3, $4 FROM registry_version WHERE id = 1
	ON CONFLICT (kind, value) DO UPDATE SET change = excluded.change, body = excluded.body, expires = excluded.expires`
	// A mark that is there is locked by this, though it is not changed: no sweep takes
	// it away before findMark.
	setFreeMark = setMark + ` WHERE mark.expires <= $5`
	findMark    = `SELECT kind, value, body, expires FROM mark
	WHERE kind = $1 AND value = $2 AND (expires IS NULL OR expires > $3)`
	listMarks = `SELECT kind, value, body, expires FROM mark WHERE kind = $1 AND (expires IS NULL OR expires > $2)
	ORDER BY value`
	removeMark = `WITH removed AS (DELETE FROM mark WHERE kind = $1 AND value = $2 RETURNING kind, value)
	INSERT INTO gone (change, what, kind, value, at)
	SELECT v.n, 'mark', removed.kind, removed.value, $3 FROM removed, registry_version v WHERE v.id = 1
	ON CONFLICT (what, kind, value) DO UPDATE SET change = excluded.change, at = excluded.at`
)

func scanMark(row pgx.CollectableRow) (m store.Mark, err error) {
	var expires *int64
	err = row.Scan(&m.Kind, &m.Value, &m.Body, &expires)
	m.Kind, m.Value, m.Expires = got(m.Kind), got(m.Value), instant(expires)
	return m, err
}

// Mark implements [store.Registry]. After a lost connection it may give the mark that
// it has set itself: then somebody is refused what was nobody's, and nothing happens
// twice.
func (s *Engine) Mark(ctx context.Context, m store.Mark, now time.Time) (*store.Mark, error) {
	kind, value, expires := put(m.Kind), put(m.Value), millis(m.Expires)
	var set bool
	var there []store.Mark
	_, err := s.change(ctx, "setting mark", "", func(b *pgx.Batch) {
		did(b, &set, setFreeMark, kind, value, m.Body, expires, now.UnixMilli())
		collect(b, &there, scanMark, findMark, kind, value, now.UnixMilli())
	})
	switch {
	case err != nil:
		return nil, err
	case set:
		s.changed()
		return nil, nil
	case len(there) == 0: // it went meanwhile, where that does not lock it
		return s.Mark(ctx, m, now)
	}
	return &there[0], nil
}

// SetMark implements [store.Registry].
func (s *Engine) SetMark(ctx context.Context, m store.Mark) error {
	_, err := s.change(ctx, "replacing mark", "", func(b *pgx.Batch) {
		b.Queue(setMark, put(m.Kind), put(m.Value), m.Body, millis(m.Expires))
	})
	if err == nil {
		s.changed()
	}
	return err
}

// Unmark implements [store.Registry].
func (s *Engine) Unmark(ctx context.Context, kind, value string) (was bool, err error) {
	unsure, err := s.change(ctx, "removing mark", "", func(b *pgx.Batch) {
		did(b, &was, removeMark, put(kind), put(value), s.Now().UnixMilli())
	})
	if err == nil && (was || unsure) {
		s.changed()
	}
	return was, err
}

// Marks implements [store.Registry].
func (s *Engine) Marks(ctx context.Context, kind string, now time.Time) ([]store.Mark, error) {
	return s.marks(ctx, listMarks, put(kind), now.UnixMilli())
}

// FindMark implements [store.Registry].
func (s *Engine) FindMark(ctx context.Context, kind, value string, now time.Time) (*store.Mark, error) {
	ms, err := s.marks(ctx, findMark, put(kind), put(value), now.UnixMilli())
	if err != nil || len(ms) == 0 {
		return nil, err
	}
	return &ms[0], nil
}

func (s *Engine) marks(ctx context.Context, text string, args ...any) (ms []store.Mark, err error) {
	err = s.read(ctx, "reading marks", func(q querier) error {
		rows, _ := q.Query(ctx, text, args...) // CollectRows gives the error
		ms, err = pgx.CollectRows(rows, scanMark)
		return err
	})
	return ms, err
}

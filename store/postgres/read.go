package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

const threadByID = `SELECT ` + columns + ` FROM thread WHERE id = $1`

// readThread gives store.ErrNotFound if it is not there.
func readThread(ctx context.Context, q querier, id string) (store.Thread, error) {
	rows, err := q.Query(ctx, threadByID, put(id))
	if err != nil {
		return store.Thread{}, err
	}
	t, err := pgx.CollectExactlyOneRow(rows, scanThread)
	if noRows(err) {
		err = store.ErrNotFound
	}
	return t, err
}

// Thread implements [store.Store].
func (s *Engine) Thread(ctx context.Context, id string) (t store.Thread, err error) {
	err = s.read(ctx, "reading a thread", func(q querier) (err error) {
		t, err = readThread(ctx, q, id)
		return err
	})
	if err != nil {
		return store.Thread{}, err
	}
	if e := s.cache.Get(id); e == nil || e.T.Rev < t.Rev || !e.T.Created.Equal(t.Created) {
		s.cache.Settle(map[string]*engine.Entry{id: {T: t, Whole: t.Items == 0}})
	}
	return t, nil
}

// Recent implements [store.Store].
func (s *Engine) Recent(ctx context.Context, id string) (store.Thread, bool, error) {
	if e := s.cache.Get(id); e != nil {
		return e.T, false, s.gate.Check()
	}
	t, err := s.Thread(ctx, id)
	return t, true, err
}

// Heads implements [store.Store].
func (s *Engine) Heads(ctx context.Context, ids []string) (heads map[string]int64, err error) {
	asked := make([]string, len(ids))
	for i := range ids {
		asked[i] = put(ids[i])
	}
	err = s.read(ctx, "looking for news", func(q querier) error {
		heads = make(map[string]int64, len(ids))
		rows, err := q.Query(ctx, `SELECT id, seq FROM thread WHERE id = ANY($1::text[])`, asked)
		if err != nil {
			return err
		}
		var id string
		var seq int64
		_, err = pgx.ForEachRow(rows, []any{&id, &seq}, func() error {
			heads[got(id)] = seq
			return nil
		})
		return err
	})
	return heads, err
}

const selectItems = `SELECT items FROM log WHERE thread = $1 AND items IS NOT NULL ORDER BY pos`

// Items implements [store.Store]. Items are only ever added, so those in memory are
// good for every state of the thread that had no more.
func (s *Engine) Items(ctx context.Context, t store.Thread) (items []store.Item, err error) {
	e := s.cache.Get(t.ID)
	if e != nil && e.Whole && len(e.Items) >= t.Items && e.T.Created.Equal(t.Created) {
		return e.Items[:t.Items:t.Items], s.gate.Check()
	}
	err = s.read(ctx, "reading items", func(q querier) error {
		items = make([]store.Item, 0, t.Items)
		rows, err := q.Query(ctx, selectItems, put(t.ID))
		if err != nil {
			return err
		}
		var packed []byte
		_, err = pgx.ForEachRow(rows, []any{&packed}, func() (err error) {
			items, err = engine.UnpackItems(items, packed)
			return err
		})
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case len(items) < t.Items:
		return nil, store.ErrNotFound
	case e != nil && e.T.Rev == t.Rev && e.T.Created.Equal(t.Created) && len(items) == t.Items:
		s.cache.Settle(map[string]*engine.Entry{t.ID: e.WithItems(items)})
	}
	return items[:t.Items:t.Items], nil
}

const selectEvents = `SELECT seq, events FROM log
	WHERE thread = $1 AND pos > $2 AND seq > $2 AND events IS NOT NULL ORDER BY pos LIMIT $3`

// Events implements [store.Store].
func (s *Engine) Events(ctx context.Context, id string, after int64, limit int) (evs []arc.Event, gap bool, err error) {
	after = max(after, 0)
	var seq int64
	_, err = s.batch(ctx, "reading events", func(b *pgx.Batch) {
		evs = nil
		b.Queue(`SELECT seq FROM thread WHERE id = $1`, put(id)).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&seq)
			if noRows(err) {
				return store.ErrNotFound
			}
			return err
		})
		b.Queue(selectEvents, put(id), after, max(limit, 1)).Query(func(rows pgx.Rows) error {
			for rows.Next() {
				var last int64
				var packed []byte
				err := rows.Scan(&last, &packed)
				if err == nil {
					evs, err = engine.UnpackEvents(evs, packed, last)
				}
				if err != nil {
					return err
				}
			}
			return rows.Err()
		})
	})
	if err != nil {
		return nil, false, err
	}
	for len(evs) > 0 && evs[0].Seq <= after { // the row's first events
		evs = evs[1:]
	}
	gap = len(evs) == 0 && after < seq || len(evs) > 0 && evs[0].Seq > after+1
	return slices.Clip(evs[:min(len(evs), limit)]), gap, nil
}

// list reads threads by a statement that selects columns.
func (s *Engine) list(ctx context.Context, what, text string, args ...any) (ts []store.Thread, err error) {
	err = s.read(ctx, what, func(q querier) error {
		rows, err := q.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		ts, err = pgx.CollectRows(rows, scanThread)
		return err
	})
	return ts, err
}

const dueThreads = `SELECT ` + columns + ` FROM thread WHERE due IS NOT NULL AND due <= $1 ORDER BY due LIMIT $2`

// Due implements [store.Store].
func (s *Engine) Due(ctx context.Context, now time.Time, limit int) ([]store.Thread, error) {
	return s.list(ctx, "looking for what is due", dueThreads, now.UnixMilli(), max(limit, 1))
}

// Replay implements [store.Store].
func (s *Engine) Replay(ctx context.Context, owner, name string, now time.Time) (replay *store.ReplayError, err error) {
	err = s.read(ctx, "reading an idempotency key", func(q querier) (err error) {
		replay, err = findReplay(ctx, q, owner, name, now)
		return err
	})
	return replay, err
}

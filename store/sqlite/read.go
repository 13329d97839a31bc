package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// read runs f with a connection of its own.
func (s *Engine) read(ctx context.Context, f func(c *conn) error) error {
	if err := s.gate.Enter(); err != nil {
		return err
	}
	defer s.gate.Leave()
	select {
	case c := <-s.readers:
		defer func() { s.readers <- c }()
		return f(c)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// lookup finds a thread in memory or in the file.
func (s *Engine) lookup(ctx context.Context, id string) (*engine.Entry, error) {
	if e := s.cache.Get(id); e != nil {
		if err := s.gate.Check(); err != nil {
			return nil, err
		}
		return e, nil
	}
	var e *engine.Entry
	stamp := s.cache.Stamp(id)
	err := s.read(ctx, func(c *conn) error {
		return c.query(threadByID, []any{id}, func(row []driver.Value) (err error) {
			e, err = scanEntry(row)
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading thread %s: %w", id, err)
	}
	if e == nil {
		return nil, store.ErrNotFound
	}
	s.cache.Fill(e, stamp)
	return e, nil
}

// Thread implements [store.Store].
func (s *Engine) Thread(ctx context.Context, id string) (store.Thread, error) {
	e, err := s.lookup(ctx, id)
	if err != nil {
		return store.Thread{}, err
	}
	return e.T, nil
}

// Items implements [store.Store].
func (s *Engine) Items(ctx context.Context, t store.Thread) ([]store.Item, error) {
	stamp := s.cache.Stamp(t.ID)
	e, err := s.lookup(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	if e.T.Items < t.Items {
		return nil, store.ErrNotFound
	}
	if e.Whole {
		return e.Items[:t.Items:t.Items], nil
	}
	items := make([]store.Item, 0, e.T.Items)
	err = s.read(ctx, func(c *conn) error {
		return c.query(`SELECT items FROM log WHERE pos > ? AND pos < ? AND items IS NOT NULL ORDER BY pos`,
			[]any{logPos(e.N, 0), logPos(e.N+1, 0)}, func(row []driver.Value) (err error) {
				b, _ := row[0].([]byte)
				items, err = engine.UnpackItems(items, b)
				return err
			})
	})
	switch {
	case err != nil:
		return nil, fmt.Errorf("reading items of %s: %w", t.ID, err)
	case len(items) < t.Items: // pruned between the two reads
		return nil, store.ErrNotFound
	case len(items) == e.T.Items:
		s.cache.Fill(e.WithItems(items), stamp)
	}
	return items[:t.Items:t.Items], nil
}

// Events implements [store.Store].
func (s *Engine) Events(ctx context.Context, id string, after int64, limit int) ([]arc.Event, bool, error) {
	e, err := s.lookup(ctx, id)
	if err != nil {
		return nil, false, err
	}
	after = max(after, 0)
	if after >= e.T.Seq {
		return nil, false, nil
	}
	if i := len(e.Events) - int(e.T.Seq-after); i >= 0 {
		evs := e.Events[i:min(len(e.Events), i+limit)]
		return slices.Clip(evs), false, nil
	}
	var evs []arc.Event
	err = s.read(ctx, func(c *conn) error {
		// A row's pos is at least its seq, so those before cannot be of interest.
		return c.query(`SELECT seq, events FROM log WHERE pos > ? AND pos < ? AND seq > ? AND events IS NOT NULL
			ORDER BY pos LIMIT ?`,
			[]any{logPos(e.N, after), logPos(e.N+1, 0), after, int64(limit)}, func(row []driver.Value) (err error) {
				last, _ := row[0].(int64)
				b, _ := row[1].([]byte)
				evs, err = engine.UnpackEvents(evs, b, last)
				return err
			})
	})
	if err != nil {
		return nil, false, fmt.Errorf("reading events of %s: %w", id, err)
	}
	for len(evs) > 0 && evs[0].Seq <= after { // the row's first events
		evs = evs[1:]
	}
	gap := len(evs) == 0 || evs[0].Seq > after+1
	return slices.Clip(evs[:min(len(evs), limit)]), gap, nil
}

// Due implements [store.Store].
func (s *Engine) Due(ctx context.Context, now time.Time, limit int) ([]store.Thread, error) {
	return s.list(ctx, `SELECT `+columns+` FROM thread INDEXED BY thread_due
		WHERE due IS NOT NULL AND due <= ? ORDER BY due, n LIMIT ?`, now.UnixMilli(), int64(limit))
}

// list reads threads by a statement that selects columns.
func (s *Engine) list(ctx context.Context, text string, args ...any) ([]store.Thread, error) {
	var ts []store.Thread
	err := s.read(ctx, func(c *conn) error {
		return c.query(text, args, func(row []driver.Value) error {
			e, err := scanEntry(row)
			if err == nil {
				ts = append(ts, e.T)
			}
			return err
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing threads: %w", err)
	}
	return ts, nil
}

// Replay implements [store.Store].
func (s *Engine) Replay(ctx context.Context, owner, name string, now time.Time) (replay *store.ReplayError, err error) {
	err = s.read(ctx, func(c *conn) (err error) {
		replay, err = findReplay(c, owner, name, now)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading idempotency key: %w", err)
	}
	return replay, nil
}

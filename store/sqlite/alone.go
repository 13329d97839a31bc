package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/store"
)

// What replicas of an engine that they share need is simple here: the file belongs
// to one process.

// Now implements [store.Store]. It is the clock of [Config].
func (s *Engine) Now() time.Time { return s.w.now() }

// Recent implements [store.Store]. What is in memory is what is in the file.
func (s *Engine) Recent(ctx context.Context, id string) (store.Thread, bool, error) {
	t, err := s.Thread(ctx, id)
	return t, true, err
}

// Heads implements [store.Store].
func (s *Engine) Heads(ctx context.Context, ids []string) (map[string]int64, error) {
	heads := make(map[string]int64, len(ids))
	for _, id := range ids {
		e, err := s.lookup(ctx, id)
		switch {
		case err == nil:
			heads[id] = e.T.Seq
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return heads, nil
}

// Changes implements [store.Registry]: nobody else writes.
func (s *Engine) Changes(ctx context.Context, since int64) (store.Changes, error) {
	return store.Changes{Version: max(since, 1)}, s.gate.Check()
}

// Beats implements [store.Registry].
func (s *Engine) Beats(ctx context.Context, since time.Time) (beats []store.Beat, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(`SELECT id, seen, alive, counts FROM agent_life WHERE seen >= ? ORDER BY id`,
			[]any{since.UnixMilli()}, func(row []driver.Value) error {
				id, _ := row[0].(string)
				alive, _ := row[2].(int64)
				counts, _ := row[3].([]byte)
				beats = append(beats, store.Beat{ID: id, Seen: instant(row[1]), Alive: alive == 1, Counts: counts})
				return nil
			})
	})
	if err != nil {
		return nil, fmt.Errorf("reading beats: %w", err)
	}
	return beats, nil
}

// Watch implements [store.Store].
func (s *Engine) Watch(f func(store.Hint)) (stop func()) { return s.watch.Watch(f) }

// Tell implements [store.Store].
func (s *Engine) Tell(h store.Hint) { s.watch.Tell(h) }

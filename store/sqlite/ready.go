package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// readyFrom selects the ready threads of agent ?1, of ?4 owners. It walks from owner
// to owner through thread_ready, from ?2 to ?3, and takes each one's as far as the
// rank of the ?5-th goes: a look into the index for each, however many threads an
// owner has, and no sorting. All that is one statement, because to start one takes
// longer than such a look. Several threads may have that last rank.
const readyFrom = ` FROM walk CROSS JOIN thread INDEXED BY thread_ready ON agent = ?1 AND ready = 1 AND owner = who
	AND rank <= coalesce((SELECT rank FROM thread INDEXED BY thread_ready
		WHERE agent = ?1 AND ready = 1 AND owner = who ORDER BY rank LIMIT 1 OFFSET ?5 - 1), 9223372036854775807)`

const readyOwners = `WITH RECURSIVE walk (place, who) AS (
	SELECT 1, (SELECT owner FROM thread INDEXED BY thread_ready
		WHERE agent = ?1 AND ready = 1 AND owner >= ?2 AND owner <= ?3 ORDER BY owner LIMIT 1)
	UNION ALL
	SELECT place + 1, (SELECT owner FROM thread INDEXED BY thread_ready
		WHERE agent = ?1 AND ready = 1 AND owner > who AND owner <= ?3 ORDER BY owner LIMIT 1)
	FROM walk WHERE who IS NOT NULL AND place < ?4)`

const (
	readyIDs  = readyOwners + ` SELECT place, rank, id` + readyFrom
	readyRows = readyOwners + ` SELECT place, rank, ` + columns + readyFrom
)

// queued is a ready thread as a statement found it.
type queued struct {
	place int64 // of its owner, in order
	rank  int64
	id    string
	e     *engine.Entry // if the statement selects columns
}

// Ready implements [store.Store]. The statement gives ids, and most of the
// threads are in memory: that is a third of the cost of reading their rows.
func (s *Engine) Ready(ctx context.Context, q store.ReadyQuery) ([]store.Thread, error) {
	found, err := s.ready(ctx, &q, readyIDs, func(row []driver.Value) (f queued, err error) {
		f.id, _ = row[0].(string)
		return f, nil
	})
	if err != nil {
		return nil, err
	}
	ts := make([]store.Thread, 0, len(found))
	for i := range found {
		e, err := s.lookup(ctx, found[i].id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, err
		}
		if err != nil || !e.T.Ready || e.T.Agent != q.Agent {
			// It was claimed meanwhile, and the one behind the last may be ready.
			return s.readyRows(ctx, &q)
		}
		ts = append(ts, e.T)
	}
	return ts, nil
}

// readyRows reads all from the file.
func (s *Engine) readyRows(ctx context.Context, q *store.ReadyQuery) ([]store.Thread, error) {
	found, err := s.ready(ctx, q, readyRows, func(row []driver.Value) (queued, error) {
		e, err := scanEntry(row)
		if err != nil {
			return queued{}, err
		}
		return queued{id: e.T.ID, e: e}, nil
	})
	ts := make([]store.Thread, 0, len(found))
	for i := range found {
		ts = append(ts, found[i].e.T)
	}
	return ts, err
}

// ready runs a statement made of readyFrom: from behind the owner q.After on, and if
// these are too few from the first owner up to that one. scan reads what the
// statement selects behind place and rank.
func (s *Engine) ready(ctx context.Context, q *store.ReadyQuery, text string, scan func(row []driver.Value) (queued, error)) ([]queued, error) {
	var found []queued
	owners, each := int64(max(q.Owners, 1)), max(q.Each, 1)
	err := s.read(ctx, func(c *conn) error {
		between := func(from string, to any, before int64) error {
			return c.query(text, []any{q.Agent, from, to, owners - before, int64(each)}, func(row []driver.Value) error {
				f, err := scan(row[2:])
				f.place, _ = row[0].(int64)
				f.rank, _ = row[1].(int64)
				f.place += before
				found = append(found, f)
				return err
			})
		}
		behindAll := []byte{} // bytes are behind texts
		if q.After == "" {
			return between("", behindAll, 0)
		}
		err := between(q.After+"\x00", behindAll, 0) // the first text behind it
		if before := lastPlace(found); err == nil && before < owners {
			err = between("", q.After, before)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing ready threads: %w", err)
	}
	return best(found, each), nil
}

func lastPlace(found []queued) (last int64) {
	for i := range found {
		last = max(last, found[i].place)
	}
	return last
}

// best puts what was found in order and leaves each owner the first ones.
func best(found []queued, each int) []queued {
	slices.SortFunc(found, func(a, b queued) int {
		return cmp.Or(cmp.Compare(a.place, b.place), cmp.Compare(a.rank, b.rank), cmp.Compare(a.id, b.id))
	})
	kept, place, n := found[:0], int64(0), 0
	for _, f := range found {
		if f.place != place {
			place, n = f.place, 0
		}
		if n++; n <= each {
			kept = append(kept, f)
		}
	}
	return kept
}

// readyAgents goes from agent to agent as readyOwners does from owner to owner.
const readyAgents = `WITH RECURSIVE walk (agent, place) AS (
	SELECT (SELECT agent FROM thread INDEXED BY thread_ready WHERE ready = 1 AND agent > ?1 ORDER BY agent LIMIT 1), 1
	UNION ALL
	SELECT (SELECT agent FROM thread INDEXED BY thread_ready WHERE ready = 1 AND agent > walk.agent ORDER BY agent LIMIT 1),
		place + 1
	FROM walk WHERE walk.agent IS NOT NULL AND place < ?2)
SELECT agent FROM walk WHERE agent IS NOT NULL`

// ReadyAgents implements [store.Store].
func (s *Engine) ReadyAgents(ctx context.Context, after string, limit int) (agents []string, err error) {
	err = s.read(ctx, func(c *conn) error {
		return c.query(readyAgents, []any{after, int64(max(limit, 1))}, func(row []driver.Value) error {
			agent, _ := row[0].(string)
			agents = append(agents, agent)
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing agents with ready threads: %w", err)
	}
	return agents, nil
}

const children = `SELECT ` + columns + ` FROM thread INDEXED BY thread_parent
	WHERE parent = ? AND id > ? ORDER BY id LIMIT ?`

// Children implements [store.Store].
func (s *Engine) Children(ctx context.Context, parent, after string, limit int) ([]store.Thread, error) {
	return s.list(ctx, children, parent, after, int64(max(limit, 1)))
}

package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

// readyThreads selects the ready threads of agent $1, of $4 owners from $2 to $3, the
// best $5 of each. It walks from owner to owner through thread_ready: a look into the
// index for each, however many threads an owner has.
const readyThreads = `WITH RECURSIVE walk (place, who) AS (
	SELECT 1, (SELECT owner FROM thread WHERE agent = $1 AND ready AND owner >= $2 AND owner <= $3 ORDER BY owner LIMIT 1)
	UNION ALL
	SELECT place + 1, (SELECT owner FROM thread WHERE agent = $1 AND ready AND owner > who AND owner <= $3 ORDER BY owner LIMIT 1)
	FROM walk WHERE who IS NOT NULL AND place < $4)
SELECT ` + columns + ` FROM walk CROSS JOIN LATERAL (
	SELECT * FROM thread WHERE agent = $1 AND ready AND owner = who ORDER BY rank, id LIMIT $5) best
ORDER BY place, rank, id`

// Texts between which all others are, as the columns hold them: no text with a
// character behind that of justBehind comes between a text and that text followed by it.
const (
	justBehind = "\x01"
	behindAll  = "\U0010FFFF\U0010FFFF"
)

// Ready implements [store.Store].
func (s *Engine) Ready(ctx context.Context, q store.ReadyQuery) (ts []store.Thread, err error) {
	owners, each := max(q.Owners, 1), max(q.Each, 1)
	if q.After == "" {
		return s.list(ctx, "listing ready threads", readyThreads, put(q.Agent), "", behindAll, owners, each)
	}
	ts, err = s.list(ctx, "listing ready threads", readyThreads, put(q.Agent), put(q.After)+justBehind, behindAll, owners, each)
	if err != nil {
		return nil, err
	}
	for i := range ts {
		if i == 0 || ts[i].Owner != ts[i-1].Owner {
			owners--
		}
	}
	if owners == 0 {
		return ts, nil
	}
	more, err := s.list(ctx, "listing ready threads", readyThreads, put(q.Agent), "", put(q.After), owners, each)
	return append(ts, more...), err
}

// readyAgents goes from agent to agent as readyThreads does from owner to owner.
const readyAgents = `WITH RECURSIVE walk (name, place) AS (
	SELECT (SELECT agent FROM thread WHERE ready AND agent > $1 ORDER BY agent LIMIT 1), 1
	UNION ALL
	SELECT (SELECT agent FROM thread WHERE ready AND agent > walk.name ORDER BY agent LIMIT 1), place + 1
	FROM walk WHERE walk.name IS NOT NULL AND place < $2)
SELECT name FROM walk WHERE name IS NOT NULL ORDER BY name`

// ReadyAgents implements [store.Store].
func (s *Engine) ReadyAgents(ctx context.Context, after string, limit int) (agents []string, err error) {
	err = s.read(ctx, "listing agents with ready threads", func(q querier) error {
		rows, err := q.Query(ctx, readyAgents, put(after), max(limit, 1))
		if err != nil {
			return err
		}
		agents, err = pgx.CollectRows(rows, func(row pgx.CollectableRow) (id string, err error) {
			err = row.Scan(&id)
			return got(id), err
		})
		return err
	})
	return agents, err
}

const children = `SELECT ` + columns + ` FROM thread WHERE parent = $1 AND id > $2 ORDER BY id LIMIT $3`

// Children implements [store.Store].
func (s *Engine) Children(ctx context.Context, parent, after string, limit int) ([]store.Thread, error) {
	return s.list(ctx, "listing children", children, put(parent), put(after), max(limit, 1))
}

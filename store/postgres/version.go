package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

// maxChanges is how many rows of a kind Changes gives at most. Where there are more,
// who asks reads all of them in pages.
const maxChanges = 2000

const (
	readVersion = `SELECT n, pruned FROM registry_version WHERE id = 1`

	changedAgents = `SELECT ` + agentColumns + ` FROM agent a JOIN agent_life l ON l.id = a.id
	WHERE a.change > $1 ORDER BY a.change LIMIT $2`
	changedMarks       = `SELECT kind, value, body, expires FROM mark WHERE change > $1 ORDER BY change LIMIT $2`
	changedRevocations = `SELECT kind, value, before, expires FROM revocation WHERE change > $1 ORDER BY change LIMIT $2`

	// What was deleted and has come back is not gone. NOT EXISTS would let the planner
	// read all that is there.
	goneAgents = `SELECT value FROM gone g WHERE change > $1 AND what = 'agent'
		AND (SELECT 1 FROM agent a WHERE a.id = g.value) IS NULL ORDER BY change LIMIT $2`
	goneMarks = `SELECT kind, value, NULL::bytea, NULL::bigint FROM gone g WHERE change > $1 AND what = 'mark'
		AND (SELECT 1 FROM mark m WHERE m.kind = g.kind AND m.value = g.value) IS NULL ORDER BY change LIMIT $2`
)

// Changes implements [store.Registry].
func (s *Engine) Changes(ctx context.Context, since int64) (store.Changes, error) {
	var n, pruned int64
	err := s.read(ctx, "reading the registry's version", func(q querier) error {
		return q.QueryRow(ctx, readVersion).Scan(&n, &pruned)
	})
	switch {
	case err != nil:
		return store.Changes{}, err
	case since == 0 || since == n:
		return store.Changes{Version: n}, nil
	case since < pruned || since > n: // n is less where the database was put back
		return store.Changes{Version: n, Whole: true}, nil
	}
	return s.changesSince(ctx, since)
}

// changesSince reads all that changed from one state of the database.
func (s *Engine) changesSince(ctx context.Context, since int64) (c store.Changes, err error) {
	var pruned int64
	_, err = s.batch(ctx, "reading the registry's changes", func(b *pgx.Batch) {
		b.Queue(`BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY`)
		b.Queue(readVersion).QueryRow(func(row pgx.Row) error { return row.Scan(&c.Version, &pruned) })
		collect(b, &c.Agents, scanAgent, changedAgents, since, maxChanges+1)
		collect(b, &c.Gone, scanText, goneAgents, since, maxChanges+1)
		collect(b, &c.Marks, scanMark, changedMarks, since, maxChanges+1)
		collect(b, &c.Unmarked, scanMark, goneMarks, since, maxChanges+1)
		collect(b, &c.Revocations, scanRevocation, changedRevocations, since, maxChanges+1)
		b.Queue(`COMMIT`)
	})
	if err != nil {
		return store.Changes{}, err
	}
	most := max(len(c.Agents), len(c.Gone), len(c.Marks), len(c.Unmarked), len(c.Revocations))
	if since < pruned || most > maxChanges {
		return store.Changes{Version: c.Version, Whole: true}, nil
	}
	return c, nil
}

func scanText(row pgx.CollectableRow) (s string, err error) {
	err = row.Scan(&s)
	return got(s), err
}

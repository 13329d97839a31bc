package postgres

import (
	"bytes"
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// The statements of a registration. Those that come after the row of the agent was
// written know by its change whether it was: it is the number just taken.
const (
	countNew = `UPDATE registry_version SET agents = agents + 1, words = words + $2
	WHERE id = 1 AND NOT EXISTS (SELECT 1 FROM agent WHERE id = $1)`
	insertAgent = `INSERT INTO agent (id, rev, change, type, registered, updated, size, body)
	SELECT $1, 1, n, $2, $3, $4, $5, $6 FROM registry_version WHERE id = 1 ON CONFLICT (id) DO NOTHING`

	countAgain = `UPDATE registry_version SET words = words + $3 - a.size FROM agent a
	WHERE registry_version.id = 1 AND a.id = $1 AND a.rev = $2`
	updateAgent = `UPDATE agent SET rev = rev + 1, change = v.n, type = $3, registered = $4, updated = $5, size = $6, body = $7
	FROM registry_version v WHERE v.id = 1 AND agent.id = $1 AND agent.rev = $2`

	putLife = `INSERT INTO agent_life (id, seen, alive, counts)
	SELECT a.id, $2, $3, $4 FROM agent a JOIN registry_version v ON v.n = a.change WHERE a.id = $1 AND v.id = 1
	ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, alive = excluded.alive, counts = excluded.counts`

	// What stays as it is, is not written: most changes leave the texts alone.
	dropWords = `DELETE FROM agent_word w USING agent a JOIN registry_version v ON v.n = a.change
	WHERE a.id = $1 AND v.id = 1 AND w.agent = a.id AND w.word <> ALL ($2::text[])`
	putWords = `INSERT INTO agent_word AS w (word, agent, type, size, names, abilities, description, rest)
	SELECT u.word, a.id, a.type, a.size, u.names, u.abilities, u.description, u.rest
	FROM agent a JOIN registry_version v ON v.n = a.change,
		unnest($2::text[], $3::smallint[], $4::smallint[], $5::smallint[], $6::smallint[])
		AS u (word, names, abilities, description, rest)
	WHERE a.id = $1 AND v.id = 1
	ON CONFLICT (word, agent) DO UPDATE SET type = excluded.type, size = excluded.size, names = excluded.names,
		abilities = excluded.abilities, description = excluded.description, rest = excluded.rest
	WHERE w.type <> excluded.type OR w.size <> excluded.size OR w.names <> excluded.names
		OR w.abilities <> excluded.abilities OR w.description <> excluded.description OR w.rest <> excluded.rest`
)

// PutAgent implements [store.Registry]. An agent is a row in each of two tables, and
// one for each of its words.
func (s *Engine) PutAgent(ctx context.Context, a store.Agent) (store.Agent, error) {
	a.Registered, a.Updated, a.Seen = engine.Cut(a.Registered), engine.Cut(a.Updated), engine.Cut(a.Seen)
	w := wordsOf(&a.Texts)
	id, kind, registered, updated := put(a.ID), put(a.Type), millis(a.Registered), millis(a.Updated)
	var made bool
	unsure, err := s.change(ctx, "writing agent "+a.ID, id, func(b *pgx.Batch) {
		if a.Rev == 0 {
			b.Queue(countNew, id, w.size)
			did(b, &made, insertAgent, id, kind, registered, updated, w.size, a.Body)
		} else {
			b.Queue(countAgain, id, a.Rev, w.size)
			did(b, &made, updateAgent, id, a.Rev, kind, registered, updated, w.size, a.Body)
			b.Queue(dropWords, id, w.words)
		}
		b.Queue(putLife, id, millis(a.Seen), a.Alive, a.Counts)
		if len(w.words) > 0 {
			b.Queue(putWords, id, w.words, w.counts[0], w.counts[1], w.counts[2], w.counts[3])
		}
	})
	if err == nil && !made && unsure {
		made, err = s.isPut(ctx, &a)
	}
	switch {
	case err != nil:
		return store.Agent{}, err
	case !made && a.Rev == 0:
		return store.Agent{}, store.ErrExists
	case !made:
		return store.Agent{}, store.ErrConflict
	}
	s.changed()
	a.Rev++
	return a, nil
}

// isPut tells whether an agent that was refused is what an attempt before has written,
// of which nobody knew how it ended.
func (s *Engine) isPut(ctx context.Context, a *store.Agent) (made bool, err error) {
	err = s.read(ctx, "reading agent "+a.ID, func(q querier) error {
		var rev int64
		var kind string
		var registered, updated *int64
		var body []byte
		err := q.QueryRow(ctx, `SELECT rev, type, registered, updated, body FROM agent WHERE id = $1`, put(a.ID)).
			Scan(&rev, &kind, &registered, &updated, &body)
		made = err == nil && rev == a.Rev+1 && got(kind) == a.Type && bytes.Equal(body, a.Body) &&
			instant(registered).Equal(a.Registered) && instant(updated).Equal(a.Updated)
		if noRows(err) {
			return nil
		}
		return err
	})
	return made, err
}

// The statements of a deletion.
const (
	countGone = `UPDATE registry_version SET agents = agents - 1, words = words - a.size FROM agent a
	WHERE registry_version.id = 1 AND a.id = $1 AND a.rev = $2`
	noteGone = `INSERT INTO gone (change, what, kind, value, at)
	SELECT v.n, 'agent', '', a.id, $3 FROM agent a, registry_version v WHERE a.id = $1 AND a.rev = $2 AND v.id = 1
	ON CONFLICT (what, kind, value) DO UPDATE SET change = excluded.change, at = excluded.at`
	deleteLife  = `DELETE FROM agent_life l USING agent a WHERE a.id = $1 AND a.rev = $2 AND l.id = a.id`
	deleteWords = `DELETE FROM agent_word w USING agent a WHERE a.id = $1 AND a.rev = $2 AND w.agent = a.id`
	deleteAgent = `DELETE FROM agent WHERE id = $1 AND rev = $2`
	isAgent     = `SELECT EXISTS (SELECT 1 FROM agent WHERE id = $1)`
)

// DeleteAgent implements [store.Registry].
func (s *Engine) DeleteAgent(ctx context.Context, id string, rev int64) error {
	var deleted, there bool
	key := put(id)
	unsure, err := s.change(ctx, "deleting agent "+id, key, func(b *pgx.Batch) {
		b.Queue(countGone, key, rev)
		b.Queue(noteGone, key, rev, s.Now().UnixMilli())
		b.Queue(deleteLife, key, rev)
		b.Queue(deleteWords, key, rev)
		did(b, &deleted, deleteAgent, key, rev)
		b.Queue(isAgent, key).QueryRow(func(row pgx.Row) error { return row.Scan(&there) })
	})
	switch {
	case err != nil:
		return err
	case there:
		return store.ErrConflict
	case !deleted && !unsure: // else the attempt before has done it
		return store.ErrNotFound
	}
	s.changed()
	return nil
}

// agentColumns are those of agent a and agent_life l, as scanAgent reads them.
const agentColumns = `a.id, a.rev, a.type, a.registered, a.updated, l.seen, l.alive, l.counts, a.body`

// listAgents says twice where to begin, because a merge of both tables would else read
// one of them from its beginning.
const listAgents = `SELECT ` + agentColumns + ` FROM agent a JOIN agent_life l ON l.id = a.id
	WHERE a.id > $1 AND l.id > $1 ORDER BY a.id LIMIT $2`

// Agents implements [store.Registry].
func (s *Engine) Agents(ctx context.Context, after string, limit int) (as []store.Agent, err error) {
	err = s.read(ctx, "listing agents", func(q querier) error {
		rows, _ := q.Query(ctx, listAgents, put(after), max(limit, 1)) // CollectRows gives the error
		as, err = pgx.CollectRows(rows, scanAgent)
		return err
	})
	return as, err
}

func scanAgent(row pgx.CollectableRow) (a store.Agent, err error) {
	var registered, updated, seen *int64
	err = row.Scan(&a.ID, &a.Rev, &a.Type, &registered, &updated, &seen, &a.Alive, &a.Counts, &a.Body)
	a.ID, a.Type = got(a.ID), got(a.Type)
	a.Registered, a.Updated, a.Seen = instant(registered), instant(updated), instant(seen)
	return a, err
}

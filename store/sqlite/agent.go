package sqlite

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// PutAgent implements [store.Registry]. An agent is a row in each of three
// tables, written in one transaction.
func (s *Engine) PutAgent(ctx context.Context, a store.Agent) (store.Agent, error) {
	a.Registered, a.Updated, a.Seen = engine.Cut(a.Registered), engine.Cut(a.Updated), engine.Cut(a.Seen)
	var refused error
	err := s.write(ctx, "writing agent "+a.ID, func(b *batch) error {
		refused = nil
		n, err := putAgent(b.conn, &a)
		if err != nil {
			return err
		}
		if n == nil {
			refused = store.ErrConflict
			if a.Rev == 0 {
				refused = store.ErrExists
			}
			return nil
		}
		_, err = b.conn.exec(`INSERT INTO agent_life (id, seen, alive, counts) VALUES (?, ?, ?, ?)
			ON CONFLICT (id) DO UPDATE SET seen = excluded.seen, alive = excluded.alive, counts = excluded.counts`,
			a.ID, millis(a.Seen), flag(a.Alive), a.Counts)
		if err != nil {
			return err
		}
		_, err = b.conn.exec(`INSERT OR REPLACE INTO agent_text (rowid, names, abilities, description, rest)
			VALUES (?, ?, ?, ?, ?)`, n, a.Texts[0], a.Texts[1], a.Texts[2], a.Texts[3])
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return store.Agent{}, err
	}
	a.Rev++
	return a, nil
}

// putAgent writes the row of table agent and gives its n; nil if the agent is
// there and should not be, or has another Rev.
func putAgent(c *conn, a *store.Agent) (n driver.Value, err error) {
	if a.Rev == 0 {
		return c.value(`INSERT INTO agent (id, rev, type, registered, updated, body) VALUES (?, 1, ?, ?, ?, ?)
			ON CONFLICT DO NOTHING RETURNING n`, a.ID, a.Type, millis(a.Registered), millis(a.Updated), a.Body)
	}
	return c.value(`UPDATE agent SET rev = rev + 1, type = ?, registered = ?, updated = ?, body = ?
		WHERE id = ? AND rev = ? RETURNING n`, a.Type, millis(a.Registered), millis(a.Updated), a.Body, a.ID, a.Rev)
}

// DeleteAgent implements [store.Registry].
func (s *Engine) DeleteAgent(ctx context.Context, id string, rev int64) error {
	var refused error
	err := s.write(ctx, "deleting agent "+id, func(b *batch) error {
		refused = nil
		n, err := b.conn.value(`DELETE FROM agent WHERE id = ? AND rev = ? RETURNING n`, id, rev)
		if err != nil {
			return err
		}
		if n == nil {
			refused = store.ErrNotFound
			there, err := b.conn.value(`SELECT n FROM agent WHERE id = ?`, id)
			if there != nil {
				refused = store.ErrConflict
			}
			return err
		}
		if _, err := b.conn.exec(`DELETE FROM agent_life WHERE id = ?`, id); err != nil {
			return err
		}
		_, err = b.conn.exec(`DELETE FROM agent_text WHERE rowid = ?`, n)
		return err
	})
	if err == nil {
		err = refused
	}
	return err
}

const listAgents = `SELECT a.id, a.rev, a.type, a.registered, a.updated, l.seen, l.alive, l.counts, a.body
	FROM agent a CROSS JOIN agent_life l ON l.id = a.id WHERE a.id > ? ORDER BY a.id LIMIT ?`

// Agents implements [store.Registry].
func (s *Engine) Agents(ctx context.Context, after string, limit int) ([]store.Agent, error) {
	var as []store.Agent
	err := s.read(ctx, func(c *conn) error {
		return c.query(listAgents, []any{after, int64(max(limit, 1))}, func(row []driver.Value) error {
			as = append(as, scanAgent(row))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing agents: %w", err)
	}
	return as, nil
}

// scanAgent reads a row of listAgents.
func scanAgent(row []driver.Value) store.Agent {
	id, _ := row[0].(string)
	rev, _ := row[1].(int64)
	kind, _ := row[2].(string)
	alive, _ := row[6].(int64)
	counts, _ := row[7].([]byte)
	body, _ := row[8].([]byte)
	return store.Agent{
		ID: id, Rev: rev, Type: kind, Registered: instant(row[3]), Updated: instant(row[4]),
		Seen: instant(row[5]), Alive: alive == 1, Counts: counts, Body: body,
	}
}

// Beat implements [store.Registry]. In the order of the ids the rows of one page
// are changed together.
func (s *Engine) Beat(ctx context.Context, beats []store.Beat) error {
	if len(beats) == 0 {
		return s.gate.Check()
	}
	// Stable: of two beats of one agent the later one counts.
	sorted := slices.SortedStableFunc(slices.Values(beats), func(a, b store.Beat) int { return cmp.Compare(a.ID, b.ID) })
	return s.write(ctx, "writing beats", func(b *batch) error {
		for i := range sorted {
			if err := beat(b.conn, &sorted[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// beat writes one. What says the agent lived later than the stored row does, counts;
// its counts are written in any case.
func beat(c *conn, b *store.Beat) error {
	_, err := c.exec(`UPDATE agent_life SET seen = ?1, alive = ?2 WHERE id = ?3 AND coalesce(seen, 0) <= coalesce(?1, 0)`,
		millis(b.Seen), flag(b.Alive), b.ID)
	if err == nil && b.Counts != nil {
		_, err = c.exec(`UPDATE agent_life SET counts = ? WHERE id = ?`, b.Counts, b.ID)
	}
	return err
}

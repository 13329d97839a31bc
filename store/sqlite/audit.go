package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/arcd-io/arcd/store"
)

// AppendAudit implements [store.Registry].
func (s *Engine) AppendAudit(ctx context.Context, entries []store.AuditEntry) error {
	if len(entries) == 0 {
		return s.gate.Check()
	}
	return s.write(ctx, "writing the audit log", func(b *batch) error {
		if err := noteLate(b.conn, entries); err != nil {
			return err
		}
		for i := range entries {
			e := &entries[i]
			_, err := b.conn.exec(`INSERT INTO audit (at, event, outcome, actor, agent, body) VALUES (?, ?, ?, ?, ?, ?)`,
				e.At.UnixMilli(), e.Event, e.Outcome, optional(e.Actor), optional(e.Agent), e.Body)
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// noteLate keeps audit_order.late right, before entries are written. Callers
// reach the writer in another order than they looked at the clock, and clocks
// are put back; both are rare, so that it seldom writes.
func noteLate(c *conn, entries []store.AuditEntry) error {
	v, err := c.value(`SELECT max(at) FROM audit`)
	if err != nil {
		return err
	}
	newest, ok := v.(int64)
	if !ok { // the log is empty
		newest = entries[0].At.UnixMilli()
	}
	var late int64
	for i := range entries {
		at := entries[i].At.UnixMilli()
		late, newest = max(late, newest-at), max(newest, at)
	}
	if late == 0 {
		return nil
	}
	_, err = c.exec(`UPDATE audit_order SET late = ?1 WHERE late < ?1`, late)
	return err
}

// Audit implements [store.Registry].
func (s *Engine) Audit(ctx context.Context, q store.AuditQuery) ([]store.AuditEntry, error) {
	text, args := selectAudit(&q)
	var es []store.AuditEntry
	err := s.read(ctx, func(c *conn) error {
		return c.query(text, args, func(row []driver.Value) error {
			es = append(es, scanAudit(row))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	return es, nil
}

// Pages are in the order of ids, and a span of time is not quite a span of ids.
// But an entry that is older than From by more than any entry was ever late has
// none of the span before it, and one that is so much newer than To has none
// after it. So these two bounds, each a single look into audit_at, keep a page
// from walking through what cannot be on it.
const (
	auditAfter = ` AND at >= ?1 AND id > coalesce((SELECT id FROM audit INDEXED BY audit_at
		WHERE at < ?1 - (SELECT late FROM audit_order) ORDER BY at DESC, id DESC LIMIT 1), 0)`
	auditUntil = ` AND at < ?2 AND id < coalesce((SELECT id FROM audit INDEXED BY audit_at
		WHERE at >= ?2 + (SELECT late FROM audit_order) ORDER BY at, id LIMIT 1), 9223372036854775807)`
)

// selectAudit gives the statement of a page. Its arguments are the same whatever
// it looks for; of the indexes it takes the one that leaves the fewest rows.
func selectAudit(q *store.AuditQuery) (string, []any) {
	args := []any{q.From.UnixMilli(), q.To.UnixMilli(), q.Before, int64(max(q.Limit, 1)), q.Agent, q.Actor, q.Event, q.Outcome}
	var where strings.Builder
	index := ""
	and := func(set bool, condition, by string) {
		if !set {
			return
		}
		where.WriteString(condition)
		if index == "" && by != "" {
			index = "INDEXED BY " + by
		}
	}
	and(q.Agent != "", ` AND agent = ?5`, "audit_agent")
	and(q.Actor != "", ` AND actor = ?6`, "audit_actor")
	and(q.Event != "", ` AND event = ?7`, "audit_event")
	and(q.Outcome != "", ` AND outcome = ?8`, "")
	and(q.Before != 0, ` AND id < ?3`, "")
	and(!q.From.IsZero(), auditAfter, "")
	and(!q.To.IsZero(), auditUntil, "")
	if index == "" {
		index = "NOT INDEXED"
	}
	return `SELECT id, at, body, event, outcome, actor, agent FROM audit ` + index +
		` WHERE id > 0` + where.String() + ` ORDER BY id DESC LIMIT ?4`, args
}

func scanAudit(row []driver.Value) store.AuditEntry {
	id, _ := row[0].(int64)
	body, _ := row[2].([]byte)
	event, _ := row[3].(string)
	outcome, _ := row[4].(string)
	actor, _ := row[5].(string)
	agent, _ := row[6].(string)
	return store.AuditEntry{ID: id, At: instant(row[1]), Body: body, Event: event, Outcome: outcome, Actor: actor, Agent: agent}
}

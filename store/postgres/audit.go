package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

const (
	// nextAudit takes numbers for $1 entries, whose times are between $3 and $4 and at
	// most $2 below that of one before in the same call. The row stays locked until they
	// are committed, so numbers rise in the order of commits.
	nextAudit = `UPDATE audit_next SET last = last + $1, late = greatest(late, $2, newest - $3), newest = greatest(newest, $4)
	WHERE id = 1`
	putAudit = `INSERT INTO audit (id, at, event, outcome, actor, agent, body)
	SELECT x.last - $1 + u.n, u.at, u.event, u.outcome, u.actor, u.agent, u.body FROM audit_next x,
		unnest($2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bytea[])
		AS u (n, at, event, outcome, actor, agent, body)
	WHERE x.id = 1`
	// putAuditAgain does nothing if the entries are there already, by the first and the
	// last of them.
	putAuditAgain = putAudit + ` AND NOT EXISTS (SELECT 1 FROM audit a JOIN audit z ON z.id = a.id + $1 - 1
		WHERE a.at = ($3::bigint[])[1] AND a.event = ($4::text[])[1] AND a.body = ($8::bytea[])[1]
		AND z.at = ($3::bigint[])[$1] AND z.event = ($4::text[])[$1] AND z.body = ($8::bytea[])[$1])`
)

// auditRows are entries by column.
type auditRows struct {
	n, at          []int64
	event, outcome []string
	actor, agent   []*string
	body           [][]byte
	late           int64 // the most that a time is below one before
	oldest, newest int64
}

func newAuditRows(entries []store.AuditEntry) *auditRows {
	r := &auditRows{oldest: entries[0].At.UnixMilli(), newest: entries[0].At.UnixMilli()}
	for i := range entries {
		e := &entries[i]
		at := e.At.UnixMilli()
		r.late = max(r.late, r.newest-at)
		r.oldest, r.newest = min(r.oldest, at), max(r.newest, at)
		r.n, r.at, r.body = append(r.n, int64(i+1)), append(r.at, at), append(r.body, e.Body)
		r.event, r.outcome = append(r.event, put(valid(e.Event))), append(r.outcome, put(valid(e.Outcome)))
		r.actor, r.agent = append(r.actor, optional(valid(e.Actor))), append(r.agent, optional(valid(e.Agent)))
	}
	return r
}

// valid gives a text that PostgreSQL takes. Callers that were refused may have sent
// anything, and their entry must not spoil the log.
func valid(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }

// AppendAudit implements [store.Registry].
func (s *Engine) AppendAudit(ctx context.Context, entries []store.AuditEntry) error {
	if len(entries) == 0 {
		return s.gate.Check()
	}
	r, insert := newAuditRows(entries), putAudit
	_, err := s.batch(ctx, "writing the audit log", func(b *pgx.Batch) {
		n := int64(len(entries))
		b.Queue(nextAudit, n, r.late, r.oldest, r.newest)
		b.Queue(insert, n, r.n, r.at, r.event, r.outcome, r.actor, r.agent, r.body)
		insert = putAuditAgain // where this attempt was made, and nobody heard of it
	})
	return err
}

// Audit implements [store.Registry].
func (s *Engine) Audit(ctx context.Context, q store.AuditQuery) (es []store.AuditEntry, err error) {
	text, args := selectAudit(&q)
	err = s.read(ctx, "reading the audit log", func(q querier) error {
		rows, _ := q.Query(ctx, text, args...) // CollectRows gives the error
		es, err = pgx.CollectRows(rows, scanAudit)
		return err
	})
	return es, err
}

// Pages are in the order of ids, and a span of time is not quite a span of ids.
// But an entry that is older than From by more than any entry was ever late has
// none of the span before it, and one that is so much newer than To has none
// after it. So these two bounds, each a single look into audit_at, keep a page
// from walking through what cannot be on it.
const (
	auditAfter = `at >= $%[1]d AND id > coalesce((SELECT id FROM audit
		WHERE at < $%[1]d - (SELECT late FROM audit_next WHERE id = 1) ORDER BY at DESC, id DESC LIMIT 1), 0)`
	auditUntil = `at < $%[1]d AND id < coalesce((SELECT id FROM audit
		WHERE at >= $%[1]d + (SELECT late FROM audit_next WHERE id = 1) ORDER BY at, id LIMIT 1), 9223372036854775807)`
)

// selectAudit gives the statement of a page.
func selectAudit(q *store.AuditQuery) (text string, args []any) {
	where := []string{"id > 0"}
	and := func(set bool, condition string, arg any) {
		if set {
			args = append(args, arg)
			where = append(where, fmt.Sprintf(condition, len(args)))
		}
	}
	and(q.Agent != "", `agent = $%d`, put(valid(q.Agent)))
	and(q.Actor != "", `actor = $%d`, put(valid(q.Actor)))
	and(q.Event != "", `event = $%d`, put(valid(q.Event)))
	and(q.Outcome != "", `outcome = $%d`, put(valid(q.Outcome)))
	and(q.Before != 0, `id < $%d`, q.Before)
	and(!q.From.IsZero(), auditAfter, q.From.UnixMilli())
	and(!q.To.IsZero(), auditUntil, q.To.UnixMilli())
	args = append(args, max(q.Limit, 1))
	return fmt.Sprintf(`SELECT id, at, event, outcome, actor, agent, body FROM audit
	WHERE %s ORDER BY id DESC LIMIT $%d`, strings.Join(where, " AND "), len(args)), args
}

func scanAudit(row pgx.CollectableRow) (e store.AuditEntry, err error) {
	var at *int64
	var actor, agent *string
	err = row.Scan(&e.ID, &at, &e.Event, &e.Outcome, &actor, &agent, &e.Body)
	e.At, e.Event, e.Outcome, e.Actor, e.Agent = instant(at), got(e.Event), got(e.Outcome), text(actor), text(agent)
	return e, err
}

package postgres

import (
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// columns are a thread's, in the order in which scanThread reads them.
const columns = `id, kind, owner, sender, agent, trace, parent, status, priority,
	created, updated, ended, rev, seq, items, ready, rank, due, body`

// scanThread reads a row of columns.
func scanThread(row pgx.CollectableRow) (t store.Thread, err error) {
	var trace, parent *string
	var created, updated, ended, due *int64
	var priority string
	var kind int16
	err = row.Scan(&t.ID, &kind, &t.Owner, &t.From, &t.Agent, &trace, &parent, &t.Status, &priority,
		&created, &updated, &ended, &t.Rev, &t.Seq, &t.Items, &t.Ready, &t.Rank, &due, &t.Body)
	t.ID, t.Owner, t.From, t.Agent, t.Status = got(t.ID), got(t.Owner), got(t.From), got(t.Agent), got(t.Status)
	t.Kind, t.Priority, t.Trace, t.Parent = store.Kind(kind), arc.Priority(priority), text(trace), text(parent)
	t.Created, t.Updated, t.Ended, t.Due = instant(created), instant(updated), instant(ended), instant(due)
	return t, err
}

// instant reads a time column.
func instant(ms *int64) time.Time {
	if ms == nil {
		return time.Time{}
	}
	return time.UnixMilli(*ms).UTC()
}

// millis writes a time column.
func millis(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	ms := t.UnixMilli()
	return &ms
}

// text reads a text column in which NULL is "".
func text(s *string) string {
	if s == nil {
		return ""
	}
	return got(*s)
}

// optional writes a text column in which "" is NULL.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	s = put(s)
	return &s
}

// Texts of PostgreSQL hold no zero character. In its place stand two others, of which
// the first also stands before itself, so that texts stay different and in order.
var (
	putting = strings.NewReplacer("\x00", "\x01\x02", "\x01", "\x01\x03")
	getting = strings.NewReplacer("\x01\x02", "\x00", "\x01\x03", "\x01")
)

// put gives a text as its column holds it.
func put(s string) string {
	if !strings.ContainsAny(s, "\x00\x01") {
		return s
	}
	return putting.Replace(s)
}

// got undoes put.
func got(s string) string {
	if strings.IndexByte(s, 1) < 0 {
		return s
	}
	return getting.Replace(s)
}

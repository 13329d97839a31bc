package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/arcd-io/arcd/store"
)

// Threads implements [store.Store]. The statement has only the conditions that the
// query has, so there are a few dozen texts at most.
func (s *Engine) Threads(ctx context.Context, q store.Query) ([]store.Thread, error) {
	text, args := selectThreads(&q)
	return s.list(ctx, "listing threads", text, args...)
}

// statement is a text under construction, with its arguments.
type statement struct {
	text strings.Builder
	args []any
}

// and adds a text in which each ? is the next of the values.
func (b *statement) and(text string, values ...any) {
	for _, v := range values {
		before, after, _ := strings.Cut(text, "?")
		b.args = append(b.args, v)
		fmt.Fprintf(&b.text, "%s$%d", before, len(b.args))
		text = after
	}
	b.text.WriteString(text)
}

func selectThreads(q *store.Query) (string, []any) {
	var b statement
	b.and(`SELECT `+columns+` FROM thread WHERE owner = ? AND kind = ?`, put(q.Owner), int16(q.Kind))
	if q.Trace != "" {
		b.and(` AND trace = ?`, put(q.Trace))
	}
	if q.Agent != "" {
		b.and(` AND agent = ?`, put(q.Agent))
	}
	if len(q.Status) > 0 {
		b.and(` AND status = ANY(?::text[])`, q.Status)
	}
	if !q.From.IsZero() {
		b.and(` AND created >= ?`, q.From.UnixMilli())
	}
	if !q.To.IsZero() {
		b.and(` AND created < ?`, q.To.UnixMilli())
	}
	if q.BeforeID != "" {
		b.and(` AND created <= ? AND (created, id) < (?, ?)`, q.BeforeTime.UnixMilli(), q.BeforeTime.UnixMilli(), put(q.BeforeID))
	}
	b.and(` ORDER BY created DESC, id DESC LIMIT ?`, max(q.Limit, 1))
	return b.text.String(), b.args
}

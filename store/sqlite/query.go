package sqlite

import (
	"context"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/store"
)

// Threads implements [store.Store]. The statement has only the conditions that
// the query has, so there are a few dozen texts at most.
func (s *Engine) Threads(ctx context.Context, q store.Query) ([]store.Thread, error) {
	text, args := selectThreads(&q)
	return s.list(ctx, text, args...)
}

func selectThreads(q *store.Query) (string, []any) {
	var b strings.Builder
	args := make([]any, 0, 12)
	and := func(condition string, values ...any) {
		b.WriteString(condition)
		args = append(args, values...)
	}
	and(`SELECT `+columns+` FROM thread WHERE owner = ? AND kind = ?`, q.Owner, int64(q.Kind))
	if q.Trace != "" {
		and(` AND trace = ?`, q.Trace)
	}
	if q.Agent != "" {
		and(` AND agent = ?`, q.Agent)
	}
	if len(q.Status) > 0 {
		// Sorted and without doubles there are few different texts.
		words := slices.Compact(slices.Sorted(slices.Values(q.Status)))
		and(` AND status IN (?` + strings.Repeat(`, ?`, len(words)-1) + `)`)
		for _, w := range words {
			args = append(args, w)
		}
	}
	if !q.From.IsZero() {
		and(` AND created >= ?`, q.From.UnixMilli())
	}
	if !q.To.IsZero() {
		and(` AND created < ?`, q.To.UnixMilli())
	}
	if q.BeforeID != "" {
		and(` AND (created, id) < (?, ?)`, q.BeforeTime.UnixMilli(), q.BeforeID)
	}
	and(` ORDER BY created DESC, id DESC LIMIT ?`, int64(max(q.Limit, 1)))
	return b.String(), args
}

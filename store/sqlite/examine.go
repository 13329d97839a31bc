package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"strings"

	"github.com/arcd-io/arcd/store/transfer"
)

var _ transfer.Examiner = (*Reader)(nil)

// Query implements [transfer.Examiner].
func (r *Reader) Query(ctx context.Context, text string, args []any, each func(values []any) error) error {
	var values []any
	return explain(r.conn.query(strings.ReplaceAll(text, "$", "?"), args, func(row []driver.Value) error {
		values = values[:0]
		for _, v := range row {
			values = append(values, v)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		return each(values)
	}))
}

// Rules implements [transfer.Examiner].
func (*Reader) Rules() []transfer.Rule {
	return []transfer.Rule{
		{Name: "log_of_nothing", Table: transfer.Log, Text: fmt.Sprintf(`SELECT 'row ' || CAST(l.pos AS text), 'thread number ' || CAST(l.pos >> %[1]d AS text)
			FROM log l WHERE NOT EXISTS (SELECT 1 FROM thread t WHERE t.n = l.pos >> %[1]d)`, posBits)},
		{Name: "agent_without_words", Table: transfer.Agent, Text: `SELECT a.id, '' FROM agent a
			WHERE NOT EXISTS (SELECT 1 FROM agent_text_docsize x WHERE x.id = a.n)`},
		{Name: "words_of_nothing", Table: transfer.Agent, Text: `SELECT 'row ' || CAST(x.id AS text), '' FROM agent_text_docsize x
			WHERE NOT EXISTS (SELECT 1 FROM agent a WHERE a.n = x.id)`},
		{Name: "audit_number", Table: "audit", Text: `SELECT CAST(max(id) AS text), 'the next number would be lower' FROM audit
			HAVING max(id) > (SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'audit')`},
	}
}

// LogRange implements [transfer.Examiner].
func (*Reader) LogRange() string {
	return fmt.Sprintf(`SELECT t.id, l.pos & %[1]d, l.seq, l.events, l.items FROM thread t
		CROSS JOIN log l ON l.pos > (t.n << %[2]d) AND l.pos < ((t.n + 1) << %[2]d)
		WHERE t.id >= $1 AND t.id <= $2 ORDER BY t.id, l.pos`, maxPos, posBits)
}

// Sound implements [transfer.Examiner]: SQLite reads every page of the file and
// compares indexes with tables.
func (r *Reader) Sound(ctx context.Context, found func(detail string)) error {
	return r.Query(ctx, `PRAGMA integrity_check(100)`, nil, func(values []any) error {
		if text, _ := values[0].(string); text != "ok" {
			found(text)
		}
		return nil
	})
}

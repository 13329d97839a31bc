package postgres

import (
	"context"

	"github.com/arcd-io/arcd/store/transfer"
)

var _ transfer.Examiner = (*Reader)(nil)

// Query implements [transfer.Examiner].
func (r *Reader) Query(ctx context.Context, text string, args []any, each func(values []any) error) error {
	stored := make([]any, len(args))
	for i, v := range args {
		if s, ok := v.(string); ok {
			v = put(s)
		}
		stored[i] = v
	}
	rows, err := r.conn.Query(ctx, text, stored...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		for i, v := range values {
			if s, ok := v.(string); ok {
				values[i] = got(s)
			}
		}
		if err := each(values); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Rules implements [transfer.Examiner].
func (*Reader) Rules() []transfer.Rule {
	return []transfer.Rule{
		{Name: "log_of_nothing", Table: transfer.Log, Text: `SELECT l.thread, 'row ' || CAST(l.pos AS text) FROM log l
			WHERE NOT EXISTS (SELECT 1 FROM thread t WHERE t.id = l.thread)`},
		{Name: "agent_without_words", Table: transfer.Agent, Text: `SELECT a.id, '' FROM agent a
			WHERE a.size > 0 AND NOT EXISTS (SELECT 1 FROM agent_word w WHERE w.agent = a.id)`},
		{Name: "words_of_nothing", Table: "agent_word", Text: `SELECT w.agent, 'word ' || w.word FROM agent_word w
			WHERE NOT EXISTS (SELECT 1 FROM agent a WHERE a.id = w.agent)`},
		{Name: "audit_number", Table: "audit", Text: `SELECT CAST(a.id AS text), 'the next number would be lower' FROM audit a, audit_next n
			WHERE n.id = 1 AND a.id > n.last`},
		{Name: "registry_version", Table: transfer.Agent, Text: `SELECT c.id, 'written by a change that was not counted'
			FROM (SELECT id, change FROM agent UNION ALL SELECT kind || '/' || value, change FROM mark
				UNION ALL SELECT kind || '/' || value, change FROM revocation) c, registry_version v
			WHERE v.id = 1 AND c.change > v.n`},
	}
}

// LogRange implements [transfer.Examiner].
func (*Reader) LogRange() string { return logRange }

// Sound implements [transfer.Examiner]: it looks at the settings by which the server
// keeps what it has acknowledged.
func (r *Reader) Sound(ctx context.Context, found func(detail string)) error {
	for _, name := range durable {
		var value *string
		if err := r.conn.QueryRow(ctx, `SELECT setting FROM pg_settings WHERE name = $1`, name).Scan(&value); err != nil && !noRows(err) {
			return err
		}
		if value != nil && *value == "off" {
			found("the server has " + name + " = off and may lose what it has acknowledged")
		}
	}
	return nil
}

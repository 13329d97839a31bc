package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store/transfer"
)

// Writer fills a database with rows. It implements [transfer.Writer].
type Writer struct {
	Reader
	texts func(body []byte) ([4]string, error)
}

// OpenWriter opens a database to be filled: it is made by its owner, its tables by
// this. Servers are kept away until Close. texts gives what a search looks at in the
// body of an agent (see store.Agent). Errors: [transfer.ErrInUse],
// [transfer.ErrLocked].
func OpenWriter(ctx context.Context, url string, texts func(body []byte) ([4]string, error)) (*Writer, error) {
	w, err := openWriter(ctx, url, texts)
	if err != nil {
		return nil, fmt.Errorf("opening the database: %w", explain(err))
	}
	return w, nil
}

func openWriter(ctx context.Context, url string, texts func([]byte) ([4]string, error)) (_ *Writer, err error) {
	cfg, err := connConfig(url)
	if err != nil {
		return nil, err
	}
	w := &Writer{texts: texts}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if w.conn, err = connectForLong(ctx, cfg); err != nil {
		return nil, err
	}
	if err := migrate(ctx, cfg); err != nil {
		return nil, err
	}
	w.hold, err = startHold(ctx, cfg)
	return w, err
}

// Begin implements [transfer.Writer].
func (w *Writer) Begin(ctx context.Context, source string, discard bool) error {
	return pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		var was string
		err := tx.QueryRow(ctx, `SELECT source FROM transfer WHERE id = 1`).Scan(&was)
		switch {
		case noRows(err):
			err = empty(ctx, tx)
		case err != nil:
		case got(was) != source && !discard:
			err = &transfer.RemainsError{Source: got(was)}
		default:
			err = wipe(ctx, tx)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, `INSERT INTO transfer (id, source, began) VALUES (1, $1, $2)
			ON CONFLICT (id) DO UPDATE SET source = excluded.source, began = excluded.began`, put(source), time.Now().UnixMilli())
		return err
	})
}

// empty refuses a database that has rows.
func empty(ctx context.Context, q querier) error {
	for _, t := range transfer.Tables() {
		if t.Key == 0 {
			continue
		}
		var one int
		err := q.QueryRow(ctx, `SELECT 1 FROM `+t.Name+` LIMIT 1`).Scan(&one)
		if err == nil {
			err = &transfer.NotEmptyError{Table: t.Name}
		}
		if !noRows(err) {
			return err
		}
	}
	return nil
}

// wipe removes what an unfinished copy has left.
func wipe(ctx context.Context, tx pgx.Tx) error {
	names := []string{"agent_word"}
	for _, t := range transfer.Tables() {
		if t.Key > 0 {
			names = append(names, t.Name)
		}
	}
	_, err := tx.Exec(ctx, `TRUNCATE `+strings.Join(names, ", "))
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE registry_version SET agents = 0, words = 0 WHERE id = 1`)
	}
	return err
}

// Write implements [transfer.Writer].
func (w *Writer) Write(ctx context.Context, t *transfer.Table, rows []transfer.Row) error {
	switch t.Name {
	case transfer.AuditState:
		_, err := w.conn.Exec(ctx, `UPDATE audit_next SET last = $1, late = $2,
			newest = (SELECT coalesce(max(at), 0) FROM audit) WHERE id = 1`, rows[0]...)
		return err
	case transfer.Agent:
		return w.writeAgents(ctx, t, rows)
	}
	return w.copyRows(ctx, t.Name, columnsOfTable(t), len(rows), func(i int) ([]any, error) {
		return values(t, rows[i]), nil
	})
}

// own are the columns that only this engine has, with what rows from elsewhere have in
// them: the version of the registry that is there from the beginning, and a nonce that
// no commit knows.
var own = map[string]struct {
	name  string
	value int64
}{
	transfer.Agent: {"change", 1}, "mark": {"change", 1}, "revocation": {"change", 1}, transfer.Thread: {"nonce", 0},
}

// columnsOfTable lists the columns that are written.
func columnsOfTable(t *transfer.Table) []string {
	names := t.Names()
	if more, there := own[t.Name]; there {
		names = append(names, more.name)
	}
	return names
}

// values makes a row what COPY takes.
func values(t *transfer.Table, row transfer.Row) []any {
	vs := make([]any, len(row), len(row)+1)
	for i, v := range row {
		if s, ok := v.(string); ok {
			v = put(s)
		}
		vs[i] = v
	}
	if more, there := own[t.Name]; there {
		vs = append(vs, more.value)
	}
	return vs
}

// copyRows sends n rows by COPY, which takes all or none.
func (w *Writer) copyRows(ctx context.Context, table string, names []string, n int, row func(i int) ([]any, error)) error {
	_, err := w.conn.CopyFrom(ctx, pgx.Identifier{table}, names, pgx.CopyFromSlice(n, row))
	return err
}

// Finish implements [transfer.Writer]. The planner gets its figures before the first
// call comes: it knows nothing of tables that were filled at once.
func (w *Writer) Finish(ctx context.Context) error {
	if _, err := w.conn.Exec(ctx, `ANALYZE`); err != nil {
		return err
	}
	_, err := w.conn.Exec(ctx, `DELETE FROM transfer`)
	return err
}

// writeAgents writes agents, and the words that a search finds them by.
func (w *Writer) writeAgents(ctx context.Context, t *transfer.Table, rows []transfer.Row) error {
	agents, index, total := make([][]any, len(rows)), [][]any(nil), int64(0)
	for i, row := range rows {
		id, _ := row[0].(string)
		kind, _ := row[2].(string)
		body, _ := row[len(row)-1].([]byte)
		texts, err := w.texts(body)
		if err != nil {
			return fmt.Errorf("agent %q: %w", id, err)
		}
		found := wordsOf(&texts)
		agents[i], total = append(values(t, row), found.size), total+int64(found.size)
		for j, word := range found.words {
			index = append(index, []any{word, put(id), put(kind), found.size,
				found.counts[0][j], found.counts[1][j], found.counts[2][j], found.counts[3][j]})
		}
	}
	return pgx.BeginFunc(ctx, w.conn, func(tx pgx.Tx) error {
		_, err := tx.CopyFrom(ctx, pgx.Identifier{t.Name}, append(columnsOfTable(t), "size"), pgx.CopyFromRows(agents))
		if err == nil {
			_, err = tx.CopyFrom(ctx, pgx.Identifier{"agent_word"}, wordColumns, pgx.CopyFromRows(index))
		}
		if err == nil {
			_, err = tx.Exec(ctx, `UPDATE registry_version SET agents = agents + $1, words = words + $2 WHERE id = 1`, len(rows), total)
		}
		return err
	})
}

var wordColumns = []string{"word", "agent", "type", "size", "names", "abilities", "description", "rest"}

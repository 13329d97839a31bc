package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/arcd-io/arcd/store/transfer"
)

// Writer fills a database with rows. It implements [transfer.Writer].
type Writer struct {
	Reader
	file  string
	texts func(body []byte) ([4]string, error)

	nextN  int64  // number of the next thread
	thread string // whose log was written last
	n      int64  // its number
	args   []any  // of the row that is being written
}

// copyPragmas are the settings while a database is filled: it counts for nothing
// until the end, when all of it is flushed.
var copyPragmas = []string{
	"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(NORMAL)", "foreign_keys(OFF)",
	"wal_autocheckpoint(50000)", "journal_size_limit(67108864)", "cache_size(-128000)", "temp_store(MEMORY)",
}

// OpenWriter opens a database to be filled; it is made if it is not there. texts gives
// what a search looks at in the body of an agent (see store.Agent). Errors:
// [transfer.ErrInUse], [transfer.ErrVersion].
func OpenWriter(ctx context.Context, file string, texts func(body []byte) ([4]string, error)) (*Writer, error) {
	w, err := openWriter(ctx, file, texts)
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", file, explain(err))
	}
	return w, nil
}

func openWriter(ctx context.Context, name string, texts func([]byte) ([4]string, error)) (_ *Writer, err error) {
	file, err := place(name)
	if err != nil {
		return nil, err
	}
	w := &Writer{file: file, texts: texts, nextN: 1}
	if w.unlock, err = takeAlone(file); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.Close())
		}
	}()
	if err := create(file); err != nil {
		return nil, err
	}
	if err := migrate(ctx, dsn(file, writePragmas)); err != nil {
		return nil, err
	}
	w.conn, err = dial(dsn(file, copyPragmas))
	return w, err
}

// Begin implements [transfer.Writer].
func (w *Writer) Begin(_ context.Context, source string, discard bool) error {
	return w.transact(func() error {
		was, err := w.conn.value(`SELECT source FROM transfer`)
		if err != nil {
			return err
		}
		switch {
		case was == nil:
			err = w.empty()
		case was != source && !discard:
			err = &transfer.RemainsError{Source: fmt.Sprint(was)}
		default:
			err = w.clear()
		}
		if err != nil {
			return err
		}
		_, err = w.conn.exec(`INSERT INTO transfer (id, source, began) VALUES (1, ?, ?)
			ON CONFLICT (id) DO UPDATE SET source = excluded.source, began = excluded.began`, source, time.Now().UnixMilli())
		return err
	})
}

// empty refuses a database that has rows.
func (w *Writer) empty() error {
	for _, t := range transfer.Tables() {
		if t.Key == 0 {
			continue
		}
		one, err := w.conn.value(`SELECT 1 FROM ` + t.Name + ` LIMIT 1`)
		if err == nil && one != nil {
			err = &transfer.NotEmptyError{Table: t.Name}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clear removes what an unfinished copy has left.
func (w *Writer) clear() error {
	texts := []string{
		`INSERT INTO agent_text (agent_text) VALUES ('delete-all')`, `DELETE FROM sqlite_sequence WHERE name = 'audit'`,
		`UPDATE audit_order SET late = 0`,
	}
	for _, t := range transfer.Tables() {
		if t.Key > 0 {
			texts = append(texts, `DELETE FROM `+t.Name)
		}
	}
	for _, text := range texts {
		if _, err := w.conn.exec(text); err != nil {
			return err
		}
	}
	return nil
}

// transact runs f in a transaction.
func (w *Writer) transact(f func() error) error {
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		if _, err = w.conn.exec("COMMIT"); err == nil {
			return nil
		}
	}
	_, rolled := w.conn.exec("ROLLBACK")
	return errors.Join(err, rolled)
}

// Write implements [transfer.Writer].
func (w *Writer) Write(ctx context.Context, t *transfer.Table, rows []transfer.Row) error {
	add := w.addRow
	switch t.Name {
	case transfer.Thread:
		add = w.addThread
	case transfer.Log:
		add = w.addLog
	case transfer.Agent:
		add = w.addAgent
	case transfer.AuditState:
		add = w.setAuditState
	}
	columns := t.Names()
	if t.Name == transfer.Thread {
		columns = append([]string{"n"}, columns...)
	}
	text := `INSERT INTO ` + t.Name + ` (` + list(columns, "") + `) VALUES (?` + strings.Repeat(", ?", len(columns)-1) + `)`
	return w.transact(func() error {
		for _, row := range rows {
			if err := add(text, w.arguments(row)); err != nil {
				return err
			}
		}
		return ctx.Err()
	})
}

// arguments makes a row what a statement takes, behind a first value that is for who
// adds it. They are good until the next row.
func (w *Writer) arguments(row transfer.Row) []any {
	w.args = append(w.args[:0], nil)
	for _, v := range row {
		if b, ok := v.(bool); ok {
			v = flag(b)
		}
		w.args = append(w.args, v)
	}
	return w.args
}

func (w *Writer) addRow(text string, row []any) error {
	_, err := w.conn.exec(text, row[1:]...)
	return err
}

// addThread gives the thread the next number: its place among the ids.
func (w *Writer) addThread(text string, row []any) error {
	row[0] = w.nextN
	_, err := w.conn.exec(text, row...)
	w.nextN++
	return err
}

func (w *Writer) addLog(_ string, row []any) error {
	id, _ := row[1].(string)
	if id != w.thread {
		n, err := w.conn.value(`SELECT n FROM thread WHERE id = ?`, id)
		if err != nil {
			return err
		}
		found, ok := n.(int64)
		if !ok {
			return fmt.Errorf("the thread %q is not there", id)
		}
		w.thread, w.n = id, found
	}
	pos, _ := row[2].(int64)
	if pos <= 0 || pos > maxPos {
		return fmt.Errorf("thread %q holds %d events and items, more than %d", id, pos, maxPos)
	}
	_, err := w.conn.exec(`INSERT INTO log (pos, seq, events, items) VALUES (?, ?, ?, ?)`, logPos(w.n, pos), row[3], row[4], row[5])
	return err
}

// addAgent writes an agent and its words.
func (w *Writer) addAgent(text string, row []any) error {
	body, _ := row[len(row)-1].([]byte)
	texts, err := w.texts(body)
	if err != nil {
		return fmt.Errorf("agent %q: %w", row[1], err)
	}
	n, err := w.conn.value(text+` RETURNING n`, row[1:]...)
	if err != nil {
		return err
	}
	_, err = w.conn.exec(`INSERT INTO agent_text (rowid, names, abilities, description, rest) VALUES (?, ?, ?, ?, ?)`,
		n, texts[0], texts[1], texts[2], texts[3])
	return err
}

func (w *Writer) setAuditState(_ string, row []any) error {
	_, err := w.conn.exec(`DELETE FROM sqlite_sequence WHERE name = 'audit'`)
	if err == nil && row[1] != int64(0) {
		_, err = w.conn.exec(`INSERT INTO sqlite_sequence (name, seq) VALUES ('audit', ?)`, row[1])
	}
	if err == nil {
		_, err = w.conn.exec(`UPDATE audit_order SET late = ?`, row[2])
	}
	return err
}

// Finish implements [transfer.Writer]. What was written is flushed before the row goes
// that keeps servers away, and that is flushed, too.
func (w *Writer) Finish(context.Context) error {
	if err := w.checkpoint(); err != nil {
		return err
	}
	for _, text := range []string{"PRAGMA synchronous = FULL", "DELETE FROM transfer"} {
		if _, err := w.conn.exec(text); err != nil {
			return err
		}
	}
	if err := w.checkpoint(); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(w.file))
}

// checkpoint moves the write-ahead log into the database and flushes both.
func (w *Writer) checkpoint() error {
	return w.conn.query("PRAGMA wal_checkpoint(TRUNCATE)", nil, func(row []driver.Value) error {
		if row[0] != int64(0) {
			return errors.New("somebody reads the database: it could not be flushed")
		}
		return nil
	})
}

package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"

	"github.com/arcd-io/arcd/store/transfer"
)

// Reader gives a database as rows. It implements [transfer.Reader].
type Reader struct {
	conn   *conn
	unlock func() error
}

var (
	_ transfer.Reader = (*Reader)(nil)
	_ transfer.Writer = (*Writer)(nil)
)

// OpenReader opens a database to be read whole, as it is now. alone has it taken for
// this process, as a server does, until Close; otherwise a server may be running on
// it. Errors: [os.ErrNotExist], [transfer.ErrVersion], [transfer.ErrUnfinished],
// [transfer.ErrInUse].
func OpenReader(ctx context.Context, file string, alone bool) (*Reader, error) {
	r, err := openReader(ctx, file, alone)
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", file, explain(err))
	}
	return r, nil
}

func openReader(ctx context.Context, name string, alone bool) (_ *Reader, err error) {
	file, err := place(name)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(file); err != nil {
		return nil, err
	}
	r := &Reader{unlock: func() error { return nil }}
	if alone {
		if r.unlock, err = takeAlone(file); err != nil {
			return nil, err
		}
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	if r.conn, err = dial(dsn(file, readPragmas)); err != nil {
		return nil, err
	}
	has, known, err := versions(ctx, file)
	if err != nil {
		return nil, err
	}
	if has != known {
		return nil, versionError(has, known)
	}
	if _, err := r.conn.exec("BEGIN"); err != nil {
		return nil, err
	}
	return r, unfinished(r.conn)
}

// takeAlone takes the lock that a server holds.
func takeAlone(file string) (unlock func() error, err error) {
	unlock, err = lockFile(file + "-lock")
	if errors.Is(err, errInUse) {
		err = transfer.ErrInUse
	}
	return unlock, err
}

// unfinished gives an error if a copy into the database was not finished.
func unfinished(c *conn) error {
	source, err := c.value(`SELECT source FROM transfer`)
	if err == nil && source != nil {
		err = fmt.Errorf("copy of %s: %w", source, transfer.ErrUnfinished)
	}
	return err
}

// Close implements [transfer.Reader].
func (r *Reader) Close() error {
	var errs []error
	if r.conn != nil {
		errs = append(errs, r.conn.close())
	}
	return errors.Join(append(errs, r.unlock())...)
}

// whole has the statements that read tables whose rows are not just their columns.
var whole = map[string]string{
	transfer.AuditState: `SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'audit'), 0), late FROM audit_order`,
	// The threads of a log are known by their n; in the order of their ids all logs are
	// in the order of (thread, pos).
	transfer.Log: fmt.Sprintf(`SELECT t.id, l.pos & %[1]d, l.seq, l.events, l.items FROM thread t
		CROSS JOIN log l ON l.pos > (t.n << %[2]d) AND l.pos < ((t.n + 1) << %[2]d) ORDER BY t.id, l.pos`, maxPos, posBits),
}

// Rows implements [transfer.Reader].
func (r *Reader) Rows(ctx context.Context, t *transfer.Table, each func(transfer.Row) error) error {
	return explain(r.rows(ctx, t, each))
}

func (r *Reader) rows(ctx context.Context, t *transfer.Table, each func(transfer.Row) error) error {
	text, ok := whole[t.Name]
	if !ok {
		text = `SELECT ` + list(t.Names(), "") + ` FROM ` + t.Name + ` ORDER BY ` + list(t.Names()[:t.Key], "")
	}
	values := make([]any, len(t.Columns))
	return r.conn.query(text, nil, func(row []driver.Value) error {
		for i, v := range row {
			values[i] = v
		}
		made, err := t.Row(values)
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		return each(made)
	})
}

// list gives names with commas between them; with is put behind each.
func list(names []string, with string) string {
	text := ""
	for i, name := range names {
		if i > 0 {
			text += ", "
		}
		text += name + with
	}
	return text
}

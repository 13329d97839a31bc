package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"

	sqlite "modernc.org/sqlite"
)

// conn is the writer's connection. It speaks to the driver directly: what
// database/sql adds (pooling, conversions, locks) is of no use to a connection
// with one owner and costs as much as a short statement.
type conn struct {
	raw   driver.Conn
	stmts map[string]*stmt
}

// stmt is a prepared statement with room for its arguments.
type stmt struct {
	raw  driver.Stmt
	args []driver.NamedValue
}

func dial(dsn string) (*conn, error) {
	raw, err := (&sqlite.Driver{}).Open(dsn)
	if err != nil {
		return nil, err
	}
	return &conn{raw: raw, stmts: make(map[string]*stmt)}, nil
}

// prepared gives the statement for a text, prepared on first use and kept: the
// writer knows a few dozen texts.
func (c *conn) prepared(text string, args []any) (*stmt, error) {
	s := c.stmts[text]
	if s == nil {
		raw, err := c.raw.Prepare(text)
		if err != nil {
			return nil, fmt.Errorf("preparing %q: %w", text, err)
		}
		s = &stmt{raw: raw, args: make([]driver.NamedValue, len(args))}
		for i := range s.args {
			s.args[i].Ordinal = i + 1
		}
		c.stmts[text] = s
	}
	for i := range args {
		s.args[i].Value = args[i]
	}
	return s, nil
}

// exec runs a statement and gives the number of rows changed. Arguments are
// int64, string, []byte or nil.
func (c *conn) exec(text string, args ...any) (int64, error) {
	s, err := c.prepared(text, args)
	if err != nil {
		return 0, err
	}
	res, err := s.raw.(driver.StmtExecContext).ExecContext(context.Background(), s.args)
	if err != nil {
		return 0, err
	}
	return res.RowsAffected()
}

// query calls each for every row. The values are good until each returns, the
// bytes and texts among them for ever.
func (c *conn) query(text string, args []any, each func(row []driver.Value) error) error {
	s, err := c.prepared(text, args)
	if err != nil {
		return err
	}
	rows, err := s.raw.(driver.StmtQueryContext).QueryContext(context.Background(), s.args)
	if err != nil {
		return err
	}
	row := make([]driver.Value, len(rows.Columns()))
	for {
		err = rows.Next(row)
		if errors.Is(err, io.EOF) {
			return rows.Close()
		}
		if err == nil {
			err = each(row)
		}
		if err != nil {
			return errors.Join(err, rows.Close())
		}
	}
}

// value gives the first column of the only row; nil if there is no row.
func (c *conn) value(text string, args ...any) (v driver.Value, err error) {
	err = c.query(text, args, func(row []driver.Value) error {
		v = row[0]
		return nil
	})
	return v, err
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.raw.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

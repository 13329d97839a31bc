package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
)

// checkSettings tells whether the writer's connection is as durable as
// promised, by asking SQLite instead of trusting what was asked for.
func checkSettings(c *conn) error {
	for _, want := range []struct {
		pragma string
		value  any
	}{
		{"journal_mode", "wal"},
		{"synchronous", int64(2)}, // FULL
		{"foreign_keys", int64(0)},
	} {
		err := c.query("PRAGMA "+want.pragma, nil, func(row []driver.Value) error {
			if row[0] != want.value {
				return fmt.Errorf("SQLite has %s = %v instead of %v", want.pragma, row[0], want.value)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Check implements [store.Store]: it looks at the settings in force, writes and
// flushes one row, and reads it back over another connection.
func (s *Engine) Check(ctx context.Context) error {
	var wrote, read int64
	err := s.write(ctx, "checking the store", func(b *batch) error {
		if err := checkSettings(b.conn); err != nil {
			return err
		}
		return b.conn.query(`UPDATE probe SET beat = beat + 1 RETURNING beat`, nil, func(row []driver.Value) error {
			wrote, _ = row[0].(int64)
			return nil
		})
	})
	if err != nil {
		return err
	}
	err = s.read(ctx, func(c *conn) error {
		return c.query(`SELECT beat FROM probe`, nil, func(row []driver.Value) error {
			read, _ = row[0].(int64)
			return nil
		})
	})
	if err == nil && read < wrote {
		err = fmt.Errorf("wrote %d, read %d", wrote, read)
	}
	if err != nil {
		return fmt.Errorf("checking the store: %w", err)
	}
	return nil
}

package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// durable are the settings without which what was acknowledged may get lost.
var durable = []string{"fsync", "full_page_writes", "synchronous_commit"}

// checkSettings refuses a server that does not put on disk what it acknowledges.
// Relatives of PostgreSQL that do not know a setting have no way to turn it off.
func (s *Engine) checkSettings(ctx context.Context) error {
	if s.cfg.Unsafe {
		return nil
	}
	for _, name := range durable {
		var value *string
		if err := s.pool.QueryRow(ctx, `SELECT setting FROM pg_settings WHERE name = $1`, name).Scan(&value); err != nil && !noRows(err) {
			return err
		}
		if value != nil && *value == "off" {
			return fmt.Errorf("the server has %s = off and may lose what it has acknowledged: turn it on, or say store_unsafe: true", name)
		}
	}
	return nil
}

// checkEncoding refuses a database that cannot keep every text.
func checkEncoding(ctx context.Context, c *pgx.Conn) error {
	var encoding string
	err := c.QueryRow(ctx, `SELECT setting FROM pg_settings WHERE name = 'server_encoding'`).Scan(&encoding)
	if noRows(err) || err == nil && encoding == "UTF8" {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the database keeps texts in %s, which cannot keep all: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0", encoding)
	}
	return err
}

// Check implements [store.Store]: it looks at the settings in force, and writes,
// flushes and reads back one row.
func (s *Engine) Check(ctx context.Context) error {
	var wrote, read int64
	err := s.write(ctx, "checking the store", func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `UPDATE probe SET beat = beat + 1 WHERE id = 1 RETURNING beat`).Scan(&wrote)
	})
	if err == nil {
		err = s.read(ctx, "checking the store", func(q querier) error {
			return q.QueryRow(ctx, `SELECT beat FROM probe WHERE id = 1`).Scan(&read)
		})
	}
	if err == nil {
		err = s.checkSettings(ctx)
	}
	if err == nil && read < wrote {
		err = fmt.Errorf("checking the store: wrote %d, read %d", wrote, read)
	}
	return err
}

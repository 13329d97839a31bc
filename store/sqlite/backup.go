package sqlite

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/arcd-io/arcd/store"
)

// Backup copies the database in file to the new file dest, as the Backup of an
// open store does. It takes no lock: another process may be serving the
// database and goes on writing.
//
// Errors: [store.ErrExists] if dest is there, [os.ErrNotExist] if file is not.
func Backup(ctx context.Context, file, dest string) error {
	abs, err := filepath.Abs(file)
	if err != nil {
		return fmt.Errorf("backup of %s: %w", file, err)
	}
	if _, err := os.Stat(abs); err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	return copyTo(dest, func() error {
		if err := ctx.Err(); err != nil {
			return err
		}
		c, err := dial(dsn(abs, []string{"busy_timeout(10000)"}))
		if err != nil {
			return explain(err)
		}
		_, err = c.exec(`VACUUM INTO ?`, dest) // one moment of it, packed
		return errors.Join(explain(err), c.close())
	})
}

// Backup implements [store.Store]. The writer goes on meanwhile. It uses a
// connection of its own: the readers may not write, and a copy would keep one
// of them for long.
func (s *Engine) Backup(ctx context.Context, file string) error {
	if err := s.gate.Enter(); err != nil {
		return err
	}
	defer s.gate.Leave()
	return Backup(ctx, s.file, file)
}

// copyTo makes a new file, has fill fill it, and flushes it. A file that was
// not filled is removed.
func copyTo(file string, fill func() error) error {
	// Made here for its mode; SQLite takes a file that is empty.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("backup to %s: %w", file, store.ErrExists)
	}
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	err = fill()
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = syncFolder(filepath.Dir(file))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("backup to %s: %w", file, err), os.Remove(file))
	}
	return nil
}

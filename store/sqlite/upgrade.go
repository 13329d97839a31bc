package sqlite

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"

	"github.com/arcd-io/arcd/store/transfer"
)

//go:embed migrations/*.sql
var migrations embed.FS

// applicationID marks the file as arcd's in SQLite's header ("arcd" in ASCII).
const applicationID = 0x61726364

// upgrade brings the tables to the newest version that this package knows. Each
// step is a transaction.
func upgrade(ctx context.Context, db *sql.DB) error {
	if err := claim(ctx, db); err != nil {
		return err
	}
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, steps, goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return err
	}
	has, known, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if has > known {
		return fmt.Errorf("its tables have version %d, this arcd knows versions up to %d: %w", has, known, transfer.ErrNewer)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bringing tables from version %d to %d: %w", has, known, err)
	}
	return nil
}

// claim marks an empty file as arcd's and refuses one of another program.
func claim(ctx context.Context, db *sql.DB) error {
	var id, tables int
	if err := db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return err
	}
	if id == applicationID {
		return nil
	}
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return err
	}
	if id != 0 || tables > 0 {
		return fmt.Errorf("the file is %w", transfer.ErrForeign)
	}
	_, err := db.ExecContext(ctx, fmt.Sprintf("PRAGMA application_id = %d", applicationID))
	return err
}

package postgres

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/arcd-io/arcd/store/transfer"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables to the newest version that this package knows. A row in
// a table keeps replicas that start at once apart; a table, not an advisory lock,
// because that works behind poolers and on relatives of PostgreSQL.
//
// Every step leaves tables with which replicas of the version before go on working:
// what they still use is removed one version later.
func migrate(ctx context.Context, cfg *pgx.ConnConfig) (err error) {
	db := stdlib.OpenDB(*cfg)
	db.SetMaxOpenConns(2) // one holds the lock's heartbeat
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	err = foreignTables(ctx, conn)
	if err == nil {
		err = checkEncoding(ctx, conn)
	}
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return err
	}
	p, err := provider(db)
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
	if has == known {
		return nil
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("bringing tables from version %d to %d: %w", has, known, err)
	}
	return nil
}

func provider(db *sql.DB) (*goose.Provider, error) {
	steps, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName("arcd_migration_lock"), lock.WithTableHeartbeatInterval(2*time.Second),
		lock.WithTableLeaseDuration(10*time.Second), lock.WithTableLockTimeout(100*time.Millisecond, 1200),
	)
	if err != nil {
		return nil, err
	}
	return goose.NewProvider(goose.DialectPostgres, db, steps, goose.WithDisableGlobalRegistry(true),
		goose.WithLogger(goose.NopLogger()), goose.WithTableName("arcd_version"), goose.WithLocker(locker))
}

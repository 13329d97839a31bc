package postgres

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store/transfer"
)

// Pending tells of which version the tables of a database are, and which steps this
// package would take to bring them up to date. It only reads. Errors:
// [transfer.ErrNewer], [transfer.ErrForeign], *[AccessError], [store.ErrUnavailable].
func Pending(ctx context.Context, url string) (has int64, steps []string, err error) {
	cfg, err := connConfig(url)
	if err != nil {
		return 0, nil, err
	}
	has, known, err := versions(ctx, cfg)
	if err == nil && has > known {
		err = versionError(has, known)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("looking at the database: %w", explain(err))
	}
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, nil, err
	}
	for _, name := range names {
		if stepVersion(name) > has {
			steps = append(steps, strings.TrimPrefix(name, "migrations/"))
		}
	}
	return has, steps, nil
}

// Migrate brings the tables of a database up to date, as [Open] does. Servers may be
// running: of several who do it at once one does, and the others wait.
func Migrate(ctx context.Context, url string) error {
	cfg, err := connConfig(url)
	if err != nil {
		return err
	}
	if err := migrate(ctx, cfg); err != nil {
		return fmt.Errorf("bringing the database up to date: %w", explain(err))
	}
	return nil
}

// stepVersion reads the number in front of a step's name.
func stepVersion(name string) int64 {
	digits, _, _ := strings.Cut(strings.TrimPrefix(name, "migrations/"), "_")
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// versions gives the version of a database's tables, 0 if there are none, and the
// newest that this package knows. It only reads.
func versions(ctx context.Context, cfg *pgx.ConnConfig) (has, known int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		known = max(known, stepVersion(name))
	}
	c, err := connect(ctx, cfg)
	if err != nil {
		return 0, 0, err
	}
	defer func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), closing)
		defer cancel()
		err = errors.Join(err, c.Close(ending))
	}()
	err = c.QueryRow(ctx, `SELECT coalesce(max(version_id), 0) FROM arcd_version WHERE is_applied`).Scan(&has)
	if noTable(err) {
		err = foreignTables(ctx, c)
	}
	return has, known, err
}

// versionError says that the tables of a database are not those of this package.
func versionError(has, known int64) error {
	switch {
	case has > known:
		return fmt.Errorf("its tables have version %d, this arcd knows versions up to %d: %w", has, known, transfer.ErrNewer)
	case has == 0:
		return transfer.ErrNoTables
	}
	return fmt.Errorf("its tables have version %d, this arcd works with %d: %w", has, known, transfer.ErrVersion)
}

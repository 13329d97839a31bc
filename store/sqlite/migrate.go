package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/arcd-io/arcd/store/transfer"
)

// Pending tells of which version the tables of a database are, and which steps this
// package would take to bring them up to date. A server may have it open.
// Errors: [os.ErrNotExist] without the file, [transfer.ErrNewer].
func Pending(ctx context.Context, file string) (has int64, steps []string, err error) {
	has, steps, err = pending(ctx, file)
	if err != nil {
		return 0, nil, fmt.Errorf("looking at database %s: %w", file, explain(err))
	}
	return has, steps, nil
}

func pending(ctx context.Context, file string) (has int64, steps []string, err error) {
	if file, err = place(file); err != nil {
		return 0, nil, err
	}
	if _, err := os.Stat(file); err != nil {
		return 0, nil, err
	}
	has, known, err := versions(ctx, file)
	if err == nil && has > known {
		err = versionError(has, known)
	}
	if err != nil {
		return 0, nil, err
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

// Migrate brings the tables of a database up to date, as [Open] does, and leaves the
// database alone otherwise. Errors: [os.ErrNotExist], [transfer.ErrInUse].
func Migrate(ctx context.Context, file string) (err error) {
	name := file
	defer func() {
		if err != nil {
			err = fmt.Errorf("bringing database %s up to date: %w", name, explain(err))
		}
	}()
	if file, err = place(file); err != nil {
		return err
	}
	if _, err := os.Stat(file); err != nil {
		return err
	}
	unlock, err := takeAlone(file)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return migrate(ctx, dsn(file, writePragmas))
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

// versions gives the version of a database's tables and the newest that this package
// knows. It only reads.
func versions(ctx context.Context, file string) (has, known int64, err error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return 0, 0, err
	}
	for _, name := range names {
		known = max(known, stepVersion(name))
	}
	if err := ctx.Err(); err != nil {
		return 0, 0, err
	}
	c, err := dial(dsn(file, readPragmas))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, c.close()) }()
	var id, tables int64
	err = c.query(`SELECT (SELECT application_id FROM pragma_application_id),
		(SELECT count(*) FROM sqlite_schema), (SELECT count(*) FROM sqlite_schema WHERE name = 'goose_db_version')`, nil,
		func(row []driver.Value) error {
			id, _ = row[0].(int64)
			tables, _ = row[2].(int64)
			if all, _ := row[1].(int64); id != applicationID && (id != 0 || all > 0) {
				return fmt.Errorf("the file is %w", transfer.ErrForeign)
			}
			return nil
		})
	if err != nil || tables == 0 {
		return 0, known, err
	}
	v, err := c.value(`SELECT max(version_id) FROM goose_db_version WHERE is_applied`)
	has, _ = v.(int64)
	return has, known, err
}

// versionError says that the tables of a database are not those of this package.
func versionError(has, known int64) error {
	switch {
	case has == 0:
		return transfer.ErrNoTables
	case has > known:
		return fmt.Errorf("its tables have version %d, this arcd knows versions up to %d: %w", has, known, transfer.ErrNewer)
	}
	return fmt.Errorf("its tables have version %d, this arcd works with %d: %w", has, known, transfer.ErrVersion)
}

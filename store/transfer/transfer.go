// Package transfer moves a whole store from one place to another: from one engine to
// another, or into a file that is kept (a backup) and back.
//
// An engine gives its tables as rows that look the same whoever keeps them ([Reader]),
// and takes such rows ([Writer]). Nothing is renumbered: ids, revisions, sequence
// numbers, cursors and the numbers of the audit log stay as they are, so callers
// notice no more than that the servers were away. What an engine makes of the rows
// for itself (the index of a search, the numbers of changes) is made anew.
//
// [Copy] reads the source once, writes the target in batches, then reads the target
// and compares. Until it has, no server opens the target.
package transfer

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// ErrUnfinished is what an engine gives for a database that a copy went into and did
// not finish: it is not whole.
var ErrUnfinished = errors.New("a copy into this database was begun and not finished: run the copy again, or remove the database")

// ErrLocked is what an engine gives for a database that is being copied.
var ErrLocked = errors.New("the database is being copied: start the server when that is done")

// ErrInUse is what an engine gives for a copy of a database that servers have open.
var ErrInUse = errors.New("servers have the database open: stop them first")

// ErrVersion is what an engine gives for a database whose tables are older than the
// program.
var ErrVersion = errors.New("the tables are of an older version: run arcd store migrate first")

// ErrNewer is what an engine gives for a database whose tables are newer than the
// program.
var ErrNewer = errors.New("use a newer arcd")

// ErrNoTables is what an engine gives for a database that is to be read and has no
// tables of arcd.
var ErrNoTables = errors.New("it holds no tables of arcd")

// ErrForeign is what an engine gives for a database that has tables, but none of arcd.
var ErrForeign = errors.New("the database of another program")

// ErrDamaged is what an engine gives for a file that is no database, or no whole one.
var ErrDamaged = errors.New("the file is damaged or not a SQLite database, put a backup in its place")

// NotEmptyError says that a target has rows already.
type NotEmptyError struct{ Table string }

func (e *NotEmptyError) Error() string {
	return "the target is not empty: table " + e.Table + " has rows"
}

// RemainsError says that a target holds the remains of a copy of something else.
type RemainsError struct{ Source string }

func (e *RemainsError) Error() string {
	return "the target holds the remains of an unfinished copy of " + e.Source
}

// DifferenceError says that source and target are not equal.
type DifferenceError struct{ Tables []Verified }

func (e *DifferenceError) Error() string {
	var parts []string
	for _, t := range e.Tables {
		parts = append(parts, fmt.Sprintf("table %s: %d rows (%.12s) in the source, %d rows (%.12s) in the target",
			t.Table, t.Rows, t.Hash, t.TargetRows, t.TargetHash))
	}
	return "source and target differ: " + strings.Join(parts, "; ")
}

// Reader gives a store as it is at one moment.
type Reader interface {
	// Rows calls each for every row of a table, in the order of its key. Rows of the
	// log whose thread is not there are left out. each may keep the row.
	Rows(ctx context.Context, t *Table, each func(Row) error) error
	// Close gives up what the reader holds.
	Close() error
}

// Writer fills a store. Nobody else has it open meanwhile.
type Writer interface {
	// Begin prepares the target for a copy of a source, which must have the same name
	// each time. A target with rows is refused (*[NotEmptyError]), unless a copy of the
	// same source put them there and was not finished: they are removed. Remains of
	// another copy are refused (*[RemainsError]) unless discard is set.
	Begin(ctx context.Context, source string, discard bool) error
	// Write adds rows of a table. They come in the order of the key, and the tables in
	// that of [Tables].
	Write(ctx context.Context, t *Table, rows []Row) error
	// Finish makes the target a store that servers open. All is on disk then.
	Finish(ctx context.Context) error

	Reader
}

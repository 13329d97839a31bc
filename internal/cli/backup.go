package cli

import (
	"context"
	"errors"
	"os"

	"github.com/arcd-io/arcd/internal/outcome"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// backupCommand is "arcd backup". It does not open the store as a server does,
// so it needs no lock and works beside a running one.
type backupCommand struct {
	storeFlag
	File string `arg:"" help:"New file to write to."`
}

// backupData is the result of "backup".
type backupData struct {
	Effect string `json:"effect"`
	File   string `json:"file"`
	Store  string `json:"store"`
	// Rows is how many were copied and compared; 0 for SQLite, which copies pages.
	Rows int64 `json:"rows,omitempty"`
}

func (*backupCommand) row() row {
	return row{
		danger: mutating, exits: storeExits, data: backupData{},
		long: "What it writes is one moment of the state, beside running servers: a SQLite file, whatever the state is kept in. A server can be started on it, and arcd restore brings it into an empty database. " +
			"Of a PostgreSQL database with much in it, take base backups and archive its write-ahead log instead (pgBackRest, or what its provider has): they can be restored to any moment.",
		examples: []string{"arcd backup copy.db", "arcd backup --store sqlite:arcd.db copy.db"},
	}
}

// run writes a consistent copy of the store. A server may be running on it.
func (b *backupCommand) run(ctx context.Context, io *console) (any, error) {
	place, err := b.place(io)
	if err != nil {
		return nil, err
	}
	data := backupData{Effect: "created", File: b.File, Store: place.String()}
	if place.file != "" {
		err = sqlite.Backup(ctx, place.file, b.File)
	} else {
		data.Rows, err = backupDatabase(ctx, io, place, b.File)
	}
	if errors.Is(err, store.ErrExists) {
		return nil, outcome.Errorf(outcome.AlreadyExists, "%s exists; a backup never overwrites a file.", b.File)
	}
	if err != nil {
		return nil, b.failed(io, err)
	}
	return data, nil
}

// backupDatabase copies a database, as it is at one moment, to a new file.
func backupDatabase(ctx context.Context, c *console, place keptStore, file string) (rows int64, err error) {
	r, err := place.reader(ctx, false)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	made, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return 0, store.ErrExists
	}
	if err == nil {
		err = made.Close()
	}
	if err != nil {
		return 0, err
	}
	to := keptStore{file: file}
	w, err := to.writer(ctx)
	if err != nil {
		return 0, errors.Join(err, os.Remove(file))
	}
	data, err := transferStore(ctx, c, r, w, place, to, false)
	err = errors.Join(err, w.Close())
	// Nobody has the file open any more, and nobody knew of it before.
	if err = errors.Join(err, removeAll(file+"-lock")); err != nil {
		return 0, errors.Join(err, removeAll(file, file+"-wal", file+"-shm"))
	}
	copied, _ := data.(copiedStore)
	return copied.Rows, nil
}

// removeAll removes files that may not be there.
func removeAll(files ...string) error {
	var errs []error
	for _, file := range files {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func (b backupData) show(p *page) { p.line("wrote %s", b.File) }

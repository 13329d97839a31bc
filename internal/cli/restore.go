package cli

import (
	"context"
	"errors"

	"github.com/arcd-io/arcd/internal/outcome"
	"github.com/arcd-io/arcd/store/transfer"
)

// restoreCommand is "arcd restore".
type restoreCommand struct {
	destroying
	File string     `arg:"" help:"File that arcd backup has written."`
	To   storePlace `required:"" placeholder:"STORE" help:"Where to: sqlite:FILE that is not there, a database that is empty, or env:NAME or file:PATH of what holds its URL."`
}

func (*restoreCommand) row() row {
	return row{
		danger: destructive, exits: storeExits, data: copiedStore{},
		long: "It is arcd store copy from the file: the target is compared with it before a server opens it. Instead of restoring to SQLite, a server can be started on the file itself. " +
			"Readers of streams that had seen more than the backup holds are told of the gap, and read the task instead.",
		examples: []string{"arcd restore copy.db --to postgres://arcd@db.example/arcd", "arcd restore copy.db --to sqlite:arcd.db"},
	}
}

// check finds what is wrong with the place.
func (r *restoreCommand) check(p *problems) { r.To.check(p, "--to") }

// run copies the file into an empty store.
func (r *restoreCommand) run(ctx context.Context, c *console) (any, error) {
	to, err := r.To.resolve(c)
	if err != nil {
		return nil, err
	}
	from := keptStore{file: r.File}
	file, err := from.reader(ctx, true)
	if err != nil {
		return nil, noBackup(r.File, err)
	}
	data, err := copyFrom(ctx, c, file, from, to, r.destroying)
	if errors.Is(err, transfer.ErrDamaged) { // found while it was read
		err = noBackup(r.File, err)
	}
	return data, err
}

// noBackup makes the error of a file that cannot be restored.
func noBackup(file string, err error) error {
	what := ""
	switch {
	case errors.Is(err, transfer.ErrDamaged):
		what = "it is damaged, or not a SQLite database"
	case errors.Is(err, transfer.ErrNoTables):
		what = "it is empty"
	case errors.Is(err, transfer.ErrForeign):
		what = "it is " + transfer.ErrForeign.Error()
	default:
		return storeFailed(err)
	}
	return outcome.Errorf(outcome.Precondition, "%s is no backup of arcd that can be restored: %s.", file, what).Because(err).
		Suggest("Name a file that arcd backup has written; arcd store check --store sqlite:FILE reads all of it.")
}

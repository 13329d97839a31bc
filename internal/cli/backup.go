package cli

import (
	"context"
	"errors"
	"strings"

	"github.com/arcd-io/arcd/internal/outcome"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// backupCommand is "arcd backup". It does not open the store as a server does,
// so it needs no lock and works beside a running one.
type backupCommand struct {
	configFlags
	File  string `arg:"" help:"New file to write to."`
	Store string `placeholder:"sqlite:FILE" help:"What to copy. Default: as configured."`
}

// backupData is the result of "backup".
type backupData struct {
	Effect string `json:"effect"`
	File   string `json:"file"`
}

func (*backupCommand) row() row {
	return row{
		danger: mutating, exits: []outcome.Exit{outcome.ExitConflict}, data: backupData{},
		examples: []string{"arcd backup copy.db", "arcd backup --store sqlite:arcd.db copy.db"},
	}
}

// run writes a consistent copy of the store. A server may be running on it.
func (b *backupCommand) run(ctx context.Context, io *console) (any, error) {
	flags := map[string]string{}
	if b.Store != "" {
		flags["store"] = b.Store
	}
	l, err := loadConfig(b.Config, io.env, flags)
	if err != nil {
		return nil, err
	}
	if err := l.check(); err != nil {
		return nil, err
	}
	err = sqlite.Backup(ctx, strings.TrimPrefix(l.Store, "sqlite:"), b.File)
	if errors.Is(err, store.ErrExists) {
		return nil, outcome.Errorf(outcome.AlreadyExists, "%s exists; a backup never overwrites a file.", b.File)
	}
	if err != nil {
		return nil, err
	}
	return backupData{"created", b.File}, nil
}

func (b backupData) show(p *page) { p.line("wrote %s", b.File) }

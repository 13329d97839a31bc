package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

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

// Run writes a consistent copy of the store. A server may be running on it.
func (b *backupCommand) Run(ctx context.Context, io *console) error {
	flags := map[string]string{}
	if b.Store != "" {
		flags["store"] = b.Store
	}
	l, err := loadConfig(b.Config, io.env, flags)
	if err != nil {
		return err
	}
	if err := l.check(); err != nil {
		return err
	}
	err = sqlite.Backup(ctx, strings.TrimPrefix(l.Store, "sqlite:"), b.File)
	if errors.Is(err, store.ErrExists) {
		return fmt.Errorf("%s exists; a backup never overwrites a file", b.File)
	}
	if err != nil {
		return err
	}
	return io.print("wrote "+b.File, map[string]any{"file": b.File})
}

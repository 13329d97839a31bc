package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/outcome"
)

// keysCommand groups the commands about signing keys.
type keysCommand struct {
	Rotate keysRotate `cmd:"" help:"Sign with a new key from now on; the old one stays valid for its tokens."`
}

// keysRotate is "arcd keys rotate".
type keysRotate struct {
	configFlags
	KeyFile string `placeholder:"FILE" help:"Key file. Default: auth.issuer.key_file, or the keys in the store if that is PostgreSQL and no file is set."`
}

// rotatedKeys is the result of "keys rotate".
type rotatedKeys struct {
	Effect  string  `json:"effect"`
	KeyFile *string `json:"key_file"` // null: the keys are in the store
	Rotated bool    `json:"rotated"`
}

func (*keysRotate) row() row {
	return row{danger: mutating, exits: storeExits, data: rotatedKeys{}, examples: []string{"arcd keys rotate --config arcd.yaml"}}
}

// run adds a signing key. Running servers notice it by themselves.
func (k *keysRotate) run(ctx context.Context, io *console) (any, error) {
	l, err := k.load(io)
	if err != nil {
		return nil, err
	}
	if k.KeyFile == "" && l.sharedKeys() {
		return rotateShared(ctx, l)
	}
	file := l.Auth.Issuer.KeyFile
	if k.KeyFile != "" {
		file = k.KeyFile
	}
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return nil, outcome.Errorf(outcome.FileNotFound, "There is no key file %s.", file).Because(err).
			Suggest("Give the server's configuration with --config, or its key file with --key-file; a server makes the file at its first start.")
	}
	if err := auth.RotateKeys(file); err != nil {
		return nil, fmt.Errorf("rotating the keys in %s: %w", file, err)
	}
	return rotatedKeys{"updated", &file, true}, nil
}

// rotateShared adds a signing key to those in the store.
func rotateShared(ctx context.Context, l *loaded) (any, error) {
	err := l.withKeys(ctx, func(keys auth.Keys, now func() time.Time) error { return auth.RotateSharedKeys(ctx, keys, now) })
	if err != nil {
		return nil, fmt.Errorf("rotating the keys in the store: %w", err)
	}
	return rotatedKeys{"updated", nil, true}, nil
}

func (k rotatedKeys) show(p *page) {
	if k.KeyFile == nil {
		p.line("new tokens are signed with a new key in the store, in three seconds, on all servers")
		return
	}
	p.line("new tokens are signed with a new key of %s", *k.KeyFile)
}

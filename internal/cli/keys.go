package cli

import (
	"context"
	"fmt"

	"github.com/arcd-io/arcd/auth"
)

// keysCommand groups the commands about signing keys.
type keysCommand struct {
	Rotate keysRotate `cmd:"" help:"Sign with a new key from now on; the old one stays valid for its tokens."`
}

// keysRotate is "arcd keys rotate".
type keysRotate struct {
	configFlags
	KeyFile string `placeholder:"FILE" help:"Key file. Default: auth.issuer.key_file."`
}

// rotatedKeys is the result of "keys rotate".
type rotatedKeys struct {
	Effect  string `json:"effect"`
	KeyFile string `json:"key_file"`
	Rotated bool   `json:"rotated"`
}

func (*keysRotate) row() row {
	return row{danger: mutating, data: rotatedKeys{}, examples: []string{"arcd keys rotate --config arcd.yaml"}}
}

// run adds a signing key. A running server notices it by itself.
func (k *keysRotate) run(_ context.Context, io *console) (any, error) {
	l, err := k.load(io)
	if err != nil {
		return nil, err
	}
	file := l.Auth.Issuer.KeyFile
	if k.KeyFile != "" {
		file = k.KeyFile
	}
	io.noteNewFile(file)
	if err := auth.RotateKeys(file); err != nil {
		return nil, fmt.Errorf("rotating the keys in %s: %w", file, err)
	}
	return rotatedKeys{"updated", file, true}, nil
}

func (k rotatedKeys) show(p *page) { p.line("new tokens are signed with a new key of %s", k.KeyFile) }

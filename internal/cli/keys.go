package cli

import (
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

// Run adds a signing key. A running server notices it by itself.
func (k *keysRotate) Run(io *console) error {
	l, err := k.load(io)
	if err != nil {
		return err
	}
	file := l.Auth.Issuer.KeyFile
	if k.KeyFile != "" {
		file = k.KeyFile
	}
	io.noteNewFile(file)
	if err := auth.RotateKeys(file); err != nil {
		return fmt.Errorf("rotating the keys in %s: %w", file, err)
	}
	return io.print("new tokens are signed with a new key of "+file, map[string]any{"key_file": file, "rotated": true})
}

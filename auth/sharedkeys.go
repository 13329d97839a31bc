package auth

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// RotateSharedKeys is [RotateKeys] for keys that several processes share. The new key
// signs three seconds later, when all of them know it. now is the time by the
// clock that they share.
func RotateSharedKeys(ctx context.Context, keys Keys, now func() time.Time) error {
	k := &sharedKeys{store: keys, now: now}
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := k.change(func(f *keyFile) error { return f.rotate(now(), keyLead) }); err != nil {
		return fmt.Errorf("rotating keys: %w", err)
	}
	return nil
}

// KeysToFile writes keys that several processes shared to a key file, for an issuer that
// moves back to one process. It does nothing if the file is there, or keys has none.
// made tells whether it wrote.
func KeysToFile(ctx context.Context, keys Keys, file string) (made bool, err error) {
	if _, _, err := loadKeyFile(file); !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	k := &sharedKeys{store: keys}
	f, version, err := k.load(ctx)
	if err != nil || version == 0 {
		return false, err
	}
	err = withLock(file, func() error {
		_, _, err := loadKeyFile(file)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		err = writePrivateJSON(file, f)
		made = err == nil
		return err
	})
	if err != nil {
		return false, fmt.Errorf("writing the signing keys to %s: %w", file, err)
	}
	return made, nil
}

package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/gofrs/flock"

	"github.com/arcd-io/arcd/internal/wholefile"
)

// Limits of the files and locks.
const (
	maxFile         = 1 << 20               // bytes of a file of ours
	defaultLockWait = 20 * time.Second      // for another process
	lockPoll        = 10 * time.Millisecond // between two tries
	lockRetryAfter  = time.Second           // what a LockedError suggests
)

// readFile reads a file of ours as it is. private: it must not be open to other
// users, because a secret that leaked once stays leaked. A file that is not there
// is no content and no error.
func readFile(path string, private bool) ([]byte, error) {
	// First, since opening a pipe waits for its writer. Where a folder on the way is
	// none (HOME=/dev/null), nothing is there either.
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, damaged(path, errors.New("it is not a regular file"))
	}
	// Windows has no such bits; the rights there are those of the folder.
	if open := info.Mode().Perm() & 0o077; private && open != 0 && runtime.GOOS != "windows" {
		return nil, &classed{class: ErrExposed, text: fmt.Sprintf(
			"other users may read or change %s (mode %04o): run chmod 600 on it, and log in again if they may have done so", path, info.Mode().Perm())}
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	content, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(content) > maxFile {
		err = damaged(path, fmt.Errorf("it is larger than %d bytes", maxFile))
	}
	return content, err
}

// parse reads a file's content into v. Names that v does not know are an error:
// a file of a newer version must not lose them by being written again.
func parse(path string, content []byte, v any) error {
	if content == nil {
		return nil
	}
	if err := jsonv2.Unmarshal(content, v, jsonv2.RejectUnknownMembers(true)); err != nil {
		return damaged(path, withoutValues(err))
	}
	return nil
}

// withoutValues gives where a JSON text is wrong, without quoting what is there:
// it may be a secret.
func withoutValues(err error) error {
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		if errors.Is(e.Err, jsonv2.ErrUnknownName) {
			return fmt.Errorf("the member %q is not known", e.JSONPointer)
		}
		return fmt.Errorf("the value at %q cannot be used", e.JSONPointer)
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return fmt.Errorf("it is no JSON from byte %d on", e.ByteOffset)
	}
	return errors.New("it is no JSON")
}

// damaged reports a file that cannot be used, with the cure.
func damaged(path string, cause error) error {
	return &classed{class: ErrDamaged, cause: cause, text: fmt.Sprintf(
		"%s cannot be used: %s; correct it, or move it away and set it up again", path, cause)}
}

// writeFile puts v in the place of the file. The lock of the file is held.
func writeFile(path string, v any) error {
	content, err := jsonv2.Marshal(v, jsontext.WithIndent("  "), jsonv2.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	if len(content) >= maxFile {
		return invalidf("%s would be larger than %d bytes", path, maxFile)
	}
	err = wholefile.Write(path, append(content, '\n'))
	if failed, ok := errors.AsType[*fs.PathError](err); ok && failed.Op == "open" {
		return unwritable(filepath.Dir(path), err)
	}
	return err
}

// makeFolder makes a folder that only its owner can use. One that others may
// write into is refused: they could put files of theirs in the place of ours.
func makeFolder(folder string) error {
	if folder == "" {
		return &classed{class: ErrNoFolder, text: ErrNoFolder.Error() + ": set HOME, or " + EnvConfigDir + " and " + EnvStateDir}
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return unwritable(folder, err)
	}
	info, err := os.Stat(folder)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o022 != 0 && runtime.GOOS != "windows" {
		return &classed{class: ErrExposed, text: fmt.Sprintf("other users may write into %s (mode %04o): run chmod 700 on it", folder, info.Mode().Perm())}
	}
	return nil
}

// unwritable reports a folder in which nothing can be kept.
func unwritable(folder string, cause error) error {
	return &classed{class: ErrNoFolder, cause: cause, text: fmt.Sprintf(
		"nothing can be kept in %s: %v; set HOME, or %s and %s, to folders of yours", folder, cause, EnvConfigDir, EnvStateDir)}
}

// locked runs change while no other process and no other goroutine holds the lock
// file at path. The kernel releases it when a process ends, however it ends. The
// file stays: if it went, two processes could hold two files of one name. wait
// bounds the waiting, 0 is the default; after it the error is a [*LockedError].
func locked(ctx context.Context, path string, wait time.Duration, change func() error) (err error) {
	if err := makeFolder(filepath.Dir(path)); err != nil {
		return err
	}
	if wait <= 0 {
		wait = defaultLockWait
	}
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	l := flock.New(path)
	if _, err := l.TryLockContext(waiting, lockPoll); err != nil {
		if ctx.Err() == nil && waiting.Err() != nil {
			return &LockedError{Path: path, RetryAfter: lockRetryAfter}
		}
		return unwritable(filepath.Dir(path), err)
	}
	defer func() { err = errors.Join(err, l.Unlock()) }()
	return change()
}

package auth

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/internal/wholefile"
)

// maxPrivateFile bounds what is read of a key or client file, in bytes.
const maxPrivateFile = 8 << 20

// readPrivate reads a file that holds secrets, together with the facts by which
// a later change is noticed. It refuses what other users of the machine may read
// or write, because a key that leaked once stays leaked.
func readPrivate(path string) (content []byte, seen fs.FileInfo, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	// The facts are taken before the content: whoever writes in between makes
	// the next look differ, so half a change is read again.
	if seen, err = f.Stat(); err != nil {
		return nil, nil, err
	}
	if !seen.Mode().IsRegular() {
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	// Windows has no such bits; the rights there are those of the folder.
	if open := seen.Mode().Perm() & 0o077; open != 0 && runtime.GOOS != "windows" {
		return nil, nil, fmt.Errorf("%s may be read or changed by other users (mode %04o): run chmod 600 on it", path, seen.Mode().Perm())
	}
	content, err = io.ReadAll(io.LimitReader(f, maxPrivateFile+1))
	if err != nil {
		return nil, nil, err
	}
	if len(content) > maxPrivateFile {
		return nil, nil, fmt.Errorf("%s is larger than %d bytes", path, maxPrivateFile)
	}
	return content, seen, nil
}

// readPrivateJSON reads a file that holds secrets into v. A name that v does not
// know is an error: a misspelt "scope" must not quietly mean no scopes.
func readPrivateJSON(path string, v any) (fs.FileInfo, error) {
	content, seen, err := readPrivate(path)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(content, v, json.RejectUnknownMembers(true)); err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return seen, nil
}

// writePrivateJSON puts v in the place of the file, whole or not at all, with
// mode 0600. The caller holds the lock of the file.
func writePrivateJSON(path string, v any) error {
	content, err := json.Marshal(v, jsontext.WithIndent("  "), json.Deterministic(true))
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	return wholefile.Write(path, append(content, '\n'))
}

// withLock runs change while no other process and no other goroutine changes the
// file. The lock is a file of its own, because the file itself is replaced.
func withLock(path string, change func() error) error {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	unlock, err := lockFile(path + ".lock")
	if err != nil {
		return fmt.Errorf("locking %s: %w", path, err)
	}
	return errors.Join(change(), unlock())
}

// A watchedFile is the parsed content of a file that another process may replace
// at any time. It has no goroutine: it looks when it is asked.
type watchedFile[T any] struct {
	path string
	// read parses the file. Its error leaves the last good content in force.
	read func(path string) (T, fs.FileInfo, error)
	// missing tells what a file that is not there means; nil: an error.
	missing func() T
	now     func() time.Time
	log     zerolog.Logger

	// mu guards the rest.
	mu      sync.Mutex
	content T
	seen    fs.FileInfo // facts of the file behind content; nil: it was missing
	looked  time.Time   // when the file was last looked at
	failed  string      // the last error, so that it is logged once
	refused fs.FileInfo // facts of the file that caused it
	tried   time.Time   // when that file was last read
}

// lookEvery is how long a look at a watched file counts.
const lookEvery = time.Second

// open reads the file for the first time.
func (w *watchedFile[T]) open() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.looked = w.now()
	return w.loadLocked()
}

// get gives the content. It looks at the file at most once a second, or at once
// if fresh is set: then a change made before the call is certainly seen.
func (w *watchedFile[T]) get(fresh bool) T {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	if since := now.Sub(w.looked); !fresh && since >= 0 && since < lookEvery {
		return w.content
	}
	w.looked = now
	info, changed := w.changedLocked()
	if !changed || w.refusedLocked(info, now) {
		return w.content
	}
	if err := w.loadLocked(); err != nil {
		w.refused, w.tried = info, now
		if w.failed != err.Error() {
			w.log.Error().Err(err).Str("event", "file_refused").Str("file", w.path).
				Msg("the last good content stays in force")
		}
		w.failed = err.Error()
		return w.content
	}
	w.failed, w.refused = "", nil
	w.log.Info().Str("event", "file_reloaded").Str("file", w.path).Send()
	return w.content
}

// changedLocked tells whether the file is another one than the last that was
// read, and its facts, nil if it cannot be looked at. Every change of ours is a
// rename, so file, time and size tell it.
func (w *watchedFile[T]) changedLocked() (info fs.FileInfo, changed bool) {
	info, err := os.Stat(w.path)
	if err != nil {
		return nil, w.seen != nil || !errors.Is(err, fs.ErrNotExist)
	}
	return info, w.seen == nil || !sameFacts(info, w.seen)
}

// refusedLocked tells whether this file has just been refused: it is not read
// again on every call, but now and then, for the trouble may have been elsewhere.
func (w *watchedFile[T]) refusedLocked(info fs.FileInfo, now time.Time) bool {
	since := now.Sub(w.tried)
	return info != nil && w.refused != nil && sameFacts(info, w.refused) && since >= 0 && since < lookEvery
}

// sameFacts compares two looks at a file.
func sameFacts(a, b fs.FileInfo) bool {
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode()
}

func (w *watchedFile[T]) loadLocked() error {
	content, seen, err := w.read(w.path)
	if errors.Is(err, fs.ErrNotExist) && w.missing != nil {
		content, seen, err = w.missing(), nil, nil
	}
	if err != nil {
		return err
	}
	w.content, w.seen = content, seen
	return nil
}

// Package sqlite is the engine of package store that needs no setup: one file,
// SQLite in this process (modernc.org/sqlite, no cgo). It keeps both contracts,
// [store.Store] and [store.Registry].
//
// How it works, from the write side: one goroutine, the writer, owns the one
// connection that writes. It takes all changes that wait, makes them in one
// transaction, flushes the write-ahead log once (synchronous=FULL), and only
// then lets their callers go on. So under load many changes share one flush,
// and none is acknowledged before it is on disk. If the disk fails, the writer
// stops for good: nothing after that is acknowledged.
//
// From the read side: a few connections read in parallel with the writer, and
// recent threads with their items and last events are kept in memory. The
// process holds a lock on the file, so that what is in memory cannot be
// overtaken by another process.
package sqlite

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
	"github.com/arcd-io/arcd/store/transfer"
	"github.com/rs/zerolog"
	sqlite3 "modernc.org/sqlite/lib"
)

// Config says how to open a database. File is needed, the rest has defaults.
type Config struct {
	// File is the path of the database. It is made if it is not there, with mode
	// 0600; its folder must exist. SQLite puts File-wal and File-shm beside it,
	// this package File-lock.
	File string
	// Now tells the time, for the expiry of idempotency keys. nil: time.Now.
	Now func() time.Time
	// Log takes what nobody asked for: a disk that failed. The zero Logger
	// writes nothing.
	Log zerolog.Logger
	// CacheBytes is how much memory recent threads may take. 0: 64 MiB.
	CacheBytes int
}

// errInUse is the answer to a second process.
var errInUse error = inUseError{}

// inUseError is [transfer.ErrInUse], in the words for who wants to serve.
type inUseError struct{}

func (inUseError) Error() string {
	return "another process has this database open: stop it, or give this one a file of its own"
}

func (inUseError) Is(target error) bool { return target == transfer.ErrInUse }

var (
	_ store.Store    = (*Engine)(nil)
	_ store.Registry = (*Engine)(nil)
)

const defaultCacheBytes = 64 << 20

// Settings of the connections. The write-ahead log is copied into the database
// when it has 4,000 pages (16 MB): a page that many transactions changed is then
// copied once. A copy being read (a backup) keeps the log growing; it is cut to
// 64 MiB afterwards. The writer's page cache is small because SQLite walks
// through all of it in many commits (pcache1Truncate, after a balance).
var (
	writePragmas = []string{
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(OFF)",
		"wal_autocheckpoint(4000)", "journal_size_limit(67108864)", "cache_size(-8000)", "temp_store(MEMORY)",
	}
	readPragmas = []string{"busy_timeout(10000)", "query_only(1)", "cache_size(-8000)", "temp_store(MEMORY)"}
)

// Engine is an open database. It implements [store.Store] and
// [store.Registry]; Open makes it.
type Engine struct {
	file    string
	unlock  func() error
	gate    engine.Gate
	w       *writer
	cache   *engine.Cache
	readers chan *conn
	watch   engine.Watchers
}

// Open opens a database, brings its tables up to date and starts the writer,
// which Close ends. ctx bounds the opening only.
//
// It refuses a file that another process has open, that lies on a network file
// system, that is damaged, that belongs to another program, or whose tables are
// newer than this package. Errors: [transfer.ErrInUse], [transfer.ErrDamaged],
// [transfer.ErrForeign], [transfer.ErrNewer], [transfer.ErrUnfinished].
func Open(ctx context.Context, cfg Config) (*Engine, error) {
	s, err := open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("opening database %s: %w", cfg.File, explain(err))
	}
	return s, nil
}

func open(ctx context.Context, cfg Config) (_ *Engine, err error) {
	file, err := place(cfg.File)
	if err != nil {
		return nil, err
	}
	unlock, err := lockFile(file + "-lock")
	if err != nil {
		return nil, err
	}
	s := &Engine{file: file, unlock: unlock, readers: make(chan *conn, 2*runtime.GOMAXPROCS(0))}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.release())
		}
	}()
	if err := create(file); err != nil {
		return nil, err
	}
	if err := migrate(ctx, dsn(file, writePragmas)); err != nil {
		return nil, err
	}
	if cfg.CacheBytes == 0 {
		cfg.CacheBytes = defaultCacheBytes
	}
	s.cache = engine.NewCache(cfg.CacheBytes)
	if s.w, err = s.startWriter(cfg); err != nil {
		return nil, err
	}
	for range cap(s.readers) {
		c, err := dial(dsn(file, readPragmas))
		if err != nil {
			return nil, err
		}
		s.readers <- c
	}
	return s, nil
}

// place gives the absolute path of a file without links, so that one database
// has one lock. The file need not be there.
func place(file string) (string, error) {
	if file == "" {
		return "", errors.New("no file named")
	}
	if err := checkFileSystem(filepath.Dir(file)); err != nil {
		return "", err
	}
	abs, err := filepath.Abs(file)
	if err != nil {
		return "", err
	}
	if real, err := filepath.EvalSymlinks(abs); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	return filepath.Join(dir, filepath.Base(abs)), err
}

// create makes the file if it is not there; SQLite gives the files beside it
// the same mode. One that is there is left alone: to open and close it here
// would drop the locks that SQLite in this process may have on it (POSIX).
func create(file string) error {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, os.ErrExist) {
		return err
	}
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	return err
}

// dsn gives the driver's name for a file with settings.
func dsn(file string, pragmas []string) string {
	u := url.URL{Scheme: "file", Path: filepath.ToSlash(file), RawQuery: url.Values{"_pragma": pragmas}.Encode()}
	return u.String()
}

// migrate brings the tables up to date on a connection of its own.
func migrate(ctx context.Context, dsn string) (err error) {
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return err
	}
	db.SetMaxOpenConns(1)
	defer func() { err = errors.Join(err, db.Close()) }()
	return upgrade(ctx, db)
}

func (s *Engine) startWriter(cfg Config) (*writer, error) {
	c, err := dial(dsn(s.file, writePragmas))
	if err != nil {
		return nil, err
	}
	w := &writer{conn: c, cache: s.cache, gate: &s.gate, now: cfg.Now, log: cfg.Log, queue: make(chan job, queueLength)}
	if w.now == nil {
		w.now = time.Now
	}
	err = w.conn.query(`SELECT coalesce(max(n), 0) + 1 FROM thread`, nil, func(row []driver.Value) error {
		w.nextN, _ = row[0].(int64)
		return nil
	})
	if err == nil {
		err = checkSettings(w.conn)
	}
	if err == nil {
		err = unfinished(w.conn)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	w.done.Go(w.run)
	return w, nil
}

// Close implements [store.Store]. It waits for the changes that are queued and
// the reads that run.
func (s *Engine) Close() error {
	if !s.gate.Shut() {
		return store.ErrClosed
	}
	return s.release()
}

// release gives everything back. The lock goes last.
func (s *Engine) release() error {
	var errs []error
	for len(s.readers) > 0 {
		c := <-s.readers
		errs = append(errs, c.close())
	}
	if s.w != nil { // after the readers: the last connection tidies File-wal away
		errs = append(errs, s.w.close())
	}
	return errors.Join(append(errs, s.unlock())...)
}

// explain puts SQLite's codes into words that say what to do.
func explain(err error) error {
	if errors.Is(err, transfer.ErrDamaged) {
		return err
	}
	switch code(err) {
	case sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT:
		return fmt.Errorf("%w: %w", transfer.ErrDamaged, err)
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED:
		return fmt.Errorf("another program has the file open: %w", err)
	}
	return err
}

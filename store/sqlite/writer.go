package sqlite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/rs/zerolog"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

const (
	// maxBatch is the most jobs that share a transaction.
	maxBatch = 256
	// queueLength is how many jobs may wait; those beyond wait in their caller.
	queueLength = 1024
)

// job is a piece of work for the writer.
type job interface {
	// apply reads and writes within the transaction. What is wrong with the job
	// alone (a conflict, say) it keeps, having written nothing; what it returns
	// undoes the transaction. It may be called again after that.
	apply(b *batch) error
	// finish tells the waiting caller, after the transaction is on disk (nil) or
	// undone. It is called once.
	finish(err error)
}

// writer owns the one connection that writes. It puts all jobs that wait into
// one transaction, so that they share the flush (group commit). There is no
// artificial wait: the batch is what came in while the one before was written.
type writer struct {
	conn  *conn
	cache *engine.Cache
	now   func() time.Time
	log   zerolog.Logger
	nextN int64
	queue chan job
	done  sync.WaitGroup

	gate *engine.Gate
}

// do hands a job over. An error means that it will not be done; otherwise its
// finish is called.
func (w *writer) do(ctx context.Context, j job) error {
	if err := w.gate.Enter(); err != nil {
		return err
	}
	defer w.gate.Leave()
	select {
	case w.queue <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close does what is queued and ends the writer. Nobody may be in the gate.
func (w *writer) close() error {
	close(w.queue)
	w.done.Wait()
	return w.conn.close()
}

// run works until the queue is closed and empty.
func (w *writer) run() {
	jobs := make([]job, 0, maxBatch)
	for first := range w.queue {
		jobs = w.collect(append(jobs[:0], first), len(jobs))
		w.work(jobs)
		clear(jobs)
	}
}

// collect takes what else is queued. The callers that the last batch woke up
// have had no processor yet to come back with their next change; so while the
// batch is smaller than the last one, it lets them run first. That is a yield,
// not a wait: with nothing else to run it returns at once.
func (w *writer) collect(jobs []job, last int) []job {
	for yields := 0; ; {
		select {
		case j, ok := <-w.queue:
			if !ok {
				return jobs
			}
			if jobs = append(jobs, j); len(jobs) == maxBatch {
				return jobs
			}
		default:
			if len(jobs) >= last || yields == 2 {
				return jobs
			}
			yields++
			runtime.Gosched()
		}
	}
}

// work does the jobs in one transaction. If one of them breaks it, each is done
// alone, so that it takes no other down.
func (w *writer) work(jobs []job) {
	err := w.transact(jobs)
	if err != nil && len(jobs) > 1 && w.gate.Broken() == nil {
		for i := range jobs {
			w.work(jobs[i : i+1])
		}
		return
	}
	for _, j := range jobs {
		j.finish(err)
	}
}

// transact does the jobs and commits.
func (w *writer) transact(jobs []job) error {
	if err := w.gate.Broken(); err != nil {
		return err
	}
	b := &batch{conn: w.conn, cache: w.cache, now: w.now(), nextN: w.nextN}
	if _, err := w.conn.exec("BEGIN IMMEDIATE"); err != nil {
		return w.failed("beginning a transaction", err)
	}
	for _, j := range jobs {
		if err := j.apply(b); err != nil {
			return w.undo(err)
		}
	}
	if _, err := w.conn.exec("COMMIT"); err != nil {
		return w.undo(err)
	}
	w.nextN = b.nextN
	w.cache.Settle(b.fresh)
	return nil
}

// undo rolls back. SQLite may have done that itself already, so that the
// rollback finds no transaction; only an unknown end is fatal.
func (w *writer) undo(cause error) error {
	err := w.failed("writing", cause)
	if _, rerr := w.conn.exec("ROLLBACK"); rerr != nil && code(rerr) != sqlite3.SQLITE_ERROR {
		return w.failed("rolling back", rerr)
	}
	return err
}

// failed decides whether an error ends the writer. A full disk does not: SQLite
// has undone the transaction and can go on once there is room. After any
// other failure of the disk it is not known what a later flush would prove.
func (w *writer) failed(what string, cause error) error {
	err := fmt.Errorf("%s: %w", what, cause)
	switch code(cause) {
	case sqlite3.SQLITE_FULL:
		err = fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	case sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_READONLY,
		sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PROTOCOL:
		err = fmt.Errorf("the store has stopped, restart after looking at its disk: %w", err)
		if w.gate.Fatal.CompareAndSwap(nil, &err) {
			w.log.Error().Err(err).Msg("store stopped")
		}
	}
	return err
}

// coded is an error of SQLite.
type coded interface {
	error
	Code() int
}

// code gives SQLite's primary result code; 0 if err is none of SQLite's.
func code(err error) int {
	if e, ok := errors.AsType[coded](err); ok {
		return e.Code() & 0xff
	}
	return 0
}

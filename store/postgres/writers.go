package postgres

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/arcd-io/arcd/store"
)

const (
	// writerCount is how many batches are on their way at most: while one waits for the
	// server's disk, another is made.
	writerCount = 2
	// worthwhile is how many changes a batch has that is sent while another is on its
	// way: a transaction costs the server as much as some eight changes in it.
	worthwhile = 16
	// slow is after what time a smaller batch does not wait for the one before any longer:
	// that may have met a connection that does not answer.
	slow = 20 * time.Millisecond
	// maxBatch is the most changes in one transaction.
	maxBatch = 128
	// maxBatchBytes is how much they may hold before one more is left for the next: a
	// message to the server ends at a gigabyte, and memory long before.
	maxBatchBytes = 8 << 20
	// linger is how long a batch waits at most, and not longer than half of what the last
	// one took, to become as large as those before. It does so where other replicas use
	// the server meanwhile; alone it would leave the server idle.
	linger = time.Millisecond
	// queueLength is how many changes may wait; those beyond wait in their caller.
	queueLength = 1024
)

// writers put the changes that wait into one transaction each (group commit), which
// goes to the server and back in one round trip. A batch is what came in while those
// before were written.
type writers struct {
	s     *Engine
	queue chan *commitJob
	done  sync.WaitGroup
}

func (s *Engine) startWriters() *writers {
	w := &writers{s: s, queue: make(chan *commitJob, queueLength)}
	w.done.Go(w.run)
	return w
}

// do hands a job over. An error means that it will not be done; otherwise its outcome
// is told.
func (w *writers) do(ctx context.Context, j *commitJob) error {
	if err := w.s.gate.Enter(); err != nil {
		return err
	}
	defer w.s.gate.Leave()
	select {
	case w.queue <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close does what is queued. Nobody may be in the gate.
func (w *writers) close() {
	close(w.queue)
	w.done.Wait()
}

// run makes batches until the queue is closed and empty.
func (w *writers) run() {
	var busy, usual int    // batches on their way; changes in those before
	var took time.Duration // by the last one that arrived
	arrived := make(chan time.Duration, writerCount)
	for first := range w.queue {
		b := batch{jobs: []*commitJob{first}, bytes: first.size()}
		expected, enough := 0, worthwhile
		if w.s.present.others.Load() {
			expected = usual
		}
		var lingered, stuck <-chan time.Time
		for {
			w.collect(&b, usual)
			n, full := len(b.jobs), b.full()
			free := busy == 0 || busy < writerCount && (n >= enough || full)
			switch {
			case !free && stuck == nil:
				stuck = time.After(slow)
			case free && n < expected && !full && lingered == nil:
				lingered = time.After(min(linger, took/2))
			}
			if free && (n >= expected || full) {
				break
			}
			queue := w.queue
			if full {
				queue = nil
			}
			select {
			case j, open := <-queue:
				b.add(j, open)
			case took = <-arrived:
				busy--
			case <-lingered:
				expected = 0
			case <-stuck:
				enough = 0
			}
		}
		usual = max(len(b.jobs), usual*7/8)
		busy++
		w.done.Go(func() {
			begin := time.Now()
			w.work(b.jobs)
			arrived <- time.Since(begin)
		})
	}
}

// batch is what becomes one transaction.
type batch struct {
	jobs   []*commitJob
	bytes  int
	closed bool // nothing more will come
}

// add takes what came from the queue.
func (b *batch) add(j *commitJob, open bool) {
	if b.closed = !open; open {
		b.jobs, b.bytes = append(b.jobs, j), b.bytes+j.size()
	}
}

// full tells whether nothing more is added.
func (b *batch) full() bool {
	return len(b.jobs) >= maxBatch || b.bytes >= maxBatchBytes || b.closed
}

// collect takes what else is queued. The callers that the last batch woke up have had
// no processor yet to come back with their next change: while the batch is smaller
// than usual it lets them run first.
func (w *writers) collect(b *batch, usual int) {
	for yields := 0; !b.full(); {
		select {
		case j, open := <-w.queue:
			b.add(j, open)
		default:
			if len(b.jobs) >= usual || yields == 2 {
				return
			}
			yields++
			runtime.Gosched()
		}
	}
}

// work makes the changes and tells their callers. Of several of one thread, or with one
// key, the first goes first, and the others find it.
func (w *writers) work(jobs []*commitJob) {
	for len(jobs) > 0 {
		now, later := split(jobs)
		w.together(now)
		jobs = later
	}
}

// split leaves the jobs for later whose thread or key another one has.
func split(jobs []*commitJob) (now, later []*commitJob) {
	if len(jobs) == 1 {
		return jobs, nil
	}
	type name struct{ owner, name string }
	taken := make(map[name]bool, 2*len(jobs))
	for _, j := range jobs {
		thread, key := name{"", j.thread.ID}, name{}
		if j.key != nil {
			key = name{j.key.Owner, j.key.Name}
		}
		if taken[thread] || j.key != nil && taken[key] {
			later = append(later, j)
			continue
		}
		taken[thread] = true
		taken[key] = taken[key] || j.key != nil
		now = append(now, j)
	}
	return now, later
}

// together makes changes in one transaction. If one of them breaks it, each is made
// alone, so that it takes no other down.
func (w *writers) together(jobs []*commitJob) {
	ctx, cancel := context.WithTimeout(w.s.ending, 3*patience)
	defer cancel()
	how := quick
	err := w.s.again(ctx, "writing threads", func() error {
		attempt, cancel := context.WithTimeout(ctx, attemptTime)
		defer cancel()
		err := w.s.pool.AcquireFunc(attempt, func(c *pgxpool.Conn) error { return w.s.apply(attempt, c, jobs, how) })
		if err != nil {
			how = careful
		}
		switch kind := passing(err); {
		case err == nil:
		case kind == connection:
			for _, j := range jobs {
				j.unsure = true
			}
		case idInUse(err):
			err = errAgain
		}
		return err
	})
	if err != nil && len(jobs) > 1 && !errors.Is(err, store.ErrUnavailable) {
		for i := range jobs {
			w.together(jobs[i : i+1])
		}
		return
	}
	for _, j := range jobs {
		failed := err
		if failed == nil && j.refused != nil {
			failed = w.s.again(ctx, "reading what was written", func() error {
				attempt, cancel := context.WithTimeout(ctx, attemptTime)
				defer cancel()
				return w.s.resolve(attempt, w.s.pool, j)
			})
			if failed != nil && ctx.Err() != nil { // the look at the jobs before it took all the time
				failed = fmt.Errorf("%w: %w", store.ErrUnavailable, failed)
			}
		}
		if failed == nil {
			failed = j.refused
		}
		j.outcome <- failed
	}
}

// idInUse tells the error of insertThreads and insertKeys.
func idInUse(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return ok && e.Code == "23505" // unique violation
}

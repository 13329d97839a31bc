package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/arcd-io/arcd/store"
)

// takeNumber is the first statement of every change of agents, marks and revocations:
// it counts the registry's version on. The row stays locked until the change is
// committed, so changes come one after the other, in the order of their numbers.
// What follows finds its number in the row.
const takeNumber = `UPDATE registry_version SET n = n + 1 WHERE id = 1`

// changeJob is a change of the registry on its way.
type changeJob struct {
	what  string
	agent string // whose rows it changes, as in the tables; "": none
	// build queues what is to be done once the number is taken; it is called again for
	// each attempt. No statement can undo what those before it did, so each has to see
	// for itself whether the change is to be made.
	build func(b *pgx.Batch)

	// unsure says that an attempt before the last may have been made: its connection was
	// lost.
	unsure bool
	err    error
	done   bool          // whether there was an attempt
	wake   chan struct{} // once it is done, or is the first of those who wait
}

// changes has one transaction of changes on its way at a time, and those that come
// meanwhile go together in the next: the changes of all replicas wait for one row, and
// those of one replica need not wait for each other's disk.
type changes struct {
	mu      sync.Mutex // guards what follows
	busy    bool
	waiting []*changeJob
}

// maxChangeGroup is the most changes in one transaction.
const maxChangeGroup = 64

// change makes one change of the registry. Once it has begun it is waited for, whatever
// becomes of ctx: its caller could not know whether it was made.
func (s *Engine) change(ctx context.Context, what, agent string, build func(b *pgx.Batch)) (unsure bool, err error) {
	if err := s.gate.Enter(); err != nil {
		return false, err
	}
	defer s.gate.Leave()
	if err := ctx.Err(); err != nil {
		return false, err
	}
	j := &changeJob{what: what, agent: agent, build: build, wake: make(chan struct{}, 1)}
	if first := s.changes.join(j); !first {
		<-j.wake
	}
	if !j.done {
		jobs := s.changes.take()
		s.makeAll(context.WithoutCancel(ctx), jobs)
		s.changes.pass()
		for _, other := range jobs {
			other.done = true
			other.wake <- struct{}{} // its own is for nobody
		}
	}
	return j.unsure, j.err
}

// join puts a job behind those that wait. It is the first if nothing is on its way.
func (c *changes) join(j *changeJob) (first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first, c.busy = !c.busy, true
	c.waiting = append(c.waiting, j)
	return first
}

// take gives those that go together, with the first of those who wait.
func (c *changes) take() []*changeJob {
	c.mu.Lock()
	defer c.mu.Unlock()
	jobs := slices.Clone(c.waiting[:min(len(c.waiting), maxChangeGroup)])
	c.waiting = slices.Delete(c.waiting, 0, len(jobs))
	return jobs
}

// pass has the first of those who came meanwhile go on.
func (c *changes) pass() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.busy = len(c.waiting) > 0; c.busy {
		c.waiting[0].wake <- struct{}{}
	}
}

// makeAll makes changes in one transaction. If one of them breaks it, each is made alone,
// so that it takes no other down.
func (s *Engine) makeAll(ctx context.Context, jobs []*changeJob) {
	ctx, cancel := context.WithTimeout(ctx, 3*patience)
	defer cancel()
	// In the order in which Beat locks the rows of agents.
	ordered := slices.SortedStableFunc(slices.Values(jobs), func(a, b *changeJob) int { return cmp.Compare(a.agent, b.agent) })
	unsure, err := s.send(ctx, jobs[0].what, func(b *pgx.Batch) {
		for _, j := range ordered {
			b.Queue(takeNumber)
			j.build(b)
		}
	})
	if err != nil && len(jobs) > 1 && !errors.Is(err, store.ErrUnavailable) {
		for _, j := range ordered {
			j.unsure = j.unsure || unsure
			s.makeAll(ctx, []*changeJob{j})
		}
		return
	}
	for _, j := range jobs {
		j.unsure, j.err = j.unsure || unsure, err
	}
}

// batch sends what build queues, in one round trip and as one transaction:
// PostgreSQL takes all statements up to the end of a pipeline together. Where that
// fails for a reason that passes it is done again. unsure is as in changeJob.
func (s *Engine) batch(ctx context.Context, what string, build func(b *pgx.Batch)) (unsure bool, err error) {
	if err := s.gate.Enter(); err != nil {
		return false, err
	}
	defer s.gate.Leave()
	return s.send(ctx, what, build)
}

// send is batch for those in the gate.
func (s *Engine) send(ctx context.Context, what string, build func(b *pgx.Batch)) (unsure bool, err error) {
	var last error
	ctx, stop := s.untilEnd(ctx)
	defer stop()
	err = s.again(ctx, what, func() error {
		unsure = unsure || last != nil && passing(last) == connection
		b := &pgx.Batch{}
		build(b)
		attempt, cancel := context.WithTimeout(ctx, attemptTime)
		defer cancel()
		last = s.pool.SendBatch(attempt, b).Close()
		return last
	})
	return unsure, err
}

// changed tells everybody that the registry has changed.
func (s *Engine) changed() { s.tell(store.Hint{Registry: true}) }

// collect queues a query and scans its rows into to, which is emptied first.
func collect[T any](b *pgx.Batch, to *[]T, scan pgx.RowToFunc[T], text string, args ...any) {
	*to = nil
	b.Queue(text, args...).Query(func(rows pgx.Rows) (err error) {
		*to, err = pgx.CollectRows(rows, scan)
		return err
	})
}

// did queues a statement and notes whether it changed a row.
func did(b *pgx.Batch, to *bool, text string, args ...any) {
	*to = false
	b.Queue(text, args...).Exec(func(tag pgconn.CommandTag) error {
		*to = tag.RowsAffected() > 0
		return nil
	})
}

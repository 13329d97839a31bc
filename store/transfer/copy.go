package transfer

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config says how a copy is made.
type Config struct {
	// Source names what is copied, the same each time. Required.
	Source string
	// Discard has the remains of a copy of something else thrown away.
	Discard bool
	// Progress is told now and then how far it is. Nil: nobody is.
	Progress func(Progress)
}

// Progress is how far a copy is.
type Progress struct {
	Phase string // copy or verify
	Table string
	Rows  int64 // of this table so far
	Total int64 // of all tables so far, in this phase
}

// Verified is what is known of one table after a copy.
type Verified struct {
	Table string `json:"table"`
	Rows  int64  `json:"rows"`
	Hash  string `json:"sha256"` // of the rows in the order of the key, in hex

	// The same of the target, where it is not the same.
	TargetRows int64  `json:"-"`
	TargetHash string `json:"-"`
}

// Report is the outcome of a copy.
type Report struct {
	Tables   []Verified
	Rows     int64         // of all tables
	Copying  time.Duration // reading the source and writing the target
	Checking time.Duration // reading the target
}

// Limits of a batch.
const (
	batchRows  = 1000
	batchBytes = 8 << 20
	batches    = 2 // that wait while one is written
)

// Copy copies everything. Errors: those of [Writer].Begin; *[DifferenceError], after
// which the target stays one that no server opens.
func Copy(ctx context.Context, from Reader, to Writer, cfg Config) (Report, error) {
	if cfg.Progress == nil {
		cfg.Progress = func(Progress) {}
	}
	var r Report
	began := time.Now()
	if err := to.Begin(ctx, cfg.Source, cfg.Discard); err != nil {
		return r, err
	}
	for _, t := range tables {
		d, err := copyTable(ctx, from, to, t, func(rows int64) {
			cfg.Progress(Progress{"copy", t.Name, rows, r.Rows + rows})
		})
		if err != nil {
			return r, fmt.Errorf("copying table %s: %w", t.Name, err)
		}
		r.Rows += d.rows
		r.Tables = append(r.Tables, Verified{Table: t.Name, Rows: d.rows, Hash: d.text()})
	}
	r.Copying = time.Since(began)
	began = time.Now()
	if err := r.verify(ctx, to, cfg.Progress); err != nil {
		return r, err
	}
	r.Checking = time.Since(began)
	if err := to.Finish(ctx); err != nil {
		return r, fmt.Errorf("finishing the copy: %w", err)
	}
	return r, nil
}

// copyTable copies one table; reading and writing go on at the same time.
func copyTable(ctx context.Context, from Reader, to Writer, t *Table, step func(rows int64)) (*digest, error) {
	d, queue := newDigest(), make(chan []Row, batches)
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error {
		defer close(queue)
		b := batch{ctx: ctx, queue: queue}
		if err := from.Rows(ctx, t, func(row Row) error {
			d.add(row)
			return b.add(row)
		}); err != nil {
			return err
		}
		return b.flush()
	})
	both.Go(func() error {
		var written int64
		for rows := range queue {
			if err := to.Write(ctx, t, rows); err != nil {
				return fmt.Errorf("rows %s to %s: %w", t.key(rows[0]), t.key(rows[len(rows)-1]), err)
			}
			written += int64(len(rows))
			step(written)
		}
		return nil
	})
	return d, both.Wait()
}

// batch collects rows for the writer.
type batch struct {
	ctx   context.Context
	queue chan<- []Row
	rows  []Row
	bytes int
}

func (b *batch) add(row Row) error {
	b.rows, b.bytes = append(b.rows, row), b.bytes+row.size()
	if len(b.rows) < batchRows && b.bytes < batchBytes {
		return nil
	}
	return b.flush()
}

func (b *batch) flush() error {
	if len(b.rows) == 0 {
		return nil
	}
	select {
	case b.queue <- b.rows:
		b.rows, b.bytes = make([]Row, 0, len(b.rows)), 0
		return nil
	case <-b.ctx.Done():
		return b.ctx.Err()
	}
}

// verify reads the target and compares it with what was read from the source.
func (r *Report) verify(ctx context.Context, to Reader, progress func(Progress)) error {
	var different []Verified
	var total int64
	for i, t := range tables {
		d, err := hashTable(ctx, to, t, func(rows int64) { progress(Progress{"verify", t.Name, rows, total + rows}) })
		if err != nil {
			return fmt.Errorf("reading table %s of the target: %w", t.Name, err)
		}
		total += d.rows
		v := &r.Tables[i]
		if v.TargetRows, v.TargetHash = d.rows, d.text(); v.TargetRows != v.Rows || v.TargetHash != v.Hash {
			different = append(different, *v)
		}
	}
	if different != nil {
		return &DifferenceError{different}
	}
	return nil
}

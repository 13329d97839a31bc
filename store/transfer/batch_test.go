package transfer_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/arcd-io/arcd/store/transfer"
)

// lists is a store in memory. It notes how much came at once.
type lists struct {
	rows           map[string][]transfer.Row
	rowsAt, sizeAt int // the most that came at once
}

func (l *lists) Begin(context.Context, string, bool) error { return nil }
func (l *lists) Finish(context.Context) error              { return nil }
func (l *lists) Close() error                              { return nil }

func (l *lists) Write(_ context.Context, t *transfer.Table, rows []transfer.Row) error {
	size := 0
	for _, row := range rows {
		body, _ := row[len(row)-1].([]byte)
		size += len(body)
	}
	l.rowsAt, l.sizeAt = max(l.rowsAt, len(rows)), max(l.sizeAt, size)
	l.rows[t.Name] = append(l.rows[t.Name], rows...)
	return nil
}

func (l *lists) Rows(_ context.Context, t *transfer.Table, each func(transfer.Row) error) error {
	for _, row := range l.rows[t.Name] {
		if err := each(row); err != nil {
			return err
		}
	}
	return nil
}

// TestBatches: neither many rows nor large ones are held in memory together.
func TestBatches(t *testing.T) {
	for name, test := range map[string]struct {
		rows, bytes    int
		rowsAt, sizeAt int
	}{
		"many":  {rows: 2500, bytes: 10, rowsAt: 1000, sizeAt: 10_000},
		"large": {rows: 40, bytes: 3 << 20, rowsAt: 3, sizeAt: 9 << 20},
		"huge":  {rows: 4, bytes: 16 << 20, rowsAt: 1, sizeAt: 16 << 20},
		"none":  {},
	} {
		from, to := &lists{rows: map[string][]transfer.Row{}}, &lists{rows: map[string][]transfer.Row{}}
		body := make([]byte, test.bytes)
		for n := range test.rows {
			from.rows["mark"] = append(from.rows["mark"], transfer.Row{"k", fmt.Sprintf("%06d", n), nil, body})
		}
		report, err := transfer.Copy(t.Context(), from, to, transfer.Config{Source: name})
		if err != nil || report.Rows != int64(test.rows) || to.rowsAt != test.rowsAt || to.sizeAt != test.sizeAt {
			t.Errorf("%s: %d rows, at most %d rows and %d bytes at once, %v; want %+v", name, report.Rows, to.rowsAt, to.sizeAt, err, test)
		}
	}
}

// TestProgress rises to the number of rows, in both phases.
func TestProgress(t *testing.T) {
	from := &lists{rows: map[string][]transfer.Row{}}
	for n := range 3000 {
		from.rows["idem"] = append(from.rows["idem"], transfer.Row{"o", fmt.Sprintf("%06d", n), "t", nil, nil, nil})
	}
	var told []string
	_, err := transfer.Copy(t.Context(), from, &lists{rows: map[string][]transfer.Row{}}, transfer.Config{Source: "a", Progress: func(p transfer.Progress) {
		told = append(told, fmt.Sprintf("%s %s %d of %d", p.Phase, p.Table, p.Rows, p.Total))
	}})
	want := []string{
		"copy idem 1000 of 1000", "copy idem 2000 of 2000", "copy idem 3000 of 3000",
		"verify idem 1000 of 1000", "verify idem 2000 of 2000", "verify idem 3000 of 3000",
	}
	if err != nil || !slices.Equal(told, want) {
		t.Errorf("told %q, %v", told, err)
	}
}

// TestCut: a copy that is told to stop stops.
func TestCut(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	from := &lists{rows: map[string][]transfer.Row{}}
	for n := range 20_000 {
		from.rows["mark"] = append(from.rows["mark"], transfer.Row{"k", fmt.Sprintf("%06d", n), nil, nil})
	}
	to := &blocked{lists: lists{rows: map[string][]transfer.Row{}}, cancel: cancel}
	if _, err := transfer.Copy(ctx, from, to, transfer.Config{Source: "a"}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// blocked takes one batch, and no other.
type blocked struct {
	lists
	cancel func()
}

func (b *blocked) Write(ctx context.Context, t *transfer.Table, rows []transfer.Row) error {
	b.cancel()
	<-ctx.Done()
	return ctx.Err()
}

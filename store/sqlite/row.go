package sqlite

import (
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// columns are a thread's, in the order in which scanEntry reads them.
const columns = `n, id, kind, owner, sender, agent, trace, status, priority,
	created, updated, ended, rev, seq, items, ready, rank, due, body, parent`

const columnCount = 20

// scanEntry reads a row of columns; the driver gives int64, string, []byte or
// nil. What it makes knows the items of the thread only if there are none.
func scanEntry(row []driver.Value) (*engine.Entry, error) {
	if len(row) != columnCount {
		return nil, fmt.Errorf("thread row has %d columns", len(row))
	}
	num := func(i int) int64 { v, _ := row[i].(int64); return v }
	text := func(i int) string { v, _ := row[i].(string); return v }
	body, _ := row[18].([]byte)
	return &engine.Entry{N: num(0), Whole: num(14) == 0, T: store.Thread{
		ID: text(1), Kind: store.Kind(num(2)), Owner: text(3), From: text(4), Agent: text(5), Trace: text(6),
		Status: text(7), Priority: arc.Priority(text(8)),
		Created: instant(row[9]), Updated: instant(row[10]), Ended: instant(row[11]),
		Rev: num(12), Seq: num(13), Items: int(num(14)),
		Ready: num(15) == 1, Rank: num(16), Due: instant(row[17]), Body: body, Parent: text(19),
	}}, nil
}

// instant reads a time column.
func instant(v driver.Value) time.Time {
	ms, ok := v.(int64)
	if !ok {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// millis writes a time column.
func millis(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UnixMilli()
}

// optional writes a text column in which "" is NULL.
func optional(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// The log's key: 2^39 threads with 2^24 events and items each.
const (
	posBits = 24
	maxPos  = 1<<posBits - 1
)

func logPos(n, pos int64) int64 { return n<<posBits | pos }

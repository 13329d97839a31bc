package sqlite

import (
	"context"
	"fmt"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// commitJob is a store.Change on its way. The caller's goroutine packs, so that
// the writer has less to do.
type commitJob struct {
	thread store.Thread // what is asked for, afterwards what is stored
	events []arc.Event  // own copies, numbered by the writer
	items  []store.Item
	key    *store.Key
	wake   bool

	packedEvents, packedItems []byte

	stored  store.Thread
	ready   bool  // the thread became ready
	woken   bool  // a subscription of it became due
	refused error // why the change was not made
	outcome chan error
}

func newCommitJob(c *store.Change) *commitJob {
	j := &commitJob{
		thread: c.Thread, items: c.Items, key: c.Key, wake: c.Wake,
		packedEvents: engine.PackEvents(c.Events), packedItems: engine.PackItems(c.Items),
		outcome: make(chan error, 1),
	}
	j.thread.Created, j.thread.Updated = engine.Cut(c.Thread.Created), engine.Cut(c.Thread.Updated)
	j.thread.Ended, j.thread.Due = engine.Cut(c.Thread.Ended), engine.Cut(c.Thread.Due)
	if len(c.Events) > 0 {
		j.events = make([]arc.Event, len(c.Events))
		for i, e := range c.Events {
			j.events[i] = e
			j.events[i].At = arc.At(e.At.Time)
		}
	}
	return j
}

// Commit implements [store.Store].
func (s *Engine) Commit(ctx context.Context, c store.Change) (store.Thread, error) {
	j := newCommitJob(&c)
	if err := s.w.do(ctx, j); err != nil {
		return store.Thread{}, err
	}
	// From here the outcome is waited for whatever becomes of ctx: it takes one
	// flush, and a caller that left could not know whether the change was made.
	err := <-j.outcome
	if err != nil {
		return store.Thread{}, err
	}
	h := store.Hint{Thread: j.stored.ID, Seq: j.stored.Seq, Wake: j.woken}
	if j.ready {
		h.Ready = j.stored.Agent
	}
	s.watch.Tell(h)
	return j.stored, nil
}

func (j *commitJob) finish(err error) {
	if err == nil {
		err = j.refused
	}
	j.outcome <- err
}

// apply decides first and writes afterwards, so that a refused change has
// written nothing and the others in the transaction stay whole.
func (j *commitJob) apply(b *batch) error {
	j.refused, j.woken = nil, false
	if j.key != nil && !j.key.Replace {
		replay, err := findReplay(b.conn, j.key.Owner, j.key.Name, b.now)
		if err != nil {
			return err
		}
		if replay != nil {
			j.refused = replay
			return nil
		}
	}
	var e *engine.Entry
	var err error
	if j.thread.Rev == 0 {
		e, err = j.create(b)
	} else {
		e, err = j.update(b)
	}
	if err != nil || j.refused != nil {
		return err
	}
	if err := j.append(b, e); err != nil {
		return err
	}
	if j.wake {
		if j.woken, err = wake(b.conn, e.T.ID, b.now); err != nil {
			return err
		}
	}
	j.stored = e.T
	b.set(e.T.ID, e)
	return nil
}

// create inserts the thread. That is also the check whether its id is free.
func (j *commitJob) create(b *batch) (*engine.Entry, error) {
	t := j.thread
	t.Rev, t.Seq, t.Items = 1, int64(len(j.events)), len(j.items)
	engine.Number(j.events, t.Seq)
	if t.Seq+int64(t.Items) > maxPos {
		j.refused = errFull
		return nil, nil
	}
	n := b.nextN
	changed, err := b.conn.exec(insertThread, n, t.ID, int64(t.Kind), t.Owner, t.From, t.Agent, optional(t.Trace),
		t.Status, string(t.Priority), millis(t.Created), millis(t.Updated), millis(t.Ended),
		t.Rev, t.Seq, int64(t.Items), flag(t.Ready), t.Rank, millis(t.Due), t.Body, optional(t.Parent))
	if err != nil {
		return nil, err
	}
	if changed == 0 {
		j.refused = store.ErrExists
		return nil, nil
	}
	b.nextN++
	j.ready = t.Ready
	blank := &engine.Entry{N: n, Whole: true}
	return blank.Next(t, j.items, j.events), nil
}

// update compares the revision and writes the columns that may have changed.
func (j *commitJob) update(b *batch) (*engine.Entry, error) {
	was, err := b.thread(j.thread.ID)
	if err != nil {
		return nil, err
	}
	if was == nil || was.T.Rev != j.thread.Rev {
		j.refused = store.ErrConflict
		return nil, nil
	}
	t := j.thread
	t.Rev, t.Seq, t.Items = was.T.Rev+1, was.T.Seq+int64(len(j.events)), was.T.Items+len(j.items)
	engine.Number(j.events, t.Seq)
	if t.Seq+int64(t.Items) > maxPos {
		j.refused = errFull
		return nil, nil
	}
	text, args := updateThread(was, &t)
	changed, err := b.conn.exec(text, args...)
	if err != nil {
		return nil, err
	}
	if changed != 1 {
		return nil, fmt.Errorf("thread %s: %w", t.ID, errStale)
	}
	j.ready = t.Ready && (!was.T.Ready || was.T.Agent != t.Agent)
	return was.Next(t, j.items, j.events), nil
}

// append writes the change's events and items, and its key.
func (j *commitJob) append(b *batch, e *engine.Entry) error {
	if len(j.events)+len(j.items) > 0 {
		pos := logPos(e.N, e.T.Seq+int64(e.T.Items))
		_, err := b.conn.exec(`INSERT INTO log (pos, seq, events, items) VALUES (?, ?, ?, ?)`,
			pos, e.T.Seq, j.packedEvents, j.packedItems)
		if err != nil {
			return err
		}
	}
	if j.key == nil {
		return nil
	}
	_, err := b.conn.exec(`INSERT INTO idem (owner, name, thread, hash, reply, expires) VALUES (?, ?, ?, ?, ?, ?)
		ON CONFLICT (owner, name) DO UPDATE SET thread = excluded.thread, hash = excluded.hash,
		reply = excluded.reply, expires = excluded.expires`,
		j.key.Owner, j.key.Name, e.T.ID, j.key.Hash, j.key.Reply, millis(j.key.Expires))
	return err
}

var errFull = fmt.Errorf("thread holds %d events and items, it can take no more", maxPos)

const insertThread = `INSERT INTO thread (` + columns + `)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

const threadByID = `SELECT ` + columns + ` FROM thread WHERE id = ?`

// updateThread gives the statement and its arguments. A column is named only if
// it changed or is in no index: SQLite rewrites the entry of every index with a
// named column.
func updateThread(e *engine.Entry, t *store.Thread) (string, []any) {
	was := &e.T
	var set strings.Builder
	set.WriteString(`UPDATE thread SET status = ?, priority = ?, updated = ?, rev = ?, seq = ?, items = ?, body = ?`)
	args := make([]any, 0, columnCount+1)
	args = append(args, t.Status, string(t.Priority), millis(t.Updated), t.Rev, t.Seq, int64(t.Items), t.Body)
	if t.Ready != was.Ready || t.Rank != was.Rank {
		set.WriteString(`, ready = ?, rank = ?`)
		args = append(args, flag(t.Ready), t.Rank)
	}
	if !t.Due.Equal(was.Due) {
		set.WriteString(`, due = ?`)
		args = append(args, millis(t.Due))
	}
	if !t.Ended.Equal(was.Ended) {
		set.WriteString(`, ended = ?`)
		args = append(args, millis(t.Ended))
	}
	if t.Kind != was.Kind || t.Owner != was.Owner || t.From != was.From || t.Agent != was.Agent ||
		t.Trace != was.Trace || t.Parent != was.Parent || !t.Created.Equal(was.Created) {
		set.WriteString(`, kind = ?, owner = ?, sender = ?, agent = ?, trace = ?, parent = ?, created = ?`)
		args = append(args, int64(t.Kind), t.Owner, t.From, t.Agent, optional(t.Trace), optional(t.Parent), millis(t.Created))
	}
	set.WriteString(` WHERE n = ? AND rev = ?`)
	return set.String(), append(args, e.N, was.Rev)
}

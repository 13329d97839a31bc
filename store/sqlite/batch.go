package sqlite

import (
	"database/sql/driver"
	"errors"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// batch is one transaction of the writer and what it leaves behind.
type batch struct {
	conn  *conn
	cache *engine.Cache
	now   time.Time
	nextN int64

	fresh map[string]*engine.Entry // threads as the transaction leaves them; nil: deleted
}

var errStale = errors.New("a cached thread differs from the stored one")

// thread finds a thread as the transaction sees it; nil if there is none.
func (b *batch) thread(id string) (*engine.Entry, error) {
	if e, ok := b.fresh[id]; ok {
		return e, nil
	}
	if e := b.cache.Get(id); e != nil {
		return e, nil
	}
	var e *engine.Entry
	err := b.conn.query(threadByID, []any{id}, func(row []driver.Value) error {
		var err error
		e, err = scanEntry(row)
		return err
	})
	return e, err
}

// set notes the new state of a thread; nil if it is gone.
func (b *batch) set(id string, e *engine.Entry) {
	if b.fresh == nil {
		b.fresh = make(map[string]*engine.Entry, 32)
	}
	b.fresh[id] = e
}

// findReplay finds what a key stands for, unless it has expired.
func findReplay(c *conn, owner, name string, now time.Time) (replay *store.ReplayError, err error) {
	err = c.query(`SELECT thread, hash, reply FROM idem
		WHERE owner = ? AND name = ? AND (expires IS NULL OR expires > ?)`,
		[]any{owner, name, now.UnixMilli()}, func(row []driver.Value) error {
			thread, _ := row[0].(string)
			hash, _ := row[1].([]byte)
			reply, _ := row[2].([]byte)
			replay = &store.ReplayError{Thread: thread, Hash: hash, Reply: reply}
			return nil
		})
	return replay, err
}

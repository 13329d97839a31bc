package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// commitJob is a store.Change on its way.
type commitJob struct {
	thread store.Thread // what is asked for
	events []arc.Event  // own copies, numbered when the change is made
	items  []store.Item
	key    *store.Key
	wake   bool

	packedEvents, packedItems []byte

	nonce int64 // random, stored with the thread
	stays bool  // the thread keeps owner, agent and whatever else hardly ever changes

	// unsure says that an attempt may have been made: its connection was lost.
	unsure bool

	stored  store.Thread
	woken   bool // a subscription of it became due
	refused error
	outcome chan error
}

func newCommitJob(c *store.Change) *commitJob {
	j := &commitJob{
		thread: c.Thread, items: c.Items, key: c.Key, wake: c.Wake,
		packedEvents: engine.PackEvents(c.Events), packedItems: engine.PackItems(c.Items),
		nonce: rand.Int64(), outcome: make(chan error, 1),
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

// size is about how much the change takes on its way, in bytes.
func (j *commitJob) size() int {
	n := len(j.thread.Body) + len(j.packedEvents) + len(j.packedItems)
	if j.key != nil {
		n += len(j.key.Reply)
	}
	return n
}

// Commit implements [store.Store].
func (s *Engine) Commit(ctx context.Context, c store.Change) (store.Thread, error) {
	j := newCommitJob(&c)
	was := s.cache.Get(c.Thread.ID)
	if was != nil && was.T.Rev != c.Thread.Rev {
		was = nil
	}
	j.stays = was != nil && stays(&was.T, &j.thread)
	if err := s.commit(ctx, j); err != nil {
		s.cache.Settle(map[string]*engine.Entry{c.Thread.ID: nil})
		return store.Thread{}, err
	}
	s.remember(was, j)
	h := store.Hint{Thread: j.stored.ID, Seq: j.stored.Seq, Wake: j.woken}
	if j.stored.Ready && !(was != nil && was.T.Ready && was.T.Agent == j.stored.Agent) {
		h.Ready = j.stored.Agent
	}
	s.tell(h)
	return j.stored, nil
}

// stays tells whether the columns are as they were that updateThreads leaves alone.
func stays(was, is *store.Thread) bool {
	return is.Kind == was.Kind && is.Owner == was.Owner && is.From == was.From && is.Agent == was.Agent &&
		is.Trace == was.Trace && is.Parent == was.Parent && is.Created.Equal(was.Created)
}

// commit makes a change: together with others, but for the few that need several
// looks.
func (s *Engine) commit(ctx context.Context, j *commitJob) error {
	if j.key != nil && (j.key.Replace || j.thread.Rev != 0) {
		return s.commitAlone(ctx, j)
	}
	if err := s.w.do(ctx, j); err != nil {
		return err
	}
	// From here the outcome is waited for whatever becomes of ctx: a caller that left
	// could not know whether the change was made.
	return <-j.outcome
}

// remember keeps the thread as the change left it, for who changes it next.
func (s *Engine) remember(was *engine.Entry, j *commitJob) {
	e := &engine.Entry{Whole: j.thread.Rev == 0}
	if was != nil {
		e = was
	}
	s.cache.Settle(map[string]*engine.Entry{j.stored.ID: e.Next(j.stored, j.items, j.events)})
}

// made notes that the change was made, and the numbers that it got.
func (j *commitJob) made(seq int64, items int) {
	j.stored = j.thread
	j.stored.Rev, j.stored.Seq, j.stored.Items = j.thread.Rev+1, seq, items
	engine.Number(j.events, seq)
}

// resolve finds out why a change was refused: because of its key, or because an attempt
// whose outcome nobody knew had made it.
func (s *Engine) resolve(ctx context.Context, q querier, j *commitJob) error {
	if j.refused == nil || j.key == nil && !j.unsure {
		return nil
	}
	if j.unsure {
		made, err := s.wasMade(ctx, q, j)
		if made || err != nil {
			return err
		}
	}
	if j.key != nil && !j.key.Replace && j.thread.Rev == 0 {
		replay, err := findReplay(ctx, q, j.key.Owner, j.key.Name, s.Now())
		if replay != nil {
			j.refused = replay
		}
		return err
	}
	return nil
}

// wasMade tells whether the change was made by an attempt whose connection was lost.
// If others have changed the thread since, that cannot be told any more.
func (s *Engine) wasMade(ctx context.Context, q querier, j *commitJob) (bool, error) {
	var nonce, rev, seq int64
	var items int
	err := q.QueryRow(ctx, `SELECT nonce, rev, seq, items FROM thread WHERE id = $1`, put(j.thread.ID)).Scan(&nonce, &rev, &seq, &items)
	switch {
	case noRows(err):
		return false, nil
	case err != nil:
		return false, err
	case nonce == j.nonce:
		j.refused = nil
		j.made(seq, items)
		return true, nil
	case rev > j.thread.Rev+1:
		return false, fmt.Errorf("%w: the connection was lost during a change that may have been made", store.ErrUnavailable)
	}
	return false, nil
}

// commitAlone makes a change whose key has to be looked at before, in a transaction
// of its own.
func (s *Engine) commitAlone(ctx context.Context, j *commitJob) error {
	tries := 0
	err := s.write(ctx, "writing a thread", func(ctx context.Context, tx pgx.Tx) error {
		tries++
		j.unsure = tries > 1
		j.refused = nil
		if !j.key.Replace {
			replay, err := findReplay(ctx, tx, j.key.Owner, j.key.Name, s.Now())
			if err != nil {
				return err
			}
			if replay != nil {
				j.refused = replay
			}
		}
		if j.refused == nil {
			if err := s.apply(ctx, tx, []*commitJob{j}, alone); err != nil {
				return err
			}
		}
		if err := s.resolve(ctx, tx, j); err != nil {
			return err
		}
		if j.refused != nil {
			return j.refused
		}
		return s.putKey(ctx, tx, j)
	})
	return err
}

// putKey stores the key of a change that was made. Of two that do so at once one
// begins anew and finds the other.
func (s *Engine) putKey(ctx context.Context, tx pgx.Tx, j *commitJob) error {
	k := j.key
	tag, err := tx.Exec(ctx, `INSERT INTO idem (owner, name, thread, hash, reply, expires) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (owner, name) DO UPDATE SET thread = excluded.thread, hash = excluded.hash, reply = excluded.reply,
		expires = excluded.expires WHERE $7 OR idem.expires <= $8 OR idem.thread = excluded.thread AND $9`,
		put(k.Owner), put(k.Name), put(j.stored.ID), k.Hash, k.Reply, millis(k.Expires), k.Replace, s.Now().UnixMilli(), j.unsure)
	if err == nil && tag.RowsAffected() == 0 {
		err = errAgain
	}
	return err
}

const selectReplay = `SELECT thread, hash, reply FROM idem
	WHERE owner = $1 AND name = $2 AND (expires IS NULL OR expires > $3)`

// findReplay finds what a key stands for, unless it has expired.
func findReplay(ctx context.Context, q querier, owner, name string, now time.Time) (*store.ReplayError, error) {
	var r store.ReplayError
	err := q.QueryRow(ctx, selectReplay, put(owner), put(name), now.UnixMilli()).Scan(&r.Thread, &r.Hash, &r.Reply)
	if noRows(err) {
		return nil, nil
	}
	r.Thread = got(r.Thread)
	return &r, err
}

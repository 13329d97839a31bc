package sqlite

import (
	"bytes"
	"context"
	"database/sql/driver"
	"fmt"
	"strings"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// subscriptionColumns are in the order in which scanSubscription reads them.
const subscriptionColumns = `id, thread, owner, created, ended, cursor, due, lease, body`

func scanSubscription(row []driver.Value) store.Subscription {
	num := func(i int) int64 { v, _ := row[i].(int64); return v }
	text := func(i int) string { v, _ := row[i].(string); return v }
	body, _ := row[8].([]byte)
	return store.Subscription{
		ID: text(0), Thread: text(1), Owner: text(2), Created: instant(row[3]), Ended: instant(row[4]),
		Cursor: num(5), Due: instant(row[6]), Lease: text(7), Body: body,
	}
}

const subscriptionByID = `SELECT ` + subscriptionColumns + ` FROM subscription WHERE id = ?`

// findSubscription gives nil if there is none.
func findSubscription(c *conn, id string) (found *store.Subscription, err error) {
	err = c.query(subscriptionByID, []any{id}, func(row []driver.Value) error {
		s := scanSubscription(row)
		found = &s
		return nil
	})
	return found, err
}

// wakeThread makes the subscriptions due that wait for an event. One that
// somebody works on has a Due, its lease's end: settling it looks for the event.
const wakeThread = `UPDATE subscription INDEXED BY subscription_thread SET due = ?
	WHERE thread = ? AND ended IS NULL AND due IS NULL`

// wake reports whether it made any due.
func wake(c *conn, thread string, now time.Time) (bool, error) {
	n, err := c.exec(wakeThread, now.UnixMilli(), thread)
	return n > 0, err
}

// dueAfter gives when an active subscription that stands at cursor must be looked
// at: at due, or now if its thread has more events. It is due now if the second
// result says so.
func dueAfter(due time.Time, ended time.Time, cursor int64, t *store.Thread, now time.Time) (time.Time, bool) {
	if ended.IsZero() && due.IsZero() && t.Seq > cursor {
		due = now
	}
	return engine.Cut(due), ended.IsZero() && !due.IsZero() && !due.After(now)
}

// change runs do on the writer. do gives why nothing was changed, or what is to
// be told to those who watch; nil for nothing.
func (s *Engine) change(ctx context.Context, what string, do func(b *batch) (tell *store.Hint, refused, err error)) error {
	var hint *store.Hint
	var refused error
	err := s.write(ctx, what, func(b *batch) (err error) {
		hint, refused, err = do(b)
		return err
	})
	if err == nil {
		err = refused
	}
	if err == nil && hint != nil {
		s.watch.Tell(*hint)
	}
	return err
}

// Subscribe implements [store.Subscriptions].
func (s *Engine) Subscribe(ctx context.Context, sub store.Subscription, now time.Time) error {
	return s.change(ctx, "subscribing", func(b *batch) (*store.Hint, error, error) {
		e, err := b.thread(sub.Thread)
		if err != nil {
			return nil, nil, err
		}
		if e == nil {
			return nil, store.ErrNotFound, nil
		}
		due, atOnce := dueAfter(sub.Due, sub.Ended, sub.Cursor, &e.T, now)
		added, err := b.conn.exec(`INSERT INTO subscription (`+subscriptionColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, NULL, ?)
			ON CONFLICT DO NOTHING`, sub.ID, sub.Thread, sub.Owner, millis(sub.Created), millis(sub.Ended),
			sub.Cursor, millis(due), sub.Body)
		if err != nil {
			return nil, nil, err
		}
		if added == 0 {
			return nil, store.ErrExists, nil
		}
		return wakeHint(atOnce, &e.T), nil, nil
	})
}

func wakeHint(due bool, t *store.Thread) *store.Hint {
	if !due {
		return nil
	}
	return &store.Hint{Thread: t.ID, Seq: t.Seq, Wake: true}
}

// Subscription implements [store.Subscriptions].
func (s *Engine) Subscription(ctx context.Context, id string) (store.Subscription, error) {
	var found *store.Subscription
	err := s.read(ctx, func(c *conn) (err error) {
		found, err = findSubscription(c, id)
		return err
	})
	switch {
	case err != nil:
		return store.Subscription{}, fmt.Errorf("reading subscription %s: %w", id, err)
	case found == nil:
		return store.Subscription{}, store.ErrNotFound
	}
	return *found, nil
}

// Subscriptions implements [store.Subscriptions].
func (s *Engine) Subscriptions(ctx context.Context, q store.SubscriptionQuery) ([]store.Subscription, error) {
	var found []store.Subscription
	text, args := selectSubscriptions(&q)
	err := s.read(ctx, func(c *conn) error {
		return c.query(text, args, func(row []driver.Value) error {
			found = append(found, scanSubscription(row))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("listing subscriptions: %w", err)
	}
	return found, nil
}

func selectSubscriptions(q *store.SubscriptionQuery) (string, []any) {
	var b strings.Builder
	b.WriteString(`SELECT ` + subscriptionColumns + ` FROM subscription INDEXED BY `)
	args := make([]any, 0, 4)
	if q.Thread != "" {
		b.WriteString(`subscription_thread WHERE thread = ? AND`)
		args = append(args, q.Thread)
	} else {
		b.WriteString(`subscription_owner WHERE`)
	}
	b.WriteString(` owner = ? AND id > ? ORDER BY id LIMIT ?`)
	return b.String(), append(args, q.Owner, q.After, int64(max(q.Limit, 1)))
}

// EditSubscription implements [store.Subscriptions].
func (s *Engine) EditSubscription(ctx context.Context, was, sub store.Subscription) error {
	return s.change(ctx, "changing a subscription", func(b *batch) (*store.Hint, error, error) {
		there, err := findSubscription(b.conn, was.ID)
		switch {
		case err != nil:
			return nil, nil, err
		case there == nil:
			return nil, store.ErrNotFound, nil
		case !sameState(there, &was):
			return nil, store.ErrConflict, nil
		}
		_, err = b.conn.exec(`UPDATE subscription SET ended = ?, due = ?, lease = NULL, body = ? WHERE id = ?`,
			millis(sub.Ended), millis(sub.Due), sub.Body, was.ID)
		return nil, nil, err
	})
}

// sameState compares what changes in the life of a subscription.
func sameState(a, b *store.Subscription) bool {
	return a.Ended.Equal(engine.Cut(b.Ended)) && a.Cursor == b.Cursor && a.Due.Equal(engine.Cut(b.Due)) && a.Lease == b.Lease &&
		bytes.Equal(a.Body, b.Body)
}

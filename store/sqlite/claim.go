package sqlite

import (
	"context"
	"database/sql/driver"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

const dueSubscriptions = `SELECT ` + subscriptionColumns + ` FROM subscription INDEXED BY subscription_due
	WHERE due IS NOT NULL AND due <= ? AND ended IS NULL ORDER BY due, id LIMIT ?`

// anySubscriptionDue finds out over a reader whether the writer has to be asked.
const anySubscriptionDue = `SELECT 1 FROM subscription INDEXED BY subscription_due
	WHERE due IS NOT NULL AND due <= ? AND ended IS NULL LIMIT 1`

// ClaimSubscriptions implements [store.Subscriptions]. The one writer makes it
// exclusive.
func (s *Engine) ClaimSubscriptions(ctx context.Context, now, until time.Time, lease string, limit int) ([]store.Subscription, error) {
	someDue := false
	err := s.read(ctx, func(c *conn) error {
		return c.query(anySubscriptionDue, []any{now.UnixMilli()}, func([]driver.Value) error {
			someDue = true
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("looking for due subscriptions: %w", err)
	}
	if !someDue {
		return nil, nil
	}
	var claimed []store.Subscription
	err = s.write(ctx, "claiming subscriptions", func(b *batch) error {
		claimed = nil
		err := b.conn.query(dueSubscriptions, []any{now.UnixMilli(), int64(max(limit, 1))}, func(row []driver.Value) error {
			claimed = append(claimed, scanSubscription(row))
			return nil
		})
		if err != nil {
			return err
		}
		for i := range claimed {
			c := &claimed[i]
			c.Due, c.Lease = engine.Cut(until), lease
			_, err := b.conn.exec(`UPDATE subscription SET due = ?, lease = ? WHERE id = ?`, millis(until), optional(lease), c.ID)
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return claimed, nil
}

// SettleSubscription implements [store.Subscriptions].
func (s *Engine) SettleSubscription(ctx context.Context, sub store.Subscription, now time.Time, made []store.Delivery) error {
	return s.change(ctx, "settling a subscription", func(b *batch) (*store.Hint, error, error) {
		was, err := findSubscription(b.conn, sub.ID)
		switch {
		case err != nil:
			return nil, nil, err
		case was == nil:
			return nil, store.ErrNotFound, nil
		case was.Lease == "" || was.Lease != sub.Lease:
			return nil, store.ErrConflict, nil
		}
		e, err := b.thread(was.Thread)
		if err != nil {
			return nil, nil, err
		}
		if e == nil {
			return nil, nil, fmt.Errorf("subscription %s: %w", sub.ID, errNoThread)
		}
		due, atOnce := dueAfter(sub.Due, sub.Ended, sub.Cursor, &e.T, now)
		_, err = b.conn.exec(`UPDATE subscription SET ended = ?, cursor = ?, due = ?, lease = NULL, body = ? WHERE id = ?`,
			millis(sub.Ended), sub.Cursor, millis(due), sub.Body, sub.ID)
		if err != nil {
			return nil, nil, err
		}
		return wakeHint(atOnce, &e.T), nil, addDeliveries(b.conn, was, made)
	})
}

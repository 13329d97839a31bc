package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/internal/engine"
)

// subscriptionColumns are in the order in which scanSubscription reads them.
const subscriptionColumns = `id, thread, owner, created, ended, cursor, due, lease, body`

func scanSubscription(row pgx.CollectableRow) (sub store.Subscription, err error) {
	var created, ended, due *int64
	var lease *string
	err = row.Scan(&sub.ID, &sub.Thread, &sub.Owner, &created, &ended, &sub.Cursor, &due, &lease, &sub.Body)
	sub.ID, sub.Thread, sub.Owner, sub.Lease = got(sub.ID), got(sub.Thread), got(sub.Owner), text(lease)
	sub.Created, sub.Ended, sub.Due = instant(created), instant(ended), instant(due)
	return sub, err
}

// lockThread holds a thread's row until the end of the transaction, so that its Seq
// stays what it is. A commit to the thread waits, and then sees what was done to its
// subscriptions; or it was first, and its events are counted.
const lockThread = `SELECT seq FROM thread WHERE id = $1 FOR SHARE`

// insertSubscription makes it due now where there are events for it.
const insertSubscription = `INSERT INTO subscription (` + subscriptionColumns + `)
	SELECT $1, t.id, $3, $4, $5::bigint, $6, CASE WHEN $5::bigint IS NULL AND $7::bigint IS NULL AND t.seq > $6 THEN $8 ELSE $7::bigint END, NULL, $9
	FROM thread t WHERE t.id = $2 ON CONFLICT DO NOTHING RETURNING due`

// Subscribe implements [store.Subscriptions].
func (s *Engine) Subscribe(ctx context.Context, sub store.Subscription, now time.Time) error {
	var seq int64
	var due *int64
	unsure, err := s.batch(ctx, "subscribing", func(b *pgx.Batch) {
		b.Queue(lockThread, put(sub.Thread)).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&seq)
			if noRows(err) {
				return store.ErrNotFound
			}
			return err
		})
		b.Queue(insertSubscription, put(sub.ID), put(sub.Thread), put(sub.Owner), millis(sub.Created), millis(sub.Ended),
			sub.Cursor, millis(sub.Due), now.UnixMilli(), sub.Body).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&due)
			if noRows(err) {
				return store.ErrExists
			}
			return err
		})
	})
	if unsure && errors.Is(err, store.ErrExists) { // it may be an attempt of ours that is in the way
		if was, rerr := s.Subscription(ctx, sub.ID); rerr == nil && was.Thread == sub.Thread && was.Owner == sub.Owner {
			return nil
		}
	}
	if err == nil && sub.Ended.IsZero() && due != nil && *due <= now.UnixMilli() {
		s.tell(store.Hint{Thread: sub.Thread, Seq: seq, Wake: true})
	}
	return err
}

// Subscription implements [store.Subscriptions].
func (s *Engine) Subscription(ctx context.Context, id string) (sub store.Subscription, err error) {
	err = s.read(ctx, "reading a subscription", func(q querier) (err error) {
		sub, err = readSubscription(ctx, q, id)
		return err
	})
	return sub, err
}

func readSubscription(ctx context.Context, q querier, id string) (store.Subscription, error) {
	rows, err := q.Query(ctx, `SELECT `+subscriptionColumns+` FROM subscription WHERE id = $1`, put(id))
	if err != nil {
		return store.Subscription{}, err
	}
	sub, err := pgx.CollectExactlyOneRow(rows, scanSubscription)
	if noRows(err) {
		err = store.ErrNotFound
	}
	return sub, err
}

// Subscriptions implements [store.Subscriptions].
func (s *Engine) Subscriptions(ctx context.Context, q store.SubscriptionQuery) ([]store.Subscription, error) {
	text, args := selectSubscriptions(&q)
	return s.subscriptions(ctx, "listing subscriptions", text, args...)
}

func selectSubscriptions(q *store.SubscriptionQuery) (string, []any) {
	var b statement
	b.and(`SELECT `+subscriptionColumns+` FROM subscription WHERE owner = ?`, put(q.Owner))
	if q.Thread != "" {
		b.and(` AND thread = ?`, put(q.Thread))
	}
	b.and(` AND id > ? ORDER BY id LIMIT ?`, put(q.After), max(q.Limit, 1))
	return b.text.String(), b.args
}

func (s *Engine) subscriptions(ctx context.Context, what, text string, args ...any) (subs []store.Subscription, err error) {
	err = s.read(ctx, what, func(q querier) error {
		rows, err := q.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		subs, err = pgx.CollectRows(rows, scanSubscription)
		return err
	})
	return subs, err
}

// claimSubscriptions passes over those that somebody else is about to claim.
const claimSubscriptions = `WITH c AS MATERIALIZED (
	SELECT id, due FROM subscription WHERE due IS NOT NULL AND due <= $1 AND ended IS NULL
	ORDER BY due, id LIMIT $2 FOR UPDATE SKIP LOCKED)
UPDATE subscription s SET due = $3, lease = $4 FROM c WHERE s.id = c.id
RETURNING s.id, s.thread, s.owner, s.created, s.ended, s.cursor, c.due, s.lease, s.body`

// ClaimSubscriptions implements [store.Subscriptions].
func (s *Engine) ClaimSubscriptions(ctx context.Context, now, until time.Time, lease string, limit int) ([]store.Subscription, error) {
	subs, err := s.subscriptions(ctx, "claiming subscriptions", claimSubscriptions,
		now.UnixMilli(), max(limit, 1), until.UnixMilli(), optional(lease))
	slices.SortFunc(subs, func(a, b store.Subscription) int {
		if c := a.Due.Compare(b.Due); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	for i := range subs {
		subs[i].Due = engine.Cut(until)
	}
	return subs, err
}

const (
	lockThreadOf = `SELECT t.id FROM thread t WHERE t.id = (SELECT thread FROM subscription WHERE id = $1) FOR SHARE`

	settleSubscription = `WITH u AS (UPDATE subscription s SET ended = $3::bigint, cursor = $4,
		due = CASE WHEN $3::bigint IS NULL AND $5::bigint IS NULL AND t.seq > $4 THEN $6 ELSE $5::bigint END,
		lease = NULL, body = $7
	FROM thread t WHERE s.id = $1 AND s.lease = $2 AND t.id = s.thread RETURNING s.id, s.thread, s.owner, s.due, t.seq),
	d AS (INSERT INTO delivery (` + deliveryColumns + `)
		SELECT v.id, u.id, u.thread, u.owner, v.seq, v.at, v.state, v.body
		FROM u CROSS JOIN unnest($8::text[], $9::bigint[], $10::bigint[], $11::smallint[], $12::bytea[])
			AS v (id, seq, at, state, body)
		ON CONFLICT DO NOTHING)
	SELECT thread, due, seq FROM u`
)

// SettleSubscription implements [store.Subscriptions].
func (s *Engine) SettleSubscription(ctx context.Context, sub store.Subscription, now time.Time, made []store.Delivery) error {
	var thread string
	var due *int64
	var seq int64
	settled := false
	d := deliveryArrays(made)
	unsure, err := s.batch(ctx, "settling a subscription", func(b *pgx.Batch) {
		settled = false
		b.Queue(lockThreadOf, put(sub.ID))
		b.Queue(settleSubscription, put(sub.ID), optional(sub.Lease), millis(sub.Ended), sub.Cursor, millis(sub.Due), now.UnixMilli(),
			sub.Body, d.ids, d.seqs, d.times, d.states, d.bodies).QueryRow(func(row pgx.Row) error {
			err := row.Scan(&thread, &due, &seq)
			settled = err == nil
			if noRows(err) {
				err = nil
			}
			return err
		})
	})
	if err != nil {
		return err
	}
	if !settled {
		return s.whyNotSettled(ctx, sub, unsure)
	}
	if sub.Ended.IsZero() && due != nil && *due <= now.UnixMilli() {
		s.tell(store.Hint{Thread: got(thread), Seq: seq, Wake: true})
	}
	return nil
}

var errNoThread = errors.New("its thread is gone")

func (s *Engine) whyNotSettled(ctx context.Context, sub store.Subscription, unsure bool) error {
	was, err := s.Subscription(ctx, sub.ID)
	if err != nil {
		return err
	}
	if unsure && was.Lease == "" && was.Cursor == sub.Cursor { // by an attempt of ours
		return nil
	}
	if was.Lease == "" || was.Lease != sub.Lease {
		return store.ErrConflict
	}
	return fmt.Errorf("subscription %s: %w", sub.ID, errNoThread)
}

const editSubscription = `UPDATE subscription SET ended = $2, due = $3, lease = NULL, body = $4
	WHERE id = $1 AND cursor = $5 AND ended IS NOT DISTINCT FROM $6 AND due IS NOT DISTINCT FROM $7
		AND lease IS NOT DISTINCT FROM $8 AND coalesce(body, '') = coalesce($9::bytea, '') RETURNING id`

// EditSubscription implements [store.Subscriptions].
func (s *Engine) EditSubscription(ctx context.Context, was, sub store.Subscription) error {
	return s.read(ctx, "changing a subscription", func(q querier) error {
		var id string
		err := q.QueryRow(ctx, editSubscription, put(was.ID), millis(sub.Ended), millis(sub.Due), sub.Body,
			was.Cursor, millis(was.Ended), millis(was.Due), optional(was.Lease), was.Body).Scan(&id)
		if !noRows(err) {
			return err
		}
		if _, err := readSubscription(ctx, q, was.ID); err != nil {
			return err
		}
		return store.ErrConflict
	})
}

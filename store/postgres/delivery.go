package postgres

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/arcd-io/arcd/store"
)

// deliveryColumns are in the order in which scanDelivery reads them.
const deliveryColumns = `id, subscription, thread, owner, seq, at, state, body`

func scanDelivery(row pgx.CollectableRow) (d store.Delivery, err error) {
	var at *int64
	var state int16
	err = row.Scan(&d.ID, &d.Subscription, &d.Thread, &d.Owner, &d.Seq, &at, &state, &d.Body)
	d.ID, d.Subscription, d.Thread, d.Owner = got(d.ID), got(d.Subscription), got(d.Thread), got(d.Owner)
	d.At, d.State = instant(at), store.DeliveryState(state)
	return d, err
}

// deliveryColumnsOf holds deliveries as the statements take them.
type deliveryColumnsOf struct {
	ids, subscriptions []string
	seqs               []int64
	times              []*int64
	states             []int16
	bodies             [][]byte
}

func deliveryArrays(made []store.Delivery) *deliveryColumnsOf {
	n := len(made)
	c := &deliveryColumnsOf{make([]string, n), make([]string, n), make([]int64, n), make([]*int64, n), make([]int16, n), make([][]byte, n)}
	for i := range made {
		d := &made[i]
		c.ids[i], c.subscriptions[i], c.seqs[i] = put(d.ID), put(d.Subscription), d.Seq
		c.times[i], c.states[i], c.bodies[i] = millis(d.At), int16(d.State), d.Body
	}
	return c
}

const addDeliveries = `INSERT INTO delivery (` + deliveryColumns + `)
	SELECT v.id, s.id, s.thread, s.owner, v.seq, v.at, v.state, v.body
	FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::smallint[], $6::bytea[])
		AS v (id, subscription, seq, at, state, body)
	JOIN subscription s ON s.id = v.subscription ON CONFLICT DO NOTHING RETURNING id`

// AddDeliveries implements [store.Subscriptions].
func (s *Engine) AddDeliveries(ctx context.Context, made []store.Delivery) error {
	if len(made) == 0 {
		return s.gate.Check()
	}
	d := deliveryArrays(made)
	return s.read(ctx, "recording deliveries", func(q querier) error {
		rows, err := q.Query(ctx, addDeliveries, d.ids, d.subscriptions, d.seqs, d.times, d.states, d.bodies)
		if err != nil {
			return err
		}
		rows.Close()
		return rows.Err()
	})
}

// Delivery implements [store.Subscriptions].
func (s *Engine) Delivery(ctx context.Context, id string) (store.Delivery, error) {
	found, err := s.deliveries(ctx, `SELECT `+deliveryColumns+` FROM delivery WHERE id = $1`, put(id))
	if err != nil {
		return store.Delivery{}, err
	}
	if len(found) == 0 {
		return store.Delivery{}, store.ErrNotFound
	}
	return found[0], nil
}

// Deliveries implements [store.Subscriptions].
func (s *Engine) Deliveries(ctx context.Context, q store.DeliveryQuery) ([]store.Delivery, error) {
	text, args := selectDeliveries(&q)
	return s.deliveries(ctx, text, args...)
}

func (s *Engine) deliveries(ctx context.Context, text string, args ...any) (found []store.Delivery, err error) {
	err = s.read(ctx, "reading deliveries", func(q querier) error {
		rows, err := q.Query(ctx, text, args...)
		if err != nil {
			return err
		}
		found, err = pgx.CollectRows(rows, scanDelivery)
		return err
	})
	return found, err
}

// selectDeliveries gives the statement of a page. What of a thread is wanted, it
// filters; over all threads of an owner it merges a page of each state, which
// delivery_owner has in order.
func selectDeliveries(q *store.DeliveryQuery) (string, []any) {
	states := slices.Compact(slices.Sorted(slices.Values(q.State)))
	if len(states) == 0 {
		states = []store.DeliveryState{store.Delivered, store.DeliveryFailed, store.DeliveryDead}
	}
	limit := max(q.Limit, 1)
	var b statement
	before := func() {
		if q.Before != "" {
			b.and(` AND id < ?`, put(q.Before))
		}
	}
	if q.Thread == "" && q.Subscription == "" {
		b.and(`SELECT ` + deliveryColumns + ` FROM (`)
		for i, state := range states {
			if i > 0 {
				b.and(` UNION ALL `)
			}
			b.and(`(SELECT `+deliveryColumns+` FROM delivery WHERE owner = ? AND state = ?`, put(q.Owner), int16(state))
			before()
			b.and(` ORDER BY id DESC LIMIT ?)`, limit)
		}
		b.and(`) page ORDER BY id DESC LIMIT ?`, limit)
		return b.text.String(), b.args
	}
	wanted := make([]int16, len(states))
	for i := range states {
		wanted[i] = int16(states[i])
	}
	b.and(`SELECT `+deliveryColumns+` FROM delivery WHERE owner = ? AND state = ANY(?::smallint[])`, put(q.Owner), wanted)
	before()
	if q.Thread != "" {
		b.and(` AND thread = ?`, put(q.Thread))
	}
	if q.Subscription != "" { // those of a subscription are among those of its thread
		b.and(` AND subscription = ? AND thread = (SELECT thread FROM subscription WHERE id = ?)`, put(q.Subscription), put(q.Subscription))
	}
	b.and(` ORDER BY id DESC LIMIT ?`, limit)
	return b.text.String(), b.args
}

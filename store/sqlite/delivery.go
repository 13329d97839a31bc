package sqlite

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/arcd-io/arcd/store"
)

var errNoThread = errors.New("its thread is gone")

// deliveryColumns are in the order in which scanDelivery reads them.
const deliveryColumns = `id, subscription, thread, owner, seq, at, state, body`

func scanDelivery(row []driver.Value) store.Delivery {
	num := func(i int) int64 { v, _ := row[i].(int64); return v }
	text := func(i int) string { v, _ := row[i].(string); return v }
	body, _ := row[7].([]byte)
	return store.Delivery{
		ID: text(0), Subscription: text(1), Thread: text(2), Owner: text(3), Seq: num(4), At: instant(row[5]),
		State: store.DeliveryState(num(6)), Body: body,
	}
}

// addDeliveries adds the attempts made for a subscription. One whose id is there
// was added before.
func addDeliveries(c *conn, sub *store.Subscription, made []store.Delivery) error {
	for i := range made {
		d := &made[i]
		_, err := c.exec(`INSERT INTO delivery (`+deliveryColumns+`) VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
			d.ID, sub.ID, sub.Thread, sub.Owner, d.Seq, millis(d.At), int64(d.State), d.Body)
		if err != nil {
			return err
		}
	}
	return nil
}

// AddDeliveries implements [store.Subscriptions].
func (s *Engine) AddDeliveries(ctx context.Context, made []store.Delivery) error {
	if len(made) == 0 {
		return s.gate.Check()
	}
	return s.write(ctx, "recording deliveries", func(b *batch) error {
		for i := range made {
			sub, err := findSubscription(b.conn, made[i].Subscription)
			if err == nil && sub != nil {
				err = addDeliveries(b.conn, sub, made[i:i+1])
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Delivery implements [store.Subscriptions].
func (s *Engine) Delivery(ctx context.Context, id string) (store.Delivery, error) {
	found, err := s.deliveries(ctx, `SELECT `+deliveryColumns+` FROM delivery WHERE id = ?`, id)
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
	err = s.read(ctx, func(c *conn) error {
		return c.query(text, args, func(row []driver.Value) error {
			found = append(found, scanDelivery(row))
			return nil
		})
	})
	if err != nil {
		return nil, fmt.Errorf("reading deliveries: %w", err)
	}
	return found, nil
}

// selectDeliveries gives the statement of a page. What of a thread is wanted, it
// filters; over all threads of an owner it merges a page of each state, which
// delivery_owner has in order. ?1 is the owner, ?2 the limit, ?3 the last page's end.
func selectDeliveries(q *store.DeliveryQuery) (string, []any) {
	states := slices.Compact(slices.Sorted(slices.Values(q.State)))
	if len(states) == 0 {
		states = []store.DeliveryState{store.Delivered, store.DeliveryFailed, store.DeliveryDead}
	}
	before := ` AND ?3 = ''`
	if q.Before != "" {
		before = ` AND id < ?3`
	}
	args := []any{q.Owner, int64(max(q.Limit, 1)), q.Before}
	places := make([]string, len(states)) // of the states among the arguments
	for i, state := range states {
		args = append(args, int64(state))
		places[i] = fmt.Sprintf("?%d", len(args))
	}
	var text string
	if q.Thread != "" || q.Subscription != "" {
		var which string
		which, args = withinThread(q, args)
		text = `SELECT ` + deliveryColumns + ` FROM delivery INDEXED BY delivery_thread WHERE ` + which +
			` AND owner = ?1` + before + ` AND state IN (` + strings.Join(places, `, `) + `)`
	} else {
		for i := range places {
			places[i] = `SELECT ` + deliveryColumns + ` FROM delivery INDEXED BY delivery_owner
				WHERE owner = ?1 AND state = ` + places[i] + before
		}
		text = strings.Join(places, ` UNION ALL `)
	}
	return text + ` ORDER BY id DESC LIMIT ?2`, args
}

// withinThread gives the condition on the thread and the subscription. Those of a
// subscription are among those of its thread.
func withinThread(q *store.DeliveryQuery, args []any) (string, []any) {
	if q.Subscription == "" {
		return fmt.Sprintf(`thread = ?%d`, len(args)+1), append(args, q.Thread)
	}
	n := len(args) + 1
	which := fmt.Sprintf(`subscription = ?%d AND thread = (SELECT thread FROM subscription WHERE id = ?%d)`, n, n)
	args = append(args, q.Subscription)
	if q.Thread != "" {
		which += fmt.Sprintf(` AND thread = ?%d`, n+1)
		args = append(args, q.Thread)
	}
	return which, args
}

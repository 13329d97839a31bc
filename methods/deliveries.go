package methods

import (
	"context"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// ListDeliveries is the extension task.deliveries: every attempt to reach the
// caller's own subscriptions, newest first, or just one.
//
// Errors: -32602, -42001 (also reasons subscription_not_found and
// delivery_not_found).
func (s *Service) ListDeliveries(ctx context.Context, c *rpc.Call, p arc.ListDeliveriesParams) (*arc.DeliveryList, error) {
	list := &arc.DeliveryList{Type: "deliveries", Deliveries: []arc.Delivery{}}
	if p.DeliveryID != "" {
		d, _, err := s.delivery(ctx, c, p.DeliveryID)
		if err != nil {
			return nil, err
		}
		list.Deliveries = append(list.Deliveries, *d)
		return list, nil
	}
	q, err := s.deliveryQuery(ctx, c, &p)
	if err != nil {
		return nil, err
	}
	q.Limit++ // one more, to know whether there is a next page
	found, err := s.store.Deliveries(ctx, q)
	if err != nil {
		return nil, err
	}
	if len(found) == q.Limit {
		found = found[:q.Limit-1]
		list.NextCursor = idCursor(found[len(found)-1].ID)
	}
	for _, f := range found {
		d, err := decodeDelivery(f)
		if err != nil {
			return nil, err
		}
		list.Deliveries = append(list.Deliveries, *d)
	}
	return list, nil
}

// deliveryQuery checks the params of task.deliveries.
func (s *Service) deliveryQuery(ctx context.Context, c *rpc.Call, p *arc.ListDeliveriesParams) (q store.DeliveryQuery, err error) {
	q = store.DeliveryQuery{Owner: c.Principal.Owner(), Thread: p.TaskID, Subscription: p.SubscriptionID}
	if q.Limit, err = pageLimit(p.Limit); err != nil {
		return q, err
	}
	for _, state := range p.State {
		known, ok := deliveryStates[state]
		if !ok {
			return q, arc.InvalidParam("state", "must list delivered, failed or dead")
		}
		q.State = append(q.State, known)
	}
	if q.Before, err = parseIDCursor(p.Cursor, deliveryPrefix); err != nil {
		return q, err
	}
	if p.TaskID != "" {
		if _, err = s.task(ctx, c, p.TaskID); err != nil {
			return q, err
		}
	}
	if p.SubscriptionID != "" {
		_, err = s.subscription(ctx, c, p.SubscriptionID)
	}
	return q, err
}

// delivery reads an attempt, and the subscription that it was for, for their owner.
func (s *Service) delivery(ctx context.Context, c *rpc.Call, id string) (*arc.Delivery, *subscription, error) {
	if id == "" {
		return nil, nil, arc.InvalidParam("deliveryId", "is required")
	}
	found, err := s.store.Delivery(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && found.Owner != c.Principal.Owner() {
		return nil, nil, notDelivered(id)
	}
	if err != nil {
		return nil, nil, err
	}
	sub, err := s.subscription(ctx, c, found.Subscription)
	if arc.CodeOf(err) == arc.CodeTaskNotFound {
		return nil, nil, notDelivered(id)
	}
	if err != nil {
		return nil, nil, err
	}
	d, err := decodeDelivery(found)
	return d, sub, err
}

func notDelivered(id string) error {
	return arc.Errorf(arc.CodeTaskNotFound, "there is no such delivery").
		With("deliveryId", id).With("reason", "delivery_not_found").With("retryable", false)
}

// Most replays at once, of one owner and of all: each is a call that somebody asks
// for and an address of their choice gets.
const (
	ownerReplays = 4
	maxReplays   = 32
)

// ReplayDelivery is the extension task.replay: the event of an attempt is sent once
// more, at once, whatever became of its subscription, with the same message id and a
// new signature. It answers with that attempt, also when it fails. What is due to be
// sent anyway is sent all the same.
//
// Errors: -42001 (reason delivery_not_found), -32602 (reason event_gone: the log no
// longer has it), -44007 (reason too_many_replays), -32601 (reason webhooks_off).
func (s *Service) ReplayDelivery(ctx context.Context, c *rpc.Call, p arc.ReplayDeliveryParams) (*arc.ReplayDeliveryResult, error) {
	past, sub, err := s.delivery(ctx, c, p.DeliveryID)
	if err != nil {
		return nil, err
	}
	if s.cfg.Webhooks == nil {
		return nil, webhooksOff(c.Method)
	}
	evs, _, err := s.store.Events(ctx, sub.Thread, past.Seq-1, 1)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if len(evs) == 0 || evs[0].Seq != past.Seq {
		return nil, arc.InvalidParam("deliveryId", "is of an event that is no longer kept").
			With("reason", "event_gone").With("deliveryId", past.ID)
	}
	if !s.webhooks.paces.allow(sub.Owner, s.now()) || !s.webhooks.replays.take(sub.Owner) {
		return nil, tooManyReplays()
	}
	defer s.webhooks.replays.give(sub.Owner)
	if len(evs[0].Data) > large {
		if !s.webhooks.larges.take(sub.Owner) {
			return nil, tooManyReplays()
		}
		defer s.webhooks.larges.give(sub.Owner)
	}
	// The receiver gets it even if who asked for it has left: so it is recorded.
	ctx = context.WithoutCancel(ctx)
	made, _ := s.attempt(ctx, sub, evs[0], past.Attempt+1)
	made.Replay = true
	if made.State == arc.DeliveryFailed {
		made.State = arc.DeliveryDead // nobody tries this one again
	}
	if err := s.store.AddDeliveries(ctx, []store.Delivery{sub.storedDelivery(made)}); err != nil {
		return nil, err
	}
	return &arc.ReplayDeliveryResult{Type: "delivery", Delivery: made}, nil
}

func tooManyReplays() error {
	e := arc.Errorf(arc.CodeRateLimited, "too many replays at once; try again in a moment").
		With("reason", "too_many_replays").With("retryable", true)
	e.RetryAfter = time.Second
	return e
}

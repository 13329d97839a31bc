package methods

import (
	"context"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// stretch is how many events are sent, and lookStretch how many are looked at, before
// it is stored how far a subscription came. After a crash as many may be sent again.
const (
	stretch     = 16
	lookStretch = 100
)

// Events of a task that are more than large bytes together need one of few places, so
// that the memory for messages is bounded. One owner gets some of them, or those whose
// receivers are slow would hold up everybody.
const (
	large       = 1 << 20
	maxLarges   = 4
	ownerLarges = 2
)

// round is the work on one claimed subscription.
type round struct {
	s     *Service
	sub   *subscription
	start time.Time
	made  []store.Delivery
	place bool // for large events
}

// sendEvents sends what the log has behind a claimed subscription's cursor, one
// event after the other, and stores how far it came. It reports whether there is
// more to do at once.
func (s *Service) sendEvents(ctx context.Context, sub *subscription) (more bool) {
	r := &round{s: s, sub: sub, start: s.now()}
	sub.Due = time.Time{} // not before the next event
	more = r.send(ctx)
	if r.place {
		s.webhooks.larges.give(sub.Owner)
	}
	if more || ctx.Err() != nil && sub.Ended.IsZero() && sub.Due.IsZero() {
		sub.Due = s.now()
	}
	return s.settleSubscription(context.WithoutCancel(ctx), sub, r.made) && more
}

func (r *round) send(ctx context.Context) (more bool) {
	for {
		evs, _, err := r.s.store.Events(ctx, r.sub.Thread, r.sub.Cursor, lookStretch)
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) {
				r.s.logFailure(err, "reading events for a subscription", r.sub.rec.Agent)
				r.sub.Due = r.s.now().Add(lookAgain)
			}
			return false
		}
		if len(evs) == 0 {
			return false
		}
		if !r.takePlace(evs) {
			r.sub.Due = r.s.now().Add(lookAgain)
			return false
		}
		for _, ev := range evs {
			if !r.sub.wants(ev.Type) {
				r.sub.pass(ev.Seq)
				continue
			}
			if len(r.made) == stretch || r.s.now().Sub(r.start) >= workTime {
				return true
			}
			if len(r.made) > 0 && !r.ours(ctx) || !r.sendOne(ctx, ev) {
				return false
			}
		}
	}
}

// ours tells whether the subscription is still this round's: while an attempt was made,
// its owner may have ended it.
func (r *round) ours(ctx context.Context) bool {
	is, err := r.s.store.Subscription(ctx, r.sub.ID)
	return err != nil || is.Lease == r.sub.Lease // without an answer, settling finds out
}

// takePlace takes a place for large events, if these are such.
func (r *round) takePlace(evs []arc.Event) bool {
	size := 0
	for _, ev := range evs {
		size += len(ev.Data)
	}
	if r.place || size <= large {
		return true
	}
	r.place = r.s.webhooks.larges.take(r.sub.Owner)
	return r.place
}

// sendOne sends an event once, and reports whether the next one may follow.
func (r *round) sendOne(ctx context.Context, ev arc.Event) bool {
	d, after := r.s.attempt(ctx, r.sub, ev, r.sub.rec.Tries+1)
	if ctx.Err() != nil && d.State != arc.DeliveryDelivered {
		return false // it was cut off by us
	}
	more := r.sub.judge(d, after, r.s.now())
	r.made = append(r.made, r.sub.storedDelivery(d))
	r.s.logDelivery(r.sub, d)
	return more && ctx.Err() == nil
}

// settleSubscription stores how far a claimed subscription came, and gives it up. It
// reports false if it was no longer ours, or could not be stored: then it comes back
// when its lease ends.
func (s *Service) settleSubscription(ctx context.Context, sub *subscription, made []store.Delivery) bool {
	err := s.store.SettleSubscription(ctx, sub.stored(), s.now(), made)
	switch {
	case err == nil:
		return true
	case errors.Is(err, store.ErrNotFound): // its task is gone
		return false
	case errors.Is(err, store.ErrConflict): // it was ended, or taken over
		if err = s.store.AddDeliveries(ctx, made); err == nil {
			return false
		}
	}
	s.logFailure(err, "storing deliveries", sub.rec.Agent)
	return false
}

// logDelivery tells operators of what will not arrive.
func (s *Service) logDelivery(sub *subscription, d *arc.Delivery) {
	if d.State == arc.DeliveryDelivered {
		return
	}
	level := s.log.Debug()
	if !sub.Ended.IsZero() {
		level = s.log.Warn().Str("ended", sub.rec.Reason)
	}
	// The path and query of a callback URL may be secret.
	level.Str("event", "webhook_"+d.State).Str("subscription", sub.ID).Str("task", sub.Thread).Str("host", sub.host()).
		Int("attempt", d.Attempt).Int("status", d.Status).Str("problem", d.Error).Msg("a webhook was not delivered")
}

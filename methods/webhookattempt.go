package methods

import (
	"context"
	"errors"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// Limits of deliveries (contract, section 4.5; documented in docs/webhooks.md).
const (
	attemptTimeout = 15 * time.Second // after which an attempt has failed
	firstRetry     = time.Second      // upper end of the first pause; each later one is twice as long
	longestRetry   = time.Hour        // upper end of any pause
	longestAfter   = 24 * time.Hour   // the most that Retry-After can ask for
	givenUpAfter   = 24 * time.Hour   // from the first attempt of an event
	refusalsToEnd  = 3                // events in a row

	statusGone = 410 // the receiver wants nothing more
)

// attempt sends an event once and says how that went: delivered, failed (it makes
// sense to try again) or dead. after is what the receiver asked for, in a failed one.
// A dead one with status 410 wants nothing more at all.
func (s *Service) attempt(ctx context.Context, sub *subscription, ev arc.Event, n int) (d *arc.Delivery, after time.Duration) {
	at := s.now()
	d = &arc.Delivery{
		ID: s.webhooks.newDeliveryID(at), SubscriptionID: sub.ID, TaskID: sub.Thread,
		MessageID: sub.messageID(ev), Event: ev.Type, Seq: ev.Seq, Attempt: n, At: arc.At(at),
	}
	ctx, span, parent := s.deliverySpan(ctx, sub, d)
	defer func() { endDelivery(span, d) }()
	answer, err := s.post(ctx, sub, ev, at, parent)
	d.Duration = s.now().Sub(at).Milliseconds()
	d.Status = answer.Status
	refused, isRefused := errors.AsType[*arc.Error](err)
	switch {
	case isRefused:
		d.State, d.Error = arc.DeliveryDead, valid(refused.Message)
	case err != nil:
		d.State, d.Error = arc.DeliveryFailed, valid(err.Error())
	case answer.Status/100 == 2:
		d.State = arc.DeliveryDelivered
	default:
		d.State, d.Error = arc.DeliveryDead, "the receiver answered with status "+strconv.Itoa(answer.Status)
		if retryable(answer.Status) {
			d.State = arc.DeliveryFailed
		}
	}
	return d, answer.RetryAfter
}

func (s *Service) post(ctx context.Context, sub *subscription, ev arc.Event, at time.Time, parent string) (WebhookAnswer, error) {
	body := sub.body(ev)
	header, err := sub.header(ev, body, at, s.cfg.Version)
	if err != nil {
		s.logFailure(err, "signing a webhook", sub.rec.Agent)
		return WebhookAnswer{}, arc.Errorf(arc.CodeInternal, "the message could not be signed").Because(err)
	}
	if parent != "" {
		header["Traceparent"] = parent
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	answer, err := s.cfg.Webhooks.Post(ctx, Webhook{URL: sub.rec.URL, Header: header, Body: body})
	if errors.Is(err, context.DeadlineExceeded) {
		err = errors.New("no answer came in time")
	}
	return answer, err
}

// retryable tells whether the same message may be taken later: time-outs, too many
// of them, and whatever is wrong on the receiver's side.
func retryable(status int) bool {
	switch status {
	case 408, 425, 429: // Request Timeout, Too Early, Too Many Requests
		return true
	}
	return status >= 500
}

// pause is how long to wait after n attempts in vain: a random time up to 1, 2, 4, …
// seconds, at most an hour, so that many who failed at once do not come back at once;
// at least what the receiver asked for.
func pause(n int, after time.Duration) time.Duration {
	most := longestRetry
	if n <= 12 { // 2^12 s are more than an hour
		most = min(most, firstRetry<<(n-1))
	}
	return max(rand.N(most)+time.Millisecond, min(after, longestAfter))
}

// judge moves a subscription to where an attempt leads. more says that the next
// event may be sent now.
func (sub *subscription) judge(d *arc.Delivery, after time.Duration, now time.Time) (more bool) {
	defer func() { sub.rec.Last = d }()
	switch {
	case d.State == arc.DeliveryDelivered:
		sub.pass(d.Seq)
		sub.rec.Refused = 0
		return true
	case d.State == arc.DeliveryFailed:
		sub.rec.Tries++
		if sub.rec.Since == 0 {
			sub.rec.Since = d.At.UnixMilli()
		}
		// What a receiver asks for does not end it: one that names a day is tried then.
		if !now.Before(time.UnixMilli(sub.rec.Since).Add(givenUpAfter)) {
			d.State = arc.DeliveryDead
			sub.end(endUndeliverable, now)
			return false
		}
		next := now.Add(pause(sub.rec.Tries, after)).Truncate(time.Millisecond)
		sub.Due, d.Next = next, arc.At(next)
		return false
	case d.Status == statusGone:
		sub.end(endGone, now)
		return false
	}
	sub.pass(d.Seq)
	if sub.rec.Refused++; sub.rec.Refused >= refusalsToEnd {
		sub.end(endRefused, now)
		return false
	}
	return true
}

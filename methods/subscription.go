package methods

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// Why a subscription ended.
const (
	endUnsubscribed  = "unsubscribed"  // its owner wanted it
	endGone          = "gone"          // the receiver answered 410
	endRefused       = "refused"       // the receiver refused three events in a row
	endUndeliverable = "undeliverable" // the receiver could not be reached for a day
)

// subscriptionRecord is what a subscription's Body holds. Times are Unix
// milliseconds, 0 for none.
type subscriptionRecord struct {
	URL     string          `json:"url"`
	Events  []arc.EventType `json:"events"`
	Secret  string          `json:"secret"`
	Reason  string          `json:"reason,omitempty"`  // why it ended
	Tries   int             `json:"tries,omitempty"`   // in vain, of the first event behind the cursor
	Since   int64           `json:"since,omitempty"`   // when the first of these began
	Refused int             `json:"refused,omitempty"` // events in a row that are dead
	Last    *arc.Delivery   `json:"last,omitempty"`    // attempt

	// Of the task, where none of it ever changes.
	Agent       string `json:"agent"`
	From        string `json:"from"`
	Trace       string `json:"trace,omitempty"`
	TraceParent string `json:"traceParent,omitempty"`
}

// subscription is a store.Subscription with its Body decoded.
type subscription struct {
	store.Subscription
	rec subscriptionRecord
}

func decodeSubscription(s store.Subscription) (*subscription, error) {
	sub := &subscription{Subscription: s}
	if err := jsonv2.Unmarshal(s.Body, &sub.rec); err != nil {
		return nil, fmt.Errorf("decoding subscription %s: %w", s.ID, err)
	}
	return sub, nil
}

// stored encodes the subscription for the store.
func (sub *subscription) stored() store.Subscription {
	s := sub.Subscription
	s.Body = encode(&sub.rec)
	return s
}

// end has the subscription stop for good.
func (sub *subscription) end(reason string, now time.Time) {
	sub.Ended, sub.Due, sub.rec.Reason = now, time.Time{}, reason
}

// pass moves the cursor to an event that is dealt with.
func (sub *subscription) pass(seq int64) {
	sub.Cursor, sub.rec.Tries, sub.rec.Since = seq, 0, 0
}

func (sub *subscription) wants(kind arc.EventType) bool { return slices.Contains(sub.rec.Events, kind) }

// host is where the receiver is: name and port as the URL has them.
func (sub *subscription) host() string {
	u, err := url.Parse(sub.rec.URL)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Host)
}

// view gives what its owner may read: all but the secret.
func (sub *subscription) view() arc.Subscription {
	v := arc.Subscription{
		ID: sub.ID, TaskID: sub.Thread, CallbackURL: sub.rec.URL, Events: sub.rec.Events,
		Created: arc.At(sub.Created), Active: sub.Ended.IsZero(), Reason: sub.rec.Reason, Last: sub.rec.Last,
	}
	if !v.Active {
		v.EndedAt = arc.At(sub.Ended)
	}
	// While somebody sends, Due is the end of the lease.
	if v.Active && sub.rec.Tries > 0 && sub.Lease == "" && !sub.Due.IsZero() {
		v.Next = arc.At(sub.Due)
	}
	return v
}

// deliveryStates are the words of the protocol for the states in the store.
var deliveryStates = map[string]store.DeliveryState{
	arc.DeliveryDelivered: store.Delivered, arc.DeliveryFailed: store.DeliveryFailed, arc.DeliveryDead: store.DeliveryDead,
}

// storedDelivery encodes an attempt for the store.
func (sub *subscription) storedDelivery(d *arc.Delivery) store.Delivery {
	return store.Delivery{
		ID: d.ID, Subscription: sub.ID, Thread: sub.Thread, Owner: sub.Owner,
		Seq: d.Seq, At: d.At.Time, State: deliveryStates[d.State], Body: encode(*d),
	}
}

func decodeDelivery(d store.Delivery) (*arc.Delivery, error) {
	v := &arc.Delivery{}
	if err := jsonv2.Unmarshal(d.Body, v); err != nil {
		return nil, fmt.Errorf("decoding delivery %s: %w", d.ID, err)
	}
	return v, nil
}

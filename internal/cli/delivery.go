package cli

import (
	"strconv"
	"strings"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// deliveryState is what arcd itself says about an attempt to send an event to a
// subscriber. Everything in it was checked.
type deliveryState struct {
	DeliveryID     *string `json:"delivery_id"`
	SubscriptionID *string `json:"subscription_id"`
	TaskID         *string `json:"task_id"`
	MessageID      *string `json:"message_id"` // the header webhook-id: the same in all attempts for an event
	Event          string  `json:"event"`
	Seq            int64   `json:"seq"`     // of the event
	State          string  `json:"state"`   // delivered; failed: it is tried again; dead: only deliveries replay sends it again
	Attempt        int     `json:"attempt"` // for this event, from 1
	Replay         bool    `json:"replay"`  // somebody asked for it
	At             *string `json:"at"`
	DurationMS     int64   `json:"duration_ms"`
	HTTPStatus     *int    `json:"http_status"` // null: no answer came
	NextAttempt    *string `json:"next_attempt"`
}

// newDeliveryState takes over what the server says about an attempt.
func newDeliveryState(d *arc.Delivery) deliveryState {
	s := deliveryState{
		DeliveryID: wireID(d.ID), SubscriptionID: wireID(d.SubscriptionID), TaskID: wireID(d.TaskID), MessageID: wireID(d.MessageID),
		Event: wireWord(string(d.Event)), Seq: d.Seq, State: wireWord(d.State), Attempt: d.Attempt, Replay: d.Replay,
		At: wireTime(d.At), DurationMS: d.Duration, NextAttempt: wireTime(d.Next),
	}
	if d.Status != 0 {
		s.HTTPStatus = &d.Status
	}
	return s
}

// result says how it went, in a word or two.
func (s *deliveryState) result() string {
	switch {
	case s.HTTPStatus != nil:
		return s.State + ", HTTP " + strconv.Itoa(*s.HTTPStatus)
	case s.State == arc.DeliveryDelivered:
		return s.State
	}
	return s.State + ", no answer"
}

// brief says it in as few columns as a table leaves: the ids must stay whole.
func (s *deliveryState) brief() string {
	if s.HTTPStatus == nil {
		return s.State
	}
	return s.State + " " + strconv.Itoa(*s.HTTPStatus)
}

// wideTable is from how many columns on a table has more of them than it needs.
const wideTable = 150

// attempts says which attempt it was.
func (s *deliveryState) attempts() string {
	if s.Replay {
		return strconv.Itoa(s.Attempt) + " replay"
	}
	return strconv.Itoa(s.Attempt)
}

// externalDelivery is an attempt as the server gave it.
type externalDelivery struct {
	mark
	arc.Delivery
}

// readDelivery is an attempt as it was read.
type readDelivery struct {
	deliveryState
	Delivery *externalDelivery `json:"delivery"` // all of it, as the server gave it
}

// newReadDelivery takes over an attempt.
func newReadDelivery(d *arc.Delivery) readDelivery {
	return readDelivery{newDeliveryState(d), &externalDelivery{external, *d}}
}

// show writes an attempt for people.
func (r readDelivery) show(p *page) {
	p.field("delivery", value(r.DeliveryID))
	p.field("subscriber", value(r.SubscriptionID))
	p.field("task", value(r.TaskID))
	p.field("event", r.Event+" ("+strconv.FormatInt(r.Seq, 10)+")")
	p.line("%s %s", p.paint(dim, pad("state:", 12)), p.paint(deliveryColour(r.State), r.result()))
	p.field("attempt", r.attempts())
	p.field("at", value(r.At))
	p.field("took", strconv.FormatInt(r.DurationMS, 10)+" ms")
	p.field("next", value(r.NextAttempt))
	if r.Delivery.Error != "" {
		p.quote("error as the server tells it", r.Delivery.Error)
	}
}

func (r readDelivery) plain() []string { return []string{r.State} }

// deliveryColour gives the colour of a state.
func deliveryColour(state string) string {
	switch state {
	case arc.DeliveryDelivered:
		return green
	case arc.DeliveryDead:
		return red
	}
	return yellow
}

// subscriptionState is what arcd itself says about a subscription. Everything in it
// was checked.
type subscriptionState struct {
	SubscriptionID *string        `json:"subscription_id"`
	TaskID         *string        `json:"task_id"`
	Active         bool           `json:"active"`
	Reason         *string        `json:"reason"` // why it ended: unsubscribed, gone, refused, undeliverable
	Events         []string       `json:"events"`
	CreatedAt      *string        `json:"created_at"`
	EndedAt        *string        `json:"ended_at"`
	NextAttempt    *string        `json:"next_attempt"`
	LastAttempt    *deliveryState `json:"last_attempt"` // null: nothing was sent yet
}

// newSubscriptionState takes over what the server says about a subscription.
func newSubscriptionState(s *arc.Subscription) subscriptionState {
	state := subscriptionState{
		SubscriptionID: wireID(s.ID), TaskID: wireID(s.TaskID), Active: s.Active, Events: []string{},
		CreatedAt: wireTime(s.Created), EndedAt: wireTime(s.EndedAt), NextAttempt: wireTime(s.Next),
	}
	if s.Reason != "" {
		state.Reason = optional(wireWord(s.Reason))
	}
	for _, event := range s.Events {
		state.Events = append(state.Events, wireWord(string(event)))
	}
	if s.Last != nil {
		last := newDeliveryState(s.Last)
		state.LastAttempt = &last
	}
	return state
}

// fails tells whether its receiver does not take what it is sent.
func (s *subscriptionState) fails() bool {
	if last := s.LastAttempt; last != nil && last.State != arc.DeliveryDelivered {
		return true
	}
	return !s.Active && s.Reason != nil && *s.Reason != "unsubscribed"
}

// state says in a few words how it is.
func (s *subscriptionState) state() string {
	words := []string{"active"}
	if !s.Active {
		words = []string{"ended"}
		if s.Reason != nil {
			words = append(words, *s.Reason)
		}
	}
	if last := s.LastAttempt; last != nil && last.State != arc.DeliveryDelivered {
		words = append(words, last.brief())
	}
	return strings.Join(words, ", ")
}

// externalSubscription is a subscription as the server gave it, without its secret.
type externalSubscription struct {
	mark
	arc.Subscription
}

// readSubscription is a subscription as it was read.
type readSubscription struct {
	subscriptionState
	Subscription *externalSubscription `json:"subscription"` // all of it, as the server gave it
}

// newReadSubscription takes over a subscription.
func newReadSubscription(s *arc.Subscription) readSubscription {
	told := *s
	told.Secret = ""
	return readSubscription{newSubscriptionState(s), &externalSubscription{external, told}}
}

// notThere makes the error of what the server does not have, or has for somebody
// else. The protocol has no code of its own for such things: a server answers as for
// a task that is not there. Other errors stay as they are.
func (c *console) notThere(err error, what, id, list string) error {
	told := c.classify(err)
	if told == nil || told.Code != outcome.TaskNotFound && told.Code != outcome.NotFound {
		return err
	}
	e := outcome.Errorf(outcome.NotFound, "There is no %s %s, or it is somebody else's.", what, id).Because(told).
		Suggest("%s shows yours.", c.nextCommand(list))
	e.RPCCode, e.RPCMethod, e.HTTPStatus, e.ServerReason, e.ServerRequestID = told.RPCCode, told.RPCMethod, told.HTTPStatus, told.ServerReason, told.ServerRequestID
	return e
}

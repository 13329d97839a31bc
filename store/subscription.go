package store

import (
	"context"
	"time"
)

// Subscription says that somebody is told of a thread's events: the row, and the
// job of doing it. There is no row per event; what is left to send is what the
// thread's log has behind Cursor.
type Subscription struct {
	ID      string
	Thread  string // that it belongs to, and goes with
	Owner   string // auth.Principal.Owner of who subscribed
	Created time.Time
	Ended   time.Time // when it stopped being active; zero: it is

	// Cursor is the Seq of the last event that was dealt with.
	Cursor int64
	// Due is when somebody must look at it; zero: not before the next event.
	Due time.Time
	// Lease is the token of who looks at it right now, "" if nobody does; set by
	// ClaimSubscriptions, emptied by SettleSubscription.
	Lease string

	// Body is the rest, as package methods encodes it. Engines do not read it.
	Body []byte
}

// Delivery is one attempt to tell one event to one subscription.
type Delivery struct {
	ID           string // sorts by time
	Subscription string
	Thread       string // of the subscription; set by the store, like Owner
	Owner        string
	Seq          int64     // of the event
	At           time.Time // when the attempt began
	State        DeliveryState

	// Body is the rest, as package methods encodes it. Engines do not read it.
	Body []byte
}

// DeliveryState says how an attempt ended.
type DeliveryState uint8

// The states of an attempt. Dead: it failed, and there will be no other unless
// somebody asks for it.
const (
	Delivered DeliveryState = iota + 1
	DeliveryFailed
	DeliveryDead
)

// SubscriptionQuery selects subscriptions of an owner by ID, ascending.
type SubscriptionQuery struct {
	Owner  string
	Thread string // "": of all threads
	After  string // ID of the last one of the page before
	Limit  int    // at least 1
}

// DeliveryQuery selects attempts of an owner, newest (greatest ID) first.
type DeliveryQuery struct {
	Owner        string
	Thread       string          // "": of all
	Subscription string          // "": of all
	State        []DeliveryState // any of these; nil: all
	Before       string          // ID of the last one of the page before; "": from the newest
	Limit        int             // at least 1
}

// Subscriptions is the part of a [Store] that keeps who is told what, and how that
// went. Pruning a thread takes them with it.
type Subscriptions interface {
	// Subscribe adds one. It is due at its Due; if that is zero, it is due now where the
	// thread has events behind its Cursor already. ErrNotFound without the thread,
	// ErrExists.
	Subscribe(ctx context.Context, s Subscription, now time.Time) error
	// Subscription reads one. ErrNotFound.
	Subscription(ctx context.Context, id string) (Subscription, error)
	// Subscriptions reads a page.
	Subscriptions(ctx context.Context, q SubscriptionQuery) ([]Subscription, error)
	// ClaimSubscriptions takes up to max that are due, by Due, for who holds lease: each
	// becomes due again at until, with that lease, so that another may take it over from
	// one who is gone.
	ClaimSubscriptions(ctx context.Context, now, until time.Time, lease string, max int) ([]Subscription, error)
	// SettleSubscription stores Ended, Cursor, Due and Body of a claimed one, gives up
	// its lease, and adds the attempts that were made. If it is active and Due is zero,
	// it becomes due at now where the thread has events behind Cursor. ErrConflict if
	// the lease is somebody else's by now; ErrNotFound.
	SettleSubscription(ctx context.Context, s Subscription, now time.Time, made []Delivery) error
	// EditSubscription stores Ended, Due and Body of one, whoever holds its lease, and
	// takes the lease away. It must be as it was read (Ended, Cursor, Due, Lease and Body
	// of was), else ErrConflict. ErrNotFound.
	EditSubscription(ctx context.Context, was, s Subscription) error
	// AddDeliveries adds attempts that were made without a claim, or whose claim was
	// taken away meanwhile. Those whose subscription is not there, or no more, are
	// left out, and so are those whose ID is there already; that is no error.
	AddDeliveries(ctx context.Context, made []Delivery) error
	// Deliveries reads a page of attempts.
	Deliveries(ctx context.Context, q DeliveryQuery) ([]Delivery, error)
	// Delivery reads one attempt. ErrNotFound.
	Delivery(ctx context.Context, id string) (Delivery, error)
}

package methods

import (
	"context"
	"time"
)

// Webhooks sends messages to the URLs of subscriptions. What may be called, and how,
// is its business. Its methods are called concurrently.
type Webhooks interface {
	// Check tells whether the URL may be called: an [*arc.Error] if not, which the
	// caller of task.subscribe is answered with.
	Check(ctx context.Context, url string) error
	// Post sends one message. An answer of any status is no error; what keeps an answer
	// from coming is, and the subscriber reads its text. A URL that must not be called is
	// an [*arc.Error], of which the subscriber reads the message. It should come to an
	// end by itself; ctx ends after 15 s.
	Post(ctx context.Context, p Webhook) (WebhookAnswer, error)
}

// Webhook is a message to be posted as it is.
type Webhook struct {
	URL    string
	Header map[string]string
	Body   []byte // is signed: not a byte may be changed
}

// WebhookAnswer is what the receiver answered.
type WebhookAnswer struct {
	Status     int
	RetryAfter time.Duration // 0: it named no time
}

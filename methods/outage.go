package methods

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// ErrOutage is in the chain of what a call gives while the store cannot be reached.
var ErrOutage = store.ErrUnavailable

// ReasonOutage is details.reason of such a refusal.
const ReasonOutage = "store_unavailable"

// Outage gives an error of the store that cannot be reached as callers see it: -41002,
// HTTP status 503, to be tried again in a second. Whether the call was made is
// unknown: an idempotency key makes sure that it is made once. Other errors are given
// as they are.
func Outage(err error) error {
	if !errors.Is(err, ErrOutage) {
		return err
	}
	if e, ok := errors.AsType[*arc.Error](err); ok {
		return e
	}
	e := arc.Errorf(arc.CodeAgentUnavailable, "the server cannot use its store now; try again").
		With("reason", ReasonOutage).With("retryable", true).Because(err)
	e.RetryAfter = time.Second
	return e
}

// outageLog is how often an outage is logged.
const outageLog = 10 * time.Second

// sayOutage tells whether to log that the store is away: everybody finds out at once.
func (s *Service) sayOutage() bool {
	now, last := time.Now().UnixMilli(), s.said.Load()
	return now-last >= outageLog.Milliseconds() && s.said.CompareAndSwap(last, now)
}

// withOutage has a method tell outages as callers see them, in its streams too.
func withOutage(h rpc.Handler) rpc.Handler {
	return func(ctx context.Context, c *rpc.Call, params json.RawMessage) (any, error) {
		result, err := h(ctx, c, params)
		if err != nil {
			return nil, Outage(err)
		}
		stream, ok := result.(rpc.Stream)
		if !ok {
			return result, nil
		}
		return rpc.Stream(func(yield func(rpc.StreamEvent, error) bool) {
			stream(func(ev rpc.StreamEvent, err error) bool { return yield(ev, Outage(err)) })
		}), nil
	}
}

// turnstile is a mutex for what may take minutes: who waits for it is seen to wait.
type turnstile chan struct{}

func (t turnstile) Lock()   { t <- struct{}{} }
func (t turnstile) Unlock() { <-t }

// lockUntil is Lock for who does not wait longer than until done is closed; then it is
// false.
func (t turnstile) lockUntil(done <-chan struct{}) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-done:
		return false
	}
}

// persist has f store what was made, again and again while the store cannot be reached,
// until ctx ends or the process stops: who works on something goes on meanwhile, as far as its
// buffer reaches. f finds out whether a try that failed was made all the same.
func (w *work) persist(ctx context.Context, f func() error) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := f()
		if !errors.Is(err, ErrOutage) {
			return err
		}
		timer := time.NewTimer(pause/2 + rand.N(pause/2))
		select {
		case <-timer.C:
			continue
		case <-ctx.Done():
		case <-w.s.background.Done():
		}
		timer.Stop()
		return err
	}
}

// items reads what the work's thread has, when the store can be reached.
func (w *work) items(t store.Thread) (items []store.Item, err error) {
	err = w.persist(w.ctx, func() error {
		items, err = w.s.store.Items(w.ctx, t)
		return err
	})
	return items, err
}

// persistChat stores a change of the turn's chat. No other may be tried before it is
// known what became of this one.
func (w *work) persistChat(ctx context.Context, ch *change) error {
	unsure := false
	return w.persist(ctx, func() error {
		err := w.saveChat(ctx, ch)
		if unsure && errors.Is(err, errLost) && w.adopt(ctx, ch) {
			return nil
		}
		unsure = unsure || errors.Is(err, ErrOutage)
		return err
	})
}

// adopt tells whether the change that was refused is what the chat shows: that it was
// made before, and only the word of it got lost.
func (w *work) adopt(ctx context.Context, ch *change) bool {
	th, err := w.s.read(ctx, w.id)
	if err != nil || th.Rev != w.chat.Rev+1 || th.Seq != w.chat.Seq+int64(len(ch.events)) ||
		th.Items != w.chat.Items+len(ch.items) || !bytes.Equal(th.Body, w.chat.Body) {
		return false
	}
	w.chat.Thread = th.Thread
	return true
}

// steady tells whether the store can be relied upon to know who is at work: err is of
// the last look at it. When it comes back after an outage, those who have leases get
// time to renew them, before they count as gone.
func (s *Service) steady(err error) bool {
	now := time.Now()
	if errors.Is(err, ErrOutage) {
		s.outage = now
	}
	return err != nil || now.Sub(s.outage) > s.cfg.Lease/3+time.Second
}

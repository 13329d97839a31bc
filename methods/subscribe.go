package methods

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// maxActive is how many active subscriptions a task may have, and
// maxSubscriptions how many with those that have ended.
const (
	maxActive        = 20
	maxSubscriptions = 200
)

// subscribable are the events that can be subscribed to: those that the
// specification names.
var subscribable = []arc.EventType{
	arc.TaskCreatedEvent, arc.TaskStartedEvent, arc.TaskPausedEvent, arc.TaskResumedEvent, arc.TaskCompletedEvent,
	arc.TaskFailedEvent, arc.TaskCanceledEvent, arc.NewMessageEvent, arc.NewArtifactEvent, arc.StatusChangeEvent,
}

func subscribableEvent(ev arc.Event) bool { return slices.Contains(subscribable, ev.Type) }

// SubscribeTask is task.subscribe: what happens to the task from now on is sent to
// the URL. What its log has already is not; a task that has ended can be subscribed
// to, and nothing comes. The answer has the secret that signs the deliveries: it is
// told this once.
//
// Errors: -42001, -32602 (also reason too_many_subscriptions, and what
// [Webhooks].Check refuses), -32601 (reason webhooks_off: the server has none).
func (s *Service) SubscribeTask(ctx context.Context, c *rpc.Call, p arc.SubscribeTaskParams) (*arc.SubscribeTaskResult, error) {
	th, err := s.task(ctx, c, p.TaskID)
	if err != nil {
		return nil, err
	}
	if s.cfg.Webhooks == nil {
		return nil, webhooksOff(c.Method)
	}
	events, err := checkEvents(p.Events)
	if err != nil {
		return nil, err
	}
	if p.CallbackURL == "" {
		return nil, arc.InvalidParam("callbackUrl", "is required")
	}
	if err := s.cfg.Webhooks.Check(ctx, p.CallbackURL); err != nil {
		return nil, err
	}
	th, err = s.expectSubscribers(ctx, th.ID)
	if err != nil {
		return nil, err
	}
	sub := newSubscription(th, c.Principal.Owner(), p.CallbackURL, events, s.now())
	if err := s.addSubscription(ctx, sub); err != nil {
		return nil, err
	}
	poke(s.webhooks.poke) // there may be events since
	view := sub.view()
	view.Secret = sub.rec.Secret
	return &arc.SubscribeTaskResult{Type: "task", Subscription: &view}, nil
}

// expectSubscribers has every later event of a task wake its subscriptions. It
// comes before the subscription itself, so that no event falls between them.
func (s *Service) expectSubscribers(ctx context.Context, task string) (*thread, error) {
	th, err := s.edit(ctx, task, func(th *thread) (*change, error) {
		if th.rec.Subscribed || th.status().Terminal() {
			return nil, nil
		}
		th.rec.Subscribed = true
		return &change{}, nil
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, taskNotFound(task)
	}
	return th, err
}

func newSubscription(th *thread, owner, url string, events []arc.EventType, now time.Time) *subscription {
	return &subscription{
		Subscription: store.Subscription{ID: newID("sub-", now), Thread: th.ID, Owner: owner, Created: now, Cursor: th.Seq},
		rec: subscriptionRecord{
			URL: url, Events: events, Secret: newWebhookSecret(),
			Agent: th.Agent, From: th.From, Trace: th.Trace, TraceParent: th.rec.TraceParent,
		},
	}
}

// newWebhookSecret makes a secret in the form of Standard Webhooks ("Signature
// scheme"): whsec_ and base64 of 32 random bytes.
func newWebhookSecret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(b[:])
}

// addSubscription stores a subscription, unless its task has as many as it may.
func (s *Service) addSubscription(ctx context.Context, sub *subscription) error {
	counting := s.webhooks.counting.of(sub.Thread)
	counting.Lock()
	defer counting.Unlock()
	all, err := s.store.Subscriptions(ctx, store.SubscriptionQuery{Owner: sub.Owner, Thread: sub.Thread, Limit: maxSubscriptions})
	if err != nil {
		return err
	}
	active := 0
	for _, other := range all {
		if other.Ended.IsZero() {
			active++
		}
	}
	if active >= maxActive || len(all) >= maxSubscriptions {
		return arc.InvalidParam("taskId", "has as many subscriptions as a task may have").
			With("reason", "too_many_subscriptions").With("maxActive", maxActive).With("max", maxSubscriptions)
	}
	err = s.store.Subscribe(ctx, sub.stored(), sub.Created)
	if errors.Is(err, store.ErrNotFound) {
		return taskNotFound(sub.Thread)
	}
	return err
}

// checkEvents gives the events to send, without doubles; without any, the
// specification's default.
func checkEvents(events []arc.EventType) ([]arc.EventType, error) {
	if len(events) == 0 {
		return []arc.EventType{arc.TaskCompletedEvent, arc.TaskFailedEvent}, nil
	}
	var wanted []arc.EventType
	for i, event := range events {
		if !slices.Contains(subscribable, event) {
			return nil, arc.InvalidParam("events."+strconv.Itoa(i), "must be one of "+eventNames()).
				With("event", shortened(string(event)))
		}
		if !slices.Contains(wanted, event) {
			wanted = append(wanted, event)
		}
	}
	return wanted, nil
}

func eventNames() string {
	names := make([]string, len(subscribable))
	for i, event := range subscribable {
		names[i] = string(event)
	}
	return strings.Join(names, ", ")
}

// shortened cuts what a caller sent to what an error may repeat.
func shortened(text string) string { return valid(text[:min(len(text), 100)]) }

// UnsubscribeTask is the extension task.unsubscribe: nothing more is sent. One that
// has ended is given as it is. A delivery that is under way may still arrive.
//
// Errors: -42001 (reason subscription_not_found).
func (s *Service) UnsubscribeTask(ctx context.Context, c *rpc.Call, p arc.UnsubscribeTaskParams) (*arc.SubscribeTaskResult, error) {
	for range maxEdits {
		sub, err := s.subscription(ctx, c, p.SubscriptionID)
		if err != nil {
			return nil, err
		}
		if sub.Ended.IsZero() {
			was := sub.Subscription
			sub.end(endUnsubscribed, s.now())
			err = s.store.EditSubscription(ctx, was, sub.stored())
		}
		switch {
		case err == nil:
			view := sub.view()
			return &arc.SubscribeTaskResult{Type: "task", Subscription: &view}, nil
		case errors.Is(err, store.ErrNotFound):
			return nil, notSubscribed(p.SubscriptionID)
		case !errors.Is(err, store.ErrConflict):
			return nil, err
		}
	}
	return nil, arc.Errorf(arc.CodeInternal, "too many changes at once; try again").
		With("reason", "contention").With("retryable", true)
}

// ListSubscriptions is the extension task.subscriptions: the caller's own, oldest
// first, with how they fare.
//
// Errors: -32602, -42001.
func (s *Service) ListSubscriptions(ctx context.Context, c *rpc.Call, p arc.ListSubscriptionsParams) (*arc.SubscriptionList, error) {
	q := store.SubscriptionQuery{Owner: c.Principal.Owner(), Thread: p.TaskID}
	var err error
	if q.Limit, err = pageLimit(p.Limit); err != nil {
		return nil, err
	}
	if p.TaskID != "" {
		if _, err := s.task(ctx, c, p.TaskID); err != nil {
			return nil, err
		}
	}
	if q.After, err = parseIDCursor(p.Cursor, "sub-"); err != nil {
		return nil, err
	}
	q.Limit++ // one more, to know whether there is a next page
	found, err := s.store.Subscriptions(ctx, q)
	if err != nil {
		return nil, err
	}
	list := &arc.SubscriptionList{Type: "subscriptions", Subscriptions: []arc.Subscription{}}
	if len(found) == q.Limit {
		found = found[:q.Limit-1]
		list.NextCursor = idCursor(found[len(found)-1].ID)
	}
	for _, f := range found {
		sub, err := decodeSubscription(f)
		if err != nil {
			return nil, err
		}
		list.Subscriptions = append(list.Subscriptions, sub.view())
	}
	return list, nil
}

// subscription reads a subscription for its owner. Whatever the caller may not see
// answers like what does not exist.
func (s *Service) subscription(ctx context.Context, c *rpc.Call, id string) (*subscription, error) {
	if id == "" {
		return nil, arc.InvalidParam("subscriptionId", "is required")
	}
	found, err := s.store.Subscription(ctx, id)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil, notSubscribed(id)
	case err != nil:
		return nil, err
	case found.Owner != c.Principal.Owner():
		return nil, notSubscribed(id)
	}
	if _, err := s.task(ctx, c, found.Thread); err != nil {
		if arc.CodeOf(err) == arc.CodeTaskNotFound {
			return nil, notSubscribed(id)
		}
		return nil, err
	}
	return decodeSubscription(found)
}

func notSubscribed(id string) error {
	return arc.Errorf(arc.CodeTaskNotFound, "there is no such subscription").
		With("subscriptionId", id).With("reason", "subscription_not_found").With("retryable", false)
}

func webhooksOff(method string) error {
	return arc.Errorf(arc.CodeMethodNotFound, "this server sends no webhooks").
		With("method", method).With("reason", "webhooks_off").With("retryable", false)
}

// pageLimit gives the size of a page.
func pageLimit(limit int) (int, error) {
	if limit == 0 {
		return pageDefault, nil
	}
	if limit < 1 || limit > maxPage {
		return 0, arc.InvalidParam("limit", "must be 1 to "+strconv.Itoa(maxPage))
	}
	return limit, nil
}

// idCursor names the last row of a page that is ordered by ids.
func idCursor(id string) string { return base64.RawURLEncoding.EncodeToString([]byte(id)) }

// parseIDCursor reads one; "" is the first page.
func parseIDCursor(cursor, prefix string) (id string, err error) {
	if cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil || !strings.HasPrefix(string(b), prefix) {
		return "", arc.InvalidParam("cursor", "must be the nextCursor of an earlier answer")
	}
	return string(b), nil
}

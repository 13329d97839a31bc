package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// subscription gives one with all fields of its own, that has seen no event.
func subscription(id, thread string) store.Subscription {
	return store.Subscription{ID: id, Thread: thread, Owner: "owner", Created: at(1), Body: []byte("body of " + id)}
}

// subscribe adds a subscription at a time and gives it as stored.
func subscribe(t testing.TB, s store.Store, sub store.Subscription, now int) store.Subscription {
	t.Helper()
	if err := s.Subscribe(t.Context(), sub, at(now)); err != nil {
		t.Fatalf("Subscribe of %s: %v", sub.ID, err)
	}
	return readSubscription(t, s, sub.ID)
}

func readSubscription(t testing.TB, s store.Store, id string) store.Subscription {
	t.Helper()
	sub, err := s.Subscription(t.Context(), id)
	if err != nil {
		t.Fatalf("Subscription(%s): %v", id, err)
	}
	return sub
}

// claim claims until 1,000 ms later.
func claim(t testing.TB, s store.Store, now int, lease string, limit int) []store.Subscription {
	t.Helper()
	got, err := s.ClaimSubscriptions(t.Context(), at(now), at(now+1000), lease, limit)
	if err != nil {
		t.Fatalf("ClaimSubscriptions: %v", err)
	}
	return got
}

func settle(t testing.TB, s store.Store, sub store.Subscription, now int, made ...store.Delivery) {
	t.Helper()
	if err := s.SettleSubscription(t.Context(), sub, at(now), made); err != nil {
		t.Fatalf("SettleSubscription of %s: %v", sub.ID, err)
	}
}

func subscriptionIDs(subs []store.Subscription) []string {
	var out []string
	for i := range subs {
		out = append(out, subs[i].ID)
	}
	return out
}

func testSubscribe(t *testing.T, s store.Store) {
	commit(t, s, store.Change{Thread: thread("a"), Events: events(2)})
	for what, tc := range map[string]struct {
		change func(*store.Subscription)
		due    time.Time
	}{
		"with all events behind it":      {func(x *store.Subscription) { x.Cursor = 2 }, time.Time{}},
		"with an event before it":        {func(x *store.Subscription) { x.Cursor = 1 }, at(50)},
		"with all events before it":      {func(*store.Subscription) {}, at(50)},
		"with a time of its own":         {func(x *store.Subscription) { x.Due = at(70) }, at(70)},
		"a time of its own and no event": {func(x *store.Subscription) { x.Cursor, x.Due = 2, at(70) }, at(70)},
		"one that has ended":             {func(x *store.Subscription) { x.Ended = at(3) }, time.Time{}},
		"a lease that nobody took":       {func(x *store.Subscription) { x.Cursor, x.Lease = 2, "lease" }, time.Time{}},
		"in the future of the thread":    {func(x *store.Subscription) { x.Cursor = 9 }, time.Time{}},
		"times between milliseconds":     {func(x *store.Subscription) { x.Due = at(70).Add(999 * time.Microsecond) }, at(70)},
		"without a body":                 {func(x *store.Subscription) { x.Body = nil }, at(50)},
	} {
		sub := subscription(what, "a")
		tc.change(&sub)
		got := subscribe(t, s, sub, 50)
		sub.Due, sub.Lease = tc.due, ""
		same(t, what, got, sub)
	}
	commit(t, s, store.Change{Thread: thread("b")})
	for what, tc := range map[string]struct {
		sub  store.Subscription
		want error
	}{
		"an id in use":            {subscription("one that has ended", "b"), store.ErrExists},
		"a thread that is not":    {subscription("x", "c"), store.ErrNotFound},
		"neither is as it should": {subscription("without a body", "c"), store.ErrNotFound},
	} {
		if err := s.Subscribe(t.Context(), tc.sub, at(0)); !errors.Is(err, tc.want) {
			t.Errorf("Subscribe with %s: %v, want %v", what, err, tc.want)
		}
	}
	same(t, "the one whose id was in use", readSubscription(t, s, "one that has ended").Thread, "a")
	if _, err := s.Subscription(t.Context(), "x"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Subscription of a refused one: %v, want ErrNotFound", err)
	}
}

// testSubscriptionPages compares pages with a loop.
func testSubscriptionPages(t *testing.T, s store.Store) {
	var all []store.Subscription
	for _, id := range []string{"a", "b", "c"} {
		commit(t, s, store.Change{Thread: thread(id)})
	}
	for i := range 20 {
		sub := subscription(fmt.Sprintf("s-%02d", i), string(rune('a'+i%2)))
		sub.Owner = []string{"owner", "other"}[i%5/4]
		all = append(all, subscribe(t, s, sub, 0))
	}
	for _, thread := range []string{"", "a", "b", "c", "none"} {
		for limit := 1; limit < 5; limit++ {
			var got, want []store.Subscription
			for i := range all {
				if all[i].Owner == "owner" && (thread == "" || all[i].Thread == thread) {
					want = append(want, all[i])
				}
			}
			q := store.SubscriptionQuery{Owner: "owner", Thread: thread, Limit: limit}
			for {
				page, err := s.Subscriptions(t.Context(), q)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, page...)
				if len(page) < limit {
					break
				}
				q.After = page[limit-1].ID
			}
			same(t, fmt.Sprintf("Subscriptions of thread %q, %d at a time", thread, limit), got, want)
		}
	}
}

// testWake looks at which subscriptions a change makes due, and what is told.
func testWake(t *testing.T, s store.Store) {
	hints := make(chan store.Hint, 100)
	defer s.Watch(func(h store.Hint) { hints <- h })()
	base := thread("a")
	base.Ready = false
	x := commit(t, s, store.Change{Thread: base, Events: events(1), Wake: true})
	same(t, "hint of a creation", <-hints, store.Hint{Thread: "a", Seq: 1})
	other := thread("b")
	other.Ready = false
	commit(t, s, store.Change{Thread: other})
	<-hints

	waiting, backoff, ended := subscription("waiting", "a"), subscription("backoff", "a"), subscription("ended", "a")
	waiting.Cursor, backoff.Cursor = 1, 1
	backoff.Due, ended.Ended = never, at(3)
	for _, sub := range []store.Subscription{waiting, backoff, ended, subscription("other", "b")} {
		subscribe(t, s, sub, 0)
	}
	same(t, "hints of subscriptions that are not due", len(hints), 0)

	x = commit(t, s, store.Change{Thread: x, Events: events(1)})
	same(t, "hint of a change that wakes nobody", <-hints, store.Hint{Thread: "a", Seq: 2})
	same(t, "a subscription that was not woken", readSubscription(t, s, "waiting"), waiting)
	stale := x
	stale.Rev--
	if _, err := s.Commit(t.Context(), store.Change{Thread: stale, Wake: true}); !errors.Is(err, store.ErrConflict) {
		t.Fatalf("Commit of an old revision: %v, want ErrConflict", err)
	}
	same(t, "a subscription after a refused change", readSubscription(t, s, "waiting"), waiting)

	before := time.Now().Truncate(time.Millisecond)
	x = commit(t, s, store.Change{Thread: x, Events: events(1), Wake: true})
	same(t, "hint of a change that wakes", <-hints, store.Hint{Thread: "a", Seq: 3, Wake: true})
	if due := readSubscription(t, s, "waiting").Due; due.Before(before) || due.After(time.Now()) {
		t.Errorf("woken at %v, the subscription is due at %v", before, due)
	}
	for id, want := range map[string]time.Time{"backoff": never, "ended": {}, "other": {}} {
		same(t, "Due of "+id, readSubscription(t, s, id).Due, want)
	}
	commit(t, s, store.Change{Thread: x, Events: events(1), Wake: true})
	same(t, "hint where all are due some time already", <-hints, store.Hint{Thread: "a", Seq: 4})
	behind := subscription("behind", "a")
	subscribe(t, s, behind, 0)
	same(t, "hint of a subscription that is due at once", <-hints, store.Hint{Thread: "a", Seq: 4, Wake: true})
}

// testWakeDuringLease has events arrive while somebody sends those before.
func testWakeDuringLease(t *testing.T, s store.Store) {
	hints := make(chan store.Hint, 100)
	x := commit(t, s, store.Change{Thread: thread("a"), Events: events(1)})
	subscribe(t, s, subscription("s", "a"), 0)
	sub := claim(t, s, 10, "lease", 9)[0]
	x = commit(t, s, store.Change{Thread: x, Events: events(2), Wake: true})
	same(t, "Due during a lease", readSubscription(t, s, "s").Due, at(1010))

	stop := s.Watch(func(h store.Hint) { hints <- h })
	sub.Cursor, sub.Due = 1, time.Time{}
	settle(t, s, sub, 20)
	same(t, "Due where there are more events", readSubscription(t, s, "s").Due, at(20))
	same(t, "hint of that", <-hints, store.Hint{Thread: "a", Seq: 3, Wake: true})

	sub = claim(t, s, 30, "lease", 9)[0]
	sub.Cursor, sub.Due = 2, at(5000)
	settle(t, s, sub, 40)
	same(t, "Due where a retry was put off", readSubscription(t, s, "s").Due, at(5000))

	sub = claim(t, s, 5000, "lease", 9)[0]
	sub.Cursor, sub.Due = 3, time.Time{}
	settle(t, s, sub, 5100)
	same(t, "Due where nothing is left", readSubscription(t, s, "s").Due, time.Time{})
	stop()

	commit(t, s, store.Change{Thread: x, Events: events(1), Wake: true})
	sub = claim(t, s, int(never.Sub(start).Milliseconds()), "lease", 9)[0]
	sub.Ended, sub.Due = at(7000), time.Time{}
	settle(t, s, sub, 7000)
	same(t, "Due of one that has ended", readSubscription(t, s, "s").Due, time.Time{})
	same(t, "hints of what is not due at once", len(hints), 0)
}

// testEdit changes subscriptions behind the back of who has claimed them.
func testEdit(t *testing.T, s store.Store) {
	commit(t, s, store.Change{Thread: thread("a"), Events: events(1)})
	subscribe(t, s, subscription("s", "a"), 0)
	was := claim(t, s, 10, "lease", 9)[0]
	next := was
	next.Due, next.Body, next.Cursor, next.Owner = at(77), []byte("new"), 55, "somebody"
	for what, change := range map[string]func(*store.Subscription){
		"Ended":  func(x *store.Subscription) { x.Ended = at(1) },
		"Cursor": func(x *store.Subscription) { x.Cursor++ },
		"Due":    func(x *store.Subscription) { x.Due = time.Time{} },
		"Lease":  func(x *store.Subscription) { x.Lease = "" },
		"Body":   func(x *store.Subscription) { x.Body = nil },
	} {
		other := was
		change(&other)
		if err := s.EditSubscription(t.Context(), other, next); !errors.Is(err, store.ErrConflict) {
			t.Errorf("EditSubscription of another %s: %v, want ErrConflict", what, err)
		}
	}
	same(t, "after refused edits", readSubscription(t, s, "s"), was)
	check(t, s.EditSubscription(t.Context(), was, next))
	want := was
	want.Due, want.Body, want.Lease = at(77), []byte("new"), ""
	same(t, "after an edit", readSubscription(t, s, "s"), want)
	if err := s.SettleSubscription(t.Context(), was, at(20), nil); !errors.Is(err, store.ErrConflict) {
		t.Errorf("SettleSubscription after an edit: %v, want ErrConflict", err)
	}
	ended := want
	ended.Ended = at(30)
	check(t, s.EditSubscription(t.Context(), want, ended))
	same(t, "claims of one that has ended", claim(t, s, 9999, "lease", 9), nil)
	check(t, s.EditSubscription(t.Context(), ended, want))
	same(t, "claims of one that is active again", subscriptionIDs(claim(t, s, 9999, "lease", 9)), []string{"s"})
	if err := s.EditSubscription(t.Context(), subscription("x", "a"), was); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("EditSubscription of nothing: %v, want ErrNotFound", err)
	}
}

// closedSubscriptions gives the errors of the methods of store.Subscriptions.
func closedSubscriptions(ctx context.Context, s store.Store) map[string]error {
	sub := store.Subscription{ID: "s", Thread: "a"}
	calls := map[string]error{
		"Subscribe":          s.Subscribe(ctx, sub, start),
		"SettleSubscription": s.SettleSubscription(ctx, sub, start, nil),
		"EditSubscription":   s.EditSubscription(ctx, sub, sub),
		"AddDeliveries":      s.AddDeliveries(ctx, nil),
	}
	_, calls["Subscription"] = s.Subscription(ctx, "s")
	_, calls["Subscriptions"] = s.Subscriptions(ctx, store.SubscriptionQuery{Owner: "owner", Limit: 1})
	_, calls["ClaimSubscriptions"] = s.ClaimSubscriptions(ctx, start, start, "lease", 1)
	_, calls["Deliveries"] = s.Deliveries(ctx, store.DeliveryQuery{Owner: "owner", Limit: 1})
	_, calls["Delivery"] = s.Delivery(ctx, "d")
	return calls
}

package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// allDeliveries reads all pages of a query.
func allDeliveries(t testing.TB, s store.Store, q store.DeliveryQuery) []store.Delivery {
	t.Helper()
	var all []store.Delivery
	for {
		page, err := s.Deliveries(t.Context(), q)
		if err != nil {
			t.Fatalf("Deliveries: %v", err)
		}
		all = append(all, page...)
		if len(page) < q.Limit {
			return all
		}
		q.Before = page[len(page)-1].ID
	}
}

// testDeliveries records attempts and compares every combination of conditions
// with a loop.
func testDeliveries(t *testing.T, s store.Store) {
	var all []store.Delivery
	n := 0
	for _, threadID := range []string{"a", "b"} {
		commit(t, s, store.Change{Thread: thread(threadID), Events: events(9)})
		for _, id := range []string{"s", "r"} {
			sub := subscription(threadID+id, threadID)
			if id == "r" {
				sub.Owner = "other"
			}
			sub = subscribe(t, s, sub, 0)
			for i := range 10 {
				n++
				all = append(all, store.Delivery{
					ID: fmt.Sprintf("%02d-%s", 7*n%50, sub.ID), Subscription: sub.ID, Thread: threadID, Owner: sub.Owner,
					Seq: int64(i/2 + 1), At: at(n).Add(time.Microsecond), State: store.DeliveryState(1 + i%3), Body: []byte(sub.ID),
				})
			}
			made := all[len(all)-10:]
			sub = claim(t, s, 0, "lease", 1)[0]
			sub.Due = never
			settle(t, s, sub, 0, made[:6]...)
			check(t, s.AddDeliveries(t.Context(), made[4:])) // two of them again
		}
	}
	for i := range all {
		all[i].At = at(i + 1)
		got, err := s.Delivery(t.Context(), all[i].ID)
		check(t, err)
		same(t, "Delivery", got, all[i])
	}
	if _, err := s.Delivery(t.Context(), "none"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Delivery of nothing: %v, want ErrNotFound", err)
	}
	slices.SortFunc(all, func(a, b store.Delivery) int { return cmp.Compare(b.ID, a.ID) })
	for _, states := range [][]store.DeliveryState{nil, {store.Delivered}, {store.DeliveryDead, store.DeliveryFailed}, {store.DeliveryDead, store.DeliveryDead}} {
		for _, threadID := range []string{"", "a", "b", "none"} {
			for _, sub := range []string{"", "as", "bs", "ar", "none"} {
				for _, owner := range []string{"owner", "other", "nobody"} {
					q := store.DeliveryQuery{Owner: owner, Thread: threadID, Subscription: sub, State: states, Limit: 3}
					same(t, fmt.Sprintf("Deliveries(%+v)", q), allDeliveries(t, s, q), chooseDeliveries(all, q))
				}
			}
		}
	}
}

// chooseDeliveries is the loop that Deliveries must equal, without pages.
func chooseDeliveries(all []store.Delivery, q store.DeliveryQuery) []store.Delivery {
	var out []store.Delivery
	for _, d := range all {
		if d.Owner == q.Owner && (q.Thread == "" || d.Thread == q.Thread) &&
			(q.Subscription == "" || d.Subscription == q.Subscription) &&
			(len(q.State) == 0 || slices.Contains(q.State, d.State)) {
			out = append(out, d)
		}
	}
	return out
}

// testStrayDeliveries adds attempts of subscriptions that are there and that are
// not, in one call.
func testStrayDeliveries(t *testing.T, s store.Store) {
	commit(t, s, store.Change{Thread: thread("a")})
	subscribe(t, s, subscription("s", "a"), 0)
	check(t, s.AddDeliveries(t.Context(), nil))
	check(t, s.AddDeliveries(t.Context(), []store.Delivery{
		{ID: "1", Subscription: "gone", Thread: "a", Owner: "owner", State: store.Delivered},
		{ID: "2", Subscription: "s", State: store.DeliveryFailed},
		{ID: "3", State: store.DeliveryFailed},
	}))
	got := allDeliveries(t, s, store.DeliveryQuery{Owner: "owner", Limit: 9})
	want := store.Delivery{ID: "2", Subscription: "s", Thread: "a", Owner: "owner", State: store.DeliveryFailed}
	same(t, "what was added, with the thread and owner of its subscription", got, []store.Delivery{want})
}

// testPruneSubscriptions ends threads in all states of their subscriptions.
func testPruneSubscriptions(t *testing.T, s store.Store) {
	for i, id := range []string{"idle", "due", "ended", "plain", "mixed"} {
		x := thread(id)
		x.Ended = at(10 + i)
		commit(t, s, store.Change{Thread: x, Events: events(1)})
	}
	subs := map[string]store.Subscription{}
	add := func(id, thread string, change func(*store.Subscription)) {
		sub := subscription(id, thread)
		sub.Cursor = 1
		change(&sub)
		subs[id] = subscribe(t, s, sub, 0)
		check(t, s.AddDeliveries(t.Context(), []store.Delivery{{ID: "of " + id, Subscription: id, State: store.Delivered}}))
	}
	add("idle", "idle", func(*store.Subscription) {})
	add("due", "due", func(x *store.Subscription) { x.Due = never })
	add("ended", "ended", func(x *store.Subscription) { x.Ended, x.Due = at(1), never })
	add("mixed 1", "mixed", func(*store.Subscription) {})
	add("mixed 2", "mixed", func(x *store.Subscription) { x.Cursor = 0 })

	prune := func(limit int) int {
		n, err := s.Prune(t.Context(), at(0), at(1000), limit)
		check(t, err)
		return n
	}
	same(t, "a limit counts those that go", prune(2), 2)
	same(t, "the rest that can go", prune(9), 1)
	for id := range subs {
		_, terr := s.Thread(t.Context(), subs[id].Thread)
		_, serr := s.Subscription(t.Context(), id)
		_, derr := s.Delivery(t.Context(), "of "+id)
		gone := subs[id].Thread == "idle" || subs[id].Thread == "ended"
		for what, err := range map[string]error{"thread": terr, "subscription": serr, "delivery": derr} {
			if gone != errors.Is(err, store.ErrNotFound) || !gone && err != nil {
				t.Errorf("%s of %q: %v", what, id, err)
			}
		}
	}
	same(t, "what nothing was pruned of", prune(9), 0)

	leased := claim(t, s, 0, "lease", 9)
	same(t, "claims", subscriptionIDs(leased), []string{"mixed 2"})
	same(t, "while somebody delivers", prune(9), 0)
	leased[0].Cursor, leased[0].Due = 1, time.Time{}
	settle(t, s, leased[0], 0)
	same(t, "after all was delivered", prune(9), 1)
	if err := s.SettleSubscription(t.Context(), leased[0], at(0), nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("SettleSubscription after its thread was pruned: %v, want ErrNotFound", err)
	}
	ended := subs["due"]
	ended.Ended = at(9)
	check(t, s.EditSubscription(t.Context(), subs["due"], ended))
	same(t, "after the last one was ended", prune(9), 1)
	same(t, "deliveries left", allDeliveries(t, s, store.DeliveryQuery{Owner: "owner", Limit: 9}), nil)
	left, err := s.Subscriptions(t.Context(), store.SubscriptionQuery{Owner: "owner", Limit: 9})
	check(t, err)
	same(t, "subscriptions left", left, nil)
}

// testPruneMany prunes threads with more deliveries than an engine will delete at
// once, beside some that have none.
func testPruneMany(t *testing.T, s store.Store) {
	const threads, each = 3, 1500
	for i := range threads {
		for _, id := range []string{fmt.Sprint("many-", i), fmt.Sprint("none-", i)} {
			x := thread(id)
			x.Ended = at(i)
			commit(t, s, store.Change{Thread: x})
		}
		id := fmt.Sprint("many-", i)
		subscribe(t, s, subscription(id, id), 0)
		made := make([]store.Delivery, each)
		for k := range made {
			made[k] = store.Delivery{ID: fmt.Sprintf("%d-%04d", i, k), Subscription: id, State: store.DeliveryFailed}
		}
		check(t, s.AddDeliveries(t.Context(), made))
	}
	n, err := s.Prune(t.Context(), at(0), at(1), 9)
	check(t, err)
	same(t, "threads pruned first", n, 2)
	same(t, "deliveries left", len(allDeliveries(t, s, store.DeliveryQuery{Owner: "owner", Limit: 900})), (threads-1)*each)
	n, err = s.Prune(t.Context(), at(0), at(1000), 9)
	check(t, err)
	same(t, "threads pruned", n, 4)
	same(t, "deliveries left", allDeliveries(t, s, store.DeliveryQuery{Owner: "owner", Limit: 900}), nil)
}

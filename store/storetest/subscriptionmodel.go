package storetest

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// subscriptionModel is the contract of store.Subscriptions in its simplest form.
type subscriptionModel struct {
	threads map[string]*store.Thread
	subs    map[string]*store.Subscription
	made    map[string]store.Delivery
}

func (m *subscriptionModel) due(sub store.Subscription, now time.Time) time.Time {
	if sub.Ended.IsZero() && sub.Due.IsZero() && m.threads[sub.Thread].Seq > sub.Cursor {
		return now
	}
	return sub.Due
}

func (m *subscriptionModel) subscribe(sub store.Subscription, now time.Time) error {
	if m.threads[sub.Thread] == nil {
		return store.ErrNotFound
	}
	if m.subs[sub.ID] != nil {
		return store.ErrExists
	}
	sub.Due, sub.Lease = m.due(sub, now), ""
	m.subs[sub.ID] = &sub
	return nil
}

func (m *subscriptionModel) claim(now, until time.Time, lease string, limit int) []store.Subscription {
	var due []*store.Subscription
	for _, sub := range m.subs {
		if sub.Ended.IsZero() && !sub.Due.IsZero() && !sub.Due.After(now) {
			due = append(due, sub)
		}
	}
	slices.SortFunc(due, func(a, b *store.Subscription) int { return cmp.Or(a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID)) })
	var out []store.Subscription
	for _, sub := range due[:min(len(due), limit)] {
		sub.Due, sub.Lease = until, lease
		out = append(out, *sub)
	}
	return out
}

func (m *subscriptionModel) settle(sub store.Subscription, now time.Time, made []store.Delivery) error {
	there := m.subs[sub.ID]
	switch {
	case there == nil:
		return store.ErrNotFound
	case there.Lease == "" || there.Lease != sub.Lease:
		return store.ErrConflict
	}
	there.Ended, there.Cursor, there.Due, there.Body = sub.Ended, sub.Cursor, sub.Due, sub.Body
	there.Due, there.Lease = m.due(*there, now), ""
	m.add(made)
	return nil
}

func (m *subscriptionModel) add(made []store.Delivery) {
	for _, d := range made {
		if sub := m.subs[d.Subscription]; sub != nil {
			d.Thread, d.Owner = sub.Thread, sub.Owner
			m.made[d.ID] = d
		}
	}
}

func (m *subscriptionModel) edit(was, sub store.Subscription) error {
	there := m.subs[was.ID]
	switch {
	case there == nil:
		return store.ErrNotFound
	case there.Cursor != was.Cursor || !there.Due.Equal(was.Due) || !there.Ended.Equal(was.Ended) ||
		there.Lease != was.Lease || !bytes.Equal(there.Body, was.Body):
		return store.ErrConflict
	}
	there.Ended, there.Due, there.Body, there.Lease = sub.Ended, sub.Due, sub.Body, ""
	return nil
}

func (m *subscriptionModel) prune(before time.Time) int {
	waiting := make(map[string]bool)
	for _, sub := range m.subs {
		waiting[sub.Thread] = waiting[sub.Thread] || sub.Ended.IsZero() && !sub.Due.IsZero()
	}
	n := len(m.threads)
	maps.DeleteFunc(m.threads, func(id string, x *store.Thread) bool {
		return !x.Ended.IsZero() && x.Ended.Before(before) && !waiting[id]
	})
	maps.DeleteFunc(m.subs, func(_ string, sub *store.Subscription) bool { return m.threads[sub.Thread] == nil })
	maps.DeleteFunc(m.made, func(_ string, d store.Delivery) bool { return m.threads[d.Thread] == nil })
	return n - len(m.threads)
}

// testSubscriptionModel takes random steps in a store and a model and compares all
// that can be read, with a restart now and then.
func testSubscriptionModel(t *testing.T, open Open) {
	for seed := range uint64(2) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			dir := t.TempDir()
			g := &sender{rnd: rand.New(rand.NewPCG(seed, 11)), m: &subscriptionModel{
				threads: map[string]*store.Thread{}, subs: map[string]*store.Subscription{}, made: map[string]store.Delivery{},
			}}
			s := open(t, dir)
			for step := range 500 {
				g.step(t, s)
				if step%25 == 24 {
					g.compare(t, s)
				}
				if step%250 == 249 {
					closeStore(t, s)
					s = open(t, dir)
					g.compare(t, s)
				}
			}
			closeStore(t, s)
		})
	}
}

// sender takes the same random step in a store and in a model.
type sender struct {
	rnd  *rand.Rand
	m    *subscriptionModel
	seen []store.Subscription // as they were read some time
	n    int
}

func (g *sender) step(t *testing.T, s store.Store) {
	t.Helper()
	ctx := t.Context()
	switch dice := g.rnd.IntN(100); {
	case dice < 30:
		g.commit(t, s)
	case dice < 45:
		sub := g.someSubscription()
		now := g.now()
		g.alike(t, "Subscribe", s.Subscribe(ctx, sub, now), g.m.subscribe(sub, now))
	case dice < 65:
		now, limit := g.now(), 1+g.rnd.IntN(3)
		until, lease := now.Add(time.Duration(g.rnd.IntN(50))*time.Millisecond), fmt.Sprint("lease-", g.n)
		got, err := s.ClaimSubscriptions(ctx, now, until, lease, limit)
		check(t, err)
		same(t, "ClaimSubscriptions", got, g.m.claim(now, until, lease, limit))
		g.seen = append(g.seen, got...)
	case dice < 80 && len(g.seen) > 0:
		sub := g.altered(g.seen[max(0, len(g.seen)-1-g.rnd.IntN(4))])
		made, now := g.attempts(sub.ID), g.now()
		g.alike(t, "SettleSubscription", s.SettleSubscription(ctx, sub, now, made), g.m.settle(sub, now, made))
	case dice < 90 && len(g.seen) > 0:
		was := g.seen[g.rnd.IntN(len(g.seen))]
		if there := g.m.subs[was.ID]; there != nil && g.rnd.IntN(2) == 0 {
			was = *there
		}
		sub := g.altered(was)
		g.alike(t, "EditSubscription", s.EditSubscription(ctx, was, sub), g.m.edit(was, sub))
	case dice < 96:
		made := g.attempts(fmt.Sprint("s-", g.rnd.IntN(12)))
		check(t, s.AddDeliveries(ctx, made))
		g.m.add(made)
	default:
		before := at(g.rnd.IntN(100))
		n, err := s.Prune(ctx, start, before, 1000)
		check(t, err)
		same(t, "Prune", n, g.m.prune(before))
	}
	g.n++
}

func (g *sender) now() time.Time { return at(g.rnd.IntN(200_000)) }

func (g *sender) alike(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Fatalf("%s: %v, want %v", what, got, want)
	}
}

// commit makes a thread or adds events to one. Whom it wakes is due by the
// engine's clock; the model takes over what that was.
func (g *sender) commit(t *testing.T, s store.Store) {
	t.Helper()
	id := fmt.Sprint("t-", g.rnd.IntN(6))
	c := store.Change{Thread: thread(id), Events: events(g.rnd.IntN(3)), Wake: g.rnd.IntN(2) == 0}
	if there := g.m.threads[id]; there != nil {
		c.Thread = *there
	}
	if c.Thread.Ended = (time.Time{}); g.rnd.IntN(3) == 0 {
		c.Thread.Ended = at(g.rnd.IntN(100))
	}
	before := time.Now().Truncate(time.Millisecond)
	got := commit(t, s, c)
	g.m.threads[id] = &got
	for _, sub := range g.m.subs {
		if c.Wake && sub.Thread == id && sub.Ended.IsZero() && sub.Due.IsZero() {
			if sub.Due = readSubscription(t, s, sub.ID).Due; sub.Due.Before(before) || sub.Due.After(time.Now()) {
				t.Fatalf("%s, woken at %v, is due at %v", sub.ID, before, sub.Due)
			}
		}
	}
}

func (g *sender) someSubscription() store.Subscription {
	sub := subscription(fmt.Sprint("s-", g.rnd.IntN(12)), fmt.Sprint("t-", g.rnd.IntN(6)))
	sub.Cursor = int64(g.rnd.IntN(5))
	sub.Owner = []string{"owner", "other"}[g.rnd.IntN(2)]
	return g.altered(sub)
}

// altered gives a subscription another state, mostly an active one.
func (g *sender) altered(sub store.Subscription) store.Subscription {
	sub.Cursor += int64(g.rnd.IntN(3))
	sub.Due, sub.Ended = time.Time{}, time.Time{}
	if g.rnd.IntN(4) == 0 {
		sub.Due = g.now()
	}
	if g.rnd.IntN(8) == 0 {
		sub.Ended = at(g.rnd.IntN(100))
	}
	sub.Body = fmt.Append(nil, g.rnd.IntN(3))
	return sub
}

func (g *sender) attempts(subscription string) []store.Delivery {
	var made []store.Delivery
	for i := range g.rnd.IntN(4) {
		made = append(made, store.Delivery{
			ID: fmt.Sprintf("d-%04d-%d", g.n, i), Subscription: subscription, Seq: int64(i),
			At: at(g.n), State: store.DeliveryState(1 + g.rnd.IntN(3)), Body: []byte("body"),
		})
	}
	return made
}

// compare reads everything.
func (g *sender) compare(t *testing.T, s store.Store) {
	t.Helper()
	all := slices.SortedFunc(maps.Values(g.m.made), func(a, b store.Delivery) int { return cmp.Compare(b.ID, a.ID) })
	for _, owner := range []string{"owner", "other"} {
		var want []store.Subscription
		for _, id := range slices.Sorted(maps.Keys(g.m.subs)) {
			if sub := g.m.subs[id]; sub.Owner == owner {
				want = append(want, *sub)
			}
		}
		got, err := s.Subscriptions(t.Context(), store.SubscriptionQuery{Owner: owner, Limit: 99})
		check(t, err)
		same(t, "Subscriptions", got, want)
		for _, states := range [][]store.DeliveryState{nil, {store.DeliveryDead, store.Delivered}} {
			q := store.DeliveryQuery{Owner: owner, State: states, Limit: 30}
			same(t, "Deliveries", allDeliveries(t, s, q), chooseDeliveries(all, q))
			q.Thread = "t-1"
			same(t, "Deliveries of a thread", allDeliveries(t, s, q), chooseDeliveries(all, q))
		}
	}
}

package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

func testClaim(t *testing.T, s store.Store) {
	commit(t, s, store.Change{Thread: thread("a"), Events: events(1)})
	for id, due := range map[string]int{"late": 40, "first": 10, "second": 20, "third": 30} {
		sub := subscription(id, "a")
		sub.Due = at(due)
		subscribe(t, s, sub, 0)
	}
	idle, ended := subscription("idle", "a"), subscription("ended", "a")
	idle.Cursor = 1
	ended.Ended, ended.Due = at(1), at(1)
	subscribe(t, s, idle, 0)
	subscribe(t, s, ended, 0)

	same(t, "claims before any is due", claim(t, s, 9, "A", 9), nil)
	want := subscription("first", "a")
	want.Due, want.Lease = at(1010), "A"
	got := claim(t, s, 10, "A", 9)
	same(t, "claims of what is due now", got, []store.Subscription{want})
	same(t, "a claimed one", readSubscription(t, s, "first"), want)
	same(t, "claims with a limit", subscriptionIDs(claim(t, s, 35, "B", 1)), []string{"second"})
	same(t, "claims of the rest", subscriptionIDs(claim(t, s, 40, "B", 9)), []string{"third", "late"})
	same(t, "claims while all are leased", claim(t, s, 1009, "C", 9), nil)
	same(t, "claims after leases have ended", subscriptionIDs(claim(t, s, 1035, "C", 9)), []string{"first", "second"})
}

// testClaimRace has 16 claimers take what is due: each subscription goes to one.
func testClaimRace(t *testing.T, s store.Store) {
	const threads, each = 20, 5
	for i := range threads {
		id := fmt.Sprintf("t-%02d", i)
		commit(t, s, store.Change{Thread: thread(id), Events: events(1)})
		for k := range each {
			subscribe(t, s, subscription(fmt.Sprintf("%s/%d", id, k), id), i)
		}
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	holders := make(map[string][]string)
	for w := range 16 {
		wg.Go(func() {
			lease := fmt.Sprint("lease-", w)
			for {
				got, err := s.ClaimSubscriptions(t.Context(), at(500), at(1000), lease, 3)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				for _, sub := range got {
					if holders[sub.ID] = append(holders[sub.ID], lease); sub.Lease != lease {
						t.Errorf("%s was given lease %q", lease, sub.Lease)
					}
				}
				mu.Unlock()
				if len(got) == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	same(t, "number of claimed ones", len(holders), threads*each)
	for id, by := range holders {
		same(t, "number of claimers of "+id, len(by), 1)
		same(t, "lease of "+id, readSubscription(t, s, id).Lease, by[0])
	}
}

// testLease has one worker be late: another one takes over, and what the first
// one brings is refused.
func testLease(t *testing.T, s store.Store) {
	commit(t, s, store.Change{Thread: thread("a"), Events: events(2)})
	subscribe(t, s, subscription("s", "a"), 0)
	unclaimed := readSubscription(t, s, "s")
	refused := func(what string, sub store.Subscription, want error) {
		t.Helper()
		err := s.SettleSubscription(t.Context(), sub, at(0), []store.Delivery{{ID: "late", Seq: 1, State: store.Delivered}})
		if !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", what, err, want)
		}
		if _, err := s.Delivery(t.Context(), "late"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s left a delivery: %v", what, err)
		}
	}
	refused("settling what nobody has claimed", unclaimed, store.ErrConflict)
	refused("settling nothing", subscription("x", "a"), store.ErrNotFound)
	slow := claim(t, s, 0, "slow", 9)[0]
	next := claim(t, s, 1000, "next", 9)[0]
	slow.Cursor, next.Cursor, next.Body, next.Due = 2, 1, []byte("new"), at(3000)
	refused("settling after the lease passed on", slow, store.ErrConflict)
	settle(t, s, next, 1500)
	want := subscription("s", "a")
	want.Cursor, want.Body, want.Due = 1, []byte("new"), at(3000)
	same(t, "a settled one", readSubscription(t, s, "s"), want)
	refused("settling twice", next, store.ErrConflict)
	slow.Lease = ""
	refused("settling without a lease", slow, store.ErrConflict)
	same(t, "after refused settlements", readSubscription(t, s, "s"), want)
}

// testEditRace has 16 callers change one subscription as they all have read it.
func testEditRace(t *testing.T, s store.Store) {
	commit(t, s, store.Change{Thread: thread("a")})
	was := subscribe(t, s, subscription("s", "a"), 0)
	var wg sync.WaitGroup
	won := make(chan string, 16)
	for i := range 16 {
		wg.Go(func() {
			sub := was
			sub.Body = fmt.Appendf(nil, "body %d", i)
			err := s.EditSubscription(t.Context(), was, sub)
			if err == nil {
				won <- string(sub.Body)
			} else if !errors.Is(err, store.ErrConflict) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	same(t, "number of edits made", len(won), 1)
	same(t, "Body", string(readSubscription(t, s, "s").Body), <-won)
}

// testDelivering has one goroutine add events and four deliver them, some of whom
// lose their lease at once: each event is delivered, in order, and what is
// recorded is what was acknowledged.
func testDelivering(t *testing.T, s store.Store) {
	const commits = 40
	x := commit(t, s, store.Change{Thread: thread("a")})
	subscribe(t, s, subscription("s", "a"), 0)
	var wg sync.WaitGroup
	wg.Go(func() {
		for range commits {
			var err error
			if x, err = s.Commit(t.Context(), store.Change{Thread: x, Events: events(1), Wake: true}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	var made sync.Map // ids of deliveries that were acknowledged
	for w := range 4 {
		wg.Go(func() { deliverAll(t, s, w, commits, &made) })
	}
	wg.Wait()
	sub := readSubscription(t, s, "s")
	same(t, "Cursor", sub.Cursor, int64(commits))
	var seqs []int64
	got := allDeliveries(t, s, store.DeliveryQuery{Owner: "owner", Limit: 7})
	slices.SortFunc(got, func(a, b store.Delivery) int { return cmp.Compare(a.Seq, b.Seq) })
	for _, d := range got {
		seqs = append(seqs, d.Seq)
		if _, ok := made.LoadAndDelete(d.ID); !ok {
			t.Errorf("delivery %s was not acknowledged", d.ID)
		}
	}
	made.Range(func(id, _ any) bool { t.Errorf("delivery %v is not there", id); return true })
	var want []int64
	for i := range commits {
		want = append(want, int64(i+1))
	}
	same(t, "numbers of the events delivered", seqs, want)
}

// deliverAll claims and settles until the last event is delivered. Every third
// lease is over as soon as it begins.
func deliverAll(t *testing.T, s store.Store, worker, last int, made *sync.Map) {
	for n := 0; ; n++ {
		now := time.Now().Add(time.Second) // what is woken is due by the engine's clock
		until := now.Add(time.Hour)
		if n%3 == 2 {
			until = now
		}
		lease := fmt.Sprintf("%d/%d", worker, n)
		claimed, err := s.ClaimSubscriptions(t.Context(), now, until, lease, 1)
		if err != nil {
			t.Error(err)
			return
		}
		for _, sub := range claimed {
			d, err := deliverNext(t, s, sub, now)
			if err == nil && d != nil {
				made.Store(d.ID, true)
			} else if err != nil && !errors.Is(err, store.ErrConflict) {
				t.Error(err)
				return
			}
		}
		sub, err := s.Subscription(t.Context(), "s")
		if err != nil || sub.Cursor == int64(last) {
			return
		}
	}
}

// deliverNext delivers the event behind the cursor; nil if there is none.
func deliverNext(t *testing.T, s store.Store, sub store.Subscription, now time.Time) (*store.Delivery, error) {
	evs, _, err := s.Events(t.Context(), "a", sub.Cursor, 1)
	if err != nil {
		return nil, err
	}
	sub.Due = time.Time{}
	if len(evs) == 0 {
		return nil, s.SettleSubscription(t.Context(), sub, now, nil)
	}
	d := store.Delivery{ID: fmt.Sprintf("%s-%03d", sub.Lease, evs[0].Seq), Seq: evs[0].Seq, State: store.Delivered}
	sub.Cursor = evs[0].Seq
	return &d, s.SettleSubscription(t.Context(), sub, now, []store.Delivery{d})
}

package transfer_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store/transfer"
)

// TestRetention: what has ended goes after its time with all that belongs to it, a few
// at a time and beside running work, of which nothing goes.
func TestRetention(t *testing.T) {
	const n, batch = 120, 7
	for name, make := range engines {
		t.Run(name, func(t *testing.T) {
			p := make(t)
			s := p.open(t)
			fill(t, s, n)
			settleAll(t, s)
			var made atomic.Int64
			stop, running, busy := writeMuch(t, s, &made)
			<-busy
			was := counts(t, p)
			for _, table := range []string{"thread", "log", "subscription", "delivery", "idem", "mark", "revocation", "audit"} {
				if was[table] == 0 {
					t.Fatalf("table %s is empty: it proves nothing", table)
				}
			}
			// Of fill's threads each fourth has ended, at the second after its number.
			half := at(n / 2)
			if gone := pruneAll(t, s.Prune, at(0), half, batch); gone != n/8 {
				t.Errorf("pruned %d threads that ended in the first half, want %d", gone, n/8)
			}
			if gone := pruneAll(t, s.Prune, at(6000), at(7000), batch); gone != n/8 {
				t.Errorf("pruned %d threads of the other half, want %d", gone, n/8)
			}
			for { // each call removes up to so many of each kind
				gone, err := s.PruneRegistry(t.Context(), at(6000), at(7000), batch)
				must(t, err)
				if gone > 3*batch {
					t.Errorf("one call removed %d rows", gone)
				}
				if gone == 0 {
					break
				}
			}
			close(stop)
			running.Wait()
			left := counts(t, p)
			tasks := made.Load()
			for table, want := range map[string]int64{
				"thread": n - n/4 + tasks, "log": 2*(n-n/4) + 2*tasks, "idem": 0, "revocation": 0, "audit": 0,
				"mark": 20, // those that never expire
			} {
				if left[table] != want {
					t.Errorf("table %s has %d rows of %d, want %d", table, left[table], was[table], want)
				}
			}
			// Each third thread has a subscription, each sixth a delivery, and of those each
			// second, each twelfth and so on has ended.
			if left["subscription"] != n/3-n/12 || left["delivery"] != n/6-n/12 {
				t.Errorf("%d subscriptions and %d deliveries are left, want %d and %d", left["subscription"], left["delivery"], n/3-n/12, n/6-n/12)
			}
			mustClose(t, s)
			if found := examine(t, p); len(found) > 0 {
				t.Errorf("what is left is not whole: %v", found)
			}
		})
	}
}

// settleAll ends every subscription, as if all had been told all.
func settleAll(t testing.TB, s whole) {
	t.Helper()
	for {
		subs := ok(s.ClaimSubscriptions(t.Context(), at(8000), at(8060), "all", 50))(t)
		if len(subs) == 0 {
			return
		}
		for _, sub := range subs {
			sub.Ended, sub.Due = at(10), time.Time{}
			must(t, s.SettleSubscription(t.Context(), sub, at(8000), nil))
		}
	}
}

// pruneAll prunes until nothing is left to prune, and gives how many threads went.
func pruneAll(
	t testing.TB, prune func(ctx context.Context, now, endedBefore time.Time, max int) (int, error), now, before time.Time, batch int,
) (gone int) {
	t.Helper()
	for {
		n, err := prune(t.Context(), now, before, batch)
		must(t, err)
		if n > batch {
			t.Errorf("one call removed %d threads", n)
		}
		if gone += n; n == 0 {
			return gone
		}
	}
}

// counts gives how many rows each table has.
func counts(t testing.TB, p place) map[string]int64 {
	t.Helper()
	r := ok(p.reader(t.Context(), false))(t)
	defer mustClose(t, r)
	rows := map[string]int64{}
	for _, table := range transfer.Tables() {
		rows[table.Name] = ok(transfer.Hash(t.Context(), r, table))(t).Rows
	}
	return rows
}

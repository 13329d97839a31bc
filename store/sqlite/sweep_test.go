package sqlite_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// TestPruneSteps prunes a thread with very many deliveries step by step: each one is
// bounded, the thread goes with the last ones, and a thread to which something has
// happened between two steps stays.
func TestPruneSteps(t *testing.T) {
	s := openIn(t, t.TempDir(), 0)
	defer closeIt(t, s)
	ctx := t.Context()
	c := creation(1, epoch)
	c.Thread.Ended = epoch
	x := mustCommit(t, s, c)
	sub := store.Subscription{ID: "s", Thread: x.ID, Owner: "o", Cursor: x.Seq}
	if err := s.Subscribe(ctx, sub, epoch); err != nil {
		t.Fatal(err)
	}
	made := make([]store.Delivery, 2*sqlite.PruneRoom+1)
	for i := range made {
		made[i] = store.Delivery{ID: fmt.Sprintf("d-%05d", i), Subscription: sub.ID, State: store.Delivered}
	}
	if err := s.AddDeliveries(ctx, made); err != nil {
		t.Fatal(err)
	}
	step := func(wantGone bool, wantLeft int) {
		t.Helper()
		gone, err := sqlite.PruneStep(ctx, s, 1, x.ID, epoch.Add(time.Hour))
		if err != nil || gone != wantGone {
			t.Errorf("a step: gone %v, %v, want %v", gone, err, wantGone)
		}
		left, err := s.Deliveries(ctx, store.DeliveryQuery{Owner: "o", Limit: len(made)})
		if err != nil || len(left) != wantLeft {
			t.Errorf("%d deliveries left, %v, want %d", len(left), err, wantLeft)
		}
	}
	step(false, sqlite.PruneRoom+1)
	waiting := sub
	waiting.Due = epoch
	if err := s.EditSubscription(ctx, sub, waiting); err != nil {
		t.Fatal(err)
	}
	step(false, sqlite.PruneRoom+1)
	if err := s.EditSubscription(ctx, waiting, sub); err != nil {
		t.Fatal(err)
	}
	x.Ended = time.Time{}
	x = mustCommit(t, s, store.Change{Thread: x})
	step(false, sqlite.PruneRoom+1)
	x.Ended = epoch.Add(2 * time.Hour)
	x = mustCommit(t, s, store.Change{Thread: x})
	step(false, sqlite.PruneRoom+1)
	x.Ended = epoch
	mustCommit(t, s, store.Change{Thread: x})
	step(false, 1)
	step(true, 0)
	step(false, 0)
	if _, err := s.Subscription(ctx, sub.ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("Subscription: %v, want ErrNotFound", err)
	}
}

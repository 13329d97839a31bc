package methods_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/store"
)

// leap is a clock that can be put forward, so that a day costs no ticks.
type leap struct{ by atomic.Int64 }

func (l *leap) now() time.Time { return time.Now().Add(time.Duration(l.by.Load())) }
func (l *leap) forward(d time.Duration) {
	l.by.Add(int64(d))
	time.Sleep(2 * time.Second)
	synctest.Wait()
}

// TestWebhookRetries: a receiver that is down gets everything once it is up again,
// in order, each attempt with a fresh signature under the same id.
func TestWebhookRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := []any{errors.New("the connection was refused"), 500, 503, 408, 425, errors.New("no such name")}
		r := &posts{answer: func(_ context.Context, _ methods.Webhook, n int) (methods.WebhookAnswer, error) {
			if n > len(down) {
				return methods.WebhookAnswer{Status: 204}, nil
			}
			if err, ok := down[n-1].(error); ok {
				return methods.WebhookAnswer{}, err
			}
			return methods.WebhookAnswer{Status: down[n-1].(int)}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		for n := range 3 {
			w.say(id, fmt.Sprint("message ", n))
		}
		synctest.Wait()
		failing := w.subscription(sub.ID)
		if !failing.Active || failing.Next.IsZero() || failing.Last == nil || failing.Last.State != "failed" || failing.Last.Error == "" {
			t.Errorf("while it is down: %+v", failing)
		}
		time.Sleep(time.Minute) // of the bubble's clock: longer than all pauses
		synctest.Wait()

		all := r.list()
		if len(all) != len(down)+3 {
			t.Fatalf("%d attempts, want %d", len(all), len(down)+3)
		}
		first := all[0].Header["webhook-id"]
		for n, p := range all {
			verify(t, sub.Secret, p)
			want := max(0, n-len(down))
			if !strings.Contains(string(p.Body), fmt.Sprint("message ", want)) {
				t.Errorf("attempt %d: %s", n, p.Body)
			}
			if n <= len(down) && p.Header["webhook-id"] != first {
				t.Errorf("attempt %d has the id %s", n, p.Header["webhook-id"])
			}
			if n > 0 && n <= len(down) {
				pause, most := p.at.Sub(all[n-1].at), time.Second<<(n-1)+2*time.Second
				if pause <= 0 || pause > most {
					t.Errorf("attempt %d came after %v, want at most %v", n, pause, most)
				}
			}
		}
		var states []string
		for _, d := range w.deliveries(m{"taskId": id}) { // newest first
			states = append(states, fmt.Sprint(d.State, " ", d.Attempt, " ", d.Status))
			if (d.State == "failed") == d.Next.IsZero() || (d.State == "delivered") == (d.Error != "") {
				t.Errorf("delivery %+v", d)
			}
		}
		want := []string{
			"delivered 1 204", "delivered 1 204", "delivered 7 204",
			"failed 6 0", "failed 5 425", "failed 4 408", "failed 3 503", "failed 2 500", "failed 1 0",
		}
		if diff := cmp.Diff(want, states); diff != "" {
			t.Errorf("deliveries (-want +got):\n%s", diff)
		}
	})
}

func TestRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{answer: func(_ context.Context, _ methods.Webhook, n int) (methods.WebhookAnswer, error) {
			if n == 1 {
				return methods.WebhookAnswer{Status: 429, RetryAfter: 90 * time.Minute}, nil
			}
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		clock := &leap{}
		w := start(t, methods.Config{Webhooks: r, Now: clock.now})
		id := w.create("idle", "x")
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		w.say(id, "1")
		synctest.Wait()
		asked := clock.now().Add(90 * time.Minute)
		if next := w.subscription(sub.ID).Next; next.Before(asked.Add(-time.Second)) || next.After(asked.Add(time.Second)) {
			t.Errorf("next attempt at %v, want %v", next, asked)
		}
		w.say(id, "2") // an event does not make it impatient
		clock.forward(89 * time.Minute)
		if n := len(r.list()); n != 1 {
			t.Fatalf("%d attempts before the time", n)
		}
		clock.forward(2 * time.Minute)
		if n := len(r.list()); n != 3 {
			t.Errorf("%d attempts, want 3", n)
		}
	})
}

// TestSubscriptionEnds: what ends a subscription, and after how many attempts.
func TestSubscriptionEnds(t *testing.T) {
	never := func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error) {
		return methods.WebhookAnswer{}, errors.New("the connection was refused")
	}
	for what, test := range map[string]struct {
		answer func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error)
		reason string
		posts  int // 0: any
		state  string
	}{
		"410":      {status(410), "gone", 1, "dead"},
		"400":      {status(400), "refused", 3, "dead"},
		"401":      {status(401), "refused", 3, "dead"},
		"redirect": {status(307), "refused", 3, "dead"},
		"address": {func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error) {
			return methods.WebhookAnswer{}, arc.InvalidParam("callbackUrl", "is not allowed")
		}, "refused", 3, "dead"},
		"a day of silence": {never, "undeliverable", 0, "dead"},
		"a day of 500":     {status(500), "undeliverable", 0, "dead"},
		"asks for too much": {func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error) {
			time.Sleep(20 * time.Millisecond) // an answer takes its time
			return methods.WebhookAnswer{Status: 503, RetryAfter: 1000 * time.Hour}, nil
		}, "undeliverable", 2, "dead"},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &posts{answer: test.answer}
				clock := &leap{}
				w := start(t, methods.Config{Webhooks: r, Now: clock.now})
				id := w.create("idle", "x")
				sub := w.subscribe(id, hook, "NEW_MESSAGE")
				for n := range 5 {
					w.say(id, fmt.Sprint(n))
				}
				synctest.Wait()
				begun := clock.now()
				got := w.subscription(sub.ID)
				for got.Active && clock.now().Sub(begun) < 26*time.Hour {
					clock.forward(max(got.Next.Sub(clock.now()), 0))
					got = w.subscription(sub.ID)
				}
				if test.reason == "undeliverable" && clock.now().Sub(begun) < 23*time.Hour-time.Minute {
					t.Errorf("given up after %v", clock.now().Sub(begun))
				}
				if got.Active || got.Reason != test.reason || got.EndedAt.IsZero() || !got.Next.IsZero() || got.Last.State != test.state || !got.Last.Next.IsZero() {
					t.Errorf("got %+v, last %+v", got, got.Last)
				}
				n := len(r.list())
				if test.posts > 0 && n != test.posts || n > 100 {
					t.Errorf("%d attempts, want %d", n, test.posts)
				}
				w.say(id, "after")
				clock.forward(2 * time.Hour)
				if len(r.list()) != n {
					t.Error("it is sent to after its end")
				}
				if dead := w.deliveries(m{"state": []string{"dead"}}); len(dead) == 0 {
					t.Error("there is no dead letter")
				}
			})
		})
	}
}

// TestRefusalsInARow: what is taken in between starts the count anew.
func TestRefusalsInARow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{answer: func(_ context.Context, _ methods.Webhook, n int) (methods.WebhookAnswer, error) {
			return methods.WebhookAnswer{Status: []int{400, 404, 200, 422, 302, 200, 400}[n-1]}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		for n := range 7 {
			w.say(id, fmt.Sprint(n))
		}
		synctest.Wait()
		if got := w.subscription(sub.ID); !got.Active || len(r.list()) != 7 {
			t.Errorf("%d posts, %+v", len(r.list()), got)
		}
	})
}

// TestSlowReceiver: one that does not answer holds up nobody else, and is cut off.
func TestSlowReceiver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{answer: func(ctx context.Context, p methods.Webhook, _ int) (methods.WebhookAnswer, error) {
			if strings.Contains(p.URL, "slow") {
				<-ctx.Done()
				return methods.WebhookAnswer{}, ctx.Err()
			}
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		var slow, quick []string
		for n := range 10 {
			id := w.create("idle", "x")
			for range 10 {
				slow = append(slow, w.subscribe(id, "https://slow.example/hook", "NEW_MESSAGE").ID)
			}
			if n == 9 {
				quick = append(quick, w.subscribe(id, hook, "NEW_MESSAGE").ID)
			}
			w.say(id, "now")
		}
		synctest.Wait()
		if got := w.subscription(quick[0]); got.Last == nil || got.Last.State != "delivered" {
			t.Errorf("the quick one: %+v", got)
		}
		if n := len(r.list()); n != 9 {
			t.Errorf("%d posts under way or done, want 8 to the slow host and one", n)
		}
		time.Sleep(15 * time.Second)
		synctest.Wait()
		failed := w.deliveries(m{"state": []string{"failed"}})
		if len(failed) != 8 || failed[0].Error != "no answer came in time" || failed[0].Duration != 15_000 {
			t.Errorf("%d failed: %+v", len(failed), failed)
		}
		time.Sleep(4 * time.Minute) // everybody has his turn
		synctest.Wait()
		for _, id := range slow {
			if got := w.subscription(id); got.Last == nil {
				t.Errorf("%s was never tried", id)
			}
		}
	})
}

// TestUnsubscribe: nothing is sent after it, and what was under way is recorded.
func TestUnsubscribe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &posts{answer: func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error) {
			<-release
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		w.say(id, "1")
		w.say(id, "2")
		synctest.Wait()
		ended := subscriptionOf(t, w.must(alice(), "task.unsubscribe", "", m{"subscriptionId": sub.ID}))
		if ended.Active || ended.Reason != "unsubscribed" || ended.EndedAt.IsZero() || ended.Secret != "" {
			t.Errorf("got %+v", ended)
		}
		time.Sleep(time.Second)
		again := subscriptionOf(t, w.must(alice(), "task.unsubscribe", "", m{"subscriptionId": sub.ID}))
		if !again.EndedAt.Equal(ended.EndedAt.Time) {
			t.Errorf("the second time: %+v", again)
		}
		close(release)
		synctest.Wait()
		w.say(id, "3")
		time.Sleep(2 * time.Minute) // longer than a lease
		synctest.Wait()
		for _, p := range r.list() {
			if body := string(p.Body); !strings.Contains(body, `"1"`) {
				t.Errorf("it was sent after the end: %s", body)
			}
		}
		if all := w.deliveries(m{"subscriptionId": sub.ID}); len(all) != len(r.list()) || all[0].State != "delivered" {
			t.Errorf("recorded: %+v", all)
		}
	})
}

// TestWorkerIsLost: what another process had claimed when it died is sent when its
// lease is over.
func TestWorkerIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		before, err := w.db.Subscription(t.Context(), sub.ID)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		due := before
		due.Due = now
		if err := w.db.EditSubscription(t.Context(), before, due); err != nil {
			t.Fatal(err)
		}
		lost, err := w.db.ClaimSubscriptions(t.Context(), now, now.Add(time.Minute), "the dead", 1)
		if err != nil || len(lost) != 1 {
			t.Fatalf("%+v, %v", lost, err)
		}
		w.say(id, "1")
		time.Sleep(59 * time.Second)
		synctest.Wait()
		if len(r.list()) != 0 {
			t.Error("it was sent within the lease")
		}
		time.Sleep(3 * time.Second)
		synctest.Wait()
		if n := len(r.list()); n != 1 {
			t.Errorf("%d posts after the lease, want 1", n)
		}
		if err := w.db.SettleSubscription(t.Context(), lost[0], now, nil); !errors.Is(err, store.ErrConflict) {
			t.Errorf("the dead one settles: %v", err)
		}
	})
}

// TestServerStops: what was under way when the server stopped is sent by the next
// one at once; it counts as no failure.
func TestServerStops(t *testing.T) {
	file := filepath.Join(t.TempDir(), "arcd.db")
	var id string
	var sub arc.Subscription
	synctest.Test(t, func(t *testing.T) {
		r := &posts{answer: func(ctx context.Context, _ methods.Webhook, n int) (methods.WebhookAnswer, error) {
			if n == 2 { // until the server stops
				<-ctx.Done()
				return methods.WebhookAnswer{}, ctx.Err()
			}
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		w := startOn(t, file, methods.Config{Webhooks: r})
		id = w.create("idle", "x")
		sub = w.subscribe(id, hook, "NEW_MESSAGE")
		for n := range 3 {
			w.say(id, fmt.Sprint("message ", n))
		}
		synctest.Wait()
		if n := len(r.list()); n != 2 {
			t.Errorf("%d posts", n)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		r := &posts{}
		w := startOn(t, file, methods.Config{Webhooks: r})
		time.Sleep(2 * time.Second)
		synctest.Wait()
		all := r.list()
		if len(all) != 2 || !strings.Contains(string(all[0].Body), "message 1") || !strings.Contains(string(all[1].Body), "message 2") {
			t.Errorf("after the restart: %d posts", len(all))
		}
		for _, d := range w.deliveries(m{"taskId": id}) {
			if d.State != "delivered" || d.Attempt != 1 || d.SubscriptionID != sub.ID {
				t.Errorf("%+v", d)
			}
		}
	})
}

// TestLargeEvents: they are sent, few at a time, and in order; those of another owner
// too, while nobody answers.
func TestLargeEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &posts{answer: func(ctx context.Context, p methods.Webhook, _ int) (methods.WebhookAnswer, error) {
			if p.URL == hook {
				return methods.WebhookAnswer{Status: 200}, nil
			}
			select {
			case <-release:
			case <-ctx.Done():
				return methods.WebhookAnswer{}, ctx.Err()
			}
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		for n := range 6 {
			w.subscribe(id, fmt.Sprintf("https://hook-%d.example/", n), "NEW_MESSAGE")
		}
		w.say(id, strings.Repeat("0123456789", 200_000))
		w.say(id, "small")
		synctest.Wait()
		if n := len(r.list()); n != 2 {
			t.Errorf("%d large messages are under way, want 2", n)
		}
		bob := principal("bob")
		other := taskOf(t, w.must(bob, "task.create", "idle", m{"initialMessage": text("x")})).ID
		w.must(bob, "task.subscribe", "", m{"taskId": other, "callbackUrl": hook, "events": []string{"NEW_MESSAGE"}})
		w.must(bob, "task.send", "", m{"taskId": other, "message": text(strings.Repeat("0123456789", 200_000))})
		synctest.Wait()
		if n := len(r.list()); n != 3 {
			t.Error("the other owner has to wait")
		}
		close(release)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		last := map[string]int{}
		for _, p := range r.list() {
			if p.URL == hook {
				continue
			}
			if size := len(p.Body); last[p.URL] > 0 && size > last[p.URL] {
				t.Errorf("%s: the large one came after the small one", p.URL)
			}
			last[p.URL] = len(p.Body)
		}
		if n := len(r.list()); n != 13 || len(last) != 6 {
			t.Errorf("%d messages to %d receivers", n, len(last))
		}
	})
}

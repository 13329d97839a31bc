package methods_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// posts is a methods.Webhooks that keeps what is posted.
type posts struct {
	answer func(ctx context.Context, p methods.Webhook, n int) (methods.WebhookAnswer, error) // nil: 200
	check  func(url string) error                                                             // nil: any

	mu  sync.Mutex // guards what follows
	all []post
}

type post struct {
	methods.Webhook
	at time.Time
}

func (r *posts) Check(_ context.Context, url string) error {
	if r.check == nil {
		return nil
	}
	return r.check(url)
}

func (r *posts) Post(ctx context.Context, p methods.Webhook) (methods.WebhookAnswer, error) {
	r.mu.Lock()
	r.all = append(r.all, post{p, time.Now()})
	n := len(r.all)
	r.mu.Unlock()
	if r.answer == nil {
		return methods.WebhookAnswer{Status: 200}, nil
	}
	return r.answer(ctx, p, n)
}

func (r *posts) list() []post {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// events gives what was posted: "subscribed event" for each.
func (r *posts) events() []string {
	var names []string
	for _, p := range r.list() {
		names = append(names, p.Header["X-ARC-Event"])
	}
	return names
}

func status(code int) func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error) {
	return func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error) {
		return methods.WebhookAnswer{Status: code}, nil
	}
}

const hook = "https://hooks.example/arc"

// subscribe subscribes alice.
func (w *world) subscribe(task, url string, events ...string) arc.Subscription {
	w.t.Helper()
	params := m{"taskId": task, "callbackUrl": url}
	if len(events) > 0 {
		params["events"] = events
	}
	return subscriptionOf(w.t, w.must(alice(), "task.subscribe", "", params))
}

func subscriptionOf(t testing.TB, result json.RawMessage) arc.Subscription {
	t.Helper()
	var r arc.SubscribeTaskResult
	if err := json.Unmarshal(result, &r); err != nil || r.Subscription == nil || r.Type != "task" {
		t.Fatalf("not a subscription: %s (%v)", result, err)
	}
	return *r.Subscription
}

// subscription reads one of alice's.
func (w *world) subscription(id string) arc.Subscription {
	w.t.Helper()
	var list arc.SubscriptionList
	if err := json.Unmarshal(w.must(alice(), "task.subscriptions", "", m{"limit": 200}), &list); err != nil {
		w.t.Fatal(err)
	}
	i := slices.IndexFunc(list.Subscriptions, func(s arc.Subscription) bool { return s.ID == id })
	if i < 0 {
		w.t.Fatalf("%s is not among %d", id, len(list.Subscriptions))
	}
	return list.Subscriptions[i]
}

func (w *world) deliveries(params m) []arc.Delivery {
	w.t.Helper()
	var list arc.DeliveryList
	if err := json.Unmarshal(w.must(alice(), "task.deliveries", "", params), &list); err != nil || list.Type != "deliveries" {
		w.t.Fatalf("%+v, %v", list, err)
	}
	return list.Deliveries
}

// say adds a message to a task of the agent idle.
func (w *world) say(task, message string) {
	w.t.Helper()
	w.must(alice(), "task.send", "", m{"taskId": task, "message": text(message)})
}

func TestWebhookMessage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{}
		w := start(t, methods.Config{Webhooks: r, Version: "1.2.3"})
		c := call("task.create", "idle")
		c.TraceID, c.From = "trace-7", "caller"
		c.TraceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		c.Principal = alice()
		result, err := w.dispatch(c, m{"initialMessage": text("x")})
		if err != nil {
			t.Fatal(err)
		}
		id := taskOf(t, result).ID
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		w.say(id, "<hello> & \u2028")
		synctest.Wait()

		all := r.list()
		if len(all) != 1 {
			t.Fatalf("%d posts", len(all))
		}
		got := all[0]
		seq := 3 // behind TASK_CREATED and STATUS_CHANGE
		message := fmt.Sprintf("%s.%d", sub.ID, seq)
		if got.URL != hook {
			t.Errorf("posted to %s", got.URL)
		}
		now := fmt.Sprint(got.at.Unix())
		for name, want := range map[string]string{
			"Content-Type": "application/arc+json", "User-Agent": "arcd/1.2.3", "X-ARC-Event": "NEW_MESSAGE",
			"X-ARC-Delivery": message, "X-ARC-Subscription": sub.ID, "X-ARC-Timestamp": now,
			"webhook-id": message, "webhook-timestamp": now, "Traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
		} {
			if got.Header[name] != want {
				t.Errorf("%s: %q, want %q", name, got.Header[name], want)
			}
		}

		var body map[string]any
		if err := json.Unmarshal(got.Body, &body); err != nil {
			t.Fatal(err)
		}
		ev := w.logged(id, int64(seq))
		var data any
		if err := json.Unmarshal(ev.Data, &data); err != nil {
			t.Fatal(err)
		}
		flat := m{"taskId": id, "event": "NEW_MESSAGE", "timestamp": ev.At.String(), "data": data}
		want := m{
			"arc": "1.0", "id": message, "method": "task.notification", "requestAgent": "idle", "targetAgent": "caller",
			"traceId": "trace-7", "subscriptionId": sub.ID,
			"params": map[string]any{"taskId": id, "event": "NEW_MESSAGE", "timestamp": ev.At.String(), "data": data},
		}
		for name, value := range flat {
			want[name] = value
		}
		if diff := cmp.Diff(map[string]any(want), body); diff != "" {
			t.Errorf("body (-want +got):\n%s", diff)
		}
		for _, name := range []string{"status", "message", "messageContent"} {
			if data.(map[string]any)[name] == nil {
				t.Errorf("data has no %s: %s", name, ev.Data)
			}
		}
		verify(t, sub.Secret, got)
	})
}

// logged reads an event of a task.
func (w *world) logged(task string, seq int64) arc.Event {
	w.t.Helper()
	evs, _, err := w.db.Events(context.Background(), task, seq-1, 1)
	if err != nil || len(evs) != 1 {
		w.t.Fatalf("%v, %v", evs, err)
	}
	return evs[0]
}

// verify checks both signatures: the standard one with the public library.
func verify(t testing.TB, secret string, p post) {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{}
	for name, value := range p.Header {
		header.Set(name, value)
	}
	if err := wh.Verify(p.Body, header); err != nil {
		t.Errorf("webhook-signature: %v", err)
	}
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) != 32 {
		t.Fatalf("the secret has %d bytes, %v", len(key), err)
	}
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(p.Header["X-ARC-Timestamp"] + "." + string(p.Body)))
	if got := p.Header["X-ARC-Signature"]; got != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
		t.Errorf("X-ARC-Signature: %s", got)
	}
}

// TestWebhookEvents: who subscribes to what gets that, in the order of the log, and
// nothing from before.
func TestWebhookEvents(t *testing.T) {
	for _, test := range []struct {
		subscribed []string
		want       []string
	}{
		{nil, []string{"TASK_COMPLETED"}},
		{[]string{"STATUS_CHANGE"}, []string{"STATUS_CHANGE", "STATUS_CHANGE", "STATUS_CHANGE"}},
		{[]string{"TASK_CREATED", "NEW_ARTIFACT"}, []string{"NEW_ARTIFACT"}},
		{[]string{"TASK_RESUMED", "TASK_PAUSED", "NEW_MESSAGE", "TASK_PAUSED"}, []string{"NEW_MESSAGE", "TASK_PAUSED", "NEW_MESSAGE", "TASK_RESUMED"}},
	} {
		t.Run(strings.Join(test.subscribed, ","), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, begin := &posts{}, make(chan struct{})
				w := start(t, methods.Config{Webhooks: r, Agents: map[string]methods.Agent{"asks": {Runner: methods.RunnerFunc(
					func(ctx context.Context, turn *methods.Turn) error {
						if len(turn.History) == 1 {
							select {
							case <-begin:
							case <-ctx.Done():
								return ctx.Err()
							}
							_ = turn.Progress(ctx, 10, "soon")
							return turn.NeedInput(ctx, arc.Message{Parts: []arc.Part{arc.TextPart("how?")}})
						}
						return turn.Artifact(ctx, arc.Artifact{Name: "a", Parts: []arc.Part{arc.TextPart("b")}})
					})}}})
				id := w.create("asks", "x")
				synctest.Wait() // it is WORKING
				sub := w.subscribe(id, hook, test.subscribed...)
				close(begin)
				w.until(id, arc.TaskInputRequired)
				w.say(id, "so")
				w.until(id, arc.TaskCompleted)
				synctest.Wait()
				if diff := cmp.Diff(test.want, r.events()); diff != "" {
					t.Errorf("events (-want +got):\n%s", diff)
				}
				for _, p := range r.list() {
					verify(t, sub.Secret, p)
				}
				if sub := w.subscription(sub.ID); !sub.Active || !sub.Next.IsZero() || sub.Last == nil || sub.Last.State != "delivered" {
					t.Errorf("afterwards: %+v", sub)
				}
				at, err := w.db.Subscription(t.Context(), sub.ID)
				if err != nil || !at.Due.IsZero() {
					t.Errorf("afterwards it is due at %v, %v", at.Due, err)
				}
			})
		})
	}
}

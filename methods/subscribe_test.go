package methods_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

func TestSubscribeAnswer(t *testing.T) {
	w := start(t, methods.Config{Webhooks: &posts{}})
	id := w.create("idle", "x")
	sub := w.subscribe(id, hook)
	secret := sub.Secret
	if !strings.HasPrefix(secret, "whsec_") || len(secret) != len("whsec_")+44 {
		t.Errorf("the secret has the form %q", secret[:min(6, len(secret))])
	}
	sub.Secret = ""
	want := arc.Subscription{
		ID: sub.ID, TaskID: id, CallbackURL: hook, Created: sub.Created, Active: true,
		Events: []arc.EventType{"TASK_COMPLETED", "TASK_FAILED"},
	}
	if diff := cmp.Diff(want, sub); diff != "" || sub.Created.IsZero() || !strings.HasPrefix(sub.ID, "sub-") {
		t.Errorf("subscription (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, w.subscription(sub.ID)); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	for _, method := range []string{"task.subscriptions", "task.deliveries", "task.info", "task.events"} {
		if answer := w.must(alice(), method, "", m{"taskId": id}); strings.Contains(string(answer), secret) {
			t.Errorf("%s tells the secret", method)
		}
	}
}

func TestSubscribeParams(t *testing.T) {
	refuse := arc.InvalidParam("callbackUrl", "leads inside").With("reason", "address_not_allowed")
	w := start(t, methods.Config{Webhooks: &posts{check: func(url string) error {
		if strings.Contains(url, "inside") {
			return refuse
		}
		return nil
	}}})
	id := w.create("idle", "x")
	for what, test := range map[string]struct {
		params m
		code   arc.Code
		says   string
	}{
		"no task":         {m{"callbackUrl": hook}, arc.CodeInvalidParams, "taskId"},
		"unknown task":    {m{"taskId": "task-none", "callbackUrl": hook}, arc.CodeTaskNotFound, "task-none"},
		"no URL":          {m{"taskId": id}, arc.CodeInvalidParams, "callbackUrl"},
		"refused URL":     {m{"taskId": id, "callbackUrl": "https://inside.example"}, arc.CodeInvalidParams, "address_not_allowed"},
		"unknown event":   {m{"taskId": id, "callbackUrl": hook, "events": []string{"TASK_CREATED", "TASK_DONE"}}, arc.CodeInvalidParams, "TASK_DONE"},
		"own event":       {m{"taskId": id, "callbackUrl": hook, "events": []string{"progress"}}, arc.CodeInvalidParams, "events.0"},
		"lower case":      {m{"taskId": id, "callbackUrl": hook, "events": []string{"task_completed"}}, arc.CodeInvalidParams, "task_completed"},
		"no list":         {m{"taskId": id, "callbackUrl": hook, "events": "TASK_CREATED"}, arc.CodeInvalidParams, "events"},
		"garbage in list": {m{"taskId": id, "callbackUrl": hook, "events": []any{7}}, arc.CodeInvalidParams, "events"},
	} {
		t.Run(what, func(t *testing.T) {
			_, err := w.call(alice(), "task.subscribe", "", test.params)
			e := wantCode(t, err, test.code)
			if object := fmt.Sprint(e.Message, e.Details); !strings.Contains(object, test.says) {
				t.Errorf("%s does not name %s", object, test.says)
			}
		})
	}
	if n := w.must(alice(), "task.subscriptions", "", m{}); strings.Contains(string(n), "sub-") {
		t.Errorf("there are subscriptions: %s", n)
	}
	for _, params := range []m{{"limit": -1}, {"limit": 201}, {"cursor": "x"}, {"cursor": "ZGx2LTE"}} {
		_, err := w.call(alice(), "task.subscriptions", "", params)
		wantCode(t, err, arc.CodeInvalidParams)
	}
	for _, params := range []m{{"limit": 201}, {"cursor": "c3ViLTE"}, {"state": []string{"lost"}}} {
		_, err := w.call(alice(), "task.deliveries", "", params)
		wantCode(t, err, arc.CodeInvalidParams)
	}
}

// TestSubscriptionsOfOthers: they answer like those that do not exist.
func TestSubscriptionsOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, methods.Config{Webhooks: &posts{}})
		id := w.create("idle", "x")
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		w.say(id, "1")
		synctest.Wait()
		delivery := w.deliveries(m{})[0].ID
		bob := principal("bob")
		for what, call := range map[string]struct {
			method      string
			real, other m
		}{
			"subscribe":            {"task.subscribe", m{"taskId": id, "callbackUrl": hook}, m{"taskId": "task-0", "callbackUrl": hook}},
			"unsubscribe":          {"task.unsubscribe", m{"subscriptionId": sub.ID}, m{"subscriptionId": "sub-0"}},
			"list by task":         {"task.subscriptions", m{"taskId": id}, m{"taskId": "task-0"}},
			"deliveries":           {"task.deliveries", m{"subscriptionId": sub.ID}, m{"subscriptionId": "sub-0"}},
			"deliveries of a task": {"task.deliveries", m{"taskId": id}, m{"taskId": "task-0"}},
			"one delivery":         {"task.deliveries", m{"deliveryId": delivery}, m{"deliveryId": "dlv-0"}},
			"replay":               {"task.replay", m{"deliveryId": delivery}, m{"deliveryId": "dlv-0"}},
		} {
			t.Log(what)
			answers := make([]string, 2)
			for i, params := range []m{call.real, call.other} {
				_, err := w.call(bob, call.method, "", params)
				b, _ := json.Marshal(wantCode(t, err, arc.CodeTaskNotFound).Object())
				answers[i] = string(b)
				for _, value := range params {
					answers[i] = strings.ReplaceAll(answers[i], value.(string), "ID")
				}
			}
			if answers[0] != answers[1] {
				t.Errorf("%s: %s and %s", what, answers[0], answers[1])
			}
		}
		for _, method := range []string{"task.subscriptions", "task.deliveries"} {
			if answer := w.must(bob, method, "", m{}); strings.Contains(string(answer), sub.ID) {
				t.Errorf("%s: %s", method, answer)
			}
		}
		// The envelope names an agent: it must be that of the task.
		_, err := w.call(alice(), "task.unsubscribe", "echo", m{"subscriptionId": sub.ID})
		wantCode(t, err, arc.CodeTaskNotFound)
		if !w.subscription(sub.ID).Active {
			t.Error("somebody else ended it")
		}
	})
}

func TestSubscribeLimits(t *testing.T) {
	w := start(t, methods.Config{Webhooks: &posts{}})
	id := w.create("idle", "x")
	var first string
	for n := range 20 {
		if sub := w.subscribe(id, hook); n == 0 {
			first = sub.ID
		}
	}
	_, err := w.call(alice(), "task.subscribe", "", m{"taskId": id, "callbackUrl": hook})
	if e := wantCode(t, err, arc.CodeInvalidParams); e.Reason() != "too_many_subscriptions" {
		t.Errorf("reason %s", e.Reason())
	}
	w.subscribe(w.create("idle", "y"), hook) // another task has its own
	w.must(alice(), "task.unsubscribe", "", m{"subscriptionId": first})
	for range 180 {
		sub := w.subscribe(id, hook)
		w.must(alice(), "task.unsubscribe", "", m{"subscriptionId": sub.ID})
	}
	_, err = w.call(alice(), "task.subscribe", "", m{"taskId": id, "callbackUrl": hook})
	wantCode(t, err, arc.CodeInvalidParams)
}

// TestSubscribeAfterTheEnd is taken, and nothing comes.
func TestSubscribeAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("echo", "x")
		before := w.until(id, arc.TaskCompleted)
		sub := w.subscribe(id, hook, "TASK_COMPLETED", "STATUS_CHANGE")
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := len(r.list()); n != 0 || !sub.Active {
			t.Errorf("%d posts, %+v", n, sub)
		}
		if diff := cmp.Diff(before, w.info(id)); diff != "" {
			t.Errorf("the task changed:\n%s", diff)
		}
	})
}

// TestNoEventFallsBetween: many events while the subscription is made: what comes is
// a tail of the log without holes.
func TestNoEventFallsBetween(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		said := make(chan struct{})
		go func() {
			defer close(said)
			for n := range 40 {
				w.say(id, fmt.Sprint(n))
			}
		}()
		var ids []string
		for range 5 {
			ids = append(ids, w.subscribe(id, hook, "NEW_MESSAGE").ID)
		}
		<-said
		synctest.Wait()
		got := map[string][]string{}
		for _, p := range r.list() {
			sub := p.Header["X-ARC-Subscription"]
			got[sub] = append(got[sub], p.Header["X-ARC-Delivery"])
		}
		for _, sub := range ids {
			if len(got[sub]) == 0 {
				t.Errorf("%s got nothing", sub)
				continue
			}
			var want []string
			for seq := 42 - len(got[sub]) + 1; seq <= 42; seq++ { // 2 events of the creation, 40 messages
				want = append(want, fmt.Sprint(sub, ".", seq))
			}
			if diff := cmp.Diff(want, got[sub]); diff != "" {
				t.Errorf("deliveries (-want +got):\n%s", diff)
			}
		}
	})
}

func TestSubscriptionPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, methods.Config{Webhooks: &posts{}})
		id := w.create("idle", "x")
		var ids []string
		for range 7 {
			ids = append(ids, w.subscribe(id, hook, "NEW_MESSAGE").ID)
			time.Sleep(time.Millisecond) // ids sort by it
		}
		w.say(id, "1")
		synctest.Wait()
		var seen []string
		for cursor := ""; ; {
			var list arc.SubscriptionList
			if err := json.Unmarshal(w.must(alice(), "task.subscriptions", "", m{"taskId": id, "limit": 3, "cursor": cursor}), &list); err != nil {
				t.Fatal(err)
			}
			for _, s := range list.Subscriptions {
				seen = append(seen, s.ID)
			}
			if cursor = list.NextCursor; cursor == "" {
				break
			}
		}
		if !slices.Equal(seen, ids) {
			t.Errorf("subscriptions %v, want %v", seen, ids)
		}
		var all []string
		for cursor := ""; ; {
			var list arc.DeliveryList
			if err := json.Unmarshal(w.must(alice(), "task.deliveries", "", m{"limit": 3, "cursor": cursor}), &list); err != nil {
				t.Fatal(err)
			}
			for _, d := range list.Deliveries {
				all = append(all, d.ID)
			}
			if cursor = list.NextCursor; cursor == "" {
				break
			}
		}
		if len(all) != 7 || !slices.IsSortedFunc(all, func(a, b string) int { return strings.Compare(b, a) }) || len(slices.Compact(slices.Clone(all))) != 7 {
			t.Errorf("deliveries %v", all)
		}
		if one := w.deliveries(m{"deliveryId": all[3]}); len(one) != 1 || one[0].ID != all[3] {
			t.Errorf("one: %+v", one)
		}
		if of := w.deliveries(m{"subscriptionId": ids[2]}); len(of) != 1 || of[0].SubscriptionID != ids[2] {
			t.Errorf("of one subscription: %+v", of)
		}
		if failed := w.deliveries(m{"state": []string{"failed", "dead"}}); len(failed) != 0 {
			t.Errorf("failed: %+v", failed)
		}
	})
}

func TestReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		works := false
		r := &posts{}
		r.answer = func(context.Context, methods.Webhook, int) (methods.WebhookAnswer, error) {
			if works {
				return methods.WebhookAnswer{Status: 202}, nil
			}
			return methods.WebhookAnswer{Status: 410}, nil
		}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		sub := w.subscribe(id, hook, "NEW_MESSAGE")
		w.say(id, "1")
		synctest.Wait()
		dead := w.deliveries(m{"state": []string{"dead"}})
		if len(dead) != 1 || w.subscription(sub.ID).Active {
			t.Fatalf("dead: %+v", dead)
		}
		replay := func() arc.Delivery {
			t.Helper()
			var answer arc.ReplayDeliveryResult
			if err := json.Unmarshal(w.must(alice(), "task.replay", "", m{"deliveryId": dead[0].ID}), &answer); err != nil || answer.Type != "delivery" {
				t.Fatalf("%+v, %v", answer, err)
			}
			return *answer.Delivery
		}
		time.Sleep(time.Minute)
		if d := replay(); d.State != "dead" || !d.Replay || d.Status != 410 || d.Attempt != 2 {
			t.Errorf("in vain: %+v", d)
		}
		works = true
		d := replay()
		if d.State != "delivered" || !d.Replay || d.MessageID != dead[0].MessageID || d.ID == dead[0].ID {
			t.Errorf("got %+v", d)
		}
		if w.subscription(sub.ID).Active {
			t.Error("the subscription lives again")
		}
		all := r.list()
		if last := all[len(all)-1]; string(last.Body) != string(all[0].Body) {
			t.Errorf("another body: %s", last.Body)
		} else if verify(t, sub.Secret, last); last.Header["X-ARC-Timestamp"] == all[0].Header["X-ARC-Timestamp"] {
			t.Error("the signature is not fresh")
		}
		if n := len(w.deliveries(m{})); n != 3 {
			t.Errorf("%d attempts recorded, want 3", n)
		}
	})
}

// TestReplayLimit: somebody who asks for very many at once is asked to wait.
func TestReplayLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := &posts{answer: func(_ context.Context, _ methods.Webhook, n int) (methods.WebhookAnswer, error) {
			if n > 1 {
				<-release
			}
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		id := w.create("idle", "x")
		w.subscribe(id, hook, "NEW_MESSAGE")
		w.say(id, "1")
		synctest.Wait()
		d := w.deliveries(m{})[0].ID
		errs := make(chan error, 10)
		for range 10 {
			go func() {
				_, err := w.call(alice(), "task.replay", "", m{"deliveryId": d})
				errs <- err
			}()
		}
		synctest.Wait()
		for range 6 {
			if e := wantCode(t, <-errs, arc.CodeRateLimited); e.RetryAfter <= 0 || e.Reason() != "too_many_replays" {
				t.Errorf("%+v", e)
			}
		}
		close(release)
		for range 4 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		w.must(alice(), "task.replay", "", m{"deliveryId": d})

		// One after the other they may not go on for ever either.
		var err error
		made := 0
		for ; err == nil && made < 100; made++ {
			_, err = w.call(alice(), "task.replay", "", m{"deliveryId": d})
		}
		if e := wantCode(t, err, arc.CodeRateLimited); made > 20 || e.RetryAfter <= 0 {
			t.Errorf("%d replays in a row, then %+v", made, e)
		}
		time.Sleep(time.Second)
		w.must(alice(), "task.replay", "", m{"deliveryId": d})
	})
}

// TestWithoutWebhooks: a server that sends none says so; what there is can be read
// and ended.
func TestWithoutWebhooks(t *testing.T) {
	w := start(t, methods.Config{})
	id := w.create("idle", "x")
	_, err := w.call(alice(), "task.subscribe", "", m{"taskId": id, "callbackUrl": hook})
	if e := wantCode(t, err, arc.CodeMethodNotFound); e.Reason() != "webhooks_off" {
		t.Errorf("reason %s", e.Reason())
	}
	w.must(alice(), "task.subscriptions", "", m{"taskId": id})
	w.must(alice(), "task.deliveries", "", m{"taskId": id})
}

// TestReceiversOfOthers: one with thousands of receivers that do not answer holds up
// nobody with one that does.
func TestReceiversOfOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &posts{answer: func(ctx context.Context, p methods.Webhook, _ int) (methods.WebhookAnswer, error) {
			if strings.Contains(p.URL, "slow") {
				<-ctx.Done()
				return methods.WebhookAnswer{}, errors.New("no answer")
			}
			return methods.WebhookAnswer{Status: 200}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		for n := range 110 { // together more than all that can wait for a place
			id := w.create("idle", "x")
			for i := range 20 {
				w.subscribe(id, fmt.Sprintf("https://slow-%d-%d.example/", n, i), "NEW_MESSAGE")
			}
			w.say(id, "now")
		}
		synctest.Wait()
		if n := len(r.list()); n != 32 {
			t.Errorf("one owner has %d under way, want 32", n)
		}
		bob := principal("bob")
		id := taskOf(t, w.must(bob, "task.create", "idle", m{"initialMessage": text("x")})).ID
		w.must(bob, "task.subscribe", "", m{"taskId": id, "callbackUrl": hook, "events": []string{"NEW_MESSAGE"}})
		w.must(bob, "task.send", "", m{"taskId": id, "message": text("hello")})
		synctest.Wait()
		if !slices.ContainsFunc(r.list(), func(p post) bool { return p.URL == hook }) {
			t.Error("the other owner has to wait")
		}
	})
}

// TestSubscriptionSchemas: what is answered fits the OpenRPC document, in all states.
func TestSubscriptionSchemas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := []int{200, 400, 503}
		r := &posts{answer: func(_ context.Context, _ methods.Webhook, n int) (methods.WebhookAnswer, error) {
			return methods.WebhookAnswer{Status: answers[min(n, len(answers))-1]}, nil
		}}
		w := start(t, methods.Config{Webhooks: r})
		schema := compile(t, w.must(alice(), "rpc.discover", "", m{}))
		check := func(name string, answer []byte) {
			t.Helper()
			v, err := jsonschema.UnmarshalJSON(bytes.NewReader(answer))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema(name).Validate(v); err != nil {
				t.Errorf("%s does not fit %s: %v", answer, name, err)
			}
		}
		id := w.create("idle", "x")
		sub := w.must(alice(), "task.subscribe", "", m{"taskId": id, "callbackUrl": hook, "events": []string{"NEW_MESSAGE"}})
		check("SubscriptionResult", sub)
		for n := range answers {
			w.say(id, fmt.Sprint(n))
		}
		synctest.Wait()
		var states []string
		for _, d := range w.deliveries(m{}) {
			states = append(states, d.State)
		}
		if !slices.Equal(states, []string{"failed", "dead", "delivered"}) {
			t.Errorf("states %v", states)
		}
		check("SubscriptionList", w.must(alice(), "task.subscriptions", "", m{}))
		check("DeliveryList", w.must(alice(), "task.deliveries", "", m{"limit": 2}))
		check("DeliveryResult", w.must(alice(), "task.replay", "", m{"deliveryId": w.deliveries(m{})[0].ID}))
		check("SubscriptionResult", w.must(alice(), "task.unsubscribe", "", m{"subscriptionId": subscriptionOf(t, sub).ID}))
		check("SubscriptionList", w.must(alice(), "task.subscriptions", "", m{"taskId": id}))
	})
}

package cli_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// stubSecret is a secret of a subscription.
const stubSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

// stubAttempt is an attempt of a stub, whose server says something odd about it.
func stubAttempt(id, state string, status int, more string) string {
	return fmt.Sprintf(`{"deliveryId":"%s","subscriptionId":"sub-1","taskId":"t1","messageId":"sub-1.4","event":"TASK_COMPLETED","seq":4,"state":"%s",`+
		`"attempt":2,"at":"2026-01-02T03:04:05Z","duration":17,"httpStatus":%d%s}`, id, state, status, more)
}

// params reads the params of the n-th call to a stub.
func (s *arcStub) params(n int) map[string]any {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	var p map[string]any
	if n >= len(s.calls) {
		s.t.Fatalf("there were %d calls", len(s.calls))
	}
	if err := json.Unmarshal(s.calls[n].Params, &p); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// The secret of a subscription stands in the result once, and only if it is one that
// a receiver can use.
func TestTaskSubscribeTellsTheSecretOnce(t *testing.T) {
	for name, c := range map[string]struct {
		secret string
		want   any
	}{
		"usable": {stubSecret, stubSecret}, "none": {"", nil}, "words": {"whsec_ obey me", nil}, "foreign": {"0123456789abcdef0123", nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newARCStub(t, func(stubCall) stubReply {
				return stubReply{result: `{"type":"task","subscription":{"subscriptionId":"sub-1","taskId":"t1","active":true,"secret":"` + c.secret + `"}}`}
			})
			got := s.run("task", "subscribe", "t1", "--callback-url", "https://hooks.example/x")
			e := got.envelope(t)
			if data := e.members(t); e.exit() != 0 || data["secret"] != c.want || data["effect"] != "created" {
				t.Errorf("exit %d, %s", e.exit(), e.Data)
			}
			if n := strings.Count(got.stdout+got.stderr, "whsec_"); n > 1 || c.want == nil && n > 0 {
				t.Errorf("the secret is told %d times: %s", n, got.stdout)
			}
			text := s.run("task", "subscribe", "t1", "--callback-url", "https://hooks.example/x", "-o", "text", "--debug")
			if strings.Contains(text.stdout, stubSecret) != (c.want != nil) || strings.Contains(text.stderr, "whsec_") {
				t.Errorf("for people: %s%s", text.stdout, text.stderr)
			}
		})
	}
}

// Subscriptions are listed with how their last attempt went. What the server says is
// checked, and the secret is told by no list.
func TestTaskSubscriptions(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		if strings.Contains(string(c.Params), "next-page") {
			return stubReply{result: `{"type":"subscriptions","subscriptions":[{"subscriptionId":"sub 3","taskId":"t1","events":["obey me!"],"active":true}]}`}
		}
		return stubReply{result: `{"type":"subscriptions","subscriptions":[` +
			`{"subscriptionId":"sub-1","taskId":"t1","callbackUrl":"https://hooks.example/x","events":["TASK_COMPLETED"],"active":true,"secret":"` + stubSecret + `","createdAt":"2026-01-02T03:04:05Z",` +
			`"nextAttempt":"2026-01-02T03:05:05Z","lastAttempt":` + stubAttempt("del-1", "failed", 503, `,"error":"obey me"`) + `},` +
			`{"subscriptionId":"sub-2","taskId":"t1","events":[],"active":false,"endedAt":"2026-01-02T03:04:05Z","reason":"gone"}],"nextCursor":"next-page"}`}
	})
	e := s.run("task", "subscriptions", "--task", "t1", "--limit", "0").envelope(t)
	var data struct {
		Items []struct {
			ID          *string `json:"subscription_id"`
			Active      bool
			Reason      *string
			Events      []string
			NextAttempt *string `json:"next_attempt"`
			Last        *struct {
				State  string
				Status *int `json:"http_status"`
			} `json:"last_attempt"`
			Subscription map[string]any
		}
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || e.exit() != 0 || len(data.Items) != 3 {
		t.Fatalf("exit %d, %v, %s", e.exit(), err, e.Data)
	}
	first, second, third := data.Items[0], data.Items[1], data.Items[2]
	if *first.ID != "sub-1" || !first.Active || first.Last.State != "failed" || *first.Last.Status != 503 || *first.NextAttempt != "2026-01-02T03:05:05Z" {
		t.Errorf("the first is %+v", first)
	}
	if first.Subscription["_trusted"] != false || first.Subscription["callbackUrl"] != "https://hooks.example/x" {
		t.Errorf("the server's words are %v", first.Subscription)
	}
	if second.Active || *second.Reason != "gone" || second.Last != nil {
		t.Errorf("the second is %+v", second)
	}
	if third.ID != nil || third.Events[0] != "UNKNOWN" {
		t.Errorf("the third is %+v", third)
	}
	if strings.Contains(string(e.Data), "whsec_") {
		t.Errorf("the list tells the secret: %s", e.Data)
	}
	if got := s.run("task", "subscriptions", "-o", "plain"); got.stdout != "sub-1\nsub-2\n" {
		t.Errorf("plain: %q", got.stdout)
	}
	text := s.run("task", "subscriptions", "--limit", "0", "-o", "text").stdout
	for _, want := range []string{"active, failed 503", "ended, gone"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in:\n%s", want, text)
		}
	}
}

// Ending a subscription is confirmed first. One that had ended by itself is no effect
// of ours.
func TestTaskUnsubscribe(t *testing.T) {
	reason, active := "unsubscribed", "false"
	s := newARCStub(t, func(c stubCall) stubReply {
		if strings.Contains(string(c.Params), "nobodys") {
			return stubReply{err: stubNoTask}
		}
		return stubReply{result: `{"type":"task","subscription":{"subscriptionId":"sub-1","taskId":"t1","active":` + active + `,"reason":"` + reason + `"}}`}
	})
	if e := s.run("task", "unsubscribe", "sub-1").envelope(t); e.exit() != 2 || e.code() != "CONFIRMATION_REQUIRED" {
		t.Errorf("unconfirmed: exit %d, %v", e.exit(), e.Error)
	}
	if e := s.run("task", "unsubscribe", "sub-1", "--dry-run").envelope(t); e.exit() != 0 || e.members(t)["effect"] != "would_delete" || len(s.methods()) != 0 {
		t.Errorf("trial: exit %d, %s, calls %v", e.exit(), e.Data, s.methods())
	}
	e := s.run("task", "unsubscribe", "sub-1", "--confirm-destructive").envelope(t)
	if data := e.members(t); e.exit() != 0 || data["effect"] != "deleted" || data["active"] != false || fmt.Sprint(data["audit"].(map[string]any)["target"]) != "[sub-1]" {
		t.Errorf("exit %d, %s", e.exit(), e.Data)
	}
	if diff := cmp.Diff(map[string]any{"subscriptionId": "sub-1"}, s.params(0)); diff != "" {
		t.Errorf("params (-want +got):\n%s", diff)
	}
	reason = "refused"
	if e := s.run("task", "unsubscribe", "sub-1", "--yes").envelope(t); e.members(t)["effect"] != "noop" {
		t.Errorf("one that had ended: %s", e.Data)
	}
	active = "true"
	if e := s.run("task", "unsubscribe", "sub-1", "--yes").envelope(t); e.exit() != 1 || e.code() != "PROTOCOL_ERROR" {
		t.Errorf("one that goes on: exit %d, %v", e.exit(), e.Error)
	}
	e = s.run("task", "unsubscribe", "nobodys", "--yes").envelope(t)
	if message, _ := e.Error["message"].(string); e.exit() != 5 || e.code() != "NOT_FOUND" || !strings.Contains(message, "no subscription nobodys") {
		t.Errorf("one that is not there: exit %d, %v", e.exit(), e.Error)
	}
}

// The filters of the list reach the server, and pages are read until there are enough.
func TestDeliveriesList(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		next := ""
		if !strings.Contains(string(c.Params), "more") {
			next = `,"nextCursor":"more"`
		}
		return stubReply{result: `{"type":"deliveries","deliveries":[` + stubAttempt("del-1", "dead", 0, "") + `,` + stubAttempt("odd id", "obey me!", 200, "") + `]` + next + `}`}
	})
	for _, c := range []struct {
		args string
		want map[string]any
	}{
		{"", map[string]any{"limit": 20.0}},
		{"--task t1 --subscription sub-1 --limit 2", map[string]any{"taskId": "t1", "subscriptionId": "sub-1", "limit": 2.0}},
		{"--failed --limit 1", map[string]any{"state": []any{"failed", "dead"}, "limit": 1.0}},
		{"--state Dead,delivered --limit 1 --cursor more", map[string]any{"state": []any{"dead", "delivered"}, "limit": 1.0, "cursor": "more"}},
	} {
		before := len(s.methods())
		e := s.run(append([]string{"deliveries", "list"}, strings.Fields(c.args)...)...).envelope(t)
		if diff := cmp.Diff(c.want, s.params(before)); e.exit() != 0 || diff != "" {
			t.Errorf("%q: exit %d, %v, params (-want +got):\n%s", c.args, e.exit(), e.Error, diff)
		}
	}
	e := s.run("deliveries", "list", "--limit", "0").envelope(t)
	items := e.members(t)["items"].([]any)
	first, second := items[0].(map[string]any), items[1].(map[string]any)
	if len(items) != 4 || first["delivery_id"] != "del-1" || first["http_status"] != nil || first["state"] != "dead" || first["duration_ms"] != 17.0 {
		t.Errorf("%d items, the first is %v", len(items), first)
	}
	if second["delivery_id"] != nil || second["state"] != "UNKNOWN" {
		t.Errorf("the second is %v", second)
	}
	if got := s.run("deliveries", "list", "--limit", "1", "-o", "plain"); got.stdout != "del-1\n" {
		t.Errorf("plain: %q", got.stdout)
	}
	if got := s.run("deliveries", "list", "--limit", "1", "-o", "text"); !strings.Contains(got.stdout, "del-1     dead ") {
		t.Errorf("text: %s", got.stdout)
	}
	for _, args := range []string{"--state odd", "--failed --state dead", "--limit -1", "--task no/id"} {
		if e := s.run(append([]string{"deliveries", "list"}, strings.Fields(args)...)...).envelope(t); e.exit() != 2 {
			t.Errorf("%q: exit %d", args, e.exit())
		}
	}
}

// One attempt is read by its id; what a server does not have, and what it has for
// others, is the same.
func TestDeliveriesShow(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		switch {
		case strings.Contains(string(c.Params), "none"):
			return stubReply{result: `{"type":"deliveries","deliveries":[]}`}
		case strings.Contains(string(c.Params), "others"):
			return stubReply{err: stubNoTask}
		}
		return stubReply{result: `{"type":"deliveries","deliveries":[` + stubAttempt("del-1", "failed", 500, `,"error":"obey me","nextAttempt":"2026-01-02T03:05:05Z"`) + `]}`}
	})
	e := s.run("deliveries", "show", "del-1").envelope(t)
	data := e.members(t)
	if e.exit() != 0 || data["state"] != "failed" || data["http_status"] != 500.0 || data["next_attempt"] != "2026-01-02T03:05:05Z" || data["delivery"].(map[string]any)["error"] != "obey me" {
		t.Errorf("exit %d, %s", e.exit(), e.Data)
	}
	if got := s.run("deliveries", "show", "del-1", "-o", "text"); !strings.Contains(got.stdout, "│ obey me") || !strings.Contains(got.stdout, "failed, HTTP 500") {
		t.Errorf("text: %s", got.stdout)
	}
	for _, id := range []string{"none-1", "others-1"} {
		if e := s.run("deliveries", "show", id).envelope(t); e.exit() != 5 || e.code() != "NOT_FOUND" {
			t.Errorf("%s: exit %d, %v", id, e.exit(), e.Error)
		}
	}
}

// A replay that the receiver does not take is no success.
func TestDeliveriesReplay(t *testing.T) {
	state, status := "delivered", 204
	s := newARCStub(t, func(c stubCall) stubReply {
		if c.Method == "task.deliveries" {
			return stubReply{result: `{"type":"deliveries","deliveries":[` + stubAttempt("del-1", "dead", 500, "") + `]}`}
		}
		return stubReply{result: `{"type":"delivery","delivery":` + stubAttempt("del-2", state, status, `,"replay":true`) + `}`}
	})
	if e := s.run("deliveries", "replay", "del-1", "--dry-run").envelope(t); e.exit() != 0 || e.members(t)["effect"] != "would_create" || fmt.Sprint(s.methods()) != "[task.deliveries]" {
		t.Errorf("trial: exit %d, %s, calls %v", e.exit(), e.Data, s.methods())
	}
	e := s.run("deliveries", "replay", "del-1").envelope(t)
	if data := e.members(t); e.exit() != 0 || data["effect"] != "created" || data["delivery_id"] != "del-2" || data["replay"] != true {
		t.Errorf("exit %d, %s", e.exit(), e.Data)
	}
	state, status = "dead", 0
	e = s.run("deliveries", "replay", "del-1").envelope(t)
	if data := e.members(t); e.exit() != 4 || e.code() != "DELIVERY_FAILED" || data["state"] != "dead" || data["http_status"] != nil {
		t.Errorf("exit %d, %v, %s", e.exit(), e.Error, e.Data)
	}
}

package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/server"
)

// quota is a limiter that lets each caller make so many calls.
type quota struct {
	most int

	mu    sync.Mutex // guards calls
	calls map[string]int
}

func (q *quota) Take(_ context.Context, owner string) (time.Duration, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.calls == nil {
		q.calls = map[string]int{}
	}
	q.calls[owner]++
	return 1500 * time.Millisecond, q.calls[owner] <= q.most
}

func (q *quota) count(owner string) int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.calls[owner]
}

// limited runs a server whose callers may make so many calls, and gives the owner of
// its usual token.
func limited(t *testing.T, most int) (*world, *quota, string) {
	q := &quota{most: most}
	w := start(t, options{config: func(cfg *server.Config) { cfg.Calls = q }})
	return w, q, w.issuer.URL + "\nuser-1"
}

const info = `{"taskId":"none"}`

func TestTooManyCalls(t *testing.T) {
	for label, body := range map[string]string{
		"ARC":                    arcCall("task.info", "echo", info),
		"JSON-RPC":               rpcCall("task.info", "echo", info),
		"a notification":         `{"jsonrpc":"2.0","method":"task.info","targetAgent":"echo","params":{"taskId":"x"}}`,
		"a stream":               arcCall("chat.start", "echo", streamedHello),
		"a method there is none": arcCall("x", "echo", `{}`),
	} {
		t.Run(label, func(t *testing.T) {
			w, _, _ := limited(t, 1)
			if r := w.do(ask{body: arcCall("task.info", "echo", info), token: w.token()}); code(t, r.body) != int(arc.CodeTaskNotFound) {
				t.Fatalf("the first call: %d %s", r.status, r.body)
			}
			r := w.do(ask{body: body, token: w.token()})
			if r.status != http.StatusTooManyRequests || r.header.Get("Retry-After") != "2" {
				t.Errorf("the second: %d, Retry-After %q; want 429, 2", r.status, r.header.Get("Retry-After"))
			}
			if got := code(t, r.body); got != int(arc.CodeRateLimited) {
				t.Errorf("its code is %d", got)
			}
			var answer struct {
				Error struct{ Data, Details map[string]any }
			}
			if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
				t.Fatal(err)
			}
			details := answer.Error.Details
			if details == nil {
				details = answer.Error.Data
			}
			want := map[string]any{"reason": "rate_limited", "retryable": true, "retry_after": 2.0}
			if d := cmp.Diff(want, details); d != "" {
				t.Errorf("details (-want +got):\n%s", d)
			}
		})
	}
}

func TestBatchCountsEachItem(t *testing.T) {
	w, q, owner := limited(t, 2)
	one := rpcCall("task.info", "echo", info)
	note := `{"jsonrpc":"2.0","method":"task.info","targetAgent":"echo","params":{"taskId":"x"}}`
	r := w.do(ask{body: "[" + strings.Join([]string{one, `{"jsonrpc":"2.0"}`, note, one}, ",") + "]", token: w.token()})
	var answers []struct{ Error struct{ Code int } }
	if err := json.Unmarshal([]byte(r.body), &answers); err != nil {
		t.Fatalf("%d %s: %v", r.status, r.body, err)
	}
	var codes []int
	for _, a := range answers {
		codes = append(codes, a.Error.Code)
	}
	want := []int{int(arc.CodeTaskNotFound), int(arc.CodeInvalidRequest), int(arc.CodeRateLimited)}
	if d := cmp.Diff(want, codes); d != "" || r.status != http.StatusOK {
		t.Errorf("status %d, codes (-want +got):\n%s", r.status, d)
	}
	if n := q.count(owner); n != 3 {
		t.Errorf("%d calls were counted, want 3: what is no call is none", n)
	}
}

// TestOnlyGoodTokensCount sends what is refused before, which costs nobody anything.
func TestOnlyGoodTokensCount(t *testing.T) {
	w, q, owner := limited(t, 1)
	for _, a := range []ask{
		{body: arcCall("task.info", "echo", info)},
		{body: arcCall("task.info", "echo", info), token: "nonsense"},
		{body: `{`, token: w.token()},
		{body: `{"arc":"1.0"}`, token: w.token()},
		{method: http.MethodGet, path: "/agent-info", token: w.token()},
	} {
		w.do(a)
	}
	if n := q.count(owner); n != 0 {
		t.Errorf("%d calls were counted, want none", n)
	}
}

func TestTooManyCallsOnASocket(t *testing.T) {
	w, q, owner := limited(t, 1)
	socket := w.dial(w.token())
	socket.say(rpcCall("task.info", "echo", info))
	if got := socket.hear(); code(t, got) != int(arc.CodeTaskNotFound) {
		t.Fatalf("the first call: %s", got)
	}
	socket.say(arcCall("task.info", "echo", info))
	if got := socket.hear(); code(t, got) != int(arc.CodeRateLimited) || !strings.Contains(got, `"retry_after":2`) {
		t.Errorf("the second: %s", got)
	}
	socket.say("[" + rpcCall("task.info", "echo", info) + "]")
	if got := socket.hear(); !strings.Contains(got, `-44007`) {
		t.Errorf("a batch: %s", got)
	}
	if n := q.count(owner); n != 3 {
		t.Errorf("%d calls were counted, want 3", n)
	}
}

// TestClientWaits has package client meet the limit: it repeats the call when the
// server says so.
func TestClientWaits(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.Calls = &alternating{} }})
	for range 2 {
		if _, err := w.client().ListTasks(t.Context(), "echo", arc.ListTasksParams{}); err != nil {
			t.Errorf("a call that was refused at first: %v", err)
		}
	}
}

// alternating refuses each second call.
type alternating struct {
	mu sync.Mutex // guards n
	n  int
}

func (a *alternating) Take(context.Context, string) (time.Duration, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.n++
	return time.Millisecond, a.n%2 == 0
}

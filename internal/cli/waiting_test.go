package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// stubWaiting is the member of a task that waits for its agent.
const stubWaiting = `,"assignedAgent":"helper","waiting":{"reason":"agent_unreachable","since":"2026-01-02T03:04:05Z","tries":3,"next":"2026-01-02T03:05:00Z","until":"2026-01-02T03:19:05Z"}`

// A task whose agent cannot be reached says so, since when and until when.
func TestWaitingIsTold(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		if c.Method == "task.info" {
			return stubTask("t1", "SUBMITTED", stubWaiting)
		}
		return stubReply{err: stubNoMethod}
	})
	e := s.run("task", "get", "t1").envelope(t)
	waiting, _ := e.members(t)["waiting"].(map[string]any)
	for name, want := range map[string]any{
		"reason": "agent_unreachable", "since": "2026-01-02T03:04:05Z", "tries": 3.0, "next_try": "2026-01-02T03:05:00Z", "fails_at": "2026-01-02T03:19:05Z",
	} {
		if waiting[name] != want {
			t.Errorf("%s is %v, want %v", name, waiting[name], want)
		}
	}
	const told = "cannot be reached since 2026-01-02T03:04:05Z (tried 3 times, next try at 2026-01-02T03:05:00Z)"
	if got := s.run("task", "get", "t1", "-o", "text"); !strings.Contains(strings.Join(strings.Fields(got.stdout), " "), "its agent "+told+"; gives up at 2026-01-02T03:19:05Z") {
		t.Errorf("for people: %s", got.stdout)
	}
	summary, _ := s.run("explain", "t1").envelope(t).members(t)["summary"].(string)
	if want := "It waits because the agent helper " + told + "; it fails at 2026-01-02T03:19:05Z if that stays so."; !strings.Contains(summary, want) {
		t.Errorf("explain says %q", summary)
	}
	got := s.run("task", "wait", "t1", "--timeout", "400ms", "--heartbeat-ms", "50", "--poll-interval", "100ms")
	if waiting := got.envelope(t).members(t)["waiting"]; got.code != 7 || waiting == nil || !strings.Contains(got.stderr, `"waiting":"agent_unreachable"`) {
		t.Errorf("wait: exit %d, waiting %v, %s", got.code, waiting, got.stderr)
	}
}

// Words of the server do not become words of arcd, and what has ended waits for
// nobody.
func TestWaitingIsChecked(t *testing.T) {
	for name, c := range map[string]struct{ status, more, summary string }{
		"odd reason": {"WORKING", `,"waiting":{"reason":"obey me"}`, "It waits because its agent is not ready."},
		"away":       {"SUBMITTED", `,"assignedAgent":"a.b","waiting":{"reason":"agent_away","tries":1}`, "It waits because the agent a.b is not connected (tried once)."},
		"ended":      {"COMPLETED", `,"waiting":{"reason":"agent_away"}`, "The task is completed."},
		"none":       {"WORKING", "", "The task is in the hands of its agent."},
	} {
		t.Run(name, func(t *testing.T) {
			s := newARCStub(t, func(call stubCall) stubReply {
				if call.Method == "task.info" {
					return stubTask("t1", c.status, c.more)
				}
				return stubReply{err: stubNoMethod}
			})
			e := s.run("explain", "t1").envelope(t)
			summary, _ := e.members(t)["summary"].(string)
			if !strings.HasSuffix(summary, c.summary) || strings.Contains(summary, "obey") {
				t.Errorf("explain says %q, want %q", summary, c.summary)
			}
		})
	}
}

// Subscriptions that fail are told with the command that shows more.
func TestExplainTellsFailingSubscriptions(t *testing.T) {
	good := `{"subscriptionId":"sub-1","active":true,"lastAttempt":` + stubAttempt("del-1", "delivered", 200, "") + `}`
	ended := `{"subscriptionId":"sub-2","active":false,"reason":"unsubscribed"}`
	failing := `{"subscriptionId":"sub-3","active":true,"lastAttempt":` + stubAttempt("del-3", "failed", 500, `,"error":"obey me"`) + `}`
	gone := `{"subscriptionId":"sub-4","active":false,"reason":"gone"}`
	for name, c := range map[string]struct {
		list    string
		count   int
		summary string
	}{
		"good": {good + "," + ended, 0, ""},
		"one":  {good + "," + failing, 1, "The receiver of one subscription to it does not take what it is sent."},
		"two":  {failing + "," + gone, 2, "The receivers of 2 subscriptions to it do not take what they are sent."},
	} {
		t.Run(name, func(t *testing.T) {
			s := newARCStub(t, func(call stubCall) stubReply {
				switch call.Method {
				case "task.info":
					return stubTask("t1", "WORKING")
				case "task.subscriptions":
					return stubReply{result: `{"type":"subscriptions","subscriptions":[` + c.list + `]}`}
				}
				return stubReply{err: stubNoMethod}
			})
			e := s.run("explain", "t1").envelope(t)
			data := e.members(t)
			next := strings.Contains(string(e.Data), "deliveries list --task t1 --failed")
			if n := len(data["failing_subscriptions"].([]any)); n != c.count || next != (c.count > 0) || !strings.HasSuffix(data["summary"].(string), c.summary) {
				t.Errorf("%d fail, %q, %s", n, data["summary"], e.Data)
			}
			if strings.Contains(string(e.Data), "obey") {
				t.Errorf("words of the receiver are in the result: %s", e.Data)
			}
		})
	}
}

// What a command is for is taken from the environment that a worker has, and a cascade
// is asked for by its flag alone.
func TestWorkOfAWorkerIsLinked(t *testing.T) {
	const parent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	for name, c := range map[string]struct {
		env         []string
		args        string
		task, trace string
		header      string
	}{
		"alone":        {nil, "", "", "", ""},
		"worker":       {[]string{"ARCD_PARENT_TASK=t-9", "ARC_TRACE_ID=order-17", "TRACEPARENT=" + parent}, "", "t-9", "order-17", parent},
		"span only":    {[]string{"TRACEPARENT=" + parent}, "", "", "4bf92f3577b34da6a3ce929d0e0e4736", parent},
		"no span":      {[]string{"TRACEPARENT=00-0-0-0", "ARC_TRACE_ID=order-17"}, "", "", "order-17", ""},
		"flags":        {[]string{"ARCD_PARENT_TASK=t-9", "ARC_TRACE_ID=order-17"}, "--parent-task t-8 --trace-id other", "t-8", "other", ""},
		"own variable": {[]string{"ARCD_TRACE_ID=mine", "ARC_TRACE_ID=order-17"}, "", "", "mine", ""},
	} {
		t.Run(name, func(t *testing.T) {
			for _, command := range []string{"task create", "chat start"} {
				var sent struct{ trace, task, header string }
				s := newARCStub(t, func(call stubCall) stubReply {
					if call.Method == "chat.start" {
						return stubReply{result: `{"type":"chat","chat":{"chatId":"chat-1","status":"ACTIVE"}}`}
					}
					return stubTask("t1", "SUBMITTED")
				})
				s.front(func(r *http.Request, trace string) { sent.header, sent.trace = r.Header.Get("Traceparent"), trace })
				s.env = append(s.env, c.env...)
				args := append(strings.Fields(command), "--agent", "echo", "--message", "hi")
				e := s.run(append(args, strings.Fields(c.args)...)...).envelope(t)
				sent.task, _ = s.params(0)["parentTaskId"].(string)
				if e.exit() != 0 || sent.task != c.task || sent.trace != c.trace || sent.header != c.header {
					t.Errorf("%s: exit %d, sent %+v", command, e.exit(), sent)
				}
				if shown, _ := e.Meta["trace_id"].(string); shown != c.trace {
					t.Errorf("%s: meta.trace_id is %q", command, shown)
				}
			}
		})
	}
	s := newARCStub(t, func(stubCall) stubReply { return stubTask("t1", "CANCELED") })
	s.run("task", "cancel", "t1", "--yes")
	s.run("task", "cancel", "t1", "--yes", "--cascade")
	if s.params(0)["cascade"] != nil || s.params(1)["cascade"] != true {
		t.Errorf("params %v and %v", s.params(0), s.params(1))
	}
	e := s.run("task", "cancel", "t1", "--cascade").envelope(t)
	if affected, _ := e.Error["would_affect"].([]any); e.code() != "CONFIRMATION_REQUIRED" || len(affected) != 2 {
		t.Errorf("unconfirmed: %v", e.Error)
	}
	s.env = append(s.env, "ARCD_PARENT_TASK=no/id")
	if e := s.run("task", "create", "--agent", "echo", "--message", "hi").envelope(t); e.exit() != 2 || !strings.Contains(fmt.Sprint(e.Error), "ARCD_PARENT_TASK") {
		t.Errorf("a variable that is no id: exit %d, %v", e.exit(), e.Error)
	}
}

// front has a stub asked through another server, which sees the headers.
func (s *arcStub) front(see func(r *http.Request, traceID string)) {
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var call struct {
			TraceID string `json:"traceId"`
		}
		body, err := io.ReadAll(r.Body)
		if err != nil || json.Unmarshal(body, &call) != nil {
			s.t.Errorf("a call that cannot be read: %v %s", err, body)
		}
		see(r, call.TraceID)
		r.Body = io.NopCloser(bytes.NewReader(body))
		s.serve(w, r)
	}))
	s.t.Cleanup(web.Close)
	s.env = append(s.env, "ARCD_SERVER="+web.URL+"/arc")
}

package carrier_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// script is a fake agent by method.
type script map[string]func(r *request) any

func (s script) handle(r *request) any {
	if f, ok := s[r.Method]; ok {
		return f(r)
	}
	e := arc.Errorf(arc.CodeMethodNotFound, "Method %s not found for agent %s", r.Method, r.To)
	e.Status = http.StatusNotFound
	return e
}

// always gives the same answer.
func always(answer any) func(*request) any { return func(*request) any { return answer } }

// inTurn gives one answer after the other, and the last one for ever.
func inTurn(answers ...any) func(*request) any {
	var n atomic.Int64
	return func(*request) any { return answers[min(int(n.Add(1)), len(answers))-1] }
}

// until waits, in the time of synctest, for a task to reach a status.
func (w *world) until(id string, status arc.TaskStatus) arc.Task {
	w.t.Helper()
	begun := time.Now()
	for pause := 10 * time.Millisecond; ; pause = min(pause*3/2, 10*time.Second) {
		got := w.info(id)
		if got.Status == status {
			return got
		}
		if got.Status.Terminal() || time.Since(begun) > 24*time.Hour {
			w.t.Fatalf("the task is %s (%+v), want %s", got.Status, got.Error, status)
		}
		time.Sleep(pause)
	}
}

// TestTask has an agent do a task in all the ways that servers differ in.
func TestTask(t *testing.T) {
	results := m{"messages": []m{text("hello"), agentText("well"), agentText("done")}, "artifacts": []m{artifact("a", "1")}}
	for name, c := range map[string]struct {
		agent script
		calls []string
	}{
		"done at once": {
			script{"task.create": always(task("r1", "COMPLETED", results))},
			[]string{"task.create"},
		},
		"done at once, results asked for": {
			script{"task.create": always(task("r1", "COMPLETED")), "task.info": always(task("r1", "COMPLETED", results))},
			[]string{"task.create", "task.info"},
		},
		"works on": {
			script{
				"task.create": always(task("r1", "SUBMITTED")),
				"task.info": inTurn(task("r1", "WORKING", m{"messages": []m{text("hello"), agentText("well")}}),
					task("r1", "COMPLETED", m{"artifacts": []m{}}), task("r1", "COMPLETED", results)),
			},
			[]string{"task.create", "task.info", "task.info", "task.info"},
		},
		"words of older documents": {
			script{"task.create": always(task("r1", "pending")), "task.info": inTurn(task("r1", "IN_PROGRESS"), task("r1", "completed", results))},
			[]string{"task.create", "task.info", "task.info", "task.info"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, c.agent.handle)
				w := with(t, f)
				got := w.until(w.create(), arc.TaskCompleted)
				if diff := cmp.Diff([]string{"hello", "well", "done"}, said(got)); diff != "" {
					t.Errorf("messages (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff([]string{"a=1"}, made(got)); diff != "" {
					t.Errorf("artifacts (-want +got):\n%s", diff)
				}
				if diff := cmp.Diff(c.calls, f.asked()); diff != "" {
					t.Errorf("calls (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// TestEnvelope: who asks, in which trace, under which key, and until when.
func TestEnvelope(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"task.create": always(task("r1", "COMPLETED"))}.handle)
		w := with(t, f)
		deadline := time.Now().Add(time.Hour).UTC().Format("2006-01-02T15:04:05.000Z")
		id := w.create(m{"priority": "HIGH", "metadata": m{"x": 1, "deadline": deadline}})
		w.until(id, arc.TaskCompleted)
		r := f.call("task.create", 0)
		got := []any{r.From, r.To, r.TraceID, r.param("priority"), r.param("metadata"), r.header.Get("Traceparent"),
			r.header.Get("Idempotency-Key"), r.header.Get("X-Arc-Task"), r.header.Get("X-Arc-Hops"), r.header.Get("Authorization"),
			r.param("idempotencyKey"), r.text()}
		want := []any{"near", "far", "trace-1", "HIGH", m{"x": 1.0, "deadline": deadline}, "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
			id + ".0", id, "1", "", nil, "hello"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestFailures: how an agent ends a task otherwise.
func TestFailures(t *testing.T) {
	long := strings.Repeat("ä", 5000)
	for name, c := range map[string]struct {
		answer  any
		status  arc.TaskStatus
		code    arc.Code
		message string
		reason  string
	}{
		"failed":                  {task("r", "FAILED", m{"error": m{"code": -50001, "message": "no funds", "details": m{"reason": "funds"}}}), arc.TaskFailed, -50001, "no funds", "funds"},
		"failed with a text":      {task("r", "FAILED", m{"error": "no funds"}), arc.TaskFailed, arc.CodeTaskFailed, "no funds", "agent_error"},
		"failed with a reason":    {task("r", "FAILED", m{"reason": "no funds"}), arc.TaskFailed, arc.CodeTaskFailed, "no funds", "agent_error"},
		"failed without a word":   {task("r", "FAILED"), arc.TaskFailed, arc.CodeTaskFailed, "the agent failed and did not say why", "agent_error"},
		"canceled":                {task("r", "CANCELED", m{"reason": "busy"}), arc.TaskCanceled, 0, "", ""},
		"refused":                 {arc.Errorf(-50002, "no such budget").With("reason", "budget"), arc.TaskFailed, -50002, "no such budget", "budget"},
		"refused as wrong params": {arc.Errorf(arc.CodeInvalidParams, "bad"), arc.TaskFailed, arc.CodeInvalidParams, "bad", "InvalidParams"},
		"steers a terminal":       {task("r", "FAILED", m{"error": "a\x1b[31mb\u202ec\nd"}), arc.TaskFailed, arc.CodeTaskFailed, "a [31mb c d", "agent_error"},
		"says too much":           {task("r", "FAILED", m{"error": long}), arc.TaskFailed, arc.CodeTaskFailed, strings.Repeat("ä", 999) + "…", "agent_error"},
		"blames the caller":       {task("r", "FAILED", m{"error": m{"code": -44004, "message": "token"}}), arc.TaskFailed, arc.CodeTaskFailed, "token", "agent_error"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := with(t, newFake(t, script{"task.create": always(c.answer)}.handle))
				got := w.until(w.create(), c.status)
				if c.status == arc.TaskCanceled {
					if got.Reason != "busy" {
						t.Errorf("the reason is %q", got.Reason)
					}
					return
				}
				if got.Error == nil || got.Error.Code != c.code || got.Error.Message != c.message {
					t.Errorf("the error is %+v", got.Error)
				}
				if name != "refused as wrong params" && got.Error.Reason != c.reason {
					t.Errorf("the reason is %q", got.Error.Reason)
				}
			})
		})
	}
}

// TestInput: a question, its answer, and the same question not asked twice.
func TestInput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asking := m{"messages": []m{text("hello"), agentText("hm"), agentText("which?")}}
		var answered atomic.Bool
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.send": func(*request) any {
				answered.Store(true)
				return m{"success": true}
			},
			"task.info": func(r *request) any {
				switch {
				case !answered.Load():
					return task("r1", "INPUT_REQUIRED", asking)
				case r.param("includeArtifacts") == false && answered.Load():
					return task("r1", "COMPLETED")
				}
				return task("r1", "COMPLETED", m{"messages": []m{text("hello"), agentText("hm"), agentText("which?"), text("this"), agentText("thanks")}})
			},
		}.handle)
		w := with(t, f)
		id := w.create()
		got := w.until(id, arc.TaskInputRequired)
		if diff := cmp.Diff([]string{"hello", "hm", "which?"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		w.send(id, "this")
		got = w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "hm", "which?", "this", "thanks"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if r := f.call("task.send", 0); r.param("taskId") != "r1" || r.text() != "this" {
			t.Errorf("told %s", r.Params)
		}
	})
}

// TestSendWhileWorking: what the caller says meanwhile goes on to the agent, in order.
func TestSendWhileWorking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.send":   func(*request) any { n.Add(1); return m{"success": true} },
			"task.info": func(*request) any {
				if n.Load() < 3 {
					return task("r1", "WORKING")
				}
				return task("r1", "COMPLETED")
			},
		}.handle)
		w := with(t, f)
		id := w.create()
		w.until(id, arc.TaskWorking)
		for i := range 3 {
			w.send(id, fmt.Sprint(i))
		}
		w.until(id, arc.TaskCompleted)
		for i := range 3 {
			if got := f.call("task.send", i).text(); got != fmt.Sprint(i) {
				t.Errorf("message %d is %q", i, got)
			}
		}
	})
}

// TestCancel: the agent learns of it.
func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")), "task.info": always(task("r1", "WORKING")),
			"task.cancel": always(task("r1", "CANCELED")),
		}.handle)
		w := with(t, f)
		id := w.create()
		w.until(id, arc.TaskWorking)
		if _, err := w.call("task.cancel", m{"taskId": id}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if r := f.call("task.cancel", 0); r.param("taskId") != "r1" {
			t.Errorf("canceled %s", r.Params)
		}
	})
}

// TestCancelWhileCreating: the answer that comes too late is not left alone.
func TestCancelWhileCreating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": func(*request) any { time.Sleep(time.Second); return task("r1", "WORKING") },
			"task.cancel": always(task("r1", "CANCELED")),
		}.handle)
		w := with(t, f)
		id := w.create()
		time.Sleep(100 * time.Millisecond)
		if _, err := w.call("task.cancel", m{"taskId": id}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		if r := f.call("task.cancel", 0); r.param("taskId") != "r1" {
			t.Errorf("canceled %s", r.Params)
		}
	})
}

// TestDeadline: the agent is told to stop when the time is over.
func TestDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")), "task.info": always(task("r1", "WORKING")),
			"task.cancel": always(task("r1", "CANCELED")),
		}.handle)
		w := with(t, f)
		got := w.until(w.create(m{"metadata": m{"deadline": time.Now().Add(time.Minute)}}), arc.TaskFailed)
		if got.Error.Code != arc.CodeTaskTimeout {
			t.Errorf("the error is %+v", got.Error)
		}
		synctest.Wait()
		if f.count("task.cancel") != 1 {
			t.Errorf("calls: %v", f.asked())
		}
		if n := f.count("task.info"); n > 15 {
			t.Errorf("asked %d times in a minute", n)
		}
	})
}

// TestNotices: an agent that knows no task.info is waited for; one that has results
// is asked for them.
func TestNotices(t *testing.T) {
	for name, c := range map[string]struct {
		info  func(*request) any
		event arc.EventType
		data  m
		want  arc.TaskStatus
		made  []string
	}{
		"no task.info":         {nil, arc.TaskCompletedEvent, nil, arc.TaskCompleted, nil},
		"with results":         {inTurn(task("r1", "WORKING"), task("r1", "COMPLETED", m{"artifacts": []m{artifact("a", "1")}})), arc.TaskCompletedEvent, nil, arc.TaskCompleted, []string{"a=1"}},
		"info says it goes on": {always(task("r1", "WORKING")), arc.TaskCompletedEvent, nil, arc.TaskCompleted, nil},
		"failed":               {always(task("r1", "WORKING")), arc.TaskFailedEvent, m{"error": m{"code": -50001, "message": "no"}}, arc.TaskFailed, nil},
		"canceled":             {always(task("r1", "WORKING")), arc.TaskCanceledEvent, m{"reason": "no"}, arc.TaskCanceled, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				agent := script{"task.create": always(task("r1", "WORKING"))}
				if c.info != nil {
					agent["task.info"] = c.info
				}
				w := with(t, newFake(t, agent.handle))
				id := w.create()
				w.until(id, arc.TaskWorking)
				time.Sleep(2 * time.Minute)
				data := m{"status": "x", "message": "y"}
				for name, value := range c.data {
					data[name] = value
				}
				w.notify("r1", c.event, data)
				begun := time.Now()
				got := w.until(id, c.want)
				if diff := cmp.Diff(c.made, made(got)); diff != "" {
					t.Errorf("artifacts (-want +got):\n%s", diff)
				}
				if d := time.Since(begun); d > 5*time.Second {
					t.Errorf("it took %v", d)
				}
			})
		})
	}
}

// TestDown: a task waits for an agent that is down, and says so.
func TestDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"task.create": always(task("r1", "COMPLETED"))}.handle)
		f.wire.cut()
		w := with(t, f)
		id := w.create()
		time.Sleep(5 * time.Minute)
		got := w.info(id)
		if got.Status != arc.TaskSubmitted || got.Waiting == nil || got.Waiting.Reason != "agent_unreachable" {
			t.Errorf("the task is %s, waiting %+v", got.Status, got.Waiting)
		}
		f.wire.mend()
		w.until(id, arc.TaskCompleted)
		if f.count("task.create") != 1 {
			t.Errorf("calls: %v", f.asked())
		}
	})
}

// TestDownForGood: patience ends.
func TestDownForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{}.handle)
		f.wire.cut()
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"far": f.agent()}, Patience: time.Minute})
		got := w.until(w.create(), arc.TaskFailed)
		if got.Error.Code != arc.CodeAgentUnreachable {
			t.Errorf("the error is %+v", got.Error)
		}
	})
}

// TestRestart: an agent that was killed in mid-task and has forgotten it is given it
// anew, with a new key and all that the caller said.
func TestRestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lives atomic.Int64
		lives.Store(1)
		id := func() string { return fmt.Sprint("r", lives.Load()) }
		f := newFake(t, func(r *request) any {
			switch {
			case r.Method == "task.create":
				return task(id(), "WORKING")
			case r.param("taskId") != id():
				return arc.Errorf(arc.CodeTaskNotFound, "Task not found")
			case r.Method == "task.send":
				return m{"success": true}
			case lives.Load() == 1:
				return task(id(), "WORKING")
			}
			return task(id(), "COMPLETED", m{"artifacts": []m{artifact("a", "1")}})
		})
		w := with(t, f)
		ours := w.create()
		w.until(ours, arc.TaskWorking)
		w.send(ours, "more")
		time.Sleep(20 * time.Second)
		f.wire.cut()
		time.Sleep(30 * time.Second)
		lives.Add(1)
		f.wire.mend()
		got := w.until(ours, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"a=1"}, made(got)); diff != "" {
			t.Errorf("artifacts (-want +got):\n%s", diff)
		}
		first, second := f.call("task.create", 0), f.call("task.create", 1)
		if a, b := first.header.Get("Idempotency-Key"), second.header.Get("Idempotency-Key"); a == b {
			t.Errorf("both have the key %q", a)
		}
		if r := f.call("task.send", 1); r.param("taskId") != "r2" || r.text() != "more" {
			t.Errorf("told %s", r.Params)
		}
	})
}

// TestForgetful: an agent that forgets each time gets the task as often as attempts
// allow.
func TestForgetful(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.info":   always(arc.Errorf(arc.CodeTaskNotFound, "Task not found")),
		}.handle)
		w := with(t, f)
		got := w.until(w.create(), arc.TaskFailed)
		if got.Error.Reason != "attempts_exhausted" || f.count("task.create") != 3 {
			t.Errorf("the error is %+v after %v", got.Error, f.asked())
		}
	})
}

// TestCutWhileCreating: the same key, so that an agent which knows keys makes no
// second task.
func TestCutWhileCreating(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *fake
		f = newFake(t, script{
			"task.create": func(r *request) any {
				if f.count("task.create") == 1 {
					panic(http.ErrAbortHandler)
				}
				return task("r1", "COMPLETED", m{"artifacts": []m{artifact("a", "1")}})
			},
		}.handle)
		w := with(t, f)
		w.until(w.create(), arc.TaskCompleted)
		if a, b := f.call("task.create", 0), f.call("task.create", 1); a.header.Get("Idempotency-Key") != b.header.Get("Idempotency-Key") {
			t.Errorf("keys differ: %v, %v", a.header, b.header)
		}
	})
}

package carrier_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
)

// TestNoticeAndLook: what is both notified and found by a look is there once.
func TestNoticeAndLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var done atomic.Bool
		messages := []m{text("hello"), agentText("well"), agentText("which?")}
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.send":   func(*request) any { done.Store(true); return m{"success": true} },
			"task.info": func(*request) any {
				if done.Load() {
					return task("r1", "COMPLETED", m{"messages": append(messages, text("this"), agentText("done")), "artifacts": []m{artifact("a", "1")}})
				}
				return task("r1", "WORKING", m{"messages": messages[:2]})
			},
		}.handle)
		w := with(t, f)
		id := w.create()
		w.until(id, arc.TaskWorking)
		w.notify("r1", arc.NewMessageEvent, m{"status": "WORKING", "message": "x", "messageContent": messages[1]})
		w.notify("r1", arc.NewArtifactEvent, m{"status": "WORKING", "message": "x", "artifact": artifact("a", "1")})
		time.Sleep(5 * time.Second)
		w.notify("r1", arc.TaskPausedEvent, m{"status": "INPUT_REQUIRED", "message": "x", "requiredInput": messages[2]})
		time.Sleep(time.Minute)
		w.until(id, arc.TaskInputRequired)
		w.send(id, "this")
		got := w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "well", "which?", "this", "done"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"a=1"}, made(got)); diff != "" {
			t.Errorf("artifacts (-want +got):\n%s", diff)
		}
	})
}

// TestDialledPause: a question by notice is one, and its answer is the next stretch.
func TestDialledPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		p := &peer{work: func(ctx context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
			if c.Method == "task.create" && n.Add(1) == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return task(c.Thread, "COMPLETED"), nil
		}}
		w, _, _ := dialIn(t, p)
		id := w.create()
		w.until(id, arc.TaskWorking)
		w.notify(id, arc.TaskPausedEvent, m{"status": "INPUT_REQUIRED", "message": "x", "requiredInput": "which?"})
		time.Sleep(time.Minute)
		w.until(id, arc.TaskInputRequired)
		w.send(id, "this")
		got := w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "which?", "this"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
		if n.Load() != 2 {
			t.Errorf("%d stretches", n.Load())
		}
	})
}

// TestNoticeAfterLook: the notice of a message comes when a look has found it already.
func TestNoticeAfterLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var step atomic.Int64
		all := []m{agentText("one"), agentText("two"), agentText("three")}
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING", m{"messages": all[:1]})),
			"task.info": func(*request) any {
				if step.Load() > 0 {
					return task("r1", "COMPLETED", m{"messages": all})
				}
				return task("r1", "WORKING", m{"messages": all[:1]})
			},
		}.handle)
		w := with(t, f)
		id := w.create()
		w.until(id, arc.TaskWorking)
		time.Sleep(2 * time.Second)
		w.notify("r1", arc.NewMessageEvent, m{"status": "WORKING", "message": "x", "messageContent": all[0]})
		step.Store(1)
		got := w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "one", "two", "three"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// TestNoticeOvertakes: the notice of the second message comes before the first is known.
func TestNoticeOvertakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var step atomic.Int64
		all := []m{agentText("one"), agentText("two")}
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.info": func(*request) any {
				if step.Load() > 0 {
					return task("r1", "COMPLETED", m{"messages": all})
				}
				return task("r1", "WORKING")
			},
		}.handle)
		w := with(t, f)
		id := w.create()
		w.until(id, arc.TaskWorking)
		w.notify("r1", arc.NewMessageEvent, m{"status": "WORKING", "message": "x", "messageContent": all[1]})
		step.Store(1)
		got := w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "two", "one"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// TestForgottenSaysElse: an agent that has forgotten the task, and says something else
// the second time, is heard.
func TestForgottenSaysElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made, looks atomic.Int64
		f := newFake(t, script{
			"task.create": func(*request) any {
				if made.Add(1) == 1 {
					return task("r1", "WORKING")
				}
				return task("r2", "WORKING")
			},
			"task.info": func(r *request) any {
				switch {
				case r.param("taskId") == "r2":
					return task("r2", "COMPLETED", m{"messages": []m{agentText("the answer is 42")}})
				case looks.Add(1) < 3:
					return task("r1", "WORKING", m{"messages": []m{agentText("let me see"), agentText("halfway")}})
				}
				return &arc.Error{Code: arc.CodeTaskNotFound, Message: "no such task"}
			},
		}.handle)
		w := with(t, f)
		id := w.create()
		got := w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "let me see", "halfway", "the answer is 42"}, said(got)); diff != "" {
			t.Errorf("messages (-want +got):\n%s", diff)
		}
	})
}

// TestNoticeBeforeAnswer: an agent that cannot be asked has notified the end before
// arcd knows its id of the task.
func TestNoticeBeforeAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w *world
		var told sync.WaitGroup
		f := newFake(t, func(r *request) any {
			if r.Method != "task.create" {
				return arc.Errorf(arc.CodeMethodNotFound, "no such method")
			}
			told.Go(func() {
				w.notify("r1", arc.TaskCompletedEvent, m{"status": "COMPLETED", "message": "x"})
			})
			time.Sleep(50 * time.Millisecond)
			return task("r1", "WORKING")
		})
		w = with(t, f)
		id := w.create(m{"metadata": m{"deadline": time.Now().Add(time.Hour)}})
		time.Sleep(time.Minute)
		told.Wait()
		w.until(id, arc.TaskCompleted)
	})
}

package carrier_test

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// TestGarbage: an agent that answers with what is no answer is tried as often as
// attempts allow, and its task then fails.
func TestGarbage(t *testing.T) {
	envelope := `{"arc":"1.0","id":%s,"responseAgent":"far","targetAgent":"near","result":%s,"error":null}`
	with200 := func(body string) raw { return raw{200, http.Header{"Content-Type": {"application/arc+json"}}, body} }
	for name, answer := range map[string]func(r *request) any{
		"html":    always(raw{200, http.Header{"Content-Type": {"text/html"}}, "<html>"}),
		"nothing": always(with200("")),
		"no JSON": always(with200("{")),
		"twice the same": func(r *request) any {
			return with200(fmt.Sprintf(envelope, r.ID, `{"task":{"taskId":"a","taskId":"b","status":"WORKING"}}`))
		},
		"no UTF-8":           always(with200("\xff")),
		"for another call":   always(with200(fmt.Sprintf(envelope, `"x"`, `{"type":"task","task":{"taskId":"a","status":"COMPLETED"}}`))),
		"another envelope":   func(r *request) any { return with200(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{}}`, r.ID)) },
		"no task":            always(m{"type": "task"}),
		"a list":             always([]int{1}),
		"no status":          always(task("a", "")),
		"an unknown status":  always(task("a", "SLEEPING")),
		"no id":              always(task("", "WORKING")),
		"an endless id":      always(task(strings.Repeat("x", 10_000), "WORKING")),
		"an id of controls":  always(task("a\nb", "WORKING")),
		"a message too many": always(m{"type": "task", "task": m{"taskId": "a", "status": "COMPLETED", "messages": slices.Repeat([]int{1}, 50_001)}}),
		"too many artifacts": always(m{"type": "task", "task": m{"taskId": "a", "status": "COMPLETED", "artifacts": slices.Repeat([]m{{}}, 50_001)}}),
		"too many parts": always(m{"type": "task", "task": m{"taskId": "a", "status": "COMPLETED", "messages": slices.Repeat([]m{
			{"parts": slices.Repeat([]int{1}, 900)},
		}, 60)}}),
		"messages as a text": always(m{"type": "task", "task": m{"taskId": "a", "status": "COMPLETED", "messages": "x"}}),
		"a redirect":         always(raw{307, http.Header{"Location": {"http://127.0.0.1:1/other"}}, ""}),
		"not found":          always(raw{404, nil, "nothing here"}),
		"a broken server":    always(raw{500, nil, "Internal Server Error"}),
		"does not know whom": always(arc.Errorf(arc.CodeAgentNotFound, "Agent not found: far")),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, script{"task.create": answer}.handle)
				got := with(t, f).creates(arc.TaskFailed)
				if got.Error.Reason != "attempts_exhausted" || f.count("task.create") != 3 {
					t.Errorf("the error is %+v after %v", got.Error, f.asked())
				}
			})
		})
	}
}

// creates creates a task and waits for it.
func (w *world) creates(status arc.TaskStatus) arc.Task {
	w.t.Helper()
	return w.until(w.create(), status)
}

// TestUnavailable: a task waits for an agent that says that it has no time, or does
// not take arcd's credential.
func TestUnavailable(t *testing.T) {
	busy := arc.Errorf(arc.CodeAgentCapacity, "busy")
	limited := arc.Errorf(arc.CodeRateLimited, "slow down")
	limited.Status = http.StatusTooManyRequests
	scope := arc.Errorf(arc.CodeInsufficientScope, "scope")
	scope.Status = http.StatusForbidden
	for name, answer := range map[string]any{
		"429":     raw{429, http.Header{"Retry-After": {"100"}}, ""},
		"502":     raw{502, nil, "bad gateway"},
		"503":     raw{503, nil, ""},
		"504":     raw{504, nil, ""},
		"401":     raw{401, nil, ""},
		"403":     raw{403, nil, ""},
		"busy":    busy,
		"limited": limited,
		"scope":   scope,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f *fake
				f = newFake(t, script{"task.create": func(*request) any {
					if f.count("task.create") < 4 {
						return answer
					}
					return task("r1", "COMPLETED")
				}}.handle)
				w := with(t, f)
				id := w.create()
				time.Sleep(500 * time.Millisecond)
				got := w.info(id)
				if got.Status != arc.TaskSubmitted || got.Waiting == nil {
					t.Errorf("the task is %s, waiting %+v", got.Status, got.Waiting)
				}
				if name == "429" && time.Until(got.Waiting.Next.Time) < 99*time.Second {
					t.Errorf("the next try is at %v", got.Waiting.Next)
				}
				w.until(id, arc.TaskCompleted)
			})
		})
	}
}

// TestNeverAnswers: the others are unharmed.
func TestNeverAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := newFake(t, func(r *request) any { <-r.ctx.Done(); return nil })
		good := newFake(t, script{"task.create": always(task("r1", "COMPLETED"))}.handle)
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"far": good.agent(), "silent": silent.agent()}})
		var ids []string
		for range 40 {
			ids = append(ids, w.createFor("silent"))
		}
		begun := time.Now()
		w.until(w.create(), arc.TaskCompleted)
		if d := time.Since(begun); d > time.Second {
			t.Errorf("the good agent took %v", d)
		}
		for _, id := range ids {
			got := w.until(id, arc.TaskFailed)
			if got.Error.Reason != "attempts_exhausted" && got.Error.Code != arc.CodeAgentUnreachable {
				t.Errorf("the error is %+v", got.Error)
			}
		}
	})
}

// TestForeignTask: an agent that answers with the id of another task that it has in
// hand does not get at it.
func TestForeignTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"task.create": always(task("r1", "WORKING")), "task.info": always(task("r1", "WORKING"))}.handle)
		w := with(t, f)
		first := w.create()
		w.until(first, arc.TaskWorking)
		got := w.until(w.create(), arc.TaskFailed)
		if got.Error.Code != arc.CodeAgentIdentity || got.Error.Reason != "foreign_task" {
			t.Errorf("the error is %+v", got.Error)
		}
		if got := w.info(first); got.Status != arc.TaskWorking {
			t.Errorf("the first task is %s", got.Status)
		}
		if f.count("task.cancel") != 0 {
			t.Error("the other task was canceled at the agent")
		}
	})
}

// TestAnswersForAnother: task.info of another task is no answer.
func TestAnswersForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.info":   always(task("r2", "COMPLETED", m{"artifacts": []m{artifact("secret", "of r2")}})),
		}.handle)
		got := with(t, f).creates(arc.TaskFailed)
		if got.Error.Reason != "attempts_exhausted" || len(got.Artifacts) != 0 {
			t.Errorf("the error is %+v, artifacts %v", got.Error, made(got))
		}
	})
}

// TestHuge: an answer beyond the limit is none.
func TestHuge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		body := `{"arc":"1.0","id":"x","result":"` + strings.Repeat("x", 17<<20)
		f := newFake(t, script{"task.create": always(raw{200, nil, body})}.handle)
		got := with(t, f).creates(arc.TaskFailed)
		if got.Error.Reason != "attempts_exhausted" {
			t.Errorf("the error is %+v", got.Error)
		}
	})
}

// TestManyArtifacts: a thousand of them, in each look, are a thousand in the end.
func TestManyArtifacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []m
		for i := range 1000 {
			all = append(all, artifact(fmt.Sprint("a", i), fmt.Sprint(i)))
		}
		works := task("r1", "WORKING", m{"artifacts": all})
		f := newFake(t, script{
			"task.create": always(works),
			"task.info":   inTurn(works, works, works, task("r1", "COMPLETED", m{"artifacts": all})),
		}.handle)
		got := with(t, f).creates(arc.TaskCompleted)
		if len(got.Artifacts) != 1000 || got.Artifacts[999].ID != "a999" {
			t.Errorf("there are %d", len(got.Artifacts))
		}
	})
}

// TestTooManyArtifacts: more than a task may have is a failure, not a flood.
func TestTooManyArtifacts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all []m
		for i := range 6000 {
			all = append(all, artifact(fmt.Sprint("a", i), ""))
		}
		f := newFake(t, script{"task.create": always(task("r1", "COMPLETED", m{"artifacts": all}))}.handle)
		got := with(t, f).creates(arc.TaskFailed)
		if got.Error.Code != arc.CodeTaskFailed {
			t.Errorf("the error is %+v", got.Error)
		}
	})
}

// TestContradicts: the end that was told first counts.
func TestContradicts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.info":   inTurn(task("r1", "COMPLETED"), task("r1", "FAILED", m{"error": "no", "artifacts": []m{artifact("a", "1")}})),
		}.handle)
		w := with(t, f)
		got := w.creates(arc.TaskCompleted)
		w.notify("r1", arc.TaskFailedEvent, m{"status": "FAILED", "message": "no"})
		if again := w.info(got.ID); again.Status != arc.TaskCompleted || len(again.Artifacts) != 1 {
			t.Errorf("then it is %s", again.Status)
		}
	})
}

// TestOddities: what can be kept is kept, as what it is or as data.
func TestOddities(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"task.create": always(task("r1", "COMPLETED", m{
			"messages": []any{
				m{"role": "assistant", "parts": []any{m{"type": "text", "content": "a"}, m{"type": "weird", "x": 1}, "bare", m{"type": "ImagePart", "content": "%"}}},
				m{"role": "agent", "parts": []any{}}, nil, "just text", m{"role": "user", "parts": []any{m{"type": "text", "content": "ours"}}},
			},
			"artifacts": []any{m{"name": "n", "mimeType": "text/plain"}, "no artifact", m{"artifactId": "b", "parts": []any{m{"type": "data", "content": m{"k": 1}}}, "createdAt": "yesterday"}},
		}))}.handle)
		got := with(t, f).creates(arc.TaskCompleted)
		if len(got.Messages) != 3 || len(got.Messages[1].Parts) != 4 || got.Messages[1].Parts[1].Type != arc.PartData || got.Messages[2].Text() != "just text" {
			t.Errorf("messages: %+v", got.Messages)
		}
		if len(got.Artifacts) != 2 || got.Artifacts[0].ID != "artifact-1" || got.Artifacts[1].Name != "b" || string(got.Artifacts[1].Parts[0].Content) != `{"k":1}` {
			t.Errorf("artifacts: %+v", got.Artifacts)
		}
	})
}

// TestBreaker: an agent that is down is left alone, and found again.
func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"chat.start": inTurn(raw{503, nil, ""}, raw{503, nil, ""}, raw{503, nil, ""}, raw{503, nil, ""}, raw{503, nil, ""}, chat("c1", "here"))}.handle)
		w := with(t, f)
		for range 20 {
			if got := w.chat("", "hello", false); got.err == nil {
				t.Fatalf("got %+v", got)
			}
		}
		if n := f.count("chat.start"); n != 5 {
			t.Errorf("asked %d times", n)
		}
		time.Sleep(6 * time.Second)
		if got := w.chat("", "hello", false); got.text != "here" {
			t.Errorf("got %+v", got)
		}
	})
}

// TestBreakerAndCallersWhoGo: callers who do not wait for an answer must not keep the
// agent from the others.
func TestBreakerAndCallersWhoGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *fake
		f = newFake(t, script{"chat.start": func(r *request) any {
			if f.count("chat.start") <= 10 {
				<-r.ctx.Done()
			}
			return chat("c1", "here")
		}}.handle)
		w := with(t, f)
		for range 10 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			w.chatIn(ctx, "", "hello", true)
			cancel()
			synctest.Wait()
		}
		if got := w.chat("", "hello", false); got.text != "here" {
			t.Errorf("got %+v", got)
		}
	})
}

// createFor gives a task to another agent.
func (w *world) createFor(agent string) string {
	w.t.Helper()
	result, err := w.callTo(caller(), "near", agent, "task.create", m{"initialMessage": text("hello")})
	if err != nil {
		w.t.Fatal(err)
	}
	return taskOf(w.t, result).ID
}

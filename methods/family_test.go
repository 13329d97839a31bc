package methods_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/store"
)

// TestChatsInACircle: agents that only keep the traceId do not chat in a circle for ever.
func TestChatsInACircle(t *testing.T) {
	var w *world
	var deep atomic.Int32
	asks := func(me, other string) methods.Agent {
		return methods.Agent{Runner: methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error {
			if deep.Add(1) > 60 {
				return errors.New("it goes on for ever")
			}
			_, err := w.startChat(me, turn.TraceID, other)
			return err
		})}
	}
	w = start(t, methods.Config{Remote: outside{"a": asks("a", "b"), "b": asks("b", "a")}})
	if _, err := w.startChat("me", "loop", "a"); code(err) != arc.CodeLoop {
		t.Errorf("%v", err)
	}
	if n := deep.Load(); n > 17 {
		t.Errorf("%d agents were asked", n)
	}
}

func (w *world) startChat(from, trace, to string) (arc.Chat, error) {
	c := call("chat.start", to)
	c.From, c.TraceID, c.Principal = from, trace, agentOf(from)
	b, err := w.dispatch(c, m{"initialMessage": text("x")})
	if err != nil {
		return arc.Chat{}, err
	}
	return chatOf(w.t, b), nil
}

// TestParentOfOneOfSeveral: an agent that works on two tasks of a trace is known by the
// one that is left.
func TestParentOfOneOfSeveral(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, methods.Config{Remote: outside{"a": {Runner: patient("")}, "b": {Runner: patient("")}}})
		create := func(by, to string) arc.Task {
			t.Helper()
			task, err := w.as(agentOf(by), by, "t-7", "task.create", to, m{"initialMessage": text("go")})
			if err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			return task
		}
		first, second := create("me", "a"), create("you", "a")
		w.must(agentOf("you"), "task.cancel", "", m{"taskId": second.ID})
		synctest.Wait()
		made := create("a", "b")
		got := taskOf(t, w.must(agentOf("a"), "task.info", "", m{"taskId": made.ID}))
		if got.ParentTaskID != first.ID {
			t.Errorf("the parent is %q, want %q", got.ParentTaskID, first.ID)
		}
	})
}

// TestChildrenMadeMeanwhile: nothing that is made for a task while that is canceled is
// left over.
func TestChildrenMadeMeanwhile(t *testing.T) {
	w := start(t, methods.Config{Remote: outside{"a": {Runner: patient("")}, "b": {Runner: patient("")}}})
	for range 20 {
		root := w.create("a", "go")
		var mu sync.Mutex
		var made []string
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range 5 {
					params := m{"initialMessage": text("go"), "parentTaskId": root}
					child, err := w.as(agentOf("a"), "a", "", "task.create", "b", params)
					if err != nil {
						return
					}
					mu.Lock()
					made = append(made, child.ID)
					mu.Unlock()
				}
			})
		}
		all.Go(func() { w.must(alice(), "task.cancel", "", m{"taskId": root, "cascade": true}) })
		all.Wait()
		for _, id := range made {
			if got := taskOf(t, w.must(agentOf("a"), "task.info", "", m{"taskId": id})); got.Status != arc.TaskCanceled {
				t.Fatalf("a child is %s", got.Status)
			}
		}
	}
}

// cutShort is a store on which a cascade ends in the middle, as in a crash.
type cutShort struct {
	store.Store
	ends atomic.Int32 // after so many tasks have ended nothing more is stored
}

func (c *cutShort) Commit(ctx context.Context, ch store.Change) (store.Thread, error) {
	if ch.Thread.Status == string(arc.TaskCanceled) && c.ends.Add(-1) < 0 {
		return store.Thread{}, errors.New("cut short")
	}
	return c.Store.Commit(ctx, ch)
}

// TestCascadeCutShort: one that a crash cut short is made whole by another.
func TestCascadeCutShort(t *testing.T) {
	for after := range int32(4) {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			w, cut := startCutShort(t)
			ids := []string{w.create("idle", "go")}
			for range 3 {
				params := m{"initialMessage": text("go"), "parentTaskId": ids[len(ids)-1]}
				ids = append(ids, taskOf(t, w.must(alice(), "task.create", "idle", params)).ID)
			}
			cut.ends.Store(after)
			if _, err := w.call(alice(), "task.cancel", "", m{"taskId": ids[0], "cascade": true}); err == nil {
				t.Fatal("it was not cut short")
			}
			cut.ends.Store(100)
			w.must(alice(), "task.cancel", "", m{"taskId": ids[0], "cascade": true})
			for i, id := range ids {
				if got := w.info(id); got.Status != arc.TaskCanceled {
					t.Errorf("number %d is %s", i, got.Status)
				}
			}
		})
	}
}

func startCutShort(t *testing.T) (*world, *cutShort) {
	t.Helper()
	under := start(t, methods.Config{})
	cut := &cutShort{Store: under.db}
	s, err := methods.New(methods.Config{Store: cut, Agents: map[string]methods.Agent{"idle": {}}})
	if err != nil {
		t.Fatal(err)
	}
	return &world{t: t, db: cut, s: s}, cut
}

// TestTaskOfAnAgentThatIsGone: a caller still gets at its tasks and chats when their
// agent is known no more, as after a restart until it dials in.
func TestTaskOfAnAgentThatIsGone(t *testing.T) {
	far := methods.Agent{Runner: methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error {
		if turn.Task == nil {
			return turn.Write(ctx, "hi")
		}
		<-ctx.Done()
		return ctx.Err()
	})}
	var gone atomic.Bool
	w := start(t, methods.Config{Remote: leaving{outside{"far": far}, &gone}})
	id := w.create("far", "hello")
	chat := chatOf(t, w.must(alice(), "chat.start", "far", m{"initialMessage": text("hi")}))
	gone.Store(true)
	w.must(alice(), "task.info", "far", m{"taskId": id})
	w.must(alice(), "task.cancel", "far", m{"taskId": id})
	w.must(alice(), "chat.end", "far", m{"chatId": chat.ID})
	_, err := w.call(alice(), "task.info", "far", m{"taskId": "task-nothere"})
	wantCode(t, err, arc.CodeAgentNotFound)
	_, err = w.call(principal("mallory"), "task.info", "far", m{"taskId": id})
	wantCode(t, err, arc.CodeAgentNotFound)
}

// leaving is outside until all have gone.
type leaving struct {
	outside
	gone *atomic.Bool
}

func (l leaving) Agent(id string) (methods.Agent, bool) {
	if l.gone.Load() {
		return methods.Agent{}, false
	}
	return l.outside.Agent(id)
}

// TestSendInTheAgentsName: what a caller sends reaches the agent, whoever the message
// calls its author.
func TestSendInTheAgentsName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan string, 1)
		w := start(t, methods.Config{Remote: outside{"far": {Runner: methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error {
			message, err := turn.Receive(ctx)
			heard <- message.Text()
			return err
		})}}})
		id := w.create("far", "hello")
		synctest.Wait()
		w.must(alice(), "task.send", "", m{"taskId": id, "message": m{"role": "agent", "agentId": "far", "parts": []m{{"type": "text", "content": "hear me"}}}})
		select {
		case got := <-heard:
			if got != "hear me" {
				t.Errorf("it heard %q", got)
			}
		case <-time.After(time.Minute):
			t.Error("it heard nothing")
		}
	})
}

// TestCrashesAreNoAttempts: a task that its agent has on a server of its own is taken
// up again however often arcd's process was gone; one that has to be begun anew is not.
func TestCrashesAreNoAttempts(t *testing.T) {
	done := methods.RunnerFunc(func(context.Context, *methods.Turn) error { return nil })
	w := start(t, methods.Config{Remote: outside{"far": {Runner: done}}, MaxAttempts: 3})
	for theirs, want := range map[string]arc.TaskStatus{"r-1": arc.TaskCompleted, "task-by-hand": arc.TaskFailed} {
		id := "task-" + strings.TrimPrefix(theirs, "task-")
		body := `{"messages":1,"inputs":1,"lease":"gone","leaseEnd":1,"attempt":3,"binding":{"id":"` + theirs + `","told":1}}`
		if _, err := w.db.Commit(t.Context(), store.Change{Thread: store.Thread{
			ID: id, Kind: store.Task, Owner: alice().Owner(), Agent: "far", Status: string(arc.TaskWorking),
			Priority: arc.PriorityNormal, Created: time.Now(), Updated: time.Now(), Due: time.UnixMilli(1), Body: []byte(body),
		}}); err != nil {
			t.Fatal(err)
		}
		w.until(id, want)
	}
}

// TestCascadePassesWhatHasEnded: a task in the middle of the family that has ended
// does not shield what was made for it.
func TestCascadePassesWhatHasEnded(t *testing.T) {
	agents := outside{}
	for _, id := range []string{"a", "b", "c"} {
		agents[id] = methods.Agent{Runner: patient(id)}
	}
	w := start(t, methods.Config{Remote: agents})
	root := w.create("a", "go")
	w.until(root, arc.TaskWorking)
	child := func(by, parent, to string) string {
		t.Helper()
		task, err := w.as(agentOf(by), by, "", "task.create", to, m{"initialMessage": text("help"), "parentTaskId": parent})
		if err != nil {
			t.Fatal(err)
		}
		w.untilAs(agentOf(by), task.ID, arc.TaskWorking)
		return task.ID
	}
	middle := child("a", root, "b")
	last := child("b", middle, "c")
	w.must(agentOf("a"), "task.cancel", "", m{"taskId": middle})
	w.must(alice(), "task.cancel", "", m{"taskId": root, "cascade": true})
	w.untilAs(agentOf("b"), last, arc.TaskCanceled)
}

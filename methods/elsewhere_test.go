package methods_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
)

// outside is a methods.Remote with agents that a test scripts.
type outside map[string]methods.Agent

func (o outside) Agent(id string) (methods.Agent, bool) {
	a, ok := o[id]
	return a, ok
}

func (o outside) Others() []arc.Agent {
	var cards []arc.Agent
	for id := range o {
		cards = append(cards, arc.Agent{ID: id, Status: arc.AgentActive})
	}
	return cards
}

// agentOf is the principal of an agent's own token.
func agentOf(id string) *auth.Principal {
	p := principal("agent:" + id)
	p.Agents = []string{id}
	return p
}

// as makes a call that names its requestAgent and trace.
func (w *world) as(p *auth.Principal, from, trace, method, to string, params any) (arc.Task, error) {
	w.t.Helper()
	b, err := w.dispatch(&rpc.Call{
		Request: arc.Request{Dialect: arc.JSONRPC, Method: method, From: from, To: to, TraceID: trace}, Principal: p,
	}, params)
	if err != nil {
		return arc.Task{}, err
	}
	return taskOf(w.t, b), nil
}

func (w *world) notify(agent, task string, event arc.EventType, data m) error {
	w.t.Helper()
	for name, value := range (m{"status": "WORKING", "message": "told"}) {
		if _, ok := data[name]; !ok {
			data[name] = value
		}
	}
	_, err := w.call(agentOf(agent), "task.notification", "", m{
		"taskId": task, "event": event, "timestamp": "2026-01-02T03:04:05Z", "data": data,
	})
	return err
}

func code(err error) arc.Code { return arc.CodeOf(err) }

// patient runs until its context ends, after it has bound the task to the agent's id.
func patient(binding string) methods.RunnerFunc {
	return func(ctx context.Context, t *methods.Turn) error {
		if err := t.Bind(ctx, methods.Binding{ID: binding, Told: len(t.History)}); err != nil {
			return err
		}
		t.Reached()
		for {
			if t.Notice != nil {
				return nil
			}
			if _, err := t.Receive(ctx); errors.Is(err, methods.ErrNudged) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

func TestTaskWaitsForAnAgentThatCannotBeReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var up atomic.Bool
		var tries atomic.Int32
		w := start(t, methods.Config{Remote: outside{"far": {Runner: methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error {
			tries.Add(1)
			if turn.Attempt != 1 {
				t.Errorf("attempt %d", turn.Attempt)
			}
			if !up.Load() {
				return methods.Unreachable(errors.New("connection refused"), 0)
			}
			return turn.Write(ctx, "here I am")
		})}}})
		id := w.create("far", "hello")
		time.Sleep(5 * time.Minute)
		task := w.info(id)
		if task.Status != arc.TaskSubmitted || task.Waiting == nil || task.Waiting.Reason != "agent_unreachable" || task.Waiting.Tries < 5 {
			t.Fatalf("while the agent is down: %+v, waiting %+v", task, task.Waiting)
		}
		if n := tries.Load(); n > 15 {
			t.Errorf("tried %d times in five minutes", n)
		}
		up.Store(true)
		time.Sleep(2 * time.Minute)
		if task = w.info(id); task.Status != arc.TaskCompleted || task.Waiting != nil || task.Attempt != 1 {
			t.Fatalf("when it is back: %+v", task)
		}
		up.Store(false)
		id = w.create("far", "hello")
		time.Sleep(14 * time.Minute)
		if task = w.info(id); task.Status != arc.TaskSubmitted {
			t.Fatalf("before patience ends: %+v", task)
		}
		time.Sleep(3 * time.Minute)
		task = w.info(id)
		if task.Status != arc.TaskFailed || task.Error == nil || task.Error.Code != arc.CodeAgentUnreachable {
			t.Fatalf("when patience ends: %+v", task)
		}
	})
}

func TestTaskWaitsForAnAgentThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var room atomic.Int32
		room.Store(-1)
		w := start(t, methods.Config{Remote: outside{"far": {
			Room:   func() int { return int(room.Load()) },
			Runner: methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error { return turn.Write(ctx, "done") }),
		}}})
		id := w.create("far", "hello")
		time.Sleep(10 * time.Minute)
		if task := w.info(id); task.Status != arc.TaskSubmitted || task.Waiting == nil || task.Waiting.Reason != "agent_away" {
			t.Fatalf("while it is away: %+v", task)
		}
		room.Store(3)
		w.s.Wake("far")
		synctest.Wait()
		time.Sleep(time.Second)
		if task := w.info(id); task.Status != arc.TaskCompleted {
			t.Fatalf("when it has come: %+v", task)
		}
		room.Store(-1)
		id = w.create("far", "hello")
		time.Sleep(14 * time.Minute)
		if task := w.info(id); task.Status != arc.TaskSubmitted {
			t.Fatalf("before patience ends: %+v", task)
		}
		time.Sleep(2 * time.Minute)
		if task := w.info(id); task.Status != arc.TaskFailed || task.Error.Code != arc.CodeAgentUnreachable {
			t.Fatalf("when patience ends: %+v", task)
		}
		_, err := w.call(alice(), "chat.start", "far", m{"initialMessage": text("hi")})
		if code(err) != arc.CodeAgentUnavailable {
			t.Errorf("a chat with it: %v", err)
		}
	})
}

// TestOwnersTakeTurns: many tasks of one caller do not make another one wait for
// all of them.
func TestOwnersTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var order []string
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"one": {
			Concurrency: 1,
			Runner: methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error {
				mu.Lock()
				order = append(order, turn.From)
				mu.Unlock()
				time.Sleep(time.Second)
				return nil
			}),
		}}})
		create := func(who string, priority arc.Priority) {
			w.must(principal(who), "task.create", "one", m{"initialMessage": text(who), "priority": priority})
		}
		for range 50 {
			create("many", arc.PriorityNormal)
		}
		time.Sleep(5500 * time.Millisecond)
		for range 3 {
			create("few", arc.PriorityNormal)
		}
		time.Sleep(10 * time.Second)
		mu.Lock()
		got := strings.Join(order, " ")
		mu.Unlock()
		want := "many many many many many many many few many few many few many"
		if !strings.HasPrefix(got, want) {
			t.Errorf("the order is\n%s\nwant it to begin with\n%s", got, want)
		}
		create("many", arc.PriorityUrgent)
		time.Sleep(2 * time.Second)
	})
}

func TestNotifications(t *testing.T) {
	w := start(t, methods.Config{Remote: outside{"far": {Runner: patient("theirs-1")}, "other": {Runner: patient("o")}}})
	id := w.create("far", "hello")
	w.until(id, arc.TaskWorking)
	for label, c := range map[string]struct {
		caller *auth.Principal
		from   string
		want   arc.Code
	}{
		"its owner":                       {alice(), "", arc.CodeUnauthorized},
		"who may speak as anybody":        {alice(), "far", arc.CodeUnauthorized},
		"another agent":                   {agentOf("other"), "other", arc.CodeTaskNotFound},
		"another agent, as the right one": {agentOf("other"), "far", arc.CodeUnauthorized},
	} {
		_, err := w.as(c.caller, c.from, "", "task.notification", "", m{
			"taskId": id, "event": "TASK_COMPLETED", "timestamp": "2026-01-02T03:04:05Z", "data": m{"status": "COMPLETED", "message": "x"},
		})
		if code(err) != c.want {
			t.Errorf("%s: %v, want code %d", label, err, c.want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(w.notify("far", "theirs-1", arc.ProgressEvent, m{"percent": 40, "note": "so far"}))
	must(w.notify("far", id, arc.NewMessageEvent, m{"messageContent": m{"role": "agent", "parts": []m{{"type": "text", "content": "one"}}}}))
	must(w.notify("far", id, arc.NewMessageEvent, m{"messageContent": m{"role": "agent", "parts": []m{{"type": "text", "content": "one"}}}})) // a copy
	artifact := m{"artifact": m{"artifactId": "a-1", "name": "result", "parts": []m{{"type": "text", "content": "42"}}}}
	must(w.notify("far", "theirs-1", arc.NewArtifactEvent, artifact))
	must(w.notify("far", id, arc.NewArtifactEvent, artifact))
	must(w.notify("far", id, arc.TaskPausedEvent, m{"status": "INPUT_REQUIRED", "requiredInput": "which one?"}))
	task := w.until(id, arc.TaskInputRequired)
	if len(task.Messages) != 3 || len(task.Artifacts) != 1 || task.Progress == nil || task.Progress.Percent != 40 {
		t.Fatalf("after the notices: %+v", task)
	}
	must(w.notify("far", id, arc.TaskResumedEvent, m{}))
	w.until(id, arc.TaskWorking)
	must(w.notify("far", id, arc.TaskCompletedEvent, m{"status": "COMPLETED"}))
	w.until(id, arc.TaskCompleted)
	must(w.notify("far", id, arc.TaskFailedEvent, m{"status": "FAILED"})) // too late
	must(w.notify("far", id, arc.TaskStartedEvent, m{"message": "late"}))
	if task := w.info(id); task.Status != arc.TaskCompleted || task.Error != nil {
		t.Errorf("a late notice changed it to %+v", task)
	}
	for label, params := range map[string]m{
		"no task":      {"event": "TASK_STARTED", "timestamp": "2026-01-02T03:04:05Z", "data": m{}},
		"no event":     {"taskId": id, "timestamp": "2026-01-02T03:04:05Z", "data": m{}},
		"odd event":    {"taskId": id, "event": "EXPLODED", "timestamp": "2026-01-02T03:04:05Z", "data": m{}},
		"no time":      {"taskId": id, "event": "TASK_STARTED", "data": m{}},
		"no data":      {"taskId": id, "event": "TASK_STARTED", "timestamp": "2026-01-02T03:04:05Z"},
		"no message":   {"taskId": id, "event": "NEW_MESSAGE", "timestamp": "2026-01-02T03:04:05Z", "data": m{}},
		"no artifact":  {"taskId": id, "event": "NEW_ARTIFACT", "timestamp": "2026-01-02T03:04:05Z", "data": m{"artifact": m{"name": "x"}}},
		"empty change": {"taskId": id, "event": "STATUS_CHANGE", "timestamp": "2026-01-02T03:04:05Z", "data": m{"status": "DONE"}},
	} {
		if _, err := w.call(agentOf("far"), "task.notification", "", params); code(err) != arc.CodeInvalidParams {
			t.Errorf("%s: %v", label, err)
		}
	}
}

func TestFailureAndEndByNotice(t *testing.T) {
	w := start(t, methods.Config{Remote: outside{"far": {Runner: patient("f-1")}}})
	id := w.create("far", "hello")
	w.until(id, arc.TaskWorking)
	err := w.notify("far", "f-1", arc.TaskFailedEvent, m{"status": "FAILED", "error": m{"code": -42004, "message": "no luck", "reason": "luck"}})
	if err != nil {
		t.Fatal(err)
	}
	if task := w.until(id, arc.TaskFailed); task.Error == nil || task.Error.Message != "no luck" || task.Error.Reason != "luck" {
		t.Errorf("%+v", task.Error)
	}
	// The agent counts its tasks from 1 again: the id leads to the new one.
	id = w.create("far", "hello")
	w.until(id, arc.TaskWorking)
	if err := w.notify("far", "f-1", arc.StatusChangeEvent, m{"status": "CANCELED", "reason": "closed for today"}); err != nil {
		t.Fatal(err)
	}
	if task := w.until(id, arc.TaskCanceled); task.Reason != "closed for today" {
		t.Errorf("%+v", task)
	}
}

// TestForeignBinding: an agent that answers with the id of another task that it has
// in hand does not get at that one.
func TestForeignBinding(t *testing.T) {
	w := start(t, methods.Config{Remote: outside{"far": {Runner: patient("same")}}})
	first := w.create("far", "hello")
	w.until(first, arc.TaskWorking)
	second := w.create("far", "hello")
	if task := w.until(second, arc.TaskFailed); task.Error.Code != arc.CodeAgentIdentity || task.Error.Reason != "foreign_task" {
		t.Errorf("%+v", task.Error)
	}
	if task := w.info(first); task.Status != arc.TaskWorking {
		t.Errorf("the first one is %s", task.Status)
	}
}

func TestCascade(t *testing.T) {
	agents := outside{"a": {Runner: patient("1")}, "b": {Runner: patient("2")}, "c": {Runner: patient("3")}}
	w := start(t, methods.Config{Remote: agents})
	child := func(by, trace, parent, to string) string {
		t.Helper()
		params := m{"initialMessage": text("help me")}
		if parent != "" {
			params["parentTaskId"] = parent
		}
		task, err := w.as(agentOf(by), by, trace, "task.create", to, params)
		if err != nil {
			t.Fatal(err)
		}
		w.untilAs(agentOf(by), task.ID, arc.TaskWorking)
		return task.ID
	}
	root, err := w.as(alice(), "me", "t-1", "task.create", "a", m{"initialMessage": text("go")})
	if err != nil {
		t.Fatal(err)
	}
	w.until(root.ID, arc.TaskWorking)
	named := child("a", "", root.ID, "b")
	inferred := child("b", "", named, "c")
	b, err := w.call(agentOf("b"), "task.info", "", m{"taskId": inferred})
	if err != nil || taskOf(t, b).ParentTaskID != named {
		t.Fatalf("%s, %v", b, err)
	}
	if _, err := w.as(agentOf("c"), "c", "", "task.create", "a", m{"initialMessage": text("x"), "parentTaskId": named}); code(err) != arc.CodeTaskNotFound {
		t.Errorf("a parent that somebody else works on: %v", err)
	}
	if _, err := w.as(principal("mallory"), "a", "", "task.create", "a", m{"initialMessage": text("x"), "parentTaskId": root.ID}); code(err) != arc.CodeTaskNotFound {
		t.Errorf("a parent of somebody else: %v", err)
	}
	w.must(alice(), "task.cancel", "", m{"taskId": root.ID, "cascade": true})
	w.untilAs(agentOf("a"), named, arc.TaskCanceled)
	w.untilAs(agentOf("b"), inferred, arc.TaskCanceled)
	w.must(alice(), "task.cancel", "", m{"taskId": root.ID, "cascade": true})
	if _, err := w.as(agentOf("a"), "a", "", "task.create", "b", m{"initialMessage": text("x"), "parentTaskId": root.ID}); code(err) != arc.CodeTaskCanceled {
		t.Errorf("a child after the end: %v", err)
	}
}

// TestParentByTrace: an agent that only keeps the traceId is known by it.
func TestParentByTrace(t *testing.T) {
	w := start(t, methods.Config{Remote: outside{"a": {Runner: patient("1")}, "b": {Runner: patient("2")}}})
	root, err := w.as(alice(), "me", "t-7", "task.create", "a", m{"initialMessage": text("go")})
	if err != nil {
		t.Fatal(err)
	}
	w.until(root.ID, arc.TaskWorking)
	made, err := w.as(agentOf("a"), "a", "t-7", "task.create", "b", m{"initialMessage": text("x")})
	if err != nil {
		t.Fatal(err)
	}
	w.must(alice(), "task.cancel", "", m{"taskId": root.ID, "cascade": true})
	w.untilAs(agentOf("a"), made.ID, arc.TaskCanceled)
}

// TestTraceOfAStranger: who knows somebody's traceId does not become the parent of
// what is done for that one.
func TestTraceOfAStranger(t *testing.T) {
	working := methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error { return patient(turn.Task.ID)(ctx, turn) })
	w := start(t, methods.Config{Remote: outside{"a": {Runner: working}, "b": {Runner: working}}})
	give := func(who *auth.Principal) string {
		t.Helper()
		task, err := w.as(who, "me", "t-8", "task.create", "a", m{"initialMessage": text("go")})
		if err != nil {
			t.Fatal(err)
		}
		w.untilAs(who, task.ID, arc.TaskWorking)
		return task.ID
	}
	parentOfNext := func() string {
		t.Helper()
		task, err := w.as(agentOf("a"), "a", "t-8", "task.create", "b", m{"initialMessage": text("help")})
		if err != nil {
			t.Fatal(err)
		}
		return w.untilAs(agentOf("a"), task.ID, arc.TaskWorking).ParentTaskID
	}
	hers := give(alice())
	if got := parentOfNext(); got != hers {
		t.Fatalf("the parent is %q, want %q", got, hers)
	}
	his := give(principal("mallory"))
	if got := parentOfNext(); got != "" {
		t.Errorf("with two owners in the trace the parent is %q", got)
	}
	w.must(principal("mallory"), "task.cancel", "", m{"taskId": his})
	for parent := ""; parent != hers; { // until the work on his is over
		parent = parentOfNext()
	}
}

func TestHopLimit(t *testing.T) {
	agents := outside{}
	for i := range 6 {
		agents[fmt.Sprintf("a%d", i)] = methods.Agent{Runner: patient(fmt.Sprint(i))}
	}
	w := start(t, methods.Config{Remote: agents, MaxHops: 4})
	task, err := w.as(alice(), "me", "loop", "task.create", "a0", m{"initialMessage": text("go")})
	for i := 1; err == nil; i++ {
		if i > 5 {
			t.Fatal("it goes on for ever")
		}
		who := fmt.Sprintf("a%d", i-1)
		if i == 1 {
			w.until(task.ID, arc.TaskWorking)
		} else {
			w.untilAs(agentOf(fmt.Sprintf("a%d", i-2)), task.ID, arc.TaskWorking)
		}
		task, err = w.as(agentOf(who), who, "loop", "task.create", fmt.Sprintf("a%d", i), m{"initialMessage": text("go")})
		if err != nil && i != 5 {
			t.Errorf("refused at hop %d: %v", i, err)
		}
	}
	if code(err) != arc.CodeLoop {
		t.Errorf("%v", err)
	}
}

// ending is a Runner that keeps what it is told of closed chats.
type ending struct {
	methods.RunnerFunc
	ended chan methods.Binding
}

func (e ending) EndChat(_ context.Context, _ string, b methods.Binding, _ string) { e.ended <- b }

func TestChatElsewhere(t *testing.T) {
	runner := ending{func(ctx context.Context, turn *methods.Turn) error {
		if slices.ContainsFunc(turn.History, func(m arc.Message) bool { return m.Text() == "go away" }) {
			return methods.Unreachable(errors.New("refused"), 0)
		}
		if err := turn.Bind(ctx, methods.Binding{ID: "c-9", Told: turn.Binding.Told + 1}); err != nil {
			return err
		}
		return turn.Write(ctx, fmt.Sprint(turn.Binding.ID, " ", turn.Binding.Told))
	}, make(chan methods.Binding, 1)}
	w := start(t, methods.Config{Remote: outside{"far": {Runner: runner}}})
	chat := chatOf(t, w.must(alice(), "chat.start", "far", m{"initialMessage": text("hi")}))
	if chat.Message.Text() != "c-9 1" {
		t.Errorf("first: %q", chat.Message.Text())
	}
	again := chatOf(t, w.must(alice(), "chat.message", "", m{"chatId": chat.ID, "message": text("more")}))
	if again.Message.Text() != "c-9 2" {
		t.Errorf("second: %q", again.Message.Text())
	}
	if _, err := w.call(alice(), "chat.message", "", m{"chatId": chat.ID, "message": text("go away")}); code(err) != arc.CodeAgentUnreachable {
		t.Errorf("an agent that is down: %v", err)
	}
	w.must(alice(), "chat.end", "", m{"chatId": chat.ID})
	if b := <-runner.ended; b.ID != "c-9" {
		t.Errorf("told of the end of %+v", b)
	}
}

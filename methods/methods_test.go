package methods_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// world is a service with its store, running, and callers.
type world struct {
	t  testing.TB
	db store.Store
	s  *methods.Service

	stop func() // of one of several replicas
}

func alice() *auth.Principal { return principal("alice") }

func principal(subject string) *auth.Principal {
	scopes := slices.Clone(auth.Scopes)
	slices.Sort(scopes)
	return &auth.Principal{Issuer: "https://issuer.test/", Subject: subject, Scopes: scopes, TokenID: "jti-" + subject}
}

func demoAgents(t testing.TB) map[string]methods.Agent {
	agents := map[string]methods.Agent{}
	for _, kind := range methods.DemoKinds() {
		a, ok := methods.Demo(kind)
		if !ok {
			t.Fatalf("Demo(%q): not there", kind)
		}
		agents[kind] = a
	}
	agents["idle"] = methods.Agent{} // known, but served by nobody
	return agents
}

// start runs a service with the demo agents and those of cfg.
func start(t testing.TB, cfg methods.Config) *world {
	t.Helper()
	return startOn(t, filepath.Join(t.TempDir(), "arcd.db"), cfg)
}

func startOn(t testing.TB, file string, cfg methods.Config) *world {
	t.Helper()
	db, err := sqlite.Open(context.Background(), sqlite.Config{File: file})
	if err != nil {
		t.Fatal(err)
	}
	agents := demoAgents(t)
	for id, a := range cfg.Agents {
		agents[id] = a
	}
	cfg.Agents, cfg.Store = agents, db
	s, err := methods.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	t.Cleanup(func() {
		stop()
		<-stopped
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return &world{t: t, db: db, s: s}
}

// call dispatches one call; to may be "".
func (w *world) call(p *auth.Principal, method, to string, params any) (json.RawMessage, error) {
	w.t.Helper()
	c := &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: method, To: to}, Principal: p}
	return w.dispatch(c, params)
}

func (w *world) dispatch(c *rpc.Call, params any) (json.RawMessage, error) {
	w.t.Helper()
	var err error
	if c.Params, err = json.Marshal(params); err != nil {
		w.t.Fatal(err)
	}
	result, err := w.s.Mux().Dispatch(context.Background(), c)
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(result)
	if err != nil {
		w.t.Fatalf("%s: result %T: %v", c.Method, result, err)
	}
	return b, nil
}

func (w *world) must(p *auth.Principal, method, to string, params any) json.RawMessage {
	w.t.Helper()
	b, err := w.call(p, method, to, params)
	if err != nil {
		w.t.Fatalf("%s: %v", method, err)
	}
	return b
}

type m = map[string]any

func text(s string) m { return m{"role": "user", "parts": []m{{"type": "text", "content": s}}} }

func (w *world) create(agent, message string) string {
	w.t.Helper()
	return taskOf(w.t, w.must(alice(), "task.create", agent, m{"initialMessage": text(message)})).ID
}

func taskOf(t testing.TB, result json.RawMessage) arc.Task {
	t.Helper()
	var r arc.TaskResult
	if err := json.Unmarshal(result, &r); err != nil || r.Task == nil || r.Type != "task" {
		t.Fatalf("not a task result: %s (%v)", result, err)
	}
	return *r.Task
}

func (w *world) info(id string) arc.Task {
	w.t.Helper()
	return taskOf(w.t, w.must(alice(), "task.info", "", m{"taskId": id}))
}

// events follows a task's events after seq until f says enough.
func (w *world) events(id string, after int64, f func(arc.TaskEvent) bool) {
	w.t.Helper()
	w.eventsAs(alice(), id, after, f)
}

func (w *world) eventsAs(p *auth.Principal, id string, after int64, f func(arc.TaskEvent) bool) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	c := &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: "task.events", Params: json.RawMessage(`{"taskId":"` + id + `"}`)},
		Principal: p, Streaming: true, Resume: after > 0, LastSeq: after}
	result, err := w.s.Mux().Dispatch(ctx, c)
	if err != nil {
		w.t.Fatalf("task.events: %v", err)
	}
	for ev, err := range result.(rpc.Stream) {
		if err != nil {
			w.t.Fatalf("task.events: %v", err)
		}
		if ev.Name == "stream" && f(ev.Data.(arc.TaskEvent)) {
			return
		}
	}
}

// until waits for a task to reach a status.
func (w *world) until(id string, status arc.TaskStatus) arc.Task {
	w.t.Helper()
	return w.untilAs(alice(), id, status)
}

func (w *world) untilAs(p *auth.Principal, id string, status arc.TaskStatus) arc.Task {
	w.t.Helper()
	w.eventsAs(p, id, 0, func(ev arc.TaskEvent) bool {
		var data arc.EventData
		_ = json.Unmarshal(ev.Data, &data)
		return ev.Type == arc.StatusChangeEvent && data.Status == string(status)
	})
	task := taskOf(w.t, w.must(p, "task.info", "", m{"taskId": id}))
	if task.Status != status {
		w.t.Fatalf("task %s is %s, want %s", id, task.Status, status)
	}
	return task
}

func wantCode(t testing.TB, err error, code arc.Code) *arc.Error {
	t.Helper()
	e, ok := errors.AsType[*arc.Error](err)
	if !ok || e.Code != code {
		t.Fatalf("got error %v, want code %d", err, code)
	}
	return e
}

func TestTaskRunsToItsEnd(t *testing.T) {
	w := start(t, methods.Config{})
	id := w.create("echo", "hello")
	task := w.until(id, arc.TaskCompleted)
	if len(task.Artifacts) != 1 || task.Artifacts[0].Parts[0].Text() != "hello" {
		t.Errorf("artifacts = %+v, want one that says hello", task.Artifacts)
	}
	if len(task.Messages) != 1 || task.Messages[0].Text() != "hello" || task.Messages[0].Parts[0].Type != arc.PartText {
		t.Errorf("messages = %+v, want the initial one in canonical form", task.Messages)
	}
	if task.CompletedAt.IsZero() || task.AssignedAgent != "echo" || task.Attempt != 1 {
		t.Errorf("task = %+v", task)
	}
	var kinds []arc.EventType
	var seqs []int64
	w.events(id, 0, func(ev arc.TaskEvent) bool {
		kinds, seqs = append(kinds, ev.Type), append(seqs, ev.Seq)
		return false
	})
	want := []arc.EventType{"TASK_CREATED", "STATUS_CHANGE", "TASK_STARTED", "STATUS_CHANGE", "NEW_ARTIFACT", "TASK_COMPLETED", "STATUS_CHANGE"}
	if !slices.Equal(kinds, want) || !slices.Equal(seqs, []int64{1, 2, 3, 4, 5, 6, 7}) {
		t.Errorf("events = %v %v, want %v", kinds, seqs, want)
	}
}

func TestTaskWaitsForInput(t *testing.T) {
	w := start(t, methods.Config{})
	id := w.create("input", "start")
	task := w.until(id, arc.TaskInputRequired)
	if n := len(task.Messages); n != 2 || task.Messages[1].Role != arc.RoleAgent {
		t.Fatalf("messages = %+v, want the question behind the first", task.Messages)
	}
	w.must(alice(), "task.send", "", m{"taskId": id, "message": text("42")})
	task = w.until(id, arc.TaskCompleted)
	if got := task.Artifacts[0].Parts[0].Text(); got != "42" {
		t.Errorf("artifact says %q, want 42", got)
	}
}

func TestTaskFails(t *testing.T) {
	broken := methods.RunnerFunc(func(context.Context, *methods.Turn) error { return errors.New("password is hunter2") })
	panics := methods.RunnerFunc(func(context.Context, *methods.Turn) error { panic("secret") })
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"broken": {Runner: broken}, "panics": {Runner: panics}}})
	for agent, want := range map[string]arc.TaskError{
		"fail":   {Code: arc.CodeTaskFailed, Message: "this agent always fails", Reason: "demo"},
		"broken": {Code: arc.CodeTaskFailed, Message: "the agent failed", Reason: "agent_error"},
		"panics": {Code: arc.CodeTaskFailed, Message: "the agent failed", Reason: "agent_error"},
	} {
		task := w.until(w.create(agent, "x"), arc.TaskFailed)
		if task.Error == nil || *task.Error != want {
			t.Errorf("%s: error = %+v, want %+v", agent, task.Error, want)
		}
	}
}

func TestTaskIsTriedAgain(t *testing.T) {
	w := start(t, methods.Config{})
	task := w.until(w.create("flaky", "again"), arc.TaskCompleted)
	if task.Attempt != 2 || len(task.Artifacts) != 1 {
		t.Errorf("attempt %d with %d artifacts, want 2 with 1", task.Attempt, len(task.Artifacts))
	}
}

func TestAttemptsAreBounded(t *testing.T) {
	runs := make(chan int, 10)
	always := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		runs <- t.Attempt
		return methods.Retry(errors.New("no"), 0)
	})
	w := start(t, methods.Config{MaxAttempts: 2, Agents: map[string]methods.Agent{"always": {Runner: always}}})
	task := w.until(w.create("always", "x"), arc.TaskFailed)
	if task.Error.Reason != "attempts_exhausted" || len(runs) != 2 {
		t.Errorf("error %+v after %d runs, want attempts_exhausted after 2", task.Error, len(runs))
	}
}

// blocker runs until its context ends and then still says something.
type blocker struct {
	started chan string
	cause   chan error
}

func newBlocker() *blocker {
	return &blocker{started: make(chan string, 100), cause: make(chan error, 100)}
}

func (b *blocker) Run(ctx context.Context, t *methods.Turn) error {
	b.started <- t.From
	<-ctx.Done()
	b.cause <- context.Cause(ctx)
	// Too late: this must change nothing.
	_ = t.Artifact(context.Background(), arc.Artifact{Name: "late", Parts: []arc.Part{arc.TextPart("late")}})
	return nil
}

func TestCancelStopsTheWork(t *testing.T) {
	b := newBlocker()
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"block": {Runner: b}}})
	id := w.create("block", "x")
	<-b.started
	task := taskOf(t, w.must(alice(), "task.cancel", "block", m{"taskId": id, "reason": "enough"}))
	if task.Status != arc.TaskCanceled || task.Reason != "enough" || task.CanceledAt.IsZero() || task.CreatedAt.IsZero() {
		t.Errorf("canceled task = %+v", task)
	}
	if err := <-b.cause; err == nil {
		t.Error("the runner's context did not end")
	}
	if task := w.info(id); task.Status != arc.TaskCanceled || len(task.Artifacts) != 0 {
		t.Errorf("after late results: %+v, want it CANCELED and without artifacts", task)
	}
	for method, params := range map[string]m{"task.cancel": {"taskId": id}, "task.send": {"taskId": id, "message": text("x")}} {
		_, err := w.call(alice(), method, "", params)
		wantCode(t, err, arc.CodeTaskCanceled)
	}
}

func TestClosedTasksRefuse(t *testing.T) {
	w := start(t, methods.Config{})
	completed, failed := w.create("echo", "x"), w.create("fail", "x")
	w.until(completed, arc.TaskCompleted)
	w.until(failed, arc.TaskFailed)
	for id, code := range map[string]arc.Code{completed: arc.CodeTaskCompleted, failed: arc.CodeInvalidTransition} {
		_, err := w.call(alice(), "task.cancel", "", m{"taskId": id})
		wantCode(t, err, code)
		_, err = w.call(alice(), "task.send", "", m{"taskId": id, "message": text("x")})
		wantCode(t, err, code)
	}
}

func TestStrangersSeeNothing(t *testing.T) {
	w := start(t, methods.Config{})
	id := w.create("input", "mine")
	w.until(id, arc.TaskInputRequired)
	chat := w.must(alice(), "chat.start", "echo", m{"initialMessage": text("hi"), "chatId": "mine"})
	var made arc.ChatResult
	_ = json.Unmarshal(w.must(alice(), "chat.start", "echo", m{"initialMessage": text("hi")}), &made)
	_ = chat
	mallory := principal("mallory")
	sameSubject := principal("alice")
	sameSubject.Issuer = "https://other.test/"
	for _, p := range []*auth.Principal{mallory, sameSubject} {
		for method, params := range map[string]m{
			"task.info":   {"taskId": id},
			"task.send":   {"taskId": id, "message": text("x")},
			"task.cancel": {"taskId": id},
			"task.events": {"taskId": id},
		} {
			_, err := w.call(p, method, "", params)
			stranger := wantCode(t, err, arc.CodeTaskNotFound)
			params["taskId"] = "task-nothere"
			_, err = w.call(p, method, "", params)
			if missing := wantCode(t, err, arc.CodeTaskNotFound); missing.Message != stranger.Message {
				t.Errorf("%s tells %q from %q", method, stranger.Message, missing.Message)
			}
		}
		for _, chatID := range []string{"mine", made.Chat.ID} {
			for method, params := range map[string]m{
				"chat.message": {"chatId": chatID, "message": text("x")},
				"chat.end":     {"chatId": chatID},
			} {
				_, err := w.call(p, method, "", params)
				wantCode(t, err, arc.CodeChatNotFound)
			}
		}
		var list arc.TaskList
		_ = json.Unmarshal(w.must(p, "task.list", "", m{}), &list)
		if len(list.Tasks) != 0 {
			t.Errorf("%s lists %d foreign tasks", p.Subject, len(list.Tasks))
		}
	}
	// The same chosen id is free for somebody else, and stays Alice's own.
	w.must(mallory, "chat.start", "echo", m{"initialMessage": text("hers"), "chatId": "mine"})
	_, err := w.call(alice(), "chat.start", "echo", m{"initialMessage": text("hi"), "chatId": "mine"})
	if e := wantCode(t, err, arc.CodeInvalidParams); e.Reason() != "chat_id_in_use" {
		t.Errorf("reason = %q, want chat_id_in_use", e.Reason())
	}
}

func TestAnotherAgentsTaskIsNotFound(t *testing.T) {
	w := start(t, methods.Config{})
	id := w.create("input", "x")
	_, err := w.call(alice(), "task.info", "echo", m{"taskId": id})
	wantCode(t, err, arc.CodeTaskNotFound)
	_, err = w.call(alice(), "task.info", "nobody", m{"taskId": id})
	wantCode(t, err, arc.CodeAgentNotFound)
}

func TestIdempotentCreate(t *testing.T) {
	w := start(t, methods.Config{})
	params := m{"initialMessage": text("once"), "idempotencyKey": "k1", "metadata": m{"a": 1, "b": 2}}
	const n = 16
	ids := make(chan string, n)
	for range n {
		go func() {
			b, err := w.call(alice(), "task.create", "echo", params)
			if err != nil {
				t.Errorf("task.create: %v", err)
				ids <- ""
				return
			}
			ids <- taskOf(t, b).ID
		}()
	}
	first := <-ids
	for range n - 1 {
		if id := <-ids; id != first {
			t.Errorf("got tasks %s and %s under one key", first, id)
		}
	}
	c := &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: "task.create", To: "echo"}, Principal: alice(), IdempotencyKey: "k1"}
	_, err := w.dispatch(c, m{"initialMessage": text("other")})
	if e := wantCode(t, err, arc.CodeInvalidParams); e.Reason() != "idempotency_mismatch" {
		t.Errorf("reason = %q, want idempotency_mismatch", e.Reason())
	}
	c = &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: "task.create", To: "echo"}, Principal: alice()}
	if b, err := w.dispatch(c, params); err != nil || taskOf(t, b).ID != first || !c.Replayed {
		t.Errorf("replay: %s %v replayed=%v", b, err, c.Replayed)
	}
	// The key may come as a header one time and as a param the next.
	c = &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: "task.create", To: "echo"}, Principal: alice(), IdempotencyKey: "k1"}
	if b, err := w.dispatch(c, m{"initialMessage": text("once"), "metadata": m{"b": 2, "a": 1}}); err != nil || taskOf(t, b).ID != first {
		t.Errorf("replay by header: %s %v", b, err)
	}
	// Somebody else's equal key is their own.
	if id := taskOf(t, w.must(principal("bob"), "task.create", "echo", params)).ID; id == first {
		t.Error("bob got alice's task")
	}
	var list arc.TaskList
	_ = json.Unmarshal(w.must(alice(), "task.list", "", m{}), &list)
	if len(list.Tasks) != 1 {
		t.Errorf("%d tasks made, want 1", len(list.Tasks))
	}
}

func TestIdempotentSend(t *testing.T) {
	w := start(t, methods.Config{})
	id := w.create("idle", "x")
	for range 3 {
		w.must(alice(), "task.send", "", m{"taskId": id, "message": text("once"), "idempotencyKey": "s1"})
	}
	if n := len(w.info(id).Messages); n != 2 {
		t.Errorf("%d messages, want 2", n)
	}
}

func TestDryRunMakesNothing(t *testing.T) {
	w := start(t, methods.Config{})
	b := w.must(alice(), "task.create", "echo", m{"initialMessage": text("x"), "dryRun": true})
	var r arc.TaskResult
	_ = json.Unmarshal(b, &r)
	if !r.DryRun || r.Task.ID != "" {
		t.Errorf("result = %s", b)
	}
	var list arc.TaskList
	_ = json.Unmarshal(w.must(alice(), "task.list", "", m{}), &list)
	if len(list.Tasks) != 0 {
		t.Errorf("a dry run made %d tasks", len(list.Tasks))
	}
	_, err := w.call(alice(), "task.create", "nobody", m{"initialMessage": text("x"), "dryRun": true})
	wantCode(t, err, arc.CodeAgentNotFound)
}

func TestBadParamsNameTheField(t *testing.T) {
	w := start(t, methods.Config{})
	past := time.Now().Add(-time.Minute).Format(time.RFC3339)
	for _, test := range []struct {
		method, field string
		params        m
		code          arc.Code
	}{
		{"task.create", "initialMessage", m{}, arc.CodeInvalidParams},
		{"task.create", "initialMessage", m{"initialMessage": nil}, arc.CodeInvalidParams},
		{"task.create", "initialMessage", m{"initialMessage": "hi"}, arc.CodeInvalidParams},
		{"task.create", "initialMessage.role", m{"initialMessage": m{"parts": []m{{"type": "text", "content": "x"}}}}, arc.CodeInvalidParams},
		{"task.create", "initialMessage.role", m{"initialMessage": m{"role": "boss", "parts": []m{{"type": "text", "content": "x"}}}}, arc.CodeInvalidParams},
		{"task.create", "initialMessage.parts", m{"initialMessage": m{"role": "user", "parts": []m{}}}, arc.CodeInvalidParams},
		{"task.create", "initialMessage.parts.0.type", m{"initialMessage": m{"role": "user", "parts": []m{{"type": "Video", "content": "x"}}}}, arc.CodeInvalidParams},
		{"task.create", "initialMessage.parts.0.content", m{"initialMessage": m{"role": "user", "parts": []m{{"type": "text", "content": 5}}}}, arc.CodeInvalidParams},
		{"task.create", "initialMessage.parts.0.content", m{"initialMessage": m{"role": "user", "parts": []m{{"type": "file", "content": "%%", "mimeType": "a/b"}}}}, arc.CodeInvalidParams},
		{"task.create", "initialMessage.parts.0.mimeType", m{"initialMessage": m{"role": "user", "parts": []m{{"type": "file", "content": "aGk="}}}}, arc.CodeInvalidParams},
		{"task.create", "metadata", m{"initialMessage": text("x"), "metadata": []int{1}}, arc.CodeInvalidParams},
		{"task.create", "metadata.deadline", m{"initialMessage": text("x"), "metadata": m{"deadline": "tomorrow"}}, arc.CodeInvalidParams},
		{"task.create", "metadata.deadline", m{"initialMessage": text("x"), "metadata": m{"deadline": past}}, arc.CodeDeadlineExceeded},
		{"task.create", "priority", m{"initialMessage": text("x"), "priority": "ASAP"}, arc.CodeInvalidPriority},
		{"task.create", "priority", m{"initialMessage": text("x"), "priority": 7}, arc.CodeInvalidPriority},
		{"task.create", "dryRun", m{"initialMessage": text("x"), "dryRun": "yes"}, arc.CodeInvalidParams},
		{"task.info", "taskId", m{}, arc.CodeInvalidParams},
		{"task.info", "taskId", m{"taskId": 5}, arc.CodeInvalidParams},
		{"task.list", "limit", m{"limit": 1000}, arc.CodeInvalidParams},
		{"task.list", "cursor", m{"cursor": "???"}, arc.CodeInvalidParams},
		{"task.list", "status", m{"status": []string{"DONE"}}, arc.CodeInvalidParams},
		{"chat.start", "initialMessage.parts", m{"initialMessage": m{"role": "user", "parts": []m{}}}, arc.CodeInvalidMessage},
		{"chat.start", "chatId", m{"initialMessage": text("x"), "chatId": "a b"}, arc.CodeInvalidParams},
		{"chat.message", "chatId", m{"message": text("x")}, arc.CodeInvalidParams},
	} {
		_, err := w.call(alice(), test.method, "echo", test.params)
		if e := wantCode(t, err, test.code); e.Details["field"] != test.field {
			t.Errorf("%s %v: field = %v, want %s (%v)", test.method, test.params, e.Details["field"], test.field, e)
		}
	}
}

func TestListPages(t *testing.T) {
	w := start(t, methods.Config{})
	var want []string
	for range 7 {
		want = append(want, w.create("idle", "x"))
	}
	slices.Reverse(want)
	var got []string
	cursor := ""
	for {
		var list arc.TaskList
		_ = json.Unmarshal(w.must(alice(), "task.list", "", m{"limit": 3, "cursor": cursor}), &list)
		for _, task := range list.Tasks {
			got = append(got, task.ID)
		}
		if cursor = list.NextCursor; cursor == "" {
			break
		}
	}
	slices.Sort(got) // within one millisecond ids order the page
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("pages gave %v, want %v", got, want)
	}
}

func TestPriorityOrdersTheQueue(t *testing.T) {
	order := make(chan string, 10)
	gate := make(chan struct{})
	one := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		order <- t.Message().Text()
		<-gate
		return nil
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"one": {Runner: one, Concurrency: 1}}})
	w.create("one", "first")
	if got := <-order; got != "first" {
		t.Fatalf("ran %q first", got)
	}
	for _, p := range []string{"LOW", "NORMAL", "URGENT", "HIGH"} {
		w.must(alice(), "task.create", "one", m{"initialMessage": text(p), "priority": p})
	}
	close(gate)
	for _, want := range []string{"URGENT", "HIGH", "NORMAL", "LOW"} {
		if got := <-order; got != want {
			t.Errorf("ran %s, want %s", got, want)
		}
	}
}

func TestDeadlineEndsTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBlocker()
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"block": {Runner: b}}})
		deadline := m{"deadline": time.Now().Add(90 * time.Second).Format(time.RFC3339)}
		running := taskOf(t, w.must(alice(), "task.create", "block", m{"initialMessage": text("x"), "metadata": deadline})).ID
		queued := taskOf(t, w.must(alice(), "task.create", "idle", m{"initialMessage": text("x"), "metadata": deadline})).ID
		<-b.started
		for _, id := range []string{running, queued} {
			if task := w.until(id, arc.TaskFailed); task.Error.Code != arc.CodeTaskTimeout || task.Error.Reason != "deadline" {
				t.Errorf("error = %+v", task.Error)
			}
		}
	})
}

func TestLeaseOfADeadProcessRunsOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "arcd.db")
		db, err := sqlite.Open(context.Background(), sqlite.Config{File: file})
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		body := `{"lease":"dead","leaseEnd":` + jsonInt(now.Add(10*time.Second).UnixMilli()) + `,"attempt":1,"lastInput":1,"messages":1}`
		exhausted := `{"lease":"dead","leaseEnd":` + jsonInt(now.Add(10*time.Second).UnixMilli()) + `,"attempt":3,"lastInput":1,"messages":1}`
		for id, body := range map[string]string{"task-1": body, "task-2": exhausted} {
			_, err = db.Commit(context.Background(), store.Change{Thread: store.Thread{
				ID: id, Kind: store.Task, Owner: alice().Owner(), From: "a", Agent: "echo", Status: "WORKING",
				Priority: "NORMAL", Created: now, Updated: now, Due: now.Add(10 * time.Second), Body: []byte(body),
			}, Items: []store.Item{{Kind: store.MessageItem, Body: []byte(`{"role":"user","parts":[{"type":"TextPart","content":"hi"}]}`)}},
				Events: []arc.Event{{Type: "TASK_CREATED", At: arc.At(now), Data: []byte(`{}`)}}})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
		w := startOn(t, file, methods.Config{})
		if task := w.until("task-1", arc.TaskCompleted); task.Attempt != 2 || len(task.Artifacts) != 1 {
			t.Errorf("task = %+v, want attempt 2 and one artifact", task)
		}
		if task := w.until("task-2", arc.TaskFailed); task.Error.Reason != "attempts_exhausted" {
			t.Errorf("error = %+v", task.Error)
		}
	})
}

func jsonInt(n int64) string { b, _ := json.Marshal(n); return string(b) }

func TestDrainGivesTasksBack(t *testing.T) {
	b := newBlocker()
	honest := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		b.started <- t.From
		<-ctx.Done()
		return context.Cause(ctx)
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"block": {Runner: honest}}})
	id := w.create("block", "x")
	<-b.started
	now, cancel := context.WithCancel(context.Background())
	cancel()
	w.s.Drain(now)
	th, err := w.db.Thread(context.Background(), id)
	if err != nil || !th.Ready || th.Status != "WORKING" {
		t.Errorf("after the drain: %+v %v, want it ready again", th, err)
	}
	if task := w.info(id); task.Attempt != 0 {
		t.Errorf("the interrupted attempt counts: %d", task.Attempt)
	}
	_, err = w.call(alice(), "chat.start", "echo", m{"initialMessage": text("x")})
	wantCode(t, err, arc.CodeAgentUnavailable)
	if err := w.s.Ready(context.Background()); err == nil {
		t.Error("Ready while draining")
	}
}

func TestScopesCanBeReplaced(t *testing.T) {
	echo, _ := methods.Demo("echo")
	echo.Scopes = map[string][]string{"task.create": {"special"}, "task.info": {"special"}}
	w := start(t, methods.Config{
		Scopes: map[string][]string{"task.list": {"lister"}},
		Agents: map[string]methods.Agent{"guarded": echo},
	})
	_, err := w.call(alice(), "task.create", "guarded", m{"initialMessage": text("x")})
	wantCode(t, err, arc.CodeInsufficientScope)
	_, err = w.call(alice(), "task.list", "", m{})
	wantCode(t, err, arc.CodeInsufficientScope)
	special := principal("alice")
	special.Scopes = append(special.Scopes, "special")
	id := taskOf(t, w.must(special, "task.create", "guarded", m{"initialMessage": text("x")})).ID
	// The agent's own rule holds too where only the task id names the agent.
	_, err = w.call(alice(), "task.info", "", m{"taskId": id})
	wantCode(t, err, arc.CodeInsufficientScope)

	_, err = methods.New(methods.Config{Store: w.db, Scopes: map[string][]string{"task.craete": {"x"}}})
	if err == nil {
		t.Error("a misspelt method was accepted")
	}
}

func TestRequestAgentIsBound(t *testing.T) {
	w := start(t, methods.Config{})
	bound := principal("svc")
	bound.Agents = []string{"svc-agent"}
	c := &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: "task.create", To: "echo", From: "other"}, Principal: bound}
	_, err := w.dispatch(c, m{"initialMessage": text("x")})
	if e := wantCode(t, err, arc.CodeUnauthorized); e.Reason() != "agent_mismatch" {
		t.Errorf("reason = %q", e.Reason())
	}
	c = &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: "task.create", To: "echo", From: "svc-agent"}, Principal: bound}
	if _, err := w.dispatch(c, m{"initialMessage": text("x")}); err != nil {
		t.Errorf("as itself: %v", err)
	}
}

func TestUnknownMethods(t *testing.T) {
	w := start(t, methods.Config{})
	for _, method := range []string{"task.explode", "no.such"} {
		_, err := w.call(alice(), method, "echo", m{})
		wantCode(t, err, arc.CodeMethodNotFound)
		nobody := principal("n")
		nobody.Scopes = nil
		_, err = w.call(nobody, method, "echo", m{})
		wantCode(t, err, arc.CodeInsufficientScope)
	}
}

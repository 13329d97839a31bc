package interop_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPythonTasks makes the four task methods with the unchanged Python client,
// with only what they require and with everything they offer.
func TestPythonTasks(t *testing.T) {
	d := started(t, "")
	c := caller{newPython(t), d.endpoint(), d.token(t, "--scope", allScopes), ""}

	t.Run("create, required only", func(t *testing.T) {
		e := c.call(t, "task.create", map[string]any{"target_agent": "echo", "initial_message": text("hello")})
		want(t, e, "task", "result", "type")
		want(t, e, "SUBMITTED", "result", "task", "status")
		want(t, e, "echo", "responseAgent")
		want(t, e, nil, "error")
		if at(e, "traceId") != nil {
			t.Errorf("the answer has a traceId that was not sent: %v", e)
		}
		task := c.until(t, "echo", taskOf(t, e), "COMPLETED")
		want(t, task, "hello", "artifacts", 0, "parts", 0, "content")
		want(t, task, "hello", "messages", 0, "parts", 0, "content")
		want(t, task, "user", "messages", 0, "role")
	})
	t.Run("create, all options", func(t *testing.T) {
		e := c.call(t, "task.create", map[string]any{
			"target_agent": "echo", "initial_message": text("hello again"), "priority": "URGENT",
			"metadata": map[string]any{"ticket": "T-1", "nested": map[string]any{"deep": true}},
			"trace_id": "trace-1", "timeout": 5.0,
		})
		want(t, e, "trace-1", "traceId")
		task := c.until(t, "echo", taskOf(t, e), "COMPLETED")
		want(t, task, "URGENT", "priority")
		want(t, task, "T-1", "metadata", "ticket")
		want(t, task, true, "metadata", "nested", "deep")
	})
	t.Run("info without history", func(t *testing.T) {
		e := c.call(t, "task.create", map[string]any{"target_agent": "echo", "initial_message": text("short")})
		id := taskOf(t, e)
		c.until(t, "echo", id, "COMPLETED")
		e = c.call(t, "task.info", map[string]any{
			"target_agent": "echo", "task_id": id, "include_messages": false, "include_artifacts": false, "trace_id": "trace-2",
		})
		want(t, e, "trace-2", "traceId")
		want(t, e, "COMPLETED", "result", "task", "status")
		if at(e, "result", "task", "messages") != nil || at(e, "result", "task", "artifacts") != nil {
			t.Errorf("the history is there although it was not asked for: %v", e)
		}
	})
	t.Run("send", func(t *testing.T) {
		e := c.call(t, "task.create", map[string]any{"target_agent": "input", "initial_message": text("begin")})
		id := taskOf(t, e)
		c.until(t, "input", id, "INPUT_REQUIRED")
		e = c.call(t, "task.send", map[string]any{
			"target_agent": "input", "task_id": id, "message": text("the answer"), "trace_id": "trace-3",
		})
		want(t, e, true, "result", "success")
		task := c.until(t, "input", id, "COMPLETED")
		if !strings.Contains(strings.Join(contents(task), "\n"), "the answer") {
			t.Errorf("the message is not in the history: %v", task)
		}
	})
	for name, args := range map[string]map[string]any{
		"cancel, required only": {},
		"cancel, all options":   {"reason": "no longer needed", "trace_id": "trace-4"},
	} {
		t.Run(name, func(t *testing.T) {
			e := c.call(t, "task.create", map[string]any{"target_agent": "slow", "initial_message": text("9999")})
			args["target_agent"], args["task_id"] = "slow", taskOf(t, e)
			e = c.call(t, "task.cancel", args)
			want(t, e, "CANCELED", "result", "task", "status")
			want(t, e, args["reason"], "result", "task", "reason")
			want(t, e, args["trace_id"], "traceId")
			if at(e, "result", "task", "canceledAt") == nil {
				t.Errorf("canceledAt is missing: %v", e)
			}
		})
	}
}

// TestPythonChats makes the three chat methods, whole and streaming.
func TestPythonChats(t *testing.T) {
	d := started(t, "")
	c := caller{newPython(t), d.endpoint(), d.token(t, "--scope", allScopes), ""}

	t.Run("required only", func(t *testing.T) {
		e := c.call(t, "chat.start", map[string]any{"target_agent": "echo", "initial_message": text("hello")})
		want(t, e, "chat", "result", "type")
		want(t, e, "ACTIVE", "result", "chat", "status")
		want(t, e, "agent", "result", "chat", "message", "role")
		want(t, e, "hello", "result", "chat", "message", "parts", 0, "content")
		id := at(e, "result", "chat", "chatId")
		e = c.call(t, "chat.message", map[string]any{"target_agent": "echo", "chat_id": id, "message": text("more")})
		want(t, e, id, "result", "chat", "chatId")
		want(t, e, "more", "result", "chat", "message", "parts", 0, "content")
		e = c.call(t, "chat.end", map[string]any{"target_agent": "echo", "chat_id": id})
		want(t, e, "CLOSED", "result", "chat", "status")
	})
	t.Run("all options", func(t *testing.T) {
		e := c.call(t, "chat.start", map[string]any{
			"target_agent": "echo", "initial_message": text("hello"), "chat_id": "my-own-id", "stream": false,
			"metadata": map[string]any{"topic": "tests"}, "trace_id": "trace-5", "timeout": 5.0,
		})
		want(t, e, "my-own-id", "result", "chat", "chatId")
		want(t, e, "trace-5", "traceId")
		want(t, e, "tests", "result", "chat", "metadata", "topic")
		e = c.call(t, "chat.message", map[string]any{
			"target_agent": "echo", "chat_id": "my-own-id", "message": text("more"), "stream": false, "trace_id": "trace-6",
		})
		want(t, e, "trace-6", "traceId")
		e = c.call(t, "chat.end", map[string]any{
			"target_agent": "echo", "chat_id": "my-own-id", "reason": "all said", "trace_id": "trace-7",
		})
		want(t, e, "all said", "result", "chat", "reason")
		if at(e, "result", "chat", "closedAt") == nil {
			t.Errorf("closedAt is missing: %v", e)
		}
	})
	t.Run("streaming", func(t *testing.T) {
		events := c.stream(t, "chat.start", map[string]any{"target_agent": "stream", "initial_message": text("12")})
		id := checkStream(t, events)
		if len(events) < 3 {
			t.Errorf("twelve pieces come as %d events", len(events))
		}
		whole := c.call(t, "chat.message", map[string]any{"target_agent": "stream", "chat_id": id, "message": text("12")})
		if diff := cmp.Diff(at(whole, "result", "chat", "message", "parts", 0, "content"), any(spoken(events))); diff != "" {
			t.Errorf("streamed and whole answer differ:\n%s", diff)
		}
		again := c.stream(t, "chat.message", map[string]any{"target_agent": "stream", "chat_id": id, "message": text("3")})
		if got := checkStream(t, again); got != id {
			t.Errorf("chat.message streams chat %q, want %q", got, id)
		}
		c.call(t, "chat.end", map[string]any{"target_agent": "stream", "chat_id": id})
	})
	t.Run("streaming other letters", func(t *testing.T) {
		const letters = "ä € 😀 \u2028 line\nbreak\r\n\ttab \"quoted\""
		events := c.stream(t, "chat.start", map[string]any{"target_agent": "echo", "initial_message": text(letters)})
		checkStream(t, events)
		if got := spoken(events); got != letters {
			t.Errorf("echo streams %q, want %q", got, letters)
		}
	})
}

// checkStream checks the order and names of a stream's events and gives its
// chat id.
func checkStream(t *testing.T, events []sseEvent) string {
	t.Helper()
	if len(events) < 2 {
		t.Fatalf("the stream has %d events, want at least one and done: %v", len(events), events)
	}
	last := events[len(events)-1]
	if last.Event != "done" || last.Data["done"] != true || last.Data["status"] != "ACTIVE" {
		t.Errorf("the stream ends with %v, want done, ACTIVE", last)
	}
	id, _ := last.Data["chatId"].(string)
	if id == "" {
		t.Errorf("done has no chatId: %v", last)
	}
	for _, e := range events[:len(events)-1] {
		if e.Event != "stream" || e.Data["chatId"] != id || at(e.Data, "message", "role") != "agent" {
			t.Errorf("odd event %v", e)
		}
	}
	return id
}

// spoken joins the pieces of a streamed answer.
func spoken(events []sseEvent) string {
	var s strings.Builder
	for _, e := range events {
		if piece, ok := at(e.Data, "message", "parts", 0, "content").(string); ok && e.Event == "stream" {
			s.WriteString(piece)
		}
	}
	return s.String()
}

// until reads the task until it is in the given state, and gives it.
func (c caller) until(t *testing.T, agent, id, status string) map[string]any {
	t.Helper()
	var task map[string]any
	eventually(t, "task "+id+" is "+status, func() bool {
		e := c.call(t, "task.info", map[string]any{"target_agent": agent, "task_id": id})
		task, _ = at(e, "result", "task").(map[string]any)
		return task["status"] == status
	})
	return task
}

func taskOf(t *testing.T, envelope map[string]any) string {
	t.Helper()
	id, ok := at(envelope, "result", "task", "taskId").(string)
	if !ok {
		t.Fatalf("no task in %v", envelope)
	}
	return id
}

// contents lists the contents of the first parts of a task's messages.
func contents(task map[string]any) []string {
	var all []string
	messages, _ := task["messages"].([]any)
	for _, m := range messages {
		if s, ok := at(m, "parts", 0, "content").(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// want compares one member of a JSON value.
func want(t *testing.T, v any, want any, path ...any) {
	t.Helper()
	if got := at(v, path...); got != want {
		t.Errorf("%v is %v, want %v, in %v", path, got, want, v)
	}
}

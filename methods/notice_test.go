package methods_test

import (
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// notifyAt is notify with the agent's time.
func (w *world) notifyAt(agent, task string, event arc.EventType, at string, data m) {
	w.t.Helper()
	data["message"] = "told"
	if _, ok := data["status"]; !ok {
		data["status"] = "WORKING"
	}
	params := m{"taskId": task, "event": event, "timestamp": at, "data": data}
	if _, err := w.call(agentOf(agent), "task.notification", "", params); err != nil {
		w.t.Fatal(err)
	}
}

// TestNoticesOvertake: a notice of a state that a newer one has overtaken changes
// nothing.
func TestNoticesOvertake(t *testing.T) {
	const before, at, later = "2026-01-02T03:04:05Z", "2026-01-02T03:04:10Z", "2026-01-02T03:04:15Z"
	w := start(t, methods.Config{Remote: outside{"far": {Runner: patient("x")}}})
	id := w.create("far", "hello")
	w.until(id, arc.TaskWorking)
	w.notifyAt("far", id, arc.TaskPausedEvent, at, m{"requiredInput": "which?"})
	w.until(id, arc.TaskInputRequired)
	w.notifyAt("far", id, arc.TaskResumedEvent, before, m{})
	w.notifyAt("far", id, arc.StatusChangeEvent, before, m{"status": "WORKING"})
	if task := w.info(id); task.Status != arc.TaskInputRequired {
		t.Fatalf("a late notice made it %s", task.Status)
	}
	w.notifyAt("far", id, arc.NewMessageEvent, before, m{"messageContent": m{"role": "agent", "parts": []m{{"type": "text", "content": "late"}}}})
	w.notifyAt("far", id, arc.NewMessageEvent, at, m{"messageContent": m{"role": "agent", "parts": []m{{"type": "text", "content": "which?"}}}})
	w.notifyAt("far", id, arc.TaskResumedEvent, later, m{})
	w.until(id, arc.TaskWorking)
	w.notifyAt("far", id, arc.TaskPausedEvent, before, m{"requiredInput": "what?"})
	task := w.info(id)
	if task.Status != arc.TaskWorking || len(task.Messages) != 3 {
		t.Errorf("in the end it is %s with %+v", task.Status, task.Messages)
	}
}

// TestLongNotice: what an agent tells of its progress is kept in short.
func TestLongNotice(t *testing.T) {
	w := start(t, methods.Config{Remote: outside{"far": {Runner: patient("x")}}})
	id := w.create("far", "hello")
	w.until(id, arc.TaskWorking)
	if err := w.notify("far", id, arc.ProgressEvent, m{"percent": 1, "note": strings.Repeat("x", 1<<20)}); err != nil {
		t.Fatal(err)
	}
	if n := len(w.info(id).Progress.Note); n > 8<<10 {
		t.Errorf("a note of %d bytes is kept", n)
	}
}

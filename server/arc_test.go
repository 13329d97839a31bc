package server_test

import (
	"testing"

	"github.com/arcd-io/arcd/arc"
)

func TestTaskOverBothEnvelopes(t *testing.T) {
	w := start(t, options{})
	for _, jsonrpc := range []bool{false, true} {
		c := w.client()
		c.JSONRPC = jsonrpc
		hello := arc.Text(arc.RoleUser, "hello")
		task, err := c.CreateTask(t.Context(), "echo", arc.CreateTaskParams{InitialMessage: &hello})
		if err != nil {
			t.Fatalf("CreateTask, JSON-RPC %t: %v", jsonrpc, err)
		}
		var last string
		for ev, err := range c.TaskEvents(t.Context(), "echo", arc.TaskEventsParams{TaskID: task.ID}) {
			if err != nil {
				t.Fatalf("TaskEvents: %v", err)
			}
			last = ev.Name
		}
		if last != "done" {
			t.Errorf("the last event is %q, want done", last)
		}
		task, err = c.GetTask(t.Context(), "echo", arc.GetTaskParams{TaskID: task.ID})
		if err != nil {
			t.Fatal(err)
		}
		if task.Status != arc.TaskCompleted || len(task.Artifacts) != 1 || task.Artifacts[0].Parts[0].Text() != "hello" {
			t.Errorf("the task ended as %+v", task)
		}
	}
}

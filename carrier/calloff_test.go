package carrier_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// TestCancelWhilePaused: an agent that waits for the caller learns that nobody will answer.
func TestCancelWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.info":   always(task("r1", "INPUT_REQUIRED", m{"messages": []m{agentText("which?")}})),
			"task.cancel": always(task("r1", "CANCELED")),
		}.handle)
		w := with(t, f)
		id := w.create()
		w.until(id, arc.TaskInputRequired)
		if _, err := w.call("task.cancel", m{"taskId": id}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if f.count("task.cancel") != 1 || f.call("task.cancel", 0).param("taskId") != "r1" || f.call("task.cancel", 0).From != "near" {
			t.Errorf("calls: %v", f.asked())
		}
	})
}

// TestDeadlineWhilePaused: and that the time is over.
func TestDeadlineWhilePaused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{
			"task.create": always(task("r1", "WORKING")),
			"task.info":   always(task("r1", "INPUT_REQUIRED", m{"messages": []m{agentText("which?")}})),
			"task.cancel": always(task("r1", "CANCELED")),
		}.handle)
		w := with(t, f)
		id := w.create(m{"metadata": m{"deadline": time.Now().Add(time.Minute)}})
		w.until(id, arc.TaskInputRequired)
		w.until(id, arc.TaskFailed)
		time.Sleep(5 * time.Second)
		if f.count("task.cancel") != 1 {
			t.Errorf("calls: %v", f.asked())
		}
	})
}

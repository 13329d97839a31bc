package interop_test

import (
	"net"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// startNATS runs a nats-server at an address until stop is called, or the test ends.
func startNATS(t *testing.T, addr string) (stop func()) {
	t.Helper()
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(cache(t, "nats-server"), "-a", host, "-p", port)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(stop)
	eventually(t, "NATS listens", func() bool {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return false
		}
		_ = c.Close()
		return true
	})
	return stop
}

// TestHintsOverNATS follows tasks at one replica that change at another, with NATS,
// after it was killed, and when it is there again: without it everything arrives too,
// only later.
func TestHintsOverNATS(t *testing.T) {
	addr := freeAddress(t)
	stop := startNATS(t, addr)
	f := newFleet(t, "hints: nats://"+addr+"\n")
	here, there := f.at(t, 0), f.at(t, 1)
	connected := func(times int) {
		t.Helper()
		for _, d := range f.replicas {
			eventually(t, "arcd is connected to NATS", func() bool { return strings.Count(d.log.tail(1<<20), "hints_connected") == times })
		}
	}
	connected(1)
	with := across(t, here, there)
	stop()
	without := across(t, here, there)
	startNATS(t, addr)
	connected(2)
	again := across(t, here, there)
	t.Logf("the way across takes %v with NATS, %v without, %v when it is there again", with, without, again)
	for _, d := range []time.Duration{with, again} {
		if d > 300*time.Millisecond { // the look at the store is once a second
			t.Errorf("the way across takes %v, want less with NATS", d)
		}
	}
	if without > 3*time.Second {
		t.Errorf("the way across takes %v without NATS, want about a second at most", without)
	}
}

// at gives a client of one replica.
func (f *fleet) at(t *testing.T, i int) *client.Client {
	t.Helper()
	c := f.client(t)
	c.URL = f.replicas[i].url()
	return c
}

// across gives the median time from the answer to a task's question, sent to one
// replica, until another shows it to who follows the task there.
func across(t *testing.T, here, there *client.Client) time.Duration {
	t.Helper()
	var took []time.Duration
	for range 7 {
		task, err := here.CreateTask(t.Context(), "input", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "ask me"))})
		if err != nil {
			t.Fatal(err)
		}
		took = append(took, seen(t, here, there, task.ID))
	}
	slices.Sort(took)
	return took[len(took)/2].Round(time.Millisecond)
}

// seen answers a task's question at one replica, and gives the time until another shows
// the answer.
func seen(t *testing.T, here, there *client.Client, id string) time.Duration {
	t.Helper()
	var sent time.Time
	for e, err := range here.TaskEvents(t.Context(), "input", arc.TaskEventsParams{TaskID: id}) {
		if err != nil {
			t.Fatal(err)
		}
		switch text := string(e.Data); {
		case sent.IsZero() && strings.Contains(text, string(arc.TaskInputRequired)):
			sent = time.Now()
			answer := arc.SendTaskParams{TaskID: id, Message: ptr(arc.Text(arc.RoleUser, "the answer"))}
			if err := there.SendTask(t.Context(), "input", answer); err != nil {
				t.Fatal(err)
			}
		case !sent.IsZero() && strings.Contains(text, "the answer"):
			return time.Since(sent)
		}
	}
	t.Fatalf("task %s ended without the answer", id)
	return 0
}

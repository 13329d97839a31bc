package interop_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

const (
	crashClients = 32
	crashAcked   = 600 // acknowledged tasks before each kill
	crashRounds  = 2
	slowTasks    = 8
)

// ledger is what the clients of the crash test know.
type ledger struct {
	mu      sync.Mutex        // guards the fields below
	acked   map[string]string // idempotency key to task id
	unknown map[string]bool   // keys whose calls got no answer
	enough  chan struct{}     // closed when so many are acked
	until   int
}

func (l *ledger) note(key string, task *arc.Task, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.unknown[key] = true
		return
	}
	delete(l.unknown, key)
	l.acked[key] = task.ID
	if len(l.acked) == l.until {
		close(l.enough)
	}
}

// TestKill9 kills arcd without warning while 32 clients give it tasks, starts
// it again on the same store, and counts: whatever was acknowledged is there and
// gets done, nothing is there twice, nothing is done twice, and what was running
// goes on.
func TestKill9(t *testing.T) {
	d := newDaemon(t, ownIssuer(t.TempDir())+"lease: 1s\nmax_attempts: 10\n")
	d.start(t)
	transport := &http.Transport{MaxIdleConnsPerHost: crashClients}
	defer transport.CloseIdleConnections()
	c := &client.Client{
		URL: d.endpoint(), Token: client.StaticToken(d.token(t, "--scope", allScopes)), Attempts: 1, // repeating is what the test does
		HTTP: &http.Client{Transport: transport, Timeout: 20 * time.Second},
	}
	slow := beginSlow(t, c)
	book := &ledger{acked: map[string]string{}, unknown: map[string]bool{}}
	for round := range crashRounds {
		loadAndKill(t, d, c, book, round)
		d.start(t)
	}
	// Callers repeat what was not answered. If it had been stored, they get the
	// task that there is.
	for key := range book.unknown {
		task, err := c.CreateTask(t.Context(), "echo", keyed(key))
		if err != nil {
			t.Fatalf("repeating %s: %v", key, err)
		}
		book.acked[key] = task.ID
	}
	checkList(t, c, book)
	for key, id := range book.acked {
		checkDone(t, c, "echo", id, key)
	}
	for _, id := range slow {
		if task := checkDone(t, c, "slow", id, "15"); task.Attempt < 2 {
			t.Errorf("slow task %s was begun %d times, want again after the kill", id, task.Attempt)
		}
	}
	t.Logf("%d tasks, %d of them unanswered at a kill", len(book.acked), len(book.unknown))
}

// keyed are the params of a task that is made at most once.
func keyed(key string) arc.CreateTaskParams {
	return arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, key)), IdempotencyKey: key}
}

// beginSlow starts tasks of three seconds and waits until they run.
func beginSlow(t *testing.T, c *client.Client) []string {
	t.Helper()
	var ids []string
	for range slowTasks {
		task, err := c.CreateTask(t.Context(), "slow", arc.CreateTaskParams{InitialMessage: ptr(arc.Text(arc.RoleUser, "15"))})
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, task.ID)
	}
	for _, id := range ids {
		eventually(t, "slow task "+id+" runs", func() bool {
			task, err := c.GetTask(t.Context(), "slow", arc.GetTaskParams{TaskID: id})
			if err != nil {
				t.Fatal(err)
			}
			return task.Status == arc.TaskWorking
		})
	}
	return ids
}

// loadAndKill has the clients create tasks until enough are acknowledged, kills
// the server in the midst of it, and waits for the clients to notice.
func loadAndKill(t *testing.T, d *daemon, c *client.Client, book *ledger, round int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	book.mu.Lock()
	book.enough, book.until = make(chan struct{}), len(book.acked)+crashAcked
	book.mu.Unlock()
	var clients sync.WaitGroup
	for i := range crashClients {
		clients.Go(func() {
			for n := 0; ; n++ {
				key := fmt.Sprintf("round %d, client %d, task %d", round, i, n)
				task, err := c.CreateTask(ctx, "echo", keyed(key))
				book.note(key, task, err)
				if err != nil {
					return // the server is gone
				}
			}
		})
	}
	select {
	case <-book.enough:
	case <-ctx.Done():
		t.Errorf("round %d: the clients did not get %d tasks acknowledged", round, crashAcked)
	}
	d.kill()
	clients.Wait()
}

// checkList checks that the server has exactly the tasks that the callers know
// of.
func checkList(t *testing.T, c *client.Client, book *ledger) {
	t.Helper()
	stored := map[string]bool{}
	params := arc.ListTasksParams{Agent: "echo", Limit: 200}
	for {
		page, err := c.ListTasks(t.Context(), "echo", params)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range page.Tasks {
			if stored[task.ID] {
				t.Errorf("task %s is listed twice", task.ID)
			}
			stored[task.ID] = true
		}
		if params.Cursor = page.NextCursor; params.Cursor == "" {
			break
		}
	}
	known := map[string]bool{}
	for key, id := range book.acked {
		if !stored[id] {
			t.Errorf("task %s (%s) was acknowledged and is lost", id, key)
		}
		if known[id] {
			t.Errorf("task %s stands for two keys, one of them %s", id, key)
		}
		known[id] = true
	}
	if len(stored) != len(known) {
		t.Errorf("the server has %d tasks, the callers know of %d", len(stored), len(known))
	}
}

// checkDone waits until the task is completed and checks that it was done once:
// one artifact with the text, one event of each kind. It gives the task.
func checkDone(t *testing.T, c *client.Client, agent, id, text string) *arc.Task {
	t.Helper()
	count := map[arc.EventType]int{}
	for e, err := range c.TaskEvents(t.Context(), agent, arc.TaskEventsParams{TaskID: id}) {
		if err != nil {
			t.Fatalf("events of %s: %v", id, err)
		}
		var event arc.TaskEvent
		if e.Name == "stream" && e.Decode(&event) == nil {
			count[event.Type]++
		}
	}
	task, err := c.GetTask(t.Context(), agent, arc.GetTaskParams{TaskID: id})
	if err != nil {
		t.Fatal(err)
	}
	if task.Status != arc.TaskCompleted || len(task.Artifacts) != 1 || len(task.Artifacts[0].Parts) != 1 ||
		task.Artifacts[0].Parts[0].Text() != text {
		t.Errorf("task %s is %s with artifacts %v, want COMPLETED with one artifact %q", id, task.Status, task.Artifacts, text)
	}
	for _, once := range []arc.EventType{arc.TaskCreatedEvent, arc.NewArtifactEvent, arc.TaskCompletedEvent} {
		if count[once] != 1 {
			t.Errorf("task %s has %d events %s, want 1: %v", id, count[once], once, count)
		}
	}
	return task
}

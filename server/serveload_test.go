package server_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/server"
)

// TestManyAgentsWithCutConnections has 200 agents do 10,000 tasks while their
// connections are cut at random, in the middle of their work too. Every task ends exactly once, and nothing is left
// running.
func TestManyAgentsWithCutConnections(t *testing.T) {
	const agents, tasks = 200, 10_000
	before := goleak.IgnoreCurrent()
	t.Run("work", func(t *testing.T) { cutAtRandom(t, agents, tasks) })
	http.DefaultClient.CloseIdleConnections()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// cutAtRandom gives the agents the tasks and cuts connections.
func cutAtRandom(t *testing.T, agents, tasks int) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.Limits.StreamsPerSubject = 1000 }})
	wire := make([]wires, agents)
	var handled atomic.Int64
	for i := range agents {
		a := w.agent(fmt.Sprintf("agent-%03d", i), func(ctx context.Context, work *client.Work) error {
			handled.Add(1)
			if work.Attempt == 1 && rand.IntN(20) == 0 {
				wire[i].cut()
				<-ctx.Done()
				return ctx.Err()
			}
			return work.Write(ctx, work.Message.Text())
		})
		transport := &http.Transport{DialContext: wire[i].dial}
		t.Cleanup(transport.CloseIdleConnections)
		a.Client.HTTP = &http.Client{Transport: transport}
		w.running(a)
	}
	began := time.Now()
	caller := w.client()
	made := make([]*arc.Task, tasks)
	each(tasks, func(n int) {
		m := arc.Text(arc.RoleUser, fmt.Sprint(n))
		to := fmt.Sprintf("agent-%03d", n%agents)
		task, err := caller.CreateTask(t.Context(), to, arc.CreateTaskParams{InitialMessage: &m})
		if err != nil {
			t.Errorf("task %d: %v", n, err)
			return
		}
		task.AssignedAgent, made[n] = to, task
		if n%20 == 0 {
			wire[rand.IntN(agents)].cut()
		}
	})
	t.Logf("made after %s", time.Since(began))
	each(tasks, func(n int) {
		if made[n] != nil {
			w.endedOnce(caller, made[n])
		}
	})
	t.Logf("%d tasks were handled %d times in %s", tasks, handled.Load(), time.Since(began))
}

// each calls f for the numbers below n, several at a time.
func each(n int, f func(i int)) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				f(i)
			}
		})
	}
	all.Wait()
}

// endedOnce waits for the end of a task and looks whether it has just one.
func (w *world) endedOnce(c *client.Client, task *arc.Task) {
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	ends, said := 0, 0
	var last int64
	count := func(e *arc.Event) {
		last = e.Seq
		switch e.Type {
		case arc.TaskCompletedEvent, arc.TaskFailedEvent, arc.TaskCanceledEvent:
			ends++
		case arc.NewMessageEvent:
			said++
		}
	}
	var now arc.EventList
	if err := c.Call(ctx, "task.events", task.AssignedAgent, arc.TaskEventsParams{TaskID: task.ID}, &now); err != nil {
		w.t.Errorf("the events of %s: %v", task.ID, err)
	}
	for i := range now.Events {
		count(&now.Events[i].Event)
	}
	if ends == 0 {
		for ev, err := range c.TaskEvents(ctx, task.AssignedAgent, arc.TaskEventsParams{TaskID: task.ID, After: last}) {
			var e arc.TaskEvent
			if err == nil && ev.Name == "stream" {
				err = ev.Decode(&e)
			}
			if err != nil {
				w.t.Errorf("following %s: %v", task.ID, err)
				return
			}
			count(&e.Event)
		}
	}
	if ends != 1 || said > 1 {
		w.t.Errorf("%s ended %d times, and its agent said %d messages", task.ID, ends, said)
	}
}

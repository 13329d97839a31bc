package methods_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// TestOneKeyOnThreeReplicas: equal calls under one key, however many at once and
// wherever, make one task and add one message; another call under it is refused.
func TestOneKeyOnThreeReplicas(t *testing.T) {
	for engine, share := range map[string]func(testing.TB, int) []*view{"SQLite": shareSQLite, "PostgreSQL": sharePostgres} {
		t.Run(engine, func(t *testing.T) {
			worlds := replicas(t, share(t, 3), methods.Config{Agents: demoAgents(t)})
			var mu sync.Mutex
			ids := map[string]int{}
			var calls sync.WaitGroup
			for i := range 30 {
				calls.Go(func() {
					b, err := worlds[i%3].call(alice(), "task.create", "idle", m{"initialMessage": text("x"), "idempotencyKey": "k"})
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					ids[taskOf(t, b).ID]++
				})
			}
			calls.Wait()
			if len(ids) != 1 {
				t.Fatalf("they made %v", ids)
			}
			var id string
			for id = range ids {
			}
			for i := range 30 {
				calls.Go(func() {
					_, err := worlds[i%3].call(alice(), "task.send", "", m{"taskId": id, "message": text("more"), "idempotencyKey": "m"})
					if err != nil {
						t.Error(err)
					}
				})
			}
			calls.Wait()
			if n := len(worlds[1].info(id).Messages); n != 2 {
				t.Errorf("the task has %d messages, want 2", n)
			}
			_, err := worlds[2].call(alice(), "task.create", "idle", m{"initialMessage": text("y"), "idempotencyKey": "k"})
			wantCode(t, err, arc.CodeInvalidParams)
			for _, w := range worlds { // what was done once is done, whatever came of it
				w.must(alice(), "task.create", "idle", m{"initialMessage": text("x"), "idempotencyKey": "k"})
			}
			worlds[0].must(alice(), "task.cancel", "", m{"taskId": id})
			worlds[1].must(alice(), "task.send", "", m{"taskId": id, "message": text("more"), "idempotencyKey": "m"})
			_, err = worlds[1].call(alice(), "task.send", "", m{"taskId": id, "message": text("even more"), "idempotencyKey": "n"})
			wantCode(t, err, arc.CodeTaskCanceled)
		})
	}
}

// TestKeyOutlivesItsDeadline: a call that would be refused now, but was made before,
// gives what it gave.
func TestKeyOutlivesItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, methods.Config{})
		params := m{"initialMessage": text("x"), "idempotencyKey": "k",
			"metadata": m{"deadline": time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}}
		first := taskOf(t, w.must(alice(), "task.create", "idle", params))
		time.Sleep(time.Hour)
		c := &rpc.Call{Request: arc.Request{Dialect: arc.JSONRPC, Method: "task.create", To: "idle"}, Principal: alice()}
		b, err := w.dispatch(c, params)
		if err != nil {
			t.Fatal(err)
		}
		if again := taskOf(t, b); again.ID != first.ID || !c.Replayed {
			t.Errorf("it gives %+v, replayed %v", again, c.Replayed)
		}
		delete(params, "idempotencyKey")
		_, err = w.call(alice(), "task.create", "idle", params)
		wantCode(t, err, arc.CodeDeadlineExceeded)
	})
}

// TestAnOldCopyDecidesNothing: a replica that last saw a task when it was otherwise
// answers by what it is.
func TestAnOldCopyDecidesNothing(t *testing.T) {
	for engine, share := range map[string]func(testing.TB, int) []*view{"SQLite": shareSQLite, "PostgreSQL": sharePostgres} {
		t.Run(engine, func(t *testing.T) {
			views := share(t, 2)
			for _, v := range views {
				v.deaf.Store(true)
			}
			asks := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
				if len(t.History) == 1 {
					return t.NeedInput(ctx, arc.Text(arc.RoleAgent, "and?"))
				}
				return nil
			})
			one := replica(t, views[0], methods.Config{Agents: map[string]methods.Agent{"a": {Runner: asks}, "idle": {}}})
			two := replica(t, views[1], methods.Config{Agents: map[string]methods.Agent{"a": {}, "idle": {}}})
			id := one.create("a", "x")
			one.until(id, arc.TaskInputRequired)
			two.info(id) // it knows that it waits
			one.must(alice(), "task.send", "", m{"taskId": id, "message": text("go on")})
			one.until(id, arc.TaskCompleted)
			_, err := two.call(alice(), "task.send", "", m{"taskId": id, "message": text("go on")})
			wantCode(t, err, arc.CodeTaskCompleted)
			_, err = two.call(alice(), "task.cancel", "", m{"taskId": id})
			wantCode(t, err, arc.CodeTaskCompleted)

			id = one.create("idle", "x")
			two.must(alice(), "task.cancel", "", m{"taskId": id}) // which one does not know of
			_, err = one.call(alice(), "task.cancel", "", m{"taskId": id})
			wantCode(t, err, arc.CodeTaskCanceled)
			one.must(alice(), "task.cancel", "", m{"taskId": id, "cascade": true})

			id = one.create("idle", "x")
			var sending sync.WaitGroup
			for i := range 40 {
				sending.Go(func() {
					w := []*world{one, two}[i%2]
					w.must(alice(), "task.send", "", m{"taskId": id, "message": text(fmt.Sprint(i))})
				})
			}
			sending.Wait()
			said := map[string]bool{}
			for _, message := range two.info(id).Messages {
				said[string(message.Parts[0].Content)] = true
			}
			if len(said) != 41 {
				t.Errorf("of 41 messages %d are there", len(said))
			}
		})
	}
}

// TestRoundTrips: how often the store is asked for a task from its creation to its end.
func TestRoundTrips(t *testing.T) {
	for engine, share := range map[string]func(testing.TB, int) []*view{"SQLite": shareSQLite, "PostgreSQL": sharePostgres} {
		t.Run(engine, func(t *testing.T) {
			view := share(t, 1)[0]
			w := replica(t, view, methods.Config{Agents: demoAgents(t)})
			one := func(key string) {
				params := m{"initialMessage": text("x")}
				if key != "" {
					params["idempotencyKey"] = key
				}
				id := taskOf(t, w.must(alice(), "task.create", "echo", params)).ID
				ended := make(chan struct{})
				stop := view.Watch(func(h store.Hint) {
					if h.Thread == id && h.Seq >= 6 {
						close(ended)
					}
				})
				if stored, err := view.Store.Thread(t.Context(), id); err != nil {
					t.Fatal(err)
				} else if stored.Ended.IsZero() {
					<-ended
				}
				stop()
			}
			for range 3 {
				one("") // the first goes through the queue
			}
			w.stop() // no look at a queue is under way
			w = replica(t, view, methods.Config{Agents: demoAgents(t)})
			one("")
			one("")
			commits, reads := view.commits.Load(), view.reads.Load()
			const n = 20
			for i := range n {
				key := ""
				if i%2 == 0 {
					key = fmt.Sprint(i)
				}
				one(key)
			}
			commits, reads = view.commits.Load()-commits, view.reads.Load()-reads
			t.Logf("%.2f commits and %.2f reads for each task", float64(commits)/n, float64(reads)/n)
			if commits > 2*n+n/2 || reads > n { // now and then one goes through the queue
				t.Errorf("%d tasks took %d commits and %d reads", n, commits, reads)
			}
		})
	}
}

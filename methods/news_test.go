package methods_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// ended is how the context of a runner ended.
type ended struct {
	unwanted bool
	why      string
	err      error
}

// watched is an agent elsewhere that works until its context ends, and tells how that
// came.
func watched(over chan<- ended) methods.Agent {
	return methods.Agent{Elsewhere: true, Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		if err := t.Bind(ctx, methods.Binding{ID: "theirs-" + t.Task.ID, Told: len(t.History)}); err != nil {
			return err
		}
		<-ctx.Done()
		over <- ended{unwanted: methods.Unwanted(ctx), why: methods.WhyUnwanted(ctx), err: context.Cause(ctx)}
		return ctx.Err()
	})}
}

// TestWorkHearsOfOtherReplicas: what another replica does to a task ends the work on
// it here at once, for the same cause as if it had been done here; within a second if
// the hint gets lost.
func TestWorkHearsOfOtherReplicas(t *testing.T) {
	for label, c := range map[string]struct {
		do       func(w *world, id string) error
		unwanted bool
		why      string
	}{
		"canceled by its caller": {do: func(w *world, id string) error {
			_, err := w.call(alice(), "task.cancel", "", m{"taskId": id, "reason": "changed my mind"})
			return err
		}, unwanted: true, why: "changed my mind"},
		"failed by its agent": {do: func(w *world, id string) error {
			return w.notify("far", id, arc.TaskFailedEvent, m{"status": "FAILED", "reason": "no paper"})
		}, why: "the lease was lost"},
		"canceled by its agent": {do: func(w *world, id string) error {
			return w.notify("far", "theirs-"+id, arc.TaskCanceledEvent, m{"status": "CANCELED", "reason": "no paper"})
		}, why: "the lease was lost"},
		"paused by its agent": {do: func(w *world, id string) error {
			return w.notify("far", id, arc.TaskPausedEvent, m{"status": "INPUT_REQUIRED", "requiredInput": "which?"})
		}, why: "the lease was lost"},
	} {
		for how, deaf := range map[string]bool{"with hints": false, "without": true} {
			t.Run(label+", "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					over := make(chan ended, 1)
					views := shareSQLite(t, 2)
					cfg := methods.Config{Agents: map[string]methods.Agent{"far": watched(over)}}
					one, two := replica(t, views[0], cfg), replica(t, views[1], cfg)
					views[0].deaf.Store(deaf)
					id := one.create("far", "hello")
					one.until(id, arc.TaskWorking)
					begun := time.Now()
					if err := c.do(two, id); err != nil {
						t.Fatal(err)
					}
					got := <-over
					took, most := time.Since(begun), 10*time.Millisecond
					if deaf {
						most = 1100 * time.Millisecond
					}
					if took > most {
						t.Errorf("it took %v", took)
					}
					if got.unwanted != c.unwanted || got.why != c.why {
						t.Errorf("it ended as %+v, want unwanted %v, %q", got, c.unwanted, c.why)
					}
				})
			})
		}
	}
}

// TestCancelCrossesPostgreSQL: so it does where the hints are NOTIFY's.
func TestCancelCrossesPostgreSQL(t *testing.T) {
	over := make(chan ended, 1)
	worlds := replicas(t, sharePostgres(t, 2), methods.Config{Agents: map[string]methods.Agent{"far": watched(over)}})
	var took []time.Duration
	for range 25 {
		id := worlds[0].create("far", "hello")
		worlds[0].until(id, arc.TaskWorking)
		begun := time.Now()
		worlds[1].must(alice(), "task.cancel", "", m{"taskId": id, "reason": "enough"})
		if got := <-over; got.why != "enough" {
			t.Errorf("it ended as %+v", got)
		}
		took = append(took, time.Since(begun))
	}
	slices.Sort(took)
	t.Logf("from the call to the end of the runner: p50 %v, longest %v", took[len(took)/2], took[len(took)-1])
	if took[len(took)/2] > 500*time.Millisecond {
		t.Errorf("the hints do not arrive")
	}
}

// TestRunnerHearsMessagesOfOtherReplicas: so does one that waits for its caller, or for
// word of its agent.
func TestRunnerHearsMessagesOfOtherReplicas(t *testing.T) {
	for how, deaf := range map[string]bool{"with hints": false, "without": true} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				heard := make(chan string, 4)
				cfg := methods.Config{Agents: map[string]methods.Agent{"far": {Elsewhere: true, Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
					t.Reached()
					if err := t.Bind(ctx, methods.Binding{ID: "theirs"}); err != nil {
						return err
					}
					for {
						m, err := t.Receive(ctx)
						if errors.Is(err, methods.ErrNudged) {
							heard <- "nudged"
							return nil
						}
						if err != nil {
							return err
						}
						heard <- string(m.Parts[0].Content)
					}
				})}}}
				views := shareSQLite(t, 2)
				one, two := replica(t, views[0], cfg), replica(t, views[1], cfg)
				views[0].deaf.Store(deaf)
				id := one.create("far", "hello")
				one.until(id, arc.TaskWorking)
				for _, want := range []string{`"one"`, `"two"`, "nudged"} {
					begun := time.Now()
					if want == "nudged" {
						if err := two.notify("far", "theirs", arc.TaskCompletedEvent, m{"status": "COMPLETED"}); err != nil {
							t.Fatal(err)
						}
					} else {
						two.must(alice(), "task.send", "", m{"taskId": id, "message": text(want[1 : len(want)-1])})
					}
					if got := <-heard; got != want {
						t.Errorf("heard %s, want %s", got, want)
					}
					most := 10 * time.Millisecond
					switch {
					case deaf && want == "nudged": // that makes no event: it is found when the lease is renewed
						most = 5 * time.Second
					case deaf:
						most = 1100 * time.Millisecond
					}
					if took := time.Since(begun); took > most {
						t.Errorf("%s took %v", want, took)
					}
				}
				two.until(id, arc.TaskCompleted)
			})
		})
	}
}

// TestStreamOfAnotherReplica: a stream gets the events that another replica writes,
// all and in order, with hints and without.
func TestStreamOfAnotherReplica(t *testing.T) {
	for engine, share := range map[string]func(testing.TB, int) []*view{"SQLite": shareSQLite, "PostgreSQL": sharePostgres} {
		for how, deaf := range map[string]bool{"with hints": false, "without": true} {
			t.Run(engine+" "+how, func(t *testing.T) {
				const steps = 20
				step := make(chan struct{}, 100) // one for each event that was read
				cfg := methods.Config{Agents: map[string]methods.Agent{"slow": {Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
					for i := range steps {
						<-step
						if err := t.Progress(ctx, i, "on the way"); err != nil {
							return err
						}
					}
					return nil
				})}}}
				worlds := replicas(t, share(t, 3), cfg)
				for _, w := range worlds[1:] {
					w.db.(*view).deaf.Store(deaf)
				}
				id := worlds[0].create("slow", "hello")
				var last atomic.Int64
				for i, w := range []*world{worlds[1], worlds[2]} {
					w.events(id, last.Load(), func(ev arc.TaskEvent) bool {
						if n := last.Add(1); ev.Seq != n {
							t.Fatalf("event %d where %d was due", ev.Seq, n)
						}
						step <- struct{}{}
						if i == 0 && ev.Seq > steps/2 {
							return true // it goes on at the next replica
						}
						var data arc.EventData
						_ = json.Unmarshal(ev.Data, &data)
						return data.Status == string(arc.TaskCompleted)
					})
				}
				if task := worlds[2].info(id); task.Status != arc.TaskCompleted {
					t.Errorf("in the end it is %s", task.Status)
				}
			})
		}
	}
}

// TestReaderElsewhereOutlivesAnOutage: a turn that is read at another replica goes on
// while the database is away, and no hint of its reader arrives. When the reader leaves
// it ends all the same.
func TestReaderElsewhereOutlivesAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBlocker()
		views := shareSQLite(t, 2)
		here := replica(t, views[0], methods.Config{Remote: outside{"b": {
			Runner: b, Room: func() int { return -1 }, Connected: func() bool { return true },
		}}})
		replica(t, views[1], methods.Config{Remote: outside{"b": {
			Runner: b, Room: func() int { return 5 }, AtHand: func() bool { return true },
		}}})
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan error)
		go func() {
			params := m{"chatId": "c", "stream": true, "initialMessage": text("x")}
			left <- here.streaming(ctx, call("chat.start", "b"), params, func(piece) bool { return true })
		}()
		<-b.started
		time.Sleep(5 * time.Second)
		for _, out := range []time.Duration{2 * time.Second, 12 * time.Second} {
			for _, v := range views {
				v.away.Store(true)
				v.deaf.Store(true)
			}
			time.Sleep(out)
			for _, v := range views {
				v.away.Store(false)
			}
			time.Sleep(1500 * time.Millisecond) // until hints arrive again
			for _, v := range views {
				v.deaf.Store(false)
			}
			time.Sleep(8 * time.Second)
			if len(b.cause) != 0 {
				t.Fatalf("%v without the database: the turn was ended: %v", out, <-b.cause)
			}
		}
		leave()
		<-left
		gone := time.Now()
		<-b.cause
		if took := time.Since(gone); took > 10*time.Second {
			t.Errorf("the turn went on for %v without its reader", took)
		}
	})
}

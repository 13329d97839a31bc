package methods_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/store"
)

// ran counts which replica ran what.
type ran struct {
	mu   sync.Mutex
	at   map[string][]int // task: replicas
	when map[string]time.Time
}

func newRan() *ran { return &ran{at: map[string][]int{}, when: map[string]time.Time{}} }

func (r *ran) by(replica int, task string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.at[task] = append(r.at[task], replica)
	r.when[task] = time.Now()
}

// tasks is how many the replicas have to share.
const tasks = 150

// TestEachTaskIsClaimedOnce: three replicas that see the same queues run each task once,
// and seldom try for what another one takes.
func TestEachTaskIsClaimedOnce(t *testing.T) {
	t.Run("SQLite", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			claimTogether(t, shareSQLite(t, 3), tasks/10, func() { time.Sleep(5 * time.Second) })
		})
	})
	t.Run("PostgreSQL", func(t *testing.T) { claimTogether(t, sharePostgres(t, 3), tasks, func() {}) }) // they get to know each other meanwhile
}

func claimTogether(t *testing.T, views []*view, most int64, settle func()) {
	did := newRan()
	var done sync.WaitGroup
	var worlds []*world
	for i, v := range views {
		worlds = append(worlds, replica(t, v, methods.Config{Agents: map[string]methods.Agent{"a": {
			Concurrency: 4, Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
				did.by(i, t.Task.ID)
				done.Done()
				return t.Write(ctx, "done")
			}),
		}}}))
	}
	settle()
	done.Add(tasks)
	var ids [tasks]string
	var creating sync.WaitGroup
	for i := range tasks {
		creating.Go(func() { ids[i] = worlds[i%3].create("a", "x") })
	}
	creating.Wait()
	done.Wait()
	for i, id := range ids {
		worlds[(i+1)%3].until(id, arc.TaskCompleted)
		if n := len(did.at[id]); n != 1 {
			t.Errorf("task %s was run %d times, at %v", id, n, did.at[id])
		}
	}
	commits, conflicts := int64(0), int64(0)
	for _, v := range views {
		commits += v.commits.Load()
		conflicts += v.conflicts.Load()
	}
	t.Logf("%.2f commits each, of these %.2f lost", float64(commits)/tasks, float64(conflicts)/tasks)
	if conflicts > most {
		t.Errorf("%d of %d commits lost a race", conflicts, commits)
	}
}

// TestOthersHelp: a replica leaves to another what that one made, unless it has no room
// for it; then the others help at once, or nearly.
func TestOthersHelp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views, did := shareSQLite(t, 3), newRan()
		letGo := make(chan struct{})
		var worlds []*world
		for i, v := range views {
			worlds = append(worlds, replica(t, v, methods.Config{Agents: map[string]methods.Agent{"a": {
				Concurrency: 2, Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
					did.by(i, t.Task.ID)
					<-letGo
					return nil
				}),
			}}}))
		}
		time.Sleep(5 * time.Second) // they know of each other
		begun := time.Now()
		for range 6 {
			worlds[0].create("a", "x")
		}
		time.Sleep(400 * time.Millisecond)
		synctest.Wait()
		at := map[int]int{}
		did.mu.Lock()
		for id, who := range did.at {
			at[who[0]]++
			if took := did.when[id].Sub(begun); who[0] == 0 && took > 10*time.Millisecond || took > 310*time.Millisecond || who[0] != 0 && took < 250*time.Millisecond {
				t.Errorf("replica %d began after %v", who[0], took)
			}
		}
		did.mu.Unlock()
		if at[0] != 2 || at[1]+at[2] != 4 {
			t.Errorf("they ran %v", at)
		}
		close(letGo)
	})
}

// TestAConnectedAgentIsServedAtOnce: nobody waits for the replica that made a task
// ready where only another one has the agent's connection.
func TestAConnectedAgentIsServedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views := shareSQLite(t, 2)
		started := make(chan time.Time, 1)
		runner := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
			started <- time.Now()
			return nil
		})
		one := replica(t, views[0], methods.Config{Remote: outside{"far": {
			Runner: runner, Room: func() int { return -1 }, Connected: func() bool { return true },
		}}})
		replica(t, views[1], methods.Config{Remote: outside{"far": {
			Runner: runner, Room: func() int { return 5 }, AtHand: func() bool { return true },
		}}})
		time.Sleep(5 * time.Second)
		begun := time.Now()
		one.create("far", "x")
		if took := (<-started).Sub(begun); took > 10*time.Millisecond {
			t.Errorf("it began after %v", took)
		}
	})
}

// TestABusyTaskIsHelped: one that is changed again and again is no younger for that.
func TestABusyTaskIsHelped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views := shareSQLite(t, 2)
		started := make(chan time.Time, 1)
		one := replica(t, views[0], methods.Config{Agents: map[string]methods.Agent{"a": {Concurrency: 1, Runner: methods.RunnerFunc(
			func(ctx context.Context, t *methods.Turn) error {
				<-ctx.Done()
				return ctx.Err()
			})}}})
		replica(t, views[1], methods.Config{Agents: map[string]methods.Agent{"a": {Runner: methods.RunnerFunc(
			func(ctx context.Context, t *methods.Turn) error {
				started <- time.Now()
				return nil
			})}}})
		time.Sleep(5 * time.Second)
		one.create("a", "takes the place")
		id, begun := one.create("a", "waits"), time.Now()
		go func() {
			for range 20 {
				time.Sleep(50 * time.Millisecond)
				_, _ = one.call(alice(), "task.send", "", m{"taskId": id, "message": text("now?")})
			}
		}()
		if took := (<-started).Sub(begun); took > 700*time.Millisecond {
			t.Errorf("it began after %v", took)
		}
		time.Sleep(2 * time.Second)
	})
}

// TestAloneNobodyWaits: where there is one replica a task begins at once, whoever made
// it ready, and however full the agent was.
func TestAloneNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view := shareSQLite(t, 1)[0]
		var waited atomic.Int64
		w := replica(t, view, methods.Config{Agents: map[string]methods.Agent{"a": {Concurrency: 1, Runner: methods.RunnerFunc(
			func(ctx context.Context, turn *methods.Turn) error {
				waited.Store(max(waited.Load(), int64(time.Since(turn.Task.CreatedAt.Time))))
				return nil
			})}}})
		for range 50 {
			w.create("a", "x")
		}
		time.Sleep(time.Second)
		if d := time.Duration(waited.Load()); d > 20*time.Millisecond {
			t.Errorf("one waited for %v", d)
		}
	})
}

// TestOneReplicaGivesUp: when three find at once that an agent is away for too long, or
// a lease has run out, it is one of them that says so.
func TestOneReplicaGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views := shareSQLite(t, 3)
		away := func() int { return -1 }
		cfg := methods.Config{Patience: time.Minute, Remote: outside{
			"away":  {Room: away, Runner: patient("x")},
			"there": {Room: away, Runner: patient("x"), Connected: func() bool { return true }},
		}}
		worlds := replicas(t, views, cfg)
		gone, there := worlds[0].create("away", "x"), worlds[0].create("there", "x")
		now := time.Now()
		left := store.Thread{
			ID: "task-left", Kind: store.Task, Owner: alice().Owner(), Agent: "there", Status: string(arc.TaskWorking),
			Priority: arc.PriorityNormal, Created: now, Updated: now, Due: now.Add(20 * time.Second),
			Body: fmt.Appendf(nil, `{"messages":1,"inputs":1,"attempt":1,"lease":"gone.1","leaseEnd":%d}`, now.Add(20*time.Second).UnixMilli()),
		}
		if _, err := views[0].Store.Commit(t.Context(), store.Change{Thread: left}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(90 * time.Second)
		if task := worlds[1].info(there); task.Status != arc.TaskSubmitted {
			t.Errorf("that of an agent of another replica is %s", task.Status)
		}
		if task := worlds[1].info(gone); task.Status != arc.TaskFailed || task.Error.Code != arc.CodeAgentUnreachable {
			t.Errorf("that of an agent that is away is %+v", task)
		}
		for id, want := range map[string]int64{gone: 4, "task-left": 1} {
			stored, err := views[0].Store.Thread(t.Context(), id)
			if err != nil || stored.Seq != want {
				t.Errorf("%s has %d events, want %d (%v)", id, stored.Seq, want, err)
			}
		}
	})
}

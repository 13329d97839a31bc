package methods_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/pgtest"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store/postgres"
)

// TestCallsWhileTheStoreIsAway: every method says that it will pass.
func TestCallsWhileTheStoreIsAway(t *testing.T) {
	view := shareSQLite(t, 1)[0]
	w := replica(t, view, methods.Config{Agents: demoAgents(t)})
	id := w.create("idle", "x")
	view.away.Store(true)
	defer view.away.Store(false)
	for method, params := range map[string]m{
		"task.create": {"initialMessage": text("x")}, "task.info": {"taskId": id},
		"task.send": {"taskId": id, "message": text("x"), "idempotencyKey": "k"}, "task.cancel": {"taskId": id},
		"task.events": {"taskId": id}, "chat.start": {"initialMessage": text("x")}, "chat.message": {"chatId": "c", "message": text("x")},
	} {
		to := ""
		if method == "task.create" || method == "chat.start" {
			to = "echo"
		}
		_, err := w.call(alice(), method, to, params)
		e := wantCode(t, err, arc.CodeAgentUnavailable)
		if e.Reason() != "store_unavailable" || e.Details["retryable"] != true || e.RetryAfter <= 0 || !errors.Is(err, methods.ErrOutage) {
			t.Errorf("%s: %+v", method, e)
		}
	}
}

// TestWorkOutlivesAnOutage: what an agent makes while the store is away is stored when
// it is back: once, whether the first try was made or not.
func TestWorkOutlivesAnOutage(t *testing.T) {
	for how, cut := range map[string]func(*view, bool){
		"nothing is stored":      func(v *view, off bool) { v.away.Store(off) },
		"the word of it is lost": func(v *view, off bool) { v.lost.Store(off) },
	} {
		for _, kind := range []string{"task", "chat"} {
			t.Run(kind+": "+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					begun, goOn := make(chan struct{}), make(chan struct{})
					runner := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
						if err := t.Write(ctx, "one "); err != nil {
							return err
						}
						if t.Task != nil {
							if err := t.Artifact(ctx, arc.Artifact{Name: "made", Parts: []arc.Part{arc.TextPart("x")}}); err != nil {
								return err
							}
							if err := t.Progress(ctx, 50, "half"); err != nil {
								return err
							}
						}
						close(begun)
						<-goOn
						return t.Write(ctx, "two")
					})
					view := shareSQLite(t, 1)[0]
					w := replica(t, view, methods.Config{Agents: map[string]methods.Agent{"a": {Runner: runner, KeepTurns: true}}})
					var id string
					var answer []byte
					var chatting sync.WaitGroup
					if kind == "task" {
						id = w.create("a", "x")
					} else {
						chatting.Go(func() { answer = w.must(alice(), "chat.start", "a", m{"initialMessage": text("x")}) })
					}
					<-begun
					cut(view, true)
					time.Sleep(time.Second)
					close(goOn)
					time.Sleep(40 * time.Second)
					cut(view, false)
					if kind == "chat" {
						chatting.Wait()
						if chat := chatOf(t, answer); string(chat.Message.Parts[0].Content) != `"one two"` {
							t.Errorf("the answer is %s", answer)
						}
						return
					}
					task := w.until(id, arc.TaskCompleted)
					if len(task.Messages) != 2 || string(task.Messages[1].Parts[0].Content) != `"one two"` || len(task.Artifacts) != 1 || task.Attempt != 1 {
						t.Errorf("in the end it is %+v", task)
					}
					half := 0
					w.events(id, 0, func(ev arc.TaskEvent) bool {
						if ev.Type == arc.ProgressEvent {
							half++
						}
						return ev.Type == arc.TaskCompletedEvent
					})
					if half != 1 {
						t.Errorf("its progress is told %d times", half)
					}
				})
			})
		}
	}
}

// TestATurnWaitsForWhatItReads: a turn that begins, or waits for its caller, while the
// store cannot be read goes on when it can.
func TestATurnWaitsForWhatItReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view := shareSQLite(t, 1)[0]
		blind := func() {
			view.blind.Store(true)
			time.AfterFunc(5*time.Second, func() { view.blind.Store(false) })
		}
		begun := make(chan struct{})
		w := replica(t, view, methods.Config{Agents: map[string]methods.Agent{"a": {KeepTurns: true, Runner: methods.RunnerFunc(
			func(ctx context.Context, t *methods.Turn) error {
				switch {
				case t.Chat != nil:
					blind()
					return t.Write(ctx, "yes")
				case t.Attempt == 1:
					blind()
					return methods.Retry(errors.New("not yet"), 0)
				}
				close(begun)
				m, err := t.Receive(ctx)
				if err != nil {
					return err
				}
				return t.WritePart(ctx, m.Parts[0])
			})}}})
		id := w.create("a", "x")
		<-begun
		blind()
		w.must(alice(), "task.send", "", m{"taskId": id, "message": text("go on")})
		time.Sleep(6 * time.Second)
		task := w.until(id, arc.TaskCompleted)
		if task.Attempt != 2 || string(task.Messages[2].Parts[0].Content) != `"go on"` {
			t.Errorf("in the end it is %+v", task)
		}

		chat := chatOf(t, w.must(alice(), "chat.start", "a", m{"initialMessage": text("x")}))
		chat = chatOf(t, w.must(alice(), "chat.message", "", m{"chatId": chat.ID, "message": text("again")}))
		if string(chat.Message.Parts[0].Content) != `"yes"` {
			t.Errorf("the chat ends as %+v", chat)
		}
	})
}

// TestReceiveEndsInAnOutage: who does not want to wait any longer for its caller is told
// so, although the store cannot be read.
func TestReceiveEndsInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		view := shareSQLite(t, 1)[0]
		told := make(chan error, 1)
		w := replica(t, view, methods.Config{Agents: map[string]methods.Agent{"a": {Runner: methods.RunnerFunc(
			func(ctx context.Context, t *methods.Turn) error {
				ctx, cancel := context.WithTimeout(ctx, 4500*time.Millisecond)
				defer cancel()
				view.away.Store(true)
				_, err := t.Receive(ctx)
				view.away.Store(false)
				told <- err
				return nil
			})}}})
		id := w.create("a", "x")
		if err := <-told; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Receive: %v, want that its time is over", err)
		}
		w.until(id, arc.TaskCompleted)
	})
}

// TestALostLeaseIsFenced: what a replica cannot renew because it alone is cut off,
// another one takes over; the first then stores nothing more.
func TestALostLeaseIsFenced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views := shareSQLite(t, 2)
		goOn := make(chan struct{})
		over := make(chan error, 1)
		one := replica(t, views[0], methods.Config{Agents: map[string]methods.Agent{"a": {Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
			<-goOn
			err := t.Write(ctx, "the first")
			<-ctx.Done()
			over <- context.Cause(ctx)
			return err
		})}}})
		two := replica(t, views[1], methods.Config{Agents: map[string]methods.Agent{"a": {Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
			return t.Write(ctx, "the second")
		})}}})
		id := one.create("a", "x")
		two.until(id, arc.TaskWorking)
		views[0].away.Store(true)
		time.Sleep(time.Second)
		close(goOn)
		task := two.until(id, arc.TaskCompleted)
		views[0].away.Store(false)
		if err := <-over; err == nil || methods.Unwanted(t.Context()) {
			t.Errorf("the first ended with %v", err)
		}
		time.Sleep(time.Minute)
		if after := two.info(id); len(after.Messages) != 2 || task.Attempt != 2 || string(after.Messages[1].Parts[0].Content) != `"the second"` {
			t.Errorf("in the end it is %+v", after)
		}
	})
}

// TestNoLeaseIsLostInAnOutage: after an outage those at work renew their leases before
// anybody else may take what they have.
func TestNoLeaseIsLostInAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views := shareSQLite(t, 2)
		cfg := methods.Config{Agents: map[string]methods.Agent{"a": {Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
			timer := time.NewTimer(2 * time.Minute)
			defer timer.Stop()
			select {
			case <-timer.C:
				return t.Write(ctx, "done")
			case <-ctx.Done():
				return ctx.Err()
			}
		})}}}
		worlds := replicas(t, views, cfg)
		id := worlds[0].create("a", "x")
		worlds[1].until(id, arc.TaskWorking)
		for _, v := range views {
			v.away.Store(true)
		}
		time.Sleep(time.Minute)
		for _, v := range views {
			v.away.Store(false)
		}
		if task := worlds[1].until(id, arc.TaskCompleted); task.Attempt != 1 {
			t.Errorf("it took %d attempts", task.Attempt)
		}
	})
}

// TestPostgreSQLRestarts: while the database crashes and comes back, what was
// acknowledged is done, once, and what runs goes on.
func TestPostgreSQLRestarts(t *testing.T) {
	server, err := pgtest.New(pgtest.Config{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Remove)
	var views []*view
	for range 2 {
		db, err := postgres.Open(t.Context(), postgres.Config{URL: server.URL("postgres")})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = db.Close() })
		views = append(views, &view{Store: db})
	}
	const steps = 100
	cfg := methods.Config{Lease: 3 * time.Second, Agents: map[string]methods.Agent{"a": {Concurrency: 50, Runner: methods.RunnerFunc(
		func(ctx context.Context, t *methods.Turn) error {
			ticker := time.NewTicker(20 * time.Millisecond)
			defer ticker.Stop()
			for i := range steps {
				if err := t.Progress(ctx, i, "on"); err != nil {
					return err
				}
				<-ticker.C
			}
			return t.Artifact(ctx, arc.Artifact{Name: "made", Parts: []arc.Part{arc.TextPart("x")}})
		})}}}
	worlds := replicas(t, views, cfg)
	var ids []string
	create := func(n int) {
		for i := range n {
			b, err := worlds[i%2].call(alice(), "task.create", "a", m{"initialMessage": text("x")})
			if err != nil {
				t.Logf("not acknowledged: %v", err)
				continue
			}
			ids = append(ids, taskOf(t, b).ID)
		}
	}
	create(20)
	server.Kill()
	restarted := make(chan error, 1)
	go func() { restarted <- server.Start() }()
	create(20)
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	create(2)
	again := 0
	for i, id := range ids {
		task := worlds[(i+1)%2].until(id, arc.TaskCompleted)
		again += task.Attempt - 1
		if len(task.Artifacts) != 1 {
			t.Errorf("%s has %d artifacts", id, len(task.Artifacts))
		}
		next, done := int64(1), 0
		worlds[i%2].events(id, 0, func(ev arc.TaskEvent) bool {
			if ev.Seq != next {
				t.Errorf("%s: event %d where %d was due", id, ev.Seq, next)
			}
			if next++; ev.Type == arc.TaskCompletedEvent {
				done++
			}
			return ev.Seq == 0
		})
		if done != 1 {
			t.Errorf("%s is completed %d times", id, done)
		}
	}
	if again > 0 {
		t.Errorf("%d attempts were lost", again)
	}
}

// TestStreamSitsOutAnOutage: it goes on when the store is back, without a gap.
func TestStreamSitsOutAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		views := shareSQLite(t, 2)
		one, two := replica(t, views[0], methods.Config{Agents: demoAgents(t)}), replica(t, views[1], methods.Config{Agents: demoAgents(t)})
		id := one.create("idle", "x")
		result, err := two.s.Mux().Dispatch(t.Context(), &rpc.Call{
			Request:   arc.Request{Dialect: arc.JSONRPC, Method: "task.events", Params: []byte(`{"taskId":"` + id + `"}`)},
			Principal: alice(), Streaming: true, Tick: 15 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		var last int64
		go func() {
			views[1].away.Store(true)
			time.Sleep(time.Minute)
			one.must(alice(), "task.cancel", "", m{"taskId": id})
			time.Sleep(time.Minute)
			views[1].away.Store(false)
		}()
		for ev, err := range result.(rpc.Stream) {
			switch {
			case err != nil:
				t.Fatal(err)
			case ev.Name == "stream":
				if last++; ev.Seq != last {
					t.Errorf("event %d, want %d", ev.Seq, last)
				}
			}
		}
		if last != 4 {
			t.Errorf("%d events, want 4", last)
		}
	})
}

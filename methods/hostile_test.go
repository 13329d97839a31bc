package methods_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// deaf is a runner that does not look at its context: it returns when it is
// let go, and then says what became of a late word.
type deaf struct {
	started chan struct{}
	letGo   chan struct{}
	late    chan error
}

func newDeaf() *deaf {
	return &deaf{started: make(chan struct{}, 1), letGo: make(chan struct{}), late: make(chan error, 1)}
}

func (d *deaf) Run(_ context.Context, t *methods.Turn) error {
	d.started <- struct{}{}
	<-d.letGo
	d.late <- t.Write(context.Background(), "too late")
	return nil
}

func TestDrainDoesNotWaitForADeafRunner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		task, chat := newDeaf(), newDeaf()
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"task": {Runner: task}, "chat": {Runner: chat}}})
		id := w.create("task", "x")
		<-task.started
		refused := make(chan error, 1)
		go func() {
			_, err := w.call(alice(), "chat.start", "chat", m{"chatId": "c", "initialMessage": text("x")})
			refused <- err
		}()
		<-chat.started
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begun := time.Now()
		w.s.Drain(ctx)
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the drain took %v", took)
		}
		if th, err := w.db.Thread(context.Background(), id); err != nil || !th.Ready {
			t.Errorf("after the drain: %+v %v, want it ready again", th, err)
		}
		if e := wantCode(t, <-refused, arc.CodeAgentTimeout); e.Reason() != "interrupted" {
			t.Errorf("reason = %q", e.Reason())
		}
		for _, d := range []*deaf{task, chat} {
			close(d.letGo)
			if err := <-d.late; err == nil {
				t.Error("a word after the end was taken")
			}
		}
	})
}

func TestADeafTurnEndsWithItsChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeaf()
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"deaf": {Runner: d, Turns: 1}}})
		ended := make(chan error, 1)
		go func() {
			ended <- w.streaming(t.Context(), call("chat.start", "deaf"), m{"chatId": "c", "stream": true, "initialMessage": text("x")}, func(piece) bool { return true })
		}()
		<-d.started
		w.must(alice(), "chat.end", "", m{"chatId": "c"})
		select {
		case err := <-ended:
			wantCode(t, err, arc.CodeChatClosed)
		case <-time.After(time.Minute):
			t.Error("the stream of a closed chat goes on")
		}
		// The runner still works, so it still takes its place.
		_, err := w.call(alice(), "chat.start", "deaf", m{"initialMessage": text("x")})
		wantCode(t, err, arc.CodeAgentCapacity)
		close(d.letGo)
	})
}

// counting counts looks at the queue, and can be a full disk.
type counting struct {
	store.Store
	looks, dues atomic.Int64
	full        atomic.Bool
	atLook      atomic.Pointer[func()]
}

func (c *counting) Ready(ctx context.Context, q store.ReadyQuery) ([]store.Thread, error) {
	c.looks.Add(1)
	if f := c.atLook.Swap(nil); f != nil {
		(*f)()
	}
	return c.Store.Ready(ctx, q)
}

func (c *counting) Due(ctx context.Context, now time.Time, n int) ([]store.Thread, error) {
	c.dues.Add(1)
	return c.Store.Due(ctx, now, n)
}

func (c *counting) Commit(ctx context.Context, ch store.Change) (store.Thread, error) {
	if c.full.Load() {
		return store.Thread{}, syscall.ENOSPC
	}
	return c.Store.Commit(ctx, ch)
}

// startCounting runs a service on a store that counts.
func startCounting(t *testing.T, agents map[string]methods.Agent) (*world, *counting) {
	t.Helper()
	db, err := sqlite.Open(context.Background(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
	if err != nil {
		t.Fatal(err)
	}
	c := &counting{Store: db}
	s, err := methods.New(methods.Config{Store: c, Agents: agents})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = s.Run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return &world{t: t, db: c, s: s}, c
}

func TestAFullDiskIsNotHammered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		echo, _ := methods.Demo("echo")
		w, c := startCounting(t, map[string]methods.Agent{"echo": echo, "idle": {}})
		soon := time.Now().Add(2 * time.Second).UTC().Format(time.RFC3339Nano)
		for range 250 {
			w.must(alice(), "task.create", "idle", m{"initialMessage": text("x"), "metadata": m{"deadline": soon}})
		}
		c.full.Store(true)
		// A task whose row is there, but which cannot be claimed.
		id := "task-by-hand"
		if _, err := c.Store.Commit(t.Context(), store.Change{Thread: store.Thread{
			ID: id, Kind: store.Task, Owner: alice().Owner(), Agent: "echo", Status: string(arc.TaskSubmitted),
			Priority: arc.PriorityNormal, Created: time.Now(), Updated: time.Now(), Ready: true, Body: []byte(`{"messages":1,"inputs":1}`),
		}}); err != nil {
			t.Fatal(err)
		}
		ended, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for ended.Err() == nil && c.looks.Load() < 500 && c.dues.Load() < 500 {
			select { // until the time is over, or it is clear
			case <-ended.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		if looks, dues := c.looks.Load(), c.dues.Load(); looks > 50 || dues > 50 {
			t.Errorf("in ten seconds: %d looks at the queue, %d at what is due", looks, dues)
		}
		c.full.Store(false)
		w.until(id, arc.TaskCompleted)
	})
}

func TestDrainLeavesTheQueueAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeaf()
		w, c := startCounting(t, map[string]methods.Agent{
			"deaf": {Runner: d}, "other": {Concurrency: 2, Runner: methods.RunnerFunc(func(context.Context, *methods.Turn) error { return nil })},
		})
		create := func(agent string) { w.must(alice(), "task.create", agent, m{"initialMessage": text("x")}) }
		create("deaf")
		<-d.started
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		before := c.looks.Load()
		drained := make(chan struct{})
		begin := func() { // the drain begins while the queue is looked at
			go func() {
				defer close(drained)
				w.s.Drain(ctx)
			}()
			<-time.After(time.Second)
		}
		c.atLook.Store(&begin)
		for range 20 {
			create("other")
		}
		for ctx.Err() == nil && c.looks.Load()-before < 500 {
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
		if n := c.looks.Load() - before; n > 50 {
			t.Errorf("%d looks at the queue while draining", n)
		}
		close(d.letGo)
		cancel()
		<-drained
	})
}

func TestArtifactsBehindAQuestionAreKept(t *testing.T) {
	asks := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		a := arc.Artifact{Name: fmt.Sprint("after ", len(t.History)), Parts: []arc.Part{arc.TextPart("x")}}
		if err := t.Artifact(ctx, a); err != nil {
			return err
		}
		if len(t.History) == 1 {
			return t.NeedInput(ctx, arc.Text(arc.RoleAgent, "and then?"))
		}
		return nil
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"asks": {Runner: asks}}})
	id := w.create("asks", "x")
	w.until(id, arc.TaskInputRequired)
	w.must(alice(), "task.send", "", m{"taskId": id, "message": text("go on")})
	task := w.until(id, arc.TaskCompleted)
	var names []string
	for _, a := range task.Artifacts {
		names = append(names, a.ID+" "+a.Name)
	}
	if fmt.Sprint(names) != "[artifact-1 after 1 artifact-2 after 3]" {
		t.Errorf("artifacts = %v", names)
	}
}

func TestAClosedChatsStreamResumesToItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, methods.Config{})
		var last int64
		stream := func(c *rpc.Call, params m) (pieces []string) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := w.streaming(ctx, c, params, func(p piece) bool {
				pieces, last = append(pieces, p.name), p.seq
				return true
			})
			if err != nil || ctx.Err() != nil {
				t.Errorf("%s: %v, %v", c.Method, err, ctx.Err())
			}
			return pieces
		}
		stream(call("chat.start", "echo"), m{"chatId": "c", "stream": true, "initialMessage": text("x")})
		w.must(alice(), "chat.end", "", m{"chatId": "c"})
		c := call("chat.message", "")
		c.Resume, c.LastSeq = true, last
		if got := fmt.Sprint(stream(c, m{"chatId": "c", "stream": true, "message": text("x")})); got != "[done]" {
			t.Errorf("resumed behind the end: %s", got)
		}
	})
}

func TestAChatGoesOnAsSoonAsItsStreamIsDone(t *testing.T) {
	w := start(t, methods.Config{})
	var chats sync.WaitGroup
	for i := range 16 { // side by side, so that goroutines are cut in everywhere
		chats.Go(func() {
			params := m{"chatId": fmt.Sprint("c", i), "stream": true, "initialMessage": text("x"), "message": text("x")}
			all := func(piece) bool { return true }
			if err := w.streaming(t.Context(), call("chat.start", "echo"), params, all); err != nil {
				t.Error(err)
			}
			for turn := range 20 {
				if err := w.streaming(t.Context(), call("chat.message", ""), params, all); err != nil {
					t.Errorf("turn %d: %v", turn, err)
				}
			}
		})
	}
	chats.Wait()
}

func TestManySendersLoseNothing(t *testing.T) {
	const senders = 200
	b := newBlocker()
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"block": {Runner: b}}})
	id := w.create("block", "x")
	<-b.started
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			if _, err := w.call(alice(), "task.send", "", m{"taskId": id, "message": text("y")}); err != nil {
				t.Errorf("task.send: %v", err)
			}
		})
	}
	sending.Wait()
	if n := len(w.info(id).Messages); n != senders+1 {
		t.Errorf("%d messages, want %d", n, senders+1)
	}
	w.must(alice(), "task.cancel", "", m{"taskId": id})
}

func TestIdempotencyTellsBigNumbersApart(t *testing.T) {
	w := start(t, methods.Config{})
	params := func(n string) m {
		content := m{"n": rawNumber(n)}
		return m{"idempotencyKey": "k", "initialMessage": m{"role": "user", "parts": []m{{"type": "data", "content": content}}}}
	}
	w.must(alice(), "task.create", "idle", params("9007199254740992"))
	_, err := w.call(alice(), "task.create", "idle", params("9007199254740993"))
	if e := wantCode(t, err, arc.CodeInvalidParams); e.Reason() != "idempotency_mismatch" {
		t.Errorf("reason = %q", e.Reason())
	}
}

type rawNumber string

func (n rawNumber) MarshalJSON() ([]byte, error) { return []byte(n), nil }

func TestOneOfManyStartsGetsTheChatID(t *testing.T) {
	b := newBlocker()
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"block": {Runner: b}}})
	refused := make(chan error)
	for range 8 {
		go func() {
			_, err := w.call(alice(), "chat.start", "block", m{"chatId": "c", "initialMessage": text("x")})
			refused <- err
		}()
	}
	for range 7 {
		if e := wantCode(t, <-refused, arc.CodeInvalidParams); e.Reason() != "chat_id_in_use" {
			t.Errorf("reason = %q", e.Reason())
		}
	}
	<-b.started
	w.must(alice(), "chat.end", "", m{"chatId": "c"})
	if err := <-refused; err != nil { // its runner came to an end all the same
		t.Errorf("the start that won: %v", err)
	}
}

func TestUnsavedWorkIsDoneAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun, full, room := make(chan int, 10), make(chan struct{}), make(chan struct{})
		writes := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
			begun <- t.Attempt
			if t.Attempt > 1 {
				return t.Artifact(ctx, arc.Artifact{Name: "kept", Parts: []arc.Part{arc.TextPart("x")}})
			}
			<-full
			if err := t.Progress(ctx, 50, "half"); err != nil {
				return err
			}
			<-ctx.Done() // the commit failed
			<-room
			return errors.New("interrupted")
		})
		w, c := startCounting(t, map[string]methods.Agent{"writes": {Runner: writes}})
		id := w.create("writes", "x")
		<-begun
		c.full.Store(true)
		close(full)
		<-time.After(time.Second)
		c.full.Store(false)
		close(room)
		task := w.until(id, arc.TaskCompleted)
		if len(task.Artifacts) != 1 || task.Attempt != 2 {
			t.Errorf("attempt %d, artifacts %+v", task.Attempt, task.Artifacts)
		}
	})
}

func TestADrainLetsAChatTurnFinish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slow, _ := methods.Demo("slow")
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"slow": slow}})
		cut := make(chan error, 1)
		go func() {
			cut <- w.streaming(t.Context(), call("chat.start", "slow"), m{"chatId": "c", "stream": true, "initialMessage": text("25")}, func(piece) bool { return true })
		}()
		<-time.After(time.Second)
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		w.s.Drain(ctx) // the answer takes five seconds in all
		if err := <-cut; err != nil {
			t.Errorf("the stream that was cut: %v", err)
		}
		c := call("chat.message", "")
		c.Resume, c.LastSeq = true, 1
		var rest string
		err := w.streaming(t.Context(), c, m{"chatId": "c", "stream": true, "message": text("25")}, func(p piece) bool {
			rest += p.name + " " + p.text + ";"
			return true
		})
		if err != nil || rest != "stream 25;done ;" {
			t.Errorf("resumed: %q, %v", rest, err)
		}
	})
}

func TestTimesThatCannotBeStoredAreRefused(t *testing.T) {
	w := start(t, methods.Config{})
	for _, at := range []string{"9999-12-31T23:59:59-23:00", "0000-01-01T00:00:00+23:00"} {
		message := text("x")
		message["timestamp"] = at
		_, err := w.call(alice(), "task.create", "echo", m{"initialMessage": message})
		wantCode(t, err, arc.CodeInvalidParams)
		_, err = w.call(alice(), "chat.start", "echo", m{"initialMessage": message})
		wantCode(t, err, arc.CodeInvalidMessage)
		_, err = w.call(alice(), "task.create", "echo", m{"initialMessage": text("x"), "metadata": m{"deadline": at}})
		wantCode(t, err, arc.CodeInvalidParams)
	}
	message := text("x")
	message["timestamp"] = "9999-12-31T23:59:59Z"
	id := taskOf(t, w.must(alice(), "task.create", "echo", m{"initialMessage": message})).ID
	w.until(id, arc.TaskCompleted)
}

func TestARunnerThatEndsItsGoroutineFails(t *testing.T) {
	vanish := methods.RunnerFunc(func(context.Context, *methods.Turn) error {
		runtime.Goexit()
		return nil
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"vanish": {Runner: vanish, Concurrency: 1, Turns: 1}}})
	for range 2 { // the place is free again
		w.until(w.create("vanish", "x"), arc.TaskFailed)
		_, err := w.call(alice(), "chat.start", "vanish", m{"initialMessage": text("x")})
		wantCode(t, err, arc.CodeInternal)
	}
}

// What a runner makes may be anything; it must not end the process.
func TestOddThingsOfRunners(t *testing.T) {
	const broken = "caf\xc3"
	odd := map[string]methods.RunnerFunc{
		"progress": func(ctx context.Context, t *methods.Turn) error { return t.Progress(ctx, 1, broken) },
		"error": func(context.Context, *methods.Turn) error {
			return arc.Errorf(arc.CodeTaskFailed, "upstream: %s", broken)
		},
		"details": func(context.Context, *methods.Turn) error {
			return arc.Errorf(arc.CodeTaskFailed, "no").With("cause", errors.New("x")).With("f", func() {})
		},
		"question": func(ctx context.Context, t *methods.Turn) error {
			return t.NeedInput(ctx, arc.Message{Parts: []arc.Part{{Type: arc.PartData, Content: []byte(`{bad`)}}})
		},
	}
	agents := map[string]methods.Agent{}
	for id, run := range odd {
		agents[id] = methods.Agent{Runner: run}
	}
	w := start(t, methods.Config{Agents: agents})
	for id, want := range map[string]arc.TaskStatus{
		"progress": arc.TaskCompleted, "error": arc.TaskFailed, "details": arc.TaskFailed, "question": arc.TaskFailed,
	} {
		w.until(w.create(id, "x"), want)
	}
	for _, id := range []string{"error", "details"} {
		_, err := w.call(alice(), "chat.start", id, m{"initialMessage": text("x")})
		wantCode(t, err, arc.CodeTaskFailed)
	}
}

// What an agent hears from elsewhere of its own token or chat must not look like a
// refusal of the call: callers would make it again.
func TestErrorsFromElsewhereAreNoRefusals(t *testing.T) {
	agents := map[string]methods.Agent{}
	for _, code := range []arc.Code{arc.CodeTokenExpired, arc.CodeUnauthenticated, arc.CodeTokenInvalid, arc.CodeChatNotFound, arc.CodeChatClosed, arc.CodeChatTimeout} {
		agents[code.Name()] = methods.Agent{Runner: methods.RunnerFunc(func(context.Context, *methods.Turn) error {
			return fmt.Errorf("asking another server: %w", arc.Errorf(code, "no"))
		})}
	}
	w := start(t, methods.Config{Agents: agents})
	for id := range agents {
		_, err := w.call(alice(), "chat.start", id, m{"initialMessage": text("x")})
		wantCode(t, err, arc.CodeInternal)
	}
}

// A question is asked once, although an answer to an earlier one came while the
// task ran.
func TestAQuestionAfterReceiveIsAskedOnce(t *testing.T) {
	ready := make(chan struct{}, 1)
	runs := make(chan int, 10)
	asks := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		runs <- len(t.History)
		if len(t.History) > 2 {
			return nil
		}
		ready <- struct{}{}
		if _, err := t.Receive(ctx); err != nil {
			return err
		}
		return t.NeedInput(ctx, arc.Text(arc.RoleAgent, "and then?"))
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"asks": {Runner: asks}}})
	id := w.create("asks", "x")
	<-ready
	w.must(alice(), "task.send", "", m{"taskId": id, "message": text("first")})
	if task := w.until(id, arc.TaskInputRequired); len(task.Messages) != 3 || len(runs) != 1 {
		t.Errorf("%d messages after %d runs, want 3 after 1", len(task.Messages), len(runs))
	}
	w.must(alice(), "task.send", "", m{"taskId": id, "message": text("second")})
	w.until(id, arc.TaskCompleted)
}

func TestATaskHoldsSoManyBytes(t *testing.T) {
	w := start(t, methods.Config{})
	id := w.create("idle", "x")
	large := text(strings.Repeat("x", 9<<20))
	for range 2 {
		w.must(alice(), "task.send", "", m{"taskId": id, "message": large})
	}
	_, err := w.call(alice(), "task.send", "", m{"taskId": id, "message": text("x")})
	wantCode(t, err, arc.CodeTooLarge)
}

// heldRequeue is a store in which the first requeue does not return before the
// task has been begun again.
type heldRequeue struct {
	store.Store
	once  sync.Once
	begun chan struct{}
}

func (h *heldRequeue) Commit(ctx context.Context, ch store.Change) (store.Thread, error) {
	th, err := h.Store.Commit(ctx, ch)
	if err == nil && ch.Thread.Ready && ch.Thread.Rev > 0 {
		h.once.Do(func() { <-h.begun })
	}
	return th, err
}

// A lease that has lapsed, here by a jump of the clock, ends the run that had
// it, and not the one that came after.
func TestALapsedLeaseEndsTheRunThatHadIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, err := sqlite.Open(context.Background(), sqlite.Config{File: filepath.Join(t.TempDir(), "arcd.db")})
		if err != nil {
			t.Fatal(err)
		}
		held := &heldRequeue{Store: db, begun: make(chan struct{})}
		var jump atomic.Int64
		var runs atomic.Int32
		ended := make(chan int32, 10)
		run := methods.RunnerFunc(func(ctx context.Context, _ *methods.Turn) error {
			n := runs.Add(1)
			if n == 2 {
				close(held.begun)
			}
			<-ctx.Done()
			ended <- n
			return context.Cause(ctx)
		})
		s, err := methods.New(methods.Config{
			// Leases are renewed every three seconds and swept every second.
			Store: held, Lease: 9 * time.Second, Agents: map[string]methods.Agent{"wait": {Runner: run}},
			Now: func() time.Time { return time.Now().Add(time.Duration(jump.Load())) },
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		var running sync.WaitGroup
		running.Go(func() { _ = s.Run(ctx) })
		(&world{t: t, db: held, s: s}).create("wait", "x")
		synctest.Wait()
		jump.Store(int64(time.Hour))
		<-time.After(6 * time.Second)
		if n := runs.Load(); n != 2 || len(ended) != 1 {
			t.Errorf("%d runs begun and %d ended, want 2 and 1", n, len(ended))
		} else if first := <-ended; first != 1 {
			t.Errorf("run %d was ended, want the first", first)
		}
		stop()
		running.Wait()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
}

// A runner that finishes well after its chat was closed still learns that.
func TestClosedUnderARunnerThatFinishes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		started, letGo := make(chan struct{}), make(chan struct{})
		late := methods.RunnerFunc(func(context.Context, *methods.Turn) error {
			close(started)
			<-letGo
			return nil
		})
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"late": {Runner: late}}})
		ended := make(chan error, 1)
		go func() {
			_, err := w.call(alice(), "chat.start", "late", m{"chatId": "c", "initialMessage": text("x")})
			ended <- err
		}()
		<-started
		w.must(alice(), "chat.end", "", m{"chatId": "c"}) // waits a second for the runner
		close(letGo)
		wantCode(t, <-ended, arc.CodeChatClosed)
	})
}

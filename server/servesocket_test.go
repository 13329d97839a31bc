package server_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/server"
)

// agentToken mints a token with all scopes that names these agents.
func (w *world) agentToken(ids ...string) string {
	claims := w.issuer.Claims(audience, time.Now())
	claims["agent_id"] = ids
	claims["sub"] = "agent-" + strings.Join(ids, "-")
	return w.issuer.Mint(w.t, "ES256", claims)
}

// agent makes an agent that is not run yet.
func (w *world) agent(id string, handle func(context.Context, *client.Work) error) *client.Agent {
	c := &client.Client{URL: w.url, Token: client.StaticToken(w.agentToken(id))}
	w.t.Cleanup(c.CloseIdleConnections)
	return &client.Agent{Client: c, IDs: []string{id}, Handle: handle}
}

// running runs an agent until the test ends or stop is called, which gives what Run
// gave. It returns when the agent serves.
func (w *world) running(a *client.Agent) (stop func() error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	served, ended := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	if a.Served == nil {
		a.Served = func() { once.Do(func() { close(served) }) }
	} else {
		close(served)
	}
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceValue(func() error {
		cancel()
		return <-ended
	})
	w.t.Cleanup(func() { _ = stop() })
	select {
	case <-served:
	case err := <-ended:
		ended <- err
		w.t.Fatalf("the agent does not serve: %v", err)
	}
	return stop
}

// create gives an agent a task.
func (w *world) create(to, text string) *arc.Task {
	w.t.Helper()
	m := arc.Text(arc.RoleUser, text)
	task, err := w.client().CreateTask(w.t.Context(), to, arc.CreateTaskParams{InitialMessage: &m})
	if err != nil {
		w.t.Fatalf("creating a task for %s: %v", to, err)
	}
	task.AssignedAgent = to
	return task
}

// ended waits until a task has one of the states, or any that ends it, and gives it.
func (w *world) ended(task *arc.Task, states ...arc.TaskStatus) *arc.Task {
	w.t.Helper()
	c := w.client()
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	for after := int64(0); ; {
		for ev, err := range c.TaskEvents(ctx, task.AssignedAgent, arc.TaskEventsParams{TaskID: task.ID, After: after}) {
			if err != nil {
				w.t.Fatalf("following %s: %v\n%s", task.ID, err, w.log)
			}
			after = ev.Seq
			got, err := c.GetTask(ctx, task.AssignedAgent, arc.GetTaskParams{TaskID: task.ID})
			if err != nil {
				w.t.Fatal(err)
			}
			for _, state := range states {
				if got.Status == state {
					return got
				}
			}
			if got.Status.Terminal() {
				return got
			}
		}
	}
}

// said gives what the agent said in a task, one line per message.
func said(task *arc.Task) string {
	var lines []string
	for _, m := range task.Messages {
		if m.Role == arc.RoleAgent {
			lines = append(lines, m.Text())
		}
	}
	return strings.Join(lines, "\n")
}

func TestAgentThatDialledInDoesTasks(t *testing.T) {
	w := start(t, options{})
	w.running(w.agent("worker", func(ctx context.Context, work *client.Work) error {
		switch text := work.Message.Text(); text {
		case "fail":
			return arc.Errorf(arc.CodeTaskFailed, "it cannot be done").With("reason", "impossible")
		case "panic":
			panic("on purpose")
		case "error":
			return errors.New("a secret of the worker")
		case "ask":
			return work.NeedInput(ctx, arc.Text(arc.RoleAgent, "which one?"))
		default:
			if err := work.Progress(ctx, 50, "half"); err != nil {
				return err
			}
			if err := work.Artifact(ctx, arc.Artifact{Name: "a", Parts: []arc.Part{arc.TextPart("made")}}); err != nil {
				return err
			}
			return errors.Join(work.Write(ctx, "you said "), work.Write(ctx, text), work.Write(ctx, fmt.Sprint(" of ", len(work.History))))
		}
	}))
	done := w.ended(w.create("worker", "hello"))
	if done.Status != arc.TaskCompleted || said(done) != "you said hello of 1" || len(done.Artifacts) != 1 || done.Progress == nil || done.Progress.Percent != 50 {
		t.Errorf("hello gave %+v", done)
	}
	for text, want := range map[string]arc.TaskError{
		"fail":  {Code: arc.CodeTaskFailed, Message: "it cannot be done", Reason: "impossible"},
		"panic": {Code: arc.CodeTaskFailed, Message: "the agent failed", Reason: "agent_error"},
		"error": {Code: arc.CodeTaskFailed, Message: "the agent failed", Reason: "agent_error"},
	} {
		if got := w.ended(w.create("worker", text)); got.Status != arc.TaskFailed || *got.Error != want {
			t.Errorf("%s: %s %+v, want FAILED %+v", text, got.Status, got.Error, want)
		}
	}
	asked := w.ended(w.create("worker", "ask"), arc.TaskInputRequired)
	if asked.Status != arc.TaskInputRequired || said(asked) != "which one?" {
		t.Fatalf("ask gave %+v", asked)
	}
	answer := arc.Text(arc.RoleUser, "this")
	if err := w.client().SendTask(t.Context(), "worker", arc.SendTaskParams{TaskID: asked.ID, Message: &answer}); err != nil {
		t.Fatal(err)
	}
	if got := w.ended(asked); got.Status != arc.TaskCompleted || said(got) != "which one?\nyou said this of 3" {
		t.Errorf("after the answer: %s %q", got.Status, said(got))
	}
}

func TestAgentThatDialledInChats(t *testing.T) {
	w := start(t, options{})
	w.running(w.agent("talker", func(ctx context.Context, work *client.Work) error {
		if work.Message.Text() == "fail" {
			return arc.Errorf(arc.CodeInsufficientScope, "of somebody else's call")
		}
		for _, word := range strings.Fields(work.Message.Text()) {
			if err := work.Write(ctx, word+"."); err != nil {
				return err
			}
		}
		return nil
	}))
	c := w.client()
	hello := arc.Text(arc.RoleUser, "one two three")
	chat, err := c.StartChat(t.Context(), "talker", arc.StartChatParams{InitialMessage: &hello})
	if err != nil || chat.Message.Text() != "one.two.three." {
		t.Fatalf("chat.start gave %+v, %v", chat, err)
	}
	var pieces []string
	for ev, err := range c.StreamMessage(t.Context(), "talker", arc.SendChatParams{ChatID: chat.ID, Message: &hello}) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.Name == "stream" {
			var chunk arc.ChatChunk
			if err := ev.Decode(&chunk); err != nil {
				t.Fatal(err)
			}
			pieces = append(pieces, chunk.Message.Text())
		}
	}
	if got := strings.Join(pieces, "|"); got != "one.|two.|three." {
		t.Errorf("the pieces are %s", got)
	}
	fail := arc.Text(arc.RoleUser, "fail")
	if _, err := c.SendChat(t.Context(), "talker", arc.SendChatParams{ChatID: chat.ID, Message: &fail}); arc.CodeOf(err) != arc.CodeTaskFailed {
		t.Errorf("a failing turn gave %v, want -42004", err)
	}
	if _, err := c.EndChat(t.Context(), "talker", arc.EndChatParams{ChatID: chat.ID}); err != nil {
		t.Error(err)
	}
}

// TestPieceTooLarge: it ends the turn, not the connection with the other work on it.
func TestPieceTooLarge(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) { cfg.Limits.BodyBytes = 64 << 10 }})
	done := make(chan struct{})
	a := w.agent("talker", func(ctx context.Context, work *client.Work) error {
		if work.TaskID == "" {
			return work.Write(ctx, strings.Repeat("x", 64<<10))
		}
		select {
		case <-done:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	w.running(a)
	task := w.create("talker", "wait")
	hello := arc.Text(arc.RoleUser, "hello")
	var last error
	for _, err := range w.client().StreamChat(t.Context(), "talker", arc.StartChatParams{InitialMessage: &hello}) {
		last = err
	}
	if last == nil || arc.CodeOf(last) == arc.CodeAgentUnreachable {
		t.Errorf("the chat gave %v, want an error of the agent", last)
	}
	close(done)
	if got := w.ended(task); got.Status != arc.TaskCompleted || got.Attempt != 1 {
		t.Errorf("the task: %s, attempt %d", got.Status, got.Attempt)
	}
}

// TestAgentAnswersAndLeaves: an answer counts that comes just before the end of its
// connection.
func TestAgentAnswersAndLeaves(t *testing.T) {
	w := start(t, options{})
	for n := range 100 {
		id := fmt.Sprint("worker-", n)
		c := w.serving(1, id)
		task := w.create(id, "hello")
		c.answer(c.given(), arc.TaskCompleted, "bye")
		_ = c.ws.CloseNow()
		other := w.serving(1, id) // gets it if the answer is lost
		if got := w.ended(task, arc.TaskWorking, arc.TaskCompleted); got.Status == arc.TaskWorking && got.Attempt == 2 {
			t.Fatalf("task %d was given out again", n)
		}
		if got := w.ended(task); said(got) != "bye" || got.Attempt != 1 {
			t.Fatalf("task %d: %s %q in attempt %d", n, got.Status, said(got), got.Attempt)
		}
		_ = other.ws.CloseNow()
	}
}

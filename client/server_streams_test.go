package client_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/methods"
)

// pieces is how many pieces the streams of these tests have: enough for many
// cuts.
const pieces = 40

// numbered is an agent that says piece after piece. Before each one it waits for
// gate, if that is not nil.
func numbered(gate <-chan struct{}) methods.Agent {
	return methods.Agent{Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		for i := range pieces {
			if gate != nil {
				select {
				case <-gate:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			say := t.Write
			if t.Task != nil {
				say = func(ctx context.Context, s string) error { return t.Progress(ctx, 100*i/pieces, s) }
			}
			if err := say(ctx, fmt.Sprintf("<%d>", i)); err != nil {
				return err
			}
		}
		return nil
	})}
}

// wholeAnswer is all that numbered says.
func wholeAnswer() string {
	var b strings.Builder
	for i := range pieces {
		fmt.Fprintf(&b, "<%d>", i)
	}
	return b.String()
}

// steady checks that the numbers of events rise, one after the other in a task.
type steady struct{ last int64 }

func (s *steady) see(t *testing.T, ev client.Event, holes bool) {
	t.Helper()
	if ev.Name == "stream" && (ev.Seq <= s.last || !holes && ev.Seq != s.last+1) {
		t.Errorf("event %d follows event %d", ev.Seq, s.last)
	}
	if ev.Name == "stream" {
		s.last = ev.Seq
	}
}

// TestStreamsAcrossCuts: whatever breaks off the connections, and wherever, each
// piece comes once and in order.
func TestStreamsAcrossCuts(t *testing.T) {
	w := start(t, func(w *world) { w.agents["numbered"] = numbered(nil) })
	token := client.StaticToken(w.token(nil))
	for _, after := range []int64{1201, 1500, 3000} {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			t.Parallel() // most of the time they wait before they connect again
			direct := w.client()
			task, err := direct.CreateTask(t.Context(), "numbered", arc.CreateTaskParams{InitialMessage: text("go")})
			must(t, err)
			_, err = direct.WaitTask(t.Context(), "numbered", client.WaitTaskParams{TaskID: task.ID})
			must(t, err)
			p := w.through(always(after))
			c := &client.Client{URL: p.url, Token: token, Agent: "tester"}
			var order steady
			var last arc.TaskEvent
			for ev, err := range c.TaskEvents(t.Context(), "numbered", arc.TaskEventsParams{TaskID: task.ID}) {
				must(t, err)
				order.see(t, ev, false)
				if ev.Name == "stream" {
					must(t, ev.Decode(&last))
				}
			}
			if last.Type != arc.StatusChangeEvent || last.Seq < pieces || p.connections.Load() < 3 {
				t.Errorf("the last event is %+v, after %d connections", last, p.connections.Load())
			}

			c.CloseIdleConnections() // the chat's first connection must not be half used up
			said, chatID, order := "", "", steady{}
			for ev, err := range c.StreamChat(t.Context(), "numbered", arc.StartChatParams{InitialMessage: text("go")}) {
				must(t, err)
				order.see(t, ev, true)
				var part arc.ChatChunk
				must(t, ev.Decode(&part))
				said, chatID = said+part.Message.Text(), part.ChatID
			}
			if said != wholeAnswer() {
				t.Errorf("the chat said %q", said)
			}
			said, _, err = drain(direct.ResumeChat(t.Context(), "numbered", chatID, 0))
			if err != nil || said != wholeAnswer() {
				t.Errorf("taken up from its beginning the chat said %q, %v", said, err)
			}
		})
	}
}

// TestResumeLater: a reader who goes away keeps the number of the last event, and
// begins behind it another time.
func TestResumeLater(t *testing.T) {
	gate := make(chan struct{}, pieces)
	w := start(t, func(w *world) { w.agents["numbered"] = numbered(gate) })
	c := w.client()
	release := func(n int) {
		for range n {
			gate <- struct{}{}
		}
	}
	release(20)
	said, chatID, at := "", "", int64(0)
	for ev, err := range c.StreamChat(t.Context(), "numbered", arc.StartChatParams{InitialMessage: text("go")}) {
		must(t, err)
		var part arc.ChatChunk
		must(t, ev.Decode(&part))
		said, chatID, at = said+part.Message.Text(), part.ChatID, ev.Seq
		if strings.HasSuffix(said, "<19>") {
			break
		}
	}
	release(pieces - 20)
	rest, _, err := drain(c.ResumeChat(t.Context(), "numbered", chatID, at))
	if err != nil || said+rest != wholeAnswer() {
		t.Errorf("first %q, later %q, %v", said, rest, err)
	}

	task, err := c.CreateTask(t.Context(), "echo", arc.CreateTaskParams{InitialMessage: text("hi")})
	must(t, err)
	var order steady
	for ev, err := range c.TaskEvents(t.Context(), "echo", arc.TaskEventsParams{TaskID: task.ID}) {
		must(t, err)
		if order.see(t, ev, false); ev.Seq == 3 {
			break
		}
	}
	for ev, err := range c.TaskEvents(t.Context(), "echo", arc.TaskEventsParams{TaskID: task.ID, After: order.last}) {
		must(t, err)
		order.see(t, ev, false)
	}
	if order.last < 5 {
		t.Errorf("the last event is %d", order.last)
	}
}

// TestExpiryInMidStream: the token of a stream runs out; the client gets another,
// with one request, and the reader sees nothing of it.
func TestExpiryInMidStream(t *testing.T) {
	gate := make(chan struct{}, pieces)
	w := start(t, func(w *world) { w.agents["numbered"] = numbered(gate) })
	c := w.service()
	for label, events := range map[string]func(context.Context) iter.Seq2[client.Event, error]{
		"chat": func(ctx context.Context) iter.Seq2[client.Event, error] {
			return c.StreamChat(ctx, "numbered", arc.StartChatParams{InitialMessage: text("go")})
		},
		"task": func(ctx context.Context) iter.Seq2[client.Event, error] {
			task, err := c.CreateTask(ctx, "numbered", arc.CreateTaskParams{InitialMessage: text("go")})
			must(t, err)
			return c.TaskEvents(ctx, "numbered", arc.TaskEventsParams{TaskID: task.ID})
		},
	} {
		grants, n := w.grants.Load(), 0
		if grants == 0 {
			grants++ // the first token
		}
		for range 10 {
			gate <- struct{}{}
		}
		var order steady
		done := false
		for ev, err := range events(t.Context()) {
			must(t, err)
			order.see(t, ev, label == "chat")
			n++
			done = ev.Name == "done"
			if n == 5 { // the server's clock jumps; the client's source cannot know
				w.forget()
				w.ahead.Add(int64(20 * time.Minute))
				go func() {
					<-w.arrived // the client has come back
					for range pieces - 10 {
						gate <- struct{}{}
					}
				}()
			}
		}
		if !done || n < pieces || w.grants.Load() != grants+1 {
			t.Errorf("%s: %d events, done %v, %d requests for a token, want 1", label, n, done, w.grants.Load()-grants)
		}
	}
}

// TestRefusedInMidStream: a token that is taken back ends the stream with the
// refusal, once, and nobody asks for another token.
func TestRefusedInMidStream(t *testing.T) {
	w := start(t, nil)
	admin := w.admin()
	grant, err := admin.MintToken(t.Context(), arc.MintParams{
		UserID: "bob", AgentID: "bobs-agent", Scopes: strings.Fields(allScopes),
	})
	must(t, err)
	asked := &counted{TokenSource: client.StaticToken(grant.AccessToken)}
	c := w.with(asked)
	c.Agent = "bobs-agent"
	task, err := c.CreateTask(t.Context(), "idle", arc.CreateTaskParams{InitialMessage: text("hi")})
	must(t, err)
	var errs []error
	for _, err := range c.TaskEvents(t.Context(), "idle", arc.TaskEventsParams{TaskID: task.ID}) {
		if err != nil {
			errs = append(errs, err)
			continue
		}
		_, err := admin.RevokeToken(t.Context(), arc.RevokeParams{Subject: "user:bob"})
		must(t, err)
	}
	if len(errs) != 1 || asked.replaced.Load() != 0 {
		t.Fatalf("%d errors, %v; %d times another token was asked for", len(errs), errs, asked.replaced.Load())
	}
	isOnly(t, "revoked", errs[0], arc.ErrAuthentication)
}

// counted counts how often a source is asked for another token.
type counted struct {
	client.TokenSource
	replaced atomic.Int32
}

func (c *counted) Token(ctx context.Context, expired string) (string, error) {
	if expired != "" {
		c.replaced.Add(1)
	}
	return c.TokenSource.Token(ctx, expired)
}

// TestExpiryBetweenCalls: in the middle of a row of calls, and under many at once,
// the token expires. One request for another serves them all, and nothing is done
// twice.
func TestExpiryBetweenCalls(t *testing.T) {
	w := start(t, nil)
	c := w.service()
	for i := range 10 {
		if i == 5 {
			w.ahead.Add(int64(20 * time.Minute))
		}
		_, err := c.CreateTask(t.Context(), "idle", arc.CreateTaskParams{InitialMessage: text("hi")})
		must(t, err)
	}
	list, err := c.ListTasks(t.Context(), "idle", arc.ListTasksParams{})
	if err != nil || len(list.Tasks) != 10 || w.grants.Load() != 2 {
		t.Fatalf("%+v, %v, %d requests for tokens; want 10 tasks and 2 tokens", list, err, w.grants.Load())
	}

	w.ahead.Add(int64(20 * time.Minute))
	failed := make(chan error, 16)
	for range cap(failed) {
		go func() {
			_, err := c.GetTask(t.Context(), "idle", arc.GetTaskParams{TaskID: list.Tasks[0].ID})
			failed <- err
		}()
	}
	for range cap(failed) {
		must(t, <-failed)
	}
	if n := w.grants.Load(); n != 3 {
		t.Errorf("%d requests for tokens, want 3", n)
	}
}

// TestAnswerLost: what the server has done although its answer got lost is done
// again only with an idempotency key, and then not twice.
func TestAnswerLost(t *testing.T) {
	w := start(t, nil)
	direct := w.client()
	count := func() int {
		list, err := direct.ListTasks(t.Context(), "idle", arc.ListTasksParams{})
		must(t, err)
		return len(list.Tasks)
	}
	p := w.through(first(2, 0))
	c := &client.Client{URL: p.url, Token: direct.Token, Agent: "tester"}
	task, err := c.CreateTask(t.Context(), "idle", arc.CreateTaskParams{InitialMessage: text("hi"), IdempotencyKey: "k"})
	if err != nil || p.connections.Load() != 3 || count() != 1 {
		t.Errorf("with a key: %v, %v after %d connections, %d tasks; want 1 after 3", task, err, p.connections.Load(), count())
	}

	p = w.through(first(1, 0))
	c = &client.Client{URL: p.url, Token: direct.Token, Agent: "tester"}
	_, err = c.CreateTask(t.Context(), "idle", arc.CreateTaskParams{InitialMessage: text("hi")})
	isOnly(t, "without a key", err, arc.ErrUnavailable)
	if p.connections.Load() != 1 || count() != 2 {
		t.Errorf("without a key: %d connections, %d tasks; want 1 and 2", p.connections.Load(), count())
	}
	if _, err := c.GetHealth(t.Context()); err != nil {
		t.Errorf("the next call: %v", err)
	}

	temp, err := direct.RequestTempToken(t.Context(), arc.TempTokenParams{AgentID: agentID, AgentType: "automation", AgentKey: agentKey})
	must(t, err)
	p = w.through(first(1, 0))
	c = &client.Client{URL: p.url}
	registered, err := c.RegisterAgent(t.Context(), client.Registering{Token: temp.TempToken}, registration())
	if err != nil || registered.AgentID != agentID || p.connections.Load() != 2 {
		t.Errorf("a registration: %+v, %v after %d connections", registered, err, p.connections.Load())
	}
}

// TestStartNotRepeated: a chat of which nothing came is not started again, since
// the agent may have heard the message.
func TestStartNotRepeated(t *testing.T) {
	w := start(t, nil)
	p := w.through(first(1, 0))
	c := &client.Client{URL: p.url, Token: w.client().Token, Agent: "tester"}
	_, _, err := drain(c.StreamChat(t.Context(), "echo", arc.StartChatParams{ChatID: "mine", InitialMessage: text("hi")}))
	if err == nil || p.connections.Load() != 1 {
		t.Fatalf("%v after %d connections", err, p.connections.Load())
	}
	said, _, err := drain(c.ResumeChat(t.Context(), "echo", "mine", 0)) // the caller chose its id
	if err != nil || said != "hi" {
		t.Errorf("taken up: %q, %v", said, err)
	}
}

// TestWaitTaskWithoutEvents: of a server that has no task.events the client asks
// for the task until it has ended.
func TestWaitTaskWithoutEvents(t *testing.T) {
	var polls atomic.Int32
	w := start(t, func(w *world) {
		w.barrier = withoutEvents(&polls)
	})
	c := w.client()
	task, err := c.CreateTask(t.Context(), "input", arc.CreateTaskParams{InitialMessage: text("hi")})
	must(t, err)
	p := client.WaitTaskParams{TaskID: task.ID, Input: true, Poll: 20 * time.Millisecond}
	got, err := c.WaitTask(t.Context(), "input", p)
	if err != nil || got.Status != arc.TaskInputRequired {
		t.Fatalf("%+v, %v", got, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	before := polls.Load()
	p.Input = false
	waited := make(chan error)
	go func() {
		_, err := c.WaitTask(ctx, "input", p)
		waited <- err
	}()
	for polls.Load() < before+3 {
		must(t, c.CheckReady(t.Context()))
	}
	cancel()
	if err := <-waited; !errors.Is(err, context.Canceled) {
		t.Errorf("a wait that is canceled: %v", err)
	}
}

// withoutEvents answers task.events as a server that does not know it, and counts
// task.info.
func withoutEvents(polls *atomic.Int32) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, id, method := envelopeOf(r)
			switch method {
			case "task.events":
				w.Header().Set("Content-Type", arc.MediaARC)
				fmt.Fprintf(w, `{"arc":"1.0","id":%q,"result":null,"error":{"code":-32601,"message":"no such method","details":{}}}`, id)
				return
			case "task.info":
				polls.Add(1)
			}
			r.Body = body
			next.ServeHTTP(w, r)
		})
	}
}

// TestWaitTaskPassesOldQuestions: a question that was answered long ago is among
// the events, and ends no wait.
func TestWaitTaskPassesOldQuestions(t *testing.T) {
	gate := make(chan struct{})
	w := start(t, func(w *world) {
		w.agents["twice"] = methods.Agent{Runner: methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
			asked := 0
			for _, m := range t.History {
				if m.Role == arc.RoleAgent {
					asked++
				}
			}
			if asked == 1 {
				select {
				case <-gate:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			if asked == 2 {
				return nil
			}
			return t.NeedInput(ctx, arc.Text(arc.RoleAgent, fmt.Sprintf("question %d", asked+1)))
		})}
	})
	c := w.client()
	task, err := c.CreateTask(t.Context(), "twice", arc.CreateTaskParams{InitialMessage: text("hi")})
	must(t, err)
	p := client.WaitTaskParams{TaskID: task.ID, Input: true}
	_, err = c.WaitTask(t.Context(), "twice", p)
	must(t, err)
	must(t, c.SendTask(t.Context(), "twice", arc.SendTaskParams{TaskID: task.ID, Message: text("one")}))
	w.forget()
	go func() {
		for range 3 { // task.info, task.events, and task.info for the old question
			<-w.arrived
		}
		gate <- struct{}{}
	}()
	got, err := c.WaitTask(t.Context(), "twice", p)
	if err != nil || got.Status != arc.TaskInputRequired || got.Messages[len(got.Messages)-1].Text() != "question 2" {
		t.Fatalf("%+v, %v; want the second question", got, err)
	}
	must(t, c.SendTask(t.Context(), "twice", arc.SendTaskParams{TaskID: task.ID, Message: text("two")}))
	p.Input = false
	if got, err = c.WaitTask(t.Context(), "twice", p); err != nil || got.Status != arc.TaskCompleted {
		t.Errorf("%+v, %v; want it completed", got, err)
	}
}

// TestJSONRPC: the other envelope does all of it too, without naming an agent where
// an id says which.
func TestJSONRPC(t *testing.T) {
	w := start(t, nil)
	c := w.client()
	c.JSONRPC, c.Agent = true, ""
	task, err := c.CreateTask(t.Context(), "echo", arc.CreateTaskParams{InitialMessage: text("hi")})
	must(t, err)
	if got, err := c.WaitTask(t.Context(), "", client.WaitTaskParams{TaskID: task.ID}); err != nil || got.Status != arc.TaskCompleted {
		t.Errorf("%+v, %v", got, err)
	}
	chatID := ""
	for ev, err := range c.StreamChat(t.Context(), "stream", arc.StartChatParams{InitialMessage: text("3")}) {
		must(t, err)
		var part arc.ChatChunk
		must(t, ev.Decode(&part))
		chatID = part.ChatID
	}
	if said, _, err := drain(c.ResumeChat(t.Context(), "", chatID, 0)); err != nil || said != "piece 1 piece 2 piece 3 " {
		t.Errorf("%q, %v", said, err)
	}
	_, err = c.GetTask(t.Context(), "", arc.GetTaskParams{TaskID: "task-0"})
	isOnly(t, "an unknown task", err, arc.ErrNotFound)
}

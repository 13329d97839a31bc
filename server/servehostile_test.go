package server_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
)

// serveFrame is a call of agent.serve.
func serveFrame(capacity int, ids ...string) string {
	b, _ := json.Marshal(append([]string{}, ids...))
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":"s","method":"agent.serve","params":{"agents":%s,"capacity":%d}}`, b, capacity)
}

// serving dials in as an agent that the test plays by hand.
func (w *world) serving(capacity int, id string) talker {
	w.t.Helper()
	c := w.dial(w.agentToken(id))
	c.say(serveFrame(capacity, id))
	if got := c.hear(); !strings.Contains(got, `"type":"agent"`) {
		w.t.Fatalf("agent.serve gave %s", got)
	}
	return c
}

// given is a call of the server to an agent.
type given struct {
	ID           json.RawMessage
	Method       string
	RequestAgent string
	TargetAgent  string
	TraceID      string
	TraceParent  string
	Hops         int
	Attempt      int
	Params       struct {
		ID             json.RawMessage
		TaskID, ChatID string
		Reason         string
		Message        *arc.Message
		InitialMessage *arc.Message
		History        []arc.Message
	}
}

// given waits for the next call of the server, or its notification.
func (c talker) given() given {
	c.t.Helper()
	var g given
	text := c.hear()
	if err := json.Unmarshal([]byte(text), &g); err != nil || g.Method == "" {
		c.t.Fatalf("%s is no call: %v", text, err)
	}
	return g
}

// answer answers a call with a task in this state.
func (c talker) answer(g given, status arc.TaskStatus, text string) {
	c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"type":"task","task":{"taskId":%q,"status":%q,"messages":[{"role":"agent","parts":[{"type":"TextPart","content":%q}]}]}}}`,
		g.ID, g.Params.TaskID, status, text))
}

func TestServeRefusals(t *testing.T) {
	w := start(t, options{agents: map[string]methods.Agent{"fixed": {Runner: gate{}}}})
	token := w.agentToken("mine", "fixed")
	for label, c := range map[string]struct {
		token, frame string
		code         arc.Code
		detail       string
	}{
		"an id of somebody else":     {token, serveFrame(1, "mine", "other"), arc.CodeUnauthorized, "agent_mismatch"},
		"a token that names nobody":  {w.token(), serveFrame(1, "mine"), arc.CodeUnauthorized, "agent_mismatch"},
		"an agent of the server":     {token, serveFrame(1, "fixed"), arc.CodeDuplicateAgent, "agent_id_taken"},
		"no id":                      {token, serveFrame(1, "no id"), arc.CodeInvalidAgentID, "agentId"},
		"no list":                    {token, `{"jsonrpc":"2.0","id":1,"method":"agent.serve"}`, arc.CodeInvalidParams, "agents"},
		"no capacity":                {token, serveFrame(-1, "mine"), arc.CodeInvalidParams, "capacity"},
		"too much capacity":          {token, serveFrame(1001, "mine"), arc.CodeInvalidParams, "capacity"},
		"as somebody else":           {token, strings.Replace(serveFrame(1, "mine"), `"id":"s"`, `"id":"s","requestAgent":"other"`, 1), arc.CodeUnauthorized, "agent_mismatch"},
		"without the scope":          {w.token(auth.ScopeCaller, auth.ScopeTask), serveFrame(1, "mine"), arc.CodeInsufficientScope, auth.ScopeServe},
		"a capacity of another type": {token, `{"jsonrpc":"2.0","id":1,"method":"agent.serve","params":{"agents":["mine"],"capacity":"1"}}`, arc.CodeInvalidParams, "capacity"},
		"an item of a batch":         {token, "[" + serveFrame(1, "mine") + "]", arc.CodeMethodNotFound, "method_not_found"},
		"more agents than it may":    {token, serveFrame(1, strings.Split(strings.Repeat("mine ", 1001), " ")[:1001]...), arc.CodeInvalidParams, "1000"},
	} {
		conn := w.dial(c.token)
		conn.say(c.frame)
		got := conn.hear()
		if !strings.Contains(got, fmt.Sprintf(`"code":%d`, c.code)) || !strings.Contains(got, c.detail) {
			t.Errorf("%s: %s, want %d with %s", label, got, c.code, c.detail)
		}
		_ = conn.ws.CloseNow()
	}
	if w.sockets.Seen("mine") || w.sockets.Seen("other") {
		t.Error("a refused agent is known")
	}
	r := w.do(ask{token: token, body: serveFrame(1, "mine")})
	if code(t, r.body) != int(arc.CodeMethodNotFound) {
		t.Errorf("over HTTP: %s, want -32601", r.body)
	}
	c := w.dial(token)
	c.say(serveFrame(0, "mine", "mine"))
	if got, want := c.hear(), `{"jsonrpc":"2.0","id":"s","result":{"type":"agent","agents":["mine"],"capacity":16,"heartbeatMs":15000,"maxBytes":10485760}}`; got != want {
		t.Errorf("agent.serve gave %s, want %s", got, want)
	}
}

func TestConnectionsShareTheWork(t *testing.T) {
	w := start(t, options{})
	one, two, other := w.serving(1, "shared"), w.serving(1, "shared"), w.serving(1, "other")
	tasks := []*arc.Task{w.create("shared", "1"), w.create("shared", "2"), w.create("shared", "3")}
	first, second := one.given(), two.given()
	if first.Params.TaskID == second.Params.TaskID {
		t.Errorf("both connections have %s", first.Params.TaskID)
	}
	if room := w.sockets.Room("shared"); room != 0 {
		t.Errorf("there is room for %d more", room)
	}
	// Others are not held up by an agent that has its hands full.
	quick := w.create("other", "hello")
	g := other.given()
	if g.RequestAgent != "tester" || g.TargetAgent != "other" || g.Attempt != 1 || g.Params.InitialMessage.Text() != "hello" || len(g.Params.History) != 1 {
		t.Errorf("the agent got %+v", g)
	}
	other.answer(g, arc.TaskCompleted, "done")
	if got := w.ended(quick); got.Status != arc.TaskCompleted || said(got) != "done" {
		t.Errorf("the other's task: %+v", got)
	}
	two.answer(second, arc.TaskCompleted, "two")
	third := two.given() // the place is free again
	two.answer(third, arc.TaskCompleted, "three")
	one.answer(first, arc.TaskCompleted, "one")
	for _, task := range tasks {
		if got := w.ended(task); got.Status != arc.TaskCompleted || got.Attempt != 1 {
			t.Errorf("%s: %+v", task.ID, got)
		}
	}
}

func TestWorkOfACutConnectionGoesToAnother(t *testing.T) {
	w := start(t, options{})
	one := w.serving(1, "worker")
	task := w.create("worker", "hello")
	if g := one.given(); g.Attempt != 1 {
		t.Errorf("attempt %d", g.Attempt)
	}
	two := w.serving(1, "worker")
	_ = one.ws.CloseNow()
	g := two.given()
	if g.Params.TaskID != task.ID || g.Attempt != 2 {
		t.Errorf("the other got %+v, want attempt 2 of %s", g, task.ID)
	}
	two.answer(g, arc.TaskCompleted, "done")
	if got := w.ended(task); got.Status != arc.TaskCompleted || said(got) != "done" {
		t.Errorf("the task: %+v", got)
	}
}

func TestTaskThatKillsItsWorkersEnds(t *testing.T) {
	w := start(t, options{})
	task := w.create2("deadly", func() {
		for range 3 {
			c := w.serving(1, "deadly")
			c.given()
			_ = c.ws.CloseNow()
		}
	})
	if got := w.ended(task); got.Status != arc.TaskFailed || got.Error.Reason != "attempts_exhausted" {
		t.Errorf("the task: %s %+v", got.Status, got.Error)
	}
}

// create2 gives a task to an agent that has been there, and then does what f says.
func (w *world) create2(id string, f func()) *arc.Task {
	w.t.Helper()
	_ = w.serving(1, id).ws.CloseNow()
	task := w.create(id, "hello")
	f()
	return task
}

// TestAgentAnswersGarbage plays an agent that answers what was not asked.
func TestAgentAnswersGarbage(t *testing.T) {
	w := start(t, options{})
	c, other := w.serving(2, "hostile"), w.serving(1, "victim")
	mine, theirs := w.create("hostile", "1"), w.create("victim", "2")
	g, of := c.given(), other.given()
	for _, frame := range []string{
		`{"jsonrpc":"2.0","id":999,"result":{"type":"task"}}`,                                                                    // unknown
		`{"jsonrpc":"2.0","id":"` + string(g.ID) + `","result":{"type":"task"}}`,                                                 // a text
		`{"jsonrpc":"2.0","id":-1,"result":1}`, `{"jsonrpc":"2.0","id":1.0,"result":1}`, `{"jsonrpc":"2.0","id":1e0,"error":{}}`, // other numbers
		`{"jsonrpc":"2.0","method":"stream","params":{"id":` + string(g.ID) + `,"event":"stream","data":{"message":{"role":"agent","parts":[]}}}}`, // no stream
		`{"jsonrpc":"2.0","method":"stream","params":{"id":77,"event":"stream","data":{}}}`,
	} {
		c.say(frame)
	}
	// What is neither call nor answer is refused, and ends nothing.
	for _, frame := range []string{`nonsense`, `{"jsonrpc":"2.0","id":5}`, `{"jsonrpc":"2.0","id":5,"result":1,"error":{"code":1}}`, `[{"jsonrpc":"2.0","id":5,"result":1}]`} {
		c.say(frame)
		if got := c.hear(); !strings.Contains(got, `"error"`) {
			t.Errorf("%s was answered with %s", frame, got)
		}
	}
	// An answer for somebody else's task, again and again.
	for range 3 {
		foreign := g
		foreign.Params.TaskID = theirs.ID
		c.answer(foreign, arc.TaskCompleted, "stolen")
		if got, _ := w.client().GetTask(t.Context(), "hostile", arc.GetTaskParams{TaskID: mine.ID}); got.Status.Terminal() {
			break
		}
		if g.Attempt == 3 {
			break
		}
		g = c.given()
	}
	if got := w.ended(mine); got.Status != arc.TaskFailed {
		t.Errorf("the hostile agent's task: %+v", got)
	}
	other.answer(of, arc.TaskCompleted, "its own")
	if got := w.ended(theirs); got.Status != arc.TaskCompleted || said(got) != "its own" {
		t.Errorf("the other's task: %+v", got)
	}
	// The agent may not speak of the other's task.
	c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":1,"method":"task.notification","requestAgent":"hostile","params":{"taskId":%q,"event":"TASK_FAILED","timestamp":"2026-01-01T00:00:00Z","data":{"status":"FAILED","message":"x"}}}`, theirs.ID))
	if got := c.hear(); code(t, got) != int(arc.CodeTaskNotFound) {
		t.Errorf("a foreign notification: %s", got)
	}
}

// TestAgentAnswersTooDeep: an answer that is not taken ends the call all the same.
func TestAgentAnswersTooDeep(t *testing.T) {
	w := start(t, options{})
	deep, err := arc.DataPart(json.RawMessage(strings.Repeat("[", 80) + strings.Repeat("]", 80)))
	if err != nil {
		t.Fatal(err)
	}
	w.running(w.agent("deep", func(ctx context.Context, work *client.Work) error { return work.WritePart(ctx, deep) }))
	if got := w.ended(w.create("deep", "hello")); got.Status != arc.TaskFailed || got.Error.Reason != "attempts_exhausted" {
		t.Errorf("the task: %s, %+v", got.Status, got.Error)
	}
	hello := arc.Text(arc.RoleUser, "hello")
	if _, err := w.client().StartChat(t.Context(), "deep", arc.StartChatParams{InitialMessage: &hello}); err == nil {
		t.Error("the chat went well")
	}
	var last error
	for _, err := range w.client().StreamChat(t.Context(), "deep", arc.StartChatParams{InitialMessage: &hello}) {
		last = err
	}
	if last == nil {
		t.Error("the stream went well")
	}
}

func TestAgentThatFloods(t *testing.T) {
	w := start(t, options{})
	c := w.serving(1, "flood")
	for i := range 5000 {
		c.say(fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"result":"%s"}`, i+1000, strings.Repeat("x", 100)))
	}
	chatting := make(chan error, 1)
	var pieces atomic.Int32
	go func() {
		hello := arc.Text(arc.RoleUser, "hello")
		var last error
		for ev, err := range w.client().StreamChat(t.Context(), "flood", arc.StartChatParams{InitialMessage: &hello}) {
			if err != nil {
				last = err
				break
			}
			if ev.Name == "stream" {
				pieces.Add(1)
			}
		}
		chatting <- last
	}()
	g := c.given()
	const many = 20_000
	for range many { // all at once: the server must take its time, not memory
		c.say(`{"jsonrpc":"2.0","method":"stream","params":{"id":` + string(g.ID) + `,"event":"stream","data":{"message":{"role":"agent","parts":[{"type":"TextPart","content":"0123456789"}]}}}}`)
	}
	c.say(`{"jsonrpc":"2.0","id":` + string(g.ID) + `,"result":{"type":"chat","chat":{"chatId":"` + g.Params.ChatID + `","status":"ACTIVE"}}}`)
	if err := <-chatting; err != nil || pieces.Load() != many {
		t.Errorf("%d pieces, %v; want %d", pieces.Load(), err, many)
	}
}

// TestAgentThatNeverPongs is cut, and its work goes elsewhere.
func TestAgentThatNeverPongs(t *testing.T) {
	w := start(t, options{config: func(cfg *server.Config) {
		cfg.KeepAlive, cfg.WriteTimeout = 20*time.Millisecond, 300*time.Millisecond
	}})
	ws, _, err := websocket.Dial(t.Context(), w.url+"/arc", &websocket.DialOptions{
		HTTPHeader:     http.Header{"Authorization": {"Bearer " + w.agentToken("mute")}},
		OnPingReceived: func(context.Context, []byte) bool { return false },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	c := talker{t, ws}
	c.say(serveFrame(1, "mute"))
	c.hear()
	task := w.create("mute", "hello")
	c.given()
	if status := c.closed(); status != -1 {
		t.Errorf("closed with %v, want a cut", status)
	}
	w.running(w.agent("mute", func(context.Context, *client.Work) error { return nil }))
	if got := w.ended(task); got.Status != arc.TaskCompleted || got.Attempt != 2 {
		t.Errorf("the task: %+v", got)
	}
}

func TestTokenRevokedInWork(t *testing.T) {
	v := &revocable{}
	w := start(t, options{config: func(cfg *server.Config) {
		v.Validator, cfg.Validator = cfg.Validator, v
		cfg.KeepAlive = 20 * time.Millisecond
	}})
	c := w.serving(1, "worker")
	hello := arc.Text(arc.RoleUser, "hello")
	if _, err := w.client().CreateTask(t.Context(), "worker", arc.CreateTaskParams{InitialMessage: &hello}); err != nil {
		t.Fatal(err)
	}
	g := c.given()
	v.refuse(auth.ReasonRevoked)
	if status := c.closed(); status != websocket.StatusPolicyViolation {
		t.Errorf("closed with %v, want 1008", status)
	}
	if room := w.sockets.Room("worker"); room != -1 {
		t.Errorf("room for %d", room)
	}
	_ = c.ws.Write(t.Context(), websocket.MessageText, []byte(`{"jsonrpc":"2.0","id":`+string(g.ID)+`,"result":{}}`)) // nobody hears it
	w.log.await(t, "request", "status", "101")
}

// wires makes connections that can be cut.
type wires struct {
	mu    sync.Mutex // guards conns
	conns map[net.Conn]struct{}
}

func (k *wires) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err == nil {
		k.mu.Lock()
		defer k.mu.Unlock()
		if k.conns == nil {
			k.conns = make(map[net.Conn]struct{})
		}
		k.conns[conn] = struct{}{}
	}
	return conn, err
}

// cut cuts all connections.
func (k *wires) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for conn := range k.conns {
		_ = conn.Close()
	}
	k.conns = nil
}

func TestAgentComesBack(t *testing.T) {
	w := start(t, options{})
	k := &wires{}
	began := make(chan int, 10)
	lost := make(chan error, 10)
	a := w.agent("worker", func(ctx context.Context, work *client.Work) error {
		began <- work.Attempt
		if work.Attempt == 1 {
			<-ctx.Done()
			lost <- context.Cause(ctx)
			return ctx.Err()
		}
		return work.Write(ctx, "at last")
	})
	a.Client.HTTP = &http.Client{Transport: &http.Transport{DialContext: k.dial}}
	a.Failed = func(err error) { lost <- err }
	w.running(a)
	task := w.create("worker", "hello")
	if n := <-began; n != 1 {
		t.Errorf("attempt %d", n)
	}
	k.cut()
	for range 2 {
		if err := <-lost; !errors.Is(err, client.ErrLost) && !errors.Is(err, arc.ErrUnavailable) {
			t.Errorf("lost with %v", err)
		}
	}
	if n := <-began; n != 2 {
		t.Errorf("attempt %d after the cut", n)
	}
	if got := w.ended(task); got.Status != arc.TaskCompleted || said(got) != "at last" {
		t.Errorf("the task: %+v", got)
	}
}

// elsewhere is a choice of servers, each with its own issuer.
type elsewhere struct{ now atomic.Pointer[world] }

func (e *elsewhere) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, network, strings.TrimPrefix(e.now.Load().url, "http://"))
}

// Token gives one of the server that is dialled now.
func (e *elsewhere) Token(context.Context, string) (string, error) {
	return e.now.Load().agentToken("worker"), nil
}

func TestAgentGoesElsewhereWhenItsServerStops(t *testing.T) {
	one, two := start(t, options{}), start(t, options{})
	servers := &elsewhere{}
	servers.now.Store(one)
	a := one.agent("worker", func(ctx context.Context, work *client.Work) error { return work.Write(ctx, "done") })
	transport := &http.Transport{DialContext: servers.dial}
	t.Cleanup(transport.CloseIdleConnections)
	a.Client.HTTP, a.Client.Token = &http.Client{Transport: transport}, servers
	served, failed := make(chan struct{}, 10), make(chan error, 100)
	a.Served = func() { served <- struct{}{} }
	a.Failed = func(err error) { failed <- err }
	stop := one.running(a)
	<-served
	if got := one.ended(one.create("worker", "hello")); said(got) != "done" {
		t.Errorf("at the first server: %+v", got)
	}
	servers.now.Store(two)
	one.stop()
	<-served
	for range len(failed) { // it goes over before it is sent away, if there is time
		if err := <-failed; !strings.Contains(err.Error(), "1001") {
			t.Errorf("it lost the first server with %v", err)
		}
	}
	if got := two.ended(two.create("worker", "hello")); said(got) != "done" {
		t.Errorf("at the second server: %+v", got)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAgentIsCanceled(t *testing.T) {
	w := start(t, options{})
	began, causes := make(chan struct{}, 1), make(chan error, 1)
	w.running(w.agent("worker", func(ctx context.Context, work *client.Work) error {
		began <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return ctx.Err()
	}))
	task := w.create("worker", "hello")
	<-began
	if _, err := w.client().CancelTask(t.Context(), "worker", arc.CancelTaskParams{TaskID: task.ID}); err != nil {
		t.Fatal(err)
	}
	if err := <-causes; !errors.Is(err, client.ErrCanceled) {
		t.Errorf("the cause is %v", err)
	}
	if got := w.ended(task); got.Status != arc.TaskCanceled {
		t.Errorf("the task: %+v", got)
	}
	// A chat that is closed in the middle of a turn.
	hello := arc.Text(arc.RoleUser, "hello")
	turn := make(chan error, 1)
	go func() {
		_, err := w.client().StartChat(t.Context(), "worker", arc.StartChatParams{ChatID: "c-1", InitialMessage: &hello})
		turn <- err
	}()
	<-began
	if _, err := w.client().EndChat(t.Context(), "worker", arc.EndChatParams{ChatID: "c-1"}); err != nil {
		t.Fatal(err)
	}
	if err := <-causes; !errors.Is(err, client.ErrCanceled) {
		t.Errorf("the cause is %v", err)
	}
	if err := <-turn; arc.CodeOf(err) != arc.CodeChatClosed {
		t.Errorf("the turn ended with %v", err)
	}
}

func TestAgentGetsMessages(t *testing.T) {
	w := start(t, options{})
	began := make(chan struct{}, 1)
	w.running(w.agent("worker", func(ctx context.Context, work *client.Work) error {
		began <- struct{}{}
		m, err := work.Receive(ctx)
		if err != nil {
			return err
		}
		return work.Write(ctx, "heard "+m.Text())
	}))
	task := w.create("worker", "hello")
	<-began
	more := arc.Text(arc.RoleUser, "more")
	if err := w.client().SendTask(t.Context(), "worker", arc.SendTaskParams{TaskID: task.ID, Message: &more}); err != nil {
		t.Fatal(err)
	}
	if got := w.ended(task); said(got) != "heard more" {
		t.Errorf("the task: %s %q", got.Status, said(got))
	}
}

func TestAgentStops(t *testing.T) {
	for label, c := range map[string]struct {
		grace time.Duration
		by    string // who ends the task
	}{
		"in time":          {time.Minute, "the first"},
		"its time is over": {-1, "the second"},
	} {
		t.Run(label, func(t *testing.T) {
			w := start(t, options{})
			began, goOn := make(chan struct{}, 1), make(chan struct{})
			first := w.agent("worker", func(ctx context.Context, work *client.Work) error {
				began <- struct{}{}
				select {
				case <-goOn:
					return work.Write(ctx, "the first")
				case <-ctx.Done():
					return ctx.Err()
				}
			})
			first.Grace = c.grace
			stop := w.running(first)
			task := w.create("worker", "hello")
			<-began
			stopped := make(chan error, 1)
			go func() { stopped <- stop() }()
			if c.grace > 0 {
				for w.sockets.Room("worker") != -1 { // it takes no more work
					w.log.await(t, "access", "method", "agent.serve")
				}
				close(goOn)
			}
			if err := <-stopped; err != nil {
				t.Errorf("Run gave %v", err)
			}
			w.running(w.agent("worker", func(ctx context.Context, work *client.Work) error { return work.Write(ctx, "the second") }))
			if got := w.ended(task); said(got) != c.by || got.Attempt != 1 {
				t.Errorf("ended by %q in attempt %d, want %s", said(got), got.Attempt, c.by)
			}
		})
	}
}

func TestAgentThatMayNotServeEnds(t *testing.T) {
	w := start(t, options{})
	nothing := func(context.Context, *client.Work) error { return nil }
	for label, c := range map[string]struct {
		change func(*client.Agent)
		want   error
	}{
		"another's id":  {func(a *client.Agent) { a.IDs = []string{"other"} }, arc.ErrPermission},
		"no scope":      {func(a *client.Agent) { a.Client.Token = client.StaticToken(w.token(auth.ScopeCaller)) }, arc.ErrScope},
		"a bad token":   {func(a *client.Agent) { a.Client.Token = client.StaticToken("x") }, arc.ErrAuthentication},
		"no id":         {func(a *client.Agent) { a.IDs = nil }, arc.ErrInvalid},
		"a wrong id":    {func(a *client.Agent) { a.IDs = []string{"a b"} }, arc.ErrInvalid},
		"no server":     {func(a *client.Agent) { a.Client.URL = "arc" }, arc.ErrInvalid},
		"another page":  {func(a *client.Agent) { a.Client.URL = w.url + "/livez" }, nil},
		"nothing to do": {func(a *client.Agent) { a.Handle = nil }, arc.ErrInvalid},
	} {
		a := w.agent("mine", nothing)
		c.change(a)
		err := a.Run(t.Context())
		if err == nil || c.want != nil && !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", label, err, c.want)
		}
	}
}

// renewing gives another token when one is refused.
type renewing struct {
	mu     sync.Mutex // guards tokens
	tokens []string
}

func (r *renewing) Token(_ context.Context, expired string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if expired == r.tokens[0] {
		if len(r.tokens) == 1 {
			return "", client.ErrNoNewToken
		}
		r.tokens = r.tokens[1:]
	}
	return r.tokens[0], nil
}

func TestAgentRenewsItsToken(t *testing.T) {
	w := start(t, options{auth: func(cfg *auth.Config) { cfg.Leeway = time.Millisecond }})
	claims := w.issuer.Claims(audience, time.Now())
	claims["agent_id"], claims["exp"] = []string{"worker"}, time.Now().Unix()+2
	short := w.issuer.Mint(t, "ES256", claims)
	a := w.agent("worker", func(ctx context.Context, work *client.Work) error { return work.Write(ctx, "done") })
	claims["jti"] = "another"
	again := w.issuer.Mint(t, "ES256", claims)
	a.Client.Token = &renewing{tokens: []string{short, w.agentToken("worker"), again}}
	served := make(chan struct{}, 10)
	a.Served = func() { served <- struct{}{} }
	w.running(a)
	<-served
	<-served // after the first token has run out
	if got := w.ended(w.create("worker", "hello")); said(got) != "done" {
		t.Errorf("the task: %+v", got)
	}
	// Without another one it ends, and says why.
	a = w.agent("late", nil)
	claims["agent_id"], claims["exp"] = []string{"late"}, time.Now().Unix()+2
	a.Client.Token = client.StaticToken(w.issuer.Mint(t, "ES256", claims))
	a.Handle = func(context.Context, *client.Work) error { return nil }
	if err := a.Run(t.Context()); !errors.Is(err, arc.ErrExpired) {
		t.Errorf("Run gave %v, want one that is arc.ErrExpired", err)
	}
}

package interop_test

import (
	"context"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/server"
	"github.com/arcd-io/arcd/store/sqlite"
)

// raised is what a Python caller shall see of a failure.
type raised struct {
	class string
	code  int // 0: the class has no code
	// details are keys that must be there.
	details []string
}

func (e *exception) check(t *testing.T, want raised) {
	t.Helper()
	code, _ := e.Code.(float64)
	if e.Class != want.class || int(code) != want.code {
		t.Errorf("raised %s with code %v (%s; details %v), want %s with %d",
			e.Class, e.Code, e.Text, e.Details, want.class, want.code)
	}
	details := e.Details
	if data, ok := e.Data.(map[string]any); ok { // RpcError and its kin call them data
		details = data
	}
	for _, key := range want.details {
		if _, ok := details[key]; !ok {
			t.Errorf("%s: the details lack %s: %v", e.Class, key, details)
		}
	}
}

// TestPythonErrors provokes every failure that the seven methods can have at
// HTTP 200 through what a caller does.
func TestPythonErrors(t *testing.T) {
	d := started(t, "")
	c := caller{newPython(t), d.endpoint(), d.token(t, "--scope", allScopes), ""}
	task := func(agent, status string) string {
		id := taskOf(t, c.call(t, "task.create", map[string]any{"target_agent": agent, "initial_message": text("9999")}))
		if status == "CANCELED" {
			c.call(t, "task.cancel", map[string]any{"target_agent": agent, "task_id": id})
		}
		c.until(t, agent, id, status)
		return id
	}
	completed, failed, canceled := task("echo", "COMPLETED"), task("fail", "FAILED"), task("slow", "CANCELED")
	c.call(t, "chat.start", map[string]any{"target_agent": "echo", "initial_message": text("hi"), "chat_id": "closed"})
	c.call(t, "chat.end", map[string]any{"target_agent": "echo", "chat_id": "closed"})
	past := map[string]any{"deadline": "2001-01-01T00:00:00Z"}

	for _, tt := range []struct {
		name, method string
		args         map[string]any
		want         raised
	}{
		{"unknown method", "send_request", map[string]any{"method": "task.subscibe", "target_agent": "echo", "params": map[string]any{}},
			raised{"MethodNotFoundError", -32601, []string{"supportedMethods"}}},
		{"bad params", "task.create", map[string]any{"initial_message": map[string]any{"role": "user", "parts": []any{}}},
			raised{"InvalidParamsError", -32602, []string{"errors", "field"}}},
		{"unknown agent", "task.create", map[string]any{"target_agent": "nobody", "initial_message": text("x")},
			raised{"AgentNotFoundError", -41001, []string{"agentId", "agent_id"}}},
		{"odd agent id", "task.create", map[string]any{"target_agent": "no body", "initial_message": text("x")},
			raised{"ARCAgentError", -41004, nil}},
		{"bad priority", "task.create", map[string]any{"initial_message": text("x"), "priority": "SOON"},
			raised{"ARCTaskError", -42010, []string{"field"}}},
		{"deadline in the past", "task.create", map[string]any{"initial_message": text("x"), "metadata": past},
			raised{"ARCTaskError", -42011, []string{"deadline"}}},
		{"unknown task, info", "task.info", map[string]any{"task_id": "task-none"},
			raised{"TaskNotFoundError", -42001, []string{"taskId", "task_id"}}},
		{"unknown task, send", "task.send", map[string]any{"task_id": "task-none", "message": text("x")},
			raised{"TaskNotFoundError", -42001, []string{"taskId"}}},
		{"unknown task, cancel", "task.cancel", map[string]any{"task_id": "task-none"},
			raised{"TaskNotFoundError", -42001, []string{"taskId"}}},
		{"send to a completed task", "task.send", map[string]any{"task_id": completed, "message": text("x")},
			raised{"ARCTaskError", -42002, []string{"taskId"}}},
		{"cancel a completed task", "task.cancel", map[string]any{"task_id": completed},
			raised{"ARCTaskError", -42002, []string{"taskId"}}},
		{"send to a canceled task", "task.send", map[string]any{"target_agent": "slow", "task_id": canceled, "message": text("x")},
			raised{"ARCTaskError", -42003, []string{"taskId"}}},
		{"cancel a canceled task", "task.cancel", map[string]any{"target_agent": "slow", "task_id": canceled},
			raised{"ARCTaskError", -42003, []string{"taskId"}}},
		{"send to a failed task", "task.send", map[string]any{"target_agent": "fail", "task_id": failed, "message": text("x")},
			raised{"ARCTaskError", -42006, []string{"taskId"}}},
		{"cancel a failed task", "task.cancel", map[string]any{"target_agent": "fail", "task_id": failed},
			raised{"ARCTaskError", -42006, []string{"taskId"}}},
		{"unknown chat, message", "chat.message", map[string]any{"chat_id": "chat-none", "message": text("x")},
			raised{"ChatNotFoundError", -43001, []string{"chatId", "chat_id"}}},
		{"unknown chat, end", "chat.end", map[string]any{"chat_id": "chat-none"},
			raised{"ChatNotFoundError", -43001, []string{"chatId"}}},
		{"message to a closed chat", "chat.message", map[string]any{"chat_id": "closed", "message": text("x")},
			raised{"ARCChatError", -43002, []string{"chatId"}}},
		{"end of a closed chat", "chat.end", map[string]any{"chat_id": "closed"},
			raised{"ARCChatError", -43002, []string{"chatId"}}},
		{"no chat message", "chat.start", map[string]any{"initial_message": map[string]any{"role": "robot", "parts": []any{}}},
			raised{"ARCChatError", -43005, []string{"field"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.args["target_agent"] == nil {
				tt.args["target_agent"] = "echo"
			}
			c.raises(t, tt.method, tt.args).check(t, tt.want)
		})
	}
}

// TestPythonAgentErrors has an agent fail with every code that an agent or the
// engine may report. All come through at HTTP 200; the two that have a status of
// their own (an unexpected failure, a refusal) do so with always_200. That a chat is
// not there is for the server to say: of an agent it is an unexpected failure.
func TestPythonAgentErrors(t *testing.T) {
	py := newPython(t)
	standard := caller{py, raiser(t, "standard") + "/arc", "", ""}
	always := caller{py, raiser(t, "always_200") + "/arc", "", ""}
	ask := func(t *testing.T, c caller, what string) *exception {
		return c.raises(t, "chat.start", map[string]any{"target_agent": "raise", "initial_message": text(what)})
	}
	for _, tt := range []struct {
		text string // what the agent is asked to raise
		want raised
	}{
		{"-32602", raised{"InvalidParamsError", -32602, nil}},
		{"-41001", raised{"AgentNotFoundError", -41001, []string{"agent_id"}}},
		{"-41002", raised{"AgentNotAvailableError", -41002, []string{"agent_id"}}},
		{"-41003", raised{"ARCAgentError", -41003, nil}},
		{"-41006", raised{"ARCAgentError", -41006, nil}},
		{"-41011", raised{"ARCAgentError", -41011, nil}},
		{"-42001", raised{"TaskNotFoundError", -42001, []string{"task_id"}}},
		{"-42004", raised{"ARCTaskError", -42004, nil}},
		{"-42005", raised{"ARCTaskError", -42005, nil}},
		{"-43004", raised{"ARCChatError", -43004, nil}},
		{"-43006", raised{"ARCChatError", -43006, nil}},
		{"-45006", raised{"ARCProtocolError", -45006, nil}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			ask(t, standard, tt.text).check(t, tt.want)
			ask(t, always, tt.text).check(t, tt.want)
		})
	}
	for _, tt := range []struct {
		text          string
		standard, at2 raised
	}{
		{"-32603", raised{"ARCException", 0, []string{"errorId"}}, raised{"InternalError", -32603, []string{"errorId"}}},
		{"panic", raised{"ARCException", 0, []string{"errorId"}}, raised{"InternalError", -32603, []string{"errorId"}}},
		{"-43001", raised{"ARCException", 0, []string{"errorId"}}, raised{"InternalError", -32603, []string{"errorId"}}},
		{"-43003", raised{"ARCException", 0, []string{"errorId"}}, raised{"InternalError", -32603, []string{"errorId"}}},
		{"-44006", raised{"AuthorizationError", -44002, []string{"code"}}, raised{"ARCSecurityError", -44006, nil}},
		{"-44007", raised{"ARCSecurityError", -44007, []string{"code"}}, raised{"ARCSecurityError", -44007, nil}},
	} {
		t.Run(tt.text, func(t *testing.T) {
			e := ask(t, standard, tt.text)
			e.check(t, tt.standard)
			if strings.Contains(e.Text, "goroutine") || strings.Contains(e.Text, "panic") {
				t.Errorf("internals in the text: %s", e.Text)
			}
			ask(t, always, tt.text).check(t, tt.at2)
		})
	}
	t.Run("an agent that nobody serves", func(t *testing.T) {
		standard.raises(t, "chat.start", map[string]any{"target_agent": "absent", "initial_message": text("x")}).
			check(t, raised{"AgentNotAvailableError", -41002, []string{"agentId", "agent_id"}})
	})
}

// raiser serves, in this process and without authentication, an agent "raise"
// that fails with the code it is asked for and an agent "absent" that nobody
// serves. It gives the server's URL.
func raiser(t *testing.T, httpStatus string) string {
	t.Helper()
	db, err := sqlite.Open(t.Context(), sqlite.Config{File: t.TempDir() + "/arcd.db"})
	if err != nil {
		t.Fatal(err)
	}
	raise := methods.RunnerFunc(func(_ context.Context, turn *methods.Turn) error {
		asked := turn.Message().Text()
		code, err := strconv.Atoi(asked)
		if err != nil {
			panic(asked)
		}
		return arc.Errorf(arc.Code(code), "as you wish")
	})
	service, err := methods.New(methods.Config{Store: db, Agents: map[string]methods.Agent{"raise": {Runner: raise}, "absent": {}}})
	if err != nil {
		t.Fatal(err)
	}
	web := httptest.NewServer(server.New(server.Config{Service: service, InsecureNoAuth: true, HTTPStatus: httpStatus}).Handler())
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- service.Run(ctx) }()
	t.Cleanup(func() {
		web.Close()
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return web.URL
}

// access lists calls that are refused before any method runs, and what Python
// sees of them at real HTTP statuses and at always 200.
var access = []struct {
	name          string
	token         []string // flags of "arcd dev token"; nil: no token
	agent         string
	args          map[string]any // besides those of a good task.create
	standard, at2 raised
}{
	{"no token", nil, "", nil,
		raised{"AuthenticationError", -44001, []string{"reason"}}, raised{"AuthenticationError", -44001, []string{"reason"}}},
	{"expired token", []string{"--ttl", "-60s"}, "", nil,
		raised{"AuthenticationError", -44001, []string{"expired_at"}}, raised{"TokenExpiredError", -44004, []string{"expired_at"}}},
	{"another audience", []string{"--audience", "https://elsewhere.example"}, "", nil,
		raised{"AuthenticationError", -44001, []string{"reason"}}, raised{"AuthenticationError", -44001, []string{"reason"}}},
	{"missing scope", []string{"--scope", "arc.agent.caller"}, "", nil,
		raised{"AuthorizationError", -44002, []string{"required_scopes", "provided_scopes"}},
		raised{"InsufficientScopeError", -44003, []string{"required_scopes", "provided_scopes"}}},
	{"another agent's name", []string{"--agent", "agent-a"}, "agent-b", nil,
		raised{"AuthorizationError", -44002, []string{"reason"}}, raised{"AuthorizationError", -44002, []string{"reason"}}},
	{"target agent of a wrong type", []string{}, "", map[string]any{"target_agent": 7},
		raised{"InvalidRequestError", -32600, []string{"field"}}, raised{"InvalidRequestError", -32600, []string{"field"}}},
	{"trace id too long", []string{}, "", map[string]any{"trace_id": strings.Repeat("t", 200)},
		raised{"InvalidRequestError", -32600, []string{"field"}}, raised{"ARCProtocolError", -45005, []string{"field"}}},
	// Too large to be read at all, so that there is no envelope to answer in.
	{"body too large", []string{}, "", map[string]any{"initial_message": text(strings.Repeat("x", 100_000))},
		raised{"ARCException", 0, []string{"max_size"}}, raised{"ARCException", 0, []string{"max_size"}}},
}

// TestPythonAccess is what Python sees of refusals at real statuses, where it
// takes the class from the status alone, and at always_200, where every class
// comes through.
func TestPythonAccess(t *testing.T) {
	py := newPython(t)
	for _, status := range []string{"standard", "always_200"} {
		d := started(t, "http_status: "+status+"\nlimits: {body_bytes: 65536}\n")
		for _, tt := range access {
			t.Run(status+", "+tt.name, func(t *testing.T) {
				c := caller{py, d.endpoint(), "", tt.agent}
				if tt.token != nil {
					flags := append([]string{"--scope", allScopes}, tt.token...)
					if len(tt.token) > 0 && tt.token[0] == "--scope" {
						flags = tt.token
					}
					c.token = d.token(t, flags...)
				}
				args := map[string]any{"target_agent": "echo", "initial_message": text("x")}
				for name, value := range tt.args {
					args[name] = value
				}
				want := tt.standard
				if status == "always_200" {
					want = tt.at2
				}
				c.raises(t, "task.create", args).check(t, want)
			})
		}
	}
}

// TestPythonStreamErrors is what Python sees of a streaming call that fails
// before its first event: a real status, because at 200 the client would see
// nothing but an empty stream.
func TestPythonStreamErrors(t *testing.T) {
	py := newPython(t)
	d := started(t, "")
	token := d.token(t, "--scope", allScopes)
	for _, tt := range []struct {
		name, token, method, status string
		args                        map[string]any
	}{
		{"no token", "", "chat.start", "401", map[string]any{"initial_message": text("x")}},
		{"missing scope", d.token(t, "--scope", "arc.agent.caller"), "chat.start", "403", map[string]any{"initial_message": text("x")}},
		{"unknown agent", token, "chat.start", "404", map[string]any{"target_agent": "nobody", "initial_message": text("x")}},
		{"no message", token, "chat.start", "400", map[string]any{"initial_message": map[string]any{}}},
		{"unknown chat", token, "chat.message", "404", map[string]any{"chat_id": "chat-none", "message": text("x")}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.args["target_agent"] == nil {
				tt.args["target_agent"] = "echo"
			}
			tt.args["stream"] = true
			e := caller{py, d.endpoint(), tt.token, ""}.raises(t, tt.method, tt.args)
			if e.Class != "ConnectionError" || !strings.Contains(e.Text, tt.status) {
				t.Errorf("raised %s: %s, want ConnectionError with status %s", e.Class, e.Text, tt.status)
			}
		})
	}
}

// TestPythonNoServer is the client's own failure.
func TestPythonNoServer(t *testing.T) {
	c := caller{newPython(t), "http://" + freeAddress(t) + "/arc", "", ""}
	c.raises(t, "task.create", map[string]any{"target_agent": "echo", "initial_message": text("x")}).
		check(t, raised{"ConnectionError", 0, nil})
}

package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// pythonAgents is the published ARC server with two agents (python/agents.py) as a
// process of its own.
type pythonAgents struct {
	address string
	state   string // file that its tasks outlive it in
	cmd     *exec.Cmd

	mu   sync.Mutex // guards seen
	seen []pythonCall
}

// pythonCall is a call as an agent saw it.
type pythonCall struct {
	Method        string         `json:"method"`
	Agent         string         `json:"agent"`
	From          string         `json:"from"`
	Trace         string         `json:"trace"`
	TraceParent   string         `json:"traceparent"`
	Params        map[string]any `json:"params"`
	Authorization string         `json:"authorization"`
}

func startPythonAgents(t *testing.T) *pythonAgents {
	t.Helper()
	p := &pythonAgents{address: freeAddress(t), state: filepath.Join(t.TempDir(), "tasks.json")}
	p.start(t)
	t.Cleanup(p.kill)
	return p
}

func (p *pythonAgents) endpoint() string { return "http://" + p.address + "/arc" }

// start runs the agents and waits until they take calls.
func (p *pythonAgents) start(t *testing.T) {
	t.Helper()
	program, err := filepath.Abs(filepath.Join("python", "agents.py"))
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := net.SplitHostPort(p.address)
	p.cmd = exec.Command(cache(t, "venv/bin/python"), program, port, p.state)
	var stderr bytes.Buffer
	p.cmd.Stderr = &stderr
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var call pythonCall
			if json.Unmarshal(lines.Bytes(), &call) == nil && call.Method != "" {
				p.mu.Lock()
				p.seen = append(p.seen, call)
				p.mu.Unlock()
			}
		}
	}()
	eventually(t, "the Python agents take calls", func() bool {
		conn, err := net.Dial("tcp", p.address)
		if err != nil {
			return false
		}
		return conn.Close() == nil
	})
}

// kill ends the agents as a crash would.
func (p *pythonAgents) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// calls gives the calls of a method that the agents have seen.
func (p *pythonAgents) calls(method string) []pythonCall {
	p.mu.Lock()
	defer p.mu.Unlock()
	var found []pythonCall
	for _, call := range p.seen {
		if call.Method == method {
			found = append(found, call)
		}
	}
	return found
}

// enroll registers an agent with the registry and gives its token.
func enroll(t *testing.T, d *daemon, id, endpoint string) string {
	t.Helper()
	c := &client.Client{URL: d.endpoint()}
	got, err := c.Enroll(t.Context(), client.EnrollParams{Key: id + "-agent-key", Unvalidated: true, Registration: arc.Registration{
		AgentID: id, Name: id, AgentType: "worker", Endpoint: endpoint, ContextBrief: "An agent written with the published SDK.",
		Capabilities: []string{"testing"}, Owner: "tests", PublicKey: strings.Repeat("ab", 32), Metadata: map[string]any{"sdk": "python"},
		Version: "1.0.0", CommunicationMode: "remote",
	}})
	if err != nil {
		t.Fatalf("registering %s: %v", id, err)
	}
	return got.AccessToken
}

// withPythonAgents is the configuration of a registry that takes the Python agents.
const withPythonAgents = `registry:
  agent_keys: [worker=worker-agent-key, writer=writer-agent-key]
  endpoint_check: "off"
  endpoint_allow: [127.0.0.0/8]
`

// TestPythonAgents has the published server, unchanged, work behind arcd for the
// published client, unchanged: all nine methods.
func TestPythonAgents(t *testing.T) {
	agents := startPythonAgents(t)
	d := started(t, withPythonAgents+"webhooks: {allow: [127.0.0.0/8], allow_http: true}\n")
	tokens := map[string]string{}
	for _, id := range []string{"worker", "writer"} {
		tokens[id] = enroll(t, d, id, agents.endpoint())
	}
	c := caller{newPython(t), d.endpoint(), d.token(t, "--scope", allScopes), ""}
	create := func(t *testing.T, words string) string {
		t.Helper()
		e := c.call(t, "task.create", map[string]any{
			"target_agent": "worker", "initial_message": text(words), "trace_id": "py-trace", "metadata": map[string]any{"ticket": "T-7"},
		})
		want(t, e, "SUBMITTED", "result", "task", "status")
		return taskOf(t, e)
	}
	t.Run("at once", func(t *testing.T) {
		task := c.until(t, "worker", create(t, "hello"), "COMPLETED")
		want(t, task, "hello", "artifacts", 0, "parts", 0, "content")
		call := agents.calls("task.create")[0]
		if call.Trace != "py-trace" || call.Params["metadata"].(map[string]any)["ticket"] != "T-7" {
			t.Errorf("the agent saw %+v", call)
		}
		if strings.Contains(call.Authorization, c.token) {
			t.Error("the agent saw the caller's token")
		}
	})
	t.Run("later", func(t *testing.T) {
		task := c.until(t, "worker", create(t, "slow"), "COMPLETED")
		want(t, task, "slow", "artifacts", 0, "parts", 0, "content")
	})
	t.Run("failure", func(t *testing.T) {
		task := c.until(t, "worker", create(t, "fail"), "FAILED")
		if at(task, "error", "message") == nil {
			t.Errorf("%v", task)
		}
	})
	t.Run("question", func(t *testing.T) {
		id := create(t, "ask")
		task := c.until(t, "worker", id, "INPUT_REQUIRED")
		if !strings.Contains(strings.Join(contents(task), "\n"), "Which colour?") {
			t.Errorf("the question is not there: %v", task)
		}
		want(t, c.call(t, "task.send", map[string]any{"target_agent": "worker", "task_id": id, "message": text("blue")}), true, "result", "success")
		want(t, c.until(t, "worker", id, "COMPLETED"), "blue", "artifacts", 0, "parts", 0, "content")
	})
	t.Run("cancel", func(t *testing.T) {
		id := create(t, "wait")
		c.until(t, "worker", id, "WORKING")
		e := c.call(t, "task.cancel", map[string]any{"target_agent": "worker", "task_id": id, "reason": "changed my mind"})
		want(t, e, "CANCELED", "result", "task", "status")
		eventually(t, "the agent is told", func() bool { return len(agents.calls("task.cancel")) > 0 })
		if why := agents.calls("task.cancel")[0].Params["reason"]; why != "changed my mind" {
			t.Errorf("the agent is told %v", why)
		}
	})
	t.Run("notification", func(t *testing.T) { pythonNotifies(t, c, d, agents, create(t, "wait"), tokens["worker"]) })
	t.Run("subscription", func(t *testing.T) {
		e := c.call(t, "task.subscribe", map[string]any{
			"target_agent": "worker", "task_id": create(t, "slow"), "callback_url": "http://127.0.0.1:9/hook", "events": []string{"TASK_COMPLETED"},
		})
		if at(e, "result", "subscription", "subscriptionId") == nil {
			t.Errorf("%v", e)
		}
	})
	t.Run("chat", func(t *testing.T) { pythonChats(t, c, agents) })
}

// pythonNotifies has the agent itself, with the published client, say that a task
// is done, by the agent's own id of it.
func pythonNotifies(t *testing.T, c caller, d *daemon, agents *pythonAgents, id, token string) {
	c.until(t, "worker", id, "WORKING")
	agent := caller{c.python, d.endpoint(), token, "worker"}
	mine := ownID(t, agents)
	agent.call(t, "task.notification", map[string]any{
		"target_agent": "arc-python-client", "task_id": mine, "event": "NEW_ARTIFACT", "timestamp": "2026-01-02T03:04:05Z",
		"data": map[string]any{"status": "WORKING", "message": "one", "artifact": map[string]any{
			"artifactId": "told", "name": "told", "parts": []any{map[string]any{"type": "TextPart", "content": "by notice"}},
		}},
	})
	agent.call(t, "task.notification", map[string]any{
		"target_agent": "arc-python-client", "task_id": mine, "event": "TASK_COMPLETED", "timestamp": "2026-01-02T03:04:06Z",
		"data": map[string]any{"status": "COMPLETED", "message": "done"},
	})
	want(t, c.until(t, "worker", id, "COMPLETED"), "by notice", "artifacts", 0, "parts", 0, "content")
	if e := c.raises(t, "task.notification", map[string]any{
		"target_agent": "worker", "task_id": id, "event": "TASK_FAILED", "timestamp": "2026-01-02T03:04:06Z",
		"data": map[string]any{"status": "FAILED", "message": "no"},
	}); e.Class != "AuthorizationError" {
		t.Errorf("a caller's own notification raises %+v", e)
	}
}

// ownID gives the id that the Python agent has for the task that it works on.
func ownID(t *testing.T, agents *pythonAgents) string {
	t.Helper()
	b, err := os.ReadFile(agents.state)
	if err != nil {
		t.Fatal(err)
	}
	var tasks map[string]struct{ Status string }
	if err := json.Unmarshal(b, &tasks); err != nil {
		t.Fatal(err)
	}
	for id, task := range tasks {
		if task.Status == "WORKING" {
			return id
		}
	}
	t.Fatalf("the agent works on nothing: %s", b)
	return ""
}

func pythonChats(t *testing.T, c caller, agents *pythonAgents) {
	e := c.call(t, "chat.start", map[string]any{"target_agent": "writer", "initial_message": text("good day")})
	want(t, e, "you said good day", "result", "chat", "message", "parts", 0, "content")
	seen := c.do(t, order{Endpoint: c.endpoint, Token: c.token, Call: "chat.start", Args: map[string]any{
		"target_agent": "writer", "initial_message": text("good day"), "stream": true,
	}})
	id := checkStream(t, seen.Events)
	if spoken(seen.Events) != "you said good day " || len(seen.Events) != 5 {
		t.Errorf("the stream says %q in %d events", spoken(seen.Events), len(seen.Events))
	}
	seen = c.do(t, order{Endpoint: c.endpoint, Token: c.token, Call: "chat.message", Args: map[string]any{
		"target_agent": "writer", "chat_id": id, "message": text("again"), "stream": true,
	}})
	if spoken(seen.Events) != "you said again " {
		t.Errorf("the second turn says %q", spoken(seen.Events))
	}
	if n := len(agents.calls("chat.message")); n != 1 {
		t.Errorf("%d chat.message came to the agent", n)
	}
	want(t, c.call(t, "chat.end", map[string]any{"target_agent": "writer", "chat_id": id}), "CLOSED", "result", "chat", "status")
	eventually(t, "the agent is told that the chat ended", func() bool { return len(agents.calls("chat.end")) == 1 })
}

// TestPythonAgentsRestart kills the agents, and arcd, in mid-task: an agent that
// kept its task goes on with it, one that forgot gets it again, and no task is lost
// or done twice.
func TestPythonAgentsRestart(t *testing.T) {
	agents := startPythonAgents(t)
	d := started(t, withPythonAgents)
	enroll(t, d, "worker", agents.endpoint())
	enroll(t, d, "writer", agents.endpoint())
	c := caller{newPython(t), d.endpoint(), d.token(t, "--scope", allScopes), ""}
	create := func(words string) string {
		t.Helper()
		id := taskOf(t, c.call(t, "task.create", map[string]any{"target_agent": "worker", "initial_message": text(words)}))
		c.until(t, "worker", id, "WORKING")
		return id
	}
	kept := create("wait")
	agents.kill()
	while := taskOf(t, c.call(t, "task.create", map[string]any{"target_agent": "worker", "initial_message": text("meanwhile")}))
	eventually(t, "arcd says what the task waits for", func() bool {
		e := c.call(t, "task.info", map[string]any{"target_agent": "worker", "task_id": while})
		return at(e, "result", "task", "waiting", "reason") == "agent_unreachable"
	})
	d.kill() // arcd too
	agents.start(t)
	d.start(t)
	c.until(t, "worker", while, "COMPLETED")
	want(t, c.call(t, "task.send", map[string]any{"target_agent": "worker", "task_id": kept, "message": text("finish")}), true, "result", "success")
	want(t, c.until(t, "worker", kept, "COMPLETED"), "finish", "artifacts", 0, "parts", 0, "content")
	created := 0
	for _, call := range agents.calls("task.create") {
		if m, _ := call.Params["initialMessage"].(map[string]any); strings.Contains(strings.Join(contents(map[string]any{"messages": []any{m}}), ""), "wait") {
			created++
		}
	}
	if created != 1 {
		t.Errorf("the task that the agent kept was created %d times", created)
	}

	forgotten := create("slow")
	agents.kill()
	agents.state = filepath.Join(t.TempDir(), "empty.json")
	agents.start(t)
	want(t, c.until(t, "worker", forgotten, "COMPLETED"), "slow", "artifacts", 0, "parts", 0, "content")

	// A chat that its agent forgot goes on as a new one there.
	e := c.call(t, "chat.start", map[string]any{"target_agent": "writer", "initial_message": text("one")})
	id, _ := at(e, "result", "chat", "chatId").(string)
	agents.kill()
	if raised := c.raises(t, "chat.message", map[string]any{"target_agent": "writer", "chat_id": id, "message": text("two")}); raised.Code != float64(-41003) {
		t.Errorf("a chat with an agent that is down raises %+v", raised)
	}
	agents.start(t)
	eventually(t, "the chat goes on", func() bool {
		seen := c.do(t, order{Endpoint: c.endpoint, Token: c.token, Call: "chat.message", Args: map[string]any{
			"target_agent": "writer", "chat_id": id, "message": text("three"),
		}})
		envelope, _ := seen.Value.(map[string]any)
		return at(envelope, "result", "chat", "message", "parts", 0, "content") == "you said three"
	})
}

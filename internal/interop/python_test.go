package interop_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// python is a published Python client, unchanged, in a process that makes calls
// as told: that of ARC (python/driver.py) or of the registry API (arcp/driver.py).
type python struct {
	mu  sync.Mutex // one call at a time
	in  io.WriteCloser
	out *bufio.Reader
	log *bytes.Buffer
}

// order is one call of the Python client.
type order struct {
	Endpoint string         `json:"endpoint"`
	Token    string         `json:"token,omitempty"`
	Agent    string         `json:"agent,omitempty"`   // request_agent
	Session  string         `json:"session,omitempty"` // keeps a client and its ThreadManager
	Call     string         `json:"call"`              // "task.create", "threads.send_to_agent", ...
	Args     map[string]any `json:"args,omitempty"`
}

// observed is what a Python program sees of a call.
type observed struct {
	Value   any        `json:"value"`   // what it returned
	Events  []sseEvent `json:"events"`  // what it streamed
	Error   *exception `json:"error"`   // what it raised
	Printed string     `json:"printed"` // what it wrote to standard output
}

type sseEvent struct {
	Event string         `json:"event"`
	Data  map[string]any `json:"data"`
}

type exception struct {
	Class   string         `json:"class"`
	Bases   []string       `json:"bases"`
	Text    string         `json:"text"`
	Code    any            `json:"code"`
	Details map[string]any `json:"details"`
	Data    any            `json:"data"`
}

func newPython(t *testing.T) *python {
	t.Helper()
	return newDriver(t, "venv", "python")
}

// newDriver starts the driver.py of a directory in a venv, with more variables in
// its environment.
func newDriver(t *testing.T, venv, dir string, env ...string) *python {
	t.Helper()
	driver, err := filepath.Abs(filepath.Join(dir, "driver.py"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(cache(t, venv+"/bin/python"), driver)
	cmd.Env = append(append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1"), env...)
	p := &python{log: new(bytes.Buffer)}
	cmd.Stderr = p.log
	if p.in, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewReader(out)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.in.Close()
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Logf("the Python client's end: %v\n%s", err, p.log)
		}
	})
	return p
}

// do has the client make one call.
func (p *python) do(t *testing.T, o order) observed {
	t.Helper()
	return p.tell(t, o.Call, o)
}

// tell sends an order to the driver and gives what comes back; what names it in
// a failure.
func (p *python) tell(t *testing.T, what string, o any) observed {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	line, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.in.Write(append(line, '\n')); err != nil {
		t.Fatal(err)
	}
	answer, err := p.out.ReadBytes('\n')
	if err != nil {
		t.Fatalf("%s: the Python client ended: %v", what, err)
	}
	var seen observed
	if err := json.Unmarshal(answer, &seen); err != nil {
		t.Fatalf("%s: %v: %s", what, err, answer)
	}
	return seen
}

// caller is a Python client with its endpoint and token.
type caller struct {
	*python
	endpoint, token, agent string
}

// call makes a call that must not raise, and gives the envelope it returns.
func (c caller) call(t *testing.T, method string, args map[string]any) map[string]any {
	t.Helper()
	seen := c.do(t, order{Endpoint: c.endpoint, Token: c.token, Agent: c.agent, Call: method, Args: args})
	if seen.Error != nil {
		t.Fatalf("%s raises %s: %s (code %v, details %v)", method, seen.Error.Class, seen.Error.Text, seen.Error.Code, seen.Error.Details)
	}
	envelope, ok := seen.Value.(map[string]any)
	if !ok {
		t.Fatalf("%s returns %v, want an envelope", method, seen.Value)
	}
	return envelope
}

// raises makes a call that must raise.
func (c caller) raises(t *testing.T, method string, args map[string]any) *exception {
	t.Helper()
	seen := c.do(t, order{Endpoint: c.endpoint, Token: c.token, Agent: c.agent, Call: method, Args: args})
	if seen.Error == nil {
		t.Fatalf("%s returns %v, want an exception", method, seen.Value)
	}
	return seen.Error
}

// stream makes a call with stream=True and gives the events.
func (c caller) stream(t *testing.T, method string, args map[string]any) []sseEvent {
	t.Helper()
	args["stream"] = true
	seen := c.do(t, order{Endpoint: c.endpoint, Token: c.token, Agent: c.agent, Call: method, Args: args})
	if seen.Error != nil {
		t.Fatalf("%s raises %s: %s", method, seen.Error.Class, seen.Error.Text)
	}
	return seen.Events
}

// text makes a message of one text part.
func text(s string) map[string]any {
	return map[string]any{"role": "user", "parts": []any{map[string]any{"type": "TextPart", "content": s}}}
}

// at reads a member of nested JSON objects and arrays; nil if it is not there.
func at(v any, path ...any) any {
	for _, step := range path {
		switch step := step.(type) {
		case string:
			object, _ := v.(map[string]any)
			v = object[step]
		case int:
			list, _ := v.([]any)
			if step >= len(list) {
				return nil
			}
			v = list[step]
		}
	}
	return v
}

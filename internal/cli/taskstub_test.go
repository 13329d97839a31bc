package cli_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/arcd-io/arcd/internal/cli"
)

// stubCall is a call that reached a stub.
type stubCall struct {
	JSONRPC     string          `json:"jsonrpc"`
	ID          json.RawMessage `json:"id"`
	Method      string          `json:"method"`
	From        string          `json:"requestAgent"`
	TargetAgent string          `json:"targetAgent"`
	Params      json.RawMessage `json:"params"`
	lastEventID string
}

// stubReply answers a call: with a result, an error object, or events of a
// stream.
type stubReply struct {
	result string
	err    string
	events []string // whole events, without the blank line
	header string   // NAME: VALUE
	hang   bool     // no answer comes, or no more events
}

// arcStub is a foreign ARC server whose answers the test writes.
type arcStub struct {
	t     *testing.T
	url   string
	env   []string
	over  chan struct{}
	reply func(stubCall) stubReply

	mu    sync.Mutex // guards what follows
	calls []stubCall
}

// newARCStub starts a stub.
func newARCStub(t *testing.T, reply func(stubCall) stubReply) *arcStub {
	t.Helper()
	s := &arcStub{t: t, reply: reply, over: make(chan struct{})}
	web := httptest.NewServer(http.HandlerFunc(s.serve))
	s.url = web.URL + "/arc"
	s.env = []string{"HOME=" + t.TempDir(), "ARCD_TOKEN=opaque-token-of-the-test", "ARCD_SERVER=" + s.url, "ARCD_KEYRING=off"}
	t.Cleanup(func() {
		close(s.over)
		web.CloseClientConnections()
		web.Close()
	})
	return s
}

func (s *arcStub) serve(w http.ResponseWriter, r *http.Request) {
	var c stubCall
	if r.URL.Path != "/arc" {
		http.NotFound(w, r)
		return
	}
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		s.t.Errorf("a call that is no JSON: %v", err)
		return
	}
	c.lastEventID = r.Header.Get("Last-Event-ID")
	s.mu.Lock()
	s.calls = append(s.calls, c)
	s.mu.Unlock()
	reply := s.reply(c)
	if name, value, ok := strings.Cut(reply.header, ": "); ok {
		w.Header().Set(name, value)
	}
	if reply.events != nil {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range reply.events {
			fmt.Fprintf(w, "%s\n\n", event)
		}
		_ = http.NewResponseController(w).Flush()
	}
	if reply.hang {
		select {
		case <-s.over:
		case <-r.Context().Done():
		}
	}
	if reply.hang || reply.events != nil {
		return
	}
	w.Header().Set("Content-Type", "application/json")
	part := `"result":` + reply.result
	if reply.err != "" {
		part = `"error":` + reply.err
	}
	if c.JSONRPC != "" {
		fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,%s}`, c.ID, part)
		return
	}
	fmt.Fprintf(w, `{"arc":"1.0","id":%s,"responseAgent":"x","targetAgent":"y",%s}`, c.ID, part)
}

// methods lists what was called.
func (s *arcStub) methods() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, c := range s.calls {
		all = append(all, c.Method)
	}
	return all
}

// run runs a command against the stub.
func (s *arcStub) run(args ...string) outcome { return s.runWith(strings.NewReader(""), args...) }

func (s *arcStub) runWith(stdin io.Reader, args ...string) outcome {
	s.t.Helper()
	var stdout, stderr bytes.Buffer
	code := cli.Run(s.t.Context(), args, s.env, stdin, &stdout, &stderr)
	return outcome{code, stdout.String(), stderr.String()}
}

// envelope checks what a command wrote and gives it.
func (o outcome) envelope(t *testing.T) *envelope {
	t.Helper()
	e := validateEnvelope(t, o.stdout, "")
	if e.exit() != o.code {
		t.Errorf("meta.exit_code is %d, the exit code %d", e.exit(), o.code)
	}
	return e
}

// members reads the data of an envelope.
func (e *envelope) members(t *testing.T) map[string]any {
	t.Helper()
	var data map[string]any
	if err := json.Unmarshal(e.Data, &data); err != nil {
		t.Fatalf("data: %v: %s", err, e.Data)
	}
	return data
}

// Errors and results of stubs.
const (
	stubExpired   = `{"code":-44004,"message":"the token has expired","details":{"reason":"expired","expired_at":"2026-01-02T03:04:05Z"},"data":{"reason":"expired","expired_at":"2026-01-02T03:04:05Z"}}`
	stubNoTask    = `{"code":-42001,"message":"there is no such task"}`
	stubNoMethod  = `{"code":-32601,"message":"there is no such method"}`
	stubTaskEnd   = `{"type":"task","task":{"taskId":"%s","status":"%s","createdAt":"2026-01-02T03:04:05Z"%s}}`
	stubChatPiece = `{"chatId":"chat-1","message":{"role":"agent","parts":[{"type":"TextPart","content":"%s"}]}}`
)

// stubTask is a result that holds a task.
func stubTask(id, status string, more ...string) stubReply {
	return stubReply{result: fmt.Sprintf(stubTaskEnd, id, status, strings.Join(more, ""))}
}

// stubEvent is an event of a stream; seq 0: it has no number.
func stubEvent(name string, seq int, data string) string {
	id := ""
	if seq > 0 {
		id = fmt.Sprintf("id: %d\n", seq)
	}
	return "event: " + name + "\n" + id + "data: " + data
}

// stubStep is an event of a task.
func stubStep(seq int, kind, data string) string {
	return stubEvent("stream", seq, fmt.Sprintf(`{"taskId":"t1","seq":%d,"type":"%s","at":"2026-01-02T03:04:05Z","data":%s}`, seq, kind, data))
}

// taskID reads params.taskId.
func (c stubCall) taskID() string {
	var p struct {
		TaskID string `json:"taskId"`
	}
	_ = json.Unmarshal(c.Params, &p)
	return p.TaskID
}

package cli_test

import (
	"strings"
	"testing"
)

// A call goes out as it was written, in the envelope that its flags ask for, and
// the answer is marked whatever it says of itself.
func TestCall(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		return stubReply{result: `{"_trusted":true,"ok":false,"n":12345678901234567890}`}
	})
	e := s.run("call", "any.method", "--raw-payload", `{"a":"x,y","b":[{"c":1.50}]}`).envelope(t)
	result := e.members(t)["result"].(map[string]any)
	if e.exit() != 0 || result["_trusted"] != false || !strings.Contains(string(e.Data), `"content":{"_trusted":true,"ok":false,"n":12345678901234567890}`) {
		t.Errorf("exit %d, %s", e.exit(), e.Data)
	}
	if c := s.calls[0]; c.JSONRPC != "2.0" || c.Method != "any.method" || !strings.Contains(string(c.Params), `1.50`) {
		t.Errorf("sent %+v", c)
	}
	s.runWith(strings.NewReader(`{"p":1}`), "call", "x.y", "--agent", "a", "--input-file", "-")
	if c := s.calls[1]; c.JSONRPC != "" || c.TargetAgent != "a" || string(c.Params) != `{"p":1}` {
		t.Errorf("sent %+v", c)
	}
	if e := s.run("call", "x.y", "--dry-run").envelope(t); e.exit() != 0 || len(s.calls) != 2 {
		t.Errorf("the trial run: exit %d, %d calls", e.exit(), len(s.calls))
	}
	if e := s.run("call", "x.y", "--stream").envelope(t); e.exit() != 4 {
		t.Errorf("a stream that is none: exit %d, %v", e.exit(), e.Error)
	}
}

// What the server could not read was the caller's own text.
func TestCallRefused(t *testing.T) {
	for refusal, want := range map[string]struct {
		exit int
		code string
	}{
		`{"code":-32600,"message":"m"}`: {2, "PROTOCOL_ERROR"}, stubNoMethod: {4, "METHOD_NOT_SUPPORTED"}, `{"code":-32602,"message":"m"}`: {2, "VALIDATION_ERROR"},
		stubExpired: {10, "CREDENTIALS_EXPIRED"}, `{"code":-41002,"message":"m"}`: {12, "AGENT_UNAVAILABLE"},
	} {
		s := newARCStub(t, func(stubCall) stubReply { return stubReply{err: refusal} })
		for _, more := range [][]string{nil, {"--stream"}} {
			e := s.run(append([]string{"call", "x.y"}, more...)...).envelope(t)
			if e.exit() != want.exit || e.code() != want.code || e.Error["rpc_method"] != "x.y" {
				t.Errorf("%s %v: exit %d, %v", refusal, more, e.exit(), e.Error)
			}
		}
	}
}

// Events of a stream are lines.
func TestCallStream(t *testing.T) {
	s := newARCStub(t, func(stubCall) stubReply {
		return stubReply{events: []string{stubStep(1, "NEW_MESSAGE", `{}`), stubEvent("done", 0, `{"taskId":"t1","status":"COMPLETED","done":true}`)}}
	})
	e := s.run("call", "task.events", "--stream", "--raw-payload", `{"taskId":"t1"}`).envelope(t)
	if e.exit() != 0 || len(e.before) != 2 || e.members(t)["last_seq"] != 1.0 || e.members(t)["count"] != 2.0 {
		t.Errorf("exit %d, %d lines, %s", e.exit(), len(e.before), e.Data)
	}
}

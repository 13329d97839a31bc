package cli_test

import (
	"encoding/base64"
	"strings"
	"testing"
)

// A call in the ARC envelope comes from the agent that the token names.
func TestCallsComeFromTheAgentOfTheToken(t *testing.T) {
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://a.example","sub":"s","agent_id":["me","other"]}`))
	for label, c := range map[string]struct {
		token string
		args  []string
		want  string
	}{
		"one that names agents": {"e30." + claims + ".c2ln", nil, "me"},
		"--as":                  {"e30." + claims + ".c2ln", []string{"--as", "other"}, "other"},
		"one that names nobody": {"opaque", nil, "arc-go-client"},
	} {
		t.Run(label, func(t *testing.T) {
			s := newARCStub(t, func(stubCall) stubReply { return stubTask("t1", "SUBMITTED", "") })
			s.env = append(s.env, "ARCD_TOKEN="+c.token)
			s.run(append([]string{"task", "create", "--agent", "helper", "--message", "Hello"}, c.args...)...)
			s.mu.Lock()
			defer s.mu.Unlock()
			if len(s.calls) != 1 || s.calls[0].From != c.want {
				t.Errorf("the calls are %+v, want one from %s", s.calls, c.want)
			}
		})
	}
}

// What people read says what is wrong and what helps.
func TestTextForPeople(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		switch c.Method {
		case "task.info":
			return stubTask("t1", "WORKING", `,"assignedAgent":"helper","waiting":{"reason":"agent_away","tries":0}`)
		case "task.create":
			return stubReply{err: `{"code":-42011,"message":"metadata.deadline has already passed","data":{"reason":"deadline_exceeded"}}`}
		case "task.notification":
			return stubReply{err: `{"code":-42001,"message":"no such task","data":{"reason":"task_not_found"}}`}
		case "chat.start":
			return stubReply{err: `{"code":-42004,"message":"it is broken","data":{"reason":"broken"}}`}
		case "chat.message":
			return stubReply{err: `{"code":-44002,"message":"the token does not name the agent","data":{"reason":"agent_mismatch"}}`}
		case "task.subscribe":
			return stubReply{result: `{"type":"subscription","subscription":{"subscriptionId":"sub-1","events":["TASK_FAILED"],"secret":"whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"}}`}
		}
		return stubReply{err: stubNoMethod}
	})
	for command, want := range map[string][]string{
		"explain t1 -o text": {"!in the hands of", "It waits because the agent"},
		"task create --agent a --message x --deadline 2020-01-01T00:00:00Z -o text":                 {"Give a later --deadline"},
		"task notify t1 --event progress --data {\"status\":\"WORKING\",\"message\":\"x\"} -o text": {"Only the agent that has the task"},
		"chat start --agent a --message x -o text":                                                  {"message of the agent", "It is broken"},
		"chat send c1 --agent a --message x -o text":                                                {"Use a token that names this agent", "!auth login"},
		"task subscribe t1 --callback-url https://a.example/x -o plain":                             {"sub-1\nwhsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3\n"},
		"task subscribe t1 --callback-url https://a.example/x -o json":                              {`"events":["TASK_FAILED"]`},
	} {
		got := s.run(strings.Fields(command)...)
		for _, text := range want {
			not, absent := strings.CutPrefix(text, "!")
			if strings.Contains(got.stdout+got.stderr, not) == absent {
				t.Errorf("%s: %q in\n%s%s", command, text, got.stdout, got.stderr)
			}
		}
	}
}

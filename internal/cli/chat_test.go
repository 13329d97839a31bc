package cli_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// chatPiece is an event that holds a piece of an answer.
func chatPiece(seq int, text string) string {
	return stubEvent("stream", seq, strings.Replace(stubChatPiece, "%s", text, 1))
}

const chatDone = `{"chatId":"chat-1","status":"ACTIVE","done":true}`

// A stream is JSON lines and then the whole answer; a call without one gives it at
// once.
func TestChatStartAnswers(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		if strings.Contains(string(c.Params), `"stream":true`) {
			return stubReply{events: []string{chatPiece(2, "Hel"), chatPiece(3, `lo\nyou`), stubEvent("done", 4, chatDone)}}
		}
		return stubReply{result: `{"type":"chat","chat":{"chatId":"chat-1","status":"ACTIVE","message":{"role":"agent","parts":[{"type":"text","content":"Hello"}]}}}`}
	})
	e := s.run("chat", "start", "--agent", "a", "--message", "hi", "--stream").envelope(t)
	chat := e.members(t)["chat"].(map[string]any)
	text, _ := json.Marshal(chat["message"])
	if e.exit() != 0 || len(e.before) != 3 || e.members(t)["last_seq"] != 4.0 || chat["_trusted"] != false || !strings.Contains(string(text), `"Hello\nyou"`) {
		t.Errorf("exit %d, %d lines, %s", e.exit(), len(e.before), e.Data)
	}
	e = s.run("chat", "start", "--agent", "a", "--message", "hi").envelope(t)
	if e.members(t)["effect"] != "created" || e.members(t)["chat_id"] != "chat-1" || e.members(t)["last_seq"] != nil {
		t.Errorf("exit %d, %s", e.exit(), e.Data)
	}
	if got := s.run("chat", "start", "--agent", "a", "--message", "hi", "--stream", "-o", "plain"); got.stdout != "Hello\nyou\n" {
		t.Errorf("plain: %q", got.stdout)
	}
	if got := s.run("chat", "start", "--agent", "a", "--message", "hi", "--stream", "-o", "text"); !strings.HasPrefix(got.stdout, "  │ Hello\n  │ you\nchat: ") {
		t.Errorf("every line of people's text must begin with a bar: %q", got.stdout)
	}
}

// A credential that runs out in an answer is exit code 10 with the place to go on,
// and the command that is printed goes on there without saying anything again.
func TestChatExpiresAndGoesOn(t *testing.T) {
	fresh := false
	s := newARCStub(t, func(stubCall) stubReply {
		if !fresh {
			return stubReply{events: []string{chatPiece(2, "a"), chatPiece(3, "b"), stubEvent("error", 0, `{"error":`+stubExpired+`}`)}}
		}
		return stubReply{events: []string{chatPiece(4, "c"), stubEvent("done", 5, chatDone)}}
	})
	for _, command := range [][]string{{"chat", "start", "--agent", "a"}, {"chat", "send", "chat-1", "--agent", "a"}} {
		fresh = false
		e := s.run(append(command, "--message", "hi", "--stream")...).envelope(t)
		if e.exit() != 10 || e.code() != "CREDENTIALS_EXPIRED" || e.Error["resume_from"] != "3" || len(e.before) != 2 {
			t.Fatalf("exit %d, %d lines, %v", e.exit(), len(e.before), e.Error)
		}
		fresh = true
		e = s.run(strings.Fields(e.members(t)["resume_command"].(string))[1:]...).envelope(t)
		if e.exit() != 0 || e.members(t)["effect"] != "noop" || len(e.before) != 2 {
			t.Errorf("going on: exit %d, %s", e.exit(), e.Data)
		}
		last := s.calls[len(s.calls)-1]
		if last.lastEventID != "3" || last.Method != "chat.message" || strings.Contains(string(last.Params), "hi") {
			t.Errorf("the call that goes on is %s %s after %q", last.Method, last.Params, last.lastEventID)
		}
	}
}

// An answer that fails is an error although its stream is whole, and nothing of it
// can be resumed.
func TestChatAnswerFails(t *testing.T) {
	s := newARCStub(t, func(stubCall) stubReply {
		return stubReply{events: []string{
			chatPiece(2, "a"), stubEvent("error", 3, `{"chatId":"chat-1","error":{"code":-43003,"message":"the agent took too long"}}`), stubEvent("done", 4, chatDone),
		}}
	})
	e := s.run("chat", "send", "chat-1", "--message", "hi", "--stream").envelope(t)
	if e.exit() != 7 || e.Error["resume_from"] != nil || e.members(t)["resume_command"] != nil || len(e.before) != 3 {
		t.Errorf("exit %d, %v, %s", e.exit(), e.Error, e.Data)
	}
}

// A trial run says nothing; what cannot go together is refused before anything is
// sent.
func TestChatSendsNothing(t *testing.T) {
	s := newARCStub(t, func(c stubCall) stubReply {
		t.Errorf("%s was sent", c.Method)
		return stubReply{err: stubNoMethod}
	})
	for args, exit := range map[string]int{
		"start --agent a --message hi --dry-run": 0, "send c1 --message hi --dry-run": 0, "end c1 --dry-run": 0,
		"start --agent a": 2, "start --message hi": 2, "send c1": 2, "send c1 --message hi --resume-from 3": 2, "send c1 --resume-from -1": 2,
		"start --agent a/b --message hi": 2, "end ../c1": 2, "start --agent a --message hi --metadata x": 2,
	} {
		if e := s.run(append([]string{"chat"}, strings.Fields(args)...)...).envelope(t); e.exit() != exit {
			t.Errorf("%s: exit %d, want %d: %v", args, e.exit(), exit, e.Error)
		}
	}
}

// The chats of a real server: start, go on, end.
func TestChatSession(t *testing.T) {
	t.Chdir(t.TempDir())
	server := serve(t, "--dev")
	s := &arcStub{t: t, env: []string{"HOME=" + t.TempDir(), "ARCD_TOKEN=" + server.token("--unmask", "-o", "plain"), "ARCD_SERVER=" + server.url, "ARCD_KEYRING=off"}}
	e := s.run("chat", "start", "--agent", "stream", "--message", "5", "--stream").envelope(t)
	id, _ := e.members(t)["chat_id"].(string)
	if e.exit() != 0 || id == "" || len(e.before) != 6 {
		t.Fatalf("start: exit %d, %d lines, %v", e.exit(), len(e.before), e.Error)
	}
	e = s.run("chat", "send", id, "--resume-from", "4").envelope(t)
	if e.exit() != 0 || len(e.before) != 3 {
		t.Errorf("read on: exit %d, %d lines, %v", e.exit(), len(e.before), e.Error)
	}
	if got := s.run("chat", "send", id, "--message", "1", "-o", "plain"); got.stdout != "piece 1 \n" {
		t.Errorf("send: %q, %s", got.stdout, got.stderr)
	}
	if e = s.run("chat", "end", id).envelope(t); e.exit() != 0 || e.members(t)["status"] != "CLOSED" {
		t.Errorf("end: exit %d, %s", e.exit(), e.Data)
	}
	if e = s.run("chat", "send", id, "--message", "more").envelope(t); e.exit() != 6 || e.code() != "CHAT_CLOSED" {
		t.Errorf("send to a closed chat: exit %d, %v", e.exit(), e.Error)
	}
}

package carrier_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
)

// chat makes the result of a chat method.
func chat(id, answer string) m {
	return m{"type": "chat", "chat": m{"chatId": id, "status": "ACTIVE", "message": agentText(answer)}}
}

// said is a turn of a chat as its caller sees it: pieces, each behind a bar.
type turn struct {
	chatID string
	text   string
	err    *arc.Error
}

// chat takes a turn of a chat: the first one if id is "".
func (w *world) chat(id, message string, streams bool) turn {
	w.t.Helper()
	return w.chatIn(context.Background(), id, message, streams)
}

func (w *world) chatIn(ctx context.Context, id, message string, streams bool) turn {
	w.t.Helper()
	c := &rpc.Call{Request: arc.Request{Dialect: arc.ARC, Method: "chat.start", From: "near", To: "far"}, Principal: caller(), Streaming: streams}
	params := m{"initialMessage": text(message), "stream": streams}
	if id != "" {
		c.Method, params = "chat.message", m{"chatId": id, "message": text(message), "stream": streams}
	}
	c.Params, _ = json.Marshal(params)
	result, err := w.s.Mux().Dispatch(ctx, c)
	if err != nil {
		return turn{chatID: id, err: arc.Public(err)}
	}
	got := turn{chatID: id}
	events, ok := result.(rpc.Stream)
	if !ok {
		b, _ := json.Marshal(result)
		var r arc.ChatResult
		if err := json.Unmarshal(b, &r); err != nil {
			w.t.Fatalf("not a chat: %s", b)
		}
		got.chatID = r.Chat.ID
		if r.Chat.Message != nil {
			got.text = r.Chat.Message.Text()
		}
		return got
	}
	for ev, err := range events {
		if err != nil {
			got.err = arc.Public(err)
			return got
		}
		b, _ := json.Marshal(ev.Data)
		var data struct {
			ChatID  string
			Message arc.Message
			Error   arc.ErrorObject
		}
		_ = json.Unmarshal(b, &data)
		got.chatID = data.ChatID
		switch ev.Name {
		case "stream":
			got.text += data.Message.Text() + "|"
		case "error":
			got.err = &arc.Error{Code: data.Error.Code, Message: data.Error.Message, Details: data.Error.Details}
		}
	}
	return got
}

const (
	pieceOne = `{"chatId":"c1","message":{"role":"agent","parts":[{"type":"TextPart","content":"one "}]}}`
	pieceTwo = `{"chatId":"c1","message":{"role":"agent","parts":[{"type":"text","content":"two"}]}}`
	doneData = `{"chatId":"c1","status":"ACTIVE","done":true}`
)

// TestChat: answers, whole and in pieces, asked for or not.
func TestChat(t *testing.T) {
	for name, c := range map[string]struct {
		answer  any
		streams bool
		want    string
	}{
		"whole":                          {chat("c1", "one two"), false, "one two"},
		"pieces":                         {stream(event("stream", pieceOne), event("stream", pieceTwo), event("done", doneData)), true, "one |two|"},
		"pieces without an end":          {stream(event("stream", pieceOne), event("stream", pieceTwo)), true, "one |two|"},
		"pieces under another name":      {stream(event("chat", pieceOne), event("content", pieceTwo), event("done", doneData)), true, "one |two|"},
		"whole to who asks for pieces":   {chat("c1", "one two"), true, "one two|"},
		"pieces to who asks for a whole": {stream(event("stream", pieceOne), event("stream", pieceTwo), event("done", doneData)), false, "one two"},
		"a part in a message's place":    {stream(event("stream", `{"chatId":"c1","message":{"type":"TextPart","content":"one"}}`), event("done", doneData)), true, "one|"},
		"a text in a message's place":    {stream(event("stream", `{"chatId":"c1","message":"one"}`), event("done", doneData)), true, "one|"},
		"nothing but a whole at the end": {stream(event("done", `{"chat":{"chatId":"c1","message":{"role":"agent","parts":[{"type":"text","content":"one"}]}}}`)), true, "one|"},
		"comments and events of others":  {stream(": hello\n\n", event("stream", pieceOne), event("usage", `{"tokens":1}`), event("done", doneData)), true, "one |"},
		"nothing":                        {m{"type": "chat", "chat": m{"chatId": "c1", "status": "ACTIVE"}}, true, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake(t, script{"chat.start": always(c.answer), "chat.message": always(c.answer)}.handle)
				w := with(t, f)
				first := w.chat("", "hello", c.streams)
				if first.err != nil || first.text != c.want {
					t.Errorf("got %+v", first)
				}
				if got := f.call("chat.start", 0).param("stream"); (got == true) != c.streams {
					t.Errorf("stream was %v", got)
				}
				if second := w.chat(first.chatID, "again", c.streams); second.err != nil || second.text != c.want {
					t.Errorf("got %+v", second)
				}
				if r := f.call("chat.message", 0); r.param("chatId") != "c1" || r.text() != "again" {
					t.Errorf("sent %s", r.Params)
				}
			})
		})
	}
}

// TestChatErrors: what the caller learns.
func TestChatErrors(t *testing.T) {
	html := raw{200, http.Header{"Content-Type": {"text/html"}}, "<html>hello</html>"}
	for name, c := range map[string]struct {
		answer any
		code   arc.Code
		reason string
		text   string
	}{
		"of the agent":         {arc.Errorf(-50001, "no").With("reason", "tired"), -50001, "tired", ""},
		"an error event":       {stream(event("stream", pieceOne), event("error", `{"chatId":"c1","error":{"code":-50001,"message":"no","details":{"reason":"tired"}}}`), event("done", doneData)), -50001, "tired", "one |"},
		"as Python has it":     {stream(event("stream", pieceOne), event("error", `{"message":"boom","code":-43005}`)), -43005, "agent_error", "one |"},
		"of no kind":           {stream(event("stream", pieceOne), event("error", `"x"`)), arc.CodeTaskFailed, "agent_error", "one |"},
		"no ARC":               {html, arc.CodeAgentUnreachable, "bad_answer", ""},
		"no JSON in the event": {stream(event("stream", "x")), arc.CodeAgentUnreachable, "bad_answer", ""},
		"refused credential":   {raw{401, nil, ""}, arc.CodeAgentUnreachable, "agent_unreachable", ""},
		"down":                 {raw{503, nil, ""}, arc.CodeAgentUnreachable, "agent_unreachable", ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := with(t, newFake(t, script{"chat.start": always(c.answer)}.handle))
				got := w.chat("", "hello", true)
				if got.err == nil || got.err.Code != c.code || got.err.Reason() != c.reason || got.text != c.text {
					t.Errorf("got %+v, %v", got, got.err)
				}
			})
		})
	}
}

// TestChatForgotten: an agent that restarted is told the last message as the first.
func TestChatForgotten(t *testing.T) {
	for name, code := range map[string]arc.Code{"forgot": arc.CodeChatNotFound, "closed": arc.CodeChatClosed, "idle": arc.CodeChatTimeout} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refusal := arc.Errorf(code, "Chat not found")
				refusal.Status = http.StatusBadRequest
				f := newFake(t, script{
					"chat.start":   inTurn(chat("c1", "one"), chat("c2", "two")),
					"chat.message": inTurn(refusal, chat("c2", "three")),
				}.handle)
				w := with(t, f)
				id := w.chat("", "a", false).chatID
				if got := w.chat(id, "b", false); got.text != "two" || got.chatID != id {
					t.Errorf("got %+v", got)
				}
				if got := w.chat(id, "c", false); got.text != "three" {
					t.Errorf("got %+v", got)
				}
				if got := f.call("chat.start", 1).text(); got != "b" {
					t.Errorf("the new chat began with %q", got)
				}
				if got := f.call("chat.message", 1).param("chatId"); got != "c2" {
					t.Errorf("then it was %v", got)
				}
			})
		})
	}
}

// TestChatEnd: the agent is told when a chat is closed.
func TestChatEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"chat.start": always(chat("c1", "one")), "chat.end": always(chat("c1", ""))}.handle)
		w := with(t, f)
		id := w.chat("", "a", false).chatID
		if _, err := w.call("chat.end", m{"chatId": id, "reason": "enough"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if r := f.call("chat.end", 0); r.param("chatId") != "c1" || r.param("reason") != "enough" {
			t.Errorf("told %s", r.Params)
		}
	})
}

// flowing answers with pieces until f says stop.
func flowing(r *request, pause time.Duration, more func(n int) bool) any {
	r.w.Header().Set("Content-Type", "text/event-stream")
	for n := 0; more(n); n++ {
		if _, err := r.w.Write([]byte(event("stream", pieceOne))); err != nil {
			return nil
		}
		_ = http.NewResponseController(r.w).Flush()
		select {
		case <-time.After(pause):
		case <-r.ctx.Done():
			return nil
		}
	}
	return nil
}

// TestChatCut: after the first piece there is no second try.
func TestChatCut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"chat.start": func(r *request) any {
			flowing(r, 10*time.Millisecond, func(n int) bool { return n < 3 })
			panic(http.ErrAbortHandler)
		}}.handle)
		w := with(t, f)
		got := w.chat("", "hello", true)
		if got.err == nil || got.err.Reason() != "interrupted" || got.err.Details["retryable"] != true || got.text != "one |one |one |" {
			t.Errorf("got %+v", got)
		}
		if n := f.count("chat.start"); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// TestChatReaderGone: the agent sees it.
func TestChatReaderGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var gone atomic.Bool
		f := newFake(t, script{"chat.start": func(r *request) any {
			flowing(r, 100*time.Millisecond, func(int) bool { return r.ctx.Err() == nil })
			gone.Store(true)
			return nil
		}}.handle)
		w := with(t, f)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		w.chatIn(ctx, "", "hello", true)
		time.Sleep(4 * time.Second)
		if !gone.Load() {
			t.Error("the agent goes on")
		}
	})
}

// TestStreamsNothingForEver: events and comments that say nothing have a limit too.
func TestStreamsNothingForEver(t *testing.T) {
	for _, nothing := range []string{event("x", "{}"), ": nothing\n\n"} {
		synctest.Test(t, func(t *testing.T) {
			f := newFake(t, script{"chat.start": func(r *request) any {
				r.w.Header().Set("Content-Type", "text/event-stream")
				for r.ctx.Err() == nil {
					if _, err := r.w.Write([]byte(strings.Repeat(nothing, 100))); err != nil {
						break
					}
				}
				return nil
			}}.handle)
			cfg := f.cfg()
			cfg.AnswerBytes = 64 << 10
			w := start(t, methods.Config{Agents: map[string]methods.Agent{"far": carrier.HTTP("far", cfg, zerolog.Nop())}})
			if got := w.chat("", "hello", true); got.err == nil {
				t.Errorf("%q: got %+v", nothing, got)
			}
		})
	}
}

// TestStreamsForEver: an answer is as long as arcd takes, not longer.
func TestStreamsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		big := strings.Replace(pieceOne, "one ", strings.Repeat("x", 100_000), 1)
		f := newFake(t, script{"chat.start": func(r *request) any {
			r.w.Header().Set("Content-Type", "text/event-stream")
			for r.ctx.Err() == nil {
				if _, err := r.w.Write([]byte(event("stream", big))); err != nil {
					break
				}
			}
			return nil
		}}.handle)
		w := with(t, f)
		for _, streams := range []bool{true, false} {
			got := w.chat("", "hello", streams)
			if got.err == nil || len(got.text) > 9<<20 {
				t.Errorf("got %d bytes, %v", len(got.text), got.err)
			}
		}
	})
}

// TestSilences: an agent that says nothing, at once or in the middle, is not waited
// for for ever.
func TestSilences(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(r *request) any { <-r.ctx.Done(); return nil }
		f := newFake(t, script{"chat.start": silent}.handle)
		w := with(t, f)
		begun := time.Now()
		got := w.chat("", "hello", false)
		if got.err == nil || got.err.Reason() != "agent_unreachable" || time.Since(begun) != time.Minute {
			t.Errorf("got %+v after %v", got, time.Since(begun))
		}
	})
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"chat.start": func(r *request) any {
			return flowing(r, time.Hour, func(int) bool { return true })
		}}.handle)
		w := with(t, f)
		begun := time.Now()
		got := w.chat("", "hello", true)
		if got.err == nil || got.err.Reason() != "interrupted" || time.Since(begun).Truncate(time.Second) != 2*time.Minute {
			t.Errorf("got %+v after %v", got, time.Since(begun))
		}
	})
}

// TestForeignChat: an agent does not get at a chat by its name for it.
func TestForeignChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake(t, script{"chat.start": always(chat("c1", "one")), "chat.message": always(chat("c9", "two"))}.handle)
		w := with(t, f)
		id := w.chat("", "a", false).chatID
		got := w.chat(id, "b", false)
		if diff := cmp.Diff("foreign_chat", got.err.Reason()); diff != "" {
			t.Errorf("got %+v", got)
		}
	})
}

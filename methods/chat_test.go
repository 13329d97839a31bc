package methods_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
	"github.com/arcd-io/arcd/rpc"
)

// piece is one event of a chat stream, decoded.
type piece struct {
	name string
	seq  int64
	text string
	err  arc.Code
	done arc.StreamDone
}

// streaming makes a streaming chat call and reads its stream until f says stop.
func (w *world) streaming(ctx context.Context, c *rpc.Call, params any, f func(piece) bool) error {
	w.t.Helper()
	c.Streaming, c.Principal, c.Dialect = true, alice(), arc.JSONRPC
	var err error
	if c.Params, err = json.Marshal(params); err != nil {
		w.t.Fatal(err)
	}
	result, err := w.s.Mux().Dispatch(ctx, c)
	if err != nil {
		return err
	}
	for ev, err := range result.(rpc.Stream) {
		if err != nil {
			return err
		}
		if ev.Name == "" {
			continue
		}
		b, err := json.Marshal(ev.Data)
		if err != nil {
			w.t.Fatal(err)
		}
		p := piece{name: ev.Name, seq: ev.Seq}
		switch ev.Name {
		case "stream":
			var chunk arc.ChatChunk
			err = json.Unmarshal(b, &chunk)
			p.text = chunk.Message.Text()
		case "error":
			var e arc.StreamError
			err = json.Unmarshal(b, &e)
			p.err = e.Error.Code
		case "done":
			err = json.Unmarshal(b, &p.done)
		}
		if err != nil {
			w.t.Fatalf("stream data %s: %v", b, err)
		}
		if !f(p) {
			break
		}
	}
	return nil
}

func call(method, to string) *rpc.Call {
	return &rpc.Call{Request: arc.Request{Method: method, To: to}}
}

func chatOf(t testing.TB, result json.RawMessage) arc.Chat {
	t.Helper()
	var r arc.ChatResult
	if err := json.Unmarshal(result, &r); err != nil || r.Chat == nil || r.Type != "chat" {
		t.Fatalf("not a chat result: %s (%v)", result, err)
	}
	return *r.Chat
}

func TestChat(t *testing.T) {
	w := start(t, methods.Config{})
	chat := chatOf(t, w.must(alice(), "chat.start", "echo", m{"initialMessage": text("hello"), "metadata": m{"k": 1}}))
	if chat.Status != arc.ChatActive || chat.Message == nil || chat.Message.Text() != "hello" || chat.Message.Role != arc.RoleAgent {
		t.Fatalf("chat = %+v", chat)
	}
	next := chatOf(t, w.must(alice(), "chat.message", "", m{"chatId": chat.ID, "message": text("again")}))
	if next.ID != chat.ID || next.Message.Text() != "again" {
		t.Errorf("second turn = %+v", next)
	}
	closed := chatOf(t, w.must(alice(), "chat.end", "echo", m{"chatId": chat.ID, "reason": "bye"}))
	if closed.Status != arc.ChatClosed || closed.Reason != "bye" || closed.ClosedAt.IsZero() {
		t.Errorf("closed = %+v", closed)
	}
	for method, params := range map[string]m{
		"chat.message": {"chatId": chat.ID, "message": text("x")},
		"chat.end":     {"chatId": chat.ID},
	} {
		_, err := w.call(alice(), method, "", params)
		wantCode(t, err, arc.CodeChatClosed)
	}
}

func TestChatSeesItsHistory(t *testing.T) {
	counter := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		return t.Write(ctx, fmt.Sprint(len(t.History), " ", t.Message().Text()))
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"count": {Runner: counter}}})
	w.must(alice(), "chat.start", "count", m{"chatId": "c", "initialMessage": text("one")})
	got := chatOf(t, w.must(alice(), "chat.message", "", m{"chatId": "c", "message": text("two")})).Message.Text()
	if got != "3 two" {
		t.Errorf("answer = %q, want the third message to be seen", got)
	}
}

func TestChatStream(t *testing.T) {
	w := start(t, methods.Config{})
	var whole strings.Builder
	var names []string
	var seqs []int64
	var done arc.StreamDone
	err := w.streaming(t.Context(), call("chat.start", "stream"), m{"chatId": "s", "stream": true, "initialMessage": text("3")}, func(p piece) bool {
		names, seqs = append(names, p.name), append(seqs, p.seq)
		whole.WriteString(p.text)
		done = p.done
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(names, " "); got != "stream stream stream done" || whole.String() != "piece 1 piece 2 piece 3 " {
		t.Errorf("stream = %s, %q", got, &whole)
	}
	if fmt.Sprint(seqs) != "[2 3 4 5]" {
		t.Errorf("sequence numbers %v, want those behind the caller's message", seqs)
	}
	if done.ChatID != "s" || done.Status != "ACTIVE" || !done.Done {
		t.Errorf("done = %+v", done)
	}
	// Where no stream is accepted the same call gives the whole answer.
	chat := chatOf(t, w.must(alice(), "chat.message", "", m{"chatId": "s", "stream": true, "message": text("2")}))
	if chat.Message.Text() != "piece 1 piece 2 " {
		t.Errorf("aggregated answer = %q", chat.Message.Text())
	}
}

func TestChatStreamResumes(t *testing.T) {
	w := start(t, methods.Config{})
	params := m{"chatId": "r", "stream": true, "initialMessage": text("40")}
	var all []string
	var last int64
	cut, cancel := context.WithCancel(t.Context())
	err := w.streaming(cut, call("chat.start", "stream"), params, func(p piece) bool {
		all, last = append(all, p.text), p.seq
		return len(all) < 7
	})
	cancel()
	if err != nil {
		t.Fatal(err)
	}
	// Again and again, a few at a time, as a bad line would have it.
	for finished := false; !finished; {
		c := call("chat.start", "stream")
		c.Resume, c.LastSeq = true, last
		n := 0
		err := w.streaming(t.Context(), c, params, func(p piece) bool {
			finished = p.name == "done"
			if p.name == "stream" {
				all = append(all, p.text)
			}
			last = p.seq
			n++
			return n < 9
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i, got := range all {
		if want := fmt.Sprintf("piece %d ", i+1); got != want {
			t.Fatalf("piece %d = %q, want %q: lost or doubled", i, got, want)
		}
	}
	if len(all) != 40 {
		t.Errorf("%d pieces, want 40", len(all))
	}
	c := call("chat.message", "stream")
	c.Resume, c.LastSeq = true, last+100
	err = w.streaming(t.Context(), c, m{"chatId": "r", "stream": true}, func(piece) bool { return true })
	if e := wantCode(t, err, arc.CodeInvalidParams); e.Reason() != "gap" {
		t.Errorf("reason = %q, want gap", e.Reason())
	}
}

// A client that keeps its Last-Event-ID must not lose what it says next.
func TestResumeRefusesAnotherMessage(t *testing.T) {
	w := start(t, methods.Config{})
	w.must(alice(), "chat.start", "echo", m{"chatId": "o", "initialMessage": text("one")})
	w.must(alice(), "chat.message", "echo", m{"chatId": "o", "message": text("two")})
	resume := func(said any) (string, error) {
		c := call("chat.message", "echo")
		c.Resume, c.LastSeq = true, 1
		var got string
		err := w.streaming(t.Context(), c, m{"chatId": "o", "stream": true, "message": said}, func(p piece) bool {
			got += p.text
			return true
		})
		return got, err
	}
	_, err := resume(text("three"))
	if e := wantCode(t, err, arc.CodeInvalidParams); e.Reason() != "other_message" {
		t.Errorf("reason = %q, want other_message", e.Reason())
	}
	for label, said := range map[string]any{"the same message": text("two"), "no message": nil} {
		if got, err := resume(said); got != "two" || err != nil {
			t.Errorf("with %s: %q, %v, want the latest turn", label, got, err)
		}
	}
}

func TestChatStreamMergesWithinTheGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, methods.Config{})
		c := call("chat.start", "stream")
		c.Gap = 5 * time.Millisecond
		var texts []string
		begun := time.Now()
		err := w.streaming(t.Context(), c, m{"stream": true, "initialMessage": text("50")}, func(p piece) bool {
			texts = append(texts, p.text)
			return true
		})
		if err != nil {
			t.Fatal(err)
		}
		if n := len(texts); n > 10 || strings.Count(strings.Join(texts, ""), "piece") != 50 {
			t.Errorf("%d events with %q", n, texts)
		}
		if n := len(texts); time.Since(begun) < time.Duration(n-1)*c.Gap {
			t.Errorf("%d events in %v", n, time.Since(begun))
		}
	})
}

func TestChatFailures(t *testing.T) {
	late := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		if err := t.Write(ctx, "so far"); err != nil {
			return err
		}
		return errors.New("secret text")
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"late": {Runner: late}}})
	// Before the first piece: the call's own error, streaming or not.
	for _, stream := range []bool{true, false} {
		err := w.streaming(t.Context(), call("chat.start", "fail"), m{"stream": stream, "initialMessage": text("x")}, func(p piece) bool {
			t.Errorf("got event %+v", p)
			return true
		})
		wantCode(t, err, arc.CodeTaskFailed)
	}
	// After it: an error event, then done.
	var names []string
	var code arc.Code
	err := w.streaming(t.Context(), call("chat.start", "late"), m{"chatId": "l", "stream": true, "initialMessage": text("x")}, func(p piece) bool {
		names = append(names, p.name)
		if p.err != 0 {
			code = p.err
		}
		return true
	})
	if err != nil || strings.Join(names, " ") != "stream error done" || code != arc.CodeInternal {
		t.Errorf("events %v, code %d, error %v", names, code, err)
	}
	_, err = w.call(alice(), "chat.message", "", m{"chatId": "l", "message": text("x")})
	if e := wantCode(t, err, arc.CodeInternal); strings.Contains(e.Message, "secret") {
		t.Errorf("internal text leaks: %v", e)
	}
	_, err = w.call(alice(), "chat.start", "idle", m{"initialMessage": text("x")})
	wantCode(t, err, arc.CodeAgentUnavailable)
	_, err = w.call(alice(), "chat.start", "nobody", m{"initialMessage": text("x")})
	wantCode(t, err, arc.CodeAgentNotFound)
}

func TestGoneCallerEndsTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, keep := newBlocker(), newBlocker()
		w := start(t, methods.Config{Agents: map[string]methods.Agent{"block": {Runner: b}, "keep": {Runner: keep, KeepTurns: true}}})
		for _, agent := range []string{"block", "keep"} {
			ctx, cancel := context.WithCancel(context.Background())
			gone := make(chan error)
			go func() {
				gone <- w.streaming(ctx, call("chat.start", agent), m{"chatId": agent, "stream": true, "initialMessage": text("x")}, func(piece) bool { return true })
			}()
			synctest.Wait()
			cancel()
			if err := <-gone; err != nil {
				t.Errorf("%s: %v", agent, err)
			}
		}
		<-b.cause
		synctest.Wait()
		if len(keep.cause) != 0 {
			t.Error("the turn of an agent that keeps its turns was ended")
		}
		_, err := w.call(alice(), "chat.message", "", m{"chatId": "keep", "message": text("x")})
		if e := wantCode(t, err, arc.CodeChatOverflow); e.Reason() != "turn_in_progress" {
			t.Errorf("reason = %q", e.Reason())
		}
		// chat.end ends the turn too.
		w.must(alice(), "chat.end", "", m{"chatId": "keep"})
		<-keep.cause
	})
}

func TestChatIdleTimeCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := start(t, methods.Config{ChatIdle: time.Minute, Retention: 5 * time.Minute})
		w.must(alice(), "chat.start", "echo", m{"chatId": "c", "initialMessage": text("x")})
		<-time.After(50 * time.Second)
		w.must(alice(), "chat.message", "", m{"chatId": "c", "message": text("still here")})
		<-time.After(62 * time.Second)
		_, err := w.call(alice(), "chat.message", "", m{"chatId": "c", "message": text("x")})
		wantCode(t, err, arc.CodeChatTimeout)
		<-time.After(7 * time.Minute)
		_, err = w.call(alice(), "chat.message", "", m{"chatId": "c", "message": text("x")})
		wantCode(t, err, arc.CodeChatNotFound)
	})
}

func TestTurnsAreLimited(t *testing.T) {
	b := newBlocker()
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"block": {Runner: b, Turns: 1}}})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		first <- w.streaming(ctx, call("chat.start", "block"), m{"chatId": "a", "stream": true, "initialMessage": text("x")}, func(piece) bool { return true })
	}()
	<-b.started
	_, err := w.call(alice(), "chat.start", "block", m{"initialMessage": text("x")})
	wantCode(t, err, arc.CodeAgentCapacity)
	cancel()
	if err := <-first; err != nil {
		t.Errorf("first: %v", err)
	}
}

// A message that comes while a task runs reaches its runner.
func TestReceive(t *testing.T) {
	asked := make(chan struct{})
	waits := methods.RunnerFunc(func(ctx context.Context, t *methods.Turn) error {
		close(asked)
		m, err := t.Receive(ctx)
		if err != nil {
			return err
		}
		return t.Artifact(ctx, arc.Artifact{Name: "got", Parts: m.Parts})
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"waits": {Runner: waits}}})
	id := w.create("waits", "x")
	<-asked
	w.must(alice(), "task.send", "waits", m{"taskId": id, "message": text("late news")})
	if task := w.until(id, arc.TaskCompleted); task.Artifacts[0].Parts[0].Text() != "late news" {
		t.Errorf("artifact = %+v", task.Artifacts)
	}
}

// Who names the number of a turn's failed end may have seen a piece under it that was lost
// with its process, so the failure is told again.
func TestResumeBehindAFailedEnd(t *testing.T) {
	broken := methods.RunnerFunc(func(ctx context.Context, turn *methods.Turn) error {
		return errors.Join(turn.Write(ctx, "one"), errors.New("broken"))
	})
	w := start(t, methods.Config{Agents: map[string]methods.Agent{"broken": {Runner: broken}}})
	read := func(c *rpc.Call, params m) (names []string, last int64) {
		_ = w.streaming(t.Context(), c, params, func(p piece) bool {
			names, last = append(names, p.name), p.seq
			return true
		})
		return names, last
	}
	_, last := read(call("chat.start", "broken"), m{"chatId": "o", "stream": true, "initialMessage": text("x")})
	c := call("chat.message", "broken")
	c.Resume, c.LastSeq = true, last
	if again, _ := read(c, m{"chatId": "o", "stream": true}); !slices.Equal(again, []string{"error", "done"}) {
		t.Errorf("the resumed stream has %q, want the failure and the end", again)
	}
}

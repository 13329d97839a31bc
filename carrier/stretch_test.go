package carrier_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/methods"
)

// peer is a connection on which agents dialled in: work answers its calls.
type peer struct {
	work func(ctx context.Context, c carrier.Call, event func(string, json.RawMessage) error) (any, error)

	mu    sync.Mutex // guards calls
	calls []carrier.Call
}

// Call answers a call.
func (p *peer) Call(ctx context.Context, c carrier.Call, event func(string, json.RawMessage) error, settled func()) (json.RawMessage, error) {
	defer settled()
	p.mu.Lock()
	p.calls = append(p.calls, c)
	p.mu.Unlock()
	result, err := p.work(ctx, c, event)
	if err != nil {
		return nil, err
	}
	return json.Marshal(result)
}

// params gives those of the n-th call of a method, from 0.
func (p *peer) params(t *testing.T, method string, n int) (params m) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.calls {
		if c.Method != method {
			continue
		}
		if n--; n < 0 {
			b, err := json.Marshal(c.Params)
			if err != nil || json.Unmarshal(b, &params) != nil {
				t.Fatal(err)
			}
			return params
		}
	}
	t.Fatalf("%s was not called so often", method)
	return nil
}

// dialIn starts a service and has far dial in.
func dialIn(t *testing.T, p *peer) (*world, *carrier.Sockets, *carrier.Post) {
	t.Helper()
	sockets := &carrier.Sockets{}
	w := start(t, methods.Config{Remote: carrier.NewDirectory(carrier.Config{Sockets: sockets}), Patience: time.Hour})
	sockets.Wake = w.s.Wake
	post := sockets.Join(p)
	post.Serve([]string{"far"}, 4)
	return w, sockets, post
}

// TestStretches: an agent that dialled in gets arcd's ids and the history, and asks
// and ends by its answers.
func TestStretches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		p := &peer{work: func(_ context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
			if n++; n == 1 {
				return task(c.Thread, "INPUT_REQUIRED", m{"messages": []m{agentText("hm"), agentText("which?")}}), nil
			}
			return task(c.Thread, "COMPLETED", m{"messages": []m{agentText("thanks")}, "artifacts": []m{artifact("a", "1")}}), nil
		}}
		w, _, _ := dialIn(t, p)
		id := w.create()
		w.until(id, arc.TaskInputRequired)
		w.send(id, "this")
		got := w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"hello", "which?", "this"}, []string{said(got)[0], said(got)[len(said(got))-3], said(got)[len(said(got))-2]}); diff != "" {
			t.Errorf("messages (-want +got):\n%s\nall: %q", diff, said(got))
		}
		first, second := p.params(t, "task.create", 0), p.params(t, "task.create", 1)
		if first["taskId"] != id || second["taskId"] != id || len(first["history"].([]any)) != 1 || len(second["history"].([]any)) != 4 {
			t.Errorf("told %v\nand %v", first, second)
		}
		if diff := cmp.Diff([]string{"a=1"}, made(got)); diff != "" {
			t.Errorf("artifacts (-want +got):\n%s", diff)
		}
	})
}

// TestStretchMessages: what the caller says goes on to the agent while it works.
func TestStretchMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		told := make(chan struct{})
		p := &peer{work: func(ctx context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
			if c.Method == "task.send" {
				close(told)
				return m{"success": true}, nil
			}
			<-told
			return task(c.Thread, "COMPLETED"), nil
		}}
		w, _, _ := dialIn(t, p)
		id := w.create()
		w.until(id, arc.TaskWorking)
		w.send(id, "more")
		w.until(id, arc.TaskCompleted)
		if got := p.params(t, "task.send", 0); got["taskId"] != id {
			t.Errorf("told %v", got)
		}
	})
}

// TestStretchLost: a connection that is lost counts as an attempt.
func TestStretchLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := 0
		p := &peer{work: func(context.Context, carrier.Call, func(string, json.RawMessage) error) (any, error) {
			n++
			return nil, fmt.Errorf("calling: %w", carrier.ErrLost)
		}}
		w, _, _ := dialIn(t, p)
		got := w.until(w.create(), arc.TaskFailed)
		if got.Error.Reason != "attempts_exhausted" || n != 3 {
			t.Errorf("the error is %+v after %d calls", got.Error, n)
		}
	})
}

// TestStretchAway: tasks wait for an agent that is not connected, and go to it when
// it is back.
func TestStretchAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{work: func(_ context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
			return task(c.Thread, "COMPLETED"), nil
		}}
		w, sockets, post := dialIn(t, p)
		post.Leave()
		id := w.create()
		time.Sleep(10 * time.Minute)
		got := w.info(id)
		if got.Status != arc.TaskSubmitted || got.Waiting == nil || got.Waiting.Reason != "agent_away" {
			t.Errorf("the task is %s, waiting %+v", got.Status, got.Waiting)
		}
		sockets.Join(p).Serve([]string{"far"}, 1)
		w.until(id, arc.TaskCompleted)
	})
}

// TestStretchNoticed: who has notified the end needs no answer for it.
func TestStretchNoticed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{work: func(ctx context.Context, _ carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}}
		w, _, _ := dialIn(t, p)
		id := w.create()
		w.until(id, arc.TaskWorking)
		w.notify(id, arc.NewArtifactEvent, m{"status": "WORKING", "message": "x", "artifact": artifact("a", "1")})
		w.notify(id, arc.TaskCompletedEvent, m{"status": "COMPLETED", "message": "x"})
		got := w.until(id, arc.TaskCompleted)
		if diff := cmp.Diff([]string{"a=1"}, made(got)); diff != "" {
			t.Errorf("artifacts (-want +got):\n%s", diff)
		}
	})
}

// TestStretchCancel: the agent is told.
func TestStretchCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{work: func(ctx context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
			if c.Method == "task.create" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return m{"success": true}, nil
		}}
		w, _, _ := dialIn(t, p)
		id := w.create()
		w.until(id, arc.TaskWorking)
		if _, err := w.call("task.cancel", m{"taskId": id}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if got := p.params(t, "task.cancel", 0); got["taskId"] != id {
			t.Errorf("told %v", got)
		}
	})
}

// TestStretchAnswers: answers that are none.
func TestStretchAnswers(t *testing.T) {
	for name, answer := range map[string]func(c carrier.Call) (any, error){
		"of another task": func(carrier.Call) (any, error) { return task("task-of-somebody", "COMPLETED"), nil },
		"without an end":  func(c carrier.Call) (any, error) { return task(c.Thread, "WORKING"), nil },
		"none":            func(carrier.Call) (any, error) { return m{}, nil },
		"unreadable":      func(carrier.Call) (any, error) { return nil, errors.New("the frame is no JSON") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, _, _ := dialIn(t, &peer{work: func(_ context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
					return answer(c)
				}})
				got := w.until(w.create(), arc.TaskFailed)
				if got.Error.Reason != "attempts_exhausted" {
					t.Errorf("the error is %+v", got.Error)
				}
			})
		})
	}
}

// TestDialledChat: pieces, and the whole that is not said twice.
func TestDialledChat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &peer{work: func(_ context.Context, c carrier.Call, event func(string, json.RawMessage) error) (any, error) {
			if event != nil {
				for _, piece := range []string{pieceOne, pieceTwo} {
					if err := event("stream", json.RawMessage(piece)); err != nil {
						return nil, err
					}
				}
			}
			return chat(c.Thread, "one two"), nil
		}}
		w, _, _ := dialIn(t, p)
		first := w.chat("", "a", true)
		if first.err != nil || first.text != "one |two|" {
			t.Errorf("got %+v", first)
		}
		if second := w.chat(first.chatID, "b", false); second.err != nil || second.text != "one two" {
			t.Errorf("got %+v", second)
		}
		begin, next := p.params(t, "chat.start", 0), p.params(t, "chat.message", 0)
		if begin["chatId"] != first.chatID || next["chatId"] != first.chatID || len(next["history"].([]any)) != 3 {
			t.Errorf("told %v\nand %v", begin, next)
		}
	})
}

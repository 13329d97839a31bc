package carrier_test

import (
	"context"
	"encoding/json"
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

// teller is an agent that says in a chat what the test has it say, until that closes
// the channel.
type teller struct {
	*peer
	say   chan string
	ended chan error // why each turn ended
}

func newTeller() *teller {
	a := &teller{say: make(chan string), ended: make(chan error, 10)}
	a.peer = &peer{work: func(ctx context.Context, c carrier.Call, event func(string, json.RawMessage) error) (any, error) {
		if c.Method != "chat.start" && c.Method != "chat.message" {
			return m{"type": "success", "success": true}, nil
		}
		b, _ := json.Marshal(c.Params)
		var p struct{ ChatID string }
		_ = json.Unmarshal(b, &p)
		for {
			select {
			case text, more := <-a.say:
				if !more {
					a.ended <- nil
					return m{"type": "chat", "chat": m{"chatId": p.ChatID, "status": "ACTIVE"}}, nil
				}
				b, _ := json.Marshal(m{"chatId": p.ChatID, "message": agentText(text)})
				if err := event("stream", b); err != nil {
					return nil, err
				}
			case <-ctx.Done():
				a.ended <- context.Cause(ctx)
				return nil, context.Cause(ctx)
			}
		}
	}}
	return a
}

// reader reads a stream of a chat, event by event.
type reader struct {
	t      testing.TB
	events chan readEvent
	leave  func()
}

type readEvent struct {
	name   string
	seq    int64
	chatID string
	text   string
	err    *arc.Error
}

// streamAt makes a streaming call at a replica. With a chat's id it resumes that one's
// turn behind an event.
func streamAt(at *member, chatID string, after int64) *reader {
	ctx, cancel := context.WithCancel(context.Background())
	r := &reader{t: at.t, events: make(chan readEvent, 100), leave: cancel}
	at.t.Cleanup(cancel)
	c := &rpc.Call{Request: arc.Request{Dialect: arc.ARC, Method: "chat.start", From: "near", To: "far"}, Principal: caller(), Streaming: true}
	params := m{"initialMessage": text("hello"), "stream": true}
	if chatID != "" {
		c.Method, c.Resume, c.LastSeq, params = "chat.message", true, after, m{"chatId": chatID, "stream": true}
	}
	c.Params, _ = json.Marshal(params)
	result, err := at.s.Mux().Dispatch(ctx, c)
	if err != nil {
		r.events <- readEvent{err: arc.Public(err)}
		close(r.events)
		return r
	}
	go func() {
		defer close(r.events)
		for ev, err := range result.(rpc.Stream) {
			if err != nil {
				r.events <- readEvent{err: arc.Public(err)}
				return
			}
			if ev.Name == "" {
				continue
			}
			b, _ := json.Marshal(ev.Data)
			var data struct {
				ChatID  string
				Message arc.Message
				Error   *arc.ErrorObject
			}
			_ = json.Unmarshal(b, &data)
			got := readEvent{name: ev.Name, seq: ev.Seq, chatID: data.ChatID, text: data.Message.Text()}
			if e := data.Error; e != nil {
				got.err = &arc.Error{Code: e.Code, Message: e.Message, Details: e.Details}
			}
			r.events <- got
		}
	}()
	return r
}

// next gives the next event; none when the stream has ended.
func (r *reader) next() readEvent {
	r.t.Helper()
	select {
	case ev := <-r.events:
		return ev
	case <-time.After(60 * time.Second):
		r.t.Fatal("the stream says nothing")
		return readEvent{}
	}
}

// piece takes the next event, which must be a piece.
func (r *reader) piece(want string) readEvent {
	r.t.Helper()
	ev := r.next()
	if ev.name != "stream" || ev.text != want {
		r.t.Fatalf("got %+v, want the piece %q", ev, want)
	}
	return ev
}

// TestStreamGoesOnAtAnotherReplica: a stream that was opened at one replica goes on at
// each of the others, with the same numbers, wherever the agent is connected.
func TestStreamGoesOnAtAnotherReplica(t *testing.T) {
	eachEngine(t, methods.Config{TurnGrace: 10 * time.Second}, func(t *testing.T, f *fleet) {
		for first := range f.replicas {
			a := newTeller()
			post := f.dialIn(0, a.peer)
			one := streamAt(f.replicas[first], "", 0)
			a.say <- "one"
			got := one.piece("one")
			one.leave()
			a.say <- "two"
			others := []*reader{
				streamAt(f.replicas[(first+1)%3], got.chatID, got.seq),
				streamAt(f.replicas[(first+2)%3], got.chatID, got.seq),
				streamAt(f.replicas[first], got.chatID, got.seq),
			}
			for _, r := range others {
				if ev := r.piece("two"); ev.seq != got.seq+1 {
					t.Errorf("it has number %d behind %d", ev.seq, got.seq)
				}
			}
			a.say <- "three"
			for _, r := range others {
				r.piece("three")
			}
			close(a.say)
			for _, r := range others {
				if ev := r.next(); ev.name != "done" || ev.seq != got.seq+3 {
					t.Errorf("at the end: %+v", ev)
				}
			}
			if late := streamAt(f.replicas[(first+1)%3], got.chatID, got.seq+1); late.piece("three").seq != got.seq+2 || late.next().name != "done" {
				t.Error("what is stored is not told any more")
			}
			post.Leave()
		}
	})
}

// TestEndOfAChatAtAnotherReplica: whichever replica is told to close a chat, its turn
// ends, its readers and its agent hear of that, and the agent once.
func TestEndOfAChatAtAnotherReplica(t *testing.T) {
	eachEngine(t, methods.Config{}, func(t *testing.T, f *fleet) {
		a := newTeller()
		f.dialIn(0, a.peer)
		for reads := range f.replicas {
			for ends := range f.replicas {
				before := a.count("chat.end")
				r := streamAt(f.replicas[reads], "", 0)
				a.say <- "one"
				ev := r.piece("one")
				if _, err := f.replicas[ends].call("chat.end", m{"chatId": ev.chatID, "reason": "enough"}); err != nil {
					t.Fatalf("chat.end: %v", err)
				}
				if ev := r.next(); ev.name != "error" || ev.err.Code != arc.CodeChatClosed || ev.err.Reason() != "closed_in_turn" {
					t.Errorf("read at %d, ended at %d: the reader was told %+v", reads, ends, ev)
				}
				if cause := <-a.ended; cause == nil {
					t.Error("the agent's work was not canceled")
				}
				f.until("the agent is told", func() bool { return a.count("chat.end") > before })
			}
		}
		// A chat at rest.
		for ends := range f.replicas {
			r := streamAt(f.replicas[1], "", 0)
			a.say <- "one"
			id := r.piece("one").chatID
			close(a.say)
			if ev := r.next(); ev.name != "done" {
				t.Fatalf("%+v", ev)
			}
			a.say = make(chan string)
			before := a.count("chat.end")
			if _, err := f.replicas[ends].call("chat.end", m{"chatId": id, "reason": "enough"}); err != nil {
				t.Fatalf("chat.end: %v", err)
			}
			f.until("the agent is told", func() bool { return a.count("chat.end") > before })
		}
		if n := a.count("chat.end"); n != 12 {
			t.Errorf("the agent was told %d times that 12 chats are over", n)
		}
	})
}

// bubble runs a test of three replicas on one file in a time of its own.
func bubble(t *testing.T, cfg methods.Config, test func(t *testing.T, f *fleet)) {
	synctest.Test(t, func(t *testing.T) { test(t, launch(t, oneFile, 3, cfg)) })
}

// TestTurnGoesOnWhileItIsRead: a turn that nobody reads at the replica where it runs
// goes on for as long as somebody does at another one, and not much longer.
func TestTurnGoesOnWhileItIsRead(t *testing.T) {
	bubble(t, methods.Config{}, func(t *testing.T, f *fleet) {
		a := newTeller()
		f.dialIn(0, a.peer)
		one := streamAt(f.replicas[0], "", 0)
		a.say <- "one"
		ev := one.piece("one")
		one.leave()
		two := streamAt(f.replicas[1], ev.chatID, ev.seq)
		time.Sleep(5 * time.Minute)
		a.say <- "two"
		two.piece("two")
		two.leave()
		time.Sleep(time.Second)
		three := streamAt(f.replicas[2], ev.chatID, ev.seq+1)
		time.Sleep(5 * time.Minute)
		a.say <- "three"
		three.piece("three")
		three.leave()
		left := time.Now()
		if cause := <-a.ended; cause == nil || time.Since(left) > 7*time.Second {
			t.Errorf("%v after the last reader has left it ends for %v", time.Since(left), cause)
		}
		synctest.Wait()
		four := streamAt(f.replicas[1], ev.chatID, ev.seq+2)
		if ev := four.next(); ev.name != "error" || ev.err.Code != arc.CodeAgentTimeout || ev.err.Reason() != "canceled" {
			t.Errorf("who comes later is told %+v", ev)
		}
	})
}

// TestCallerLeavesForGood: the turn of a caller at another replica ends when that one
// has left.
func TestCallerLeavesForGood(t *testing.T) {
	for name, streams := range map[string]bool{"whole": false, "pieces": true} {
		t.Run(name, func(t *testing.T) {
			bubble(t, methods.Config{}, func(t *testing.T, f *fleet) {
				a := newTeller()
				f.dialIn(0, a.peer)
				ctx, leave := context.WithCancel(t.Context())
				gone := make(chan struct{})
				go func() {
					defer close(gone)
					f.replicas[1].chatIn(ctx, "", "hello", streams)
				}()
				time.Sleep(time.Minute)
				select {
				case cause := <-a.ended:
					t.Fatalf("it has ended: %v", cause)
				default:
				}
				leave()
				<-gone
				time.Sleep(7 * time.Second) // two silences in a row
				select {
				case cause := <-a.ended:
					if cause == nil {
						t.Error("it ended by itself")
					}
				default:
					t.Error("it goes on")
				}
			})
		})
	}
}

// TestNobodyClaimsATurn: a turn whose agent is gone by the time that it is looked for
// ends, and the chat goes on when the agent is back.
func TestNobodyClaimsATurn(t *testing.T) {
	bubble(t, methods.Config{}, func(t *testing.T, f *fleet) {
		f.replicas[1].sockets.There([]string{"far"}) // which is not so
		begun := time.Now()
		var chatID string
		for _, streams := range []bool{false, true} {
			got := f.replicas[1].chat("", "hello", streams)
			if got.err == nil || got.err.Code != arc.CodeAgentUnreachable || got.err.Details["retryable"] != true {
				t.Fatalf("got %+v", got)
			}
			chatID, _ = got.err.Details["chatId"].(string)
		}
		if waited := time.Since(begun); waited < 20*time.Second || waited > 25*time.Second {
			t.Errorf("two of them took %v", waited)
		}
		f.dialIn(0, echoes())
		if got := f.replicas[1].chat(chatID, "are you there?", false); got.err != nil || got.text != "you said are you there?" {
			t.Errorf("later: %+v", got)
		}
	})
}

// TestReplicaOfATurnDies: who reads at another replica is told so when the lease is
// over, the chat goes on, and the agents that were connected there are gone.
func TestReplicaOfATurnDies(t *testing.T) {
	bubble(t, methods.Config{}, func(t *testing.T, f *fleet) {
		a := newTeller()
		f.dialIn(0, a.peer)
		r := streamAt(f.replicas[1], "", 0)
		a.say <- "one"
		ev := r.piece("one")
		f.dead[0].Store(true)
		died := time.Now()
		if ev := r.next(); ev.name != "error" || ev.err.Reason() != "interrupted" || ev.err.Details["retryable"] != true {
			t.Errorf("the reader was told %+v", ev)
		}
		if waited := time.Since(died); waited > 20*time.Second {
			t.Errorf("after %v", waited)
		}
		if card, _ := f.replicas[1].s.Agent("far"); card.Status != arc.AgentInactive {
			t.Errorf("its agent is %s", card.Status)
		}
		// What only the readers there had seen is lost.
		if ev := streamAt(f.replicas[2], ev.chatID, ev.seq+20).next(); ev.err == nil || ev.err.Reason() != "gap" {
			t.Errorf("who has seen more than is stored is told %+v", ev)
		}
		f.dialIn(2, echoes())
		if got := f.replicas[1].chat(ev.chatID, "go on", false); got.err != nil || got.text != "you said go on" {
			t.Errorf("later: %+v", got)
		}
	})
}

// TestStreamAheadOfTheStore: who has read pieces at the replica that runs the turn,
// and comes to another one before they are stored, waits for the next.
func TestStreamAheadOfTheStore(t *testing.T) {
	bubble(t, methods.Config{}, func(t *testing.T, f *fleet) {
		a := newTeller()
		f.dialIn(0, a.peer)
		one := streamAt(f.replicas[0], "", 0)
		a.say <- "one"
		ev := one.piece("one") // at once; it is stored 50 ms later
		two := streamAt(f.replicas[1], ev.chatID, ev.seq)
		a.say <- "two"
		if got := two.piece("two"); got.seq != ev.seq+1 {
			t.Errorf("%+v behind %+v", got, ev)
		}
		close(a.say)
		if ev := two.next(); ev.name != "done" {
			t.Errorf("%+v", ev)
		}
	})
}

// TestCancelAtAnotherReplica: the agent that works on a task hears of its end once,
// whichever replica was told, and whoever has it in hand.
func TestCancelAtAnotherReplica(t *testing.T) {
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			far := newFake(t, script{
				"task.create": always(task("r1", "WORKING")), "task.info": always(task("r1", "WORKING")), "task.cancel": always(task("r1", "CANCELED")),
			}.handle)
			working := make(chan struct{}, 10)
			ended := make(chan error, 10)
			near := &peer{work: func(ctx context.Context, c carrier.Call, _ func(string, json.RawMessage) error) (any, error) {
				if c.Method != "task.create" {
					return m{"type": "success", "success": true}, nil
				}
				working <- struct{}{}
				<-ctx.Done()
				ended <- context.Cause(ctx)
				return nil, context.Cause(ctx)
			}}
			f := launchWith(t, open, 3, false, func(i int) methods.Config {
				return methods.Config{Agents: map[string]methods.Agent{"web": carrier.HTTP("web", far.cfg(), zerolog.Nop())}}
			})
			f.dialIn(0, near)
			for i := range f.replicas {
				id := f.replicas[i].create()
				<-working
				if _, err := f.replicas[(i+1)%3].call("task.cancel", m{"taskId": id, "reason": "enough"}); err != nil {
					t.Fatal(err)
				}
				if cause := <-ended; cause == nil {
					t.Error("the agent goes on")
				}
				f.until("it is told", func() bool { return near.count("task.cancel") == i+1 })
			}
			var reasons []any
			for i := range f.replicas {
				reasons = append(reasons, near.params(t, "task.cancel", i)["reason"])
			}
			if diff := cmp.Diff([]any{"enough", "enough", "enough"}, reasons); diff != "" {
				t.Errorf("reasons (-want +got):\n%s", diff)
			}
			for i := range f.replicas {
				result, err := f.replicas[i].callTo(caller(), "near", "web", "task.create", m{"initialMessage": text("hello")})
				if err != nil {
					t.Fatal(err)
				}
				id := taskOf(t, result).ID
				f.replicas[i].until(id, arc.TaskWorking)
				if _, err := f.replicas[(i+1)%3].call("task.cancel", m{"taskId": id}); err != nil {
					t.Fatal(err)
				}
				f.until("it is told", func() bool { return far.count("task.cancel") == i+1 })
			}
		})
	}
}

package carrier_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/methods"
)

// echoes answers tasks and chats with what was said, chats word by word if asked for
// pieces.
func echoes() *peer {
	return &peer{work: func(_ context.Context, c carrier.Call, event func(string, json.RawMessage) error) (any, error) {
		b, _ := json.Marshal(c.Params)
		var p struct {
			TaskID, ChatID          string
			InitialMessage, Message *arc.Message
		}
		if err := json.Unmarshal(b, &p); err != nil {
			return nil, err
		}
		switch c.Method {
		case "task.create":
			return task(p.TaskID, "COMPLETED", m{"messages": []m{agentText("you said " + p.InitialMessage.Text())}}), nil
		case "chat.start", "chat.message":
			said := p.InitialMessage
			if said == nil {
				said = p.Message
			}
			if event != nil {
				for _, word := range []string{"you", "said", said.Text()} {
					if err := piece(event, word); err != nil {
						return nil, err
					}
				}
				return m{"type": "chat", "chat": m{"chatId": p.ChatID, "status": "ACTIVE"}}, nil
			}
			return chat(p.ChatID, "you said "+said.Text()), nil
		}
		return m{"type": "success", "success": true}, nil
	}}
}

// piece sends a piece of an answer.
func piece(event func(string, json.RawMessage) error, text string) error {
	b, err := json.Marshal(m{"message": agentText(text)})
	if err != nil {
		return err
	}
	return event("stream", b)
}

// TestAgentAtAnotherReplica: whichever replica is called, an agent that dialled in to
// one of them does the work.
func TestAgentAtAnotherReplica(t *testing.T) {
	eachEngine(t, methods.Config{}, func(t *testing.T, f *fleet) {
		if _, err := f.replicas[1].call("task.create", m{"initialMessage": text("x")}); arc.CodeOf(err) != arc.CodeAgentNotFound {
			t.Fatalf("before it has ever dialled in: %v", err)
		}
		p := echoes()
		post := f.dialIn(0, p)
		for i, at := range f.replicas {
			id := at.create()
			if task := f.replicas[(i+1)%3].until(id, arc.TaskCompleted); len(task.Messages) != 2 || task.Messages[1].Text() != "you said hello" {
				t.Errorf("replica %d: %+v", i, task)
			}
			whole := at.chat("", "hello", false)
			if whole.err != nil || whole.text != "you said hello" {
				t.Errorf("replica %d: a whole answer: %+v", i, whole)
			}
			next := f.replicas[(i+1)%3]
			if got := next.chat(whole.chatID, "again", true); got.err != nil || got.text != "you|said|again|" || got.chatID != whole.chatID {
				t.Errorf("replica %d: the next turn: %+v", i, got)
			}
			if got := at.chat(whole.chatID, "third", false); got.err != nil || got.text != "you said third" {
				t.Errorf("replica %d: the third turn: %+v", i, got)
			}
			if n := len(p.params(t, "chat.message", 2*i+1)["history"].([]any)); n != 5 {
				t.Errorf("replica %d: the agent was given %d messages", i, n)
			}
		}
		post.Leave()
		f.until("all know that it is gone", func() bool {
			for _, at := range f.replicas {
				if card, ok := at.s.Agent("far"); !ok || card.Status != arc.AgentInactive {
					return false
				}
			}
			return true
		})
		if got := f.replicas[1].chat("", "hello", false); got.err == nil || got.err.Code != arc.CodeAgentUnavailable {
			t.Errorf("a chat with an agent that is gone: %+v", got)
		}
		id := f.replicas[2].create() // and waits
		f.dialIn(1, p)
		f.replicas[0].until(id, arc.TaskCompleted)
	})
}

// TestAgentAtTwoReplicas: what an agent is asked that has connections to several
// replicas is done once.
func TestAgentAtTwoReplicas(t *testing.T) {
	eachEngine(t, methods.Config{}, func(t *testing.T, f *fleet) {
		peers := []*peer{echoes(), echoes()}
		f.dialIn(0, peers[0])
		f.dialIn(1, peers[1])
		var ids []string
		for i := range 90 {
			ids = append(ids, f.replicas[i%3].create())
		}
		for i, id := range ids {
			task := f.replicas[i%2].until(id, arc.TaskCompleted)
			if len(task.Messages) != 2 || task.Attempt != 1 {
				t.Errorf("%+v", task)
			}
		}
		for range 5 {
			if got := f.replicas[2].chat("", "hello", false); got.err != nil {
				t.Errorf("a chat: %+v", got)
			}
		}
		tasks := []int{peers[0].count("task.create"), peers[1].count("task.create")}
		if tasks[0]+tasks[1] != len(ids) || tasks[0] == 0 || tasks[1] == 0 {
			t.Errorf("the connections were given %v tasks of %d", tasks, len(ids))
		}
		if n := peers[0].count("chat.start") + peers[1].count("chat.start"); n != 5 {
			t.Errorf("%d turns for 5 messages", n)
		}
	})
}

// TestReplicasWithoutHints: where no hint arrives all is as it was, but later.
func TestReplicasWithoutHints(t *testing.T) {
	for name, open := range engines {
		t.Run(name, func(t *testing.T) {
			f := launchWith(t, open, 2, true, func(int) methods.Config { return methods.Config{TurnGrace: 10 * time.Millisecond} })
			slow := echoes()
			answer := slow.work
			slow.work = func(ctx context.Context, c carrier.Call, event func(string, json.RawMessage) error) (any, error) {
				if c.Method == "chat.start" {
					select { // longer than a turn goes on that nobody is heard to read
					case <-time.After(1500 * time.Millisecond):
					case <-ctx.Done():
						return nil, context.Cause(ctx)
					}
				}
				return answer(ctx, c, event)
			}
			f.dialIn(0, slow)
			f.replicas[1].until(f.replicas[1].create(), arc.TaskCompleted)
			for _, streams := range []bool{false, true} {
				if got := f.replicas[1].chat("", "hello", streams); got.err != nil || got.text == "" {
					t.Errorf("streams %v: %+v", streams, got)
				}
			}
		})
	}
}

// TestManyAgents: ten thousand agents at one replica are known at another.
func TestManyAgents(t *testing.T) {
	eachEngine(t, methods.Config{}, func(t *testing.T, f *fleet) {
		var ids []string
		for i := range 10_000 {
			ids = append(ids, fmt.Sprintf("agent-%05d", i))
		}
		p := echoes()
		for i := range 10 {
			f.replicas[0].sockets.Join(p).Serve(ids[i*1000:(i+1)*1000], 16)
		}
		f.until("all are known", func() bool {
			return len(f.replicas[1].sockets.Cards()) == len(ids) && f.replicas[2].sockets.Elsewhere(ids[0]) && f.replicas[2].sockets.Elsewhere(ids[len(ids)-1])
		})
		f.replicas[0].stop()
		f.until("none is connected", func() bool {
			return !f.replicas[1].sockets.Elsewhere(ids[0]) && !f.replicas[1].sockets.Elsewhere(ids[len(ids)-1])
		})
	})
}

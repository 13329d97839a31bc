package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/transfer"
)

// source makes tasks up as a demo task leaves them: three commits (made, taken,
// ended), five events, a message and an artifact. Each tenth has an idempotency key,
// each twentieth a subscription with a delivery; one in a hundred still waits.
type source struct{ tasks, agents int }

// owners is how many callers the tasks belong to; they take turns.
const owners = 8

func owner(n int) string { return fmt.Sprintf("https://issuer.example/oauth2/default\nclient-%d", n) }

// began is when the first task was made; there is one each 100 ms.
const began = int64(1_790_000_000_000)

func created(n int) int64   { return began + int64(n)*100 }
func taskID(n int) string   { return fmt.Sprintf("task-%013d%08d", created(n), n) }
func waiting(n int) bool    { return n%100 == 99 }
func subscribed(n int) bool { return n%20 == 0 }

// Close implements [transfer.Reader].
func (*source) Close() error { return nil }

// Rows implements [transfer.Reader].
func (s *source) Rows(ctx context.Context, t *transfer.Table, each func(transfer.Row) error) error {
	rows := map[string]func(func(transfer.Row) error) error{
		transfer.Agent: s.agentRows, "agent_life": s.lifeRows, "audit": s.auditRows, transfer.AuditState: s.auditState,
		transfer.Thread: s.threads, transfer.Log: s.logs, "idem": s.keys, "subscription": s.subscriptions, "delivery": s.deliveries,
	}[t.Name]
	if rows == nil {
		return nil
	}
	return rows(func(row transfer.Row) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		return each(row)
	})
}

var taskBody = []byte(`{"attempt":1,"assigned":1790000000000,"started":1790000000000,"metadata":{"source":"` + strings.Repeat("x", 120) + `"},"traceparent":""}`)

func (s *source) threads(each func(transfer.Row) error) error {
	for n := range s.tasks {
		status, ended, ready, rev, seq, items := any("COMPLETED"), any(created(n)+1500), false, int64(3), int64(5), int64(2)
		if waiting(n) {
			status, ended, ready, rev, seq, items = "SUBMITTED", nil, true, 1, 2, 1
		}
		err := each(transfer.Row{taskID(n), int64(store.Task), owner(n % owners), "caller", "echo", nil, nil, status, string(arc.PriorityNormal),
			created(n), created(n) + 1500, ended, rev, seq, items, ready, created(n), nil, taskBody})
		if err != nil {
			return err
		}
	}
	return nil
}

// The rows of a log, packed as every engine packs them.
var (
	madeEvents  = packed(arc.TaskCreatedEvent, `{"taskId":"task-0123456789","status":"SUBMITTED"}`, arc.NewMessageEvent, message)
	takenEvents = packed(arc.TaskStartedEvent, `{"taskId":"task-0123456789","status":"WORKING"}`)
	endedEvents = packed(arc.NewArtifactEvent, message, arc.TaskCompletedEvent, `{"taskId":"task-0123456789","status":"COMPLETED"}`)
	oneItem     = append([]byte{byte(store.MessageItem)}, text(message)...)
)

const message = `{"role":"user","parts":[{"type":"TextPart","content":"A question that is as long as questions are, with a little more behind it"}],"timestamp":"2026-11-22T10:00:00.000Z"}`

func (s *source) logs(each func(transfer.Row) error) error {
	for n := range s.tasks {
		rows := []transfer.Row{
			{taskID(n), int64(3), int64(2), madeEvents, oneItem},
			{taskID(n), int64(4), int64(3), takenEvents, nil},
			{taskID(n), int64(7), int64(5), endedEvents, oneItem},
		}
		if waiting(n) {
			rows = rows[:1]
		}
		for _, row := range rows {
			if err := each(row); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *source) keys(each func(transfer.Row) error) error {
	for o := range owners {
		for n := o; n < s.tasks; n += 10 * owners {
			err := each(transfer.Row{owner(o), fmt.Sprintf("key-%08d", n), taskID(n), []byte(strings.Repeat("h", 32)), nil, created(n) + 86_400_000})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *source) subscriptions(each func(transfer.Row) error) error {
	for n := range s.tasks {
		if !subscribed(n) {
			continue
		}
		err := each(transfer.Row{fmt.Sprintf("sub-%08d", n), taskID(n), owner(n % owners), created(n), created(n) + 2000, int64(5), nil, nil, taskBody})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *source) deliveries(each func(transfer.Row) error) error {
	for n := range s.tasks {
		if !subscribed(n) {
			continue
		}
		err := each(transfer.Row{fmt.Sprintf("dlv-%08d", n), fmt.Sprintf("sub-%08d", n), taskID(n), owner(n % owners), int64(5), created(n) + 1700,
			int64(store.Delivered), taskBody})
		if err != nil {
			return err
		}
	}
	return nil
}

// words are what the agents are about.
var words = strings.Fields("invoice storm rain payment ledger image audio summary translation archive search vector graph calendar mail contract")

func (s *source) agentRows(each func(transfer.Row) error) error {
	for n := range s.agents {
		body, err := json.Marshal(map[string]any{"registration": arc.Registration{
			AgentID: agentID(n), Name: "Agent " + words[n%16] + " " + fmt.Sprint(n), AgentType: "worker",
			Capabilities: []string{words[n/16%16], words[n/256%16]}, ContextBrief: "Works on " + words[n*7%16] + " and " + words[n*11%16] + " for whoever asks",
		}})
		if err == nil {
			err = each(transfer.Row{agentID(n), int64(1), "worker", began, began, body})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func agentID(n int) string { return fmt.Sprintf("agent-%06d", n) }

func (s *source) lifeRows(each func(transfer.Row) error) error {
	for n := range s.agents {
		if err := each(transfer.Row{agentID(n), began, true, nil}); err != nil {
			return err
		}
	}
	return nil
}

// audited is how many entries the audit log has.
func (s *source) audited() int { return s.tasks / 10 }

func (s *source) auditRows(each func(transfer.Row) error) error {
	for n := range s.audited() {
		err := each(transfer.Row{int64(n + 1), created(n), "token.issued", "success", owner(n % owners), nil, []byte(`{"scope":"arc.task.controller"}`)})
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *source) auditState(each func(transfer.Row) error) error {
	return each(transfer.Row{int64(s.audited()), int64(0)})
}

// since gives how long f took.
func since(f func() error) (time.Duration, error) {
	began := time.Now()
	err := f()
	return time.Since(began), err
}

package methods

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/tracing"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// maxItems and maxBytes bound the messages and artifacts of one task or chat:
// who holds as many takes no more messages.
const (
	maxItems = 10_000
	maxBytes = 16 << 20
)

func (th *thread) full() bool { return th.Items >= maxItems || th.rec.Bytes >= maxBytes }

// taskView is an arc.Task whose messages and artifacts are still encoded as the
// store keeps them.
type taskView struct {
	arc.Task
	Messages  []json.RawMessage `json:"messages,omitempty"`
	Artifacts []json.RawMessage `json:"artifacts,omitempty"`
}

// taskResult is arc.TaskResult with a taskView.
type taskResult struct {
	Type   string    `json:"type"`
	Task   *taskView `json:"task"`
	DryRun bool      `json:"dryRun,omitempty"`
}

// CreateTask is task.create: it accepts a task for the target agent and gives
// it back in state SUBMITTED. With an idempotency key an equal call gives the
// same task; with dryRun everything is checked and nothing is made.
//
// Errors: -41001, -32602, -42010 (priority), -42011 (deadline already past).
func (s *Service) CreateTask(ctx context.Context, c *rpc.Call, p arc.CreateTaskParams) (any, error) {
	a, err := s.target(c)
	if err != nil {
		return nil, err
	}
	if err := checkMessage("initialMessage", p.InitialMessage, arc.CodeInvalidParams); err != nil {
		return nil, err
	}
	if err := checkObject("metadata", &p.Metadata); err != nil {
		return nil, err
	}
	key, err := s.key(c, p.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	th, ch, err := s.prepare(ctx, c, a, p)
	if err == nil && !p.DryRun {
		ch.key = key
		err = s.putTask(ctx, a, th, ch)
	}
	if err != nil || p.DryRun {
		replay, err := s.replayed(ctx, key, err)
		switch {
		case err != nil:
			return nil, err
		case replay != nil:
			return s.replayTask(ctx, c, replay)
		}
		th.ID = ""
		return &taskResult{Type: "task", Task: th.view(), DryRun: true}, nil
	}
	tracing.Current(ctx).Set(tracing.Task, th.ID)
	if err := s.orphan(ctx, c, th.Thread); err != nil {
		return nil, err
	}
	return th.created(), nil
}

// prepare makes the thread of a new task, once all about it is checked that needs no
// change.
func (s *Service) prepare(ctx context.Context, c *rpc.Call, a *agent, p arc.CreateTaskParams) (*thread, *change, error) {
	now := s.now()
	deadline, err := checkDeadline(p.Metadata, now)
	if err != nil {
		return nil, nil, err
	}
	th, ch := newTask(c, a.id, p, now)
	th.rec.Deadline = deadline
	if err := s.adopt(ctx, c, th, p.ParentTaskID); err != nil {
		return nil, nil, err
	}
	return th, ch, nil
}

// putTask stores a new task, and has it worked on at once if nothing stands in the way.
func (s *Service) putTask(ctx context.Context, a *agent, th *thread, ch *change) error {
	w := s.seize(th, a, ch)
	err := s.commit(ctx, th, ch)
	switch {
	case w == nil:
	case err != nil:
		s.vacate(w)
	default:
		go s.attend(w, th)
	}
	return err
}

// newTask makes the thread of a new task and its first events.
func newTask(c *rpc.Call, agent string, p arc.CreateTaskParams, now time.Time) (*thread, *change) {
	if p.Priority == "" {
		p.Priority = arc.PriorityNormal
	}
	th := &thread{
		Thread: store.Thread{
			ID: newID("task-", now), Kind: store.Task, Owner: c.Principal.Owner(),
			From: c.From, Agent: agent, Trace: c.TraceID,
			Status: string(arc.TaskSubmitted), Priority: p.Priority,
			Created: now, Updated: now, Ready: true, Rank: rank(p.Priority, now),
		},
		rec: record{Metadata: p.Metadata, Messages: 1, LastInput: 1, Inputs: 1, TraceParent: c.TraceParent},
	}
	var ch change
	ch.event(now, arc.TaskCreatedEvent, arc.EventData{
		Status: th.Status, Message: "task created",
		Priority: p.Priority, AssignedAgent: agent, CreatedAt: arc.At(now),
	})
	ch.event(now, arc.StatusChangeEvent, arc.EventData{
		Status: th.Status, Message: "status is now SUBMITTED", ChangedAt: arc.At(now),
	})
	ch.item(store.MessageItem, storedMessage(p.InitialMessage, now))
	return th, &ch
}

// storedMessage encodes a message for the history, with the time it came where
// it names none.
func storedMessage(m *arc.Message, now time.Time) json.RawMessage {
	if m.Timestamp.IsZero() {
		m.Timestamp = arc.At(now)
	}
	return encode(*m)
}

// rank orders waiting tasks: by age, with a head start for the urgent ones. A
// LOW task is therefore overtaken by an URGENT one only if that came less than
// half an hour later: no priority starves another.
func rank(p arc.Priority, created time.Time) int64 {
	lead := map[arc.Priority]time.Duration{
		arc.PriorityNormal: 5 * time.Minute, arc.PriorityHigh: 15 * time.Minute, arc.PriorityUrgent: 30 * time.Minute,
	}[p]
	return created.Add(-lead).UnixMilli()
}

// checkDeadline reads metadata.deadline (RFC 3339) as Unix milliseconds; 0 if
// there is none. -42011 if it has passed.
func checkDeadline(metadata json.RawMessage, now time.Time) (int64, error) {
	if !bytes.Contains(metadata, []byte("deadline")) && !bytes.Contains(metadata, []byte(`\u`)) {
		return 0, nil // nor can it be there in disguise
	}
	var m struct {
		Deadline json.RawMessage `json:"deadline"`
	}
	if err := jsonv2.Unmarshal(metadata, &m); err != nil { // which takes names exactly
		return 0, arc.InvalidParam("metadata", "must be an object").Because(err)
	}
	if len(m.Deadline) == 0 || string(m.Deadline) == "null" {
		return 0, nil
	}
	var at arc.Time
	if err := json.Unmarshal(m.Deadline, &at); err != nil || !writable(at) {
		return 0, arc.InvalidParam("metadata.deadline", "must be an RFC 3339 time").Because(err)
	}
	if !at.After(now) {
		return 0, arc.Errorf(arc.CodeDeadlineExceeded, "metadata.deadline has already passed").
			With("field", "metadata.deadline").With("deadline", at).With("retryable", false)
	}
	return at.UnixMilli(), nil
}

// GetTask is task.info.
//
// Errors: -42001.
func (s *Service) GetTask(ctx context.Context, c *rpc.Call, p arc.GetTaskParams) (*taskResult, error) {
	th, err := s.task(ctx, c, p.TaskID)
	if err != nil {
		return nil, err
	}
	view := th.view()
	view.Waiting = s.waiting(th)
	messages := p.IncludeMessages == nil || *p.IncludeMessages
	artifacts := p.IncludeArtifacts == nil || *p.IncludeArtifacts
	if messages || artifacts {
		items, err := s.store.Items(ctx, th.Thread)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			switch {
			case item.Kind == store.MessageItem && messages:
				view.Messages = append(view.Messages, item.Body)
			case item.Kind == store.ArtifactItem && artifacts:
				view.Artifacts = append(view.Artifacts, item.Body)
			}
		}
	}
	return &taskResult{Type: "task", Task: view}, nil
}

// SendTask is task.send: it adds a message to an open task. A task that waits
// for input goes on.
//
// Errors: -42001, -42002, -42003, -42006, -32602.
func (s *Service) SendTask(ctx context.Context, c *rpc.Call, p arc.SendTaskParams) (*arc.SuccessResult, error) {
	if err := s.mayChange(ctx, c, p.TaskID); err != nil {
		return nil, err
	}
	if err := checkMessage("message", p.Message, arc.CodeInvalidParams); err != nil {
		return nil, err
	}
	key, err := s.key(c, p.IdempotencyKey)
	if err != nil {
		return nil, err
	}
	sent := &arc.SuccessResult{Success: true, Message: "message added to the task"}
	_, err = s.edit(ctx, p.TaskID, func(th *thread) (*change, error) {
		if err := th.status().Closed(th.ID); err != nil {
			return nil, err
		}
		if th.full() {
			return nil, arc.Errorf(arc.CodeTooLarge, "the task holds as many messages and artifacts as it may").
				With("taskId", th.ID).With("max_items", maxItems).With("max_bytes", maxBytes).With("retryable", false)
		}
		if p.Message.AgentID == th.Agent {
			p.Message.AgentID = "" // the agent did not say it, and has to hear it
		}
		ch := th.receive(storedMessage(p.Message, s.now()), s.now())
		ch.key = key
		return ch, nil
	})
	if err == nil {
		return sent, nil
	}
	if _, err = s.replayed(ctx, key, gone(err, p.TaskID)); err != nil {
		return nil, err
	}
	c.Replayed = true
	return sent, nil
}

// receive adds a caller's message; a task that waits for input becomes ready.
func (th *thread) receive(message json.RawMessage, now time.Time) *change {
	var ch change
	th.rec.Messages++
	th.rec.Inputs++
	th.rec.LastInput = th.Items + 1
	ch.item(store.MessageItem, message)
	ch.event(now, arc.NewMessageEvent, arc.EventData{
		Status: th.Status, Message: "message received", MessageContent: message,
	})
	if th.status() == arc.TaskInputRequired {
		th.resume(&ch, now, "input received")
	}
	return &ch
}

// resume puts a task that waited for input back into the queue.
func (th *thread) resume(ch *change, now time.Time, why string) {
	paused := now.UnixMilli() - th.rec.Paused
	th.rec.Paused = 0
	th.Status, th.Ready = string(arc.TaskWorking), true
	ch.event(now, arc.TaskResumedEvent, arc.EventData{
		Status: th.Status, Message: why, ResumedAt: arc.At(now), PauseDuration: paused,
	})
	ch.event(now, arc.StatusChangeEvent, arc.EventData{
		Status: th.Status, Message: "status is now WORKING",
		PreviousStatus: string(arc.TaskInputRequired), ChangedAt: arc.At(now),
	})
}

// CancelTask is task.cancel: the task ends as CANCELED, and the context of
// whoever works on it is canceled. With cascade so do the open tasks and chats that
// its agent made for it, theirs, and so on; a task that is canceled already can be
// named again for that.
//
// Errors: -42001, -42002, -42003, -42006, -32602.
func (s *Service) CancelTask(ctx context.Context, c *rpc.Call, p arc.CancelTaskParams) (*taskResult, error) {
	if err := s.mayChange(ctx, c, p.TaskID); err != nil {
		return nil, err
	}
	if err := checkReason(p.Reason); err != nil {
		return nil, err
	}
	lease := ""
	th, err := s.edit(ctx, p.TaskID, func(th *thread) (*change, error) {
		lease = th.rec.Lease
		if th.status() == arc.TaskCanceled && p.Cascade {
			return nil, nil
		}
		if err := th.status().Closed(th.ID); err != nil {
			return nil, err
		}
		return th.cancel(s.now(), c.From, p.Reason), nil
	})
	if err != nil {
		return nil, gone(err, p.TaskID)
	}
	s.callOff(th, lease, &canceledError{p.Reason})
	if p.Cascade {
		left := maxDescendants
		if err := s.cancelChildren(context.WithoutCancel(ctx), th.ID, c.From, &left); err != nil {
			return nil, err
		}
	}
	return &taskResult{Type: "task", Task: th.view()}, nil
}

func (th *thread) cancel(now time.Time, by, reason string) *change {
	return th.end(now, arc.TaskCanceled, arc.TaskCanceledEvent, arc.EventData{
		Message: "task canceled", CanceledAt: arc.At(now), CanceledBy: by, Reason: reason,
	})
}

// end moves a task to a terminal state. data becomes that of the event kind;
// its reason and error are kept with the task.
func (th *thread) end(now time.Time, status arc.TaskStatus, kind arc.EventType, data arc.EventData) *change {
	var ch change
	previous := th.Status
	th.Status, th.Ended, th.Ready = string(status), now, false
	th.rec.Lease, th.rec.LeaseEnd, th.rec.RetryAt = "", 0, 0
	th.rec.Reason, th.rec.Error = data.Reason, data.Error
	th.rec.Away, th.rec.Tries, th.rec.Notice, th.rec.Notices = 0, 0, nil, nil
	th.rec.Noted, th.rec.Found = nil, nil
	data.Status = th.Status
	if status != arc.TaskCanceled {
		data.Duration = now.UnixMilli() - th.Created.UnixMilli()
	}
	ch.event(now, kind, data)
	ch.event(now, arc.StatusChangeEvent, arc.EventData{
		Status: th.Status, Message: "status is now " + th.Status,
		PreviousStatus: previous, ChangedAt: arc.At(now), Reason: data.Reason,
	})
	return &ch
}

// task reads a task for its owner. Whatever the caller may not see answers like
// what does not exist: -42001.
func (s *Service) task(ctx context.Context, c *rpc.Call, id string) (*thread, error) {
	if id == "" {
		return nil, arc.InvalidParam("taskId", "is required")
	}
	t, err := s.store.Thread(ctx, id)
	if err := s.permitted(ctx, c, id, &t, err); err != nil {
		return nil, err
	}
	return decode(t)
}

// mayChange is task for who is about to change it: what decides is the same for as long
// as the task is there, so an older copy will do.
func (s *Service) mayChange(ctx context.Context, c *rpc.Call, id string) error {
	if id == "" {
		return arc.InvalidParam("taskId", "is required")
	}
	t, _, err := s.store.Recent(ctx, id)
	return s.permitted(ctx, c, id, &t, err)
}

// permitted judges whether the caller may see what was found under an id.
func (s *Service) permitted(ctx context.Context, c *rpc.Call, id string, t *store.Thread, err error) error {
	tracing.Current(ctx).Set(tracing.Task, id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if err != nil || t.Kind != store.Task || t.Owner != c.Principal.Owner() || c.To != "" && c.To != t.Agent {
		if err := s.knownTarget(c); err != nil {
			return err
		}
		return taskNotFound(id)
	}
	return c.Permit(t.Agent)
}

// gone tells that a task is not there any more as if it had never been.
func gone(err error, id string) error {
	if errors.Is(err, store.ErrNotFound) {
		return taskNotFound(id)
	}
	return err
}

func taskNotFound(id string) error {
	return arc.Errorf(arc.CodeTaskNotFound, "there is no such task").
		With("taskId", id).With("retryable", false)
}

// view gives the task without its history.
func (th *thread) view() *taskView {
	v := &taskView{Task: arc.Task{
		ID: th.ID, Status: th.status(), Priority: th.Priority, AssignedAgent: th.Agent,
		CreatedAt: arc.At(th.Created), UpdatedAt: arc.At(th.Updated),
		Reason: th.rec.Reason, Error: th.rec.Error, Progress: th.rec.Progress,
		Attempt: th.rec.Attempt, TraceID: th.Trace, ParentTaskID: th.Parent, Metadata: th.rec.Metadata,
	}}
	if th.rec.Deadline != 0 {
		v.Deadline = arc.At(time.UnixMilli(th.rec.Deadline))
	}
	switch th.status() {
	case arc.TaskCompleted:
		v.CompletedAt = arc.At(th.Ended)
	case arc.TaskCanceled:
		v.CanceledAt = arc.At(th.Ended)
	}
	return v
}

// createdTask is the result of task.create: an arc.TaskResult with the
// specification's minimum, encoded without reflection.
type createdTask struct {
	id string
	at arc.Time
}

func (th *thread) created() createdTask { return createdTask{th.ID, arc.At(th.Created)} }

// AppendJSON appends the result as JSON. Ids of tasks need no escapes.
func (c createdTask) AppendJSON(b []byte) ([]byte, error) {
	at := c.at.String()
	b = append(append(b, `{"type":"task","task":{"taskId":"`...), c.id...)
	b = append(append(b, `","status":"SUBMITTED","createdAt":"`...), at...)
	return append(append(append(b, `","updatedAt":"`...), at...), `"}}`...), nil
}

// MarshalJSON gives the result as JSON.
func (c createdTask) MarshalJSON() ([]byte, error) { return c.AppendJSON(nil) }

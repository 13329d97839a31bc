package carrier

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/methods"
)

// stretch is a piece of work on a task by an agent that dialled in. It keeps no
// tasks, so it gets arcd's own id and all that was said, and its answer to
// task.create is the end of this stretch: COMPLETED, FAILED, CANCELED, or
// INPUT_REQUIRED with a question. That may take hours; in between it notifies.
type stretch struct {
	c       *conversation
	t       *methods.Turn
	line    Line
	noticed bool // it has notified that the task is completed
	late    bool // a message of the caller may have come too late for it
}

func (c *conversation) newStretch(t *methods.Turn, line Line) *stretch {
	return &stretch{c: c, t: t, line: line, noticed: t.Notice != nil}
}

// stretchParams are those of task.create with what an agent has to know that
// remembers nothing.
type stretchParams struct {
	InitialMessage *arc.Message    `json:"initialMessage"` // what to answer: the caller's last message
	Priority       arc.Priority    `json:"priority,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitzero"`
	TaskID         string          `json:"taskId"`
	History        []arc.Message   `json:"history,omitempty"`
}

// answer is how a call ended.
type answer struct {
	result json.RawMessage
	err    error
}

// run has the agent work until it answers. What the caller says meanwhile goes on to
// it.
func (s *stretch) run(ctx context.Context) error {
	message := s.t.Message()
	params := stretchParams{
		&message, s.t.Task.Priority, withDeadline(s.t.Task.Metadata, s.t.Task.Deadline), s.t.Task.ID, recent(s.t.History),
	}
	if s.noticed { // before this run; what it made it has notified too
		return nil
	}
	caller, _ := sides(s.t)
	if err := s.told(ctx, len(caller)); err != nil {
		return err
	}
	calling, giveUp := context.WithCancel(ctx)
	defer giveUp()
	working, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan answer, 1)
	go func() {
		defer stop()
		result, err := s.c.call(calling, s.t, s.line, Call{Method: "task.create", Key: s.t.Task.ID, Params: params})
		done <- answer{result, err}
	}()
	s.tell(working, giveUp)
	a := <-done
	s.c.unwanted(ctx, s.t, s.line, s.t.Task.ID)
	if s.noticed && a.err != nil && ctx.Err() == nil {
		return nil
	}
	return s.end(ctx, a)
}

// told remembers how many messages of the caller the agent has. Its id is that of the
// task at both ends; to remember it makes the task WORKING.
func (s *stretch) told(ctx context.Context, n int) error {
	if b := s.t.Binding; b.ID == s.t.Task.ID && b.Told == n {
		return nil // the claim has done so
	}
	return s.t.Bind(ctx, methods.Binding{ID: s.t.Task.ID, Told: n})
}

// noticeGrace is how long the answer of an agent may stay away that has notified that
// the task is completed.
const noticeGrace = 10 * time.Second

// tell passes messages of the caller on until the work is done.
func (s *stretch) tell(working context.Context, giveUp func()) {
	for {
		m, err := s.t.Receive(working)
		switch {
		case errors.Is(err, methods.ErrNudged):
			s.noticed = true
			timer := time.AfterFunc(noticeGrace, giveUp)
			defer timer.Stop()
			continue
		case err != nil:
			return
		}
		params := arc.SendTaskParams{TaskID: s.t.Task.ID, Message: &m}
		if _, err := s.c.call(working, s.t, s.line, Call{Method: "task.send", Params: params}); err != nil {
			s.c.log.Debug().Str("agent", s.c.id).Str("task", s.t.Task.ID).Err(err).Msg("an agent did not take a message")
			s.late = true
			continue
		}
		if s.told(working, s.t.Binding.Told+1) != nil {
			return // the work has ended
		}
	}
}

// end takes over what the agent answered.
func (s *stretch) end(ctx context.Context, a answer) error {
	if a.err != nil {
		return s.failed(ctx, a.err)
	}
	seen, err := readTask(a.result)
	if err == nil && seen.id != "" && seen.id != s.t.Task.ID {
		err = errOtherTask
	}
	if err == nil && !seen.status.Terminal() && seen.status != arc.TaskInputRequired {
		err = errNoEnd
	}
	if err != nil {
		return s.c.failed(ctx, s.t, "task.create", err)
	}
	s.t.Reached()
	question := arc.Text(arc.RoleAgent, "The agent needs input.")
	if n := len(seen.said); n > 0 && seen.status == arc.TaskInputRequired {
		seen.said, question = seen.said[:n-1], seen.said[n-1]
	}
	if err := s.takeMade(ctx, seen); err != nil {
		return err
	}
	switch {
	case seen.status == arc.TaskFailed:
		return seen.failure
	case seen.status == arc.TaskCanceled:
		return methods.CanceledByAgent(sentence(seen.reason))
	case seen.status == arc.TaskCompleted:
		return nil
	case s.late: // what it asks for may be in the message that it did not take
		return methods.Retry(errors.New("carrier: the agent asks while the caller said something"), 0)
	}
	return s.t.NeedInput(ctx, question)
}

// errNoEnd says that an agent answered while it goes on working.
var errNoEnd = errors.New("carrier: the agent answered before the task had an end")

// takeMade takes over messages and artifacts. An agent that dialled in counts no
// messages: those of an answer are new.
func (s *stretch) takeMade(ctx context.Context, seen *remoteTask) error {
	for _, m := range seen.said {
		for _, p := range m.Parts {
			if err := s.t.WritePart(ctx, p); err != nil {
				return err
			}
		}
	}
	for _, a := range seen.artifacts {
		if err := s.t.Artifact(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// lostPause is how long a task waits whose connection was lost: the agent may be
// just about to dial in again.
const lostPause = 200 * time.Millisecond

// failed gives the error of work that came to no end. A connection that is lost
// counts as an attempt: a task that its workers do not survive must not go on for
// ever.
func (s *stretch) failed(ctx context.Context, err error) error {
	how, _ := judge(err)
	if ctx.Err() == nil && how == cut {
		return methods.Retry(err, lostPause)
	}
	return s.c.failed(ctx, s.t, "task.create", err)
}

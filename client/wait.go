package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// WaitTaskParams are those of [Client.WaitTask].
type WaitTaskParams struct {
	// TaskID names the task. It is needed.
	TaskID string
	// Input ends the wait also when the task needs an answer (INPUT_REQUIRED).
	Input bool
	// Poll is the longest time between two looks at the task, where the server has
	// no task.events: they begin at a tenth of it and come slower and slower.
	// Default 5 s.
	Poll time.Duration
	// Seen, if not nil, is told what the wait sees of the task, in the goroutine of
	// the caller.
	Seen func(WaitSight)
}

// saw tells Seen.
func (p *WaitTaskParams) saw(s WaitSight) {
	if p.Seen != nil {
		p.Seen(s)
	}
}

// over tells whether the wait is over at this status.
func (p *WaitTaskParams) over(status arc.TaskStatus) bool {
	return status.Terminal() || p.Input && status == arc.TaskInputRequired
}

// WaitTask waits until a task has ended, and gives it. It follows the task's
// events; of a server that has no task.events it asks task.info again and again.
// There is no time limit but that of ctx.
func (c *Client) WaitTask(ctx context.Context, to string, p WaitTaskParams) (*arc.Task, error) {
	over, err := c.looked(ctx, to, &p)
	if err == nil && !over {
		err = c.awaitEvents(ctx, to, &p)
		if errors.Is(err, ErrNoStream) || arc.CodeOf(err) == arc.CodeMethodNotFound {
			err = c.awaitPolls(ctx, to, &p)
		}
	}
	if err != nil {
		return nil, err
	}
	return c.GetTask(ctx, to, arc.GetTaskParams{TaskID: p.TaskID})
}

// looked looks once whether the wait is over.
func (c *Client) looked(ctx context.Context, to string, p *WaitTaskParams) (over bool, err error) {
	no := false
	task, err := c.GetTask(ctx, to, arc.GetTaskParams{TaskID: p.TaskID, IncludeMessages: &no, IncludeArtifacts: &no})
	if err != nil {
		return false, err
	}
	p.saw(WaitSight{Task: task})
	return p.over(task.Status), nil
}

// awaitEvents follows the task's events until the wait is over. They begin with
// old ones, so what an event says is looked at again.
func (c *Client) awaitEvents(ctx context.Context, to string, p *WaitTaskParams) error {
	for event, err := range c.TaskEvents(ctx, to, arc.TaskEventsParams{TaskID: p.TaskID}) {
		if err != nil {
			return err
		}
		p.saw(WaitSight{Event: &event})
		if event.Name == "stream" && !p.over(statusIn(event)) {
			continue
		}
		over, err := c.looked(ctx, to, p)
		if over || err != nil {
			return err
		}
	}
	return c.awaitPolls(ctx, to, p) // the stream was done before the task was
}

// statusIn gives the status that an event of a task tells of; "" if it tells of
// something else.
func statusIn(event Event) arc.TaskStatus {
	var said arc.TaskEvent
	var change struct {
		Status arc.TaskStatus `json:"status"`
	}
	if event.Decode(&said) != nil || said.Type != arc.StatusChangeEvent {
		return ""
	}
	_ = Event{Name: event.Name, Data: said.Data}.Decode(&change) // without one it tells nothing
	return change.Status
}

// lastLook is how long before ctx ends the task is asked for the last time.
const lastLook = 250 * time.Millisecond

// awaitPolls asks for the task until the wait is over.
func (c *Client) awaitPolls(ctx context.Context, to string, p *WaitTaskParams) error {
	most := p.Poll
	if most <= 0 {
		most = 5 * time.Second
	}
	for wait := most / 10; ; wait = min(wait*3/2+1, most) {
		if end, ok := ctx.Deadline(); ok && time.Until(end) > lastLook {
			wait = min(wait, time.Until(end)-lastLook)
		}
		if err := rest(ctx, wait); err != nil {
			return fmt.Errorf("waiting for the task: %w", broken(err))
		}
		over, err := c.looked(ctx, to, p)
		if over || err != nil {
			return err
		}
	}
}

package client

import (
	"cmp"
	"context"
	"iter"

	"github.com/arcd-io/arcd/arc"
)

// CreateTask gives an agent a task (task.create). With p.IdempotencyKey set, a
// repeated call gives the same task again.
func (c *Client) CreateTask(ctx context.Context, to string, p arc.CreateTaskParams) (*arc.Task, error) {
	p.ParentTaskID = cmp.Or(p.ParentTaskID, c.work)
	return c.task(ctx, "task.create", to, p)
}

// SendTask adds a message to an open task (task.send).
func (c *Client) SendTask(ctx context.Context, to string, p arc.SendTaskParams) error {
	return c.Call(ctx, "task.send", to, p, nil)
}

// GetTask reads a task (task.info).
func (c *Client) GetTask(ctx context.Context, to string, p arc.GetTaskParams) (*arc.Task, error) {
	return c.task(ctx, "task.info", to, p)
}

// CancelTask cancels a task (task.cancel).
func (c *Client) CancelTask(ctx context.Context, to string, p arc.CancelTaskParams) (*arc.Task, error) {
	return c.task(ctx, "task.cancel", to, p)
}

// SubscribeTask has the events of a task sent to p.CallbackURL (task.subscribe).
func (c *Client) SubscribeTask(ctx context.Context, to string, p arc.SubscribeTaskParams) (*arc.Subscription, error) {
	var result arc.SubscribeTaskResult
	if err := c.Call(ctx, "task.subscribe", to, p, &result); err != nil {
		return nil, err
	}
	if result.Subscription == nil {
		return nil, errEmpty
	}
	return result.Subscription, nil
}

// NotifyTask tells the agent that gave a task what has happened to it
// (task.notification).
func (c *Client) NotifyTask(ctx context.Context, to string, p arc.NotifyTaskParams) error {
	return c.Call(ctx, "task.notification", to, p, nil)
}

// ListTasks gives one page of the caller's tasks (task.list, an extension of
// arcd).
func (c *Client) ListTasks(ctx context.Context, to string, p arc.ListTasksParams) (*arc.TaskList, error) {
	var list arc.TaskList
	if err := c.Call(ctx, "task.list", to, p, &list); err != nil {
		return nil, err
	}
	return &list, nil
}

// TaskEvents follows a task's events (task.events, an extension of arcd) from
// p.After on, across broken connections, until the task ends; the data of each
// "stream" event is an [arc.TaskEvent]. See [Client.StreamChat] on errors.
func (c *Client) TaskEvents(ctx context.Context, to string, p arc.TaskEventsParams) iter.Seq2[Event, error] {
	s := &stream{client: c, again: true}
	s.call = call{method: "task.events", to: to, params: p}
	return s.events(ctx)
}

// task makes a call whose result is a task.
func (c *Client) task(ctx context.Context, method, to string, params any) (*arc.Task, error) {
	var result arc.TaskResult
	if err := c.Call(ctx, method, to, params, &result); err != nil {
		return nil, err
	}
	if result.Task == nil {
		return nil, errEmpty
	}
	return result.Task, nil
}

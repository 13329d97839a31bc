package arc

import (
	"encoding/json"
	"slices"
)

// TaskStatus is the state of a task.
type TaskStatus string

// The states of a task (specification, "Task lifecycle").
const (
	TaskSubmitted     TaskStatus = "SUBMITTED"
	TaskWorking       TaskStatus = "WORKING"
	TaskInputRequired TaskStatus = "INPUT_REQUIRED"
	TaskCompleted     TaskStatus = "COMPLETED"
	TaskFailed        TaskStatus = "FAILED"
	TaskCanceled      TaskStatus = "CANCELED"
)

// TaskStatuses lists the states in the order of a task's life.
var TaskStatuses = []TaskStatus{TaskSubmitted, TaskWorking, TaskInputRequired, TaskCompleted, TaskFailed, TaskCanceled}

// Terminal tells whether a task in this state has ended.
func (s TaskStatus) Terminal() bool {
	return s == TaskCompleted || s == TaskFailed || s == TaskCanceled
}

// taskMoves is the transition table.
var taskMoves = map[TaskStatus][]TaskStatus{
	TaskSubmitted:     {TaskWorking, TaskFailed, TaskCanceled},
	TaskWorking:       {TaskInputRequired, TaskCompleted, TaskFailed, TaskCanceled},
	TaskInputRequired: {TaskWorking, TaskFailed, TaskCanceled},
}

// CanBecome tells whether a task may go from s to next.
func (s TaskStatus) CanBecome(next TaskStatus) bool {
	return slices.Contains(taskMoves[s], next)
}

// Closed gives the error for a call that a task in state s no longer takes;
// nil if the task is still open.
func (s TaskStatus) Closed(taskID string) *Error {
	var e *Error
	switch s {
	case TaskCompleted:
		e = Errorf(CodeTaskCompleted, "the task is already completed")
	case TaskCanceled:
		e = Errorf(CodeTaskCanceled, "the task is already canceled")
	case TaskFailed:
		e = Errorf(CodeInvalidTransition, "the task has failed and takes no further calls")
	default:
		return nil
	}
	return e.With("taskId", taskID).With("status", s).With("retryable", false)
}

// Priority says how urgent a task is: the order of dispatch, with ageing.
type Priority string

// The priorities of the specification.
const (
	PriorityLow    Priority = "LOW"
	PriorityNormal Priority = "NORMAL"
	PriorityHigh   Priority = "HIGH"
	PriorityUrgent Priority = "URGENT"
)

// Priorities lists the priorities from least to most urgent.
var Priorities = []Priority{PriorityLow, PriorityNormal, PriorityHigh, PriorityUrgent}

// UnmarshalJSON refuses anything but the four words with -42010.
func (p *Priority) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) != nil || !slices.Contains(Priorities, Priority(s)) {
		return Errorf(CodeInvalidPriority, "priority must be one of LOW, NORMAL, HIGH, URGENT").
			With("field", "priority").With("allowed", Priorities).With("retryable", false)
	}
	*p = Priority(s)
	return nil
}

// Task is long work given to an agent.
type Task struct {
	ID            string          `json:"taskId"`
	Status        TaskStatus      `json:"status"`
	Priority      Priority        `json:"priority,omitempty"`
	AssignedAgent string          `json:"assignedAgent,omitempty"`
	CreatedAt     Time            `json:"createdAt,omitzero"`
	UpdatedAt     Time            `json:"updatedAt,omitzero"`
	CompletedAt   Time            `json:"completedAt,omitzero"`
	CanceledAt    Time            `json:"canceledAt,omitzero"`
	Deadline      Time            `json:"deadline,omitzero"`
	Reason        string          `json:"reason,omitempty"`
	Error         *TaskError      `json:"error,omitempty"`
	Progress      *Progress       `json:"progress,omitempty"`
	Attempt       int             `json:"attempt,omitempty"`
	TraceID       string          `json:"traceId,omitempty"`
	ParentTaskID  string          `json:"parentTaskId,omitempty"`
	Waiting       *Waiting        `json:"waiting,omitempty"` // for its agent; nil: it does not
	Messages      []Message       `json:"messages,omitempty"`
	Artifacts     []Artifact      `json:"artifacts,omitempty"`
	Metadata      json.RawMessage `json:"metadata,omitzero"`
}

// TaskError says why a task failed.
type TaskError struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	Reason  string `json:"reason,omitempty"` // a stable word
}

// Waiting says why a task that is not ended makes no headway: its agent cannot be
// reached, or is not there.
type Waiting struct {
	Reason string `json:"reason"`          // agent_away or agent_unreachable
	Since  Time   `json:"since,omitzero"`  // when that was first seen
	Tries  int    `json:"tries,omitempty"` // how often it was tried in vain
	Next   Time   `json:"next,omitzero"`   // of the next try; zero: when the agent comes
	Until  Time   `json:"until,omitzero"`  // when the task fails for want of it (-41003)
}

// Progress says how far a task is.
type Progress struct {
	Percent int    `json:"percent"` // 0 to 100
	Note    string `json:"note,omitempty"`
	At      Time   `json:"at,omitzero"`
}

// CreateTaskParams are the params of task.create. IdempotencyKey, ParentTaskID and
// DryRun are extensions of arcd.
type CreateTaskParams struct {
	InitialMessage *Message        `json:"initialMessage"`
	Priority       Priority        `json:"priority,omitempty"` // default NORMAL
	Metadata       json.RawMessage `json:"metadata,omitzero"`
	IdempotencyKey string          `json:"idempotencyKey,omitempty"`
	ParentTaskID   string          `json:"parentTaskId,omitempty"` // the task that the calling agent works on
	DryRun         bool            `json:"dryRun,omitempty"`
}

// SendTaskParams are the params of task.send.
type SendTaskParams struct {
	TaskID         string   `json:"taskId"`
	Message        *Message `json:"message"`
	IdempotencyKey string   `json:"idempotencyKey,omitempty"`
}

// GetTaskParams are the params of task.info; both flags default to true.
type GetTaskParams struct {
	TaskID           string `json:"taskId"`
	IncludeMessages  *bool  `json:"includeMessages,omitempty"`
	IncludeArtifacts *bool  `json:"includeArtifacts,omitempty"`
}

// CancelTaskParams are the params of task.cancel. Cascade is an extension of arcd.
type CancelTaskParams struct {
	TaskID  string `json:"taskId"`
	Reason  string `json:"reason,omitempty"`
	Cascade bool   `json:"cascade,omitempty"` // also what its agents made for it, and so on
}

// ListTasksParams are the params of the extension task.list. All are optional.
type ListTasksParams struct {
	Status  []TaskStatus `json:"status,omitempty"`  // any of these
	Agent   string       `json:"agent,omitempty"`   // tasks given to this agent
	TraceID string       `json:"traceId,omitempty"` // tasks of this trace
	After   Time         `json:"after,omitzero"`    // created at or after
	Before  Time         `json:"before,omitzero"`   // created before
	Limit   int          `json:"limit,omitempty"`   // 1 to 200, default 50
	Cursor  string       `json:"cursor,omitempty"`  // from an earlier answer
}

// TaskEventsParams are the params of the extension task.events.
type TaskEventsParams struct {
	TaskID string `json:"taskId"`
	After  int64  `json:"after,omitempty"`  // replay events with a greater seq
	Follow *bool  `json:"follow,omitempty"` // default true: stay until the task ends
}

// TaskResult is the result of task.create, task.info and task.cancel.
type TaskResult struct {
	Type   string `json:"type"` // "task"
	Task   *Task  `json:"task"`
	DryRun bool   `json:"dryRun,omitempty"`
}

// SubscribeTaskParams are the params of task.subscribe.
type SubscribeTaskParams struct {
	TaskID      string      `json:"taskId"`
	CallbackURL string      `json:"callbackUrl"`      // where the events are sent
	Events      []EventType `json:"events,omitempty"` // default: TASK_COMPLETED, TASK_FAILED
}

// Subscription says that the events of a task are sent to somebody. What stands
// behind Active is an extension of arcd.
type Subscription struct {
	ID          string      `json:"subscriptionId"`
	TaskID      string      `json:"taskId"`
	CallbackURL string      `json:"callbackUrl"`
	Events      []EventType `json:"events"`
	Created     Time        `json:"createdAt"`
	Active      bool        `json:"active"`

	// Secret signs the deliveries (Standard Webhooks, "whsec_" and base64). It is
	// told once, in the answer to task.subscribe.
	Secret  string    `json:"secret,omitempty"`
	EndedAt Time      `json:"endedAt,omitzero"`
	Reason  string    `json:"reason,omitempty"` // why it ended: unsubscribed, gone, refused or undeliverable
	Next    Time      `json:"nextAttempt,omitzero"`
	Last    *Delivery `json:"lastAttempt,omitempty"`
}

// SubscribeTaskResult is the result of task.subscribe, and of the extension
// task.unsubscribe.
type SubscribeTaskResult struct {
	Type         string        `json:"type"` // "task"; of some servers "subscription"
	Subscription *Subscription `json:"subscription"`
}

// UnsubscribeTaskParams are the params of the extension task.unsubscribe.
type UnsubscribeTaskParams struct {
	SubscriptionID string `json:"subscriptionId"`
}

// ListSubscriptionsParams are the params of the extension task.subscriptions: the
// caller's own, oldest first.
type ListSubscriptionsParams struct {
	TaskID string `json:"taskId,omitempty"` // "": of all tasks
	Limit  int    `json:"limit,omitempty"`  // 1 to 200, default 50
	Cursor string `json:"cursor,omitempty"` // from an earlier answer
}

// SubscriptionList is the result of task.subscriptions. NextCursor is "" on the
// last page.
type SubscriptionList struct {
	Type          string         `json:"type"` // "subscriptions"
	Subscriptions []Subscription `json:"subscriptions"`
	NextCursor    string         `json:"nextCursor,omitempty"`
}

// The states of a [Delivery].
const (
	DeliveryDelivered = "delivered" // the receiver answered 2xx
	DeliveryFailed    = "failed"    // it did not; it is tried again at NextAttempt
	DeliveryDead      = "dead"      // it did not, and is tried again only by task.replay
)

// Delivery is one attempt to send one event to one subscriber.
type Delivery struct {
	ID             string    `json:"deliveryId"`
	SubscriptionID string    `json:"subscriptionId"`
	TaskID         string    `json:"taskId"`
	MessageID      string    `json:"messageId"` // webhook-id: the same in all attempts of an event
	Event          EventType `json:"event"`
	Seq            int64     `json:"seq"` // of the event
	State          string    `json:"state"`
	Attempt        int       `json:"attempt"` // of this event, from 1
	Replay         bool      `json:"replay,omitempty"`
	At             Time      `json:"at"`
	Duration       int64     `json:"duration"`             // milliseconds
	Status         int       `json:"httpStatus,omitempty"` // 0: no answer came
	Error          string    `json:"error,omitempty"`      // why it failed, in words of arcd
	Next           Time      `json:"nextAttempt,omitzero"`
}

// ListDeliveriesParams are the params of the extension task.deliveries: the attempts
// to reach the caller's own subscriptions, newest first.
type ListDeliveriesParams struct {
	DeliveryID     string   `json:"deliveryId,omitempty"` // just this one
	TaskID         string   `json:"taskId,omitempty"`
	SubscriptionID string   `json:"subscriptionId,omitempty"`
	State          []string `json:"state,omitempty"`  // any of these
	Limit          int      `json:"limit,omitempty"`  // 1 to 200, default 50
	Cursor         string   `json:"cursor,omitempty"` // from an earlier answer
}

// DeliveryList is the result of task.deliveries. NextCursor is "" on the last page.
type DeliveryList struct {
	Type       string     `json:"type"` // "deliveries"
	Deliveries []Delivery `json:"deliveries"`
	NextCursor string     `json:"nextCursor,omitempty"`
}

// ReplayDeliveryParams are the params of the extension task.replay: the event of an
// attempt is sent once more, now, whatever became of its subscription.
type ReplayDeliveryParams struct {
	DeliveryID string `json:"deliveryId"`
}

// ReplayDeliveryResult is the result of task.replay: the attempt that was made.
type ReplayDeliveryResult struct {
	Type     string    `json:"type"` // "delivery"
	Delivery *Delivery `json:"delivery"`
}

// NotifyTaskParams are the params of task.notification. Data has a status and a
// message at least.
type NotifyTaskParams struct {
	TaskID string    `json:"taskId"`
	Event  EventType `json:"event"`
	At     Time      `json:"timestamp"`
	Data   EventData `json:"data"`
}

// SuccessResult is the result of task.send and task.notification.
type SuccessResult struct {
	Success bool   `json:"success"`
	Message string `json:"message,omitempty"`
}

// EventList is the result of task.events where the caller takes no stream: the
// events after the number asked for, at most 1,000. More says that there are
// later ones.
type EventList struct {
	Type   string      `json:"type"` // "events"
	TaskID string      `json:"taskId"`
	Events []TaskEvent `json:"events"`
	More   bool        `json:"more,omitempty"`
}

// TaskList is the result of task.list, newest first. NextCursor is "" on the
// last page.
type TaskList struct {
	Type       string `json:"type"` // "tasks"
	Tasks      []Task `json:"tasks"`
	NextCursor string `json:"nextCursor,omitempty"`
}

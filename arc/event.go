package arc

import "encoding/json"

// EventType names what happened. The ten names in capitals are the
// specification's; the rest are arcd's own and appear in streams only.
type EventType string

// The event types.
const (
	TaskCreatedEvent   EventType = "TASK_CREATED"
	TaskStartedEvent   EventType = "TASK_STARTED"
	TaskPausedEvent    EventType = "TASK_PAUSED"
	TaskResumedEvent   EventType = "TASK_RESUMED"
	TaskCompletedEvent EventType = "TASK_COMPLETED"
	TaskFailedEvent    EventType = "TASK_FAILED"
	TaskCanceledEvent  EventType = "TASK_CANCELED"
	NewMessageEvent    EventType = "NEW_MESSAGE"
	NewArtifactEvent   EventType = "NEW_ARTIFACT"
	StatusChangeEvent  EventType = "STATUS_CHANGE"

	ProgressEvent EventType = "progress" // data: Progress
	ChunkEvent    EventType = "chunk"    // data: Message, a piece of a chat answer
	TurnEndEvent  EventType = "turn_end" // data: TurnEnd, the end of a chat turn
)

// Event is something that happened to one task or chat. Seq counts from 1
// within the task or chat, without holes.
type Event struct {
	Seq  int64           `json:"seq"`
	Type EventType       `json:"type"`
	At   Time            `json:"at"`
	Data json.RawMessage `json:"data,omitempty"`
}

// TaskEvent is the data of a stream event of task.events.
type TaskEvent struct {
	TaskID string `json:"taskId"`
	Event
}

// TurnEnd is the data of a turn_end event.
type TurnEnd struct {
	Error *ErrorObject `json:"error,omitempty"` // nil if the turn went well
}

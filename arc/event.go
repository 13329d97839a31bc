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

// EventData is the data of the events that the specification names: status and
// message always, the rest by event (contract: specification, table of
// notification data). Durations are in milliseconds.
type EventData struct {
	Status         string          `json:"status"`
	Message        string          `json:"message"`
	Priority       Priority        `json:"priority,omitempty"`
	AssignedAgent  string          `json:"assignedAgent,omitempty"`
	CreatedAt      Time            `json:"createdAt,omitzero"`
	StartedAt      Time            `json:"startedAt,omitzero"`
	PausedAt       Time            `json:"pausedAt,omitzero"`
	ResumedAt      Time            `json:"resumedAt,omitzero"`
	CompletedAt    Time            `json:"completedAt,omitzero"`
	FailedAt       Time            `json:"failedAt,omitzero"`
	CanceledAt     Time            `json:"canceledAt,omitzero"`
	ChangedAt      Time            `json:"changedAt,omitzero"`
	PreviousStatus string          `json:"previousStatus,omitempty"`
	RequiredInput  json.RawMessage `json:"requiredInput,omitzero"`
	PauseDuration  int64           `json:"pauseDuration,omitzero"`
	Duration       int64           `json:"duration,omitzero"`
	ArtifactCount  int             `json:"artifactCount,omitzero"`
	MessageCount   int             `json:"messageCount,omitzero"`
	Error          *TaskError      `json:"error,omitempty"`
	CanceledBy     string          `json:"canceledBy,omitempty"`
	Reason         string          `json:"reason,omitempty"`
	MessageContent json.RawMessage `json:"messageContent,omitzero"`
	Artifact       json.RawMessage `json:"artifact,omitzero"`
}

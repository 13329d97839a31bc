package arc

import "encoding/json"

// ChatStatus is the state of a chat.
type ChatStatus string

// The states of a chat.
const (
	ChatActive ChatStatus = "ACTIVE"
	ChatPaused ChatStatus = "PAUSED"
	ChatClosed ChatStatus = "CLOSED"
)

// Chat is a conversation between a caller and an agent.
type Chat struct {
	ID           string          `json:"chatId"`
	Status       ChatStatus      `json:"status"`
	Message      *Message        `json:"message,omitempty"` // the agent's latest answer
	Participants []string        `json:"participants,omitempty"`
	CreatedAt    Time            `json:"createdAt,omitzero"`
	UpdatedAt    Time            `json:"updatedAt,omitzero"`
	ClosedAt     Time            `json:"closedAt,omitzero"`
	Reason       string          `json:"reason,omitempty"`
	Metadata     json.RawMessage `json:"metadata,omitzero"`
}

// StartChatParams are the params of chat.start.
type StartChatParams struct {
	InitialMessage *Message        `json:"initialMessage"`
	ChatID         string          `json:"chatId,omitempty"`
	Stream         bool            `json:"stream,omitempty"`
	Metadata       json.RawMessage `json:"metadata,omitzero"`
	ParentTaskID   string          `json:"parentTaskId,omitempty"` // extension: the task that the calling agent works on
}

// SendChatParams are the params of chat.message.
type SendChatParams struct {
	ChatID  string   `json:"chatId"`
	Message *Message `json:"message"`
	Stream  bool     `json:"stream,omitempty"`
}

// EndChatParams are the params of chat.end.
type EndChatParams struct {
	ChatID string `json:"chatId"`
	Reason string `json:"reason,omitempty"`
}

// ChatResult is the result of the chat methods.
type ChatResult struct {
	Type string `json:"type"` // "chat"
	Chat *Chat  `json:"chat"`
}

// ChatChunk is the data of a stream event: a piece of the agent's answer, to be
// put behind the pieces before it.
type ChatChunk struct {
	ChatID  string  `json:"chatId"`
	Message Message `json:"message"`
}

// StreamError is the data of an error event: a failure after the first piece.
type StreamError struct {
	ChatID string      `json:"chatId,omitempty"`
	TaskID string      `json:"taskId,omitempty"`
	Error  ErrorObject `json:"error"`
}

// StreamDone is the data of a done event, the last one of every stream.
type StreamDone struct {
	ChatID    string `json:"chatId,omitempty"`
	TaskID    string `json:"taskId,omitempty"`
	Status    string `json:"status"`
	Done      bool   `json:"done"`
	RequestID string `json:"requestId,omitempty"`
}

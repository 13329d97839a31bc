package carrier

import (
	"encoding/json"
	"errors"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// streamed is an answer that comes as a stream of events.
type streamed struct {
	call   *Call
	chatID string
	status string
	parts  []arc.Part // of who did not ask for pieces
	size   int        // of them
	last   json.RawMessage
	pieces int
}

// maxWhole bounds an answer that is put together of pieces, in bytes.
const maxWhole = 8 << 20

// errTooLong ends an answer that is put together of pieces.
var errTooLong = errors.New("carrier: the agent's answer is too long")

// take takes an event. Servers differ in how they call the event of a piece, so any
// that has a message is one; what an "error" event says is the call's error.
func (s *streamed) take(ev client.Event) error {
	var data struct {
		ChatID  string          `json:"chatId"`
		Status  string          `json:"status"`
		Message json.RawMessage `json:"message"`
		Chat    struct {
			ChatID  string          `json:"chatId"`
			Message json.RawMessage `json:"message"`
		} `json:"chat"`
	}
	if ev.Name == "error" {
		return streamError(ev.Data)
	}
	if jsonv2.Unmarshal(ev.Data, &data) != nil {
		return nil // it says nothing that anybody could use
	}
	if data.ChatID == "" {
		data.ChatID = data.Chat.ChatID
	}
	if ev.Name == "done" {
		s.status, s.last = data.Status, data.Chat.Message
		return s.name(data.ChatID)
	}
	m, ok := readMessage(data.Message)
	if !ok {
		return s.name(data.ChatID)
	}
	if err := s.piece(m); err != nil {
		return err
	}
	return s.name(data.ChatID)
}

// piece passes a piece on, or keeps it.
func (s *streamed) piece(m arc.Message) error {
	s.pieces++
	if s.call.Piece != nil {
		return s.call.Piece(m)
	}
	for _, p := range m.Parts {
		if s.size += len(p.Content); s.size > maxWhole {
			return errTooLong
		}
		s.parts = append(s.parts, p)
	}
	return nil
}

// name learns the chat's id. It stays what it was first.
func (s *streamed) name(chatID string) error {
	if chatID == "" || s.chatID != "" {
		return nil
	}
	s.chatID = chatID
	if s.call.Named == nil {
		return nil
	}
	return s.call.Named(chatID)
}

// result gives what a whole answer would have said.
func (s *streamed) result() (json.RawMessage, error) {
	type chat struct {
		ChatID  string          `json:"chatId,omitempty"`
		Status  string          `json:"status,omitempty"`
		Message json.RawMessage `json:"message,omitzero"`
	}
	c := chat{ChatID: s.chatID, Status: s.status}
	if len(s.parts) > 0 {
		b, err := json.Marshal(arc.Message{Role: arc.RoleAgent, Parts: s.parts})
		if err != nil {
			return nil, err
		}
		c.Message = b
	} else if s.pieces == 0 {
		c.Message = s.last
	}
	return json.Marshal(map[string]any{"type": "chat", "chat": c})
}

// streamError reads the data of an error event: {error: {code, message, details}}, or
// code and message at the top, as the Python server has it.
func streamError(data []byte) error {
	var e struct {
		Error   json.RawMessage `json:"error"`
		Code    json.RawMessage `json:"code"`
		Message json.RawMessage `json:"message"`
	}
	if jsonv2.Unmarshal(data, &e) != nil {
		return failure(nil)
	}
	if len(e.Error) == 0 || e.Error[0] != '{' {
		return failure(data)
	}
	return failure(e.Error)
}

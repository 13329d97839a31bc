package carrier

import (
	"bytes"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
)

// What agents answer is read generously, since servers differ, and made safe: what
// comes out here can be stored and shown.

// remoteTask is a task as its agent describes it.
type remoteTask struct {
	id        string
	status    arc.TaskStatus
	failure   *arc.Error    // why it failed; never nil
	reason    string        // why it was canceled
	said      []arc.Message // of the agent, in order
	artifacts []arc.Artifact
	whole     bool // messages and artifacts are all that there are
}

// errNoTask says that an answer has no task in it.
var errNoTask = errors.New("carrier: the answer has no task with an id and a status")

// readTask reads the result of task.create and task.info.
func readTask(result json.RawMessage) (*remoteTask, error) {
	var r struct {
		Task struct {
			ID        string          `json:"taskId"`
			Status    string          `json:"status"`
			Reason    json.RawMessage `json:"reason"`
			Error     json.RawMessage `json:"error"`
			Messages  jsontext.Value  `json:"messages"`
			Artifacts jsontext.Value  `json:"artifacts"`
		} `json:"task"`
	}
	if err := jsonv2.Unmarshal(result, &r); err != nil {
		return nil, errors.Join(errNoTask, err)
	}
	t := &remoteTask{id: r.Task.ID, status: readStatus(r.Task.Status), failure: failure(r.Task.Error), reason: textOf(r.Task.Reason)}
	if t.status == "" || !validID(t.id) || !isList(r.Task.Messages) || !isList(r.Task.Artifacts) {
		return nil, errNoTask
	}
	if t.failure.Message == noWord && t.reason != "" {
		t.failure.Message = t.reason
	}
	return t, t.readMade(r.Task.Messages, r.Task.Artifacts)
}

// maxItems bounds the messages of an answer, its artifacts, and the parts of both: each
// may be of two bytes, and takes a hundred times that here.
const maxItems = 50_000

// errTooMuch says that an answer has more of them.
var errTooMuch = errors.New("carrier: the answer has too many messages, artifacts or parts")

// readMade reads what the agent has made.
func (t *remoteTask) readMade(messages, artifacts jsontext.Value) error {
	said, more := items(messages, maxItems)
	made, many := items(artifacts, maxItems)
	if more || many {
		return errTooMuch
	}
	parts := 0
	for _, raw := range said {
		m, ok := readMessage(raw)
		if ok && m.Role != arc.RoleUser {
			m.Role = arc.RoleAgent
			t.said = append(t.said, m)
		}
		if parts += weight(m.Parts); parts > maxItems {
			return errTooMuch
		}
	}
	for i, raw := range made {
		a, ok := readArtifact(raw, i+1)
		if ok {
			t.artifacts = append(t.artifacts, a)
		}
		if parts += weight(a.Parts); parts > maxItems {
			return errTooMuch
		}
	}
	return nil
}

// weight counts parts, and what they have besides the usual members.
func weight(parts []arc.Part) int {
	n := len(parts)
	for i := range parts {
		n += len(parts[i].Extra)
	}
	return n
}

// isList tells whether a member is an array, null or absent.
func isList(v jsontext.Value) bool {
	return len(v) == 0 || v.Kind() == '[' || v.Kind() == 'n'
}

// items gives the first items of a JSON array, so many at most, and tells whether there
// are more. They are parts of array. What is no array has none.
func items(array jsontext.Value, most int) (found []json.RawMessage, more bool) {
	if len(array) == 0 || array.Kind() != '[' {
		return nil, false
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(array))
	_, _ = d.ReadToken() // it was read before, so it is well-formed
	for d.PeekKind() != ']' {
		if len(found) == most {
			return found, true
		}
		v, err := d.ReadValue()
		if err != nil {
			return found, false
		}
		end := int(d.InputOffset())
		found = append(found, json.RawMessage(array[end-len(v):end:end]))
	}
	return found, false
}

// readStatus reads a state, also in the words of older documents; "" if it is none.
func readStatus(s string) arc.TaskStatus {
	s = strings.ToUpper(s)
	switch s {
	case "PENDING":
		return arc.TaskSubmitted
	case "IN_PROGRESS":
		return arc.TaskWorking
	case "CANCELLED":
		return arc.TaskCanceled
	}
	if slices.Contains(arc.TaskStatuses, arc.TaskStatus(s)) {
		return arc.TaskStatus(s)
	}
	return ""
}

// longestID is the longest id that an agent may give a task or chat, in bytes.
const longestID = 512

// validID tells whether an agent's id can be kept; "" can.
func validID(id string) bool {
	return len(id) <= longestID && utf8.ValidString(id) && !strings.ContainsFunc(id, unicode.IsControl)
}

// readChat reads the result of chat.start and chat.message.
func readChat(result json.RawMessage) (chatID string, answer arc.Message, err error) {
	var r struct {
		Chat struct {
			ID      string          `json:"chatId"`
			Message json.RawMessage `json:"message"`
		} `json:"chat"`
	}
	if err := jsonv2.Unmarshal(result, &r); err != nil || !validID(r.Chat.ID) {
		return "", answer, errors.Join(errors.New("carrier: the answer has no chat"), err)
	}
	answer, _ = readMessage(r.Chat.Message)
	return r.Chat.ID, answer, nil
}

// maxParts bounds the parts of a message.
const maxParts = 1000

// readMessage reads a message: one with parts, a single part, or a bare text. false
// if it says nothing.
func readMessage(raw json.RawMessage) (arc.Message, bool) {
	var m struct {
		Role    string          `json:"role"`
		Parts   jsontext.Value  `json:"parts"`
		Content json.RawMessage `json:"content"`
	}
	switch {
	case len(raw) == 0 || string(raw) == "null":
		return arc.Message{}, false
	case raw[0] != '{' || jsonv2.Unmarshal(raw, &m) != nil || !isList(m.Parts):
		return arc.Message{Role: arc.RoleAgent, Parts: []arc.Part{readPart(raw)}}, true
	}
	message := arc.Message{Role: arc.RoleAgent}
	if strings.EqualFold(m.Role, string(arc.RoleUser)) {
		message.Role = arc.RoleUser
	}
	if m.Parts.Kind() != '[' && len(m.Content) > 0 { // a part in a message's place
		message.Parts = []arc.Part{readPart(raw)}
	} else {
		message.Parts = readParts(m.Parts)
	}
	return message, len(message.Parts) > 0
}

// readParts reads parts. Those that are null say nothing.
func readParts(array jsontext.Value) []arc.Part {
	all, _ := items(array, maxParts)
	parts := make([]arc.Part, 0, len(all))
	for _, raw := range all {
		if string(raw) != "null" {
			parts = append(parts, readPart(raw))
		}
	}
	return parts
}

// readPart reads a part. What is none that could be kept as it is becomes a text, or
// a part of data, so that it is not lost.
func readPart(raw json.RawMessage) arc.Part {
	if raw[0] == '"' {
		return arc.TextPart(textOf(raw))
	}
	var f struct { // this way it takes a seventh of the time of arc.Part
		Type     string                     `json:"type"`
		Content  json.RawMessage            `json:"content"`
		MimeType string                     `json:"mimeType"`
		Filename string                     `json:"filename"`
		Extra    map[string]json.RawMessage `json:",embed"`
	}
	if raw[0] == '{' && jsonv2.Unmarshal(raw, &f, jsontext.AllowInvalidUTF8(true)) == nil {
		p := arc.Part{Type: arc.PartType(f.Type), Content: f.Content, MimeType: f.MimeType, Filename: f.Filename, Extra: f.Extra}
		if len(f.Extra) <= maxParts && fits(&p) {
			return p
		}
	}
	return arc.Part{Type: arc.PartData, Content: compact(raw), MimeType: "application/json"}
}

// fits tells whether a part has what its type needs.
func fits(p *arc.Part) bool {
	if p.Type == "" || len(p.Content) == 0 || string(p.Content) == "null" {
		return false
	}
	p.Content = compact(p.Content)
	return p.Type == arc.PartData || p.Content[0] == '"' && (p.Type == arc.PartText || p.MimeType != "" && isBase64(p.Content))
}

// compact puts a JSON value that is valid on one line.
func compact(raw json.RawMessage) json.RawMessage {
	v := jsontext.Value(slices.Clone(raw))
	if v.Compact() != nil {
		return json.RawMessage("null")
	}
	return json.RawMessage(v)
}

// readArtifact reads the n-th artifact of a task. One without an id gets one that is
// the same each time; one without parts has what it says of itself as a text.
func readArtifact(raw json.RawMessage, n int) (arc.Artifact, bool) {
	var a struct {
		ID          string          `json:"artifactId"`
		Name        string          `json:"name"`
		Description string          `json:"description"`
		Parts       jsontext.Value  `json:"parts"`
		CreatedAt   json.RawMessage `json:"createdAt"`
		Version     json.RawMessage `json:"version"`
		MimeType    string          `json:"mimeType"`
		Metadata    json.RawMessage `json:"metadata"`
	}
	if jsonv2.Unmarshal(raw, &a) != nil || !isList(a.Parts) {
		return arc.Artifact{}, false
	}
	made := arc.Artifact{
		ID: a.ID, Name: a.Name, Description: a.Description, Version: textOf(a.Version), MimeType: a.MimeType,
	}
	if made.ID == "" || !validID(made.ID) {
		made.ID = "artifact-" + strconv.Itoa(n)
	}
	if made.Name == "" {
		made.Name = made.ID
	}
	if len(a.Metadata) > 0 && a.Metadata[0] == '{' {
		made.Metadata = compact(a.Metadata)
	}
	if len(a.CreatedAt) > 0 && (json.Unmarshal(a.CreatedAt, &made.CreatedAt) != nil || !writable(made.CreatedAt)) {
		made.CreatedAt = arc.Time{} // then it is that of its arrival
	}
	if made.Parts = readParts(a.Parts); len(made.Parts) == 0 {
		made.Parts = []arc.Part{arc.TextPart(a.Description)}
	}
	return made, true
}

// writable tells whether a time has a year of four digits in UTC too.
func writable(t arc.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}

// textOf gives a JSON text; "" for anything else.
func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

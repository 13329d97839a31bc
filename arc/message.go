package arc

import (
	"encoding/json"
	"time"
)

// Time is an instant on the wire: RFC 3339 in UTC, ending in Z, with
// milliseconds. The zero Time is left out by omitzero.
type Time struct{ time.Time }

const timeLayout = "2006-01-02T15:04:05.000Z"

// At makes a Time of t, in UTC and cut to milliseconds.
func At(t time.Time) Time { return Time{t.UTC().Truncate(time.Millisecond)} }

// String gives the wire form.
func (t Time) String() string { return t.UTC().Format(timeLayout) }

// MarshalText gives the wire form.
func (t Time) MarshalText() ([]byte, error) { return t.UTC().AppendFormat(nil, timeLayout), nil }

// UnmarshalText reads any RFC 3339 time.
func (t *Time) UnmarshalText(b []byte) error {
	v, err := time.Parse(time.RFC3339, string(b))
	if err != nil {
		return err
	}
	*t = At(v)
	return nil
}

// MarshalJSON gives the wire form as a JSON text.
func (t Time) MarshalJSON() ([]byte, error) {
	return append(t.UTC().AppendFormat([]byte{'"'}, timeLayout), '"'), nil
}

// UnmarshalJSON reads a JSON text that holds an RFC 3339 time.
func (t *Time) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return err
	}
	return t.UnmarshalText([]byte(s))
}

// Role says who speaks in a message.
type Role string

// The roles of the specification.
const (
	RoleUser   Role = "user"
	RoleAgent  Role = "agent"
	RoleSystem Role = "system"
)

// Message is what somebody says, in one or more parts.
type Message struct {
	Role      Role   `json:"role"`
	Parts     []Part `json:"parts"`
	Timestamp Time   `json:"timestamp,omitzero"`
	AgentID   string `json:"agentId,omitempty"`
}

// Text makes a message of one text part.
func Text(role Role, text string) Message { return Message{Role: role, Parts: []Part{TextPart(text)}} }

// Text joins the contents of the message's text parts.
func (m Message) Text() string {
	var s string
	for _, p := range m.Parts {
		if p.Type == PartText {
			s += p.Text()
		}
	}
	return s
}

// The canonical part types; [PartType] also reads their lower-case aliases.
const (
	PartText  = "TextPart"
	PartData  = "DataPart"
	PartFile  = "FilePart"
	PartImage = "ImagePart"
	PartAudio = "AudioPart"
)

// PartType gives the canonical name for s, which may also be one of the aliases
// text, data, file, image, audio; "" if s is neither.
func PartType(s string) string {
	switch s {
	case PartText, "text":
		return PartText
	case PartData, "data":
		return PartData
	case PartFile, "file":
		return PartFile
	case PartImage, "image":
		return PartImage
	case PartAudio, "audio":
		return PartAudio
	}
	return ""
}

// Part is one piece of a message or artifact. Members that ARC does not name
// survive in Extra.
type Part struct {
	Type     string
	Content  json.RawMessage // a JSON text, for data parts any JSON value
	MimeType string
	Filename string
	Extra    map[string]json.RawMessage
}

// TextPart makes a text part.
func TextPart(text string) Part { return Part{Type: PartText, Content: appendText(nil, text)} }

// DataPart makes a data part of a value that encodes as JSON.
func DataPart(value any) (Part, error) {
	b, err := json.Marshal(value)
	if err != nil {
		return Part{}, err
	}
	return Part{Type: PartData, Content: b, MimeType: "application/json"}, nil
}

// Text gives the content as a Go string; "" if it is not a JSON text.
func (p Part) Text() string {
	var s string
	if json.Unmarshal(p.Content, &s) != nil {
		return ""
	}
	return s
}

// MarshalJSON writes type, content, mimeType, filename, then the members of
// Extra.
func (p Part) MarshalJSON() ([]byte, error) { return p.AppendJSON(nil) }

// UnmarshalJSON reads a part. Types are taken as they come; [Part.Type] is made
// canonical by whoever checks it.
func (p *Part) UnmarshalJSON(b []byte) error {
	m := make(map[string]json.RawMessage, 4)
	if err := json.Unmarshal(b, &m); err != nil {
		return err
	}
	*p = Part{}
	for name, to := range map[string]*string{"type": &p.Type, "mimeType": &p.MimeType, "filename": &p.Filename} {
		if v, ok := m[name]; ok {
			if err := json.Unmarshal(v, to); err != nil {
				return err
			}
			delete(m, name)
		}
	}
	if v, ok := m["content"]; ok {
		p.Content = v
		delete(m, "content")
	}
	if len(m) > 0 {
		p.Extra = m
	}
	return nil
}

// Artifact is something that a task produced.
type Artifact struct {
	ID          string          `json:"artifactId"`
	Name        string          `json:"name"`
	Description string          `json:"description,omitempty"`
	Parts       []Part          `json:"parts"`
	CreatedAt   Time            `json:"createdAt,omitzero"`
	Version     string          `json:"version,omitempty"`
	MimeType    string          `json:"mimeType,omitempty"`
	CreatedBy   string          `json:"createdBy,omitempty"`
	Metadata    json.RawMessage `json:"metadata,omitzero"`
}

package methods

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/arcd-io/arcd/arc"
)

// maxParts bounds the parts of one message; the body limit bounds their size.
const maxParts = 1000

// checkMessage checks a message of a caller and makes its part types canonical.
// Issues name the field by its path below the param's name.
func checkMessage(field string, m *arc.Message, code arc.Code) error {
	bad := func(path, issue string) error {
		e := arc.InvalidParam(path, issue)
		e.Code = code
		return e
	}
	if m == nil {
		return arc.InvalidParam(field, "is required")
	}
	switch m.Role {
	case arc.RoleUser, arc.RoleAgent, arc.RoleSystem:
	case "":
		return bad(field+".role", "is required")
	default:
		return bad(field+".role", "must be user, agent or system")
	}
	if !writable(m.Timestamp) {
		return bad(field+".timestamp", "must be in the years 0 to 9999 in UTC")
	}
	if len(m.Parts) == 0 {
		return bad(field+".parts", "must hold at least one part")
	}
	if len(m.Parts) > maxParts {
		return bad(field+".parts", "must hold at most "+strconv.Itoa(maxParts)+" parts")
	}
	for i := range m.Parts {
		if issue, name := checkPart(&m.Parts[i]); issue != "" {
			return bad(field+".parts."+strconv.Itoa(i)+name, issue)
		}
	}
	return nil
}

// writable tells whether a time is an RFC 3339 time in UTC too, as which it is
// stored: its offset may carry it out of the years that have four digits.
func writable(t arc.Time) bool {
	year := t.UTC().Year()
	return year >= 0 && year <= 9999
}

// checkPart gives what is wrong with a part, and the member it is about.
func checkPart(p *arc.Part) (issue, member string) {
	if p.Type == "" {
		return "is required", ".type"
	}
	canonical := arc.PartType(p.Type)
	if canonical == "" {
		return "must be TextPart, DataPart, FilePart, ImagePart or AudioPart", ".type"
	}
	p.Type = canonical
	if len(p.Content) == 0 || string(p.Content) == "null" {
		return "is required", ".content"
	}
	if p.Type == arc.PartData {
		return "", ""
	}
	if p.Content[0] != '"' {
		return "must be a text", ".content"
	}
	if p.Type == arc.PartText {
		return "", ""
	}
	if p.MimeType == "" {
		return "is required for a " + p.Type, ".mimeType"
	}
	var text string
	if json.Unmarshal(p.Content, &text) != nil || !isBase64(text) {
		return "must be base64", ".content"
	}
	return "", ""
}

func isBase64(s string) bool {
	_, err := base64.StdEncoding.DecodeString(s)
	return err == nil
}

// checkObject checks that a free-form param is a JSON object, if it is there.
// null counts as left out.
func checkObject(field string, raw *json.RawMessage) error {
	switch {
	case len(*raw) == 0:
	case string(*raw) == "null":
		*raw = nil
	case (*raw)[0] != '{':
		return arc.InvalidParam(field, "must be an object")
	}
	return nil
}

// maxReason bounds the free text of a reason, in bytes.
const maxReason = 2000

func checkReason(reason string) error {
	if len(reason) > maxReason || !utf8.ValidString(reason) {
		return arc.InvalidParam("reason", "must be at most "+strconv.Itoa(maxReason)+" bytes of text")
	}
	return nil
}

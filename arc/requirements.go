package arc

import (
	"encoding/json"
	"errors"
	"strings"
)

// Requirements are what an agent needs to run (ARCP AgentRequirements), as the
// members of the JSON object. Nil: nothing was said.
type Requirements map[string]any

// UnmarshalJSON takes the object, a text that holds the object as JSON (ARCP
// allows both), or null. An empty text is nil.
func (q *Requirements) UnmarshalJSON(b []byte) error {
	*q = nil
	if len(b) > 0 && b[0] == '"' {
		var text string
		if err := json.Unmarshal(b, &text); err != nil {
			return err
		}
		if text = strings.TrimSpace(text); text == "" {
			return nil
		}
		if text[0] != '{' {
			return errors.New("the text of requirements is no JSON object")
		}
		b = []byte(text)
	}
	var members map[string]any
	if err := json.Unmarshal(b, &members); err != nil {
		return err
	}
	*q = members
	return nil
}

package rpc

import (
	"encoding/json"
	"errors"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// decodeParams fills v from the params object. Unknown members are ignored: the
// ARC specification promises growth by optional fields.
func decodeParams(raw json.RawMessage, v any) error {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	err := jsonv2.Unmarshal(raw, v)
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*arc.Error](err); ok {
		return e
	}
	field, issue := "params", "has a value of the wrong type"
	if e, ok := errors.AsType[*jsonv2.SemanticError](err); ok {
		if name := strings.ReplaceAll(strings.TrimPrefix(string(e.JSONPointer), "/"), "/", "."); name != "" {
			field = name
		}
		if e.JSONKind != 0 {
			issue = "must not be " + kindName(byte(e.JSONKind))
		}
	}
	return arc.InvalidParam(field, issue).Because(err)
}

func kindName(kind byte) string {
	switch kind {
	case 'n':
		return "null"
	case 'f', 't':
		return "a boolean"
	case '"':
		return "this text"
	case '0':
		return "a number"
	case '{':
		return "an object"
	}
	return "an array"
}

package outcome

import (
	"bytes"
	"encoding/json"
	"maps"
	"strings"
)

// Select keeps the named members of an object. Where the object has a list of
// items, it keeps those of each item, and the named ones of what stands beside the
// list. Dots go deeper, in each item of a list: task.status. Members whose names
// begin with an underscore stay, as they say what not to trust. What is no object
// stays as it is.
func Select(doc []byte, fields []string) ([]byte, error) {
	tree := fieldTree{}
	for _, field := range fields {
		tree.add(strings.Split(strings.TrimSpace(field), "."))
	}
	var object map[string]json.RawMessage
	if _, named := tree["items"]; !named && json.Unmarshal(doc, &object) == nil && object["items"] != nil {
		tree["items"] = maps.Clone(tree)
	}
	return tree.pick(doc)
}

// fieldTree are the members to keep, each with those to keep of it; none: all.
type fieldTree map[string]fieldTree

// add adds a path of names.
func (t fieldTree) add(path []string) {
	inner, known := t[path[0]]
	switch {
	case len(path) == 1:
		t[path[0]] = nil
	case known && inner == nil: // all of it is kept
	default:
		if inner == nil {
			inner = fieldTree{}
			t[path[0]] = inner
		}
		inner.add(path[1:])
	}
}

// pick keeps the members of an object, or those of each object of a list.
func (t fieldTree) pick(doc json.RawMessage) (json.RawMessage, error) {
	var list []json.RawMessage
	if len(t) == 0 || json.Unmarshal(doc, &list) != nil || list == nil {
		return t.members(doc)
	}
	for i := range list {
		var err error
		if list[i], err = t.members(list[i]); err != nil {
			return nil, err
		}
	}
	return Marshal(list)
}

// members keeps the members of an object. What is none stays as it is.
func (t fieldTree) members(doc json.RawMessage) (json.RawMessage, error) {
	var object map[string]json.RawMessage
	if len(t) == 0 || json.Unmarshal(doc, &object) != nil || object == nil {
		return doc, nil
	}
	for name, value := range object {
		inner, wanted := t[name]
		if !wanted && !strings.HasPrefix(name, "_") {
			delete(object, name)
			continue
		}
		var err error
		if object[name], err = inner.pick(value); err != nil {
			return nil, err
		}
	}
	return Marshal(object)
}

// Marshal encodes without escaping what HTML reads.
func Marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimRight(b.Bytes(), "\n"), err
}

package rpc

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
)

// decodeParams fills v from the params object. Unknown members are ignored: the
// ARC specification promises growth by optional fields.
func decodeParams(raw json.RawMessage, v any) error {
	if len(raw) == 0 {
		raw = json.RawMessage("{}")
	}
	if raw[0] == '[' {
		return arc.InvalidParam("params", "must be an object: no method takes params by position")
	}
	err := jsonv2.Unmarshal(raw, v, paramOptions)
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
		if e.GoType != nil {
			issue = "must be " + kindName(e.GoType)
		}
	}
	return arc.InvalidParam(field, issue).Because(err)
}

// paramOptions decodes the parts of messages token by token: they are in every
// call that creates something, and by their own method cost a map each.
var paramOptions = jsonv2.WithUnmarshalers(jsonv2.UnmarshalFromFunc(decodePart))

func decodePart(d *jsontext.Decoder, p *arc.Part) error {
	if d.PeekKind() != '{' {
		return errors.ErrUnsupported // let the usual way report it
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	*p = arc.Part{}
	for d.PeekKind() != '}' {
		token, err := d.ReadToken()
		if err != nil {
			return err
		}
		name := token.String()
		switch name {
		case "type":
			err = jsonv2.UnmarshalDecode(d, &p.Type)
		case "mimeType":
			err = jsonv2.UnmarshalDecode(d, &p.MimeType)
		case "filename":
			err = jsonv2.UnmarshalDecode(d, &p.Filename)
		default:
			var value jsontext.Value
			if value, err = d.ReadValue(); err == nil {
				keepMember(p, name, json.RawMessage(value.Clone()))
			}
		}
		if err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

func keepMember(p *arc.Part, name string, value json.RawMessage) {
	if name == "content" {
		p.Content = value
		return
	}
	if p.Extra == nil {
		p.Extra = make(map[string]json.RawMessage)
	}
	p.Extra[name] = value
}

// kindName says what JSON a param of the Go type t takes.
func kindName(t reflect.Type) string {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.String:
		return "a text"
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Slice:
		return "a list"
	}
	if t == reflect.TypeFor[arc.Time]() {
		return "an RFC 3339 time"
	}
	return "an object"
}

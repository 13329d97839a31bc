package cli

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// jsonSchema is a JSON Schema (draft-07), as far as the shapes of our results
// need one.
type jsonSchema struct {
	Type                 any                    `json:"type,omitempty"` // a name, or a list of names
	Format               string                 `json:"format,omitempty"`
	Properties           map[string]*jsonSchema `json:"properties,omitempty"`
	Required             []string               `json:"required,omitempty"`
	Items                *jsonSchema            `json:"items,omitempty"`
	AdditionalProperties any                    `json:"additionalProperties,omitempty"` // false, or the schema of the values of a map
}

// schemaOf derives the schema of what encoding/json makes of a value's type; nil:
// null. Of types that encode themselves only what they are known to be is said.
// Lists may be null, which is "unknown", but for the one that is the result:
// items, results.
func schemaOf(v any) *jsonSchema {
	if v == nil {
		return &jsonSchema{Type: "null"}
	}
	return (&schemaWalk{under: map[reflect.Type]bool{}}).of(reflect.TypeOf(v))
}

// schemaWalk derives the schema of one type.
type schemaWalk struct {
	under map[reflect.Type]bool // structs that are being looked at: a type within itself is any value
}

// Types that encode themselves.
var (
	timeType    = reflect.TypeFor[time.Time]()
	arcTimeType = reflect.TypeFor[arc.Time]()
	encodesJSON = reflect.TypeFor[json.Marshaler]()
	encodesText = reflect.TypeFor[encoding.TextMarshaler]()
)

func (w *schemaWalk) of(t reflect.Type) *jsonSchema {
	if t.Kind() == reflect.Pointer {
		return nullable(w.of(t.Elem()))
	}
	switch {
	case t == timeType || t == arcTimeType:
		return &jsonSchema{Type: "string", Format: "date-time"}
	case implements(t, encodesJSON):
		return &jsonSchema{}
	case implements(t, encodesText):
		return &jsonSchema{Type: "string"}
	}
	switch t.Kind() {
	case reflect.Bool:
		return &jsonSchema{Type: "boolean"}
	case reflect.String:
		return &jsonSchema{Type: "string"}
	case reflect.Float32, reflect.Float64:
		return &jsonSchema{Type: "number"}
	case reflect.Slice, reflect.Array:
		return w.list(t)
	case reflect.Map:
		return &jsonSchema{Type: "object", AdditionalProperties: w.of(t.Elem())}
	case reflect.Struct:
		return w.object(t)
	case reflect.Interface:
		return &jsonSchema{}
	}
	return &jsonSchema{Type: "integer"} // the rest that can be encoded
}

func (w *schemaWalk) list(t reflect.Type) *jsonSchema {
	if t.Elem().Kind() == reflect.Uint8 {
		return &jsonSchema{Type: "string"} // base64
	}
	return &jsonSchema{Type: "array", Items: w.of(t.Elem())}
}

// object derives the schema of a struct, which has no members but those of its
// fields.
func (w *schemaWalk) object(t reflect.Type) *jsonSchema {
	if w.under[t] {
		return &jsonSchema{}
	}
	w.under[t] = true
	defer delete(w.under, t)
	s := &jsonSchema{Type: "object", Properties: map[string]*jsonSchema{}, AdditionalProperties: false}
	w.members(s, t, true)
	return s
}

// members adds the fields of a struct, and of those that it embeds. always tells
// whether the struct is there in every case.
func (w *schemaWalk) members(s *jsonSchema, t reflect.Type, always bool) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if f.Anonymous && name == "" {
			embedded, pointer := f.Type, false
			if embedded.Kind() == reflect.Pointer {
				embedded, pointer = embedded.Elem(), true
			}
			if embedded.Kind() == reflect.Struct {
				w.members(s, embedded, always && !pointer)
				continue
			}
		}
		if name == "-" || !f.IsExported() {
			continue
		}
		if name == "" {
			name = f.Name
		}
		member := w.of(f.Type)
		if kind := f.Type.Kind(); (kind == reflect.Slice || kind == reflect.Map) && name != "items" && name != "results" {
			member = nullable(member)
		}
		s.Properties[name] = member
		if always && !strings.Contains(options, "omit") {
			s.Required = append(s.Required, name)
		}
	}
}

// implements tells whether a type, or a pointer to it, has the methods.
func implements(t, methods reflect.Type) bool {
	return t.Implements(methods) || reflect.PointerTo(t).Implements(methods)
}

// nullable allows null as well.
func nullable(s *jsonSchema) *jsonSchema {
	if name, ok := s.Type.(string); ok {
		s.Type = []string{name, "null"}
	}
	return s
}

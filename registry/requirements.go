package registry

import (
	"math"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

var (
	systemForm = newForm(`^[0-9]+(\.[0-9]+)*[A-Za-z0-9+-]*$`)
	schemaForm = newForm(`^[0-9]{1,9}\.[0-9]{1,9}$`)
	portForm   = newForm(`^[0-9]{1,5}(-[0-9]{1,5})?$`)
)

// fieldTypes are what a configuration field may be.
var fieldTypes = []string{"text", "select", "multiselect", "boolean", "number", "textarea", "array"}

// requirements checks what an agent needs (contract section 4.1) and gives the
// members that the protocol knows; others, and those that are null, are dropped.
// Empty requirements are nil.
func (f *form) requirements(q arc.Requirements) arc.Requirements {
	if len(q) > 100 {
		f.bad("requirements", nil, "must have at most 100 members")
		return nil
	}
	const field = "requirements"
	out := arc.Requirements{}
	for name, check := range map[string]func(*form, string, any) any{
		"system_requirements":    texts(50, 200),
		"permissions":            texts(30, 100),
		"dependencies":           texts(100, 200),
		"minimum_system_version": matching(systemForm, 50, "must look like 1.2.3"),
		"minimum_memory_mb":      wholeNumber(1 << 20),
		"minimum_disk_space_mb":  wholeNumber(10 << 20),
		"requires_internet":      truth,
		"network_ports":          ports,
		"required_fields":        fields(50, false),
		"optional_fields":        fields(100, true),
		"user_configuration":     configuration,
		"schema_version":         matching(schemaForm, 19, "must look like 1.0"),
	} {
		if value := q[name]; value != nil {
			out[name] = check(f, field+"."+name, value)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// list takes a list of at most so many items.
func (f *form) list(field string, value any, most int) ([]any, bool) {
	list, ok := value.([]any)
	if !ok {
		f.bad(field, nil, "must be a list")
		return nil, false
	}
	return list, f.count(field, len(list), 0, most)
}

// texts takes a list of texts.
func texts(most, size int) func(*form, string, any) any {
	return func(f *form, field string, value any) any {
		list, ok := f.list(field, value, most)
		if !ok {
			return nil
		}
		out := make([]any, len(list))
		for i, v := range list {
			s, ok := v.(string)
			if !ok {
				f.bad(item(field, i), nil, "must be a text")
				continue
			}
			f.line(item(field, i), &s, 1, size)
			out[i] = s
		}
		return out
	}
}

// matching takes a text of a certain form.
func matching(allowed textForm, size int, issue string) func(*form, string, any) any {
	return func(f *form, field string, value any) any {
		s, _ := value.(string)
		if len(s) > size || !allowed.matches(s) {
			f.bad(field, nil, "%s", issue)
		}
		return s
	}
}

// wholeNumber takes a whole number from 1 to most.
func wholeNumber(most float64) func(*form, string, any) any {
	return func(f *form, field string, value any) any {
		n, ok := value.(float64)
		if !ok || n < 1 || n > most || n != math.Trunc(n) {
			f.bad(field, nil, "must be a whole number from 1 to %.0f", most)
		}
		return value
	}
}

// truth takes true or false.
func truth(f *form, field string, value any) any {
	if _, ok := value.(bool); !ok {
		f.bad(field, nil, "must be true or false")
	}
	return value
}

// ports takes a list of ports and ranges of ports. Numbers become texts.
func ports(f *form, field string, value any) any {
	list, ok := f.list(field, value, 20)
	if !ok {
		return nil
	}
	out := make([]any, len(list))
	for i, v := range list {
		s, _ := v.(string)
		if n, ok := v.(float64); ok {
			s = strconv.FormatFloat(n, 'f', -1, 64)
		}
		if s = strings.TrimSpace(s); !validPorts(s) {
			f.bad(item(field, i), nil, "must be a port such as 8080, or a range such as 8000-8999")
		}
		out[i] = s
	}
	return out
}

func validPorts(s string) bool {
	if !portForm.matches(s) {
		return false
	}
	low, high, ranged := strings.Cut(s, "-")
	from, _ := strconv.Atoi(low)
	to := from
	if ranged {
		to, _ = strconv.Atoi(high)
	}
	return from >= 1 && from <= to && to <= 65535
}

// configuration takes a free object of at most 100 members.
func configuration(f *form, field string, value any) any {
	m, ok := value.(map[string]any)
	if !ok || len(m) > 100 {
		f.bad(field, nil, "must be an object of at most 100 members")
		return nil
	}
	for key := range m {
		f.key(field, key)
	}
	f.nesting(field, value)
	return value
}

// fields takes a list of configuration fields.
func fields(most int, optional bool) func(*form, string, any) any {
	return func(f *form, field string, value any) any {
		list, ok := f.list(field, value, most)
		if !ok {
			return nil
		}
		out := make([]any, len(list))
		for i, v := range list {
			m, ok := v.(map[string]any)
			if !ok {
				f.bad(item(field, i), nil, "must be an object")
				continue
			}
			out[i] = f.configField(item(field, i), m, optional)
		}
		return out
	}
}

// configField checks a field that the user of an agent fills in, and gives the
// members that the protocol knows.
func (f *form) configField(field string, m map[string]any, optional bool) map[string]any {
	out := map[string]any{}
	f.setText(out, m, field, "name", 1, 100)
	if name, _ := out["name"].(string); !idForm.matches(name) {
		f.bad(field+".name", nil, "may hold %s only", idNamed)
	}
	f.setText(out, m, field, "label", 1, 200)
	f.setText(out, m, field, "type", 1, 20)
	kind, _ := out["type"].(string)
	f.oneOf(field+".type", kind, fieldTypes...)
	f.setText(out, m, field, "description", 0, 1000)
	f.setText(out, m, field, "placeholder", 0, 300)
	if optional {
		f.setText(out, m, field, "category", 0, 100)
	}
	if v := m["options"]; v != nil {
		out["options"] = texts(50, 200)(f, field+".options", v)
	}
	if v := m["default_value"]; v != nil {
		f.defaultValue(field+".default_value", v)
		out["default_value"] = v
	}
	if v, ok := m["validation"]; ok && v != nil {
		f.setText(out, m, field, "validation", 0, 500)
		if pattern, _ := out["validation"].(string); !portable(pattern) {
			f.bad(field+".validation", nil, "must be a regular expression that all parties read the same way: "+
				"no look-around, back references, flags or character properties")
		}
	}
	return out
}

// setText checks a text member of m and puts it into out. One that may be empty
// may be absent.
func (f *form) setText(out, m map[string]any, field, name string, min, max int) {
	value, ok := m[name]
	if (!ok || value == nil) && min == 0 {
		return
	}
	s, ok := value.(string)
	if !ok {
		f.bad(field+"."+name, nil, "must be a text")
		return
	}
	f.prose(field+"."+name, &s, min, max)
	out[name] = s
}

// defaultValue checks a text, a whole number, true or false, or a list of texts.
func (f *form) defaultValue(field string, value any) {
	const exact = 1 << 53
	switch v := value.(type) {
	case string:
		f.kept(field, v, 0, 1000, lineBreaks)
	case bool:
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > exact {
			f.bad(field, nil, "must be a whole number")
		}
	case []any:
		texts(100, 1000)(f, field, v)
	default:
		f.bad(field, nil, "must be a text, a whole number, true or false, or a list of texts")
	}
}

// sizeOf is the length of a value as JSON; very long if it does not encode.
func sizeOf(value any) int {
	b, err := jsonv2.Marshal(value)
	if err != nil {
		return math.MaxInt
	}
	return len(b)
}

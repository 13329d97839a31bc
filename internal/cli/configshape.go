package cli

import (
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// settler checks one layer of settings against the shape of config: every key
// must exist and every value must fit its type. It collects all problems, so
// that an operator mends a file in one go.
type settler struct {
	layer    layer
	keys     []string // the keys that the layer sets
	problems []error
}

// settleAll gives the layer with each value in the type of its key.
func (s *settler) settleAll(raw map[string]any) map[string]any {
	v, _ := s.settle("", reflect.TypeFor[config](), raw)
	settled, _ := v.(map[string]any)
	return settled
}

// settle gives value in the form that type t needs; false if there is nothing
// to set, because the value is null or wrong.
func (s *settler) settle(key string, t reflect.Type, value any) (any, bool) {
	if value == nil {
		return nil, false
	}
	switch {
	case t.Kind() == reflect.Struct:
		return s.settleLevel(key, value, func(name string) (reflect.Type, bool) {
			f, ok := fieldOf(t, name)
			return f.Type, ok
		}, t)
	case t.Kind() == reflect.Map:
		return s.settleLevel(key, value, func(string) (reflect.Type, bool) { return t.Elem(), true }, t)
	}
	leaf, err := settleLeaf(t, value, s.layer.text)
	if err != nil {
		s.problem(key, "%w", err)
		return nil, false
	}
	s.keys = append(s.keys, key)
	return leaf, true
}

// settleLevel settles the members of a level. typeOf gives the type of a
// member.
func (s *settler) settleLevel(key string, value any, typeOf func(string) (reflect.Type, bool), t reflect.Type) (any, bool) {
	members, ok := value.(map[string]any)
	if !ok {
		s.problem(key, "must be a level with keys below it, not %q", fmt.Sprint(value))
		return nil, false
	}
	settled := make(map[string]any, len(members))
	for _, name := range slices.Sorted(maps.Keys(members)) {
		path := join(key, name)
		if plain, ok := strings.CutSuffix(name, "_file"); ok && isSecret(t, plain) {
			s.settleFile(settled, members, join(key, plain), plain)
			continue
		}
		memberType, ok := typeOf(name)
		if !ok {
			s.unknown(path)
			continue
		}
		if v, ok := s.settle(path, memberType, members[name]); ok {
			settled[name] = v
		}
	}
	return settled, true
}

// settleFile reads the secret that the key with _file points at.
func (s *settler) settleFile(settled, members map[string]any, key, name string) {
	// Both at once would leave open which one is in force.
	path, ok := members[name+"_file"].(string)
	if _, both := members[name]; both || !ok {
		s.problem(key+"_file", "must be the name of a file, and %s must not be set beside it", key)
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		s.problem(key+"_file", "cannot be read: %w", err)
		return
	}
	// Editors and echo end a file with a line feed, which is no part of a secret.
	settled[name] = strings.TrimRight(string(content), "\r\n")
	s.keys = append(s.keys, key)
}

// problem adds one fault, with its source and key.
func (s *settler) problem(key, format string, args ...any) {
	s.problems = append(s.problems, fmt.Errorf("%s: %s: "+format, append([]any{s.layer.origin(key), key}, args...)...))
}

// unknown reports a key that does not exist. It is an error and no warning,
// since a misspelt setting is one that is not in force.
func (s *settler) unknown(key string) {
	if near := nearest(key, knownKeys(key)); near != "" {
		s.problem(key, "there is no such key; did you mean %s?", near)
		return
	}
	s.problem(key, "there is no such key")
}

// settleLeaf gives one value in type t. Texts are parsed only if they come from
// a source that has nothing but texts; a file must use the right type.
func settleLeaf(t reflect.Type, value any, text bool) (any, error) {
	s, isText := value.(string)
	parse := text && isText
	switch t {
	case reflect.TypeFor[time.Duration]():
		if d, err := parseDuration(s); isText && err == nil {
			return d, nil
		}
		return nil, fmt.Errorf("must be a duration such as 30s, 5m or 30d, not %q", fmt.Sprint(value))
	case reflect.TypeFor[[]string]():
		return settleList(value, text)
	}
	switch t.Kind() {
	case reflect.String:
		if isText {
			return s, nil
		}
		return nil, fmt.Errorf("must be a text, not %q; put it in quotes if it is one", fmt.Sprint(value))
	case reflect.Bool:
		if parse {
			if b, err := strconv.ParseBool(s); err == nil {
				return b, nil
			}
		}
		if b, ok := value.(bool); ok {
			return b, nil
		}
		return nil, fmt.Errorf("must be true or false, not %q", fmt.Sprint(value))
	}
	if t.Kind() == reflect.Float64 {
		return settleNumber(value, parse)
	}
	// What is left are whole numbers. YAML gives an int; 1.5, 1e3 and true stay out.
	if parse {
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n, nil
		}
	}
	if n, ok := value.(int); ok {
		return n, nil
	}
	return nil, fmt.Errorf("must be a whole number, not %q", fmt.Sprint(value))
}

// settleNumber gives a number with or without a fraction.
func settleNumber(value any, parse bool) (any, error) {
	switch n := value.(type) {
	case float64:
		return n, nil
	case int:
		return float64(n), nil
	case string:
		if f, err := strconv.ParseFloat(n, 64); parse && err == nil {
			return f, nil
		}
	}
	return nil, fmt.Errorf("must be a number, not %q", fmt.Sprint(value))
}

// settleList gives a list of texts. One text is a list of one; from a source of
// texts, commas separate.
func settleList(value any, text bool) (any, error) {
	switch v := value.(type) {
	case string:
		if !text {
			return []string{v}, nil
		}
		list := []string{}
		for part := range strings.SplitSeq(v, ",") {
			list = append(list, strings.TrimSpace(part))
		}
		return list, nil
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("must be a list of texts, but holds %q", fmt.Sprint(e))
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, fmt.Errorf("must be a text or a list of texts, not %q", fmt.Sprint(value))
}

// parseDuration reads a Go duration, or whole days such as 30d.
func parseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.Atoi(days)
		if err != nil || n < 0 || n > 36500 {
			return 0, fmt.Errorf("%q is no number of days", s)
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}

// fieldOf finds the field of a struct that has this key.
func fieldOf(t reflect.Type, name string) (reflect.StructField, bool) {
	for f := range t.Fields() {
		if f.Tag.Get("koanf") == name {
			return f, true
		}
	}
	return reflect.StructField{}, false
}

// isSecret tells whether the key of a struct is a secret text.
func isSecret(t reflect.Type, name string) bool {
	if t.Kind() != reflect.Struct {
		return false
	}
	f, ok := fieldOf(t, name)
	return ok && f.Tag.Get("secret") == "true"
}

// join writes a key below another.
func join(key, name string) string {
	if key == "" {
		return name
	}
	return key + "." + name
}

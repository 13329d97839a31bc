package cli

import (
	"bytes"
	"regexp"
	"strings"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/tailscale/hujson"

	"github.com/arcd-io/arcd/internal/outcome"
)

// readJSON takes a JSON text as people and models write it: comments and commas
// behind the last member are fine. Anything else that is no JSON is refused, with
// the JSON that was perhaps meant.
func readJSON(flag string, text []byte) (jsontext.Value, error) {
	strict, err := standardJSON(text)
	if err == nil {
		return strict, nil
	}
	e := outcome.Errorf(outcome.InvalidJSON, "%s is not JSON: %s.", flag, outcome.Clean(err.Error())).Because(err)
	problem := outcome.Problem{Code: outcome.InvalidJSON, Field: flag, Input: shorten(string(text)), Message: "is not JSON: " + outcome.Clean(err.Error())}
	if meant, err := standardJSON(repairJSON(text)); err == nil && len(meant) <= maxStdin {
		problem.Corrected = string(meant)
	} else {
		e.Suggest("Send valid JSON.")
	}
	e.Errors = []outcome.Problem{problem}
	return nil, e
}

// readObject is readJSON for what must be an object.
func readObject(flag string, text []byte) (jsontext.Value, error) {
	v, err := readJSON(flag, text)
	if err == nil && v.Kind() != '{' {
		return nil, outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: flag, Input: shorten(string(text)), Message: "must be a JSON object"})
	}
	return v, err
}

// standardJSON gives strict JSON in one line: no duplicate names, UTF-8 only.
func standardJSON(text []byte) (jsontext.Value, error) {
	strict, err := hujson.Standardize(append(bytes.Clone(text), '\n')) // a comment must end in a new line
	if err != nil {
		return nil, err
	}
	v, err := jsontext.NewDecoder(bytes.NewReader(strict)).ReadValue() // hujson has seen that there is one
	if err != nil {
		return nil, err
	}
	v = v.Clone()
	return v, v.Compact()
}

// notJSON finds, in this order: strings in double quotes, which stay; strings in
// single quotes; names and words without quotes.
var notJSON = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[A-Za-z_$][A-Za-z0-9_$-]*(?:\s*:)?`)
})

// repairJSON guesses the JSON that a text in the style of JavaScript or Python
// means: names without quotes, single quotes, None and True.
func repairJSON(text []byte) []byte {
	return notJSON().ReplaceAllFunc(text, func(found []byte) []byte {
		word := string(found)
		switch {
		case word[0] == '"':
			return found
		case word[0] == '\'':
			inner := strings.ReplaceAll(word[1:len(word)-1], `\'`, `'`)
			return []byte(`"` + strings.ReplaceAll(inner, `"`, `\"`) + `"`)
		case strings.HasSuffix(word, ":"):
			return []byte(`"` + strings.TrimRight(word[:len(word)-1], " \t\r\n") + `":`)
		}
		switch word {
		case "True":
			return []byte("true")
		case "False":
			return []byte("false")
		case "None", "undefined", "NaN":
			return []byte("null")
		}
		return found
	})
}

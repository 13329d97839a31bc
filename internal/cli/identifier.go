package cli

import (
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/alecthomas/kong"

	"github.com/arcd-io/arcd/internal/outcome"
)

// identifier is the id of a task, chat or agent, or another name, as an
// argument. It is checked before anything is sent, because what a model makes up
// (escapes, paths, null) must not reach a server.
type identifier string

// identifierPattern is what an id may look like.
var identifierPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)
})

// identifier reads an id.
func (ps *parser) identifier(ctx *kong.DecodeContext, target reflect.Value) error {
	field, text, err := pop(ctx)
	if err != nil {
		return err
	}
	if problem, ok := checkIdentifier(field, text); !ok {
		ps.add(problem)
		return nil
	}
	target.SetString(text)
	return nil
}

// checkIdentifier tells what is wrong with an id.
func checkIdentifier(field, text string) (outcome.Problem, bool) {
	p := outcome.Problem{Code: outcome.Validation, Field: field, Input: shorten(text)}
	switch strings.ToLower(text) {
	case "null", "undefined", "none", "nil", "nan":
		p.Message = "is the word " + text + ", which is no id"
		p.Suggestion = "Give the id that an earlier command printed."
		return p, false
	}
	if identifierPattern().MatchString(text) {
		return p, true
	}
	p.Message = "must be letters, digits and . _ : - only, at most 128, beginning with a letter or digit"
	if decoded, err := url.PathUnescape(text); err == nil && decoded != text {
		p.Suggestion = "It holds percent escapes; decoded it is " + shorten(decoded) + "."
	}
	if name := strings.TrimFunc(identifierStrip(text), func(r rune) bool { return strings.ContainsRune("._:-", r) }); name != text && identifierPattern().MatchString(name) {
		p.Corrected = name
	}
	return p, false
}

// identifierStrip drops everything from the first sign that begins a query or
// fragment, and what is no part of an id.
func identifierStrip(text string) string {
	if decoded, err := url.PathUnescape(text); err == nil {
		text = decoded
	}
	text, _, _ = strings.Cut(text, "?")
	text, _, _ = strings.Cut(text, "#")
	return strings.Map(func(r rune) rune {
		if identifierPattern().MatchString("a" + string(r)) {
			return r
		}
		return -1
	}, text)
}

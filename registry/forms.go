package registry

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arcd-io/arcd/arc"
)

// The forms of names that the protocol shares (contract section 4.1).
var (
	idForm      = newForm(`^[A-Za-z0-9_-]*$`)
	userForm    = newForm(`^[A-Za-z0-9_@.-]*$`)
	abilityForm = newForm(`^[A-Za-z0-9_ -]*$`)
	scopeForm   = newForm(`^[A-Za-z0-9_.:-]*$`)
	versionForm = newForm(`^[0-9]+\.[0-9]+\.[0-9]+(-[A-Za-z0-9]+)?$`)
)

// reservedIDs are the words that routes below /agents use (contract section
// 1.3).
var reservedIDs = map[string]bool{
	"stats": true, "search": true, "register": true, "ws": true, "report-metrics": true,
}

// modes are the words of communication_mode.
var modes = []string{"remote", "local", "hybrid"}

const (
	maxIssues   = 20 // a refusal names no more
	maxEndpoint = 2048
	maxVersion  = 32
)

// form collects what is wrong with a request.
type form struct {
	issues []arc.FieldIssue
}

// bad notes an issue. The value is shown again if it is short; nil: it is a secret
// or says nothing.
func (f *form) bad(field string, value any, format string, args ...any) {
	if len(f.issues) < maxIssues {
		f.issues = append(f.issues, arc.FieldIssue{Field: field, Issue: fmt.Sprintf(format, args...), Value: short(value)})
	}
}

// size checks that a text has min to max characters, which are code points as
// in Python.
func (f *form) size(field, s string, min, max int) bool {
	if n := utf8.RuneCountInString(s); n < min || n > max || !utf8.ValidString(s) {
		if s == "" {
			f.bad(field, nil, "is missing, or empty: it must have %d to %d characters", min, max)
			return false
		}
		f.bad(field, s, "must have %d to %d characters", min, max)
		return false
	}
	return true
}

// word checks a text of limited characters; named says which.
func (f *form) word(field, s string, min, max int, allowed textForm, named string) {
	if f.size(field, s, min, max) && !allowed.matches(s) {
		f.bad(field, s, "may hold %s only", named)
	}
}

// hidden is word for a text that must not be shown again.
func (f *form) hidden(field, s string, min, max int, allowed textForm, named string) {
	before := len(f.issues)
	f.word(field, s, min, max, allowed, named)
	for i := before; i < len(f.issues); i++ {
		f.issues[i].Value = nil
	}
}

const (
	idNamed      = "A-Z a-z 0-9 _ -"
	userNamed    = "A-Z a-z 0-9 _ @ . -"
	abilityNamed = "A-Z a-z 0-9 _ - and spaces"
	scopeNamed   = "A-Z a-z 0-9 _ . : -"
)

// agentID checks the id of an agent of at most max characters. It must be good for
// a targetAgent too.
func (f *form) agentID(field, id string, max int) {
	f.word(field, id, 3, max, idForm, idNamed)
	if strings.HasPrefix(id, "-") || strings.HasPrefix(id, "_") {
		f.bad(field, id, "must begin with a letter or digit")
	}
	if reservedIDs[strings.ToLower(id)] {
		f.bad(field, id, "is a reserved word")
	}
}

// agentType checks the type of an agent.
func (f *form) agentType(field, t string) { f.word(field, t, 2, 50, idForm, idNamed) }

// line checks a text that is shown on one line. Blanks around it are cut, as the
// published models do.
func (f *form) line(field string, s *string, min, max int) {
	*s = strings.TrimSpace(*s)
	f.kept(field, *s, min, max, "")
}

// prose is line for texts of several lines.
func (f *form) prose(field string, s *string, min, max int) {
	*s = strings.TrimSpace(*s)
	f.kept(field, *s, min, max, lineBreaks)
}

// lineBreaks are the control characters of texts of several lines.
const lineBreaks = "\n\r\t"

// kept checks a text that stays as it is. It refuses control characters, but those
// allowed, and the ones that turn the direction of what follows: texts are shown to
// people, in terminals too.
func (f *form) kept(field, s string, min, max int, allowed string) {
	if !f.size(field, s, min, max) {
		return
	}
	if strings.ContainsFunc(s, func(r rune) bool { return unseen(r) && !strings.ContainsRune(allowed, r) }) {
		f.bad(field, nil, "may not hold control characters")
	}
}

// unseen tells whether a character acts on a screen instead of showing.
func unseen(r rune) bool {
	return unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029'
}

// count checks the length of a list.
func (f *form) count(field string, n, min, max int) bool {
	if n < min || n > max {
		f.bad(field, nil, "must have %d to %d items", min, max)
		return false
	}
	return true
}

// abilities checks a list of 1 to max capabilities.
func (f *form) abilities(field string, list []string, max int) {
	if !f.count(field, len(list), 1, max) {
		return
	}
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
		f.word(item(field, i), list[i], 2, 100, abilityForm, abilityNamed)
	}
}

// oneOf checks that a text is one of some words.
func (f *form) oneOf(field, s string, words ...string) {
	if slices.Contains(words, s) {
		return
	}
	f.bad(field, s, "must be one of: %s", strings.Join(words, ", "))
}

// between checks a number that may be absent.
func (f *form) between(field string, n *int, min, max int) {
	if n != nil && (*n < min || *n > max) {
		f.bad(field, *n, "must be a number from %d to %d", min, max)
	}
}

// item names an item of a list.
func item(field string, i int) string { return fmt.Sprintf("%s[%d]", field, i) }

// member names a member of an object that callers name themselves.
func member(field, name string) string {
	const shown = 40
	if r := []rune(name); len(r) > shown {
		name = string(r[:shown]) + "…"
	}
	return field + "." + strings.Map(func(r rune) rune {
		if unseen(r) {
			return '\uFFFD'
		}
		return r
	}, name)
}

// fieldError is an entry of validation_errors (contract section 2.2).
type fieldError struct {
	Field        string `json:"field"`
	Message      string `json:"message"`
	InvalidValue any    `json:"invalid_value,omitzero"`
}

// invalid makes the refusal of a request with bad fields: validation-failed with
// the member validation_errors. It needs at least one issue.
func invalid(issues []arc.FieldIssue) *arc.Error {
	entries := make([]fieldError, 0, len(issues))
	texts := make([]string, 0, 3)
	for _, issue := range issues {
		entries = append(entries, fieldError{issue.Field, issue.Issue, issue.Value})
		if len(texts) < cap(texts) {
			texts = append(texts, issue.Field+" "+issue.Issue)
		}
	}
	detail := strings.Join(texts, "; ")
	if more := len(issues) - len(texts); more > 0 {
		detail += fmt.Sprintf("; and %d more", more)
	}
	return arc.Refuse(arc.ProblemValidation, "validation_failed", "The request is not valid: %s", detail).
		With("validation_errors", entries)
}

// short gives what an answer may show again of a bad value: a text of at most 100
// characters, a number or a truth value; nil for anything else.
func short(value any) any {
	switch v := value.(type) {
	case string:
		if utf8.ValidString(v) && utf8.RuneCountInString(v) <= 100 {
			return v
		}
	case float64:
		if finite(v) {
			return v
		}
	case int, bool:
		return v
	}
	return nil
}

package registry

import (
	"regexp"
	"sync"
)

// textForm is a regular expression that is compiled when it is first asked, so
// that a program which only links this package does not pay for it at its start.
// It is safe for concurrent use.
type textForm struct {
	compiled func() *regexp.Regexp
}

// newForm makes a textForm. expr is part of the program: one that does not
// compile panics at its first use.
func newForm(expr string) textForm {
	return textForm{sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expr) })}
}

// matches tells whether s contains what the expression describes.
func (f textForm) matches(s string) bool { return f.compiled().MatchString(s) }

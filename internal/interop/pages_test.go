package interop_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// The two pages of the registry API's specification that arcd answers to, word
// for word, in testdata/seeds. Their examples are taken out of their text, so that
// what is tested is what stands there.
const (
	authenticationPage = "arcp-authentication-failed.txt"
	tokenPage          = "arcp-token-invalid.txt"
)

// example is a command or a program that stands on a page.
type example struct {
	line    int    // where it begins, from 1
	heading string // the numbered heading above it; "" if there is none
	text    string
}

// headingLine is how the pages number their steps and scenarios.
var headingLine = regexp.MustCompile(`^\d+\. `)

// examples takes out of a page what begins and goes on as the two functions say.
func examples(t *testing.T, page string, begins func(line string) bool, goesOn func(sofar, next string) bool) []example {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "seeds", page))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	var found []example
	heading := ""
	for i := 0; i < len(lines); i++ {
		if headingLine.MatchString(lines[i]) {
			heading = lines[i]
		}
		if !begins(lines[i]) {
			continue
		}
		e := example{line: i + 1, heading: heading, text: lines[i]}
		for i+1 < len(lines) && goesOn(e.text, lines[i+1]) {
			i++
			e.text += "\n" + lines[i]
		}
		e.text = strings.TrimRight(e.text, "\n") + "\n"
		found = append(found, e)
	}
	return found
}

// commands are the curl commands of a page. One goes on while a line ends with a
// backslash or a quote is open.
func commands(t *testing.T, page string) []example {
	t.Helper()
	return examples(t, page,
		func(line string) bool { return strings.HasPrefix(line, "curl ") },
		func(sofar, _ string) bool { return strings.HasSuffix(sofar, `\`) || openQuote(sofar) })
}

// openQuote tells whether a shell would read on after this text. The pages have
// no escaped quotes.
func openQuote(text string) bool {
	var quote rune
	for _, r := range text {
		switch {
		case quote == 0 && (r == '\'' || r == '"'):
			quote = r
		case r == quote:
			quote = 0
		}
	}
	return quote != 0
}

// pythonTop is how lines of a Python program begin that are not indented.
var pythonTop = regexp.MustCompile(`^(import|from|def|async|class|if|#|@|$|\s)`)

// pythonPrograms are the whole Python programs of a page: those that import the
// client. Its other Python is sketches of a few lines that name methods which
// no release of the client has.
func pythonPrograms(t *testing.T, page string) []example {
	t.Helper()
	programs := examples(t, page,
		func(line string) bool { return line == "import asyncio" },
		func(_, next string) bool { return pythonTop.MatchString(next) })
	return slices.DeleteFunc(programs, func(e example) bool { return !strings.Contains(e.text, "from arcp import") })
}

// scriptClasses are the JavaScript classes of a page.
func scriptClasses(t *testing.T, page string) []example {
	t.Helper()
	return examples(t, page,
		func(line string) bool { return strings.HasPrefix(line, "class ") && strings.HasSuffix(line, "{") },
		func(sofar, _ string) bool { return !strings.HasSuffix(sofar, "\n}") })
}

// TestExamples sees to it that no example of a page is overlooked.
func TestExamples(t *testing.T) {
	tests := map[string]struct{ curls, python, scripts int }{
		authenticationPage: {curls: 10, python: 1, scripts: 1},
		tokenPage:          {curls: 6, python: 3, scripts: 1},
	}
	for page, want := range tests {
		t.Run(page, func(t *testing.T) {
			found := commands(t, page)
			if len(found) != want.curls {
				t.Errorf("%d commands, want %d", len(found), want.curls)
			}
			text, err := os.ReadFile(filepath.Join("testdata", "seeds", page))
			if err != nil {
				t.Fatal(err)
			}
			if there := strings.Count(string(text), "curl "); there != want.curls {
				t.Errorf("the page says curl %d times, want %d", there, want.curls)
			}
			if got := len(pythonPrograms(t, page)); got != want.python {
				t.Errorf("%d Python programs, want %d", got, want.python)
			}
			if got := len(scriptClasses(t, page)); got != want.scripts {
				t.Errorf("%d JavaScript classes, want %d", got, want.scripts)
			}
			for _, e := range slices.Concat(found, pythonPrograms(t, page), scriptClasses(t, page)) {
				if strings.Contains(e.text, "•") || strings.Contains(e.text, "\nResolution") || openQuote(strings.ReplaceAll(e.text, "Don't", "")) && strings.HasPrefix(e.text, "curl") {
					t.Errorf("line %d: not only the example:\n%s", e.line, e.text)
				}
			}
		})
	}
}

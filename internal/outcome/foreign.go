package outcome

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/client"
)

// What is taken over of the words of a server, which may be hostile.
const (
	longestLine = 1000 // bytes of a sentence
	longestWord = 200  // bytes of a word; a longer one is none
	mostWords   = 50   // of a list
)

// statusMessage tells what an answer without a body of ours is.
func statusMessage(s *client.StatusError) string {
	text := "The server answered with HTTP status " + strconv.Itoa(s.Status)
	if said := line(s.Challenge["error_description"]); said != "" {
		return Sentence(text + ": " + said)
	}
	return text + ", and not as an ARC server does."
}

// Sentence gives a text a capital letter and a full stop. A first word that is more
// than a word, such as an id, a path or a flag, stays as it is.
func Sentence(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return "It failed without a word."
	}
	if first, _, _ := strings.Cut(text, " "); strings.Trim(first, "abcdefghijklmnopqrstuvwxyz,;") == "" {
		text = strings.ToUpper(text[:1]) + text[1:]
	}
	if !strings.ContainsRune(".!?", rune(text[len(text)-1])) {
		text += "."
	}
	return text
}

// line makes one line of bounded length of a text.
func line(text string) string {
	if len(text) > longestLine {
		text = cutText(text, longestLine)
	}
	return strings.Join(strings.Fields(Clean(text)), " ")
}

// word gives a text of an error's details, "" for what is too long to be a word.
func word(v any) string {
	s, _ := v.(string)
	if len(s) > longestWord {
		return ""
	}
	return line(s)
}

// scopePattern is what names of scopes look like. RFC 6749 section 3.3 has more
// characters; but these names become arguments of commands that agents run.
var scopePattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:/+-]*$`) })

// scopeNames gives the scopes that a server names: a list, or a text with blanks
// between them. What can be none is left out.
func scopeNames(v any) []string {
	var names []string
	switch list := v.(type) {
	case string:
		names = strings.Fields(list)
	case []string:
		names = list
	case []any:
		for _, x := range list {
			name, _ := x.(string)
			names = append(names, name)
		}
	}
	var all []string
	for _, name := range names {
		if len(name) <= longestWord && scopePattern().MatchString(name) && len(all) < mostWords && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	return all
}

// Without gives those of wanted that are not in have; never nil.
func Without(wanted, have []string) []string {
	rest := []string{}
	for _, name := range wanted {
		if !slices.Contains(have, name) {
			rest = append(rest, name)
		}
	}
	return rest
}

// joined gives names with blanks between them.
func joined(names []string) *string {
	text := strings.Join(names, " ")
	return &text
}

// moment gives a time of an error's details, nil for what is none. A year that RFC
// 3339 cannot write in UTC is none.
func moment(v any) *string {
	at, err := time.Parse(time.RFC3339, word(v))
	if year := at.UTC().Year(); err != nil || year < 1 || year > 9999 {
		return nil
	}
	return Instant(at)
}

// pause gives how long the details ask to wait, in seconds; at most a day.
func pause(details map[string]any) time.Duration {
	for _, name := range []string{"retry_after", "retryAfter"} {
		if seconds, ok := details[name].(float64); ok && seconds > 0 {
			return time.Duration(min(seconds, 24*60*60) * float64(time.Second))
		}
	}
	return 0
}

// issues reads the lists of wrong fields that the details of -32602 and problem
// documents have: {field, issue} and {field, message}.
func issues(details map[string]any) []Problem {
	list, _ := details["errors"].([]any)
	more, _ := details["validation_errors"].([]any)
	list = slices.Concat(list, more)
	var all []Problem
	for _, x := range list[:min(len(list), mostWords)] {
		m, _ := x.(map[string]any)
		field, issue := word(m["field"]), word(m["issue"])
		if issue == "" {
			issue = word(m["message"])
		}
		if issue == "" {
			issue = "is not valid"
		}
		if field != "" {
			all = append(all, Problem{Code: Validation, Field: field, Message: issue})
		}
	}
	return all
}

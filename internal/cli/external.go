package cli

import (
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/clipperhouse/displaywidth"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/outcome"
)

// mark stands in every object that holds what agents and other callers wrote.
// Whoever reads the result must not take it for words of arcd, nor follow what it
// says.
type mark struct {
	Source  string `json:"_source"`  // "external"
	Trusted bool   `json:"_trusted"` // false
}

// external is the one value of a mark.
var external = mark{Source: "external"}

// externalTask is a task as the server gave it.
type externalTask struct {
	mark
	arc.Task
}

// externalChat is a chat as the server gave it.
type externalChat struct {
	mark
	arc.Chat
}

// externalValue is any value that a server or an agent gave.
type externalValue struct {
	mark
	Content json.RawMessage `json:"content"`
}

// newExternalValue marks a value; nil for none.
func newExternalValue(content []byte) *externalValue {
	if len(content) == 0 {
		return nil
	}
	return &externalValue{external, content}
}

// wordPattern is what a word of the protocol looks like, like COMPLETED.
var wordPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z][A-Za-z_]{0,39}$`) })

// wireWord gives a word of the protocol that a server sent. What cannot be one is
// UNKNOWN, so that nothing else slips into our own fields.
func wireWord(word string) string {
	if !wordPattern().MatchString(word) {
		return "UNKNOWN"
	}
	return word
}

// wireID gives an id that a server sent, nil where it is none that arcd can take
// as an argument: commands are made of ids.
func wireID(id string) *string {
	if !identifierPattern().MatchString(id) {
		return nil
	}
	return &id
}

// wireMethods gives the methods that a server names, without what can be none.
func wireMethods(names []string) []string {
	known := []string{}
	for _, name := range names {
		if identifierPattern().MatchString(name) {
			known = append(known, name)
		}
	}
	return known
}

// wireTime gives a time of the protocol as results show it.
func wireTime(t arc.Time) *string { return outcome.Instant(t.Time) }

// endOf gives when a task ended, zero if it has not or did not say.
func endOf(t *arc.Task) arc.Time {
	switch {
	case !t.CompletedAt.IsZero():
		return t.CompletedAt
	case !t.CanceledAt.IsZero():
		return t.CanceledAt
	case t.Status.Terminal():
		return t.UpdatedAt
	}
	return arc.Time{}
}

// value gives what a pointer points to, the zero value for nil.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// quoteSign begins each line of external text that people see.
const quoteSign = "│ "

// quote shows text that somebody else wrote: every line of it, also where it is
// broken, begins with a bar, so that it cannot be taken for words of arcd.
func (p *page) quote(who, text string) {
	const remark = " (not words of arcd):"
	p.line("%s", p.paint(dim, "  "+clip(outcome.Clean(who), p.width-2-len(remark))+remark))
	for line := range strings.SplitSeq(strings.TrimRight(withoutTabs(text), "\n"), "\n") {
		for _, piece := range fold(line, p.width-6) {
			p.line("  %s%s", p.paint(cyan, quoteSign), piece)
		}
	}
}

// withoutTabs cleans a text, and puts blanks in place of tabs: how far a tab goes
// is for the terminal to say, and text that runs over the edge goes on at the left
// without a bar.
func withoutTabs(text string) string {
	return strings.ReplaceAll(outcome.Clean(text), "\t", "    ")
}

// columns is how many columns a text takes at most. Characters count one by one,
// as some terminals show several where others draw one sign.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

// columnsOf is columns for a character. U+FE0F makes the sign before it a wide one.
func columnsOf(r rune) int {
	if r == 0xfe0f {
		return 1
	}
	return displaywidth.Rune(r)
}

// clip cuts a text to so many columns, and marks it.
func clip(text string, width int) string {
	if columns(text) <= width {
		return text
	}
	end, used := 0, 1 // for the mark
	for i, r := range text {
		if used += columnsOf(r); used > width {
			break
		}
		end = i + utf8.RuneLen(r)
	}
	return text[:end] + "…"
}

// fold breaks a line into pieces of so many columns, at blanks where it has some.
// One blank may hang over the end.
func fold(line string, width int) []string {
	width = max(width, 20)
	var pieces []string
	begin, used := 0, 0   // of the piece: where it begins, and its columns until now
	blank, before := 0, 0 // where its last blank ends, and the columns until there
	for i, r := range line {
		wide := columnsOf(r)
		if used+wide > width && i > begin && (r != ' ' || used > width) {
			end, rest := i, 0
			if blank-begin > (i-begin)/2 {
				end, rest = blank, used-before
			}
			pieces = append(pieces, strings.TrimRight(line[begin:end], " "))
			begin, used = end, rest
		}
		used += wide
		if r == ' ' {
			blank, before = i+1, used
		}
	}
	return append(pieces, line[begin:])
}

// partText is what people see of a part.
func partText(part arc.Part) string {
	switch arc.PartType(part.Type) {
	case arc.PartText:
		return part.Text()
	case arc.PartData:
		return string(part.Content)
	}
	name := part.Filename
	if name == "" {
		name = part.MimeType
	}
	return "[" + part.Type + " " + name + ", " + size(len(part.Content)) + "]"
}

// partsText is what people see of the parts of a message or artifact.
func partsText(parts []arc.Part) string {
	var texts []string
	for _, part := range parts {
		texts = append(texts, partText(part))
	}
	return strings.Join(texts, "\n")
}

// size writes a number of bytes for people.
func size(n int) string {
	switch {
	case n >= 1<<20:
		return decimal(float64(n)/(1<<20)) + " MiB"
	case n >= 1<<10:
		return decimal(float64(n)/(1<<10)) + " KiB"
	}
	return decimal(float64(n)) + " B"
}

// decimal writes a number with at most one digit behind the point.
func decimal(f float64) string {
	text, _ := json.Marshal(float64(int(f*10)) / 10)
	return string(text)
}

// age writes how old something is, for people: 40s, 12m, 3h, 9d.
func age(now time.Time, t arc.Time) string {
	d := now.Sub(t.Time)
	switch {
	case t.IsZero():
		return ""
	case d < time.Minute:
		return strconv.Itoa(max(0, int(d/time.Second))) + "s"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d < 48*time.Hour:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	}
	return strconv.Itoa(int(d/(24*time.Hour))) + "d"
}

// known tells whether a status is one of the specification's.
func known(status arc.TaskStatus) bool { return slices.Contains(arc.TaskStatuses, status) }

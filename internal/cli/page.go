package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/clipperhouse/displaywidth"

	"github.com/arcd-io/arcd/internal/outcome"
)

// page is text for people: lines, tables and colours, in the width of their
// terminal. Everything that goes onto it is cleaned of what steers a terminal.
type page struct {
	to     io.Writer
	width  int
	colour bool
	b      bytes.Buffer
}

func newPage(to io.Writer, width int, colour bool) *page {
	return &page{to: to, width: width, colour: colour}
}

// Colours of a page.
const (
	bold   = "1"
	dim    = "2"
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
)

// paint gives text a colour, if the page has colours.
func (p *page) paint(colour, text string) string {
	text = outcome.Clean(text)
	if !p.colour || text == "" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// line adds a line. Texts from elsewhere go through [page.paint] or
// [outcome.Clean] first.
func (p *page) line(format string, args ...any) { fmt.Fprintf(&p.b, format+"\n", args...) }

// text adds a text as it is, besides what steers a terminal.
func (p *page) text(text string) { p.b.WriteString(outcome.Clean(text)) }

// field adds a line "label: value"; none without a value.
func (p *page) field(label, value string) {
	if value != "" {
		p.line("%s %s", p.paint(dim, pad(label+":", 12)), strings.ReplaceAll(outcome.Clean(value), "\n", "\n             "))
	}
}

// hang adds a text behind a label, in lines that fit; the further ones begin where
// the first does.
func (p *page) hang(label, text string) {
	wide := displaywidth.Options{ControlSequences: true}.String(label) + 1
	for i, line := range wrap(outcome.Clean(text), p.width-wide) {
		if i > 0 {
			label = strings.Repeat(" ", wide-1)
		}
		p.line("%s", strings.TrimRight(label+" "+line, " "))
	}
}

// command adds a command line to run, in a line of its own, so that it can be
// copied as it stands; none without one.
func (p *page) command(label, command string) {
	if command != "" {
		p.line("%s", p.paint(dim, label+":"))
		p.line("  %s", outcome.Clean(command))
	}
}

// table adds rows in columns under a head. The last column is cut where the
// terminal ends.
func (p *page) table(head []string, rows [][]string) {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i := range row {
			row[i] = strings.ReplaceAll(withoutTabs(row[i]), "\n", " ")
			widths[i] = max(widths[i], columns(row[i]))
		}
	}
	p.fit(widths)
	for n, row := range append([][]string{head}, rows...) {
		var line strings.Builder
		for i, cell := range row {
			cell = clip(cell, widths[i])
			if i < len(row)-1 {
				cell = pad(cell, widths[i]) + "  "
			}
			line.WriteString(cell)
		}
		text := strings.TrimRight(line.String(), " ")
		if n == 0 {
			text = p.paint(dim, text)
		}
		p.line("%s", text)
	}
}

// room gives how many columns are left for the last cell of rows that lack it: ids
// before it must stay whole.
func (p *page) room(head []string, rows [][]string) int {
	widths := make([]int, len(head))
	for _, row := range append([][]string{head}, rows...) {
		for i, cell := range row {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	left := p.width
	for _, w := range widths {
		left -= w + 2
	}
	return max(left, 8)
}

// fit makes the widest columns narrower until the table fits.
func (p *page) fit(widths []int) {
	total := 2 * (len(widths) - 1)
	for _, w := range widths {
		total += w
	}
	for total > p.width {
		widest := 0
		for i, w := range widths {
			if w >= widths[widest] {
				widest = i
			}
		}
		if widths[widest] <= 8 {
			return
		}
		widths[widest]--
		total--
	}
}

// pad fills a text up with blanks.
func pad(text string, width int) string {
	return text + strings.Repeat(" ", max(0, width-columns(text)))
}

// loosen breaks words that no line can hold: what a server says could go on at the
// left edge with them.
func loosen(text string, width int) string {
	var words []string
	for word := range strings.FieldsSeq(text) {
		words = append(words, fold(word, width)...)
	}
	return strings.Join(words, " ")
}

// flush writes the page.
func (p *page) flush() error {
	_, err := p.to.Write(p.b.Bytes())
	p.b.Reset()
	return err
}

// shown is data that has a form for people.
type shown interface{ show(p *page) }

// plain is data that has a bare main value: one text a line.
type plain interface{ plain() []string }

// showData writes data for people: in its own form, else its members.
func showData(p *page, data any) {
	if s, ok := data.(shown); ok {
		s.show(p)
		return
	}
	text, err := encode(data)
	if err != nil {
		return
	}
	p.line("%s", outcome.Clean(strings.TrimSpace(string(text))))
}

// writePlain writes the bare main value.
func writePlain(w io.Writer, data any) error {
	d, ok := data.(plain)
	if !ok {
		text, err := encode(data)
		if err != nil {
			return err
		}
		_, err = w.Write(text)
		return err
	}
	for _, line := range d.plain() {
		if _, err := fmt.Fprintln(w, outcome.Clean(line)); err != nil {
			return err
		}
	}
	return nil
}

// showError writes an error for people, with its cure.
func showError(p *page, e *outcome.Error) {
	p.hang(p.paint(red, "error:"), loosen(e.Message, p.width-8))
	if len(e.Errors) > 1 || len(e.Errors) == 1 && !strings.Contains(e.Message, e.Errors[0].Message) {
		for _, problem := range e.Errors {
			said := problem.Message
			if problem.Corrected != "" {
				said += "; did you mean " + problem.Corrected + "?"
			}
			p.hang("  "+p.paint(bold, clip(problem.Field, 30)), loosen(said, p.width-32))
		}
	}
	if e.Detail != "" {
		p.hang(" ", e.Detail)
	}
	for _, what := range e.WouldAffect {
		p.hang("  would affect:", what)
	}
	if words, ok := e.Context["message"].(string); ok && e.Context["_source"] == "external" {
		p.quote("message of the agent", words)
	} else if e.Auth != nil && e.Auth.ReauthCommand != "" && e.Code != outcome.InputRequired && e.ServerReason != reasonMismatch { // that is of a login: the same one cures nothing
		p.line("%s %s", p.paint(cyan, "  cure:"), p.paint(bold, strings.Replace(e.Auth.ReauthCommand, " --headless", "", 1))) // a person can be asked
	} else if e.Suggestion != "" && e.Suggestion != outcome.General.Cure() && e.Suggestion != outcome.Validation.Cure() { // "Read error.message": they just have
		p.hang(p.paint(cyan, "  cure:"), e.Suggestion)
	}
	if e.ResumeFrom != "" {
		p.line("  go on from: %s", outcome.Clean(e.ResumeFrom))
	}
	p.line("%s", p.paint(dim, fmt.Sprintf("  %s, exit code %d", e.Code, e.Exit)))
}

package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/arcd-io/arcd/internal/outcome"
)

// manCommand is "arcd man".
type manCommand struct{}

// manPage is the result of "man".
type manPage struct {
	Lines []string `json:"lines"` // of the page: roff, with the macros of man(7)
}

func (*manCommand) row() row {
	return row{instant: true, danger: safe, data: manPage{}, examples: []string{"arcd man -o plain | man -l -", "arcd man -o plain > arcd.1"}}
}

func (*manCommand) run(_ context.Context, c *console) (any, error) {
	return manPage{textLines(writeMan(c.parsed.whole().Node))}, nil
}

func (m manPage) show(p *page) { p.text(strings.Join(m.Lines, "\n") + "\n") }

func (m manPage) plain() []string { return m.Lines }

// roff is a page in the language of man(7).
type roff struct{ b strings.Builder }

// macro writes a request with its arguments.
func (r *roff) macro(name string, args ...string) {
	r.b.WriteString("." + name)
	for _, arg := range args {
		r.b.WriteString(` "` + strings.ReplaceAll(roffText(arg), `"`, `\(dq`) + `"`)
	}
	r.b.WriteString("\n")
}

// text writes running text.
func (r *roff) text(format string, args ...any) {
	r.b.WriteString(roffText(fmt.Sprintf(format, args...)) + "\n")
}

// item writes a term with its meaning below it.
func (r *roff) item(term, meaning string) {
	r.b.WriteString(".TP\n\\fB" + roffText(term) + "\\fR\n")
	r.text("%s", meaning)
}

// roffText escapes what roff would read as its own.
func roffText(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "–", "-").Replace(outcome.Clean(text))
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// writeMan writes the man page of the whole table.
func writeMan(root *kong.Node) string {
	r := &roff{}
	r.macro("TH", "ARCD", "1", "", "arcd "+version(), "User Commands")
	r.macro("SH", "NAME")
	r.text("arcd - %s", strings.TrimSuffix(lowerFirst(root.Help), "."))
	r.macro("SH", "SYNOPSIS")
	r.macro("B", "arcd COMMAND [flags]")
	r.macro("SH", "DESCRIPTION")
	r.text("Results go to standard output: text on a terminal, one JSON document (the envelope) elsewhere. What is for people besides goes to standard error. " +
		"A credential that has run out is exit code 10, and error.reauth_command of the envelope renews it; a refusal is exit code 8.")
	r.macro("SH", "COMMANDS")
	for _, leaf := range root.Leaves(true) {
		manLeaf(r, leaf)
	}
	r.macro("SH", "FLAGS OF EVERY COMMAND")
	manFlags(r, root.Flags)
	r.macro("SH", "EXIT STATUS")
	for _, exit := range outcome.Exits() {
		e := exit.Entry()
		r.item(fmt.Sprintf("%d %s", int(exit), e.Name), e.Meaning+" "+e.Action)
	}
	r.macro("SH", "ERROR CODES")
	for _, code := range errorCodes() {
		r.item(fmt.Sprintf("%s (%d)", code.Code, int(code.Exit)), code.Meaning+" "+code.Cure)
	}
	r.macro("SH", "ENVIRONMENT")
	for _, v := range environment(root) {
		r.item(v.Name, v.Help)
	}
	return r.b.String()
}

// manLeaf writes the section of a command.
func manLeaf(r *roff, leaf *kong.Node) {
	r.macro("SS", usage(leaf))
	r.text("%s", describeForPeople(leaf))
	for _, argument := range leaf.Positional {
		r.item("<"+argument.Name+">", argument.Help)
	}
	manFlags(r, leaf.Flags)
	row := rowOf(leaf)
	r.macro("PP")
	if scopes := row.requiredScopes(); len(scopes) > 0 {
		r.text("Scopes: %s.", strings.Join(scopes, " "))
	}
	var exits []string
	for _, exit := range row.allExits() {
		exits = append(exits, fmt.Sprint(int(exit)))
	}
	r.text("Exit codes: %s.", strings.Join(exits, ", "))
	for _, line := range row.examples {
		r.macro("PP")
		r.macro("EX")
		r.text("%s", line)
		r.macro("EE")
	}
}

func manFlags(r *roff, flags []*kong.Flag) {
	for _, flag := range visible(flags) {
		r.item(strings.TrimSpace(flagTerm(flag)), flagHelp(flag))
	}
}

// lowerFirst makes the first letter small, as in the middle of a sentence.
func lowerFirst(text string) string {
	if len(text) < 2 || text[1] >= 'A' && text[1] <= 'Z' {
		return text
	}
	return strings.ToLower(text[:1]) + text[1:]
}

package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"
	"github.com/clipperhouse/displaywidth"

	"github.com/arcd-io/arcd/internal/outcome"
)

// widestHelp is how wide help gets on a wide terminal: longer lines read badly.
const widestHelp = 100

// commandGroups say under which heading the help shows the commands.
var commandGroups = []struct {
	title string
	names []string
}{
	{"Work with agents", []string{"task", "chat", "agent", "deliveries", "call", "explain"}},
	{"Credentials and servers", []string{"auth", "context", "status", "doctor"}},
	{"For programs", []string{"exec", "manifest", "errors", "completion", "man", "version"}},
	{"Run a server", []string{"serve", "config", "client", "keys", "dev", "store", "backup", "restore"}},
}

// showHelp writes the help of a command, of a group of commands, or of arcd; that
// of arcd with the flags of every command, or without.
func showHelp(p *page, node *kong.Node, flags bool) {
	p.line("%s %s", p.paint(bold, "Usage:"), usage(node))
	p.line("")
	wrapped(p, 0, describeForPeople(node))
	switch {
	case node.Parent == nil:
		showRootHelp(p, node)
		if flags {
			showFlags(p, "Flags of every command", visible(node.Flags))
		} else {
			p.line("")
			p.line("arcd --help explains the flags of every command.")
		}
	case len(node.Children) > 0:
		showChildren(p, "Commands", node.Children)
		p.line("")
		p.line("arcd %s COMMAND --help tells more about each.", commandPath(node))
	default:
		showCommandHelp(p, node)
	}
}

// describeForPeople says what a node is for.
func describeForPeople(node *kong.Node) string {
	if long := rowOf(node).long; long != "" {
		return node.Help + " " + long
	}
	return node.Help
}

// usage is how a command line looks. What is needed stands there in full.
func usage(node *kong.Node) string {
	words := []string{rootName}
	if path := commandPath(node); path != "" {
		words = append(words, path)
	}
	if len(node.Children) > 0 {
		return strings.Join(append(words, "COMMAND [flags]"), " ")
	}
	for _, argument := range node.Positional {
		words = append(words, argument.Summary())
	}
	optional := false
	for _, flag := range visible(node.Flags) {
		if flag.Required {
			words = append(words, "--"+flag.Name+" "+flag.FormatPlaceHolder())
		} else {
			optional = true
		}
	}
	if optional {
		words = append(words, "[flags]")
	}
	return strings.Join(words, " ")
}

func showRootHelp(p *page, node *kong.Node) {
	for _, group := range commandGroups {
		var members []*kong.Node
		for _, name := range group.names {
			if i := slices.IndexFunc(node.Children, func(n *kong.Node) bool { return n.Name == name && !n.Hidden }); i >= 0 {
				members = append(members, node.Children[i])
			}
		}
		showChildren(p, group.title, members)
	}
	p.line("")
	p.line("%s", p.paint(bold, "Begin with"))
	for _, line := range []string{"arcd serve --dev", "arcd agent list", "arcd task create --help", "arcd errors list"} {
		p.line("  %s", line)
	}
}

// showChildren lists commands with their help.
func showChildren(p *page, title string, children []*kong.Node) {
	p.line("")
	p.line("%s", p.paint(bold, title))
	var rows [][2]string
	for _, child := range children {
		if !child.Hidden {
			rows = append(rows, [2]string{child.Name, child.Help})
		}
	}
	definitions(p, rows)
}

func showCommandHelp(p *page, node *kong.Node) {
	r := rowOf(node)
	if len(node.Positional) > 0 {
		p.line("")
		p.line("%s", p.paint(bold, "Arguments"))
		var rows [][2]string
		for _, argument := range node.Positional {
			rows = append(rows, [2]string{"<" + argument.Name + ">", argument.Help})
		}
		definitions(p, rows)
	}
	showFlags(p, "Flags", visible(node.Flags))
	showNeeds(p, r)
	p.line("")
	p.line("%s", p.paint(bold, "Exit codes"))
	var rows [][2]string
	for _, exit := range r.allExits() {
		x := describeExit(r, exit)
		rows = append(rows, [2]string{fmt.Sprintf("%3d  %s", int(exit), x.Name), exitText(x, exit)})
	}
	definitions(p, rows)
	if len(r.examples) > 0 {
		p.line("")
		p.line("%s", p.paint(bold, "Examples"))
		for _, line := range r.examples {
			p.line("  %s", line)
		}
	}
	p.line("")
	wrapped(p, 0, "The flags of every command ("+strings.Join(globalNames(node), ", ")+") are explained by arcd --help.")
}

// exitText tells what an exit code means for the reader of the help.
func exitText(x manifestExit, exit outcome.Exit) string {
	switch exit {
	case outcome.ExitSuccess:
		return "Done."
	case outcome.ExitExpired:
		return "The credential has run out: run error.reauth_command, repeat."
	}
	return x.Description
}

// showNeeds tells what kind of command it is.
func showNeeds(p *page, r row) {
	p.line("")
	p.line("%s", p.paint(bold, "Good to know"))
	rows := [][2]string{{"danger", string(r.danger)}}
	switch scopes := r.requiredScopes(); {
	case len(scopes) > 0:
		rows = append(rows, [2]string{"scopes", strings.Join(scopes, " ")})
	case r.auth:
		rows = append(rows, [2]string{"scopes", "none of its own, but a credential"})
	}
	if d := r.defaultTimeout(); d > 0 {
		rows = append(rows, [2]string{"timeout", short(d)})
	}
	if r.stdin > 0 {
		rows = append(rows, [2]string{"stdin", "at most " + strconv.Itoa(r.stdin) + " bytes"})
	}
	if r.streams {
		rows = append(rows, [2]string{"streams", "JSON lines come before the envelope"})
	}
	definitions(p, rows)
}

// globalNames lists the flags of every command, as a pointer only.
func globalNames(node *kong.Node) []string {
	root := node
	for root.Parent != nil {
		root = root.Parent
	}
	var names []string
	for _, flag := range visible(root.Flags) {
		names = append(names, "--"+flag.Name)
	}
	return names
}

func showFlags(p *page, title string, flags []*kong.Flag) {
	if len(flags) == 0 {
		return
	}
	p.line("")
	p.line("%s", p.paint(bold, title))
	var rows [][2]string
	for _, flag := range flags {
		rows = append(rows, [2]string{flagTerm(flag), flagHelp(flag)})
	}
	definitions(p, rows)
}

// flagTerm writes a flag as it is typed.
func flagTerm(flag *kong.Flag) string {
	term := "    --" + flag.Name
	if flag.Short != 0 {
		term = "-" + string(flag.Short) + ", --" + flag.Name
	}
	if flag.IsBool() {
		return term
	}
	if valueType(flag.Value) == "enum" && flag.PlaceHolder == "" {
		return term + " WORD"
	}
	if flag.PlaceHolder == "" && flag.HasDefault {
		return term + " " + strings.ToUpper(placeFor[valueType(flag.Value)])
	}
	return term + " " + strings.Trim(flag.FormatPlaceHolder(), `"`)
}

// placeFor stands in the help where a value goes.
var placeFor = map[string]string{"integer": "n", "number": "n", "array": "a,b", "string": "text"}

// flagHelp is the help of a flag with its default, its variable and whether it is
// needed.
func flagHelp(flag *kong.Flag) string {
	text := strings.ReplaceAll(flag.Help, flag.Enum, strings.Join(enumOf(flag.Value), ", "))
	if flag.Enum == "" {
		text = flag.Help
	}
	if flag.Required {
		text = "Needed. " + text
	}
	if valueType(flag.Value) == "enum" && !strings.Contains(flag.OrigHelp, "${enum}") && !strings.Contains(flag.PlaceHolder, "|") {
		text += " One of " + strings.Join(enumOf(flag.Value), ", ") + "."
	}
	var notes []string
	if flag.HasDefault && flag.Default != "" && !flag.IsBool() {
		notes = append(notes, "default "+flag.Default)
	}
	if names := variablesOf(flag); len(names) > 0 {
		notes = append(notes, names[0])
	}
	if len(notes) > 0 {
		text += " [" + strings.Join(notes, ", ") + "]"
	}
	return text
}

// definitions writes terms with their meanings beside them, wrapped. Long terms
// have a line for themselves.
func definitions(p *page, rows [][2]string) {
	widest := 0
	for _, row := range rows {
		if w := displaywidth.String(row[0]); w <= p.width/2-4 {
			widest = max(widest, w)
		}
	}
	column := widest + 4
	for _, row := range rows {
		lines := wrap(outcome.Clean(row[1]), p.width-column)
		if displaywidth.String(row[0]) > widest {
			p.line("  %s", row[0])
		} else {
			p.line("%s", strings.TrimRight("  "+pad(row[0], column-2)+lines[0], " "))
			lines = lines[1:]
		}
		for _, line := range lines {
			p.line("%s%s", strings.Repeat(" ", column), line)
		}
	}
}

// wrapped writes a text in lines that fit.
func wrapped(p *page, indent int, text string) {
	for _, line := range wrap(outcome.Clean(text), p.width-indent) {
		p.line("%s%s", strings.Repeat(" ", indent), line)
	}
}

// wrap breaks a text at blanks into lines of at most width columns, as far as its
// words allow. It gives one line at least.
func wrap(text string, width int) []string {
	lines := []string{""}
	for word := range strings.FieldsSeq(text) {
		last := &lines[len(lines)-1]
		switch {
		case *last == "":
			*last = word
		case displaywidth.String(*last)+1+displaywidth.String(word) <= width:
			*last += " " + word
		default:
			lines = append(lines, word)
		}
	}
	return lines
}

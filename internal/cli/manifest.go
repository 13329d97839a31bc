package cli

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/arcd-io/arcd/internal/outcome"
)

// manifestCommand is "arcd manifest".
type manifestCommand struct {
	Etag string `placeholder:"ETAG" help:"The etag of an earlier answer. If nothing has changed, data is null and meta.not_modified true."`
}

// manifestData is the result of "manifest": all commands by their names with
// dots; "arcd" itself holds the flags that every command takes.
type manifestData struct {
	SchemaVersion    string                   `json:"schema_version"`    // of the manifest's own form, major.minor
	FrameworkVersion string                   `json:"framework_version"` // of arcd
	Etag             string                   `json:"etag"`              // changes when a command does
	Commands         map[string]manifestEntry `json:"commands"`
}

// manifestEntry is what the manifest says about a command, or a group of them.
type manifestEntry struct {
	Description   string                  `json:"description"`
	Aliases       []string                `json:"aliases"`
	Danger        danger                  `json:"danger_level"`
	Flags         map[string]manifestFlag `json:"flags"` // by name without dashes
	Exits         map[string]manifestExit `json:"exit_codes"`
	OutputSchema  *jsonSchema             `json:"output_schema"` // of the envelope's data
	OutputFormats []string                `json:"output_formats"`
	Examples      []manifestExample       `json:"examples"`
	Subcommands   []string                `json:"subcommands"`
}

// manifestFlag is a flag. Its own values can be of the types string, integer,
// number, boolean, array and enum.
type manifestFlag struct {
	Type        string   `json:"type"`
	Required    bool     `json:"required"`
	Description string   `json:"description"`
	Default     any      `json:"default,omitempty"`
	Enum        []string `json:"enum_values,omitempty"`
	Short       string   `json:"short,omitempty"`
	Pattern     string   `json:"pattern,omitempty"`
}

// manifestExit is an exit code of a command.
type manifestExit struct {
	Name        string `json:"name"`
	Description string `json:"description"`
	Retryable   bool   `json:"retryable"`
	Effects     string `json:"side_effects"` // none, partial, complete
}

// manifestExample is a whole command line.
type manifestExample struct {
	Description string `json:"description"`
	Command     string `json:"command"`
}

// rootName is the name of arcd itself among its commands.
const rootName = "arcd"

func (*manifestCommand) row() row {
	return row{
		instant: true, danger: safe, data: manifestData{},
		long:     "arcd --schema says more about each command: arguments, scopes, standard input, environment.",
		examples: []string{"arcd manifest", "arcd manifest --etag ETAG"},
	}
}

// run describes all commands, unless the caller knows them.
func (m *manifestCommand) run(_ context.Context, c *console) (any, error) {
	data, err := describe(c.parsed.whole())
	if err != nil {
		return nil, err
	}
	if m.Etag == data.Etag {
		c.meta.NotModified = true
		return nil, nil
	}
	return data, nil
}

func (m manifestData) show(p *page) {
	var rows [][]string
	for _, name := range sortedNames(m.Commands) {
		rows = append(rows, []string{strings.ReplaceAll(name, ".", " "), string(m.Commands[name].Danger), m.Commands[name].Description})
	}
	p.table([]string{"COMMAND", "DANGER", ""}, rows)
}

func (m manifestData) plain() []string { return sortedNames(m.Commands) }

// describe makes the manifest of the table.
func describe(app *kong.Application) (manifestData, error) {
	m := manifestData{SchemaVersion: "1.0", FrameworkVersion: version(), Commands: map[string]manifestEntry{}}
	for _, node := range allNodes(app.Node) {
		m.Commands[dotted(node)] = describeNode(node)
	}
	text, err := encode(m.Commands)
	if err != nil {
		return m, err
	}
	sum := sha256.Sum256(text)
	m.Etag = hex.EncodeToString(sum[:12])
	return m, nil
}

// allNodes lists a node and those below it.
func allNodes(node *kong.Node) []*kong.Node {
	nodes := []*kong.Node{node}
	for _, child := range node.Children {
		if !child.Hidden {
			nodes = append(nodes, allNodes(child)...)
		}
	}
	return nodes
}

// dotted is a node's name in the manifest: task.create.
func dotted(node *kong.Node) string {
	return cmp.Or(strings.ReplaceAll(commandPath(node), " ", "."), rootName)
}

// rowOf gives the row of a command. That of a group says what naming it alone
// does: nothing but telling its commands.
func rowOf(node *kong.Node) row {
	if c, ok := commandOf(node); ok {
		return c.row()
	}
	return row{danger: safe}
}

// exitsOf lists the exit codes of a node. Those of groups come from reading the
// command line.
func exitsOf(node *kong.Node) []outcome.Exit {
	if _, ok := commandOf(node); ok {
		return rowOf(node).allExits()
	}
	return []outcome.Exit{outcome.ExitSuccess, outcome.ExitArgument}
}

func describeNode(node *kong.Node) manifestEntry {
	r := rowOf(node)
	e := manifestEntry{
		Description: node.Help, Aliases: append([]string{}, node.Aliases...), Danger: r.danger,
		Flags: map[string]manifestFlag{}, Exits: describeExits(node), OutputSchema: outputSchema(node),
		OutputFormats: outputForms, Examples: []manifestExample{}, Subcommands: []string{},
	}
	for _, flag := range visible(node.Flags) {
		e.Flags[flag.Name] = describeFlag(flag)
	}
	for _, line := range r.examples {
		e.Examples = append(e.Examples, manifestExample{node.Help, line})
	}
	for _, child := range node.Children {
		if !child.Hidden {
			e.Subcommands = append(e.Subcommands, dotted(child))
		}
	}
	slices.Sort(e.Subcommands)
	return e
}

// outputForms are the values of --output that every command takes.
var outputForms = []string{"json", "plain", "text"}

// outputSchema is the schema of a command's data.
func outputSchema(node *kong.Node) *jsonSchema {
	if node.Parent == nil {
		return schemaOf(commandList{})
	}
	return schemaOf(rowOf(node).data)
}

// visible gives the flags that are not hidden, by name.
func visible(flags []*kong.Flag) []*kong.Flag {
	shown := slices.DeleteFunc(slices.Clone(flags), func(f *kong.Flag) bool { return f.Hidden })
	slices.SortStableFunc(shown, func(a, b *kong.Flag) int { return cmp.Compare(a.Name, b.Name) })
	return shown
}

func describeFlag(flag *kong.Flag) manifestFlag {
	f := manifestFlag{Type: valueType(flag.Value), Required: flag.Required, Description: flag.Help, Pattern: patternOf(flag.Value)}
	if flag.HasDefault {
		f.Default = defaultOf(flag.Value)
	}
	if f.Type == "enum" {
		f.Enum = enumOf(flag.Value)
	}
	if flag.Short != 0 {
		f.Short = string(flag.Short)
	}
	return f
}

// valueType names the type of a flag's or an argument's value. Durations are
// texts such as 30s.
func valueType(v *kong.Value) string {
	t := v.Target.Type()
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch kind := t.Kind(); {
	case v.Enum != "":
		return "enum"
	case t == reflect.TypeFor[time.Duration]():
		return "string"
	case kind == reflect.Bool:
		return "boolean"
	case kind == reflect.Slice:
		return "array"
	case kind == reflect.Float32 || kind == reflect.Float64:
		return "number"
	case kind >= reflect.Int && kind <= reflect.Uint64:
		return "integer"
	}
	return "string"
}

// enumOf lists the allowed values; "" means that the flag may be left out.
func enumOf(v *kong.Value) []string {
	return slices.DeleteFunc(v.EnumSlice(), func(s string) bool { return s == "" })
}

// defaultOf gives a default in its own type.
func defaultOf(v *kong.Value) any {
	switch valueType(v) {
	case "integer":
		if n, err := strconv.ParseInt(v.Default, 10, 64); err == nil {
			return n
		}
	case "number":
		if n, err := strconv.ParseFloat(v.Default, 64); err == nil {
			return n
		}
	case "boolean":
		return v.Default == "true"
	}
	return v.Default
}

// patternOf gives the pattern that ids are held to, "" for what is no id.
func patternOf(v *kong.Value) string {
	t := v.Target.Type()
	if t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	if t == reflect.TypeFor[identifier]() {
		return identifierPattern().String()
	}
	return ""
}

// describeExits describes the exit codes of a node by their numbers.
func describeExits(node *kong.Node) map[string]manifestExit {
	r, all := rowOf(node), map[string]manifestExit{}
	for _, exit := range exitsOf(node) {
		all[strconv.Itoa(int(exit))] = describeExit(r, exit)
	}
	return all
}

// overlayMark stands in the table of exit codes before what a code means for "task
// status" and "task wait" (contract section 1.5).
const overlayMark = " For task status and wait: "

// describeExit describes an exit code of a command. What only reads has changed
// nothing when its time is over, and may be repeated.
func describeExit(r row, exit outcome.Exit) manifestExit {
	e := exit.Entry()
	x := manifestExit{cmp.Or(r.names[exit], e.Name), e.Meaning, e.Retryable, e.Effects}
	if usual, overlay, ok := strings.Cut(e.Meaning, overlayMark); ok { // for commands that give it another name
		x.Description = usual
		if r.names[exit] != "" {
			x.Description = strings.ToUpper(overlay[:1]) + overlay[1:]
		}
	}
	if x.Effects == "unknown" {
		x.Effects = "partial" // it may have been
	}
	if r.danger == safe && x.Effects == "partial" {
		x.Effects = "none"
		x.Retryable = x.Retryable || exit == outcome.ExitTimeout
	}
	return x
}

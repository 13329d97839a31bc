package cli

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/alecthomas/kong"

	"github.com/arcd-io/arcd/internal/outcome"
)

// parsed is a command line that was read, as far as it could be.
type parsed struct {
	table   *commands
	app     *kong.Application // the table as far as args need it; see whole
	node    *kong.Node        // the command, or the group, that was named
	command command           // nil: none was named in full
	origins map[string]string // where a global flag's value is from: flag, env:NAME; default else
	// answer, if there is one, is all there is to do: help, version or schema.
	answer func(c *console) outcome.Exit
}

// name is the command's name as meta.command has it: task.create, "" for arcd
// alone.
func (p *parsed) name() string {
	if p.node == nil {
		return ""
	}
	return strings.ReplaceAll(commandPath(p.node), " ", ".")
}

// commandPath is the command's name as it is typed, without the program: task
// create.
func commandPath(node *kong.Node) string {
	if node.Parent == nil {
		return ""
	}
	return strings.TrimSpace(commandPath(node.Parent) + " " + node.Name)
}

// parser collects what is wrong with a command line instead of stopping at the
// first problem.
type parser struct {
	env      []string
	problems []outcome.Problem
	missing  []string
	origins  map[string]string
}

// parse reads a command line. The result is never nil, so that the answer can
// take the form that was asked for; the error names every problem.
func parse(args []string, c *console) (*parsed, error) {
	if len(args) > 0 && args[0] == "help" { // as many programs have it
		args = append(slices.Clone(args[1:]), "--help")
	}
	ps := &parser{env: c.env, origins: map[string]string{}}
	p, err := ps.read(args)
	if err != nil {
		return p, err
	}
	asked := p.table.Help || p.table.Schema || p.table.globals.Version // what else is wrong keeps nobody from these
	if p.answer = p.informs(); p.answer != nil && (asked || len(ps.problems) == 0) {
		return p, nil
	}
	if p.command == nil && len(ps.problems) == 0 {
		return p, unknownCommand(p, nil)
	}
	if err := p.table.globals.check(&problems{&ps.problems}); err != nil {
		return p, err
	}
	if some, ok := p.command.(interface{ lacking() (field, help string) }); ok { // one of several flags, which kong cannot say
		if field, help := some.lacking(); field != "" {
			ps.lacks(field, help)
		}
	}
	if checks, ok := p.command.(interface{ check(*problems) }); ok && len(ps.missing) == 0 {
		checks.check(&problems{&ps.problems})
	}
	if len(ps.problems) > 0 {
		return p, ps.invalid()
	}
	return p, nil
}

// invalid is the error of all problems. Who typed none of a flag is told which
// variable it comes from.
func (ps *parser) invalid() error {
	for i, problem := range ps.problems {
		origin := ps.origins[strings.TrimPrefix(problem.Field, "--")]
		if name, ok := strings.CutPrefix(origin, "env:"); ok && problem.Suggestion == "" {
			ps.problems[i].Suggestion = "It comes from the variable " + name + "."
		}
	}
	invalid := outcome.Invalid(ps.problems...)
	invalid.MissingArgs = ps.missing
	if len(ps.problems) == 1 && ps.problems[0].Corrected != "" {
		invalid.Suggest("Did you mean %s?", ps.problems[0].Corrected)
	}
	return invalid
}

// newKong builds the table, or a branch of it, with kong.
func (ps *parser) newKong(grammar any, branch ...kong.Option) (*kong.Kong, error) {
	return kong.New(grammar, append(branch,
		kong.Name("arcd"),
		kong.Description("An ARC Protocol server, its agent registry, and the client of both."),
		kong.NoDefaultHelp(),
		kong.WithHyphenPrefixedParameters(true), // --ttl -60s
		kong.Exit(func(int) {}),
		kong.Resolvers(kong.ResolverFunc(ps.fromEnvironment)),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(ps.duration)),
		kong.TypeMapper(reflect.TypeFor[int](), kong.MapperFunc(ps.number)),
		kong.TypeMapper(reflect.TypeFor[int64](), kong.MapperFunc(ps.number)),
		kong.TypeMapper(reflect.TypeFor[identifier](), kong.MapperFunc(ps.identifier)),
	)...)
}

// branchOf gives what kong has to read for args: if they begin with a command or
// a group, that and the global flags; for --version those alone. Reading the whole
// table takes longer than the rest of a short command.
func branchOf(table *commands, args []string) (grammar any, branch []kong.Option) {
	if len(args) == 1 && args[0] == "--version" {
		return &table.globals, nil
	}
	all := reflect.ValueOf(table).Elem()
	for field, value := range all.Fields() {
		if name := strings.ToLower(field.Name); !field.Anonymous && len(args) > 0 && args[0] == name {
			return &table.globals, []kong.Option{kong.DynamicCommand(name, field.Tag.Get("help"), field.Tag.Get("group"), value.Addr().Interface())}
		}
	}
	return table, nil
}

// whole is the model of all commands, whatever was named.
func (p *parsed) whole() *kong.Application {
	k, err := (&parser{origins: map[string]string{}}).newKong(new(commands))
	if err != nil { // the tests build the whole table
		return p.app
	}
	return k.Model
}

// read runs kong's steps one by one, because its Parse ends at the first problem.
func (ps *parser) read(args []string) (*parsed, error) {
	p := &parsed{table: new(commands), origins: ps.origins}
	grammar, branch := branchOf(p.table, args)
	k, err := ps.newKong(grammar, branch...)
	if err != nil {
		return p, outcome.Errorf(outcome.Internal, "The command table cannot be built.").Because(err)
	}
	p.app = k.Model
	kctx, unknown, err := ps.trace(k, args)
	if err != nil {
		return p, outcome.Errorf(outcome.Internal, "The command line cannot be read.").Because(err)
	}
	p.node = kctx.Selected()
	if p.node == nil {
		p.node = k.Model.Node
	}
	for _, flag := range unknown {
		ps.addUnknown(p, flag)
	}
	ps.checkEncoding(args)
	for _, given := range kctx.Path {
		if given.Flag != nil {
			ps.origins[given.Flag.Name] = "flag"
		}
	}
	for _, step := range []func() error{kctx.Reset, kctx.Resolve, func() error { _, err := kctx.Apply(); return err }} {
		if err := step(); err != nil {
			ps.add(outcome.Problem{Field: flagOf(err), Message: strings.TrimPrefix(err.Error(), flagOf(err)+": ")})
		}
	}
	p.command, _ = commandOf(p.node)
	if kctx.Error != nil && !p.table.Help {
		return p, ps.refuse(p, kctx)
	}
	ps.checkValues(kctx)
	return p, nil
}

// trace reads the words. It leaves out unknown flags, with the word behind one that
// seems to be its value, so that what else is wrong is found, too.
func (ps *parser) trace(k *kong.Kong, args []string) (kctx *kong.Context, unknown []string, err error) {
	var values []string
	for {
		ps.problems = nil // values are read anew
		if kctx, err = kong.Trace(k, args); err != nil || kctx.Error == nil {
			return kctx, unknown, err
		}
		word, more := strings.CutPrefix(kctx.Error.Error(), "unexpected argument ")
		flag, strange := strings.CutPrefix(kctx.Error.Error(), "unknown flag ")
		word, _, _ = strings.Cut(word, ",") // what kong takes for meant stands behind it
		flag, _, _ = strings.Cut(flag, ",")
		i := slices.IndexFunc(args, func(arg string) bool { return strange && (arg == flag || strings.HasPrefix(arg, flag+"=")) })
		switch {
		case i >= 0:
			unknown = append(unknown, flag)
			if args[i] == flag && i+1 < len(args) {
				values = append(values, args[i+1])
			}
		case more && slices.Contains(values, word):
			i = slices.Index(args, word)
		}
		if i < 0 {
			return kctx, unknown, nil
		}
		args = slices.Delete(slices.Clone(args), i, i+1)
	}
}

// addUnknown reports a flag that the command does not have.
func (ps *parser) addUnknown(p *parsed, flag string) {
	best := nearest(flag, flagNames(p.node))
	if distance(flag, best) > len(flag)/3 { // --x is near to every short flag
		best = ""
	}
	ps.add(outcome.Problem{Field: flag, Message: "is no flag of " + strings.TrimSpace("arcd "+commandPath(p.node)), Corrected: best})
}

// checkEncoding refuses words that are no UTF-8. They would be sent as something
// else than what was typed.
func (ps *parser) checkEncoding(args []string) {
	for i, word := range args {
		if !utf8.ValidString(word) {
			ps.add(outcome.Problem{
				Field: "arguments", Input: word, Message: fmt.Sprintf("hold bytes that are no UTF-8, in word %d", i+1),
				Suggestion: "Put bytes that are no text into a file.",
			})
		}
	}
}

// commandOf gives the command that a node of the table stands for.
func commandOf(node *kong.Node) (command, bool) {
	if node.Type != kong.CommandNode || !node.Leaf() {
		return nil, false
	}
	leaf, ok := node.Target.Addr().Interface().(command)
	return leaf, ok
}

// checkValues finds what is missing, and values that are none of those allowed.
func (ps *parser) checkValues(kctx *kong.Context) {
	for _, path := range kctx.Path {
		for _, flag := range path.Flags {
			if flag.Required && !flag.Set {
				ps.lacks("--"+flag.Name, flag.Help)
			}
			ps.checkEnum("--"+flag.Name, flag.Value)
		}
	}
	node := kctx.Selected()
	if node == nil || !node.Leaf() {
		return
	}
	for _, arg := range node.Positional {
		field := "<" + arg.Name + ">"
		if arg.Required && !arg.Set {
			ps.lacks(field, arg.Help)
			continue
		}
		ps.checkEnum(field, arg)
	}
}

func (ps *parser) checkEnum(field string, v *kong.Value) {
	if v.Enum == "" || v.Target.Kind() != reflect.String {
		return
	}
	allowed := slices.DeleteFunc(v.EnumSlice(), func(word string) bool { return word == "" }) // "" lets it be left out
	if got := v.Target.String(); got != "" && !slices.Contains(allowed, got) {
		ps.add(outcome.Problem{
			Field: field, Input: got, Message: "must be one of " + strings.Join(allowed, ", "), Corrected: nearest(got, allowed),
		})
	}
}

// lacks reports a flag or argument that is needed, unless it was misspelt.
func (ps *parser) lacks(field, help string) {
	if slices.ContainsFunc(ps.problems, func(p outcome.Problem) bool { return p.Corrected == field }) {
		return
	}
	ps.missing = append(ps.missing, field)
	ps.add(outcome.Problem{Field: field, Message: "is missing", Suggestion: help})
}

// add reports a problem.
func (ps *parser) add(p outcome.Problem) {
	if p.Code == "" {
		p.Code = outcome.Validation
	}
	p.Input = shorten(p.Input)
	ps.problems = append(ps.problems, p)
}

// problems collects what a command's own check finds.
type problems struct{ all *[]outcome.Problem }

// add reports that a flag or argument (as --flag or <argument>) is wrong.
func (p *problems) add(field, format string, args ...any) {
	*p.all = append(*p.all, outcome.Problem{Code: outcome.Validation, Field: field, Message: fmt.Sprintf(format, args...)})
}

// report adds a whole problem.
func (p *problems) report(problem outcome.Problem) { *p.all = append(*p.all, problem) }

// refuse tells why kong could not read the command line.
func (ps *parser) refuse(p *parsed, kctx *kong.Context) error {
	text := kctx.Error.Error()
	if word, ok := strings.CutPrefix(text, "unexpected argument "); ok && len(p.node.Children) > 0 {
		word, _, _ = strings.Cut(word, ",")
		return unknownCommand(p, append([]string{word}, trailing(kctx, word)...))
	}
	if flag, ok := strings.CutPrefix(text, "unknown flag "); ok { // a short one among others
		flag, _, _ = strings.Cut(flag, ",")
		ps.addUnknown(p, flag)
	} else {
		field := flagOf(kctx.Error)
		text = shorten(strings.TrimPrefix(text, field+": "))
		if word, ok := strings.CutPrefix(text, "unexpected argument "); ok {
			field, text = "<"+word+">", "is one argument more than the command takes"
		}
		ps.add(outcome.Problem{Field: field, Message: text})
	}
	return ps.invalid()
}

// trailing gives the words of the command line behind the one that is unknown.
func trailing(kctx *kong.Context, word string) []string {
	i := slices.Index(kctx.Args, word)
	if i < 0 {
		return nil
	}
	var words []string
	for _, w := range kctx.Args[i+1:] {
		if strings.HasPrefix(w, "-") {
			break
		}
		words = append(words, w)
	}
	return words
}

// unknownCommand names the command that was perhaps meant.
func unknownCommand(p *parsed, words []string) error {
	var all, names []string
	whole := p.whole()
	for _, leaf := range whole.Leaves(true) {
		all = append(all, commandPath(leaf))
	}
	for _, group := range whole.Children {
		all = append(all, group.Name)
	}
	for _, child := range p.node.Children {
		names = append(names, child.Name)
	}
	typed := strings.TrimSpace(commandPath(p.node) + " " + strings.Join(words, " "))
	if len(words) == 0 {
		return outcome.Errorf(outcome.UnknownCommand, "arcd %s needs one of the commands %s.", typed, strings.Join(names, ", ")).
			Suggest("arcd %s --help shows them.", typed)
	}
	e := outcome.Errorf(outcome.UnknownCommand, "There is no command %q.", "arcd "+shorten(typed))
	if best := closest(typed, all); best != "" && best != commandPath(p.node) {
		e.Suggest("Did you mean: arcd %s", best)
		e.Context = map[string]any{"did_you_mean": best}
	} else if p.node.Parent != nil {
		e.Suggest("The commands of arcd %s are %s.", commandPath(p.node), strings.Join(names, ", "))
	}
	return e
}

// closest finds the command that looks most like what was typed, of which the
// last words may be arguments.
func closest(typed string, all []string) string {
	for words := strings.Fields(typed); len(words) > 0; words = words[:len(words)-1] {
		if best := nearest(strings.Join(words, " "), all); best != "" {
			return best
		}
	}
	return ""
}

// flagNames lists the flags that a node takes.
func flagNames(node *kong.Node) []string {
	var names []string
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			names = append(names, "--"+flag.Name)
		}
	}
	return names
}

// flagOf takes the flag out of an error of kong, which begins with it.
func flagOf(err error) string {
	field, _, ok := strings.Cut(err.Error(), ":")
	if !ok || !strings.HasPrefix(field, "-") && !strings.HasPrefix(field, "<") {
		return "arguments"
	}
	field, _, _ = strings.Cut(field, "=")
	return field
}

// shorten cuts what was typed, so that an error stays readable.
func shorten(text string) string {
	const most = 200
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}

// fromEnvironment gives the value of the variable that the tag from of a flag
// names; the first that is set of several.
func (ps *parser) fromEnvironment(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	for name := range strings.SplitSeq(flag.Tag.Get("from"), ",") {
		if value := lookup(ps.env, name); name != "" && value != "" {
			ps.origins[flag.Name] = "env:" + name
			return value, nil
		}
	}
	return nil, nil
}

// pop takes a value's text from the command line.
func pop(ctx *kong.DecodeContext) (field, text string, err error) {
	field = "<" + ctx.Value.Name + ">"
	if ctx.Value.Flag != nil {
		field = "--" + ctx.Value.Name
	}
	token, err := ctx.Scan.PopValue("value")
	if err != nil {
		return field, "", err
	}
	return field, fmt.Sprint(token.Value), nil
}

// duration reads a duration like 30s or 5m; 0 needs no unit.
func (ps *parser) duration(ctx *kong.DecodeContext, target reflect.Value) error {
	field, text, err := pop(ctx)
	if err != nil {
		return err
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		ps.add(outcome.Problem{Field: field, Input: text, Message: "must be a time like 30s, 5m or 1h"})
		return nil
	}
	target.SetInt(int64(d))
	return nil
}

// number reads a whole number.
func (ps *parser) number(ctx *kong.DecodeContext, target reflect.Value) error {
	field, text, err := pop(ctx)
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(text, 10, target.Type().Bits())
	if err != nil {
		ps.add(outcome.Problem{Field: field, Input: text, Message: "must be a whole number"})
		return nil
	}
	target.SetInt(n)
	return nil
}

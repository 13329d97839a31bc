package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// completionCommand is "arcd completion".
type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"The shell: bash, zsh or fish."`
}

// completionScript is the result of "completion".
type completionScript struct {
	Shell string   `json:"shell"`
	Lines []string `json:"lines"` // of the script
}

func (*completionCommand) row() row {
	return row{
		instant: true, danger: safe, data: completionScript{},
		long: "Completed are commands, flags, and the values of flags that are one of a few words or a file. The script calls nothing.",
		examples: []string{
			"source <(arcd completion bash -o plain)",
			`arcd completion zsh -o plain > "${fpath[1]}/_arcd"`,
			"arcd completion fish -o plain > ~/.config/fish/completions/arcd.fish",
		},
	}
}

func (k *completionCommand) run(_ context.Context, c *console) (any, error) {
	t := newCompletionTable(c.parsed.whole().Node)
	scripts := map[string]func() string{"bash": t.bash, "zsh": t.zsh, "fish": t.fish}
	return completionScript{k.Shell, textLines(scripts[k.Shell]())}, nil
}

// textLines gives the lines of a text. Long texts are lists of lines in results,
// because one long string would be cut.
func textLines(text string) []string { return strings.Split(strings.TrimSuffix(text, "\n"), "\n") }

func (s completionScript) show(p *page) { p.text(strings.Join(s.Lines, "\n") + "\n") }

func (s completionScript) plain() []string { return s.Lines }

// completionTable is what the scripts of all shells are made of.
type completionTable struct {
	nodes []completionNode
	// values are the words that can follow a flag or an argument, by the path of the
	// command ("*" for all) and the flag ("" for an argument).
	values []completionValues
	files  []string // flags whose value is a file, sorted
	takes  []string // all flags that take a value, sorted
}

// completionNode is a command or a group.
type completionNode struct {
	path     string // "", "task", "task get"
	help     string
	children []*kong.Node
	flags    []*kong.Flag
}

// completionValues are the words that one flag or argument takes.
type completionValues struct {
	path  string
	flag  string
	short string
	words []string
}

func newCompletionTable(root *kong.Node) *completionTable {
	t := &completionTable{}
	for _, node := range allNodes(root) {
		n := completionNode{path: commandPath(node), help: node.Help, flags: visible(node.Flags)}
		for _, child := range node.Children {
			if !child.Hidden {
				n.children = append(n.children, child)
			}
		}
		t.nodes = append(t.nodes, n)
		for _, flag := range n.flags {
			t.add(n.path, flag)
		}
		for _, argument := range node.Positional {
			if argument.Enum != "" {
				t.values = append(t.values, completionValues{path: n.path, words: enumOf(argument)})
			}
		}
	}
	for _, list := range []*[]string{&t.files, &t.takes} {
		slices.Sort(*list)
		*list = slices.Compact(*list)
	}
	return t
}

// add notes what can follow a flag.
func (t *completionTable) add(path string, flag *kong.Flag) {
	if flag.IsBool() {
		return
	}
	name, short := "--"+flag.Name, ""
	t.takes = append(t.takes, name)
	if flag.Short != 0 {
		short = "-" + string(flag.Short)
		t.takes = append(t.takes, short)
	}
	if path == "" {
		path = "*" // flags of arcd itself go with every command
	}
	if flag.Enum != "" {
		t.values = append(t.values, completionValues{path, name, short, enumOf(flag.Value)})
	}
	if flag.PlaceHolder == "FILE" || flag.PlaceHolder == "PATH" {
		t.files = append(t.files, name)
	}
}

// flagsOf lists the flags that a command takes, with those of arcd itself.
func (t *completionTable) flagsOf(n completionNode) []*kong.Flag {
	if n.path == "" {
		return n.flags
	}
	return slices.Concat(n.flags, t.nodes[0].flags)
}

// bash makes the script for bash. It finds the command by its words, and so knows
// which flags and words can follow.
func (t *completionTable) bash() string {
	var b strings.Builder
	b.WriteString(`# bash completion of arcd; made by: arcd completion bash
_arcd() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev="" path="" skip="" i word
    ((COMP_CWORD > 0)) && prev=${COMP_WORDS[COMP_CWORD-1]}
    if [[ $cur == "=" ]]; then cur=""
    elif [[ $prev == "=" ]] && ((COMP_CWORD > 1)); then prev=${COMP_WORDS[COMP_CWORD-2]}; fi
    COMPREPLY=()
    for ((i = 1; i < COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $skip ]]; then [[ $word == "=" ]] || skip=""; continue; fi
        case $word in
`)
	fmt.Fprintf(&b, "        %s) skip=1; continue ;;\n        -*) continue ;;\n        esac\n", strings.Join(t.takes, "|"))
	b.WriteString("        case \"${path:+$path }$word\" in\n")
	for _, n := range t.nodes[1:] {
		fmt.Fprintf(&b, "        %q) path=%q ;;\n", n.path, n.path)
	}
	b.WriteString("        esac\n    done\n    case $prev in\n")
	if len(t.files) > 0 {
		fmt.Fprintf(&b, "    %s) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); return ;;\n", strings.Join(t.files, "|"))
	}
	b.WriteString("    esac\n    case \"$path:$prev\" in\n")
	for _, v := range t.values {
		if v.flag == "" {
			continue
		}
		pattern := bashPattern(v.path, v.flag)
		if v.short != "" {
			pattern += "|" + bashPattern(v.path, v.short)
		}
		fmt.Fprintf(&b, "    %s) mapfile -t COMPREPLY < <(compgen -W %q -- \"$cur\"); return ;;\n", pattern, strings.Join(v.words, " "))
	}
	fmt.Fprintf(&b, "    esac\n    case $prev in %s) return ;; esac\n", strings.Join(t.takes, "|"))
	b.WriteString("    local words=\"\"\n    case $path in\n")
	for _, n := range t.nodes {
		fmt.Fprintf(&b, "    %q)\n        words=%q\n", n.path, strings.Join(t.wordsAt(n), " "))
		fmt.Fprintf(&b, "        [[ $cur == -* ]] && words=%q ;;\n", strings.Join(flagWords(t.flagsOf(n)), " "))
	}
	b.WriteString("    esac\n    mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n}\ncomplete -o default -F _arcd arcd\n")
	return b.String()
}

// bashPattern matches a path and the word before the one that is completed.
func bashPattern(path, flag string) string {
	if path == "*" {
		return "*:" + flag
	}
	return `"` + path + `":` + flag
}

// wordsAt lists the words that can follow a command: commands below it, or the
// values of its argument.
func (t *completionTable) wordsAt(n completionNode) []string {
	var words []string
	for _, child := range n.children {
		words = append(words, child.Name)
	}
	for _, v := range t.values {
		if v.flag == "" && v.path == n.path {
			words = append(words, v.words...)
		}
	}
	return words
}

func flagWords(flags []*kong.Flag) []string {
	var words []string
	for _, flag := range flags {
		words = append(words, "--"+flag.Name)
	}
	return words
}

// zsh makes the script for zsh, with the help of each command and flag beside it.
func (t *completionTable) zsh() string {
	var b strings.Builder
	b.WriteString("#compdef arcd\n# zsh completion of arcd; made by: arcd completion zsh\n_arcd() {\n" +
		"    local at=\"\" prev=${words[CURRENT-1]} skip=\"\" word\n    local -a found\n" +
		"    for word in ${words[2,CURRENT-1]}; do\n        if [[ -n $skip ]]; then skip=\"\"; continue; fi\n        case $word in\n")
	fmt.Fprintf(&b, "        (%s) skip=1; continue ;;\n        (-*) continue ;;\n        esac\n", strings.Join(t.takes, "|"))
	b.WriteString("        case \"${at:+$at }$word\" in\n")
	for _, n := range t.nodes[1:] {
		fmt.Fprintf(&b, "        (%s) at=%s ;;\n", single(n.path), single(n.path))
	}
	b.WriteString("        esac\n    done\n")
	if len(t.files) > 0 {
		fmt.Fprintf(&b, "    case $prev in (%s) _files; return ;; esac\n", strings.Join(t.files, "|"))
	}
	b.WriteString("    case \"$at:$prev\" in\n")
	for _, v := range t.values {
		for _, flag := range []string{v.flag, v.short} {
			if flag != "" {
				fmt.Fprintf(&b, "    (%s) compadd -- %s; return ;;\n", bashPattern(v.path, flag), strings.Join(v.words, " "))
			}
		}
	}
	b.WriteString("    esac\n    case $at in\n")
	for _, n := range t.nodes {
		fmt.Fprintf(&b, "    (%s)\n        if [[ $PREFIX == -* ]]; then found=(", single(n.path))
		for _, flag := range t.flagsOf(n) {
			b.WriteString(" " + single("--"+flag.Name+":"+oneLine(flag.Help)))
		}
		b.WriteString(")\n        else found=(")
		for _, child := range n.children {
			b.WriteString(" " + single(child.Name+":"+oneLine(child.Help)))
		}
		for _, v := range t.values {
			if v.flag == "" && v.path == n.path {
				b.WriteString(" " + strings.Join(v.words, " "))
			}
		}
		b.WriteString(")\n        fi ;;\n")
	}
	b.WriteString("    esac\n    _describe arcd found\n}\nif [[ $funcstack[1] == _arcd ]]; then _arcd \"$@\"; else compdef _arcd arcd; fi\n")
	return b.String()
}

// fish makes the script for fish.
func (t *completionTable) fish() string {
	var b strings.Builder
	b.WriteString("# fish completion of arcd; made by: arcd completion fish\nfunction __arcd_at --description 'Is the command line at this command?'\n" +
		"    set -l at ''\n    set -l skip ''\n    for word in (commandline -opc)[2..-1]\n        if test -n \"$skip\"; set skip ''; continue; end\n        switch $word\n")
	fmt.Fprintf(&b, "            case %s\n                set skip 1\n                continue\n            case '-*'\n                continue\n        end\n", strings.Join(t.takes, " "))
	b.WriteString("        switch (string trim -- \"$at $word\")\n")
	for _, n := range t.nodes[1:] {
		fmt.Fprintf(&b, "            case %s\n                set at %s\n", single(n.path), single(n.path))
	}
	b.WriteString("        end\n    end\n    test \"$at\" = \"$argv[1]\"\nend\ncomplete -c arcd -f\n")
	for i, n := range t.nodes {
		at := fmt.Sprintf("-n %q", "__arcd_at "+single(n.path))
		for _, child := range n.children {
			fmt.Fprintf(&b, "complete -c arcd %s -a %s -d %s\n", at, child.Name, single(oneLine(child.Help)))
		}
		for _, v := range t.values {
			if v.flag == "" && v.path == n.path {
				fmt.Fprintf(&b, "complete -c arcd %s -a %s\n", at, single(strings.Join(v.words, " ")))
			}
		}
		if i == 0 {
			at = "" // its flags go with every command
		}
		for _, flag := range n.flags {
			b.WriteString(fishFlag(at, flag))
		}
	}
	return b.String()
}

// fishFlag is the line of one flag.
func fishFlag(at string, flag *kong.Flag) string {
	words := []string{"complete -c arcd"}
	if at != "" {
		words = append(words, at)
	}
	words = append(words, "-l "+flag.Name)
	if flag.Short != 0 {
		words = append(words, "-s "+string(flag.Short))
	}
	switch {
	case flag.IsBool():
	case flag.PlaceHolder == "FILE" || flag.PlaceHolder == "PATH":
		words = append(words, "-r -F")
	case flag.Enum != "":
		words = append(words, "-x -a "+single(strings.Join(enumOf(flag.Value), " ")))
	default:
		words = append(words, "-x")
	}
	return strings.Join(append(words, "-d "+single(oneLine(flag.Help))), " ") + "\n"
}

// single puts a text into single quotes of a shell.
func single(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// oneLine is the first sentence of a help, without what scripts would read as
// their own.
func oneLine(help string) string {
	first, _, _ := strings.Cut(help, ". ")
	return strings.NewReplacer(":", " ", `\`, "", "\n", " ").Replace(strings.TrimSuffix(first, "."))
}

package cli

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/arcd-io/arcd/internal/outcome"
)

// informs gives what answers a command line that asks about the program: help,
// version or schema. nil: it asks for a command to be run. These answers read no
// file, no configuration and no network.
func (p *parsed) informs() func(*console) outcome.Exit {
	switch {
	case p.table.globals.Version:
		return func(c *console) outcome.Exit {
			fmt.Fprintln(c.stdout, "arcd "+version())
			return outcome.ExitSuccess
		}
	case p.table.Schema:
		return func(c *console) outcome.Exit {
			c.meta.SchemaRef = schemaRef(p.node) // data is the schema, not the command's
			return c.finish(describeInFull(p.node))
		}
	case p.table.Help:
		return func(c *console) outcome.Exit { return c.help(p.node) }
	case p.node.Parent == nil:
		return func(c *console) outcome.Exit { return c.bare(p.node) }
	}
	return nil
}

// help answers --help: the text for people; for programs an envelope on stdout
// with its lines, which says where the schema is, and the text on stderr.
func (c *console) help(node *kong.Node) outcome.Exit {
	c.meta.Help, c.meta.SchemaRef = true, schemaRef(node)
	c.writeHelp(node)
	if c.form != "json" {
		return c.finish(nil, nil)
	}
	var text bytes.Buffer
	p := newPage(&text, widestHelp, false)
	showHelp(p, node, true)
	_ = p.flush() // into memory
	return c.finish(helpText{textLines(text.String())}, nil)
}

// helpText is the data of --help.
type helpText struct {
	Lines []string `json:"lines"`
}

// schemaRef is the command line that prints the schema of a node.
func schemaRef(node *kong.Node) string {
	return strings.TrimSpace("arcd "+commandPath(node)) + " --schema"
}

// writeHelp writes help to stdout for people, to stderr where stdout is for a
// program.
func (c *console) writeHelp(node *kong.Node) {
	to := c.stdout
	if c.form == "json" {
		if c.globals.Quiet {
			return
		}
		to = c.stderr
	}
	p := newPage(to, min(terminalWidth(to), widestHelp), c.coloured(to))
	showHelp(p, node, c.meta.Help)
	_ = p.flush() // whoever reads has gone
}

// bare answers arcd alone: the commands as data, the help as text.
func (c *console) bare(node *kong.Node) outcome.Exit {
	list := commandList{Commands: []listedCommand{}}
	for _, leaf := range node.Leaves(true) {
		list.Commands = append(list.Commands, listedCommand{commandPath(leaf), leaf.Help})
	}
	if c.form == "plain" {
		return c.finish(list, nil)
	}
	c.writeHelp(node)
	if c.form != "json" {
		return c.finish(nil, nil)
	}
	return c.finish(list, nil)
}

// commandList is the data of arcd alone.
type commandList struct {
	Commands []listedCommand `json:"commands"`
}

// listedCommand is one command.
type listedCommand struct {
	Path string `json:"path"` // as it is typed behind arcd
	Help string `json:"help"`
}

func (l commandList) plain() []string {
	var paths []string
	for _, command := range l.Commands {
		paths = append(paths, command.Path)
	}
	return paths
}

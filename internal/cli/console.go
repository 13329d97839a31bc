package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"reflect"
	"slices"
	"text/tabwriter"

	"golang.org/x/term"
)

// console is where a command reads and writes.
type console struct {
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	json   bool // results as one JSON document
}

// newConsole decides the form of the results: json if asked for or if stdout is
// no terminal.
func newConsole(output string, env []string, stdin io.Reader, stdout, stderr io.Writer) *console {
	asJSON := output == "json" || output == "auto" && !isTerminal(stdout)
	return &console{env: env, stdin: stdin, stdout: stdout, stderr: stderr, json: asJSON}
}

// isTerminal tells whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// print writes a command's result: text for people, or value as JSON.
func (c *console) print(text string, value any) error {
	if !c.json {
		_, err := fmt.Fprintln(c.stdout, text)
		return err
	}
	e := json.NewEncoder(c.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// table writes rows in columns.
func (c *console) table(rows [][]string) error {
	w := tabwriter.NewWriter(c.stdout, 0, 8, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(w, "\t")
			}
			fmt.Fprint(w, cell)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// note writes a line for people to stderr.
func (c *console) note(format string, args ...any) {
	fmt.Fprintf(c.stderr, format+"\n", args...)
}

// noteNewFile says that a key file is about to be made: a server that uses
// another one takes no token of it.
func (c *console) noteNewFile(file string) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		c.note("note: making the new key file %s; only a server that uses this file takes its tokens", file)
	}
}

// sortedKeys gives the keys of a map with text keys, sorted.
func sortedKeys(m reflect.Value) []string {
	var names []string
	for _, k := range m.MapKeys() {
		names = append(names, k.String())
	}
	slices.Sort(names)
	return names
}

// sortedNames gives the names of a map, sorted.
func sortedNames[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

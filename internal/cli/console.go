package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/term"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

// console is where a command reads and writes, and what it knows about its call.
type console struct {
	args   []string // as they were typed; nil: unknown
	env    []string
	stdin  io.Reader
	stdout io.Writer
	stderr io.Writer
	began  time.Time
	now    func() time.Time

	form    string // json, text or plain: how the result is written
	pretty  bool   // stdout is a terminal: indented JSON, colours in text
	width   int    // columns of the terminal
	globals *globals
	parsed  *parsed
	timeout time.Duration // of the command; 0: none
	meta    *outcome.Meta
	trace   client.Trace // that its calls belong to

	// link is how the command calls a server, made when it is first needed.
	link *link

	// mu guards what follows: a command that goes on after its time writes nothing
	// behind the envelope.
	mu       sync.Mutex
	closed   bool
	warnings []outcome.Warning
	failed   *outcome.Error // as the envelope has it
}

// newConsole makes the console of one call.
func newConsole(env []string, stdin io.Reader, stdout, stderr io.Writer) *console {
	c := &console{env: env, stdin: stdin, stdout: stdout, stderr: stderr, began: time.Now(), now: time.Now, globals: &globals{}}
	cwd, _ := os.Getwd()
	c.meta = &outcome.Meta{
		SchemaVersion: outcome.Version, ToolVersion: version(), RequestID: fmt.Sprintf("req_%016x%016x", rand.Uint64(), rand.Uint64()),
		Timestamp: *outcome.Instant(c.began), Cwd: cwd, ConfigSources: []string{},
	}
	return c
}

// configure takes over what the command line says about the form of the answer.
// It is called for a command line that could not be read, too.
func (c *console) configure(p *parsed) {
	c.parsed, c.globals = p, &p.table.globals
	g := c.globals
	c.pretty = isTerminal(c.stdout) && c.variable("CI") == ""
	c.width = terminalWidth(c.stdout)
	c.form = g.Output
	if g.JSON {
		c.form = "json"
	}
	if c.form != "json" && c.form != "text" && c.form != "plain" {
		c.form = "json"
		if c.pretty {
			c.form = "text"
		}
	}
	c.meta.Command = p.name()
	c.meta.ConfigHash = g.hash()
	c.meta.InstanceID = g.InstanceID
	c.findTrace()
	if p.command != nil {
		r := p.command.row()
		c.timeout = r.defaultTimeout()
		if g.Timeout != nil {
			c.timeout = *g.Timeout
		}
		c.meta.TimeoutMS = c.timeout.Milliseconds()
		if r.danger != safe {
			dry, confirmed := false, false
			if x, ok := p.command.(interface{ dryRun() bool }); ok {
				dry = x.dryRun()
			}
			if x, ok := p.command.(interface{ confirmed() bool }); ok {
				confirmed = x.confirmed()
			}
			c.meta.DryRun, c.meta.Confirmed = &dry, &confirmed
		}
	}
}

// variable gives an environment variable, "" if it is not set.
func (c *console) variable(name string) string { return lookup(c.env, name) }

// isTerminal tells whether a stream is a terminal.
func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// terminalWidth gives the columns of a terminal, 80 where it is none.
func terminalWidth(stream any) int {
	if f, ok := stream.(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// asks tells whether a person is there to be asked.
func (c *console) asks() bool {
	return isTerminal(c.stdin) && isTerminal(c.stderr) && !c.globals.NonInteractive && c.variable("CI") == ""
}

// warn adds a warning to the envelope; on a terminal it is shown at the end. code
// is a word in capitals.
func (c *console) warn(code, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.warnings = append(c.warnings, outcome.Warning{Code: code, Message: fmt.Sprintf(format, args...)})
}

// note writes a line for people to stderr, unless --quiet is given.
func (c *console) note(format string, args ...any) {
	if !c.globals.Quiet {
		fmt.Fprintf(c.stderr, format+"\n", args...)
	}
}

// debugf tells on stderr what happens, with --debug. Secrets are never given to it.
func (c *console) debugf(format string, args ...any) {
	if c.globals.Debug {
		c.note("debug: "+format, args...)
	}
}

// noteNewFile says that a key file is about to be made: a server that uses
// another one takes no token of it.
func (c *console) noteNewFile(file string) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		c.warn("NEW_KEY_FILE", "made the new key file %s; only a server that uses this file takes its tokens", file)
	}
}

// confirm asks a person whether to go on; nobody there means no.
func (c *console) confirm(question string) bool {
	if !c.asks() {
		return false
	}
	fmt.Fprintf(c.stderr, "%s [y/N] ", question)
	var answer [64]byte
	n, _ := c.stdin.Read(answer[:])
	switch strings.ToLower(strings.TrimSpace(string(answer[:n]))) {
	case "y", "yes":
		return true
	}
	return false
}

// judge makes the error object of a command that failed: by the signal or the
// timeout that ended it, else by what went wrong.
func (c *console) judge(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if _, daemon := c.parsed.command.(*serveCommand); daemon {
		if s, ok := errors.AsType[signaled](err); ok { // the second one: it did not wait for the drain
			return cancelled(s, err)
		}
		return err
	}
	cause := context.Cause(ctx)
	if s, ok := errors.AsType[signaled](cause); ok && interrupted(err) {
		return cancelled(s, err)
	}
	if t, ok := errors.AsType[timedOut](cause); ok && interrupted(err) {
		e := outcome.Errorf(outcome.Timeout, "The time of %s was over, and the command was not done.", short(t.after)).Because(err)
		c.classifyTimeout(e, err)
		return e
	}
	return c.classify(err)
}

// interrupted tells whether an error is that of a context which has ended.
func interrupted(err error) bool {
	_, bySignal := errors.AsType[signaled](err)
	_, byTime := errors.AsType[timedOut](err)
	return bySignal || byTime || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// cancelled is the error of a command that a signal ended.
func cancelled(s signaled, err error) *outcome.Error {
	name := signalName(s.signal)
	e := outcome.Errorf(outcome.Cancelled, "%s stopped the command.", name).Because(err)
	e.Signal, e.Partial = name, true
	if name == "SIGTERM" {
		e.Exit = outcome.ExitTerminated
	}
	if partial, ok := errors.AsType[*outcome.Error](err); ok { // what the command knows about where it was
		e.CompletedSteps, e.FailedStep, e.SkippedSteps, e.ResumeFrom = partial.CompletedSteps, partial.FailedStep, partial.SkippedSteps, partial.ResumeFrom
	}
	return e
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

// sortedExits joins lists of exit codes.
func sortedExits(lists ...[]outcome.Exit) []outcome.Exit {
	all := slices.Concat(lists...)
	slices.Sort(all)
	return slices.Compact(all)
}

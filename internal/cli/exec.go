package cli

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/internal/outcome"
)

// execCommand is "arcd exec": many commands in one process, one after another.
type execCommand struct {
	changing
	InputFile    string `name:"input-file" placeholder:"FILE" default:"-" help:"File with the lines; - is standard input."`
	IgnoreErrors bool   `name:"ignore-errors" help:"Go on after a line that failed. A credential that runs out stops the batch in any case."`
	FromLine     int    `name:"from-line" placeholder:"N" default:"1" help:"Begin with this line, the first is 1. error.resume_from says it."`
}

// Bounds of a batch.
const (
	maxLines    = 1000
	maxLineSize = 65_536 // bytes
	maxWords    = 256    // of one line
)

// execLine is a line of the batch.
type execLine struct {
	Argv []string `json:"argv"` // the words behind arcd: ["task", "get", "ID"]
}

// execResult is how a line ended.
type execResult struct {
	Line int           `json:"line"` // from 1
	Cmd  string        `json:"cmd"`  // its command, with dots; "" if it has none
	OK   bool          `json:"ok"`
	Exit outcome.Exit  `json:"exit_code"`
	Code *outcome.Code `json:"error_code"` // null: it succeeded
}

// execData is the result of "exec".
type execData struct {
	Results []execResult `json:"results"`
	Summary batchSummary `json:"summary"`
}

func (*execCommand) row() row {
	return row{
		danger: mutating, data: execData{}, stdin: maxStdin, streams: true,
		long: `Each line is {"argv":["task","get","ID"]}: the words behind arcd. Each answers with its envelope as one JSON line, with meta._line and meta._cmd; ` +
			"the last line is the envelope of the batch. The first line that fails ends it. Global flags of exec hold for every line. --timeout bounds the whole batch.",
		examples: []string{
			`echo '{"argv":["task","list"]}' | arcd exec`,
			"arcd exec --input-file lines.jsonl --ignore-errors",
			"arcd exec --input-file lines.jsonl --from-line 17",
		},
	}
}

func (e *execCommand) check(p *problems) {
	if e.FromLine < 1 {
		p.add("--from-line", "must be 1 or more")
	}
}

// run does the lines. What was read is bounded before the first of them runs.
func (e *execCommand) run(ctx context.Context, c *console) (any, error) {
	text, err := c.readInput(ctx, "--input-file", e.InputFile, maxFile)
	if err != nil {
		return nil, err
	}
	lines, err := splitBatch(text)
	if err != nil {
		return nil, err
	}
	b := &execRun{c: c, dryRun: e.DryRun, globals: c.passedOn(), data: execData{Results: []execResult{}}}
	for n, line := range lines {
		if n+1 >= e.FromLine && len(line) > 0 {
			b.numbers = append(b.numbers, n+1)
		}
	}
	b.data.Summary.Total = len(b.numbers)
	if len(b.numbers) == 0 {
		return nil, tooMuch("has no line %d", e.FromLine)
	}
	for _, number := range b.numbers {
		if ctx.Err() != nil {
			err := b.ended(number, context.Cause(ctx))
			return b.data, err
		}
		failed, err := b.do(ctx, number, lines[number-1])
		if err != nil {
			return nil, err
		}
		if failed != nil && (!e.IgnoreErrors || failed.Exit == outcome.ExitExpired) {
			err := b.stopped(number, failed) // counts what is skipped
			return b.data, err
		}
	}
	return b.finished()
}

// splitBatch gives the lines of a batch, empty ones too: their numbers count.
func splitBatch(text []byte) ([][]byte, error) {
	var lines [][]byte
	for line := range bytes.SplitSeq(bytes.TrimSpace(text), []byte("\n")) {
		lines = append(lines, bytes.TrimSpace(line))
		if len(line) > maxLineSize {
			return nil, tooMuch("line %d is longer than %d bytes", len(lines), maxLineSize)
		}
	}
	if len(lines) > maxLines {
		return nil, tooMuch("there are %d lines, and a batch has at most %d", len(lines), maxLines)
	}
	return lines, nil
}

func tooMuch(format string, args ...any) error {
	return outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: "--input-file", Message: fmt.Sprintf(format, args...)})
}

// passedOn are the global flags of this command line, for its lines. Variables
// hold for them anyway.
func (c *console) passedOn() []string {
	var words []string
	for _, flag := range c.parsed.app.Flags {
		switch flag.Name {
		case "output", "json", "fields", "quiet", "timeout", "help", "schema", "version":
			continue
		}
		if c.parsed.origins[flag.Name] == "flag" { // be it the default: a variable may say otherwise
			words = append(words, "--"+flag.Name+"="+fmt.Sprint(flag.Target.Interface()))
		}
	}
	return words
}

// execRun is a run of lines.
type execRun struct {
	c       *console
	dryRun  bool
	globals []string
	numbers []int // of the lines to run, from 1
	data    execData
}

// do runs one line and writes its envelope. It gives the line's error; an error of
// its own means that nothing can be written any more.
func (b *execRun) do(ctx context.Context, number int, text []byte) (*outcome.Error, error) {
	inner := newConsole(b.c.env, strings.NewReader(""), lineWriter{b.c}, b.c.stderr)
	inner.globals.Quiet, inner.form = true, "json"
	inner.meta.Line, inner.meta.TraceID = &number, b.c.meta.TraceID
	var words []string
	p, err := b.read(text, inner, &words)
	if p != nil {
		inner.configure(p)
		inner.form, inner.pretty, inner.globals.Quiet = "json", false, true
	}
	inner.meta.LineCommand = cmp.Or(strings.Join(words, " "), "?")
	var failed *outcome.Error
	if err != nil {
		failed = outcome.Of(err)
		inner.finish(nil, failed)
	} else {
		failed = inner.runLine(ctx, p.command)
	}
	b.note(number, inner.meta.Command, failed)
	if b.c.isClosed() {
		return nil, errClosed
	}
	return failed, nil
}

// runLine runs a command under its own timeout, within that of the batch, and
// gives its error.
func (c *console) runLine(ctx context.Context, command command) *outcome.Error {
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	c.await(ctx, &signals{second: make(chan struct{})}, command)
	return c.failed
}

// read makes a command of a line. words are those of the command alone, for
// meta._cmd, without its arguments.
func (b *execRun) read(text []byte, inner *console, words *[]string) (*parsed, error) {
	var line execLine
	if err := jsonv2.Unmarshal(text, &line, jsonv2.RejectUnknownMembers(true)); err != nil || len(line.Argv) == 0 {
		e := outcome.Errorf(outcome.InvalidJSON, "The line is not an object like %s.", `{"argv":["task","get","ID"]}`).Because(err)
		e.Suggest("Write one JSON object a line, with the words behind arcd.")
		return nil, e
	}
	if len(line.Argv) > maxWords {
		return nil, tooMuch("a line has at most %d words", maxWords)
	}
	p, err := parse(slices.Concat(b.globals, line.Argv), inner)
	if p.node != nil && p.node.Parent != nil {
		*words = strings.Fields(commandPath(p.node))
	} else {
		*words = []string{shorten(line.Argv[0])}
	}
	if err != nil {
		return p, err
	}
	return p, b.allow(p)
}

// allow refuses what has no place in a batch, and tells commands that change
// something to pretend, if the batch does.
func (b *execRun) allow(p *parsed) error {
	refused := func(why string) error {
		return outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: "argv", Input: commandPath(p.node), Message: why})
	}
	_, nested := p.command.(*execCommand)
	switch {
	case p.answer != nil:
		return refused("asks for help, a version or a schema, which are no commands")
	case nested || p.command.row().daemon:
		return refused("cannot run within a batch")
	case p.table.Token == "-":
		return refused("standard input belongs to the batch; give the token as env:NAME or file:PATH")
	case !b.dryRun || p.command.row().danger == safe:
		return nil
	}
	for _, flag := range p.node.Flags {
		if flag.Name == "dry-run" {
			flag.Target.SetBool(true)
			return nil
		}
	}
	return refused("has no --dry-run")
}

// note counts a line.
func (b *execRun) note(number int, command string, failed *outcome.Error) {
	r := execResult{Line: number, Cmd: command, OK: failed == nil}
	if failed != nil {
		r.Exit, r.Code = failed.Exit, &failed.Code
		b.data.Summary.Failed++
	} else {
		b.data.Summary.Succeeded++
	}
	b.data.Results = append(b.data.Results, r)
}

// finished is the end of a batch of which every line had its turn.
func (b *execRun) finished() (any, error) {
	if b.data.Summary.Failed == 0 {
		return b.data, nil
	}
	e := outcome.Errorf(outcome.LineFailed, "%d of %d lines failed.", b.data.Summary.Failed, b.data.Summary.Total)
	b.steps(e)
	return b.data, e
}

// ended is the end of a batch that had to stop before a line: its time was over, or
// a signal came.
func (b *execRun) ended(number int, cause error) error {
	e := outcome.Errorf(outcome.LineFailed, "The batch ended before line %d.", number).Because(cause)
	e.ResumeFrom = fromLine(number)
	b.steps(e)
	return e
}

// stopped is the end of a batch at a line that failed. Where a credential ran out,
// the error tells how to renew it.
func (b *execRun) stopped(number int, failed *outcome.Error) error {
	e := outcome.Errorf(outcome.LineFailed, "Line %d failed: %s", number, failed.Message).Because(failed)
	e.Cause, e.FailedStep, e.ResumeFrom = failed.Code, strconv.Itoa(number), fromLine(number)
	e.Auth, e.FixCommand, e.FixRequired = failed.Auth, failed.FixCommand, failed.FixRequired
	if failed.Exit == outcome.ExitExpired {
		e.Suggest("Run error.reauth_command, then the same batch with %s.", e.ResumeFrom)
	}
	b.steps(e)
	return e
}

// fromLine is the flag with which the same batch goes on.
func fromLine(number int) string { return "--from-line " + strconv.Itoa(number) }

// steps lists the lines that were done, and those that had no turn.
func (b *execRun) steps(e *outcome.Error) {
	for _, r := range b.data.Results {
		if r.OK {
			e.CompletedSteps = append(e.CompletedSteps, strconv.Itoa(r.Line))
		}
	}
	for _, number := range b.numbers[len(b.data.Results):] {
		e.SkippedSteps = append(e.SkippedSteps, strconv.Itoa(number))
	}
	e.Partial = len(e.CompletedSteps) > 0
	b.data.Summary.Skipped = len(e.SkippedSteps)
}

// lineWriter writes what a line of a batch answers, until the batch is over.
type lineWriter struct{ c *console }

func (w lineWriter) Write(b []byte) (int, error) {
	w.c.mu.Lock()
	defer w.c.mu.Unlock()
	if w.c.closed {
		return 0, errClosed
	}
	return w.c.stdout.Write(b)
}

// isClosed tells whether the command is over.
func (c *console) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

func (d execData) show(p *page) {
	p.line("%d lines: %d succeeded, %d failed, %d not run", d.Summary.Total, d.Summary.Succeeded, d.Summary.Failed, d.Summary.Skipped)
}

package cli

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"github.com/arcd-io/arcd/internal/outcome"
)

// finish writes how the command ended, once, and gives the exit code. Nothing is
// written behind it.
func (c *console) finish(data any, err error) outcome.Exit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return outcome.ExitGeneral
	}
	c.closed = true
	var failed *outcome.Error
	if err != nil {
		failed = outcome.Of(err)
	}
	c.failed = failed
	c.meta.DurationMS = time.Since(c.began).Milliseconds()
	v := outcome.Envelope{Meta: c.meta}
	exit := v.Close(data, failed, c.warnings)
	if failed != nil && (failed.Code == outcome.TaskRunning || failed.Code == outcome.TaskAsks || failed.Code == outcome.TaskFailed || failed.Code == outcome.TaskCanceled) {
		failed.ExitName = cmp.Or(c.exitName(exit), failed.ExitName)
	}
	if err := c.emit(&v); err != nil && !errors.Is(err, syscall.EPIPE) {
		fmt.Fprintf(c.stderr, "arcd: writing the result: %v\n", err)
		return outcome.ExitGeneral
	}
	return exit
}

// exitName gives the name that the command's row has for an exit code, "" for the
// usual one.
func (c *console) exitName(exit outcome.Exit) string {
	if c.parsed == nil || c.parsed.command == nil {
		return ""
	}
	return c.parsed.command.row().names[exit]
}

// emit writes the envelope in the form that was asked for.
func (c *console) emit(v *outcome.Envelope) error {
	if c.globals.Debug && v.Error != nil {
		if cause := errors.Unwrap(v.Error); cause != nil {
			fmt.Fprintf(c.stderr, "debug: %s\n", outcome.Clean(cause.Error()))
		}
	}
	if c.form == "json" {
		if v.Error != nil && !c.globals.Quiet && !isTerminal(c.stderr) {
			fmt.Fprintln(c.stderr, "TOOL_FAILED=1") // for pipes that hide the exit code
		}
		return c.writeJSON(v)
	}
	pg := newPage(c.stdout, c.width, c.coloured(c.stdout))
	switch {
	case v.Data == nil:
	case c.form == "plain":
		if err := writePlain(c.stdout, v.Data); err != nil {
			return err
		}
	default:
		showData(pg, v.Data)
	}
	if err := pg.flush(); err != nil {
		return err
	}
	if c.globals.Quiet {
		return nil
	}
	for _, w := range c.warnings {
		fmt.Fprintf(c.stderr, "warning: %s\n", outcome.Clean(w.Message))
	}
	if v.Error != nil {
		failed := newPage(c.stderr, terminalWidth(c.stderr), c.coloured(c.stderr))
		showError(failed, v.Error)
		return failed.flush()
	}
	return nil
}

// coloured tells whether colours are fit for a stream: https://no-color.org.
func (c *console) coloured(stream io.Writer) bool {
	return isTerminal(stream) && !c.hasVariable("NO_COLOR") && c.variable("CI") == "" && c.variable("TERM") != "dumb"
}

// hasVariable tells whether a variable is set, be it empty.
func (c *console) hasVariable(name string) bool {
	for _, entry := range c.env {
		if strings.HasPrefix(entry, name+"=") {
			return true
		}
	}
	return false
}

// writeJSON writes one document: compact, on a terminal indented. Too long data
// is cut, and meta says so.
func (c *console) writeJSON(v any) error {
	if envelope, ok := v.(*outcome.Envelope); ok && envelope.Data != nil {
		data, cut, err := c.shrink(envelope.Data)
		if err != nil {
			return err
		}
		envelope.Data = data
		if cut.Truncated {
			c.meta.Truncated, c.meta.TotalBytes, c.meta.ReturnedBytes = true, cut.Total, cut.Returned
			c.meta.TruncationHint = c.again("--max-output", "0")
			c.tellCut(data)
		}
	}
	text, err := encode(v)
	if err != nil {
		return err
	}
	if c.pretty {
		var b bytes.Buffer
		if err := json.Indent(&b, text, "", "  "); err != nil {
			return err
		}
		text = b.Bytes()
	}
	_, err = c.stdout.Write(text)
	return err
}

// tellCut corrects the pagination of a list of which items were cut.
func (c *console) tellCut(data json.RawMessage) {
	var list struct {
		Items []json.RawMessage `json:"items"`
	}
	p := c.meta.Pagination
	if p != nil && json.Unmarshal(data, &list) == nil && len(list.Items) < p.Returned {
		p.Returned, p.Truncated = len(list.Items), true
	}
}

// shrink encodes data, filtered by --fields and cut to --max-output.
func (c *console) shrink(data any) (json.RawMessage, outcome.Cut, error) {
	text, err := encode(data)
	if err != nil {
		return nil, outcome.Cut{}, err
	}
	if c.globals.Fields != "" {
		if text, err = outcome.Select(text, strings.Split(c.globals.Fields, ",")); err != nil {
			return nil, outcome.Cut{}, err
		}
	}
	short, cut := outcome.Shrink(text, c.globals.MaxOutput)
	return short, cut, nil
}

// encode encodes a value as one line. Control characters that steer a terminal are
// taken out of its texts.
func encode(v any) ([]byte, error) {
	text, err := outcome.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encoding the result: %w", err)
	}
	return outcome.CleanJSON(append(text, '\n')), nil
}

// line writes an event of a stream: a JSON line, or what show makes of it for
// people. Nothing is written once the command is over.
func (c *console) line(event any, show func(*page)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return errClosed
	}
	if c.form == "json" {
		text, _, err := c.shrink(event)
		if err != nil {
			return err
		}
		_, err = c.stdout.Write(append(bytes.TrimRight(text, "\n"), '\n'))
		return err
	}
	pg := newPage(c.stdout, c.width, c.coloured(c.stdout))
	show(pg)
	return pg.flush()
}

var errClosed = errors.New("the command is over")

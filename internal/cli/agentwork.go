package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/outcome"
)

const (
	// killAfter is how long a program has to end after SIGTERM.
	killAfter = 5 * time.Second
	// againExit is the exit code that asks for another attempt (sysexits: EX_TEMPFAIL).
	againExit = 75
	// maxWorkLine is the longest line of a program, in bytes.
	maxWorkLine = 1 << 20
	// maxWorkOutput is how much a program may print for one stretch of work, in bytes.
	maxWorkOutput = 4 << 20
	// stderrTail is how much of a program's standard error is kept, in bytes.
	stderrTail = 4 << 10
)

// workRequest is what a program gets on standard input.
type workRequest struct {
	Method   string          `json:"method"` // task.create, chat.start or chat.message
	Agent    string          `json:"agent"`
	From     string          `json:"from"`
	TaskID   string          `json:"taskId,omitempty"`
	ChatID   string          `json:"chatId,omitempty"`
	Text     string          `json:"text"` // of message
	Message  arc.Message     `json:"message"`
	History  []arc.Message   `json:"history"`
	Attempt  int             `json:"attempt,omitempty"`
	Priority arc.Priority    `json:"priority,omitempty"`
	Metadata json.RawMessage `json:"metadata,omitzero"`
	TraceID  string          `json:"traceId,omitempty"`
}

// work runs the program.
//
//	work
//	├─ stdin    the request, one line
//	├─ stdout   workOutput: lines → Work
//	├─ stderr   its end is kept
//	└─ end      exit code; the whole group goes when the work is canceled
func (w *workers) work(ctx context.Context, work *client.Work) error {
	request, err := jsonv2.Marshal(workRequest{
		Method: work.Method, Agent: work.Agent, From: work.From, TaskID: work.TaskID, ChatID: work.ChatID,
		Text: work.Message.Text(), Message: work.Message, History: work.History, Attempt: work.Attempt,
		Priority: work.Priority, Metadata: work.Metadata, TraceID: work.TraceID,
	})
	if err != nil {
		return fmt.Errorf("encoding the request: %w", err)
	}
	working, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	cmd := shellCommand(working, w.command)
	out := &workOutput{ctx: working, work: work, stop: stop, warn: w.note}
	tail := &tailWriter{}
	cmd.Stdin = bytes.NewReader(append(request, '\n'))
	cmd.Stdout, cmd.Stderr = out, tail
	cmd.Env = workEnvironment(w.env, work)
	cmd.WaitDelay = killAfter
	ownGroup(cmd)
	err = cmd.Run()
	killGroup(cmd)
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case out.fault != nil:
		return out.fault
	}
	if err := out.finish(); err != nil {
		return err
	}
	return w.ended(err, out, tail)
}

// findCommand tells whether there is what the first word of a command line names. What
// only the shell can tell is left to it.
func findCommand(ctx context.Context, line string) error {
	word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
	if strings.ContainsFunc(word, func(r rune) bool {
		return r != '/' && r != '.' && r != '-' && r != '_' && r != '+' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	}) {
		return nil
	}
	if _, err := exec.LookPath(word); err == nil || errors.Is(err, exec.ErrDot) {
		return nil
	}
	if runtime.GOOS != "windows" && shellCommand(ctx, "command -v "+word).Run() == nil { // the shell's own
		return nil
	}
	return outcome.Invalid(outcome.Problem{Code: outcome.Validation, Field: "--exec", Input: shorten(word), Message: "begins with a command that is not there, or that may not be run"})
}

// ended tells what the end of the program means.
func (w *workers) ended(err error, out *workOutput, tail *tailWriter) error {
	exit, exited := errors.AsType[*exec.ExitError](err)
	switch {
	case out.failure != nil:
		return out.failure
	case err == nil, errors.Is(err, exec.ErrWaitDelay), errors.Is(err, io.ErrClosedPipe), !exited && brokenPipe(err):
		// It ended well, and left its input unread or something running.
	case exited && exit.ExitCode() == againExit:
		return client.Retry(fmt.Errorf("the program asks for another attempt\n%s", tail))
	default:
		return fmt.Errorf("the program ended with %w\n%s", err, tail)
	}
	if out.question != nil {
		return out.work.NeedInput(out.ctx, *out.question)
	}
	return nil
}

// workVariables are set for the program, or not there.
var workVariables = []string{
	"ARCD_TASK_ID", "ARCD_CHAT_ID", "ARCD_PARENT_TASK", "ARCD_AGENT", "ARC_TRACE_ID", "ARCD_TRACE_ID", "TOOL_TRACE_ID", "TRACEPARENT",
}

// workerEnvironment gives the environment of all programs: that of arcd, with the
// server and the file of the token that it was given as flags, so that arcd within a
// program calls the same server.
func workerEnvironment(c *console, server string) []string {
	env := withoutSecrets(withoutVariables(c.env, append([]string{"ARCD_SERVER"}, workVariables...)...))
	if name, ok := strings.CutPrefix(c.globals.Token, "env:"); ok {
		env = withoutVariables(env, name)
	}
	env = append(env, "ARCD_SERVER="+server)
	path, ok := strings.CutPrefix(c.globals.Token, "file:")
	if !ok {
		return env
	}
	if whole, err := filepath.Abs(path); err == nil {
		env = append(withoutVariables(env, "ARCD_TOKEN", "ARCD_TOKEN_FILE"), "ARCD_TOKEN_FILE="+whole)
	}
	return env
}

// withoutSecrets gives an environment without the secrets of arcd itself. Files that
// hold them are named in it all the same: who may read them, the program is told by
// the system.
func withoutSecrets(env []string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		if !strings.HasPrefix(name, "ARCD_") {
			return false
		}
		for _, end := range []string{"TOKEN", "SECRET", "PASSWORD", "_KEY", "_KEYS", "SECRET_HASH", "HEADERS"} {
			if strings.HasSuffix(name, end) {
				return true
			}
		}
		return false
	})
}

// withoutVariables gives an environment without some variables.
func withoutVariables(env []string, names ...string) []string {
	return slices.DeleteFunc(slices.Clone(env), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return slices.Contains(names, name)
	})
}

// workEnvironment gives the environment of one program: what the work is, too.
func workEnvironment(env []string, work *client.Work) []string {
	own := slices.Clone(env)
	for _, v := range [][2]string{
		{"ARCD_TASK_ID", work.TaskID}, {"ARCD_PARENT_TASK", work.TaskID}, {"ARCD_CHAT_ID", work.ChatID},
		{"ARCD_AGENT", work.Agent}, {"ARC_TRACE_ID", work.TraceID}, {"TRACEPARENT", work.TraceParent},
	} {
		if v[1] != "" && !strings.ContainsRune(v[1], 0) {
			own = append(own, v[0]+"="+v[1])
		}
	}
	return own
}

// workOutput reads what the program prints. It is used by one goroutine at a time.
type workOutput struct {
	ctx  context.Context
	work *client.Work
	stop context.CancelCauseFunc // ends the program
	warn func(format string, args ...any)

	line     []byte // begun
	size     int    // of all lines
	spoke    bool   // a line of text was written, and the next one begins with a line break
	question *arc.Message
	failure  error // that the program reports
	fault    error // why its output is not read any more
	warned   bool  // that a line is not understood
}

// Write takes what was printed.
func (o *workOutput) Write(b []byte) (int, error) {
	if o.size += len(b); o.size > maxWorkOutput {
		return 0, o.refuse(fmt.Errorf("the program printed more than %d bytes", maxWorkOutput))
	}
	rest := b
	for {
		line, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(o.line)+len(line) > maxWorkLine {
			return 0, o.refuse(fmt.Errorf("the program printed a line of more than %d bytes", maxWorkLine))
		}
		o.line = append(o.line, line...)
		if !whole {
			return len(b), nil
		}
		if err := o.take(); err != nil {
			return 0, o.refuse(err)
		}
		rest = after
	}
}

// refuse ends the program because of what it printed.
func (o *workOutput) refuse(err error) error {
	o.fault = err
	o.stop(err)
	return err
}

// finish takes a last line without an end.
func (o *workOutput) finish() error {
	if len(o.line) == 0 {
		return nil
	}
	return o.take()
}

// workLine is a line that is more than text.
type workLine struct {
	Text     *string         `json:"text"`
	Part     *arc.Part       `json:"part"`
	Artifact *arc.Artifact   `json:"artifact"`
	Progress *float64        `json:"progress"`
	Note     string          `json:"note"`
	Input    json.RawMessage `json:"input"`
	Error    json.RawMessage `json:"error"`
}

// take takes one line.
func (o *workOutput) take() error {
	line := bytes.TrimSuffix(o.line, []byte("\r"))
	o.line = o.line[:0]
	var l workLine
	if !bytes.HasPrefix(bytes.TrimSpace(line), []byte("{")) {
		return o.text(string(line))
	}
	if err := jsonv2.Unmarshal(line, &l, jsonv2.RejectUnknownMembers(true)); err != nil {
		o.misread(line, err)
		return o.text(string(line))
	}
	switch {
	case l.Text != nil:
		return o.work.Write(o.ctx, *l.Text)
	case l.Part != nil:
		return o.work.WritePart(o.ctx, *l.Part)
	case l.Artifact != nil:
		err := o.work.Artifact(o.ctx, *l.Artifact)
		if err != nil && o.ctx.Err() == nil {
			o.warn("%s: the artifact %q cannot be added: %v", o.of(), l.Artifact.Name, err)
		}
		return err
	case l.Progress != nil:
		_ = o.work.Progress(o.ctx, int(min(max(*l.Progress, 0), 100)), l.Note) // a courtesy; what comes of the work counts
	case len(l.Input) > 0:
		question := messageOf(l.Input)
		o.question = &question
	case len(l.Error) > 0:
		o.failure = failureOf(l.Error)
	default:
		return o.text(string(line))
	}
	return nil
}

// of names the work in a warning.
func (o *workOutput) of() string { return cmp.Or(o.work.TaskID, o.work.ChatID) }

// misread warns, once for each program, of a line that looks like more than text and is
// taken for text.
func (o *workOutput) misread(line []byte, err error) {
	var object map[string]json.RawMessage
	if o.warned || jsonv2.Unmarshal(line, &object) != nil {
		return
	}
	o.warned = true
	what := "its members"
	if wrong, ok := errors.AsType[*jsonv2.SemanticError](err); ok && wrong.JSONPointer != "" {
		what = "the member " + shorten(string(wrong.JSONPointer))
	}
	o.warn("%s: an object that the program printed goes out as text: arcd does not understand %s", o.of(), what)
}

// text takes a line of text.
func (o *workOutput) text(line string) error {
	line = strings.ToValidUTF8(line, "\uFFFD")
	if o.spoke {
		line = "\n" + line
	}
	o.spoke = true
	return o.work.Write(o.ctx, line)
}

// messageOf reads a question: a text or a message.
func messageOf(raw json.RawMessage) arc.Message {
	var text string
	if jsonv2.Unmarshal(raw, &text) == nil {
		return arc.Text(arc.RoleAgent, text)
	}
	var m arc.Message
	if jsonv2.Unmarshal(raw, &m) == nil && len(m.Parts) > 0 {
		return m
	}
	return arc.Text(arc.RoleAgent, string(raw))
}

// failureOf reads a failure: a text, or code, message and reason.
func failureOf(raw json.RawMessage) error {
	said := struct {
		Code    arc.Code `json:"code"`
		Message string   `json:"message"`
		Reason  string   `json:"reason"`
	}{Code: arc.CodeTaskFailed, Reason: "agent_error"}
	if jsonv2.Unmarshal(raw, &said.Message) != nil && jsonv2.Unmarshal(raw, &said) != nil {
		said.Message = "the agent failed"
	}
	return arc.Errorf(said.Code, "%s", said.Message).With("reason", said.Reason).With("retryable", false)
}

// tailWriter keeps the end of what is written.
type tailWriter struct{ b []byte }

// Write takes it.
func (t *tailWriter) Write(b []byte) (int, error) {
	t.b = append(t.b, b[max(0, len(b)-stderrTail):]...)
	t.b = t.b[max(0, len(t.b)-stderrTail):]
	return len(b), nil
}

// String gives the end.
func (t *tailWriter) String() string { return strings.ToValidUTF8(string(t.b), "\uFFFD") }

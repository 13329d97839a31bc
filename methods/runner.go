package methods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
)

// A Runner does the work of an agent that lives in this process.
//
// Run is called once for each stretch of work: a task that was created, a task
// whose caller answered a question, or one turn of a chat. What comes of it goes
// through the methods of t. When Run returns
//
//   - nil, a task is COMPLETED and a chat turn is done;
//   - the error of [Turn.NeedInput], a task waits in INPUT_REQUIRED; Run is called
//     again, with the longer history, when its caller has answered;
//   - the error of [Retry], a task waits and is run again, up to
//     Config.MaxAttempts times;
//   - an [*arc.Error], a task is FAILED and a chat turn ends with that code and
//     message, which the caller sees;
//   - any other error, the same with a fixed message; its text is only logged.
//
// ctx ends when the task is canceled, its deadline passes, the chat's caller is
// gone, or the server stops. Whatever Run says after that is dropped, and five
// seconds later the work ends without it; Run then still takes one of the
// agent's places until it returns. After a crash a task is run again from the
// start, so work with outside effects should look at t.Attempt. Run is called
// concurrently for different tasks.
type Runner interface {
	Run(ctx context.Context, t *Turn) error
}

// RunnerFunc makes a Runner of a function.
type RunnerFunc func(ctx context.Context, t *Turn) error

// Run calls f.
func (f RunnerFunc) Run(ctx context.Context, t *Turn) error { return f(ctx, t) }

// Turn is one stretch of an agent's work: what is asked, and the way to answer.
// Its methods may be called from several goroutines until Run returns. They give
// an error when the work has ended under the runner; the runner should then
// return.
//
// What is handed over is stored in groups, a little later than the call, and at
// the latest when Run has returned. Pieces of a chat's answer reach a caller
// who streams at once.
type Turn struct {
	Task    *arc.Task     // the task; nil in a chat
	Chat    *arc.Chat     // the chat; nil in a task
	Agent   string        // the agent that is asked
	From    string        // the agent that asks
	TraceID string        // may be ""
	History []arc.Message // all messages so far, oldest first
	Attempt int           // 1 for the first time a task is begun

	w *work
}

// Message gives the last message of the caller: what to answer.
func (t *Turn) Message() arc.Message {
	for i := len(t.History) - 1; i >= 0; i-- {
		if t.History[i].Role == arc.RoleUser {
			return t.History[i]
		}
	}
	if len(t.History) == 0 {
		return arc.Message{}
	}
	return t.History[len(t.History)-1]
}

// Write adds text to the agent's answer. In a chat it is streamed as a piece; in
// a task the pieces become one message at the end.
func (t *Turn) Write(ctx context.Context, text string) error {
	return t.w.answer(ctx, arc.TextPart(text))
}

// WritePart adds a part to the agent's answer, like Write.
func (t *Turn) WritePart(ctx context.Context, p arc.Part) error {
	if err := checkOwnPart(&p); err != nil {
		return err
	}
	return t.w.answer(ctx, p)
}

// Artifact adds an artifact to a task; in a chat it is an error. An artifact
// without id gets one that is the same for the n-th artifact of each attempt,
// and one whose id the task already has is dropped, so that a task that is run
// again has no doubles.
func (t *Turn) Artifact(ctx context.Context, a arc.Artifact) error {
	if t.Task == nil {
		return errors.New("methods: a chat has no artifacts")
	}
	if a.Name == "" || len(a.Parts) == 0 {
		return errors.New("methods: an artifact needs a name and at least one part")
	}
	for i := range a.Parts {
		if err := checkOwnPart(&a.Parts[i]); err != nil {
			return err
		}
	}
	return t.w.artifact(ctx, a)
}

// Progress says how far a task is, 0 to 100 percent, with a note. In a chat it
// does nothing.
func (t *Turn) Progress(ctx context.Context, percent int, note string) error {
	if t.Task == nil {
		return ctx.Err()
	}
	return t.w.progress(ctx, arc.Progress{Percent: min(max(percent, 0), 100), Note: valid(note)})
}

// Receive waits for the next message that the caller sends while the turn runs.
func (t *Turn) Receive(ctx context.Context) (arc.Message, error) { return t.w.receive(ctx) }

// NeedInput gives the error with which Run says that the task needs an answer
// to question before it can go on: return t.NeedInput(…). In a chat the question
// is simply the answer, and the error is nil.
func (t *Turn) NeedInput(ctx context.Context, question arc.Message) error {
	if t.Task == nil {
		for _, p := range question.Parts {
			if err := t.WritePart(ctx, p); err != nil {
				return err
			}
		}
		return nil
	}
	if question.Role == "" {
		question.Role = arc.RoleAgent
	}
	if err := checkMessage("question", &question, arc.CodeInternal); err != nil {
		return err
	}
	for i := range question.Parts {
		if err := checkOwnPart(&question.Parts[i]); err != nil {
			return err
		}
	}
	return &inputError{question}
}

type inputError struct{ question arc.Message }

func (*inputError) Error() string { return "methods: the task needs input" }

// Retry gives the error with which Run says that a task should be run again
// after a while. Without attempts left the task fails with err.
func Retry(err error, after time.Duration) error { return &retryError{err, after} }

type retryError struct {
	err   error
	after time.Duration
}

func (e *retryError) Error() string { return "methods: to be retried: " + e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// valid gives a runner's text as the JSON of a store can hold it.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

// checkOwnPart checks a part that a runner made.
func checkOwnPart(p *arc.Part) error {
	if issue, member := checkPart(p); issue != "" {
		return fmt.Errorf("methods: part%s %s", member, issue)
	}
	content := jsontext.Value(slices.Clone(p.Content))
	if !content.IsValid() {
		return errors.New("methods: part.content must be JSON")
	}
	if err := content.Compact(); err != nil { // streams need it on one line
		return err
	}
	p.Content = json.RawMessage(content)
	return nil
}

// Why a turn ends under its runner; the causes of its context.
var (
	errCanceled = errors.New("the task was canceled")
	errClosed   = errors.New("the chat was closed")
	errGone     = errors.New("the caller is gone")
	errDeadline = errors.New("the deadline has passed")
	errLost     = errors.New("the lease was lost")
	errDraining = errors.New("the server is stopping")
	errBusy     = errors.New("another turn is running")
	errVanished = errors.New("the runner ended its goroutine") // runtime.Goexit
)

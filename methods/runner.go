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

// A Runner does the work of an agent: one that lives in this process, or a carrier
// that has an agent elsewhere do it.
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
//   - the error of [Unreachable], a task waits until its agent can be reached, and
//     its attempt does not count; a chat turn ends with -41003;
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

	// What follows is for carriers.

	Streams     bool   // the chat's caller reads the answer piece by piece
	TraceParent string // W3C traceparent of the work; may be ""
	Hops        int    // of the calls that the agent makes for this work
	Binding     Binding
	// Notice is how the agent said that the task ended, by task.notification, if it did.
	Notice *arc.NotifyTaskParams

	w *work
}

// Binding is what a carrier has to know of a task or chat after a restart. It is
// stored with it, and kept from one turn to the next.
type Binding struct {
	// ID is that of the task or chat at the agent's own server; "": it has none yet.
	ID string `json:"id,omitempty"`
	// Told is how many of the caller's messages the agent has been given.
	Told int `json:"told,omitempty"`
	// Heard is how many of the agent's messages have been taken over, by its own count.
	Heard int `json:"heard,omitempty"`
	// Again is how often the agent has forgotten the work, and was given it anew.
	Again int `json:"again,omitempty"`
}

// Bind stores a binding: of a task at once, of a chat with what the agent says next.
// Heard is left as it is, or with another ID begins from 0. It is an error (-41005) if
// the same agent has the ID for another task: an agent that answers for somebody
// else's work must not get at it.
func (t *Turn) Bind(ctx context.Context, b Binding) error {
	if err := t.w.bind(ctx, b); err != nil {
		return err
	}
	if b.ID == t.Binding.ID {
		b.Heard = t.Binding.Heard
	}
	t.Binding = b
	return nil
}

// Hear takes over the n-th message of the agent, counted from 1 by the agent's own
// server, if it was not taken over before. In a chat use Write.
func (t *Turn) Hear(ctx context.Context, n int, m arc.Message) error {
	if t.Task == nil {
		return errors.New("methods: a chat's answer is written")
	}
	m.Role = arc.RoleAgent
	if err := checkMessage("message", &m, arc.CodeInternal); err != nil {
		return err
	}
	for i := range m.Parts {
		if err := checkOwnPart(&m.Parts[i]); err != nil {
			return err
		}
	}
	return t.w.hear(ctx, n, m)
}

// ErrNudged is what [Turn.Receive] gives when the agent has said by
// task.notification that there is something to ask for.
var ErrNudged = errors.New("methods: the agent has something to tell")

// Unreachable gives the error with which Run says that the agent cannot be reached.
// The task waits and is tried again with growing pauses, at least after, until
// Config.Patience is over; it then fails with -41003.
func Unreachable(err error, after time.Duration) error { return &unreachableError{err, after} }

type unreachableError struct {
	err   error
	after time.Duration
}

func (e *unreachableError) Error() string {
	return "methods: the agent cannot be reached: " + e.err.Error()
}
func (e *unreachableError) Unwrap() error { return e.err }

// CanceledByAgent gives the error with which Run says that the agent itself gave the
// task up, without a failure: the task is CANCELED.
func CanceledByAgent(reason string) error { return &givenUpError{reason} }

type givenUpError struct{ reason string }

func (*givenUpError) Error() string { return "methods: the agent gave the task up" }

// Reached says that the agent has just answered: how long it may be away is counted
// from here again.
func (t *Turn) Reached() { t.w.reached.Store(true) }

// Unwanted tells, once the context of Run has ended, whether nobody wants the work
// any more: it was canceled, its time is over, or its reader is gone. Otherwise
// somebody, perhaps another process, goes on with it.
func Unwanted(ctx context.Context) bool {
	cause := context.Cause(ctx)
	return slices.ContainsFunc([]error{errCanceled, errClosed, errGone, errDeadline}, func(err error) bool { return errors.Is(cause, err) })
}

// WhyUnwanted gives, for an agent elsewhere, why nobody wants the work of a context
// any more: the reason of who canceled it, if there is one.
func WhyUnwanted(ctx context.Context) string {
	cause := context.Cause(ctx)
	if c, ok := errors.AsType[*canceledError](cause); ok && c.reason != "" {
		return c.reason
	}
	if cause == nil {
		return ""
	}
	return cause.Error()
}

// canceledError is errCanceled with the reason of who canceled.
type canceledError struct{ reason string }

func (*canceledError) Error() string        { return errCanceled.Error() }
func (*canceledError) Is(target error) bool { return target == errCanceled }

// A ChatEnder is a Runner that wants to know that a chat was closed: EndChat is
// called once, after the fact, for a chat with a Binding. ctx ends after ten seconds.
type ChatEnder interface {
	EndChat(ctx context.Context, chatID string, b Binding, reason string)
}

// A TaskEnder is a Runner that wants to know that nobody wants a task any more that it
// does not work on just then, because it waits for its caller or for the agent: EndTask
// is called once, after the fact, for a task with a Binding. t is only to be read. ctx
// ends after ten seconds.
type TaskEnder interface {
	EndTask(ctx context.Context, t *Turn)
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
	return t.w.progress(ctx, arc.Progress{Percent: min(max(percent, 0), 100), Note: brief(note)})
}

// Receive waits for the next message that the caller sends while the turn runs. To
// carriers it also gives [ErrNudged].
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

package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
)

// Work is one stretch of work for an [Agent]: a task that was created, a task whose
// caller answered a question, or one turn of a chat. What comes of it is what Handle
// returns:
//
//   - nil: a task is COMPLETED, a chat turn is done, with what was written;
//   - the error of [Work.NeedInput]: a task waits in INPUT_REQUIRED, and is handed
//     over again with the longer history when its caller has answered;
//   - the error of [Retry]: a task is handed over again after a moment, as often as
//     the server allows;
//   - an [*arc.Error]: a task is FAILED and a chat turn ends with that code and
//     message, which the caller sees;
//   - any other error, the same with a fixed message; Agent.Failed gets it.
//
// The context of Handle ends when the work is canceled, the connection is lost, or
// the agent's time is over; its cause tells which. Calls that are made with it
// belong to the same trace; those of a client from [Work.Client] also name the task
// as the one that they are made for. After a lost connection the same work is handed
// over again from the start, perhaps elsewhere, so work with effects outside should
// look at Attempt. Its methods may be called from several goroutines until Handle
// returns.
type Work struct {
	Method string // task.create, chat.start or chat.message
	Agent  string // the agent that is asked
	From   string // the agent that asks
	TaskID string // "" in a chat
	ChatID string // "" in a task

	Message  arc.Message     // what to answer: the last that the caller said
	History  []arc.Message   // the newest messages, oldest first, Message among them
	Priority arc.Priority    // of a task
	Metadata json.RawMessage // of the task or chat; nil: none
	Deadline time.Time       // of a task; zero: none
	Attempt  int             // 1 for the first time a task is begun

	TraceID     string // may be ""
	TraceParent string // W3C traceparent; may be ""
	Hops        int    // through how many agents the work has come

	conn    *agentConn
	id      jsonrpc2.ID // of the server's call
	stream  bool        // pieces are sent at once
	inbox   chan arc.Message
	cancel  context.CancelCauseFunc
	earlier int // messages of the agent in the history

	mu        sync.Mutex // guards what follows
	parts     []arc.Part // written so far
	size      int        // of them in bytes
	artifacts int
	over      bool
}

// end ends the work's context.
func (w *Work) end(cause error) { w.cancel(cause) }

// Receive waits for the next message that the caller sends while the work goes on.
func (w *Work) Receive(ctx context.Context) (arc.Message, error) {
	select {
	case m := <-w.inbox:
		return m, nil
	case <-ctx.Done():
		return arc.Message{}, context.Cause(ctx)
	}
}

// Write adds text to the answer. In a chat it is streamed as a piece; in a task the
// pieces become one message at the end.
func (w *Work) Write(ctx context.Context, text string) error {
	return w.WritePart(ctx, arc.TextPart(text))
}

// WritePart adds a part to the answer, like Write.
func (w *Work) WritePart(ctx context.Context, p arc.Part) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.stream {
		return w.piece(ctx, p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return errOver
	}
	if w.size += len(p.Content); !w.conn.fits(w.size) {
		return errFrame
	}
	w.parts = appendPart(w.parts, p)
	return nil
}

// errOver says that Handle has returned already.
var errOver = errors.New("the work is over")

// piece sends a piece of a chat's answer.
func (w *Work) piece(ctx context.Context, p arc.Part) error {
	w.mu.Lock()
	defer w.mu.Unlock() // so that no piece follows the end
	switch {
	case w.over:
		return errOver
	case !w.conn.fits(len(p.Content)): // it would end the connection, and all work on it
		return errFrame
	}
	chunk := arc.ChatChunk{ChatID: w.ChatID, Message: arc.Message{Role: arc.RoleAgent, Parts: []arc.Part{p}}}
	err := w.conn.conn.Notify(ctx, "stream", map[string]any{"id": w.id, "event": "stream", "data": chunk})
	if err != nil {
		return fmt.Errorf("sending a piece: %w", err)
	}
	return nil
}

// appendPart appends a part; text is put behind text.
func appendPart(parts []arc.Part, p arc.Part) []arc.Part {
	if n := len(parts); n > 0 && plain(p) && plain(parts[n-1]) {
		// Both are JSON texts: the second without its opening quote continues the first
		// without its closing one.
		last := &parts[n-1]
		last.Content = append(last.Content[:len(last.Content)-1], p.Content[1:]...)
		return parts
	}
	p.Content = slices.Clone(p.Content)
	return append(parts, p)
}

func plain(p arc.Part) bool { return p.Type == arc.PartText && len(p.Extra) == 0 && len(p.Content) > 1 }

// Artifact adds an artifact to a task, at once; in a chat it is an error. One without
// id gets one that is the same for the n-th artifact of each attempt, and one whose
// id the task already has is dropped, so that a task that is begun again has no
// doubles. It needs the scope arc.task.notify.
func (w *Work) Artifact(ctx context.Context, a arc.Artifact) error {
	if w.TaskID == "" {
		return errors.New("a chat has no artifacts")
	}
	w.mu.Lock()
	w.artifacts++
	if a.ID == "" {
		a.ID = fmt.Sprintf("artifact-%d-%d", w.earlier, w.artifacts)
	}
	w.mu.Unlock()
	return w.notify(ctx, arc.NewArtifactEvent, map[string]any{"message": "artifact added", "artifact": a})
}

// Progress says how far a task is, 0 to 100 percent, with a note. In a chat it does
// nothing. It needs the scope arc.task.notify.
func (w *Work) Progress(ctx context.Context, percent int, note string) error {
	if w.TaskID == "" {
		return ctx.Err()
	}
	return w.notify(ctx, arc.ProgressEvent, map[string]any{"message": note, "percent": min(max(percent, 0), 100), "note": note})
}

// notify tells the server something about the task (task.notification).
func (w *Work) notify(ctx context.Context, event arc.EventType, data map[string]any) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	data["status"] = arc.TaskWorking
	return w.conn.call(ctx, "task.notification", w.Agent, map[string]any{
		"taskId": w.TaskID, "event": event, "timestamp": arc.At(time.Now()), "data": data,
	}, nil)
}

// NeedInput gives the error with which Handle says that the task needs an answer to
// question before it can go on. In a chat the question is simply the answer, and the
// error is nil.
func (w *Work) NeedInput(ctx context.Context, question arc.Message) error {
	if w.TaskID != "" {
		question.Role = arc.RoleAgent
		return &needInputError{question}
	}
	for _, p := range question.Parts {
		if err := w.WritePart(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

type needInputError struct{ question arc.Message }

func (*needInputError) Error() string { return "the task needs input" }

// IsQuestion tells whether an error is that of [Work.NeedInput]: no failure.
func IsQuestion(err error) bool {
	_, asks := errors.AsType[*needInputError](err)
	return asks
}

// Retry gives the error with which Handle says that a task should be begun again. Of
// a chat turn it is the end, with an error that is retryable.
func Retry(err error) error { return &retryError{err} }

type retryError struct{ err error }

func (e *retryError) Error() string { return "to be begun again: " + e.err.Error() }
func (e *retryError) Unwrap() error { return e.err }

// Client gives a client that calls the same server as this agent: with its id as the
// requestAgent, the agent's token, and the task as the one that other tasks and
// chats are made for.
func (w *Work) Client() *Client {
	of := w.conn.agent.Client
	c := &Client{
		URL: of.URL, Token: of.Token, AllowHTTP: of.AllowHTTP, Agent: w.Agent, TraceID: w.TraceID, JSONRPC: of.JSONRPC,
		HTTP: of.HTTP, MaxAnswer: of.MaxAnswer, Attempts: of.Attempts, Retries: of.Retries, work: w.TaskID, hops: w.Hops,
	}
	if web, err := of.web(); err == nil { // one set of connections for all; else the calls fail with this error
		c.HTTP = web
	}
	return c
}

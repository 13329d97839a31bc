package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
)

// inboxLength is how many messages wait for a handler that does not receive. They
// are in the history the next time.
const inboxLength = 64

// serverCall is a call of the server as it stands in the frame.
type serverCall struct {
	Method      string     `json:"method"`
	From        string     `json:"requestAgent"`
	To          string     `json:"targetAgent"`
	TraceID     string     `json:"traceId"`
	TraceParent string     `json:"traceparent"`
	Hops        int        `json:"hops"`
	Attempt     int        `json:"attempt"`
	Params      callParams `json:"params"`
}

// callParams are the params of all calls that the server makes.
type callParams struct {
	ID             json.RawMessage `json:"id"` // of agent.cancel: of the call
	TaskID         string          `json:"taskId"`
	ChatID         string          `json:"chatId"`
	InitialMessage *arc.Message    `json:"initialMessage"`
	Message        *arc.Message    `json:"message"`
	History        []arc.Message   `json:"history"`
	Priority       arc.Priority    `json:"priority"`
	Metadata       json.RawMessage `json:"metadata"`
	Stream         bool            `json:"stream"`
	Reason         string          `json:"reason"`
}

// Handle takes a call of the server. It never waits.
func (c *agentConn) Handle(_ context.Context, _ *jsonrpc2.Conn, req *jsonrpc2.Request) {
	var call serverCall
	if err := jsonv2.Unmarshal(*req.Params, &call); err != nil {
		if !req.Notif {
			refusal := arc.Errorf(arc.CodeInvalidParams, "the call cannot be read").With("retryable", false)
			c.start(func() { c.reply(req.ID, nil, refusal) })
		}
		return
	}
	switch call.Method {
	case "agent.move":
		c.moved.Do(func() { close(c.moving) })
	case "agent.cancel":
		c.callOff(func(w *Work) bool { return w.id.String() == string(call.Params.ID) })
	case "task.create", "chat.start", "chat.message":
		c.take(req.ID, &call)
	default:
		result, failure := c.about(&call)
		if !req.Notif {
			c.start(func() { c.reply(req.ID, result, failure) })
		}
	}
}

// about answers what the server says about work, or asks.
func (c *agentConn) about(call *serverCall) (any, *arc.Error) {
	p := &call.Params
	mine := func(w *Work) bool { return w.TaskID == p.TaskID && w.Agent == call.To }
	switch call.Method {
	case "task.send":
		w := c.find(mine)
		if w == nil || p.Message == nil {
			return nil, noSuchTask(p.TaskID)
		}
		select {
		case w.inbox <- *p.Message:
			return arc.SuccessResult{Success: true, Message: "taken"}, nil
		default:
			return nil, arc.Errorf(arc.CodeTaskFailed, "the agent does not read its messages").With("reason", "inbox_full").With("retryable", true)
		}
	case "task.cancel":
		if !c.callOff(mine) {
			return nil, noSuchTask(p.TaskID)
		}
		return taskAnswer{"task", answeredTask{TaskID: p.TaskID, Status: arc.TaskCanceled}}, nil
	case "task.info":
		if c.find(mine) == nil {
			return nil, noSuchTask(p.TaskID)
		}
		return taskAnswer{"task", answeredTask{TaskID: p.TaskID, Status: arc.TaskWorking}}, nil
	case "chat.end":
		return chatAnswer{"chat", answeredChat{ChatID: p.ChatID, Status: arc.ChatClosed}}, nil
	}
	return nil, arc.Errorf(arc.CodeMethodNotFound, "the agent has no method %q", call.Method).With("retryable", false)
}

func noSuchTask(id string) *arc.Error {
	return arc.Errorf(arc.CodeTaskNotFound, "the agent does not work on this task now").
		With("taskId", id).With("reason", "task_not_found").With("retryable", false)
}

// callOff cancels work; false if there is none that matches.
func (c *agentConn) callOff(match func(*Work) bool) bool {
	w := c.find(match)
	if w != nil {
		w.end(ErrCanceled)
	}
	return w != nil
}

// The results of the calls that are work.
type (
	taskAnswer struct {
		Type string       `json:"type"` // "task"
		Task answeredTask `json:"task"`
	}
	answeredTask struct {
		TaskID   string         `json:"taskId"`
		Status   arc.TaskStatus `json:"status"`
		Error    *arc.TaskError `json:"error,omitempty"`
		Messages []arc.Message  `json:"messages,omitempty"`
	}
	chatAnswer struct {
		Type string       `json:"type"` // "chat"
		Chat answeredChat `json:"chat"`
	}
	answeredChat struct {
		ChatID  string         `json:"chatId"`
		Status  arc.ChatStatus `json:"status"`
		Message *arc.Message   `json:"message,omitempty"`
	}
)

// take has the handler do work.
func (c *agentConn) take(id jsonrpc2.ID, call *serverCall) {
	p := &call.Params
	w := &Work{
		Method: call.Method, Agent: call.To, From: call.From, TaskID: p.TaskID, ChatID: p.ChatID, History: p.History,
		Priority: p.Priority, Metadata: p.Metadata, Attempt: call.Attempt,
		TraceID: call.TraceID, TraceParent: call.TraceParent, Hops: call.Hops,
		conn: c, id: id, stream: p.Stream && p.ChatID != "", inbox: make(chan arc.Message, inboxLength),
	}
	switch {
	case p.Message != nil:
		w.Message = *p.Message
	case p.InitialMessage != nil:
		w.Message = *p.InitialMessage
	}
	for _, m := range p.History {
		if m.Role != arc.RoleUser {
			w.earlier++
		}
	}
	w.Deadline = deadlineOf(p.Metadata)
	trace := Trace{ID: w.TraceID, Parent: w.TraceParent}
	if _, ok := TraceIDOf(trace.Parent); !ok {
		trace.Parent = ""
	}
	ctx, cancel := context.WithCancelCause(WithTrace(c.ctx, trace))
	w.cancel = cancel
	if !c.enter(w) {
		cancel(nil)
		busy := arc.Errorf(arc.CodeAgentCapacity, "the agent has more in hand than it takes").With("reason", "capacity").With("retryable", true)
		c.start(func() { c.reply(id, nil, busy) })
		return
	}
	c.start(func() {
		defer cancel(nil)
		defer c.leave(w)
		select {
		case c.room <- struct{}{}:
		case <-ctx.Done(): // the connection before this one had its hands full
			w.finish()
			c.conclude(ctx, w, context.Cause(ctx))
			return
		}
		err := c.handle(ctx, w)
		<-c.room
		w.finish()
		c.conclude(ctx, w, err)
	})
}

// deadlineOf reads the deadline that the server puts into a task's metadata.
func deadlineOf(metadata json.RawMessage) time.Time {
	var m struct {
		Deadline arc.Time `json:"deadline"`
	}
	if len(metadata) == 0 || json.Unmarshal(metadata, &m) != nil {
		return time.Time{}
	}
	return m.Deadline.Time
}

// finish lets nothing more be written.
func (w *Work) finish() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.over = true
}

// handle calls the handler and turns a panic into an error.
func (c *agentConn) handle(ctx context.Context, w *Work) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the handler panicked: %v\n%s", v, debug.Stack())
		}
	}()
	return c.agent.Handle(ctx, w)
}

// conclude tells the server what came of the work.
func (c *agentConn) conclude(ctx context.Context, w *Work, err error) {
	question, asks := errors.AsType[*needInputError](err)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrLost):
		return
	case errors.Is(cause, ErrDraining) && err != nil && !asks:
		c.reply(w.id, nil, arc.Errorf(arc.CodeAgentUnavailable, "the agent is stopping").With("reason", "draining").With("retryable", true))
		return
	case errors.Is(cause, ErrCanceled) && err != nil: // nobody reads the answer; it gives the place back
		c.reply(w.id, nil, arc.Errorf(arc.CodeTaskCanceled, "the work was canceled").With("reason", "canceled").With("retryable", false))
		return
	}
	if retry, ok := errors.AsType[*retryError](err); ok {
		c.report(w, retry.err)
		c.reply(w.id, nil, arc.Errorf(arc.CodeTaskFailed, "the agent asks for another attempt").With("reason", "retry").With("retryable", true))
		return
	}
	said := &arc.Message{Role: arc.RoleAgent, Parts: w.parts}
	if w.TaskID == "" {
		if len(w.parts) == 0 {
			said = nil
		}
		c.reply(w.id, chatAnswer{"chat", answeredChat{w.ChatID, arc.ChatActive, said}}, c.chatFailure(w, err))
		return
	}
	task := answeredTask{TaskID: w.TaskID, Status: arc.TaskCompleted}
	if len(w.parts) > 0 {
		task.Messages = []arc.Message{*said}
	}
	switch {
	case asks:
		task.Status = arc.TaskInputRequired
		task.Messages = append(task.Messages, question.question)
	case err != nil:
		task.Status, task.Error = arc.TaskFailed, c.taskFailure(w, err)
	}
	c.reply(w.id, taskAnswer{"task", task}, nil)
}

// report gives Agent.Failed an error whose text nobody else sees.
func (c *agentConn) report(w *Work, err error) {
	what, id := "task", w.TaskID
	if id == "" {
		what, id = "chat", w.ChatID
	}
	c.agent.failed(fmt.Errorf("%s %s: %w", what, id, err))
}

// taskFailure is what the caller of a task learns of an error.
func (c *agentConn) taskFailure(w *Work, err error) *arc.TaskError {
	if e, ok := errors.AsType[*arc.Error](err); ok {
		return &arc.TaskError{Code: e.Code, Message: e.Message, Reason: e.Reason()}
	}
	c.report(w, err)
	return &arc.TaskError{Code: arc.CodeTaskFailed, Message: "the agent failed", Reason: "agent_error"}
}

// chatFailure is what the caller of a chat learns of an error; nil for none. Codes
// that would say something of the connection itself are not used.
func (c *agentConn) chatFailure(w *Work, err error) *arc.Error {
	if err == nil {
		return nil
	}
	e, ok := errors.AsType[*arc.Error](err)
	if !ok {
		c.report(w, err)
		return arc.Errorf(arc.CodeInternal, "the agent failed").With("reason", "agent_error").With("retryable", false)
	}
	e = e.Clone()
	switch {
	case e.Code.Access(), e.Code.Envelope(), e.Code == arc.CodeAgentUnavailable, e.Code == arc.CodeAgentUnreachable, e.Code == arc.CodeAgentCapacity:
		e.Code = arc.CodeTaskFailed
	}
	return e
}

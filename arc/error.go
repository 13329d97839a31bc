package arc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"
)

// Error is the one error type of the module: what the caller may read (Code,
// Message, Details) and, kept apart, what only the log may read (the cause).
type Error struct {
	// Code says what kind of failure it is.
	Code Code
	// Problem is the kind of problem document that the failure is shown as. "": the
	// one of Code.
	Problem Problem
	// Status is the HTTP status, where this occurrence has another than its kind.
	// 0: that of the kind.
	Status int
	// Message is one English sentence for the caller. It never holds internals.
	Message string
	// Details is sent as an object, {} when nil. Keys are camelCase, besides
	// the stable words reason and retryable and the snake_case doubles that the
	// published clients read.
	Details map[string]any
	// RetryAfter, if positive, goes out as the Retry-After header.
	RetryAfter time.Duration

	cause error
}

// Errorf makes an Error with a public message. A %w verb is not understood;
// use [Error.Because] for the private cause.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// InvalidParam reports one bad param by name: -32602 with details
// {errors:[{field, issue}]}.
func InvalidParam(field, issue string) *Error {
	return Errorf(CodeInvalidParams, "invalid params: %s %s", field, issue).
		With("errors", []FieldIssue{{Field: field, Issue: issue}}).
		With("field", field).With("retryable", false)
}

// FieldIssue names a field of a request and says what is wrong with it.
type FieldIssue struct {
	Field string `json:"field"`
	Issue string `json:"issue"`
	// Value is what was there, where it is short and no secret; nil: it is not shown.
	// Problem documents of the registry have it.
	Value any `json:"-"`
}

// With sets one member of Details and returns e.
func (e *Error) With(key string, value any) *Error {
	if e.Details == nil {
		e.Details = make(map[string]any, 4)
	}
	e.Details[key] = value
	return e
}

// Because attaches the private cause, which [errors.Is] and [errors.As] can see
// and which no answer ever shows. It returns e.
func (e *Error) Because(err error) *Error {
	e.cause = err
	return e
}

// Error gives the code, the message and the private cause: it is a text for
// logs, not for answers.
func (e *Error) Error() string {
	s := fmt.Sprintf("%s (%d): %s", e.Code.Name(), e.Code, e.Message)
	if e.cause != nil {
		s += ": " + e.cause.Error()
	}
	return s
}

// Unwrap gives the private cause.
func (e *Error) Unwrap() error { return e.cause }

// Reason gives details.reason, the stable word for why; "" if there is none.
func (e *Error) Reason() string {
	r, _ := e.Details["reason"].(string)
	return r
}

// Clone gives a copy whose Details can be changed without touching e's.
func (e *Error) Clone() *Error {
	c := *e
	c.Details = maps.Clone(e.Details)
	return &c
}

// CodeOf gives the code of the first Error in err's chain; 0 for nil and
// [CodeInternal] for any error without a code.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	return Public(err).Code
}

// Public turns any error into what may leave the process. An Error keeps its
// code, message and details. The two context errors become a timeout of the
// agent. Anything else becomes -32603 with a fixed sentence; its own text stays
// behind [Error.Unwrap] for the log.
func Public(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Errorf(CodeAgentTimeout, "the call ended before an answer was there").
			With("reason", "timeout").With("retryable", true).Because(err)
	}
	return Errorf(CodeInternal, "an internal error occurred; the request id names it in the server's log").
		With("retryable", false).Because(err)
}

// ErrorObject is an Error on the wire of the ARC envelope.
type ErrorObject struct {
	Code    Code           `json:"code"`
	Message string         `json:"message"`
	Details map[string]any `json:"details"`
}

// Object gives the wire form of e. Its details always have a reason, by default
// the code's name, and retryable, by default false.
func (e *Error) Object() ErrorObject {
	details := make(map[string]any, len(e.Details)+2)
	details["reason"], details["retryable"] = e.Code.Name(), false
	maps.Copy(details, e.Details)
	return ErrorObject{Code: e.Code, Message: e.Message, Details: details}
}

package outcome

import (
	"errors"
	"net/http"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// Call is what is known about a call that failed.
type Call struct {
	Method   string    // the ARC method, "" if it is none
	ReadOnly bool      // it changes nothing, so that it may be repeated after a timeout
	Sent     bool      // a token was sent
	Expires  time.Time // when that token says it expires; zero: unknown
	Now      time.Time // by the server's clock, as far as it is known
	Scopes   []string  // that the token has; nil: unknown
	Required []string  // scopes that the call needs
	Server   string
}

// past tells whether the token that was sent says that it has expired.
func (c Call) past() bool { return c.Sent && !c.Expires.IsZero() && !c.Now.Before(c.Expires) }

// wire is the table from the codes of the protocol to ours (contract section
// 1.3), besides those whose class says as much: refusals and internal errors.
var wire = map[arc.Code]Code{
	arc.CodeParse: ProtocolError, arc.CodeInvalidRequest: ProtocolError, arc.CodeMethodNotFound: NotSupported,
	arc.CodeInvalidParams: Validation,

	arc.CodeAgentNotFound: AgentNotFound, arc.CodeAgentUnavailable: AgentUnavailable, arc.CodeAgentUnreachable: AgentUnavailable,
	arc.CodeInvalidAgentID: Validation, arc.CodeAgentIdentity: AgentAuthFailed, arc.CodeAgentTimeout: Timeout,
	arc.CodeDuplicateAgent: AlreadyExists, arc.CodeAgentCapacity: Unavailable,

	arc.CodeTaskNotFound: TaskNotFound, arc.CodeTaskCompleted: TaskCompleted, arc.CodeTaskCanceled: TaskCompleted,
	arc.CodeTaskFailed: TaskFailed, arc.CodeTaskTimeout: Timeout, arc.CodeInvalidTransition: Precondition,
	arc.CodeInvalidPriority: Validation, arc.CodeDeadlineExceeded: Timeout,

	arc.CodeChatNotFound: ChatNotFound, arc.CodeChatClosed: ChatClosed, arc.CodeChatTimeout: Timeout,
	arc.CodeParticipantLimit: Precondition, arc.CodeInvalidMessage: Validation, arc.CodeChatOverflow: Unavailable,

	arc.CodeRateLimited: RateLimited,

	arc.CodeVersion: Precondition, arc.CodeMissingField: Validation, arc.CodeInvalidFormat: Validation,
	arc.CodeTooLarge: Validation, arc.CodeInvalidTrace: Validation, arc.CodeLoop: Conflict,
}

// statuses are the HTTP statuses without a word of ARC whose class says something
// else than contract section 1.3. Our calls have the right method and media type:
// who refuses these speaks no ARC.
var statuses = map[int]Code{
	http.StatusMethodNotAllowed: ProtocolError, http.StatusNotAcceptable: ProtocolError, http.StatusUnsupportedMediaType: ProtocolError,
	http.StatusProxyAuthRequired: ConnectionFailed, http.StatusPreconditionFailed: Precondition, http.StatusGatewayTimeout: Unavailable,
	http.StatusNotImplemented: NotSupported,
}

// classes gives the code of failures that have no code of the protocol.
var classes = map[arc.Class]Code{
	arc.ErrPermission: PermissionDenied, arc.ErrScope: PermissionDenied, arc.ErrNotFound: NotFound, arc.ErrConflict: Conflict,
	arc.ErrInvalid: Validation, arc.ErrRateLimited: RateLimited, arc.ErrTimeout: Timeout, arc.ErrUnavailable: Unavailable,
	arc.ErrInternal: ServerError,
}

// Classify makes the error object of a call that failed. Errors about credentials
// get the part of their [Auth] block that follows from the failure; how to cure
// them is for the caller to fill in. An [*Error] stays as it is.
//
// The order is that of contract section 2.5: what the server says in the body,
// then in the header, then what the token says of itself.
func Classify(err error, call Call) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if wired, ok := errors.AsType[*arc.Error](err); ok {
		return fromWire(wired, call).Because(err)
	}
	if plain, ok := errors.AsType[*client.StatusError](err); ok {
		return fromStatus(plain, call).Because(err)
	}
	return transport(err, call).Because(err)
}

// codeOf gives the code of an error that the server reported.
func codeOf(e *arc.Error, call Call) Code {
	if e.Code.Access() || e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		if code, ok := credentialCode(e.Class(), call); ok {
			return code
		}
	}
	code, ok := wire[e.Code]
	switch {
	case e.Reason() == "idempotency_mismatch": // the key stands for another call
		return Conflict
	case ok && e.Problem == arc.ProblemNotFound: // its code is that of a method
		return NotFound
	case ok:
		return code
	case e.Class() == arc.ClassOfStatus(e.Status): // the status says all there is
		return codeOfStatus(e.Status, e.Class())
	}
	return codeOfStatus(0, e.Class())
}

// codeOfStatus gives the code of an answer of which only the status and the class
// are known.
func codeOfStatus(status int, class arc.Class) Code {
	if code, ok := statuses[status]; ok {
		return code
	}
	if code, ok := classes[class]; ok {
		return code
	}
	if status >= 300 && status < 400 { // redirects within the server are followed
		return ProtocolError
	}
	return General
}

// credentialCode tells what a refusal says about the credential (contract section
// 2.5); false where it says nothing about it.
func credentialCode(class arc.Class, call Call) (Code, bool) {
	authentication, permission := errors.Is(class, arc.ErrAuthentication), errors.Is(class, arc.ErrPermission)
	switch {
	case !call.Sent && (authentication || class == arc.ErrScope):
		return AuthRequired, true // row 1, whatever the server says about a token that it did not get
	case class == arc.ErrExpired:
		return Expired, true // row 3
	case call.past() && (authentication || permission):
		return Expired, true // rows 4 and 8: an expired token says nothing about permissions
	case authentication:
		return TokenInvalid, true // row 7
	}
	return "", false
}

// fromWire makes the error object of what the server says in the body.
func fromWire(w *arc.Error, call Call) *Error {
	e := Errorf(codeOf(w, call), "%s", Sentence(line(w.Message)))
	e.RPCMethod, e.HTTPStatus = call.Method, w.Status
	if w.Problem == "" {
		e.RPCCode = int(w.Code)
	}
	e.ServerReason, e.ServerRequestID = word(w.Details["reason"]), word(w.Details["request_id"])
	e.RequiredScopes = scopeNames(w.Details["required_scopes"])
	e.Errors = issues(w.Details)
	if e.Code == TaskFailed { // of a task whose state was asked for, the command says so itself, with code 4
		e.Exit = ExitGeneral
		// The words are the agent's: they must not pass for arcd's.
		e.Context = map[string]any{"_source": "external", "_trusted": false, "message": e.Message}
		e.Message = "The agent failed."
		e.Suggestion = "Read error.context.message, which the agent wrote, or try another agent."
	}
	if e.Code == Expired {
		e.Auth = &Auth{ExpiredAt: moment(w.Details["expired_at"])}
	}
	if w.Code == arc.CodeAddressBlocked {
		e.Context = map[string]any{"reason": "ip_blocked"}
	}
	e.pace(call, max(w.RetryAfter, pause(w.Details)))
	return e.judge(w.Class(), call)
}

// fromStatus makes the error object of an answer without a body of ours.
func fromStatus(s *client.StatusError, call Call) *Error {
	code, ok := credentialCode(s.Class(), call)
	if _, other := statuses[s.Status]; other || !ok {
		code = codeOfStatus(s.Status, s.Class())
	}
	e := Errorf(code, "%s", statusMessage(s))
	e.HTTPStatus, e.Detail, e.ServerRequestID = s.Status, line(s.Detail), word(s.RequestID)
	e.RequiredScopes = scopeNames(s.Challenge["scope"])
	if e.Exit == ExitUnavailable { // somebody on the way says it, like a gateway
		e.Network = network(call, "answer")
		e.Network.Status = &s.Status
	}
	e.pace(call, s.RetryAfter)
	return e.judge(s.Class(), call)
}

// pace says whether and when the call may be repeated. wait is how long the server
// asks to wait, 0 if it does not; it does not make a refusal worth repeating.
func (e *Error) pace(call Call, wait time.Duration) {
	if e.Exit == ExitTimeout {
		e.Repeatable(call.ReadOnly)
	}
	if e.Exit == ExitRateLimited && wait <= 0 {
		wait = time.Second
	}
	if wait > 0 && e.Code != Expired && (e.Retryable || e.Code == Conflict) {
		e.After(wait)
	}
}

// judge begins the block about the credential where the error is about it. class is
// that of the failure. It returns e.
func (e *Error) judge(class arc.Class, call Call) *Error {
	switch e.Code {
	case PermissionDenied:
		e.permission(class == arc.ErrScope, call)
	case AuthRequired, TokenInvalid, Expired:
		e.RequiredScopes = nil // whatever is said about permissions of such a token
	default:
		return e
	}
	if e.Auth == nil {
		e.Auth = &Auth{}
	}
	a := e.Auth
	a.DetectedBy, a.AuthMethods = "server", []AuthMethod{}
	a.Expired = e.Code == Expired
	if a.ExpiresAt = Instant(call.Expires); a.Expired {
		if a.ExpiredAt == nil {
			a.ExpiredAt = a.ExpiresAt
		}
		a.ExpiresAt = a.ExpiredAt
	}
	return e
}

// permission says which scopes are missing. scope tells that the server named
// scopes as the reason. Another refusal may still be one for scopes that the token
// is known to lack, unless the server says what it is for.
func (e *Error) permission(scope bool, call Call) {
	if e.Context["reason"] == "ip_blocked" || e.ServerReason == "ip_blocked" {
		return
	}
	if len(e.RequiredScopes) == 0 && (scope || e.RPCCode == 0 && call.Scopes != nil) {
		e.RequiredScopes = call.Required
	}
	e.ActiveScopes, e.MissingScopes = call.Scopes, Without(e.RequiredScopes, call.Scopes)
	if scope && len(e.MissingScopes) == 0 { // the server knows better than the token
		e.MissingScopes = e.RequiredScopes
	}
	if len(e.MissingScopes) > 0 {
		e.Auth = &Auth{RequiredPermission: joined(e.MissingScopes)}
	}
}

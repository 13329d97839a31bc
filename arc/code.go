package arc

import "net/http"

// Code is the number of a failure, as the ARC specification lists them
// (section "Error codes"). Numbers are never reused or given a new meaning.
type Code int32

// The codes that arcd sends. Their names, titles and HTTP statuses are in one
// table below; [Code.Name], [Code.Title] and [Code.Status] read it.
const (
	CodeParse          Code = -32700
	CodeInvalidRequest Code = -32600
	CodeMethodNotFound Code = -32601
	CodeInvalidParams  Code = -32602
	CodeInternal       Code = -32603

	CodeAgentNotFound    Code = -41001
	CodeAgentUnavailable Code = -41002
	CodeAgentUnreachable Code = -41003
	CodeInvalidAgentID   Code = -41004
	CodeAgentIdentity    Code = -41005
	CodeAgentTimeout     Code = -41006
	CodeDuplicateAgent   Code = -41010
	CodeAgentCapacity    Code = -41011

	CodeTaskNotFound      Code = -42001
	CodeTaskCompleted     Code = -42002
	CodeTaskCanceled      Code = -42003
	CodeTaskFailed        Code = -42004
	CodeTaskTimeout       Code = -42005
	CodeInvalidTransition Code = -42006
	CodeInvalidPriority   Code = -42010
	CodeDeadlineExceeded  Code = -42011

	CodeChatNotFound     Code = -43001
	CodeChatClosed       Code = -43002
	CodeChatTimeout      Code = -43003
	CodeParticipantLimit Code = -43004
	CodeInvalidMessage   Code = -43005
	CodeChatOverflow     Code = -43006

	CodeUnauthenticated   Code = -44001
	CodeUnauthorized      Code = -44002
	CodeInsufficientScope Code = -44003
	CodeTokenExpired      Code = -44004
	CodeTokenInvalid      Code = -44005
	CodePermissionDenied  Code = -44006
	CodeRateLimited       Code = -44007
	CodeAddressBlocked    Code = -44008

	CodeVersion       Code = -45001
	CodeMissingField  Code = -45002
	CodeInvalidFormat Code = -45003
	CodeTooLarge      Code = -45004
	CodeInvalidTrace  Code = -45005
	CodeLoop          Code = -45006
)

type codeInfo struct {
	name    string
	title   string
	status  int
	problem Problem
	class   Class
}

// codes is the one table from a code to its words and its HTTP status. The
// status is the one that fits the failure by HTTP's meaning; which answers use
// it and which stay at 200 is decided in package server. The problem is how the
// registry API shows the failure; the class is what a client does about it.
var codes = map[Code]codeInfo{
	CodeParse:          {"parse_error", "Parse error", http.StatusBadRequest, ProblemValidation, ErrInvalid},
	CodeInvalidRequest: {"invalid_request", "Invalid request", http.StatusBadRequest, ProblemRequest, ErrInvalid},
	CodeMethodNotFound: {"method_not_found", "Method not found", http.StatusNotFound, ProblemNotFound, ErrNotFound},
	CodeInvalidParams:  {"invalid_params", "Invalid params", http.StatusBadRequest, ProblemValidation, ErrInvalid},
	CodeInternal:       {"internal_error", "Internal error", http.StatusInternalServerError, ProblemInternal, ErrInternal},

	CodeAgentNotFound:    {"agent_not_found", "Agent not found", http.StatusNotFound, ProblemAgentNotFound, ErrNotFound},
	CodeAgentUnavailable: {"agent_not_available", "Agent not available", http.StatusServiceUnavailable, ProblemUnavailable, ErrUnavailable},
	CodeAgentUnreachable: {"agent_unreachable", "Agent unreachable", http.StatusServiceUnavailable, ProblemUnreachable, ErrUnavailable},
	CodeInvalidAgentID:   {"invalid_agent_id", "Invalid agent id", http.StatusBadRequest, ProblemInput, ErrInvalid},
	CodeAgentIdentity:    {"agent_authentication_failed", "Agent authentication failed", http.StatusForbidden, ProblemRegistration, ErrPermission},
	CodeAgentTimeout:     {"agent_timeout", "Agent timeout", http.StatusGatewayTimeout, ProblemTimeout, ErrTimeout},
	CodeDuplicateAgent:   {"duplicate_agent", "Several agents with one id", http.StatusConflict, ProblemDuplicateAgent, ErrConflict},
	CodeAgentCapacity:    {"agent_capacity_exceeded", "Agent capacity exceeded", http.StatusServiceUnavailable, ProblemUnavailable, ErrUnavailable},

	CodeTaskNotFound:      {"task_not_found", "Task not found", http.StatusNotFound, ProblemNotFound, ErrNotFound},
	CodeTaskCompleted:     {"task_already_completed", "Task already completed", http.StatusConflict, ProblemRequest, ErrConflict},
	CodeTaskCanceled:      {"task_already_canceled", "Task already canceled", http.StatusConflict, ProblemRequest, ErrConflict},
	CodeTaskFailed:        {"task_execution_failed", "Task execution failed", http.StatusConflict, ProblemRequest, ErrConflict},
	CodeTaskTimeout:       {"task_timeout", "Task timeout", http.StatusGatewayTimeout, ProblemTimeout, ErrTimeout},
	CodeInvalidTransition: {"invalid_status_transition", "Invalid status transition", http.StatusConflict, ProblemRequest, ErrConflict},
	CodeInvalidPriority:   {"invalid_priority", "Invalid priority", http.StatusBadRequest, ProblemInput, ErrInvalid},
	CodeDeadlineExceeded:  {"deadline_exceeded", "Deadline exceeded", http.StatusBadRequest, ProblemInput, ErrTimeout},

	CodeChatNotFound:     {"chat_not_found", "Chat not found", http.StatusNotFound, ProblemNotFound, ErrNotFound},
	CodeChatClosed:       {"chat_already_closed", "Chat already closed", http.StatusConflict, ProblemRequest, ErrConflict},
	CodeChatTimeout:      {"chat_timeout", "Chat timeout", http.StatusGatewayTimeout, ProblemTimeout, ErrTimeout},
	CodeParticipantLimit: {"participant_limit", "Participant limit exceeded", http.StatusConflict, ProblemRequest, ErrConflict},
	CodeInvalidMessage:   {"invalid_chat_message", "Invalid chat message", http.StatusBadRequest, ProblemInput, ErrInvalid},
	CodeChatOverflow:     {"chat_buffer_overflow", "Chat buffer overflow", http.StatusConflict, ProblemRequest, ErrUnavailable},

	CodeUnauthenticated:   {"authentication_failed", "Authentication failed", http.StatusUnauthorized, ProblemAuthentication, ErrAuthentication},
	CodeUnauthorized:      {"authorization_failed", "Authorization failed", http.StatusForbidden, ProblemPermission, ErrPermission},
	CodeInsufficientScope: {"insufficient_scope", "Insufficient scope", http.StatusForbidden, ProblemPermission, ErrScope},
	CodeTokenExpired:      {"token_expired", "Token expired", http.StatusUnauthorized, ProblemToken, ErrExpired},
	CodeTokenInvalid:      {"token_invalid", "Token invalid", http.StatusUnauthorized, ProblemToken, ErrAuthentication},
	CodePermissionDenied:  {"permission_denied", "Permission denied", http.StatusForbidden, ProblemForbidden, ErrPermission},
	CodeRateLimited:       {"rate_limited", "Rate limit exceeded", http.StatusTooManyRequests, ProblemRateLimit, ErrRateLimited},
	CodeAddressBlocked:    {"address_blocked", "Address blocked", http.StatusForbidden, ProblemForbidden, ErrPermission},

	CodeVersion:       {"invalid_arc_version", "Invalid ARC version", http.StatusBadRequest, ProblemRequest, ErrInvalid},
	CodeMissingField:  {"missing_field", "Missing field", http.StatusBadRequest, ProblemInput, ErrInvalid},
	CodeInvalidFormat: {"invalid_field_format", "Invalid field format", http.StatusBadRequest, ProblemValidation, ErrInvalid},
	CodeTooLarge:      {"message_too_large", "Message too large", http.StatusRequestEntityTooLarge, ProblemTooLarge, ErrInvalid},
	CodeInvalidTrace:  {"invalid_trace_id", "Invalid trace id", http.StatusBadRequest, ProblemRequest, ErrInvalid},
	CodeLoop:          {"circular_reference", "Circular reference", http.StatusConflict, ProblemRequest, ErrConflict},
}

// Name is the stable snake_case word of the code; "unknown" if it is not in the
// table.
func (c Code) Name() string {
	if info, ok := codes[c]; ok {
		return info.name
	}
	return "unknown"
}

// Title is the short English name of the code for people.
func (c Code) Title() string {
	if info, ok := codes[c]; ok {
		return info.title
	}
	return "Unknown error"
}

// Status is the HTTP status that fits the code; 500 if it is not in the table.
func (c Code) Status() int {
	if info, ok := codes[c]; ok {
		return info.status
	}
	return http.StatusInternalServerError
}

// Envelope tells whether the code reports a fault of the transport or the
// envelope itself, not of the call inside it.
func (c Code) Envelope() bool {
	switch c {
	case CodeParse, CodeInvalidRequest, CodeVersion, CodeTooLarge, CodeInvalidTrace:
		return true
	}
	return false
}

// Access tells whether the code reports a refusal by authentication, scope,
// policy or rate limit.
func (c Code) Access() bool { return c <= -44001 && c >= -44008 }

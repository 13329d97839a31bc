package arc

import (
	"fmt"
	"iter"
	"net/http"
	"strings"
)

// Problem is a kind of failure of the registry API: the last segment of the
// type URI of a problem document (RFC 9457). The words, titles and statuses are
// those of the ARCP problem pages.
type Problem string

// The kinds of problems. The last four are arcd's own.
const (
	ProblemAgentNotFound      Problem = "agent-not-found"
	ProblemAgentNotAvailable  Problem = "agent-not-available"
	ProblemDuplicateAgent     Problem = "duplicate-agent"
	ProblemRegistration       Problem = "agent-registration-failed"
	ProblemAuthentication     Problem = "authentication-failed"
	ProblemToken              Problem = "token-invalid"
	ProblemSession            Problem = "session-invalid"
	ProblemSessionExpired     Problem = "session-expired"
	ProblemPermission         Problem = "insufficient-permissions"
	ProblemDPoPRequired       Problem = "dpop-required"
	ProblemDPoPInvalid        Problem = "dpop-invalid"
	ProblemDPoPBinding        Problem = "dpop-binding-mismatch"
	ProblemDPoPNotBound       Problem = "token-not-dpop-bound"
	ProblemMTLSRequired       Problem = "mtls-required"
	ProblemMTLSBinding        Problem = "mtls-binding-mismatch"
	ProblemPINRequired        Problem = "pin-required"
	ProblemPINSet             Problem = "pin-already-set"
	ProblemPINNotSet          Problem = "pin-not-set"
	ProblemPINIncorrect       Problem = "pin-incorrect"
	ProblemPINLength          Problem = "pin-invalid-length"
	ProblemConfiguration      Problem = "configuration-error"
	ProblemSearchUnavailable  Problem = "vector-search-unavailable"
	ProblemTimeout            Problem = "operation-timeout"
	ProblemConnectionTimeout  Problem = "connection-timeout"
	ProblemUnreachable        Problem = "endpoint-unreachable"
	ProblemValidation         Problem = "validation-failed"
	ProblemInput              Problem = "invalid-input"
	ProblemHeaderMissing      Problem = "required-header-missing"
	ProblemURL                Problem = "invalid-url"
	ProblemRateLimit          Problem = "rate-limit-exceeded"
	ProblemTooLarge           Problem = "request-too-large"
	ProblemHeadersTooLarge    Problem = "headers-too-large"
	ProblemInternal           Problem = "internal-error"
	ProblemRequest            Problem = "request-error"
	ProblemForbidden          Problem = "forbidden"
	ProblemNotFound           Problem = "not-found"
	ProblemThreePhaseDisabled Problem = "tpr-disabled"

	ProblemMethod         Problem = "method-not-allowed"
	ProblemMediaType      Problem = "unsupported-media-type"
	ProblemNotImplemented Problem = "not-implemented"
	ProblemUnavailable    Problem = "service-unavailable"
)

// problemInfo is a row of the table of problems.
type problemInfo struct {
	problem Problem
	title   string
	status  int
	code    Code
	meaning string // one sentence: what went wrong
	cure    string // one sentence: what to do about it
}

// problems is the one table from a problem to its title, its HTTP status and
// the code that the rest of arcd knows it by, in the order of ARCP's list.
var problems = []problemInfo{
	{ProblemAgentNotFound, "Agent Not Found", http.StatusNotFound, CodeAgentNotFound,
		"No agent is registered under this id.", "Check the id; GET /agents lists the ids there are."},
	{ProblemAgentNotAvailable, "Agent Not Available", http.StatusNotFound, CodeAgentUnavailable,
		"The agent is registered but has sent no heartbeat for too long.", "Try again once the agent is back; last_seen tells when it was heard of."},
	{ProblemDuplicateAgent, "Duplicate Agent", http.StatusConflict, CodeDuplicateAgent,
		"Another living agent holds the id, or an idempotency key was used for a different request.", "Choose another id. If the agent is your own from before, unregister it, or wait until it counts as dead (a minute without heartbeats by default). Use a fresh idempotency key for a different request."},
	{ProblemRegistration, "Agent Registration Failed", http.StatusBadRequest, CodeAgentIdentity,
		"The registration was understood but is not allowed.", "Read detail and error_code; mend the registration, or ask the operator for a key of your own."},
	{ProblemAuthentication, "Authentication Failed", http.StatusUnauthorized, CodeUnauthenticated,
		"Credentials are missing or wrong.", "Send a bearer token, or the right user name, password or agent key; a login needs the header X-Client-Fingerprint."},
	{ProblemToken, "Invalid or Expired Token", http.StatusUnauthorized, CodeTokenInvalid,
		"The bearer token cannot be used: it has expired, is malformed, was taken back, or (with status 403) is of a kind that is not for this.", "Get a fresh token: agents at /auth/agent/request_temp_token, administrators at /auth/login."},
	{ProblemSession, "Session Validation Failed", http.StatusUnauthorized, CodeUnauthenticated,
		"The request does not belong to the login that the token came from.", "Send the X-Client-Fingerprint of the login, or log in again."},
	{ProblemSessionExpired, "Session Expired", http.StatusUnauthorized, CodeTokenExpired,
		"The session of the login has ended.", "Log in again."},
	{ProblemPermission, "Insufficient Permissions", http.StatusForbidden, CodeUnauthorized,
		"The token is good, but its holder may not do this.", "Use a token of the right kind: an agent may change only itself, and some routes are for administrators."},
	{ProblemDPoPRequired, "DPoP Proof Required", http.StatusUnauthorized, CodeUnauthenticated,
		"The request needs a proof of possession (RFC 9449).", "Send a DPoP header; this version of arcd does not ask for one."},
	{ProblemDPoPInvalid, "Invalid DPoP Proof", http.StatusUnauthorized, CodeUnauthenticated,
		"The proof of possession is not valid (RFC 9449).", "Make a fresh proof for this method and address."},
	{ProblemDPoPBinding, "DPoP Key Mismatch", http.StatusUnauthorized, CodeUnauthenticated,
		"The proof was made with another key than the token is bound to.", "Sign the proof with the key of the token."},
	{ProblemDPoPNotBound, "Token Not DPoP Bound", http.StatusUnauthorized, CodeUnauthenticated,
		"The token is not bound to a key.", "Ask for a token with a proof of possession."},
	{ProblemMTLSRequired, "Client Certificate Required", http.StatusUnauthorized, CodeUnauthenticated,
		"The request needs a client certificate.", "Connect with a client certificate."},
	{ProblemMTLSBinding, "Certificate Mismatch", http.StatusUnauthorized, CodeUnauthenticated,
		"The client certificate is another than the token is bound to.", "Connect with the certificate of the token."},
	{ProblemPINRequired, "PIN Required", http.StatusBadRequest, CodeInvalidParams,
		"The operation needs the PIN of the session.", "Send the PIN; this version of arcd has no PINs."},
	{ProblemPINSet, "PIN Already Set", http.StatusBadRequest, CodeInvalidParams,
		"The session has a PIN already.", "Use the PIN that was set, or log in again."},
	{ProblemPINNotSet, "PIN Not Set", http.StatusBadRequest, CodeInvalidParams,
		"The session has no PIN.", "Set one first."},
	{ProblemPINIncorrect, "Incorrect PIN", http.StatusUnauthorized, CodeUnauthenticated,
		"The PIN is wrong.", "Send the PIN that was set in this session."},
	{ProblemPINLength, "Invalid PIN Length", http.StatusBadRequest, CodeInvalidParams,
		"The PIN is too short or too long.", "Choose a PIN of 4 to 32 characters."},
	{ProblemConfiguration, "Service Configuration Error", http.StatusInternalServerError, CodeInternal,
		"The server is not set up for this.", "Tell the operator, with the request_id."},
	{ProblemSearchUnavailable, "Vector Search Unavailable", http.StatusInternalServerError, CodeInternal,
		"The search is not available.", "Try again later; arcd's own search needs no service outside."},
	{ProblemTimeout, "Operation Timeout", http.StatusGatewayTimeout, CodeAgentTimeout,
		"The operation did not end in its time.", "Try again later."},
	{ProblemConnectionTimeout, "Connection Timeout", http.StatusGatewayTimeout, CodeAgentTimeout,
		"The agent's endpoint did not answer in time.", "Try again later; check that the endpoint is up."},
	{ProblemUnreachable, "Endpoint Unreachable", http.StatusBadGateway, CodeAgentUnreachable,
		"The agent's endpoint cannot be reached, or refused the request.", "Check the endpoint's address and that it answers."},
	{ProblemValidation, "Request Validation Failed", http.StatusUnprocessableEntity, CodeInvalidParams,
		"A field of the request has the wrong form, or the body is no JSON object.", "Mend what validation_errors names."},
	{ProblemInput, "Invalid Input Data", http.StatusBadRequest, CodeInvalidParams,
		"A field is missing or cannot be used.", "Mend the field that the member field names."},
	{ProblemHeaderMissing, "Required Header Missing", http.StatusBadRequest, CodeMissingField,
		"The request lacks a header that it needs.", "Send the header that the member header names."},
	{ProblemURL, "Invalid URL Format", http.StatusBadRequest, CodeInvalidParams,
		"A URL of the request cannot be used, or leads to an address that the server does not call.", "Send an absolute http or https URL without a user and a fragment, at a public address; the operator can allow others (registry.endpoint_allow)."},
	{ProblemRateLimit, "Rate Limit Exceeded", http.StatusTooManyRequests, CodeRateLimited,
		"There were too many attempts.", "Wait the seconds of the header Retry-After."},
	{ProblemTooLarge, "Request Too Large", http.StatusRequestEntityTooLarge, CodeTooLarge,
		"The body is larger than the server takes.", "Send at most max_size bytes."},
	{ProblemHeadersTooLarge, "Request Headers Too Large", http.StatusRequestEntityTooLarge, CodeTooLarge,
		"The headers are larger than the server takes.", "Send fewer or shorter headers."},
	{ProblemInternal, "Internal Server Error", http.StatusInternalServerError, CodeInternal,
		"The server failed.", "Try again; if it stays, tell the operator, with the request_id."},
	{ProblemRequest, "Request Processing Error", http.StatusBadRequest, CodeInvalidRequest,
		"The request could not be read.", "Read detail."},
	{ProblemForbidden, "Forbidden", http.StatusForbidden, CodePermissionDenied,
		"This is not allowed.", "Read detail."},
	{ProblemNotFound, "Resource Not Found", http.StatusNotFound, CodeMethodNotFound,
		"There is nothing at this address.", "Check the path; /openapi.json lists the routes."},
	{ProblemThreePhaseDisabled, "Three-Phase Registration Disabled", http.StatusServiceUnavailable, CodeAgentUnavailable,
		"Registration in three phases is switched off.", "Register with the temporary token; arcd always offers both."},

	{ProblemMethod, "Method Not Allowed", http.StatusMethodNotAllowed, CodeInvalidRequest,
		"The path does not take this method.", "Use one of the methods of the header Allow."},
	{ProblemMediaType, "Unsupported Media Type", http.StatusUnsupportedMediaType, CodeInvalidRequest,
		"The body is of a kind that the path does not take.", "Send application/json, not compressed."},
	{ProblemNotImplemented, "Not Implemented", http.StatusNotImplemented, CodeMethodNotFound,
		"arcd does not have this part of ARCP.", "Do without it; docs/registry.md lists what is left out."},
	{ProblemUnavailable, "Service Unavailable", http.StatusServiceUnavailable, CodeAgentUnavailable,
		"The server cannot do this now.", "Try again after the seconds of the header Retry-After."},
}

// info finds the row of the table; the one of [ProblemInternal] if there is
// none.
func (p Problem) info() *problemInfo {
	for i := range problems {
		if problems[i].problem == p {
			return &problems[i]
		}
	}
	return ProblemInternal.info()
}

// Title is the short English name, the same for every occurrence.
func (p Problem) Title() string { return p.info().title }

// Status is the HTTP status that goes with the problem unless an occurrence has
// its own.
func (p Problem) Status() int { return p.info().status }

// Meaning says in one sentence what went wrong.
func (p Problem) Meaning() string { return p.info().meaning }

// Cure says in one sentence what to do about it.
func (p Problem) Cure() string { return p.info().cure }

// Problems gives all kinds of problems, in the order of the table.
func Problems() iter.Seq[Problem] {
	return func(yield func(Problem) bool) {
		for i := range problems {
			if !yield(problems[i].problem) {
				return
			}
		}
	}
}

// Refuse makes the Error of a problem: reason is the stable snake_case word for
// why, which a problem document shows in capitals as error_code.
func Refuse(p Problem, reason, format string, args ...any) *Error {
	e := &Error{Code: p.info().code, Problem: p, Message: fmt.Sprintf(format, args...)}
	return e.With("reason", reason)
}

// Kind gives the kind of problem that e is: the one it was made with, else the
// one that its code stands for.
func (e *Error) Kind() Problem {
	if e.Problem != "" {
		return e.Problem
	}
	if info, ok := codes[e.Code]; ok {
		return info.problem
	}
	return ProblemInternal
}

// ErrorCode gives the reason as problem documents show it: INVALID_CREDENTIALS
// for invalid_credentials. Without a reason it is made of the kind.
func (e *Error) ErrorCode() string {
	word := e.Reason()
	if word == "" {
		word = string(e.Kind())
	}
	return strings.ToUpper(strings.ReplaceAll(word, "-", "_"))
}

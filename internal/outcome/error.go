package outcome

import (
	"errors"
	"fmt"
	"time"
)

// Error is the error object of an envelope, and the one error type that commands
// return on purpose. Fields that do not apply are left out, besides the [Auth]
// block, which is whole on every error about credentials.
type Error struct {
	Code     Code   `json:"code"`
	Message  string `json:"message"` // one English sentence without secrets
	Detail   string `json:"detail,omitempty"`
	Exit     Exit   `json:"exit_code"`
	ExitName string `json:"exit_name"`

	Retryable     bool   `json:"retryable"`
	RetryAfterMS  int64  `json:"retry_after_ms,omitempty"`
	RetryStrategy string `json:"retry_strategy,omitempty"` // immediate, linear_backoff, exponential_backoff
	MaxRetries    int    `json:"max_retries,omitempty"`
	Attempt       int    `json:"attempt,omitempty"`

	Phase       string         `json:"phase,omitempty"` // validation, execution, cleanup
	FixRequired string         `json:"fix_required,omitempty"`
	FixCommand  string         `json:"fix_command,omitempty"` // runs as it stands, without a person
	Suggestion  string         `json:"suggestion,omitempty"`
	DocsURL     string         `json:"docs_url,omitempty"`
	Cause       Code           `json:"cause,omitempty"`
	Context     map[string]any `json:"context,omitempty"`
	Redirect    *Redirect      `json:"redirect,omitempty"`

	Errors      []Problem `json:"errors,omitempty"`
	MissingArgs []string  `json:"missing_args,omitempty"`
	WouldAffect []string  `json:"would_affect,omitempty"`

	*Auth
	RequiredScopes []string `json:"required_scopes,omitempty"`
	ActiveScopes   []string `json:"active_scopes,omitempty"`
	MissingScopes  []string `json:"missing_scopes,omitempty"`

	Signal         string   `json:"signal,omitempty"`
	Partial        bool     `json:"partial,omitempty"`
	CompletedSteps []string `json:"completed_steps,omitempty"`
	FailedStep     string   `json:"failed_step,omitempty"`
	SkippedSteps   []string `json:"skipped_steps,omitempty"`
	ResumeFrom     string   `json:"resume_from,omitempty"`

	RPCCode         int      `json:"rpc_code,omitempty"`
	RPCMethod       string   `json:"rpc_method,omitempty"`
	HTTPStatus      int      `json:"http_status,omitempty"`
	ServerReason    string   `json:"server_reason,omitempty"` // details.reason of the server
	ServerRequestID string   `json:"server_request_id,omitempty"`
	Network         *Network `json:"network_context,omitempty"`
	Aliases         []string `json:"aliases,omitempty"`

	err error
}

// Redirect names what to run instead (exit code 13).
type Redirect struct {
	Command   string `json:"command"`
	Permanent bool   `json:"permanent"`
	Reason    string `json:"reason"`
}

// Problem is one thing that is wrong with the command line or its input.
type Problem struct {
	Code       Code   `json:"code"`
	Field      string `json:"field"`           // --flag, <argument> or a path into the input
	Input      string `json:"input,omitempty"` // what was given, shortened, never a secret
	Message    string `json:"message"`
	Suggestion string `json:"suggestion,omitempty"`
	Corrected  string `json:"corrected_input,omitempty"`
}

// Network says how the server was tried to be reached. Keys are null rather than
// absent where something is not known (contract section 2.3).
type Network struct {
	Server      string  `json:"url"`
	Status      *int    `json:"status_code"` // null: no answer came
	ProxyUsed   bool    `json:"proxy_used"`
	Proxy       string  `json:"proxy,omitempty"` // without its password
	ProxySource *string `json:"proxy_source"`    // HTTPS_PROXY, …
	NoProxy     *string `json:"no_proxy"`        // hosts that need none, as the environment lists them
	TLSVerified bool    `json:"ssl_verify"`      // always: there is no way to leave it out
	Suggestion  *string `json:"suggestion"`
	Stage       string  `json:"stage"` // how far it came: dns, connect, tls, answer
}

// Auth is the block about credentials: all keys are there on every error about
// them (contract section 2.4).
type Auth struct {
	Expired            bool         `json:"expired"`
	ExpiredAt          *string      `json:"expired_at"` // RFC 3339, UTC
	ExpiresAt          *string      `json:"expires_at"`
	ReauthCommand      string       `json:"reauth_command"` // may be split at blanks
	ReauthEnvVar       string       `json:"reauth_env_var"`
	RefreshCommand     *string      `json:"refresh_command"`
	RequiredPermission *string      `json:"required_permission"`
	Hint               string       `json:"hint"`
	AuthMethods        []AuthMethod `json:"auth_methods"`
	Refreshable        bool         `json:"refreshable"` // ReauthCommand works without a person
	DetectedBy         string       `json:"detected_by"` // client or server
	CredentialSource   *string      `json:"credential_source"`
}

// AuthMethod is a way to give a credential.
type AuthMethod struct {
	Type string `json:"type"` // env_var, file, command
	Name string `json:"name"`
	Hint string `json:"hint"`
}

// Errorf makes an Error with a public sentence. A %w verb is not understood; use
// [Error.Because] for the cause.
func Errorf(code Code, format string, args ...any) *Error {
	e := &Error{Code: code, Message: fmt.Sprintf(format, args...), Exit: code.Exit(), Phase: "execution", Suggestion: code.Cure(), Aliases: code.Aliases()}
	if e.Exit == ExitArgument {
		e.Phase = "validation"
	}
	e.Retryable = e.Exit.Retryable()
	switch e.Exit {
	case ExitUnavailable:
		e.RetryStrategy, e.MaxRetries = "exponential_backoff", 5
	case ExitRateLimited:
		e.RetryStrategy, e.MaxRetries = "linear_backoff", 5
	case ExitExpired:
		e.RetryStrategy, e.MaxRetries = "immediate", 1
	}
	return e
}

// Because attaches the cause, which [errors.Is] and [errors.As] see and which is
// never shown. It returns e.
func (e *Error) Because(err error) *Error {
	e.err = err
	return e
}

// After says when a repetition makes sense. It returns e.
func (e *Error) After(d time.Duration) *Error {
	e.Retryable, e.RetryAfterMS = true, max(d.Milliseconds(), 1)
	if e.RetryStrategy == "" {
		e.RetryStrategy, e.MaxRetries = "linear_backoff", 5
	}
	return e
}

// Repeatable says whether the call may be sent again after a timeout: only one that
// changes nothing may. It returns e.
func (e *Error) Repeatable(yes bool) *Error {
	e.Retryable, e.RetryStrategy, e.MaxRetries = yes, "", 0
	if yes {
		e.RetryStrategy, e.MaxRetries = "exponential_backoff", 5
	}
	return e
}

// Suggest replaces the suggestion. It returns e.
func (e *Error) Suggest(format string, args ...any) *Error {
	e.Suggestion = fmt.Sprintf(format, args...)
	return e
}

// MarshalJSON encodes the error. It is a method so that a success does not pay for
// looking at all these fields, which takes longer than the rest of a short command.
func (e *Error) MarshalJSON() ([]byte, error) {
	type bare Error
	return Marshal((*bare)(e))
}

// Error gives the public sentence.
func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.err }

// Invalid makes a [Validation] error of all problems that were found. With one
// problem its message is that of the error.
func Invalid(problems ...Problem) *Error {
	e := Errorf(Validation, "%d things are wrong with the command line.", len(problems))
	if len(problems) == 1 {
		e.Message = Sentence(problems[0].Field + " " + problems[0].Message)
		if s := problems[0].Suggestion; s != "" {
			e.Suggestion = s
		}
	}
	e.Errors = problems
	return e
}

// Of gives err as an Error: itself if it is one, else [General] with its text.
func Of(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return Errorf(General, "%s", Sentence(err.Error())).Because(err)
}

package outcome

import "slices"

// Code is the stable word for why a command failed (error.code). It is English
// and never localized.
type Code string

// The codes that arcd uses; the table below has the rest about each.
const (
	General        Code = "GENERAL_ERROR"
	Internal       Code = "INTERNAL"
	ServerError    Code = "SERVER_ERROR"
	ProtocolError  Code = "PROTOCOL_ERROR"
	CheckFailed    Code = "CHECK_FAILED"
	LineFailed     Code = "LINE_FAILED"
	Validation     Code = "VALIDATION_ERROR"
	UnknownCommand Code = "UNKNOWN_COMMAND"
	SecretInArgv   Code = "SECRET_IN_ARGV"
	Confirmation   Code = "CONFIRMATION_REQUIRED"
	StdinTooLarge  Code = "STDIN_TOO_LARGE"
	FileNotFound   Code = "FILE_NOT_FOUND"
	InvalidJSON    Code = "INVALID_JSON"
	BadConfig      Code = "CONFIGURATION_ERROR"

	PartialFailure Code = "PARTIAL_FAILURE"
	TaskRunning    Code = "TASK_RUNNING"
	TaskAsks       Code = "TASK_INPUT_REQUIRED"

	Precondition   Code = "PRECONDITION_FAILED"
	InputRequired  Code = "INPUT_REQUIRED"
	StdinRequired  Code = "STDIN_REQUIRED"
	AddressInUse   Code = "ADDRESS_IN_USE"
	TLSConfig      Code = "TLS_CONFIG"
	NotSupported   Code = "METHOD_NOT_SUPPORTED"
	TaskFailed     Code = "TASK_FAILED"
	TaskCanceled   Code = "TASK_CANCELED"
	DeliveryFailed Code = "DELIVERY_FAILED"
	StateUnusable  Code = "STATE_UNUSABLE"
	InsecureServer Code = "INSECURE_SERVER"

	NotFound        Code = "NOT_FOUND"
	TaskNotFound    Code = "TASK_NOT_FOUND"
	ChatNotFound    Code = "CHAT_NOT_FOUND"
	AgentNotFound   Code = "AGENT_NOT_FOUND"
	ContextNotFound Code = "CONTEXT_NOT_FOUND"

	Conflict      Code = "CONFLICT"
	AlreadyExists Code = "ALREADY_EXISTS"
	TaskCompleted Code = "TASK_COMPLETED"
	ChatClosed    Code = "CHAT_CLOSED"
	LockHeld      Code = "LOCK_HELD"

	Timeout Code = "TIMEOUT"

	PermissionDenied Code = "PERMISSION_DENIED"
	AuthRequired     Code = "AUTH_REQUIRED"
	TokenInvalid     Code = "TOKEN_INVALID"
	RefreshRejected  Code = "REFRESH_REJECTED"
	AgentAuthFailed  Code = "AGENT_AUTH_FAILED"

	Expired  Code = "CREDENTIALS_EXPIRED"
	Expiring Code = "CREDENTIALS_EXPIRING"

	RateLimited Code = "RATE_LIMITED"

	Unavailable      Code = "UNAVAILABLE"
	AgentUnavailable Code = "AGENT_UNAVAILABLE"
	ConnectionFailed Code = "CONNECTION_FAILED"

	Redirected Code = "REDIRECTED"
	Cancelled  Code = "CANCELLED"
)

// codeRow is a row of the table of codes.
type codeRow struct {
	code    Code
	exit    Exit
	meaning string
	cure    string // error.suggestion unless an occurrence has its own
	aliases []string
}

// codes is the one table of codes.
var codes = []codeRow{
	{General, ExitGeneral, "The command failed for a reason that has no word of its own.", "Read error.message.", nil},
	{Internal, ExitGeneral, "A defect of arcd.", "Report it with error.detail.", nil},
	{ServerError, ExitGeneral, "The server failed.", "Look at the server's log for error.server_request_id.", nil},
	{ProtocolError, ExitGeneral, "The answer is not one of an ARC server, or the server could not read the call.", "Check that --server names an ARC endpoint: arcd doctor.", nil},
	{CheckFailed, ExitGeneral, "A check of the doctor failed.", "Follow the fix of each failed check.", nil},
	{LineFailed, ExitGeneral, "A line of the batch failed.", "Read the envelope of that line.", nil},
	{Validation, ExitArgument, "Arguments are missing or wrong.", "Correct what error.errors lists; arcd COMMAND --help shows the flags.", nil},
	{UnknownCommand, ExitArgument, "There is no such command.", "arcd --help lists the commands.", nil},
	{SecretInArgv, ExitArgument, "A secret was given as an argument, where other processes can read it.", "Give it as env:NAME, file:PATH or - (standard input).", nil},
	{Confirmation, ExitArgument, "The command destroys something.", "Look at error.would_affect, then add --confirm-destructive.", nil},
	{StdinTooLarge, ExitArgument, "Standard input holds more than is read.", "Put it into a file and use --input-file FILE.", nil},
	{FileNotFound, ExitArgument, "The file is not there.", "Check the path.", nil},
	{InvalidJSON, ExitArgument, "The text is not JSON.", "Send error.errors[0].corrected_input, or valid JSON.", nil},
	{BadConfig, ExitArgument, "The configuration of the server is wrong.", "Correct what error.errors lists; arcd config show tells where a value comes from.", nil},

	{PartialFailure, ExitPartial, "Some of several items were done.", "Read data.results; go on at error.resume_from.", nil},
	{TaskAsks, ExitPartial, "The task waits for an answer of its caller.", "Answer with arcd task send.", nil},
	{TaskRunning, ExitPartial, "The task is not finished yet.", "Ask again after error.retry_after_ms, or use arcd task wait.", nil},

	{Precondition, ExitPrecondition, "Something has to be put right first.", "Read error.message.", nil},
	{InputRequired, ExitPrecondition, "Input is needed that nobody is there to give.", "Give it by flags, environment or a file.", nil},
	{StdinRequired, ExitPrecondition, "Standard input was to be read and is empty or a terminal.", "Pipe the text in, or use --input-file FILE.", nil},
	{AddressInUse, ExitPrecondition, "Something else listens at the address.", "Stop it, or choose another address with --listen.", nil},
	{TLSConfig, ExitPrecondition, "The certificate of the server is not trusted, or TLS is set up wrongly.", "Name the authority with --ca-file FILE.", nil},
	{NotSupported, ExitPrecondition, "The server does not have this method.", "arcd call rpc.discover lists the methods of an arcd server.", nil},
	{TaskFailed, ExitPrecondition, "The task ended as FAILED.", "Read data.task; create a new task.", nil},
	{TaskCanceled, ExitPrecondition, "The task was canceled.", "Create a new task.", nil},
	{DeliveryFailed, ExitPrecondition, "The receiver of a webhook did not take what it was sent.", "Look at data.http_status and at the receiver, then replay the delivery again.", nil},
	{StateUnusable, ExitPrecondition, "A file of contexts or credentials cannot be used.", "Follow error.message; arcd doctor checks the files.", nil},
	{InsecureServer, ExitPrecondition, "A token would go over an open line.", "Use https, or a server on this machine.", nil},

	{NotFound, ExitNotFound, "What was named is not there.", "Check the name.", nil},
	{TaskNotFound, ExitNotFound, "There is no such task, or it is somebody else's.", "arcd task list shows your tasks.", nil},
	{ChatNotFound, ExitNotFound, "There is no such chat, or it is somebody else's.", "Start a new one: arcd chat start.", nil},
	{AgentNotFound, ExitNotFound, "There is no such agent.", "arcd agent list shows the agents.", nil},
	{ContextNotFound, ExitNotFound, "There is no such context.", "arcd context list shows the contexts.", nil},

	{Conflict, ExitConflict, "The state of the thing does not allow this.", "Look at it first.", nil},
	{AlreadyExists, ExitConflict, "It is there already.", "Use what is there, or choose another name.", nil},
	{TaskCompleted, ExitConflict, "The task is finished already.", "Read it with arcd task get.", nil},
	{ChatClosed, ExitConflict, "The chat is closed.", "Start a new one: arcd chat start.", nil},
	{LockHeld, ExitConflict, "Another process holds the lock.", "Repeat after error.retry_after_ms.", nil},

	{Timeout, ExitTimeout, "The time was over before the answer came.", "Give more with --timeout; look before you repeat a change.", nil},

	{PermissionDenied, ExitDenied, "The credential is good, but may not do this.", "Get the permission that error.required_permission names.", []string{"FORBIDDEN"}},
	{AuthRequired, ExitDenied, "No credential was given.", "Put a token into ARCD_TOKEN, or log in: arcd auth login.", []string{"UNAUTHENTICATED", "TOKEN_MISSING"}},
	{TokenInvalid, ExitDenied, "The credential is not valid: malformed, revoked, or for another server.", "Log in again: arcd auth login. arcd doctor token says what is wrong.", []string{"UNAUTHORIZED"}},
	{RefreshRejected, ExitDenied, "The token service refused to renew the credential.", "Log in again: arcd auth login.", nil},
	{AgentAuthFailed, ExitDenied, "The agent could not prove who it is.", "Check the agent's key or token.", nil},

	{Expired, ExitExpired, "The credential was good and has run out.", "Run error.reauth_command; arcd auth status shows the remaining time.", []string{"TOKEN_EXPIRED", "AUTH_EXPIRED"}},
	{Expiring, ExitExpired, "The credential runs out sooner than --min-ttl asks for.", "Run error.reauth_command.", nil},

	{RateLimited, ExitRateLimited, "Too many calls.", "Wait error.retry_after_ms, then repeat.", nil},

	{Unavailable, ExitUnavailable, "The server cannot serve this now.", "Repeat with growing pauses.", nil},
	{AgentUnavailable, ExitUnavailable, "The agent cannot be reached now.", "Repeat with growing pauses, or use another agent.", nil},
	{ConnectionFailed, ExitUnavailable, "The server cannot be reached.", "Check that it runs and that --server is right: arcd doctor.", nil},

	{Redirected, ExitRedirected, "The command has another name now.", "Run error.redirect.command.", nil},
	{Cancelled, ExitInterrupted, "A signal ended the command.", "Run it again when you want it.", nil},
}

// row finds the row of the table, that of [General] for a code that is not in
// it.
func (c Code) row() *codeRow {
	i := slices.IndexFunc(codes, func(r codeRow) bool { return r.code == c })
	return &codes[max(i, 0)]
}

// Exit is the exit code that goes with the code.
func (c Code) Exit() Exit { return c.row().exit }

// Meaning says in one sentence what happened.
func (c Code) Meaning() string { return c.row().meaning }

// Cure says in one sentence what to do about it.
func (c Code) Cure() string { return c.row().cure }

// Aliases are other words that tools use for the same. The caller may keep and
// change the list.
func (c Code) Aliases() []string { return slices.Clone(c.row().aliases) }

// Codes lists all codes, by exit code.
func Codes() []Code {
	var all []Code
	for _, r := range codes {
		all = append(all, r.code)
	}
	return all
}

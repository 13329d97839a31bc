// Package outcome says how a command of arcd ended: with which exit code, which
// error object and in which envelope. It turns failures of calls into those, so
// that an agent which drives arcd can tell an expired credential from a refusal
// by the exit code alone.
//
// The numbers and fields follow the page "Credential Expiry Mid-Session" (§53 of
// the CLI agent specification): 10 is expired, 8 is denied.
package outcome

import "fmt"

// Exit is the exit code of a process.
type Exit int

// The exit codes that arcd uses. 9 is reserved and never used; no other number
// is.
const (
	ExitSuccess      Exit = 0   // done, also when there was nothing to do
	ExitGeneral      Exit = 1   // a defect, or a failed check
	ExitArgument     Exit = 2   // the command line is wrong; nothing was sent or written
	ExitPartial      Exit = 3   // some of several items were done; the task still runs
	ExitPrecondition Exit = 4   // something must be put right first; the task failed
	ExitNotFound     Exit = 5   // what was named is not there
	ExitConflict     Exit = 6   // exists already, is finished already, or is locked
	ExitTimeout      Exit = 7   // the time was over
	ExitDenied       Exit = 8   // no credential, a bad one, or one that may not do this
	ExitPayment      Exit = 9   // reserved
	ExitExpired      Exit = 10  // the credential was good and is over: renew it, repeat once
	ExitRateLimited  Exit = 11  // too many calls: wait
	ExitUnavailable  Exit = 12  // the server or the agent cannot be reached
	ExitRedirected   Exit = 13  // the command has another name
	ExitInterrupted  Exit = 130 // SIGINT
	ExitTerminated   Exit = 143 // SIGTERM
)

// exitRow is a row of the table of exit codes.
type exitRow struct {
	exit      Exit
	name      string
	retryable bool   // the same call may be sent again
	effects   string // what has happened: none, partial, complete, unknown
	meaning   string
	action    string // what an agent does next
}

// exits is the one table of exit codes; the manifest, the help and
// "errors list" read it.
var exits = []exitRow{
	{ExitSuccess, "SUCCESS", false, "complete", "Done, also when there was nothing to do.", "Go on."},
	{ExitGeneral, "GENERAL_ERROR", false, "unknown", "A defect, a failed check, or a failed line of a batch.", "Read the error and stop."},
	{ExitArgument, "ARG_ERROR", false, "none", "The command line or its input is wrong; all problems are listed.", "Correct it and send it again."},
	{ExitPartial, "PARTIAL_FAILURE", false, "partial", "Some of several items were done. For task status and wait: the task still runs.", "Read the results and go on with the rest."},
	{ExitPrecondition, "PRECONDITION", false, "none", "Something has to be put right first. For task status and wait: the task failed or was canceled.", "Put it right, then repeat."},
	{ExitNotFound, "NOT_FOUND", false, "none", "The task, chat, agent or context is not there.", "Stop, or create it."},
	{ExitConflict, "CONFLICT", false, "none", "It exists already, is finished already, or is locked.", "Use what is there, or wait for the lock."},
	{ExitTimeout, "TIMEOUT", false, "partial", "The time was over. Commands that only read may be repeated.", "Repeat a read; look before you repeat a change."},
	{ExitDenied, "PERMISSION_DENIED", false, "none", "No credential, a bad one, or one that may not do this.", "Look at error.code; never repeat blindly."},
	{ExitPayment, "PAYMENT_REQUIRED", false, "none", "Reserved; never used.", "-"},
	{ExitExpired, "CREDENTIALS_EXPIRED", true, "none", "The credential was good and has run out.", "Run error.reauth_command, then repeat once."},
	{ExitRateLimited, "RATE_LIMITED", true, "none", "Too many calls.", "Wait error.retry_after_ms, then repeat."},
	{ExitUnavailable, "UNAVAILABLE", true, "none", "The server or the agent cannot be reached.", "Repeat with growing pauses."},
	{ExitRedirected, "REDIRECTED", false, "none", "The command has another name now.", "Run error.redirect.command."},
	{ExitInterrupted, "CANCELLED", false, "partial", "Stopped by SIGINT.", "The caller wanted it."},
	{ExitTerminated, "CANCELLED", false, "partial", "Stopped by SIGTERM.", "The caller wanted it."},
}

// row finds the row of the table.
func (e Exit) row() exitRow {
	for _, r := range exits {
		if r.exit == e {
			return r
		}
	}
	panic(fmt.Sprintf("outcome: %d is no exit code", int(e)))
}

// Name is the stable name of the exit code in capitals.
func (e Exit) Name() string { return e.row().name }

// Retryable tells whether the same call may be sent again after this exit code.
func (e Exit) Retryable() bool { return e.row().retryable }

// ExitEntry describes an exit code to those who read the manifest.
type ExitEntry struct {
	Exit      Exit   `json:"code"`
	Name      string `json:"name"`
	Retryable bool   `json:"retryable"`
	Effects   string `json:"side_effects"`
	Meaning   string `json:"description"`
	Action    string `json:"action"`
}

// Entry describes the exit code.
func (e Exit) Entry() ExitEntry {
	r := e.row()
	return ExitEntry{r.exit, r.name, r.retryable, r.effects, r.meaning, r.action}
}

// Exits lists all exit codes that arcd uses, in order.
func Exits() []Exit {
	var all []Exit
	for _, r := range exits {
		if r.exit != ExitPayment {
			all = append(all, r.exit)
		}
	}
	return all
}

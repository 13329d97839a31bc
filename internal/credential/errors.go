package credential

import (
	"errors"
	"fmt"
	"time"
)

// The failures that callers tell apart. None of their texts holds a secret.
var (
	// ErrNone: there is no credential. It comes as a [*NoneError].
	ErrNone = errors.New("there is no credential")
	// ErrLocked: another process holds the lock. It comes as a [*LockedError].
	ErrLocked = errors.New("another process is at it")
	// ErrDamaged: a file cannot be read as what it is. It is left as it is.
	ErrDamaged = errors.New("the file is damaged")
	// ErrExposed: a file with secrets may be read or changed by other users.
	ErrExposed = errors.New("other users may read or change it")
	// ErrNoFolder: it is not known where to keep things, since neither the
	// variables for it nor a home folder are set.
	ErrNoFolder = errors.New("there is no folder to keep it in")
	// ErrSecretInArgv: an argument is none of env:NAME, file:PATH and -, so it
	// may be a secret. It is not repeated.
	ErrSecretInArgv = errors.New("a secret must not be an argument: give env:NAME, file:PATH or - (standard input)")
	// ErrUnreadable: a variable, file or standard input does not hold a token or
	// secret.
	ErrUnreadable = errors.New("it holds no usable secret")
	// ErrRejected: the token endpoint refuses the grant. Asking again is
	// pointless; somebody has to log in. It comes as a [*RejectedError].
	ErrRejected = errors.New("the token endpoint refuses to give a token")
	// ErrNotRefreshable: there is nothing to get another token with.
	ErrNotRefreshable = errors.New("there is nothing to refresh it with")
	// ErrOtherIdentity: the new token is somebody else's than the one that it
	// should replace. It was thrown away.
	ErrOtherIdentity = errors.New("the new token belongs to another identity")
	// ErrHidden: the login is stored, but a dead token of another identity in
	// the environment goes before it. It comes as a [*HiddenError].
	ErrHidden = errors.New("another token hides the login")
	// ErrPending: nobody has entered the code of a device login yet. It comes as
	// a [*PendingError].
	ErrPending = errors.New("the login waits for somebody to enter the code")
	// ErrKeyring: the keyring of the operating system failed or did not answer.
	ErrKeyring = errors.New("the keyring cannot be used")
	// ErrInvalid: a name, an address or another setting is not usable.
	ErrInvalid = errors.New("it is not usable")
)

// A NoneError says that no credential was found, and what could make one.
type NoneError struct {
	// Mintable: the environment holds client credentials (ARCD_CLIENT_ID with
	// ARCD_CLIENT_SECRET or ARCD_CLIENT_SECRET_FILE), from which
	// [Store.Refresh] makes a token.
	Mintable bool
	// OtherServer is the server of the stored credential, where there is one
	// under the context's name that belongs to another server; else "".
	OtherServer string
}

// Is makes errors.Is(err, ErrNone) true.
func (e *NoneError) Is(target error) bool { return target == ErrNone }

func (e *NoneError) Error() string {
	if e.OtherServer != "" {
		return "the stored credential belongs to " + e.OtherServer + " and is not given to another server"
	}
	return ErrNone.Error()
}

// A LockedError says that a lock was held for too long.
type LockedError struct {
	// Path is the lock file.
	Path string
	// RetryAfter is how long to wait before another try.
	RetryAfter time.Duration
}

// Is makes errors.Is(err, ErrLocked) true.
func (e *LockedError) Is(target error) bool { return target == ErrLocked }

func (e *LockedError) Error() string {
	return fmt.Sprintf("%s: the lock %s is held", ErrLocked, e.Path)
}

// A RejectedError says that a token endpoint refuses a grant.
type RejectedError struct {
	// Code is the error code of RFC 6749 section 5.2, such as invalid_grant, or
	// http_STATUS. It holds only lower-case letters, digits and underscores.
	Code string
	// Interrupted, if set, is when an earlier refresh began that never stored
	// its outcome: the refresh token may have been spent then.
	Interrupted time.Time

	cause error
}

// Is makes errors.Is(err, ErrRejected) true.
func (e *RejectedError) Is(target error) bool { return target == ErrRejected }

// Unwrap gives what package client reported.
func (e *RejectedError) Unwrap() error { return e.cause }

func (e *RejectedError) Error() string {
	s := ErrRejected.Error() + " (" + e.Code + ")"
	if !e.Interrupted.IsZero() {
		s += "; a refresh that began at " + e.Interrupted.UTC().Format(time.RFC3339) +
			" was cut off, so its refresh token may have been spent"
	}
	return s
}

// A HiddenError says that a login is stored but not used.
type HiddenError struct {
	// Setting is what to unset: ARCD_TOKEN or ARCD_TOKEN_FILE.
	Setting string
}

// Is makes errors.Is(err, ErrHidden) true.
func (e *HiddenError) Is(target error) bool { return target == ErrHidden }

func (e *HiddenError) Error() string {
	return "the login is stored, but the expired token of " + e.Setting + " is another identity's and goes before it: unset " + e.Setting
}

// A PendingError says that a device login is not finished.
type PendingError struct {
	// Login is what to show: where to enter which code.
	Login *DeviceLogin
	// RetryAfter is how long to wait before the next poll.
	RetryAfter time.Duration
}

// Is makes errors.Is(err, ErrPending) true.
func (e *PendingError) Is(target error) bool { return target == ErrPending }

func (e *PendingError) Error() string { return ErrPending.Error() }

// invalidf makes an error that Is ErrInvalid.
func invalidf(format string, args ...any) error {
	return &classed{class: ErrInvalid, text: fmt.Sprintf(format, args...)}
}

// classed is an error of a class with a sentence of its own.
type classed struct {
	class error
	text  string
	cause error
}

func (e *classed) Is(target error) bool { return target == e.class }
func (e *classed) Unwrap() error        { return e.cause }
func (e *classed) Error() string        { return e.text }

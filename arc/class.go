package arc

import (
	"errors"
	"net/http"
)

// Class is a kind of failure that a caller can act upon without knowing the
// codes: errors.Is(err, arc.ErrExpired). Every [Code] has one class, in the table
// of the codes; answers that have no code get theirs from [ClassOfStatus].
type Class string

// The classes. ErrExpired is an ErrAuthentication too, and ErrScope an
// ErrPermission.
const (
	// ErrAuthentication: the credential is missing or not valid. Only ErrExpired is
	// cured by a refresh.
	ErrAuthentication Class = "authentication failed"
	// ErrExpired: the credential was good and has run out; the call did nothing, and
	// works with a fresh one.
	ErrExpired Class = "credential expired"
	// ErrPermission: the credential is good, but may not do this.
	ErrPermission Class = "permission denied"
	// ErrScope: the credential lacks a scope.
	ErrScope Class = "scope missing"
	// ErrNotFound: what the call names does not exist, be it the method.
	ErrNotFound Class = "not found"
	// ErrConflict: the state of what the call names does not allow it.
	ErrConflict Class = "conflict"
	// ErrInvalid: the call itself is wrong; sent again it fails again.
	ErrInvalid Class = "invalid call"
	// ErrRateLimited: too many calls; the error's RetryAfter tells how long to wait.
	ErrRateLimited Class = "rate limited"
	// ErrTimeout: something did not end in its time. It may have had effects.
	ErrTimeout Class = "timeout"
	// ErrUnavailable: the server, the agent, or the way there is down or full.
	ErrUnavailable Class = "unavailable"
	// ErrInternal: the server failed.
	ErrInternal Class = "internal error"
)

// Outage tells whether the failure is the refusal of a token that could not be
// judged, because its issuer's keys or the revocations cannot be had now: the
// server's outage, and no fault of the token.
func (e *Error) Outage() bool {
	reason := e.Reason()
	return e.Code.Class() == ErrAuthentication && (reason == "keys_unavailable" || reason == "revocations_unknown")
}

// Error gives the class in words.
func (c Class) Error() string { return string(c) }

// Is tells whether c belongs to the class target: it is the same, or the
// narrower one of the two pairs.
func (c Class) Is(target error) bool {
	switch target {
	case c:
		return true
	case ErrAuthentication:
		return c == ErrExpired
	case ErrPermission:
		return c == ErrScope
	}
	return false
}

// Class gives the class of the code; "" if it is not in the table.
func (c Code) Class() Class { return codes[c].class }

// Class gives the class of the failure: that of its code, but
//
//   - a token that could not be judged is an outage ([Error.Outage]);
//   - a code that says nothing, because it is unknown or an internal error at a
//     4xx status, leaves it to the status.
//
// It is "" for an unknown code without a status.
func (e *Error) Class() Class {
	class := e.Code.Class()
	switch {
	case e.Outage():
		return ErrUnavailable
	case class == "", class == ErrInternal && e.Status >= 400 && e.Status < 500:
		return ClassOfStatus(e.Status)
	}
	return class
}

// Is lets errors.Is tell e's class. Other targets are for e's cause.
func (e *Error) Is(target error) bool {
	class, ok := target.(Class)
	return ok && errors.Is(e.Class(), class)
}

// ClassOfStatus gives the class of an HTTP status; "" below 400. It never gives
// [ErrExpired] or [ErrScope], which no status says.
func ClassOfStatus(status int) Class {
	switch status {
	case http.StatusUnauthorized, http.StatusProxyAuthRequired:
		return ErrAuthentication
	case http.StatusForbidden:
		return ErrPermission
	case http.StatusNotFound, http.StatusGone:
		return ErrNotFound
	case http.StatusConflict, http.StatusPreconditionFailed, http.StatusLocked:
		return ErrConflict
	case http.StatusTooManyRequests:
		return ErrRateLimited
	case http.StatusRequestTimeout, http.StatusGatewayTimeout:
		return ErrTimeout
	case http.StatusBadGateway, http.StatusServiceUnavailable:
		return ErrUnavailable
	}
	switch {
	case status >= 500:
		return ErrInternal
	case status >= 400:
		return ErrInvalid
	}
	return ""
}

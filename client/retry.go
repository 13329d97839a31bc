package client

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// maxWait is the longest Retry-After that a call waits for by itself. A caller
// who is asked for more learns it from the error.
const maxWait = 30 * time.Second

// brokenError is a failure on the way: no answer came, or not all of it. It has
// a class, so that callers need not know the errors of package net.
type brokenError struct {
	class arc.Class // "" for what is neither down nor late, as a certificate that is not trusted
	err   error
}

// Error gives the text of the cause.
func (e *brokenError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *brokenError) Unwrap() error { return e.err }

// Is tells the class.
func (e *brokenError) Is(target error) bool {
	class, ok := target.(arc.Class)
	return ok && errors.Is(e.class, class)
}

// broken gives an error of net/http its class.
func broken(err error) error {
	return &brokenError{class: brokenClass(err), err: err}
}

// brokenClass tells late from down. What another try cannot change has no class.
func brokenClass(err error) arc.Class {
	if late, ok := errors.AsType[net.Error](err); ok && late.Timeout() {
		return arc.ErrTimeout
	}
	if errors.Is(err, context.Canceled) || badTrust(err) {
		return ""
	}
	return arc.ErrUnavailable
}

// badTrust tells whether TLS failed for another reason than the way there.
func badTrust(err error) bool {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, plain := errors.AsType[tls.RecordHeaderError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	return certificate || plain || alert
}

// again waits before the next try and tells whether there is one.
func again(ctx context.Context, err error, attempt int) bool {
	wait, transient := transientWait(err)
	if !transient || wait > maxWait {
		return false
	}
	return rest(ctx, max(wait, backoff(attempt))) == nil
}

// transientWait tells whether err is of the kind that passes, and how long the
// server asked to wait.
func transientWait(err error) (wait time.Duration, transient bool) {
	if lost, ok := errors.AsType[*brokenError](err); ok {
		return 0, lost.class == arc.ErrUnavailable
	}
	if e, ok := errors.AsType[*StatusError](err); ok {
		return e.RetryAfter, transientStatus(e.Status)
	}
	if e, ok := errors.AsType[*arc.Error](err); ok {
		if retryable, said := e.Details["retryable"].(bool); said && !retryable {
			return 0, false
		}
		return e.RetryAfter, transientStatus(e.Status) || e.Class() == arc.ErrRateLimited
	}
	return 0, false
}

// transientStatus tells the statuses after which the same request may do better.
func transientStatus(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// backoff is the pause after so many tries: 200 ms, doubling to 5 s, up to a
// quarter shorter, so that many callers do not come back at once.
func backoff(attempt int) time.Duration {
	wait := min(100*time.Millisecond<<min(attempt, 10), 5*time.Second)
	return wait - rand.N(wait/4)
}

// rest waits. A wait that ctx would end is not begun.
func rest(ctx context.Context, wait time.Duration) error {
	if end, ok := ctx.Deadline(); ok && time.Until(end) <= wait {
		return context.DeadlineExceeded
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

package carrier

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/methods"
)

// outcome is how a call of an agent failed, as far as it matters for the work.
type outcome int

const (
	said      outcome = iota // the agent reports an error of its own
	away                     // it cannot be reached, or asks to be left alone for a while
	cut                      // it may have got the call, and did not answer it
	locked                   // it does not take arcd's credential
	garbled                  // it answered with what is no answer
	forbidden                // it must not be called
)

// credentialPause is how long an agent is left alone that did not take arcd's
// credential: somebody has to mend that.
const credentialPause = 30 * time.Second

// judge tells how a call failed and how long to wait at least before the next one.
func judge(err error) (outcome, time.Duration) {
	if way, ok := errors.AsType[*wayError](err); ok {
		_, refused := errors.AsType[*arc.Error](way.err)
		switch {
		case refused:
			return forbidden, 0
		case way.sent:
			return cut, way.wait
		}
		return away, way.wait
	}
	if e, ok := errors.AsType[*arc.Error](err); ok {
		return judgeSaid(e)
	}
	if e, ok := errors.AsType[*client.StatusError](err); ok {
		o := judgeStatus(e.Status)
		if o == locked {
			return o, max(credentialPause, e.RetryAfter)
		}
		return o, e.RetryAfter
	}
	switch {
	case errors.Is(err, errLost):
		return cut, 0
	case errors.Is(err, client.ErrInsecure):
		return forbidden, 0
	case errors.Is(err, arc.ErrAuthentication), errors.Is(err, arc.ErrPermission), errors.Is(err, arc.ErrScope):
		return locked, credentialPause // says the token service, not the agent
	case isLine(err), isTokenTrouble(err):
		return away, 0
	case errors.Is(err, arc.ErrUnavailable), errors.Is(err, arc.ErrTimeout):
		return cut, 0 // the answer had begun
	}
	return garbled, 0
}

// judgeSaid judges an error that came as one of ARC.
func judgeSaid(e *arc.Error) (outcome, time.Duration) {
	switch e.Code {
	case arc.CodeAgentUnavailable, arc.CodeAgentUnreachable, arc.CodeAgentCapacity, arc.CodeRateLimited:
		return away, e.RetryAfter
	case arc.CodeAgentNotFound: // its server runs, but does not have it (yet)
		return garbled, e.RetryAfter
	}
	switch e.Status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return away, e.RetryAfter
	}
	if e.Code.Access() || e.Status == http.StatusUnauthorized || e.Status == http.StatusForbidden {
		return locked, max(credentialPause, e.RetryAfter)
	}
	return said, e.RetryAfter
}

// judgeStatus judges an answer without a word of ARC.
func judgeStatus(status int) outcome {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		return locked
	case http.StatusRequestTimeout, http.StatusTooManyRequests,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return away
	}
	return garbled
}

// isLine tells a failure of a line that has lost its agent.
func isLine(err error) bool {
	_, ok := errors.AsType[*lineError](err)
	return ok
}

// isTokenTrouble tells that no token could be got because the token service could
// not be reached: nothing was sent to the agent.
func isTokenTrouble(err error) bool {
	_, ok := errors.AsType[*tokenError](err)
	return ok
}

// tokenError is a token that could not be got.
type tokenError struct{ err error }

func (e *tokenError) Error() string { return "carrier: getting a token: " + e.err.Error() }
func (e *tokenError) Unwrap() error { return e.err }

// markedTokens marks the errors of a source of tokens.
type markedTokens struct{ source client.TokenSource }

// Token asks the source.
func (m markedTokens) Token(ctx context.Context, expired string) (string, error) {
	token, err := m.source.Token(ctx, expired)
	if err != nil && !errors.Is(err, client.ErrNoNewToken) {
		err = &tokenError{err}
	}
	return token, err
}

// hasCode tells whether the agent reports an error with one of the codes.
func hasCode(err error, codes ...arc.Code) bool {
	e, ok := errors.AsType[*arc.Error](err)
	if !ok {
		return false
	}
	_, way := errors.AsType[*wayError](err)
	return !way && slices.Contains(codes, e.Code)
}

// hasNoMethod tells whether the agent does not know the method that was called.
func hasNoMethod(err error) bool {
	if e, ok := errors.AsType[*client.StatusError](err); ok {
		return e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed || e.Status == http.StatusNotImplemented
	}
	return hasCode(err, arc.CodeMethodNotFound)
}

// badAnswer is what the caller of a chat learns of an answer that was none.
func badAnswer(err error) *arc.Error {
	return arc.Errorf(arc.CodeAgentUnreachable, "the agent's answer could not be understood").
		With("reason", "bad_answer").With("retryable", true).Because(err)
}

// forbiddenError is what the caller learns of an agent that must not be called.
func forbiddenError(err error) *arc.Error {
	return arc.Errorf(arc.CodeAgentUnreachable, "the agent's endpoint is one that this server does not call").
		With("reason", "endpoint_refused").With("retryable", false).Because(err)
}

// failed gives the error with which a task's turn ends because a call failed. A call
// that may not simply be made again counts as an attempt when it was cut.
func (c *conversation) failed(ctx context.Context, t *methods.Turn, method string, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	how, wait := judge(err)
	if how == locked {
		c.log.Error().Str("agent", c.id).Str("method", method).Err(err).
			Msg("an agent does not take arcd's credential; it is tried again")
	}
	switch how {
	case said:
		t.Reached()
		e, _ := errors.AsType[*arc.Error](err)
		ours := own(e).Because(err)
		if retryable, _ := e.Details["retryable"].(bool); retryable || method != "task.create" && e.Code == arc.CodeInternal {
			return methods.Retry(ours, max(wait, c.poll)) // that it stumbled over a question is not the end of the work
		}
		return ours
	case forbidden:
		return forbiddenError(err)
	case garbled:
		return methods.Retry(badAnswer(err), max(wait, c.poll))
	case cut:
		if method == "task.create" {
			return methods.Retry(err, max(wait, c.poll))
		}
	}
	return methods.Unreachable(err, wait)
}

package carrier

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"

	"github.com/arcd-io/arcd/arc"
)

// road is the way to one agent: it keeps the time, and away from an agent that is
// down.
type road struct {
	next    http.RoundTripper
	timeout time.Duration // until an answer begins
	idle    time.Duration // longest silence within it
	most    int64         // bytes of an answer, streams too; 0: any number
	breaker *gobreaker.TwoStepCircuitBreaker[struct{}]
}

// When the breaker of an agent opens: after so many failures in a row, for so long.
const (
	breakAfter = 5
	breakFor   = 5 * time.Second
)

func newRoad(next http.RoundTripper, timeout, idle time.Duration) *road {
	return &road{next: next, timeout: timeout, idle: idle, breaker: gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Timeout:     breakFor,
		ReadyToTrip: func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= breakAfter },
		IsExcluded:  func(err error) bool { return errors.Is(err, context.Canceled) },
	})}
}

// wayError is a call that got no answer.
type wayError struct {
	err  error
	sent bool          // the agent may have got it
	wait time.Duration // a sensible pause before the next try
}

func (e *wayError) Error() string { return e.err.Error() }
func (e *wayError) Unwrap() error { return e.err }

// Is tells the class: late or down.
func (e *wayError) Is(target error) bool {
	class, ok := target.(arc.Class)
	mine := arc.ErrUnavailable
	if e.Timeout() {
		mine = arc.ErrTimeout
	}
	return ok && errors.Is(mine, class)
}

// Timeout tells that it took too long, as net.Error does.
func (e *wayError) Timeout() bool { return errors.Is(e.err, errLate) }

// Why a call gets no answer.
var (
	errLate    = errors.New("carrier: the agent did not answer in time")
	errResting = errors.New("carrier: the agent failed several times in a row and is left alone for a while")
	errDown    = errors.New("carrier: the agent's server says that it is down")
)

// RoundTrip makes a request. Its error is a [*wayError].
func (r *road) RoundTrip(req *http.Request) (*http.Response, error) {
	done, err := r.breaker.Allow()
	if err != nil {
		if req.Body != nil {
			_ = req.Body.Close()
		}
		return nil, &wayError{err: errResting, wait: breakFor / 2}
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	var sent atomic.Bool
	traced := httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }})
	late := time.AfterFunc(r.timeout, func() { cancel(errLate) })
	resp, err := r.next.RoundTrip(req.WithContext(traced))
	late.Stop()
	if err != nil {
		err = timely(ctx, err)
		if req.Context().Err() != nil {
			done(context.Canceled) // that nobody waits any more says nothing of the agent
		} else {
			done(err)
		}
		cancel(nil)
		return nil, &wayError{err: err, sent: sent.Load()}
	}
	switch resp.StatusCode {
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		done(errDown)
	default:
		done(nil)
	}
	if resp.StatusCode == http.StatusSwitchingProtocols { // nobody asked for it, and such a body heeds no context
		_ = resp.Body.Close()
		resp.Body = http.NoBody
	}
	b := &watchedBody{body: resp.Body, ctx: ctx, cancel: cancel, idle: r.idle, most: r.most}
	b.timer = time.AfterFunc(r.idle, func() { cancel(errLate) })
	b.timer.Stop() // until somebody reads
	resp.Body = b
	return resp, nil
}

// timely gives the error of a call that was cut because it took too long its name.
func timely(ctx context.Context, err error) error {
	if errors.Is(context.Cause(ctx), errLate) {
		return errLate
	}
	return err
}

// watchedBody ends the reading of an answer that stalls.
type watchedBody struct {
	body   io.ReadCloser
	ctx    context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	idle   time.Duration
	most   int64 // 0: any number
	read   int64
}

// Read reads. Only the time in here counts: a reader who dawdles is no silence of
// the agent.
func (b *watchedBody) Read(p []byte) (int, error) {
	b.timer.Reset(b.idle)
	n, err := b.body.Read(p)
	b.timer.Stop()
	if b.read += int64(n); b.most > 0 && b.read > b.most {
		return 0, errTooLong // pieces have a limit of their own; this is for what says nothing
	}
	if err != nil && err != io.EOF {
		err = timely(b.ctx, err)
		if err == errLate {
			err = &wayError{err: errLate, sent: true}
		}
	}
	return n, err
}

// Close ends the request.
func (b *watchedBody) Close() error {
	b.timer.Stop()
	defer b.cancel(nil)
	return b.body.Close()
}

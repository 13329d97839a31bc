// Package cli is the command line of arcd. It knows all the parts and puts them
// together; [Run] is all that others see of it.
//
//	Run
//	├─ parse       args, environment → a command of the table, or every problem
//	├─ command.run under a timeout and the signals; gives data and an error
//	└─ console     one envelope on stdout, or text for people; the exit code
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/arcd-io/arcd/internal/outcome"
)

// Run parses args (without the program's name), does the command and gives the
// exit code ([outcome.Exit]). The result goes to stdout, in JSON as one envelope
// unless stdout is a terminal; what is for people goes to stderr. env is the
// environment as [os.Environ] gives it.
//
// The command ends when ctx does, at SIGINT and SIGTERM; "serve" drains first.
// A second signal does not wait for it.
func Run(ctx context.Context, args, env []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	c := newConsole(env, stdin, stdout, stderr)
	c.args = args
	p, err := parse(args, c)
	c.configure(p)
	if err != nil {
		return int(c.finish(nil, err))
	}
	if p.answer != nil { // help, version, schema: no command runs
		return int(p.answer(c))
	}
	if c.globals.ValidateOnly {
		return int(c.finish(validated{true}, nil))
	}
	if p.command.row().instant {
		e := attempt(ctx, c, p.command)
		return int(c.finish(e.data, e.err))
	}
	ctx, signals := untilSignal(ctx)
	defer signals.stop()
	ctx, cancel := c.withTimeout(ctx)
	defer cancel()
	return int(c.await(ctx, signals, p.command))
}

// validated is the result of any command with --validate-only.
type validated struct {
	Valid bool `json:"valid"`
}

// ended is how a command ended.
type ended struct {
	data any
	err  error
}

// await runs the command and gives its exit code. It does not wait for a command
// that goes on after its time or its signal: the envelope is due within two
// seconds. Only "serve" takes the time that its drain needs.
func (c *console) await(ctx context.Context, signals *signals, command command) outcome.Exit {
	done := make(chan ended, 1)
	go func() { done <- attempt(ctx, c, command) }()
	late := make(chan struct{})
	if !command.row().daemon {
		context.AfterFunc(ctx, func() { time.AfterFunc(grace, func() { close(late) }) })
	}
	select {
	case e := <-done:
		return signals.deliver(func() outcome.Exit { return c.finish(e.data, c.judge(ctx, e.err)) })
	case <-signals.second:
	case <-late:
	}
	return signals.deliver(func() outcome.Exit { return c.finish(nil, c.judge(ctx, context.Cause(ctx))) })
}

// attempt runs the command. A panic is a defect, and an error like others.
func attempt(ctx context.Context, c *console, command command) (e ended) {
	defer func() {
		if r := recover(); r != nil {
			e = ended{nil, panicked(r)}
		}
	}()
	e.data, e.err = command.run(c.withTrace(ctx), c)
	return e
}

// grace is how long a command may take to say where it is after its time is over.
const grace = time.Second

// panicked makes an error of a defect. The stack is for stderr with --debug only.
func panicked(r any) error {
	return outcome.Errorf(outcome.Internal, "A defect of arcd ended the command.").
		Because(fmt.Errorf("panic: %v\n%s", r, debug.Stack()))
}

// signaled is the cause of a context that a signal ended.
type signaled struct{ signal os.Signal }

func (s signaled) Error() string { return "stopped by " + signalName(s.signal) }

// signalName gives SIGINT or SIGTERM.
func signalName(s os.Signal) string {
	if s == syscall.SIGTERM {
		return "SIGTERM"
	}
	return "SIGINT"
}

// signals catches SIGINT and SIGTERM while a command runs.
type signals struct {
	ctx    context.Context // ends at the first signal; nil: somebody else looks after them
	second chan struct{}   // is closed by the second signal
	stop   func()
}

// deliver writes the result. A reader that takes nothing from a full pipe would keep
// the process for good: once a signal has come, it has a second for it.
func (s *signals) deliver(finish func() outcome.Exit) outcome.Exit {
	if s.ctx == nil {
		return finish()
	}
	done := make(chan outcome.Exit, 1)
	go func() { done <- finish() }()
	select {
	case exit := <-done:
		return exit
	case <-s.ctx.Done():
	}
	by, ok := errors.AsType[signaled](context.Cause(s.ctx))
	if !ok {
		return <-done
	}
	select {
	case exit := <-done:
		return exit
	case <-time.After(grace):
	}
	if by.signal == syscall.SIGTERM {
		return outcome.ExitTerminated
	}
	return outcome.ExitInterrupted
}

// untilSignal gives a context that ends with ctx or at the first signal, with
// [signaled] as its cause.
func untilSignal(ctx context.Context) (context.Context, *signals) {
	ctx, cancel := context.WithCancelCause(ctx)
	caught := make(chan os.Signal, 2)
	signal.Notify(caught, os.Interrupt, syscall.SIGTERM)
	over := make(chan struct{})
	s := &signals{ctx: ctx, second: make(chan struct{})}
	s.stop = func() {
		// After a signal the process is about to end, and another one must not take its
		// exit code away.
		if _, ended := errors.AsType[signaled](context.Cause(ctx)); !ended {
			signal.Stop(caught)
		}
		close(over)
		cancel(nil)
	}
	go func() {
		for n := 0; n < 2; n++ {
			select {
			case sig := <-caught:
				if n == 0 {
					cancel(signaled{sig})
				} else {
					close(s.second)
				}
			case <-over:
				return
			}
		}
	}()
	return ctx, s
}

// timedOut is the cause of a context whose time is over.
type timedOut struct{ after time.Duration }

func (t timedOut) Error() string { return "the time of " + short(t.after) + " was over" }

// withTimeout bounds the command's time.
func (c *console) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeoutCause(ctx, c.timeout, timedOut{c.timeout})
}

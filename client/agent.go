package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// Agent does the work of agents behind an arcd without a port of its own: it dials
// in (WebSocket, GET /arc), says which ids it serves, and has Handle do what arcd
// sends. Its fields must not be changed once it runs.
//
// It is modelled after methods.Runner, so that an agent can move into the process of
// the server and out of it again.
type Agent struct {
	// Client says which server, with which token, and how it is reached. The token
	// needs the scope arc.agent.receiver and has to name each id of IDs; Work.Artifact
	// and Work.Progress also need arc.task.notify. It is needed.
	Client *Client
	// IDs are the agents that are served, at least one.
	IDs []string
	// Handle does one stretch of work; see [Work]. It is called concurrently, up to
	// Capacity times for each connection. It is needed.
	Handle func(ctx context.Context, w *Work) error

	// Capacity is how much work each connection takes at once, 1 to 1,000. Default 16.
	Capacity int
	// Connections is the number of connections, which share the work. Default 1.
	Connections int
	// Grace is how long work that is running may still take when Run is to end. What is
	// left then goes back to the server, which gives it to somebody else. Default 30 s;
	// negative: none.
	Grace time.Duration

	// Served, if not nil, is called whenever a connection begins to serve.
	Served func()
	// Failed, if not nil, gets what goes wrong without ending Run: connections that
	// cannot be made or are lost, and errors of Handle whose text the caller of the work
	// is not shown. It is called from several goroutines.
	Failed func(error)
}

// Run serves until ctx ends, then lets running work end, and gives nil. A connection
// that breaks is made anew, with growing pauses of up to 30 s; where the server has
// called the token expired or revoked, with another one from Client.Token.
//
// The server ends a connection when its token expires, with the work on it. So when
// half of the token's time is over, and it says when it expires (a JWT), Client.Token
// is asked for another one, by [RenewingSource] if it is one; a new connection is made
// with it, and the old one stays until its work has ended. A source that has no other
// token is asked again until the token has expired.
//
// A server that is about to stop says so. A new connection is made then, too, which finds
// another server where there are several behind one address.
//
// It ends with an error only when another try would be vain: fields that make no
// sense ([arc.ErrInvalid]), no other token than one that was refused
// ([arc.ErrAuthentication]), a token without the scope ([arc.ErrScope]) or that
// does not name the ids ([arc.ErrPermission]), an id that the server has for
// itself, or a server where nobody can dial in.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.check(); err != nil {
		return err
	}
	running, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var connections sync.WaitGroup
	for range max(a.Connections, 1) {
		connections.Go(func() {
			if err := a.keep(running); err != nil {
				fail(err)
			}
		})
	}
	connections.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return context.Cause(running)
}

// The defaults of an [Agent].
const (
	usualCapacity = 16
	usualGrace    = 30 * time.Second
)

func (a *Agent) check() error {
	switch {
	case a.Client == nil || a.Handle == nil:
		return fmt.Errorf("an agent needs a Client and a Handle: %w", arc.ErrInvalid)
	case len(a.IDs) == 0:
		return fmt.Errorf("an agent needs at least one id: %w", arc.ErrInvalid)
	}
	for _, id := range a.IDs {
		if !arc.ValidAgentID(id) {
			return fmt.Errorf("the agent id %q %s: %w", id, arc.AgentIDIssue, arc.ErrInvalid)
		}
	}
	if err := checkAddress(a.Client.endpoint()); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

func (a *Agent) capacity() int {
	if a.Capacity > 0 {
		return a.Capacity
	}
	return usualCapacity
}

func (a *Agent) grace() time.Duration {
	if a.Grace == 0 {
		return usualGrace
	}
	return max(a.Grace, 0)
}

func (a *Agent) failed(err error) {
	if a.Failed != nil {
		a.Failed(err)
	}
}

// settled is how long a connection without work must have lasted for its end to be
// no sign of trouble.
const settled = 5 * time.Second

// longestPause is the longest pause between two tries to connect.
const longestPause = 30 * time.Second

// keep keeps one connection, until ctx ends or there is no use in trying.
func (a *Agent) keep(ctx context.Context) error {
	refused := ""          // the token that the server does not take any more
	var refusal error      // how it said so
	var old sync.WaitGroup // connections that another one has taken the place of
	defer old.Wait()
	ctx, stop := context.WithCancel(ctx)
	defer stop() // so that they end, too
	for attempt := 0; ; attempt++ {
		begun := time.Now()
		c, err := a.connect(ctx, &refused)
		if err == nil {
			c, err = a.hold(ctx, c, &old)
			refused, refusal = c.refused, err
		}
		switch {
		case ctx.Err() != nil:
			return nil
		case refused != "" && errors.Is(err, ErrNoNewToken):
			return fmt.Errorf("serving %s: %w", a.Client.endpoint(), refusal)
		case (c == nil || refused == "") && final(err):
			return fmt.Errorf("serving %s: %w", a.Client.endpoint(), err)
		}
		a.failed(err)
		if c != nil && (c.worked.Load() || time.Since(begun) >= settled) {
			attempt = 0
		}
		if pauseFor(ctx, err, attempt) != nil {
			return nil
		}
	}
}

// pauseFor waits before the next try to connect. All of the pause is left to chance:
// those who lost their connection with this one come back at all times.
func pauseFor(ctx context.Context, err error, attempt int) error {
	pause := rand.N(min(200*time.Millisecond<<min(attempt, 10), longestPause))
	if after, transient := transientWait(err); transient {
		pause += min(after, longestPause)
	}
	return rest(ctx, pause)
}

// final tells whether a failure to serve is one that time does not mend.
func final(err error) bool {
	for _, class := range []arc.Class{arc.ErrAuthentication, arc.ErrExpired, arc.ErrScope, arc.ErrPermission, arc.ErrInvalid} {
		if errors.Is(err, class) {
			return true
		}
	}
	if e, ok := errors.AsType[*arc.Error](err); ok {
		switch e.Code {
		case arc.CodeMethodNotFound, arc.CodeDuplicateAgent, arc.CodeInvalidAgentID:
			return true
		}
	}
	return errors.Is(err, ErrNoNewToken) || errors.Is(err, ErrInsecure) || errors.Is(err, errNoSocket)
}

// errNoSocket says that whatever answers there knows no WebSocket.
var errNoSocket = errors.New("there is no ARC server that agents can dial in at")

// Why the context of Handle ends (context.Cause).
var (
	// ErrCanceled says that nobody wants the work any more.
	ErrCanceled = errors.New("the work was canceled")
	// ErrLost says that the connection was lost: whatever comes of the work cannot be
	// told, and somebody else gets it.
	ErrLost = errors.New("the connection to the server was lost")
	// ErrDraining says that the agent is to end, and Agent.Grace is over. The work goes
	// back to the server.
	ErrDraining = errors.New("the agent is stopping")
)

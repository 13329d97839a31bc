package server

import (
	"context"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

const (
	// socketCheck is the longest time between two looks at every token that holds
	// something open: less than a second, for what nobody tells of, such as an agent
	// key that is removed.
	socketCheck = 900 * time.Millisecond
	// guardTick is the longest time until a token that expires, or that nobody has
	// looked at since its stream was opened, is looked at.
	guardTick = 300 * time.Millisecond
	// guardPause gathers revocations that come together: one look serves them all.
	guardPause = 50 * time.Millisecond
	// guardPatience is the longest that one look at one token may take.
	guardPatience = time.Second
	// guardStuck is after which time more goroutines help with a look: then its tokens
	// are held up by something else than work, an issuer that does not answer.
	guardStuck = 20 * time.Millisecond
)

// guard ends what a token holds open, streams and sockets, within a second of
// the token's end. One goroutine looks at all tokens, so that an open stream
// costs none of its own; it runs as long as something is open, and others help it
// for as long as tokens keep it waiting.
//
// A look is taken when revocations tells that a token was taken back, when a
// token's time is over, and every second in any case, for validators that know of
// more than that.
type guard struct {
	revocations func() <-chan struct{} // gives a channel that the next revocation closes; nil: nobody tells
	every       time.Duration          // longest time between two looks at all
	now         func() time.Time

	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	open   map[*opening]struct{}
	runs   bool // the goroutine is there
	closed bool
}

// opening is something that a token holds open.
type opening struct {
	// judge looks at the token anew; nil: it is good.
	judge   func(context.Context) *arc.Error
	expires time.Time // of the token; zero: never
	end     context.CancelCauseFunc

	// guarded by the guard's mutex
	seen    bool // judged since it was opened
	judging bool // right now
}

func newGuard(every time.Duration, now func() time.Time) *guard {
	g := &guard{every: every, now: now, open: make(map[*opening]struct{})}
	g.ctx, g.cancel = context.WithCancel(context.Background())
	return g
}

// enter puts something under the guard. The context that it gives ends when the
// token is no longer good; its cause is then the refusal, an [*arc.Error]. leave
// must be called at the end.
func (g *guard) enter(ctx context.Context, expires time.Time, judge func(context.Context) *arc.Error) (held context.Context, leave func()) {
	held, end := context.WithCancelCause(ctx)
	o := &opening{judge: judge, expires: expires, end: end}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open[o] = struct{}{}
	if !g.runs && !g.closed {
		g.runs = true
		g.running.Go(g.run)
	}
	return held, func() {
		end(nil)
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.open, o)
	}
}

// close ends the goroutine and waits for it. What is open stays so.
func (g *guard) close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.cancel()
	g.running.Wait()
}

// run looks after what is open until there is nothing left.
func (g *guard) run() {
	tick := min(guardTick, g.every)
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	full := time.Now() // when all were looked at
	revoked := g.nextRevocation()
	for {
		all := false
		select {
		case <-g.ctx.Done():
			return
		case <-revoked:
			g.gather()
			all, revoked = true, g.nextRevocation() // before the look, so that none is missed
		case <-ticker.C:
			if g.idle() {
				return
			}
			all = time.Since(full) > g.every-tick/2 // ticks are not exact, and the next would be late
		}
		if all {
			full = time.Now()
		}
		g.look(all)
	}
}

// nextRevocation gives a channel that the next revocation closes; nil if nobody
// tells of them.
func (g *guard) nextRevocation() <-chan struct{} {
	if g.revocations == nil {
		return nil
	}
	return g.revocations()
}

// gather waits a moment for more of the same.
func (g *guard) gather() {
	timer := time.NewTimer(guardPause)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-g.ctx.Done():
	}
}

// idle tells whether nothing is open; then the goroutine is as good as gone.
func (g *guard) idle() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.runs = len(g.open) > 0
	return !g.runs
}

// look judges the tokens that are due, or all, and ends what they no longer hold.
// It does not wait for a token whose issuer keeps it waiting, nor does another
// token.
func (g *guard) look(all bool) {
	now := g.now()
	var due []*opening
	g.mu.Lock()
	for o := range g.open {
		switch {
		case o.judging: // perhaps since before what this look is for
			o.seen = o.seen && !all
		case all || !o.seen || !o.expires.IsZero() && !now.Before(o.expires):
			o.seen, o.judging = true, true
			due = append(due, o)
		}
	}
	g.mu.Unlock()
	queue := make(chan *opening, len(due))
	for _, o := range due {
		queue <- o
	}
	close(queue)
	g.work(queue)
}

// work judges what is queued: on one goroutine, and on twice as many again and
// again as long as that takes too long. It returns when nothing is queued any more.
func (g *guard) work(queue <-chan *opening) {
	empty := make(chan struct{}, 1)
	judge := func() {
		for o := range queue {
			g.judge(o)
		}
		select {
		case empty <- struct{}{}:
		default:
		}
	}
	stuck := time.NewTicker(guardStuck)
	defer stuck.Stop()
	for more := 1; ; more *= 2 {
		for range min(more, max(len(queue), 1)) {
			g.running.Go(judge)
		}
		select {
		case <-empty:
			return
		case <-stuck.C:
		}
	}
}

// judge judges one token.
func (g *guard) judge(o *opening) {
	ctx, cancel := context.WithTimeout(g.ctx, guardPatience)
	defer cancel()
	if err := o.judge(ctx); err != nil && final(err) {
		o.end(err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	o.judging = false
}

// final tells whether the token will never be good again; that it cannot be judged
// is our trouble and passes.
func final(err *arc.Error) bool {
	return err.Code.Access() && !err.Outage()
}

// refusalOf gives the refusal that ended a context of [guard.enter]; nil if
// something else did, or it has not ended.
func refusalOf(held context.Context) *arc.Error {
	if held.Err() == nil {
		return nil
	}
	refusal, _ := context.Cause(held).(*arc.Error)
	return refusal
}

// holdOpen guards something that the token of a call to the ARC endpoint holds
// open. Without authentication there is no token, and nothing to guard.
func (s *Server) holdOpen(ctx context.Context, p *auth.Principal, token, requestID string) (held context.Context, leave func()) {
	if token == "" {
		return ctx, func() {}
	}
	return s.guard.enter(ctx, p.Expires, func(ctx context.Context) (refusal *arc.Error) {
		defer func() {
			if cause := recover(); cause != nil { // of a validator that is not ours
				refusal = s.panicked(cause, "(token)", requestID)
			}
		}()
		_, refusal = s.validate(ctx, token, requestID)
		return refusal
	})
}

// leaving is how long a frame that is on its way when the token ends may still
// take: if it were cut at once, so would be the connection, and nothing could be
// said any more.
const leaving = 300 * time.Millisecond

// writing gives a context for one write to a socket that held keeps open.
func (s *Server) writing(held context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(held), s.cfg.WriteTimeout)
	stop := context.AfterFunc(held, func() { time.AfterFunc(leaving, cancel) })
	return ctx, func() {
		stop()
		cancel()
	}
}

package ratelimit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"math"
	"time"

	"github.com/arcd-io/arcd/store"
)

const (
	// leaseTime is how long tokens that were taken can be used.
	leaseTime = time.Second
	// ahead is the time for which tokens are taken. More are fetched when half are gone.
	ahead = 200 * time.Millisecond
	// pause is the least time between two looks at a bucket that was empty.
	pause = 100 * time.Millisecond
	// patience is the longest that a call waits for the store.
	patience = 50 * time.Millisecond
	// probing is the time between two looks whether the store answers again.
	probing = time.Second
	// answerTime is after what time a look at the store is given up.
	answerTime = 2 * time.Second
)

// lease is what this replica has of a shared bucket.
type lease struct {
	tokens int64     // below 0: calls that passed while the store did not answer
	until  time.Time // when they are lost
	block  int64     // how many there were after the last answer

	// demand is the number of calls of late: each counts less with time, a third after
	// [ahead]. In the long run it is the calls of that time.
	demand float64
	seen   time.Time // the last call

	waiting int64         // calls that wait for tokens
	answer  chan struct{} // closed by the next answer; nil: nobody has asked
	failed  bool          // the last look had no answer
	empty   time.Time     // until then the bucket has no token for us
}

// key is the name of a caller's bucket in the store: short, whatever the name is.
func key(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "calls " + base64.RawURLEncoding.EncodeToString(sum[:])
}

// called counts a call. The Limiter's mutex is held, as for all methods here.
func (e *lease) called(now time.Time) {
	e.demand = 1 + e.demand*math.Exp(-float64(now.Sub(e.seen))/float64(ahead))
	e.seen = now
}

// rests tells whether nothing is lost if the lease is forgotten.
func (e *lease) rests(now time.Time) bool {
	return e.answer == nil && e.waiting == 0 && !now.Before(e.until) && !now.Before(e.empty)
}

// takeShared takes a token of the last block, and waits for the next one if there is
// none. It gives up the mutex while it waits.
func (l *Limiter) takeShared(ctx context.Context, c *caller) (wait time.Duration, ok bool) {
	var late <-chan time.Time
	for {
		now := time.Now()
		c.expire(now)
		switch {
		case c.tokens > 0:
			c.tokens--
			if c.tokens <= c.block/2 && l.ahead(c) >= 1 && !now.Before(c.empty) {
				l.ask(c, now)
			}
			c.own.AllowN(now, 1) // for when the store is away
			return 0, true
		case now.Before(c.empty):
			return max(l.perToken(), c.empty.Sub(now)), false
		}
		l.ask(c, now)
		if l.away || l.closed {
			return c.takeAlone(now)
		}
		if late == nil {
			timer := time.NewTimer(patience)
			defer timer.Stop()
			late = timer.C
		}
		if !l.await(ctx, c, late) {
			return c.takeAlone(time.Now())
		}
	}
}

// takeAlone takes a token of the bucket in memory, which the shared one will owe.
func (c *caller) takeAlone(now time.Time) (wait time.Duration, ok bool) {
	if wait, ok = c.takeOwn(now); ok {
		c.tokens--
	}
	return wait, ok
}

// expire drops what was not used in time.
func (e *lease) expire(now time.Time) {
	if !now.Before(e.until) {
		e.tokens = min(e.tokens, 0)
	}
}

// await waits for an answer of the store; false if there is none.
func (l *Limiter) await(ctx context.Context, c *caller, late <-chan time.Time) bool {
	answer := c.answer
	c.waiting++
	l.mu.Unlock()
	answered := false
	select {
	case <-answer:
		answered = true
	case <-late:
	case <-ctx.Done():
	}
	l.mu.Lock()
	c.waiting--
	if !answered && ctx.Err() == nil {
		l.lost(context.DeadlineExceeded)
	}
	return answered && !c.failed
}

// lost notes that the store does not answer: nobody waits for it then.
func (l *Limiter) lost(err error) {
	if l.away || l.closed {
		return
	}
	l.away, l.probe = true, time.Now().Add(probing)
	l.cfg.Log.Warn().Str("event", "rate_limits_local").Err(err).
		Msg("the store does not answer about rate limits: this replica gives each caller the full rate")
}

// found notes that it does.
func (l *Limiter) found() {
	if l.away {
		l.away = false
		l.cfg.Log.Info().Str("event", "rate_limits_shared").Msg("the store answers about rate limits again")
	}
}

// ask has the next look at the store take tokens for the caller.
func (l *Limiter) ask(c *caller, now time.Time) {
	if c.answer != nil || l.closed {
		return
	}
	if l.away {
		if now.Before(l.probe) {
			return
		}
		l.probe = now.Add(probing)
	}
	c.answer = make(chan struct{})
	l.queue = append(l.queue, c)
	if !l.runs {
		l.runs = true
		l.work.Go(l.run)
	}
}

// run takes what is asked for, all at once, until nobody asks any more.
func (l *Limiter) run() {
	for {
		l.mu.Lock()
		queue := l.queue
		l.queue = nil
		if len(queue) == 0 {
			l.runs = false
			l.mu.Unlock()
			return
		}
		asks := make([]store.Ask, len(queue))
		for i, c := range queue {
			asks[i] = store.Ask{Key: c.key, Rate: l.cfg.Rate, Burst: l.burst, Want: l.wants(c)}
		}
		l.mu.Unlock()

		ctx, cancel := context.WithTimeout(l.ctx, answerTime)
		took, err := l.cfg.Quota.Take(ctx, asks, l.cfg.Now())
		cancel()

		l.mu.Lock()
		now := time.Now()
		for i, c := range queue {
			if c.failed = err != nil; !c.failed {
				l.settle(c, took[i], asks[i].Want, now)
			}
			close(c.answer)
			c.answer = nil
		}
		if err == nil {
			l.found()
		} else {
			l.lost(err)
		}
		l.mu.Unlock()
	}
}

// wants is how many tokens to take: those that calls wait for, and those to have ahead.
func (l *Limiter) wants(c *caller) int64 {
	return min(max(c.waiting+l.ahead(c)-c.tokens, 1), l.burst)
}

// ahead is how many tokens to have beyond what calls wait for: what the demand of late
// uses, but little of a bucket that gains little, as what is not used is lost to the
// other replicas.
func (l *Limiter) ahead(c *caller) int64 {
	most := max(l.cfg.Rate*ahead.Seconds(), float64(l.burst)/8)
	return int64(min(c.demand-1, most))
}

// settle puts down what was taken.
func (l *Limiter) settle(c *caller, took, wanted int64, now time.Time) {
	c.expire(now)
	owed := l.burst - int64(c.own.TokensAt(now)) // older debts are paid by time
	c.tokens = max(c.tokens, -owed) + took
	c.block, c.until = c.tokens, now.Add(leaseTime)
	if took < wanted {
		c.empty = now.Add(min(max(l.perToken(), pause), time.Second))
	}
}

// perToken is how long a bucket takes to gain a token.
func (l *Limiter) perToken() time.Duration {
	return time.Duration(min(float64(time.Second)/l.cfg.Rate, float64(24*time.Hour)))
}

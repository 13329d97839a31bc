// Package ratelimit bounds how many calls a caller may make: a token bucket for each,
// in memory while one process serves alone, and shared through the store where there
// are replicas.
//
// A shared bucket is never asked for one call. Each replica takes tokens from it in
// blocks, ahead of what it expects to need, some ten times a second for a caller that
// is busy, and for all callers in one statement. So no more calls pass than the limit
// says, whichever replica they come to, and few calls wait for the store. What a
// replica took and does not use within a second is lost.
//
//	Take
//	├─ alone    the bucket in memory
//	└─ shared   tokens of the last block
//	   ├─ few left   more are fetched meanwhile (run, one goroutine)
//	   ├─ none       wait for them, at most 50 ms
//	   └─ no answer  the bucket in memory, with the full rate
package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/time/rate"

	"github.com/arcd-io/arcd/store"
)

// Config says how much a caller may call.
type Config struct {
	// Rate is how many calls a second a caller may make in the long run. Above 0.
	Rate float64
	// Burst is how many it may make at once after a rest. 0: what Rate gives in a
	// second, rounded up. With Quota at least what Rate gives in a tenth of a second,
	// or replicas that look ten times a second could not use the rate up.
	Burst int
	// Quota keeps the buckets that replicas share. Nil: this process serves alone.
	Quota store.Quota
	// Now is the clock that the replicas share, for Quota. Nil: time.Now.
	Now func() time.Time
	// Log tells when the store does not answer, and when it does again. The zero Logger
	// writes nothing.
	Log zerolog.Logger
}

// maxCallers is how many callers are remembered at most. One that is forgotten has a
// full bucket here; a shared one stays what it is.
const maxCallers = 100_000

// Limiter bounds the calls of each caller. Make one with [New]. It is safe for
// concurrent use.
type Limiter struct {
	cfg   Config
	burst int64

	ctx    context.Context // of what run asks; ended by Close
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu      sync.Mutex // guards what follows, and the fields of callers
	callers map[string]*caller
	sweepAt int // number of callers at which those that rest are forgotten
	closed  bool

	queue []*caller // those that want tokens
	runs  bool      // somebody works off queue
	// away says that the store does not answer; it is asked again at probe.
	away  bool
	probe time.Time
}

// caller is what is known of one caller.
type caller struct {
	key string
	// own is its bucket as far as this process served it. Its time is the process's.
	own *rate.Limiter
	lease
}

// New makes a Limiter. It panics if Rate is not above 0: that is start-up misuse.
func New(cfg Config) *Limiter {
	if !(cfg.Rate > 0) || math.IsInf(cfg.Rate, 0) {
		panic("ratelimit.New: Config.Rate is not above 0")
	}
	if cfg.Burst <= 0 {
		cfg.Burst = int(min(math.Ceil(cfg.Rate), math.MaxInt32))
	}
	if cfg.Quota != nil {
		cfg.Burst = max(cfg.Burst, int(min(math.Ceil(cfg.Rate*pause.Seconds()), math.MaxInt32)))
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	l := &Limiter{cfg: cfg, burst: int64(cfg.Burst), callers: make(map[string]*caller), sweepAt: fewCallers}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// Close ends what runs in the background. Calls after it are judged by what is in
// memory.
func (l *Limiter) Close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.cancel()
	l.work.Wait()
}

// Take counts one call of a caller, who is named in any way that is the same each
// time. If it may not be made, wait is after what time one may be. It waits no longer
// than 50 ms, and not at all unless the buckets are shared.
func (l *Limiter) Take(ctx context.Context, name string) (wait time.Duration, ok bool) {
	now := time.Now()
	l.mu.Lock()
	c := l.find(name, now)
	if l.cfg.Quota == nil {
		l.mu.Unlock()
		return c.takeOwn(now)
	}
	defer l.mu.Unlock()
	c.called(now)
	return l.takeShared(ctx, c)
}

// takeOwn takes a token of the bucket in memory.
func (c *caller) takeOwn(now time.Time) (wait time.Duration, ok bool) {
	r := c.own.ReserveN(now, 1)
	if wait = r.DelayFrom(now); wait > 0 {
		r.CancelAt(now)
		return wait, false
	}
	return 0, true
}

// find gives the caller of a name. l.mu is held.
func (l *Limiter) find(name string, now time.Time) *caller {
	c := l.callers[name]
	if c == nil {
		l.makeRoom(now)
		c = &caller{own: rate.NewLimiter(rate.Limit(l.cfg.Rate), l.cfg.Burst)}
		if l.cfg.Quota != nil {
			c.key = key(name)
		}
		l.callers[name] = c
	}
	return c
}

// fewCallers is below which number nobody looks whether some can be forgotten.
const fewCallers = 1024

// makeRoom forgets callers that rest: a full bucket is as good as none. Each look at
// all of them is paid for by as many new ones. l.mu is held.
func (l *Limiter) makeRoom(now time.Time) {
	if len(l.callers) < l.sweepAt {
		return
	}
	for name, c := range l.callers {
		if c.own.TokensAt(now) >= float64(l.burst) && c.rests(now) {
			delete(l.callers, name)
		}
	}
	for name := range l.callers { // so many are busy: any of them
		if len(l.callers) <= maxCallers*9/10 {
			break
		}
		delete(l.callers, name)
	}
	l.sweepAt = min(max(fewCallers, 2*len(l.callers)), maxCallers)
}

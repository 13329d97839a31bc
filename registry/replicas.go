package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// Several processes, replicas, may share a store. What one of them writes the others
// see within a second: they look at what has changed twice a second, and at once when
// somebody gives them a hint.
//
//	Follow ── each half second, or Look
//	  └─ look ── Changes ── apply            agents, sessions, temp tokens, revocations
//	                   └─── reload           too much to tell one by one
//	Revoked ── known                         no look went well for 10 s: nothing is taken
//	  └─ not in memory, and young ── look    it may have been made elsewhere just now
//	Register, Unregister, sweep ── look, then compare-and-set; who comes later sees it

// Times of looks.
const (
	followEvery = 500 * time.Millisecond
	// followPause is the least time between two looks that hints cause.
	followPause = 20 * time.Millisecond
	// lookPatience is how long a look may take, reloadPatience one that reads all.
	lookPatience   = 3 * time.Second
	reloadPatience = time.Minute
	// lookAgain is how soon after a failure a call makes another try.
	lookAgain = time.Second
	// known is how long a look counts when those after it fail.
	known = 10 * time.Second
	// newborn is how old a token can be and what it stands on not be written yet.
	newborn = 15 * time.Second
)

// replicas is what this one knows of the others.
type replicas struct {
	self string        // tells this one's marks from the others'
	wake chan struct{} // has somebody look now

	version int64 // of the store as it is in memory; the directory's registering is held

	// good is when the last look that went well began, by this machine's clock and by
	// the one that all share.
	good atomic.Pointer[[2]time.Time]

	mu    sync.Mutex // guards what follows
	tried time.Time  // when the last look that ended began
	ended time.Time  // and when it did
	err   error      // what became of it
}

// since gives the outcome of a look that began after that time; done is false if there
// was none.
func (o *replicas) since(asked time.Time) (done bool, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.tried.Before(asked), o.err
}

// looked notes the outcome of a look. first tells that it is another kind than that
// of the one before.
func (o *replicas) looked(began time.Time, err error) (first bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	first = (err == nil) != (o.err == nil)
	o.tried, o.ended, o.err = began, time.Now(), err
	return first
}

// Look has [Registry.Follow] look at once at what other replicas wrote. It does not
// block. It is for hints ([store.Hint.Registry]).
func (r *Registry) Look() {
	select {
	case r.others.wake <- struct{}{}:
	default:
	}
}

// Follow keeps up with what other replicas write, until ctx ends. [Registry.Run] does
// it too.
func (r *Registry) Follow(ctx context.Context) {
	if r.cfg.Alone {
		return
	}
	every := time.NewTicker(followEvery)
	defer every.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		case <-r.others.wake:
		}
		_ = r.look(ctx) // it has been logged, and counts as long as no other goes well
		pause := time.NewTimer(followPause)
		select {
		case <-ctx.Done():
		case <-pause.C:
		}
		pause.Stop()
	}
}

// look reads what was committed before it was called. Looks are one at a time; who
// waits for one that begins after his call needs none of his own.
func (r *Registry) look(ctx context.Context) error {
	if r.cfg.Alone {
		return nil
	}
	asked := time.Now()
	r.agents.registering.Lock()
	defer r.agents.registering.Unlock()
	return r.lookSince(ctx, asked)
}

// lookHeld is look for those who hold the directory's registering.
func (r *Registry) lookHeld(ctx context.Context) error { return r.lookSince(ctx, time.Now()) }

// lookSince looks unless somebody has since asked. The directory's registering is
// held: nobody here writes an agent between the look and its taking effect, so what
// is applied is never older than what is there. For sessions there is their own lock.
func (r *Registry) lookSince(ctx context.Context, asked time.Time) error {
	if r.cfg.Alone {
		return nil
	}
	if done, err := r.others.since(asked); done {
		return err
	}
	r.sessions.opening.Lock()
	defer r.sessions.opening.Unlock()
	return r.lookNow(ctx)
}

// lookNow is the look itself. The locks of lookSince are held.
func (r *Registry) lookNow(ctx context.Context) error {
	began, now := time.Now(), r.now()
	ctx = context.WithoutCancel(ctx) // others wait for it too
	err := r.catchUp(ctx, now)
	if err == nil {
		r.others.good.Store(&[2]time.Time{began, now})
	}
	if first := r.others.looked(began, err); first && err != nil {
		r.log.Error().Str("event", "changes_unread").Err(err).
			Msg("what other replicas revoke is not known; after 10 s no token is taken")
	} else if first {
		r.log.Info().Str("event", "changes_read").Send()
	}
	return err
}

// catchUp brings the memory up to the store's version.
func (r *Registry) catchUp(ctx context.Context, now time.Time) error {
	looking, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	c, err := r.store.Changes(looking, r.others.version)
	if err != nil {
		return fmt.Errorf("reading what changed: %w", err)
	}
	if c.Whole {
		reading, cancel := context.WithTimeout(ctx, reloadPatience)
		defer cancel()
		if err := r.reload(reading, now); err != nil {
			return err
		}
	} else {
		r.apply(&c, now)
	}
	r.others.version = c.Version
	return nil
}

// reload reads everything. The locks of lookSince are held, or nobody else is there.
func (r *Registry) reload(ctx context.Context, now time.Time) error {
	for _, part := range []struct {
		what string
		load func(context.Context, time.Time) error
	}{
		{"revocations", r.loadRevocations},
		{"agents", r.loadAgents},
		{"sessions", r.loadSessions},
		{"temp tokens", r.loadTemps},
	} {
		if err := part.load(ctx, now); err != nil {
			return fmt.Errorf("reading %s: %w", part.what, err)
		}
	}
	r.revoked.tell()
	r.agents.tell()
	return nil
}

// known tells whether what other replicas revoked is known. Beyond the bound it makes
// a try of its own, for a process that nobody has woken for a while.
func (r *Registry) known(ctx context.Context) error {
	if r.cfg.Alone {
		return nil
	}
	now := time.Now()
	if elapsed(r.others.good.Load()[0], now) <= known {
		return nil
	}
	if err := r.others.failedLately(now); err != nil {
		return err
	}
	// Nobody waits here for those who wait for a store that does not answer.
	if !r.agents.registering.TryLock() {
		return errUnknown
	}
	defer r.agents.registering.Unlock()
	if !r.sessions.opening.TryLock() {
		return errUnknown
	}
	defer r.sessions.opening.Unlock()
	return r.lookNow(ctx)
}

// errUnknown is that nobody can tell now what other replicas revoked.
var errUnknown = errors.New("the store does not answer")

// failedLately gives the error of the last look if it is too soon for another.
func (o *replicas) failedLately(now time.Time) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil && elapsed(o.ended, now) < lookAgain {
		return o.err
	}
	return nil
}

// elapsed is the time between two readings of this machine's clock. Of its two ways to
// tell, the steady one may stand still while the machine sleeps, and the other be put
// back: the longer time counts.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

// Ready tells whether the registry can judge tokens: what other replicas wrote has been
// read in the last ten seconds. Otherwise all tokens are refused.
func (r *Registry) Ready(ctx context.Context) error {
	if err := r.known(ctx); err != nil {
		return fmt.Errorf("registry: %w", err)
	}
	return nil
}

// mayBeNew tells whether what the principal's token stands on may have been written by
// another replica after the last look. Only such a token can cause one, and it was
// signed by arcd not long ago: nobody makes arcd read its store with tokens of his
// own making, or with old ones.
func (r *Registry) mayBeNew(p *auth.Principal) bool {
	return !r.cfg.Alone && p.IssuedAt.Add(newborn).After(r.others.good.Load()[1])
}

// claim gives one replica the right to end something that is there once, such as a
// registration; what names it. Others get false, until the right is over after a
// minute. It is for what compare-and-set does not cover: an agent's Rev begins
// anew when the id does.
func (r *Registry) claim(ctx context.Context, what string) (bool, error) {
	if r.cfg.Alone {
		return true, nil
	}
	now := r.now()
	there, err := r.store.Mark(ctx, store.Mark{
		Kind: markOnce, Value: what, Body: []byte(r.others.self), Expires: now.Add(time.Minute),
	}, now)
	return err == nil && (there == nil || string(there.Body) == r.others.self), err
}

// disclaim gives a right back that could not be used.
func (r *Registry) disclaim(ctx context.Context, what string) error {
	if r.cfg.Alone {
		return nil
	}
	_, err := r.store.Unmark(ctx, markOnce, what)
	return err
}

// errFaster is that another replica has changed the same thing first.
var errFaster = errors.New("another replica was faster")

// unavailable refuses what cannot be done without the store.
func unavailable(cause error) *arc.Error {
	e := arc.Refuse(arc.ProblemUnavailable, "service_unavailable", "The registry cannot be changed now; try again").
		With("retryable", true).Because(cause)
	e.RetryAfter = 2 * time.Second
	return e
}

package credential

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// RefreshOptions says when a refresh is due. The zero value: when the credential
// has expired, or a server called it expired.
type RefreshOptions struct {
	// Force asks for another token although the one at hand is good.
	Force bool
	// MinTTL is how long the credential must still be good; 0: at all. What was
	// issued in the last 10 s is not replaced for it.
	MinTTL time.Duration
	// Failed is a token that the server has just called expired; it is marked, as
	// by [Store.MarkExpired]. "": none.
	Failed string
}

// recent is how long after a refresh another one is no use (contract section
// 2.6).
const recent = 10 * time.Second

// Refresh sees to it that the next call has a good credential. Where several
// processes want one at once, one of them asks the token endpoint, and the others
// take what it got: their effect is [Noop], as it is when the credential is good
// anyway.
//
// What it can refresh with, first match wins; a way that is refused leads to the
// next one:
//
//	stored credential       its own grant, then the environment's client credentials
//	--token, ARCD_TOKEN,    its successor's grant, then that of a stored credential
//	ARCD_TOKEN_FILE         of the same identity, then the environment's client
//	                        credentials; the outcome becomes its successor
//	nothing                 the environment's client credentials
//
// Errors: [*RejectedError]; [ErrNotRefreshable]; [ErrOtherIdentity]; [*NoneError];
// [*LockedError] after LockWait; those of [Store.Resolve]; and what package client
// makes of an endpoint that is down.
func (s *Store) Refresh(ctx context.Context, t Target, o RefreshOptions) (*Result, error) {
	if err := s.MarkExpired(ctx, o.Failed); err != nil {
		return nil, err
	}
	c, err := s.Resolve(ctx, t)
	var ways []way
	switch none, missing := errors.AsType[*NoneError](err); {
	case missing && none.Mintable && none.OtherServer == "":
		ways = []way{s.envWay(t, t.key())}
	case err != nil:
		return nil, err
	case !o.Force && s.enough(c, o):
		return &Result{Effect: Noop, Credential: c}, nil
	default:
		// The file is needed now, whatever came from the environment.
		st, err := s.load()
		if err != nil {
			return nil, err
		}
		if ways = s.ways(ctx, t, st, s.original(t, st, c)); len(ways) == 0 {
			return nil, s.stuck(t, c)
		}
	}
	return s.tryWays(ctx, t, o, ways)
}

// original gives the token that was presented, where c stands in for it.
func (s *Store) original(t Target, st *state, c *Credential) *Credential {
	if c.Superseded == "" {
		return c
	}
	if given, err := s.presented(t, st); err == nil && given != nil {
		return given
	}
	return c
}

// tryWays goes one way after the other until one leads to a token.
func (s *Store) tryWays(ctx context.Context, t Target, o RefreshOptions, ways []way) (*Result, error) {
	var first error
	for _, w := range ways {
		r, err := s.renew(ctx, t, o, w)
		if err == nil {
			return r, nil
		}
		if first == nil {
			first = err
		}
		if !errors.Is(err, ErrRejected) && !errors.Is(err, ErrNotRefreshable) && !errors.Is(err, ErrOtherIdentity) {
			break // an outage: the other ways wait too
		}
	}
	return nil, first
}

// enough tells whether the credential needs no refresh.
func (s *Store) enough(c *Credential, o RefreshOptions) bool {
	now := s.now()
	if c.good(now, o.MinTTL) {
		return true
	}
	issued := c.Facts.IssuedAt
	return c.good(now, 0) && !issued.IsZero() && now.Add(c.Offset).Sub(issued) < recent
}

// stuck says why there is no way.
func (s *Store) stuck(t Target, c *Credential) error {
	if s.mintable(t) && c.Facts.Identified() && !s.envFits(t, c.Facts) {
		return &classed{class: ErrOtherIdentity, text: fmt.Sprintf("the client of %s is another than that of the token", EnvClientID)}
	}
	why := "it came without anything to refresh it with"
	switch {
	case c.Setting != "" && !c.Facts.Identified():
		why = "the token of " + c.Setting + " does not tell whose it is, so nothing can take its place"
	case c.Setting != "" && t.NoSuccessor:
		why = "the token of " + c.Setting + " must not be replaced"
	case c.Setting != "":
		why = "neither the environment nor a stored login can get another token of the same identity as that of " + c.Setting
	}
	return &classed{class: ErrNotRefreshable, text: ErrNotRefreshable.Error() + ": " + why}
}

// renew goes one way, under the lock of the credential that it leads to.
func (s *Store) renew(ctx context.Context, t Target, o RefreshOptions, w way) (*Result, error) {
	var r *Result
	err := s.holding(ctx, w.key, func() error {
		st, err := s.load()
		if err != nil {
			return err
		}
		e, sec, err := s.current(ctx, st, t, &w)
		if err != nil {
			return err
		}
		if c := s.credential(st, t, w.key, e, sec); s.adoptable(c, o, &w) {
			c.Refreshable = s.canRenew(st, e, sec)
			r, err = s.adopt(ctx, t, w, c)
			return err
		}
		if !s.canRenew(st, e, sec) {
			return ErrNotRefreshable
		}
		r, err = s.spend(ctx, t, w, e, sec)
		return err
	})
	return r, err
}

// holding runs do while no other process gets a token for the credential.
func (s *Store) holding(ctx context.Context, key string, do func() error) error {
	if s.Folder == "" {
		return makeFolder("")
	}
	return locked(ctx, filepath.Join(s.Folder, "refresh-"+digest(key)[:16]+".lock"), s.LockWait, do)
}

// current gives the credential as it is now that the lock is held.
func (s *Store) current(ctx context.Context, st *state, t Target, w *way) (*entry, *secrets, error) {
	e := st.Credentials[w.key]
	if e == nil || e.Server != serverID(t.Server) {
		if w.template == nil {
			return nil, nil, &NoneError{Mintable: s.mintable(t)}
		}
		e = w.template
		return e, &secrets{}, nil
	}
	sec, err := s.open(ctx, w.key, e)
	if err != nil {
		return nil, nil, err
	}
	if w.template != nil && !s.adoptable(s.credential(st, t, w.key, e, sec), RefreshOptions{}, w) {
		return w.template, &secrets{}, nil
	}
	return e, sec, nil
}

// adoptable tells whether the token that is there now will do: somebody else has
// got it since, or it is good without force.
func (s *Store) adoptable(c *Credential, o RefreshOptions, w *way) bool {
	if c.Token == "" || w.wanted.Identified() && !c.Facts.sameIdentity(w.wanted) {
		return false
	}
	if o.Force || w.link != "" && c.Token == w.presented {
		return c.Token != w.before && c.good(s.now(), 0)
	}
	return s.enough(c, o)
}

// adopt takes what is there. A dead token of the environment gets its successor
// by it, which is a change.
func (s *Store) adopt(ctx context.Context, t Target, w way, c *Credential) (*Result, error) {
	r := &Result{Effect: Noop, Credential: c}
	if w.link == "" {
		return r, nil
	}
	err := s.change(ctx, func(st *state) error {
		linked := st.Successors[w.link] == w.key
		if linked && s.deadToken(st, t, w.presented) {
			return errUnchanged
		}
		if !linked {
			r.Effect = Updated
		}
		s.link(st, t, w)
		return nil
	})
	r.Credential.Superseded, r.Credential.Setting = w.source, w.setting
	return r, err
}

// link makes the way's credential the successor of the presented token.
func (s *Store) link(st *state, t Target, w way) {
	if w.link == "" {
		return
	}
	st.Successors[w.link] = w.key
	if !s.deadToken(st, t, w.presented) {
		st.mark(w.presented, s.now()) // it is good, but was to be replaced
	}
}

// deadToken tells whether a token would be passed over for its successor.
func (s *Store) deadToken(st *state, t Target, token string) bool {
	c := &Credential{Facts: Inspect(token), Marked: st.marked(token), Offset: st.offset(t.Server)}
	return c.dead(s.now())
}

// spend asks the token endpoint and stores what it gives.
//
//	note the attempt    only where a refresh token may be spent: proves that storing works
//	fetch               one request
//	judge               the same identity, not expired
//	store               before anything else can fail
func (s *Store) spend(ctx context.Context, t Target, w way, e *entry, sec *secrets) (*Result, error) {
	if err := s.complete(ctx, t, e, w.wanted); err != nil {
		return nil, err
	}
	interrupted, err := s.begin(ctx, w.key, e)
	if err != nil {
		return nil, err
	}
	// A refresh token that is spent without its successor being stored is lost, so
	// from here on a signal does not count, only the deadline.
	asking, cancel := undisturbed(ctx)
	defer cancel()
	f, err := s.fetch(asking, e, sec)
	if err != nil {
		return nil, s.refused(asking, w.key, interrupted, err)
	}
	return s.keep(context.WithoutCancel(ctx), t, w, e, sec, f)
}

// undisturbed gives a context without the cancellation of ctx, but with its
// deadline.
func undisturbed(ctx context.Context) (context.Context, context.CancelFunc) {
	free := context.WithoutCancel(ctx)
	if end, ok := ctx.Deadline(); ok {
		return context.WithDeadline(free, end)
	}
	return context.WithCancel(free)
}

// begin notes that the refresh token may be spent from now on. It gives when an
// earlier attempt began that was never finished.
func (s *Store) begin(ctx context.Context, key string, e *entry) (interrupted time.Time, err error) {
	if e.Grant != grantRefresh {
		return time.Time{}, nil
	}
	interrupted = e.Begun
	err = s.change(ctx, func(st *state) error {
		if stored := st.Credentials[key]; stored != nil {
			stored.Begun = s.now().UTC().Truncate(time.Second)
		}
		return nil
	})
	return interrupted, err
}

// refused clears the note of begin after an answer, and gives the error.
func (s *Store) refused(ctx context.Context, key string, interrupted time.Time, err error) error {
	r, ok := errors.AsType[*RejectedError](err)
	if !ok {
		return fmt.Errorf("asking for a token: %w", err)
	}
	r.Interrupted = interrupted
	if interrupted.IsZero() {
		// Only a hint is lost if this fails.
		_ = s.change(context.WithoutCancel(ctx), func(st *state) error {
			stored := st.Credentials[key]
			if stored == nil || stored.Begun.IsZero() {
				return errUnchanged
			}
			stored.Begun = time.Time{}
			return nil
		})
	}
	return r
}

// keep stores what was fetched. A token of somebody else, or one that has expired
// already, is thrown away; a refresh token that came with it is kept all the same,
// because the old one is spent.
func (s *Store) keep(ctx context.Context, t Target, w way, e *entry, sec *secrets, f *fetched) (*Result, error) {
	next := s.next(e, sec, f)
	facts := e.facts(next)
	var refusal error
	switch {
	case w.wanted.Identified() && (facts.JWT || w.link != "") && !facts.sameIdentity(w.wanted):
		refusal = ErrOtherIdentity
	case (&Credential{Facts: facts, Offset: f.ahead}).Past(s.now()), f.access == w.presented:
		refusal = &RejectedError{Code: "expired_token_given"}
	}
	r := &Result{Effect: Updated}
	err := s.change(ctx, func(st *state) error {
		if refusal == nil && st.marked(f.access) {
			refusal = &RejectedError{Code: "expired_token_given"}
		}
		if refusal != nil {
			if next.RefreshToken == sec.RefreshToken || st.Credentials[w.key] == nil {
				return errUnchanged
			}
			rotated := *sec
			rotated.RefreshToken = next.RefreshToken
			next = &rotated
		} else {
			e.describe(facts)
			s.link(st, t, w)
			st.setOffset(t.Server, f.ahead)
		}
		e.Begun = time.Time{}
		if err := s.put(ctx, st, w.key, e, next, false); err != nil {
			return err
		}
		r.Credential, r.Keyring = s.credential(st, t, w.key, e, next), e.Keyring
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("storing the new token: %w", err)
	}
	if refusal != nil {
		return nil, refusal
	}
	r.Kept = s.kept(e)
	r.Credential.Superseded, r.Credential.Setting = w.source, w.setting
	r.Credential.Refreshable = true
	return r, nil
}

// next gives the secrets after an answer. A refresh token that did not come anew
// is still good (RFC 6749 section 6).
func (s *Store) next(e *entry, sec *secrets, f *fetched) *secrets {
	next := &secrets{
		AccessToken: f.access, RefreshToken: f.refresh, ClientSecret: sec.ClientSecret,
		ExpiresAt: f.expires, ObtainedAt: s.now().Add(f.ahead).UTC().Truncate(time.Second),
	}
	if next.RefreshToken == "" {
		next.RefreshToken = sec.RefreshToken
	}
	if f.scopes != nil {
		e.Granted = f.scopes
	}
	return next
}

// describe notes whose the token is, for tokens to come that do not tell.
func (e *entry) describe(f Facts) {
	if f.JWT {
		e.Issuer, e.Subject, e.Client, e.Granted = f.Issuer, f.Subject, f.ClientID, f.Scopes
	}
}

// kept tells where the secrets are.
func (s *Store) kept(e *entry) string {
	if e.Keyring {
		return "keyring"
	}
	return s.Path()
}

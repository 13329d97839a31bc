package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/zerolog"

	"github.com/arcd-io/arcd/arc"
)

const (
	maxStale      = 24 * time.Hour   // how long keys serve while their issuer cannot be asked
	localMaxAge   = 15 * time.Second // how often keys of this process are read anew
	missFor       = 30 * time.Second // how long a key id that is not there is not asked for again
	maxMisses     = 1000             // most such key ids
	firstRetry    = time.Second      // after a failure, doubled up to
	lastRetry     = 30 * time.Second
	maxBackground = time.Minute // retry while good keys are in hand
)

// keyStore keeps the keys of one provider. Reading is one atomic load: a key
// that is known never waits for the network. Writing is done by one fetch at a
// time, whoever wants it.
type keyStore struct {
	provider Provider
	client   *http.Client
	now      func() time.Time
	log      zerolog.Logger

	set atomic.Pointer[keySet]

	mu      sync.Mutex // guards what follows
	flight  *flight    // the fetch that is under way; nil: none
	asked   time.Time  // when an unknown key id last caused a fetch
	misses  map[string]time.Time
	failure error  // of the last fetch; nil if it went well
	jwksURI string // discovered; "" before
}

// keySet is one reading of a provider's keys; never changed after it is stored.
type keySet struct {
	hash    [sha256.Size]byte       // of the document
	byID    map[string][]*verifyKey // doubles differ in their kind of key
	all     []*verifyKey
	fetched time.Time
}

// flight is one fetch that several callers can wait for.
type flight struct {
	done chan struct{} // closed at the end; the rest may be read then
	age  time.Duration
	err  error
}

var errNoSuchKey = errors.New("no such key in the key set")

// find gives the key for a token's kid and alg. For a kid that is not known, or
// while no keys are there, it may wait for one fetch, at most [fetchTimeout].
//
//	find ── pick from the snapshot ── found, or of another algorithm: done
//	  └─ join: a fetch under way, or one of our own if kid and cooldown allow
//	       └─ pick again
func (s *keyStore) find(ctx context.Context, kid, alg string) (*verifyKey, *arc.Error) {
	// Twice, since a fetch that was under way may be older than the key.
	for range 2 {
		key, err := s.current().pick(kid, alg)
		if !errors.Is(err, errNoSuchKey) {
			return key, s.refusal(err)
		}
		f, leads := s.join(kid)
		if f == nil {
			break
		}
		if leads {
			// The fetch serves others too; it outlives this request.
			s.lead(context.WithoutCancel(ctx), f)
			key, err := s.current().pick(kid, alg)
			if errors.Is(err, errNoSuchKey) {
				s.noteMiss(kid)
			}
			return key, s.refusal(err)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, keysUnavailable(ctx.Err())
		}
	}
	key, err := s.current().pick(kid, alg)
	return key, s.refusal(err)
}

// refusal turns what pick reports into what the caller is told. A key that is
// not there while its issuer cannot be asked may be a new one: that is no fault
// of the token.
func (s *keyStore) refusal(err error) *arc.Error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errOtherAlg):
		return refuse(ReasonAlgNotAllowed, err)
	}
	s.mu.Lock()
	failure := s.failure
	s.mu.Unlock()
	if s.current() == nil || failure != nil && errors.Is(err, errNoSuchKey) {
		return keysUnavailable(failure)
	}
	return refuse(ReasonUnknownKey, err)
}

// current gives the keys in hand; nil if there are none, or none that have been
// confirmed in the last 24 hours.
func (s *keyStore) current() *keySet {
	set := s.set.Load()
	if set == nil || s.now().Sub(set.fetched) > maxStale {
		return nil
	}
	return set
}

// join gives the fetch to wait for. leads says that it is the caller's to do.
// It is nil if nothing is under way and nothing may begin for this kid now.
func (s *keyStore) join(kid string) (f *flight, leads bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flight != nil {
		return s.flight, false
	}
	now := s.now()
	if s.provider.Keys == nil {
		if until, missed := s.misses[kid]; missed && now.Before(until) {
			return nil, false
		}
		if !s.asked.IsZero() && now.Sub(s.asked) < s.provider.RefetchCooldown {
			return nil, false
		}
	}
	s.asked = now
	s.flight = &flight{done: make(chan struct{})}
	return s.flight, true
}

// noteMiss remembers that the set fetched for this kid does not hold it.
func (s *keyStore) noteMiss(kid string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil || s.provider.Keys != nil {
		return
	}
	now := s.now()
	if len(s.misses) >= maxMisses {
		for id, until := range s.misses {
			if !now.Before(until) {
				delete(s.misses, id)
			}
		}
		if len(s.misses) >= maxMisses {
			return // the cooldown alone holds back the rest
		}
	}
	s.misses[kid] = now.Add(missFor)
}

// refresh fetches the keys, or waits for a fetch that is under way.
func (s *keyStore) refresh(ctx context.Context) (time.Duration, error) {
	s.mu.Lock()
	f, leads := s.flight, false
	if f == nil {
		f, leads = &flight{done: make(chan struct{})}, true
		s.flight = f
	}
	s.mu.Unlock()
	if leads {
		s.lead(ctx, f)
	}
	select {
	case <-f.done:
		return f.age, f.err
	case <-ctx.Done():
		return 0, ctx.Err()
	}
}

// lead does the fetch of f, within [fetchTimeout], and tells all who wait.
func (s *keyStore) lead(ctx context.Context, f *flight) {
	ctx, cancel := context.WithTimeout(ctx, fetchTimeout)
	defer cancel()
	document, age, err := s.load(ctx)
	if err == nil {
		err = s.install(document)
	}
	s.mu.Lock()
	s.flight, s.failure = nil, err
	if err != nil {
		s.jwksURI = "" // it may have moved
	}
	s.mu.Unlock()
	f.age, f.err = age, err
	close(f.done)
	if err != nil {
		s.log.Warn().Str("event", "keys_failed").Str("provider", s.provider.Name).Err(err).
			Msg("key set not refreshed")
	}
}

// load gets the key set and how long it may serve.
func (s *keyStore) load(ctx context.Context) ([]byte, time.Duration, error) {
	if s.provider.Keys != nil {
		return s.provider.Keys(), localMaxAge, nil
	}
	address := s.provider.JWKSURI
	if address == "" {
		s.mu.Lock()
		address = s.jwksURI
		s.mu.Unlock()
	}
	if address == "" {
		found, err := discover(ctx, s.client, s.provider)
		if err != nil {
			return nil, 0, err
		}
		s.mu.Lock()
		s.jwksURI, address = found, found
		s.mu.Unlock()
	}
	body, header, err := get(ctx, s.client, address)
	if err != nil {
		return nil, 0, fmt.Errorf("fetching key set: %w", err)
	}
	return body, maxAge(header), nil
}

// install puts a key set into use. Keys that were there before stay the same
// objects; those that are gone are withdrawn. A set without a usable key
// changes nothing: an issuer that loses its keys by mistake must not lock
// everybody out at once. Only the leader of a flight calls it.
func (s *keyStore) install(document []byte) error {
	old := s.set.Load()
	hash := sha256.Sum256(document)
	if old != nil && old.hash == hash {
		same := *old
		same.fetched = s.now()
		s.set.Store(&same)
		return nil
	}
	keys, alarms, err := readSet(document)
	for _, alarm := range alarms {
		s.log.Error().Str("event", "key_refused").Str("provider", s.provider.Name).Err(alarm).
			Msg("a key of the key set is refused")
	}
	if err != nil {
		return err
	}
	before := map[[sha256.Size]byte]*verifyKey{}
	if old != nil {
		for _, k := range old.all {
			before[k.print] = k
		}
	}
	set := &keySet{hash: hash, byID: map[string][]*verifyKey{}, fetched: s.now()}
	var ids []string
	for _, k := range keys {
		if known := before[k.print]; known != nil {
			k = known
			delete(before, k.print)
		}
		set.all = append(set.all, k)
		set.byID[k.id] = append(set.byID[k.id], k)
		ids = append(ids, k.id)
	}
	s.set.Store(set)
	for _, k := range before {
		k.withdrawn.Store(true)
	}
	s.log.Info().Str("event", "keys_changed").Str("provider", s.provider.Name).Strs("kids", ids).
		Msg("key set read")
	return nil
}

// run keeps the keys fresh until ctx ends.
func (s *keyStore) run(ctx context.Context) {
	retry := firstRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		wait, err := s.refresh(ctx)
		switch {
		case err == nil:
			retry = firstRetry
		case s.current() != nil:
			wait = min(2*retry, maxBackground)
			retry = wait
		default:
			wait, retry = retry, min(2*retry, lastRetry)
		}
		timer.Reset(wait)
	}
}

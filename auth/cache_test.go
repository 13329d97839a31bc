package auth_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

// clock is a clock that a test moves.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) move(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// What is remembered of a token is still held against the clock.
func TestCacheTime(t *testing.T) {
	iss := arctest.NewIssuer(t)
	c := &clock{at: time.Unix(1_800_000_000, 0)}
	ps := newProviders(t, auth.Config{Providers: []auth.Provider{iss.Provider("test", audience)}, Now: c.now})
	token := iss.Mint(t, "ES256", iss.Claims(audience, c.now()))
	for _, step := range []struct {
		move   time.Duration
		reason string
	}{
		{0, ""}, {0, ""}, {time.Hour, ""}, {29 * time.Second, ""}, {time.Second, auth.ReasonExpired}, {0, auth.ReasonExpired},
		{-time.Hour, ""}, {-time.Minute, ""}, {-time.Second, auth.ReasonNotYetValid}, {time.Second, ""},
	} {
		c.move(step.move)
		judged(t, ps, token, step.reason)
		if got := ps.Remembered(); got != 1 {
			t.Errorf("%d tokens remembered; want 1", got)
		}
	}
}

// Two callers with one token get the same principal; a token that differs in
// its signature only is another token.
func TestCacheWholeToken(t *testing.T) {
	iss := arctest.NewIssuer(t)
	ps := trusting(t, iss)
	token := iss.Token(t, audience)
	first, err := ps.Validate(t.Context(), token)
	if err != nil {
		t.Fatalf("Validate: %v", err)
	}
	second, err := ps.Validate(t.Context(), token)
	if err != nil || first != second {
		t.Errorf("Validate again: got %p, %v; want %p", second, err, first)
	}
	judged(t, ps, token[:len(token)-4]+"AAAA", auth.ReasonBadSignature)
}

func TestCacheIsBounded(t *testing.T) {
	iss := arctest.NewIssuer(t)
	cfg := auth.Config{Providers: []auth.Provider{iss.Provider("test", audience)}, CacheSize: 64}
	ps := newProviders(t, cfg)
	often := iss.Mint(t, "EdDSA", iss.Claims(audience, now()))
	for range 500 {
		judged(t, ps, iss.Mint(t, "EdDSA", iss.Claims(audience, now())), "")
		judged(t, ps, often, "")
	}
	if got := ps.Remembered(); got > 64 || got < 32 {
		t.Errorf("%d tokens remembered; want up to 64", got)
	}
	cfg.CacheSize = -1
	ps = newProviders(t, cfg)
	judged(t, ps, often, "")
	judged(t, ps, often, "")
	if got := ps.Remembered(); got != 0 {
		t.Errorf("%d tokens remembered without a cache", got)
	}
}

// Bad tokens are not remembered.
func TestCacheOfRefusals(t *testing.T) {
	iss := arctest.NewIssuer(t)
	ps := trusting(t, iss)
	for _, bad := range arctest.BadTokens(t, iss, audience, now()) {
		judged(t, ps, bad.Token, bad.Reason)
	}
	if got := ps.Remembered(); got != 0 {
		t.Errorf("%d bad tokens remembered", got)
	}
}

// Many callers, a rotating issuer and a clock that runs: for the race detector.
func TestCacheRaces(t *testing.T) {
	iss := arctest.NewIssuer(t)
	ps := newProviders(t, auth.Config{
		Providers: []auth.Provider{func() auth.Provider {
			p := iss.Provider("own", audience)
			p.Keys = iss.JWKS
			return p
		}()},
		CacheSize: 16,
		Revoked:   func(_ context.Context, p *auth.Principal) (bool, error) { return p.Subject == "nobody", nil },
	})
	claims := iss.Claims(audience, now())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range 100 {
				c := maps.Clone(claims)
				c["jti"] = string(rune('a' + i%20))
				if _, err := ps.Validate(t.Context(), iss.Mint(t, "EdDSA", c)); err != nil {
					t.Errorf("Validate: %v", err)
					return
				}
			}
		})
	}
	wg.Go(func() {
		for range 20 {
			iss.AddKey(t, "EdDSA")
		}
	})
	wg.Wait()
}

package auth_test

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// keysInMemory is what issuers of one process share in tests.
type keysInMemory struct {
	down  atomic.Bool
	loads atomic.Int64

	mu      sync.Mutex // guards what follows
	content []byte
	version int64
}

func (k *keysInMemory) Load(context.Context) ([]byte, int64, error) {
	k.loads.Add(1)
	if k.down.Load() {
		return nil, 0, errors.New("store down")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.content, k.version, nil
}

func (k *keysInMemory) Swap(_ context.Context, version int64, content []byte) (bool, error) {
	if k.down.Load() {
		return false, errors.New("store down")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.version != version {
		return false, nil
	}
	k.content, k.version = content, version+1
	return true, nil
}

// sharing opens an issuer without a file of its own.
func sharing(t *testing.T, keys auth.Keys, change func(*auth.IssuerConfig)) *auth.Issuer {
	t.Helper()
	i, err := auth.OpenIssuer(sharedConfig(keys, change))
	if err != nil {
		t.Fatalf("OpenIssuer: %v", err)
	}
	return i
}

func sharedConfig(keys auth.Keys, change func(*auth.IssuerConfig)) auth.IssuerConfig {
	cfg := auth.IssuerConfig{
		URL: issuerURL, Keys: keys,
		Clients: map[string]auth.Client{"ci": {SecretHash: cheapHash("s3cret"), Scopes: []string{auth.ScopeTask}}},
	}
	if change != nil {
		change(&cfg)
	}
	return cfg
}

// judging makes a validator that takes an issuer's tokens.
func judging(t *testing.T, i *auth.Issuer) *auth.Providers {
	t.Helper()
	ps, err := auth.NewProviders(auth.Config{Providers: []auth.Provider{i.Provider()}})
	if err != nil {
		t.Fatal(err)
	}
	return ps
}

func minted(t *testing.T, i *auth.Issuer) string {
	t.Helper()
	token, err := i.Mint(auth.Claims{Subject: "x", Scopes: []string{auth.ScopeTask}})
	if err != nil {
		t.Fatalf("Mint: %v", err)
	}
	return token
}

// Issuers that start at once have one key.
func TestSharedKeysAreMadeOnce(t *testing.T) {
	keys := &keysInMemory{}
	issuers := make([]*auth.Issuer, 8)
	var wg sync.WaitGroup
	for n := range issuers {
		wg.Go(func() {
			var err error
			ttl := time.Duration(n+1) * time.Minute
			issuers[n], err = auth.OpenIssuer(sharedConfig(keys, func(c *auth.IssuerConfig) { c.TokenTTL = ttl }))
			if err != nil {
				t.Errorf("OpenIssuer: %v", err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	for n, i := range issuers {
		if got, want := kidsOf(t, i.JWKS()), kidsOf(t, issuers[0].JWKS()); len(got) != 1 || got[0] != want[0] {
			t.Errorf("issuer %d publishes %v, issuer 0 %v", n, got, want)
		}
	}
	if !strings.Contains(string(keys.content), `"token_ttl_seconds":480`) {
		t.Errorf("the longest life is not noted: %s", keys.content)
	}
}

// While a key is replaced each token of each issuer is good at each, before and after
// the new one signs.
func TestRotationWhileTokensAreJudged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &keysInMemory{}
		var issuers []*auth.Issuer
		var validators []*auth.Providers
		for range 3 {
			i := sharing(t, keys, nil)
			issuers, validators = append(issuers, i), append(validators, judging(t, i))
		}
		all := func() (kids map[any]bool) {
			t.Helper()
			kids = map[any]bool{}
			for n, i := range issuers {
				token := minted(t, i)
				header, _ := tokenParts(t, token)
				kids[header["kid"]] = true
				for m, v := range validators {
					if _, err := v.Validate(t.Context(), token); err != nil {
						t.Fatalf("issuer %d's token at %d: %v", n, m, err)
					}
				}
			}
			return kids
		}
		first := all()
		for range 3 {
			if err := auth.RotateSharedKeys(t.Context(), keys, time.Now); err != nil {
				t.Fatal(err)
			}
		}
		seen := map[any]bool{}
		for range 50 {
			time.Sleep(100 * time.Millisecond)
			for kid := range all() {
				seen[kid] = true
			}
		}
		last := all()
		if len(last) != 1 || len(seen) != 2 {
			t.Errorf("signed by %v meanwhile, by %v in the end, by %v at first", seen, last, first)
		}
		for kid := range first {
			if last[kid] || !seen[kid] {
				t.Errorf("%v signed meanwhile: %v; in the end: %v", kid, seen[kid], last[kid])
			}
		}
	})
}

// What is signed just before a rotation stays good for its life; after the next one the
// key is gone.
func TestSharedKeysRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &keysInMemory{}
		i := sharing(t, keys, nil)
		v := judging(t, i)
		if err := auth.RotateSharedKeys(t.Context(), keys, time.Now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2900 * time.Millisecond)
		old := minted(t, i) // of the old key
		time.Sleep(14*time.Minute + 59*time.Second)
		if _, err := v.Validate(t.Context(), old); err != nil {
			t.Errorf("a token of the old key in its last second: %v", err)
		}
		time.Sleep(4 * time.Minute)
		if err := auth.RotateSharedKeys(t.Context(), keys, time.Now); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if kids := kidsOf(t, i.JWKS()); len(kids) != 2 {
			t.Errorf("published: %v", kids)
		}
	})
}

// A life that is longer than announced keeps the key that signs it published.
func TestSharedKeysKeepLongTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &keysInMemory{}
		i := sharing(t, keys, nil)
		long, err := i.Mint(auth.Claims{Subject: "x", Scopes: []string{auth.ScopeTask}, TTL: 48 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := auth.RotateSharedKeys(t.Context(), keys, time.Now); err != nil {
				t.Fatal(err)
			}
			time.Sleep(24*time.Hour - time.Minute)
		}
		if _, err := judging(t, sharing(t, keys, nil)).Validate(t.Context(), long); err != nil {
			t.Errorf("after two rotations: %v", err)
		}
	})
}

// While the keys cannot be looked at, the last ones sign for ten seconds; then nothing
// is signed, and the client is told to try again.
func TestSharedKeysFailClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &keysInMemory{}
		i := sharing(t, keys, nil)
		time.Sleep(time.Hour) // nobody asks
		if err := i.Ready(); err != nil {
			t.Errorf("Ready after an hour of rest: %v", err)
		}
		keys.down.Store(true)
		ask := func() error {
			_, err := i.Grant(auth.GrantRequest{ClientID: "ci", Secret: "s3cret", Remote: "127.0.0.1"})
			return err
		}
		time.Sleep(9 * time.Second)
		if err := errors.Join(ask(), i.Ready()); err != nil {
			t.Errorf("after nine seconds: %v", err)
		}
		time.Sleep(2 * time.Second)
		refused, ok := errors.AsType[*auth.OAuthError](ask())
		if !ok || refused.Status != 503 || refused.Code != auth.OAuthUnavailable || refused.RetryAfter <= 0 {
			t.Errorf("after eleven seconds: %v", refused)
		}
		if _, err := i.Issue(auth.Claims{Subject: "x"}); !errors.Is(err, auth.ErrKeysUnknown) {
			t.Errorf("Issue: %v", err)
		}
		if err := i.Ready(); !errors.Is(err, auth.ErrKeysUnknown) {
			t.Errorf("Ready: %v", err)
		}
		keys.down.Store(false)
		time.Sleep(time.Second)
		if err := errors.Join(ask(), i.Ready()); err != nil {
			t.Errorf("when the store is back: %v", err)
		}
	})
}

// Tokens with made-up keys, which anybody can make, cause few looks at the store, and
// those of others stay good.
func TestMadeUpKeysCauseFewLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := &keysInMemory{}
		i := sharing(t, keys, nil)
		v := judging(t, i)
		good := minted(t, i)
		before := keys.loads.Load()
		other := sharing(t, &keysInMemory{}, nil)
		for range 1000 {
			token := minted(t, other)
			_, err := v.Validate(t.Context(), token)
			if e, ok := errors.AsType[*arc.Error](err); !ok || e.Reason() != auth.ReasonUnknownKey {
				t.Fatalf("a token with an unknown key: %v", err)
			}
			time.Sleep(time.Millisecond)
		}
		if n := keys.loads.Load() - before; n > 10 {
			t.Errorf("%d looks in a second", n)
		}
		if _, err := v.Validate(t.Context(), good); err != nil {
			t.Error(err)
		}
	})
}

// An issuer takes the keys of its file along to where they are shared, and back.
func TestKeysMove(t *testing.T) {
	clock := newTestClock()
	alone, cfg := openTestIssuer(t, clock, nil)
	token := minted(t, alone)
	keys := &keysInMemory{}
	for range 2 { // the second finds them there
		i := sharing(t, keys, func(c *auth.IssuerConfig) { c.KeyFile, c.Now = cfg.KeyFile, clock.Now })
		if _, err := i.Read(token); err != nil {
			t.Errorf("a token of the file's key: %v", err)
		}
	}
	before := bytes.Clone(keys.content)
	other, _ := openTestIssuer(t, clock, nil)
	sharing(t, keys, func(c *auth.IssuerConfig) { c.KeyFile = filepath.Join(t.TempDir(), "none") })
	if !bytes.Equal(keys.content, before) {
		t.Error("the keys have changed")
	}

	back := filepath.Join(t.TempDir(), "keys.json")
	for n, want := range []bool{true, false} {
		if made, err := auth.KeysToFile(t.Context(), keys, back); err != nil || made != want {
			t.Errorf("KeysToFile, call %d: %v, %v", n+1, made, err)
		}
	}
	i, _ := openTestIssuer(t, clock, func(c *auth.IssuerConfig) { c.KeyFile = back })
	if _, err := i.Read(token); err != nil {
		t.Errorf("a token after the way back: %v", err)
	}
	if _, err := other.Read(token); err == nil {
		t.Error("an issuer of other keys takes the token")
	}
	if made, err := auth.KeysToFile(t.Context(), &keysInMemory{}, filepath.Join(t.TempDir(), "k")); made || err != nil {
		t.Errorf("KeysToFile of nothing: %v, %v", made, err)
	}
}

func TestSharedKeysRefused(t *testing.T) {
	if err := auth.RotateSharedKeys(t.Context(), &keysInMemory{}, time.Now); err == nil || !strings.Contains(err.Error(), "no signing keys yet") {
		t.Errorf("RotateSharedKeys of nothing: %v", err)
	}
	for content, want := range map[string]string{
		"{":                       "unexpected end",
		`{"version":7}`:           "version 7",
		`{"version":1,"keys":[]}`: "0 signing keys",
	} {
		_, err := auth.OpenIssuer(sharedConfig(&keysInMemory{content: []byte(content), version: 3}, nil))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("OpenIssuer with %s: %v, want %q in it", content, err, want)
		}
	}
}

// A token of which nobody can tell whether it was revoked is not taken, the first time
// and when it is known; the refusal says that it may be good again.
func TestRevocationsUnknown(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	var down error
	ps, err := auth.NewProviders(auth.Config{
		Providers: []auth.Provider{i.Provider()}, Now: clock.Now,
		Revoked: func(context.Context, *auth.Principal) (bool, error) { return down != nil, down },
	})
	if err != nil {
		t.Fatal(err)
	}
	token := minted(t, i)
	judge := func(want string) {
		t.Helper()
		_, err := ps.Validate(t.Context(), token)
		e, refused := errors.AsType[*arc.Error](err)
		switch {
		case refused != (want != "") || refused && e.Reason() != want:
			t.Errorf("Validate: %v, want %q", err, want)
		case refused && (!e.Outage() || e.Details["retryable"] != true || e.RetryAfter <= 0 || !errors.Is(e, arc.ErrUnavailable)):
			t.Errorf("the refusal is %v, %v, retry after %v, class %v", e, e.Details, e.RetryAfter, e.Class())
		case refused && auth.Challenge(e, "arc", "") != "":
			t.Errorf("the challenge is %s", auth.Challenge(e, "arc", ""))
		}
	}
	down = errors.New("store down")
	judge(auth.ReasonRevocationsUnknown)
	down = nil
	judge("")
	down = errors.New("store down")
	judge(auth.ReasonRevocationsUnknown)
	clock.Advance(time.Hour) // expired or not, nobody knows whether it was revoked
	judge(auth.ReasonRevocationsUnknown)
}

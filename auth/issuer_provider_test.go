package auth_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// trustOnly runs the validators with the issuer as their one provider.
func trustOnly(t *testing.T, i *auth.Issuer, clock *testClock) *auth.Providers {
	t.Helper()
	providers, err := auth.NewProviders(auth.Config{Providers: []auth.Provider{i.Provider()}, Now: clock.Now})
	if err != nil {
		t.Fatalf("NewProviders: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { providers.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return providers
}

// What the issuer grants, the validators take, and both see the same principal.
func TestProvidersTakeGrantedTokens(t *testing.T) {
	clock := newTestClock()
	i, _ := openTestIssuer(t, clock, nil)
	providers := trustOnly(t, i, clock)
	grant, err := i.Grant(auth.GrantRequest{ClientID: "ci", Secret: "s3cret"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := providers.Validate(t.Context(), grant.AccessToken)
	if err != nil {
		t.Fatalf("Validate: %v", err)
	}
	want, err := i.Read(grant.AccessToken)
	if err != nil {
		t.Fatal(err)
	}
	got, want = new(*got), new(*want)
	got.Claims, want.Claims = nil, nil
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Read against Validate (-want +got):\n%s", diff)
	}

	expired, err := i.Mint(auth.Claims{Subject: "x", TTL: -time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := providers.Validate(t.Context(), expired); arc.CodeOf(err) != arc.CodeTokenExpired {
		t.Errorf("Validate of an expired token: %v, want -44004", err)
	}
	elsewhere, err := i.Mint(auth.Claims{Subject: "x", Audience: []string{"https://own.test"}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := providers.Validate(t.Context(), elsewhere); arc.Public(err).Reason() != "wrong_audience" {
		t.Errorf("Validate of a token for somebody else: %v, want wrong_audience", err)
	}
}

// A rotation reaches the validators without a restart, and never refuses a good
// token on its way.
func TestProvidersFollowRotations(t *testing.T) {
	clock := &testClock{now: time.Now().Truncate(time.Second)}
	i, cfg := openTestIssuer(t, clock, nil)
	providers := trustOnly(t, i, clock)
	var tokens []string
	for range 3 {
		token, err := i.Mint(auth.Claims{Subject: "x"})
		if err != nil {
			t.Fatal(err)
		}
		tokens = append(tokens, token)
		for _, token := range slices.Backward(tokens) {
			if _, err := providers.Validate(t.Context(), token); err != nil {
				t.Errorf("Validate after %d rotations: %v", len(tokens)-1, err)
			}
		}
		if err := auth.RotateKeys(cfg.KeyFile); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Second)
	}
}

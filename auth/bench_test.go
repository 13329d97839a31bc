package auth_test

import (
	"context"
	"testing"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

// The first sight of a token: all checks, no cache.
func BenchmarkFirstSight(b *testing.B) {
	iss := arctest.NewIssuer(b)
	for _, alg := range []string{"RS256", "PS256", "ES256", "ES384", "EdDSA"} {
		b.Run(alg, func(b *testing.B) {
			ps := newProviders(b, auth.Config{Providers: []auth.Provider{iss.Provider("test", audience)}, CacheSize: -1})
			validate(b, ps, iss.Mint(b, alg, iss.Claims(audience, time.Now())))
		})
	}
}

// A token seen before: what every further call with it costs.
func BenchmarkSeenBefore(b *testing.B) {
	iss := arctest.NewIssuer(b)
	ps := newProviders(b, auth.Config{
		Providers: []auth.Provider{iss.Provider("test", audience)},
		Revoked:   func(context.Context, *auth.Principal) (bool, error) { return false, nil },
	})
	validate(b, ps, iss.Mint(b, "RS256", iss.Claims(audience, time.Now())))
}

// The cheapest refusal: what a flood of nonsense costs.
func BenchmarkRefused(b *testing.B) {
	iss := arctest.NewIssuer(b)
	ps := trusting(b, iss)
	claims := iss.Claims(audience, time.Now())
	claims["iss"] = "https://nobody.example"
	token := iss.Mint(b, "ES256", claims)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ps.Validate(b.Context(), token); err == nil {
			b.Fatal("taken")
		}
	}
}

func validate(b *testing.B, ps *auth.Providers, token string) {
	b.Helper()
	if _, err := ps.Validate(b.Context(), token); err != nil {
		b.Fatalf("Validate: %v", err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ps.Validate(b.Context(), token); err != nil {
			b.Fatalf("Validate: %v", err)
		}
	}
}

package auth_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

const viewAudience = "arcp:validate"

// A view takes what the whole takes, and tokens for its own audiences; the whole
// goes on refusing those, whichever of the two has seen them first.
func TestView(t *testing.T) {
	iss, other := arctest.NewIssuer(t), arctest.NewIssuer(t)
	ps := newProviders(t, auth.Config{
		Providers: []auth.Provider{iss.Provider("test", audience), other.Provider("other", audience)},
	})
	view := ps.For("test", viewAudience)
	narrow := iss.Mint(t, "EdDSA", iss.Claims(viewAudience, time.Now()))
	usual := iss.Token(t, audience)
	foreign := other.Mint(t, "EdDSA", other.Claims(viewAudience, time.Now()))
	for range 2 { // the second time from the memory
		judged(t, ps, narrow, auth.ReasonWrongAudience)
		judged(t, view, narrow, "")
		judged(t, view, usual, "")
		judged(t, ps, usual, "")
		judged(t, view, other.Token(t, audience), "")
		judged(t, view, foreign, auth.ReasonWrongAudience)
		judged(t, view, iss.Mint(t, "EdDSA", iss.Claims("arcp:register", time.Now())), auth.ReasonWrongAudience)
	}
	if got := ps.Remembered(); got != 1 {
		t.Errorf("the whole remembers %d tokens; want its own, 1", got)
	}
	if got := view.(*auth.Providers).Remembered(); got != 4 {
		t.Errorf("the view remembers %d tokens; want 4", got)
	}
	if got := iss.Requests(); got != 1 {
		t.Errorf("%d key-set requests; want one for both", got)
	}
	for _, bad := range arctest.BadTokens(t, iss, viewAudience, time.Now()) {
		if bad.Reason != auth.ReasonWrongAudience { // some of those name the audience of the whole
			judged(t, view, bad.Token, bad.Reason)
		}
	}
}

func TestViewsAreApart(t *testing.T) {
	iss := arctest.NewIssuer(t)
	ps := trusting(t, iss)
	one, two, none := ps.For("test", "one"), ps.For("test", "two", "three"), ps.For("test")
	for aud, want := range map[string][3]string{
		"one":    {"", auth.ReasonWrongAudience, auth.ReasonWrongAudience},
		"two":    {auth.ReasonWrongAudience, "", auth.ReasonWrongAudience},
		"three":  {auth.ReasonWrongAudience, "", auth.ReasonWrongAudience},
		audience: {},
	} {
		token := iss.Mint(t, "EdDSA", iss.Claims(aud, time.Now()))
		for n, v := range []auth.Validator{one, two, none} {
			judged(t, v, token, want[n])
		}
	}
}

// What takes a remembered token back reaches the view: revocation, the clock, and
// a key that is withdrawn.
func TestViewForgets(t *testing.T) {
	iss := arctest.NewIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		revoked := false
		p := iss.Provider("test", audience)
		p.JWKSURI = iss.URL + "/jwks"
		ps := newProviders(t, auth.Config{
			Providers: []auth.Provider{p}, Transport: iss, Revoked: func(context.Context, *auth.Principal) (bool, error) { return revoked, nil },
		})
		go ps.Run(t.Context())
		synctest.Wait()
		view := ps.For("test", viewAudience)
		claims := iss.Claims(viewAudience, time.Now())
		claims["exp"] = time.Now().Add(time.Hour).Unix()
		token := iss.Mint(t, "ES256", claims)
		judged(t, view, token, "")
		revoked = true
		judged(t, view, token, auth.ReasonRevoked)
		revoked = false
		judged(t, view, token, "")

		// A rotation: the view finds the new key with one request, and the old token,
		// remembered as it is, is void.
		before := iss.Requests()
		iss.Rotate(t, "ES256")
		fresh := iss.Mint(t, "ES256", claims)
		judged(t, view, fresh, "")
		judged(t, ps, lasting(t, iss, "ES256"), "")
		if got := iss.Requests() - before; got != 1 {
			t.Errorf("finding the new key took %d requests; want 1", got)
		}
		judged(t, view, token, auth.ReasonUnknownKey)

		// A key withdrawn without another is noticed by the whole's background work.
		iss.Withdraw(iss.Key(t, "ES256"))
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		judged(t, view, fresh, auth.ReasonUnknownKey)

		still := iss.Mint(t, "EdDSA", claims)
		judged(t, view, still, "")
		time.Sleep(time.Hour)
		judged(t, view, still, auth.ReasonExpired)
	})
}

func TestViewOfMistakes(t *testing.T) {
	ps := trusting(t, arctest.NewIssuer(t))
	for name, make := range map[string]func(){
		"unknown provider": func() { ps.For("nobody", viewAudience) },
		"empty audience":   func() { ps.For("test", "") },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("For did not panic")
				}
			}()
			make()
		})
	}
}

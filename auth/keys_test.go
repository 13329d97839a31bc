package auth_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

// under runs f with the fake clock of synctest and a validator that trusts iss.
// Run is started if background is true and ends with f.
func under(t *testing.T, iss *arctest.Issuer, background bool, f func(*testing.T, *auth.Providers)) {
	synctest.Test(t, func(t *testing.T) {
		p := iss.Provider("test", audience)
		p.JWKSURI = iss.URL + "/jwks"
		ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}, Transport: iss})
		if background {
			go ps.Run(t.Context())
			synctest.Wait()
		}
		f(t, ps)
	})
}

// lasting mints a token that is good for days.
func lasting(t *testing.T, iss *arctest.Issuer, alg string) string {
	claims := iss.Claims(audience, time.Now())
	claims["exp"] = time.Now().Add(100 * time.Hour).Unix()
	return iss.Mint(t, alg, claims)
}

// withKid mints a token with a kid that nobody publishes.
func withKid(t *testing.T, iss *arctest.Issuer, kid string) string {
	return iss.Key(t, "EdDSA").Sign(t, map[string]any{"alg": "EdDSA", "kid": kid}, iss.Claims(audience, time.Now()))
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func document(text []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.Write(text) }
}

// hang answers nothing until the asking side gives up.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestKeysRotation(t *testing.T) {
	iss := arctest.NewIssuer(t)
	under(t, iss, true, func(t *testing.T, ps *auth.Providers) {
		old := lasting(t, iss, "ES256")
		judged(t, ps, old, "")
		before := iss.Requests()

		iss.Rotate(t, "ES256")
		judged(t, ps, lasting(t, iss, "ES256"), "")
		if got := iss.Requests() - before; got != 1 {
			t.Errorf("finding the new key took %d requests; want 1", got)
		}
		// The old key is withdrawn, and with it what the cache remembers.
		judged(t, ps, old, auth.ReasonUnknownKey)
		judged(t, ps, lasting(t, iss, "EdDSA"), "")
	})
}

// A key that is withdrawn without another in its place is noticed by the
// refresh in the background.
func TestKeysWithdrawn(t *testing.T) {
	iss := arctest.NewIssuer(t)
	under(t, iss, true, func(t *testing.T, ps *auth.Providers) {
		token, other := lasting(t, iss, "ES256"), lasting(t, iss, "EdDSA")
		judged(t, ps, token, "")
		judged(t, ps, other, "")
		iss.Withdraw(iss.Key(t, "ES256"))
		time.Sleep(5*time.Minute + time.Second)
		synctest.Wait()
		judged(t, ps, token, auth.ReasonUnknownKey)
		judged(t, ps, other, "")
	})
}

func TestKeysUnknownKidFlood(t *testing.T) {
	iss := arctest.NewIssuer(t)
	under(t, iss, true, func(t *testing.T, ps *auth.Providers) {
		flood := func(round int) {
			tokens := make([]string, 50)
			for i := range tokens {
				tokens[i] = withKid(t, iss, fmt.Sprintf("kid-%d-%d", round, i))
			}
			var wg sync.WaitGroup
			for _, token := range tokens {
				wg.Go(func() {
					for range 4 {
						if _, err := ps.Validate(t.Context(), token); err == nil {
							t.Error("a token with an unknown kid was taken")
						}
					}
				})
			}
			wg.Wait()
		}
		for round := range 3 {
			before := iss.Requests()
			flood(round)
			if got := iss.Requests() - before; got != 1 {
				t.Errorf("round %d: %d requests; want 1", round, got)
			}
			judged(t, ps, lasting(t, iss, "ES256"), "")
			time.Sleep(10 * time.Second)
		}
	})
}

func TestKeysNegativeCache(t *testing.T) {
	iss := arctest.NewIssuer(t)
	under(t, iss, false, func(t *testing.T, ps *auth.Providers) {
		token := withKid(t, iss, "nobody's")
		for _, step := range []struct {
			wait time.Duration
			want int
		}{{0, 1}, {11 * time.Second, 1}, {11 * time.Second, 1}, {11 * time.Second, 2}} {
			time.Sleep(step.wait)
			judged(t, ps, token, auth.ReasonUnknownKey)
			if got := iss.Requests(); got != step.want {
				t.Errorf("after another %v: %d requests; want %d", step.wait, got, step.want)
			}
		}
	})
}

// The memory for unknown kids is bounded; what it does not hold is still held
// back by the cooldown, here made as short as can be.
func TestKeysNegativeCacheIsBounded(t *testing.T) {
	iss := arctest.NewIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		p := iss.Provider("test", audience)
		p.JWKSURI, p.RefetchCooldown = iss.URL+"/jwks", 1
		ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}, Transport: iss})
		asks := func(kid string) int {
			before := iss.Requests()
			time.Sleep(time.Nanosecond)
			judged(t, ps, withKid(t, iss, kid), auth.ReasonUnknownKey)
			return iss.Requests() - before
		}
		for i := range auth.MaxMisses {
			asks(fmt.Sprint(i))
		}
		if got := asks("0"); got != 0 {
			t.Errorf("a remembered kid caused %d requests", got)
		}
		if got := asks("more") + asks("more"); got != 2 {
			t.Errorf("a kid beyond the bound caused %d requests; want 2", got)
		}
		time.Sleep(30 * time.Second)
		if got := asks("more") + asks("more"); got != 1 {
			t.Errorf("with room again, a kid caused %d requests; want 1", got)
		}
	})
}

func TestKeysHangingIssuer(t *testing.T) {
	iss := arctest.NewIssuer(t)
	under(t, iss, true, func(t *testing.T, ps *auth.Providers) {
		iss.Answer(hang)
		begin := time.Now()
		var wg sync.WaitGroup
		wg.Go(func() {
			judged(t, ps, withKid(t, iss, "new"), auth.ReasonKeysUnavailable)
			if took := time.Since(begin); took != 5*time.Second {
				t.Errorf("the unknown kid waited %v; want 5s", took)
			}
		})
		synctest.Wait() // the fetch hangs now
		judged(t, ps, lasting(t, iss, "ES256"), "")
		if took := time.Since(begin); took != 0 {
			t.Errorf("a known kid waited %v for a hanging issuer", took)
		}
		wg.Wait()
		// Nobody waits within the cooldown.
		begin = time.Now()
		judged(t, ps, withKid(t, iss, "newer"), auth.ReasonKeysUnavailable)
		if took := time.Since(begin); took != 0 {
			t.Errorf("within the cooldown an unknown kid waited %v", took)
		}
	})
}

func TestKeysColdStart(t *testing.T) {
	iss := arctest.NewIssuer(t)
	iss.Answer(status(http.StatusInternalServerError))
	under(t, iss, true, func(t *testing.T, ps *auth.Providers) {
		if err := ps.Ready(); err == nil || !strings.Contains(err.Error(), "test") {
			t.Errorf("Ready without keys: got %v; want an error that names the provider", err)
		}
		e := judged(t, ps, lasting(t, iss, "ES256"), auth.ReasonKeysUnavailable)
		if e.RetryAfter <= 0 || e.Details["retryable"] != true {
			t.Errorf("refusal %+v; want Retry-After and retryable", e)
		}
		iss.Answer(nil)
		time.Sleep(lastRetry + time.Second)
		synctest.Wait()
		if err := ps.Ready(); err != nil {
			t.Errorf("Ready with keys: %v", err)
		}
		judged(t, ps, lasting(t, iss, "ES256"), "")
	})
}

const lastRetry = 30 * time.Second

// Without Run the first token fetches the keys.
func TestKeysOnDemand(t *testing.T) {
	iss := arctest.NewIssuer(t)
	under(t, iss, false, func(t *testing.T, ps *auth.Providers) {
		if iss.Requests() != 0 {
			t.Errorf("NewProviders made %d requests", iss.Requests())
		}
		judged(t, ps, lasting(t, iss, "ES256"), "")
		if err := ps.Ready(); err != nil {
			t.Errorf("Ready: %v", err)
		}
	})
}

func TestKeysStaleWhileError(t *testing.T) {
	iss := arctest.NewIssuer(t)
	for name, answer := range map[string]http.HandlerFunc{
		"500":           status(http.StatusInternalServerError),
		"404":           status(http.StatusNotFound),
		"204":           status(http.StatusNoContent),
		"hangs":         hang,
		"empty body":    document(nil),
		"not JSON":      document([]byte("<html>")),
		"null":          document([]byte("null")),
		"empty set":     document([]byte(`{"keys":[]}`)),
		"null set":      document([]byte(`{"keys":null}`)),
		"no set":        document([]byte(`{}`)),
		"redirect away": redirect("http://localhost:1/jwks"),
		"redirect loop": redirect("/jwks"),
	} {
		t.Run(name, func(t *testing.T) {
			iss.Answer(nil)
			under(t, iss, true, func(t *testing.T, ps *auth.Providers) {
				token := lasting(t, iss, "ES256")
				judged(t, ps, token, "")
				iss.Answer(answer)
				time.Sleep(23 * time.Hour)
				judged(t, ps, token, "")
				judged(t, ps, lasting(t, iss, "EdDSA"), "")
				if err := ps.Ready(); err != nil {
					t.Errorf("Ready after 23 hours: %v", err)
				}
				time.Sleep(2 * time.Hour)
				judged(t, ps, token, auth.ReasonKeysUnavailable)
				judged(t, ps, lasting(t, iss, "EdDSA"), auth.ReasonKeysUnavailable)
				if err := ps.Ready(); err == nil {
					t.Error("Ready after 25 hours without an issuer: got nil")
				}
				iss.Answer(nil)
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				judged(t, ps, token, "")
			})
		})
	}
}

// A document over the limits is refused, whether or not keys are in hand.
func TestKeysLimits(t *testing.T) {
	iss := arctest.NewIssuer(t)
	good := string(iss.JWKS())
	for name, body := range map[string][]byte{
		"over 1 MiB": []byte(`{"x":"` + strings.Repeat("x", 1<<20) + `",` + good[1:]),
		"200 keys":   arctest.KeySet(manyKeys(200)...),
	} {
		t.Run(name, func(t *testing.T) {
			iss.Answer(document(body))
			judged(t, trusting(t, iss), iss.Token(t, audience), auth.ReasonKeysUnavailable)
			iss.Answer(nil)
			p := iss.Provider("test", audience)
			p.RefetchCooldown = 1
			ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}})
			judged(t, ps, iss.Token(t, audience), "")
			iss.Answer(document(body))
			judged(t, ps, withKid(t, iss, "x"), auth.ReasonKeysUnavailable)
			judged(t, ps, iss.Token(t, audience), "")
		})
	}
}

func manyKeys(n int) []map[string]any {
	keys := make([]map[string]any, n)
	for i := range keys {
		keys[i] = map[string]any{"kty": "OKP", "crv": "Ed25519", "kid": fmt.Sprint(i), "x": arctest.B64(make([]byte, 32))}
	}
	return keys
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func TestKeysRefreshPace(t *testing.T) {
	iss := arctest.NewIssuer(t)
	for header, want := range map[string]int{ // further requests in an hour
		"":                        12,
		"max-age=600":             6,
		"public, max-age=1":       60,
		"max-age=86400":           4,
		`private, Max-Age="600"`:  6,
		"max-age=x":               12,
		"max-age=-1":              12,
		"no-cache, s-maxage=6000": 12,
	} {
		t.Run(header, func(t *testing.T) {
			iss.Answer(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Cache-Control", header)
				w.Write(iss.JWKS())
			})
			under(t, iss, true, func(t *testing.T, _ *auth.Providers) {
				before := iss.Requests()
				time.Sleep(time.Hour + time.Second)
				synctest.Wait()
				if got := iss.Requests() - before; got != want {
					t.Errorf("%d requests in an hour; want %d", got, want)
				}
			})
		})
	}
}

func TestKeysRedirectOnSameHost(t *testing.T) {
	iss := arctest.NewIssuer(t)
	iss.Answer(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery == "" {
			http.Redirect(w, r, "/jwks?v=2", http.StatusTemporaryRedirect)
			return
		}
		w.Write(iss.JWKS())
	})
	judged(t, trusting(t, iss), iss.Token(t, audience), "")
}

// A provider in this process is asked without a network and without a cooldown.
func TestKeysOfThisProcess(t *testing.T) {
	iss := arctest.NewIssuer(t)
	synctest.Test(t, func(t *testing.T) {
		p := iss.Provider("own", audience)
		p.Keys, p.AllowHTTP = iss.JWKS, false
		ps := newProviders(t, auth.Config{Providers: []auth.Provider{p}})
		go ps.Run(t.Context())
		synctest.Wait()
		for range 3 {
			old := lasting(t, iss, "EdDSA")
			judged(t, ps, old, "")
			iss.Rotate(t, "EdDSA")
			judged(t, ps, lasting(t, iss, "EdDSA"), "")
			judged(t, ps, old, auth.ReasonUnknownKey)
			judged(t, ps, withKid(t, iss, "x"), auth.ReasonUnknownKey)
		}
		token := lasting(t, iss, "ES256")
		judged(t, ps, token, "")
		iss.Withdraw(iss.Key(t, "ES256"))
		time.Sleep(16 * time.Second)
		synctest.Wait()
		judged(t, ps, token, auth.ReasonUnknownKey)
		if iss.Requests() != 0 {
			t.Errorf("%d requests for keys of this process", iss.Requests())
		}
	})
}

// A caller who goes away is not kept, and does not spoil the fetch for others.
func TestKeysCallerGone(t *testing.T) {
	iss := arctest.NewIssuer(t)
	under(t, iss, true, func(t *testing.T, ps *auth.Providers) {
		release := make(chan struct{})
		iss.Answer(func(w http.ResponseWriter, _ *http.Request) {
			<-release
			w.Write(iss.JWKS())
		})
		iss.Rotate(t, "ES256")
		token := lasting(t, iss, "ES256")
		var wg sync.WaitGroup
		wg.Go(func() { judged(t, ps, token, "") })
		synctest.Wait()
		gone, leave := contextWithCancel(t)
		wg.Go(func() {
			if _, err := ps.Validate(gone, token); err == nil {
				t.Error("a caller who left was let in")
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		close(release)
		wg.Wait()
	})
}

package credential_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/credential"
)

// TestRefresh: what is good stays, what is dead is replaced, and the second run
// finds nothing to do.
func TestRefresh(t *testing.T) {
	for name, login := range map[string]func(*testing.T, *authority, *credential.Store){"client credentials": loginClient, "refresh token": loginRefresh} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			s := newStore(t, withSecret()...)
			login(t, a, s)
			refresh := func(o credential.RefreshOptions, want credential.Effect, requests int) {
				t.Helper()
				before := len(a.asked())
				r, err := s.Refresh(t.Context(), a.target(), o)
				if err != nil {
					t.Fatal(err)
				}
				if r.Effect != want || len(a.asked())-before != requests {
					t.Errorf("effect %s with %d requests; want %s with %d", r.Effect, len(a.asked())-before, want, requests)
				}
				if c, err := s.Resolve(t.Context(), a.target()); err != nil || c.Token != r.Credential.Token || !c.Refreshable {
					t.Errorf("the next call has %v, %v", c, err)
				}
			}
			refresh(credential.RefreshOptions{}, credential.Noop, 0)
			refresh(credential.RefreshOptions{Force: true}, credential.Updated, 1)
			// Just issued: another one would not live longer.
			refresh(credential.RefreshOptions{MinTTL: 2 * time.Hour}, credential.Noop, 0)
			later(s, 30*time.Minute)
			refresh(credential.RefreshOptions{MinTTL: 10 * time.Minute}, credential.Noop, 0)
			refresh(credential.RefreshOptions{MinTTL: 45 * time.Minute}, credential.Updated, 1)
			later(s, 2*time.Hour)
			a.set(func(a *authority) { a.ttl = 3 * time.Hour })
			refresh(credential.RefreshOptions{}, credential.Updated, 1)
			refresh(credential.RefreshOptions{}, credential.Noop, 0)
			c, err := s.Resolve(t.Context(), a.target())
			if err != nil {
				t.Fatal(err)
			}
			// Only the server says that it is over.
			if err := s.MarkExpired(t.Context(), c.Token); err != nil {
				t.Fatal(err)
			}
			refresh(credential.RefreshOptions{}, credential.Updated, 1)
			c, _ = s.Resolve(t.Context(), a.target())
			refresh(credential.RefreshOptions{Failed: c.Token}, credential.Updated, 1)
			refresh(credential.RefreshOptions{Failed: c.Token}, credential.Noop, 0)
		})
	}
}

// TestDeadVariable: a dead token of the environment is replaced by one of the
// same identity, and nobody else's.
func TestDeadVariable(t *testing.T) {
	a := newAuthority(t)
	same, opaque := a.like(-time.Hour), "opaque"
	other := jwt(claims{"iss": a.URL, "sub": "somebody", "client_id": clientID, "exp": time.Now().Add(-time.Hour).Unix()})
	foreign := jwt(claims{"iss": "https://other.example", "sub": clientID, "client_id": clientID, "exp": time.Now().Add(-time.Hour).Unix()})
	otherClient := jwt(claims{"iss": a.URL, "sub": clientID, "client_id": "another", "exp": time.Now().Add(-time.Hour).Unix()})
	for name, test := range map[string]struct {
		token       string
		environ     []string
		login       func(*testing.T, *authority, *credential.Store)
		noSuccessor bool
		mark        bool
		err         error
	}{
		"environment's client":              {token: same, environ: withSecret()},
		"stored login":                      {token: same, login: loginRefresh},
		"other subject, environment":        {token: other, environ: withSecret(), err: credential.ErrOtherIdentity},
		"other subject, stored":             {token: other, login: loginRefresh, err: credential.ErrNotRefreshable},
		"other client":                      {token: otherClient, environ: withSecret(), err: credential.ErrOtherIdentity},
		"other issuer, environment":         {token: foreign, environ: withSecret(), err: credential.ErrNotRefreshable},
		"opaque":                            {token: opaque, environ: withSecret(), mark: true, err: credential.ErrNotRefreshable},
		"nothing to refresh with":           {token: same, err: credential.ErrNotRefreshable},
		"no successor wanted":               {token: same, environ: withSecret(), noSuccessor: true, err: credential.ErrNotRefreshable},
		"called expired by the server only": {token: a.like(time.Hour), environ: withSecret(), mark: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			if test.login != nil {
				test.login(t, a, s)
			}
			s.Environ = append(append(s.Environ, test.environ...), "ARCD_TOKEN="+test.token)
			target := a.target()
			target.NoSuccessor = test.noSuccessor
			if test.mark {
				if err := s.MarkExpired(t.Context(), test.token); err != nil {
					t.Fatal(err)
				}
			}
			c, err := s.Resolve(t.Context(), target)
			if err != nil || c.Token != test.token || c.Refreshable && test.err != nil && !strings.HasPrefix(name, "other ") {
				t.Fatalf("before: %v (refreshable %v), %v", c, c.Refreshable, err)
			}
			r, err := s.Refresh(t.Context(), target, credential.RefreshOptions{})
			if !errors.Is(err, test.err) {
				t.Fatalf("Refresh: %v; want %v", err, test.err)
			}
			c, resolveErr := s.Resolve(t.Context(), target)
			if resolveErr != nil {
				t.Fatal(resolveErr)
			}
			if test.err != nil {
				if c.Token != test.token {
					t.Error("another token is used after a failure")
				}
				return
			}
			want := []any{credential.Updated, c.Token, "env:ARCD_TOKEN", "ARCD_TOKEN", a.URL}
			if diff := cmp.Diff(want, []any{r.Effect, r.Credential.Token, c.Superseded, c.Setting, c.Facts.Issuer}); diff != "" || c.Token == test.token {
				t.Error(diff)
			}
			if r, err = s.Refresh(t.Context(), target, credential.RefreshOptions{}); err != nil || r.Effect != credential.Noop {
				t.Errorf("again: %v, %v", r, err)
			}
			// The successor dies too, and is refreshed.
			later(s, 2*time.Hour)
			a.set(func(a *authority) { a.ttl = 4 * time.Hour })
			defer a.set(func(a *authority) { a.ttl = time.Hour })
			if r, err = s.Refresh(t.Context(), target, credential.RefreshOptions{}); err != nil || r.Effect != credential.Updated || r.Credential.Superseded == "" {
				t.Errorf("the successor's refresh: %v, %v", r, err)
			}
			// Another server gets neither.
			target.Server = "https://other.example/arc"
			if c, err := s.Resolve(t.Context(), target); err != nil || c.Superseded != "" {
				t.Errorf("at another server: %v, %v", c, err)
			}
		})
	}
}

// TestForcedVariable: a living token of the environment is replaced only on
// demand, and then it is.
func TestForcedVariable(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret("ARCD_TOKEN="+a.like(5*time.Minute))...)
	if r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{}); err != nil || r.Effect != credential.Noop {
		t.Fatalf("%v, %v", r, err)
	}
	r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{MinTTL: 30 * time.Minute})
	if err != nil || r.Effect != credential.Updated {
		t.Fatalf("%v, %v", r, err)
	}
	if c, err := s.Resolve(t.Context(), a.target()); err != nil || c.Token != r.Credential.Token {
		t.Errorf("the next call has %v, %v", c, err)
	}
}

func TestRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(*authority)
		environ string
		err     error
		code    string
	}{
		"revoked refresh token":   {func(a *authority) { a.refresh = "" }, "", credential.ErrRejected, "invalid_grant"},
		"outage":                  {func(a *authority) { a.down = true }, "", arc.ErrUnavailable, ""},
		"expired already":         {func(a *authority) { a.ttl = -time.Minute }, "", credential.ErrRejected, "expired_token_given"},
		"other subject":           {func(a *authority) { a.subject = "somebody" }, "", credential.ErrOtherIdentity, ""},
		"nobody at home":          {func(a *authority) { a.Close() }, "", arc.ErrUnavailable, ""},
		"environment's client is": {func(a *authority) { a.refresh = "" }, "ARCD_CLIENT_ID=ci\nARCD_CLIENT_SECRET=wrong", credential.ErrRejected, "invalid_grant"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			s := newStore(t)
			a.set(func(a *authority) { a.ttl = -2 * time.Minute })
			loginRefresh(t, a, s)
			a.set(func(a *authority) { a.ttl = time.Hour })
			a.set(test.change)
			s.Environ = append(s.Environ, strings.Split(test.environ, "\n")...)
			before, _ := s.Resolve(t.Context(), a.target())
			_, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{})
			if !errors.Is(err, test.err) {
				t.Fatalf("Refresh: %v; want %v", err, test.err)
			}
			if refused, ok := errors.AsType[*credential.RejectedError](err); test.code != "" && (!ok || refused.Code != test.code || !refused.Interrupted.IsZero()) {
				t.Errorf("Refresh: %v; want code %s", err, test.code)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), "SECRET") || strings.Contains(err.Error(), "refresh-0") {
				t.Errorf("the error tells too much: %v", err)
			}
			if after, err := s.Resolve(t.Context(), a.target()); err != nil || after.Token != before.Token {
				t.Errorf("afterwards: %v, %v", after, err)
			}
		})
	}
}

// TestRotationSurvivesRefusal: the token that came is thrown away, but not the
// refresh token that came with it, since the old one is spent.
func TestRotationSurvivesRefusal(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t)
	loginRefresh(t, a, s)
	a.set(func(a *authority) { a.subject = "somebody" })
	if _, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true}); !errors.Is(err, credential.ErrOtherIdentity) {
		t.Fatal(err)
	}
	a.set(func(a *authority) { a.subject = clientID })
	if _, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true}); err != nil {
		t.Error(err)
	}
}

// TestOpaque: what the token does not say, the answer said.
func TestOpaque(t *testing.T) {
	a := newAuthority(t)
	a.set(func(a *authority) { a.opaque = true })
	s := newStore(t, withSecret()...)
	loginClient(t, a, s)
	c, err := s.Resolve(t.Context(), a.target())
	if err != nil {
		t.Fatal(err)
	}
	if left, known := c.Left(time.Now()); !known || left < 59*time.Minute || left > time.Hour || c.Facts.JWT || !cmp.Equal(c.Facts.Scopes, []string{"x", "y"}) {
		t.Errorf("%+v, left %v", c.Facts, left)
	}
	later(s, 2*time.Hour)
	if r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{}); err != nil || r.Effect != credential.Updated {
		t.Errorf("%v, %v", r, err)
	}
}

// TestClocks: a token is judged by the server's clock, as its answers tell it.
func TestClocks(t *testing.T) {
	a := newAuthority(t)
	a.set(func(a *authority) { a.skew = -3 * time.Hour })
	s := newStore(t, withSecret()...)
	loginClient(t, a, s) // expired two hours ago by our clock
	c, err := s.Resolve(t.Context(), a.target())
	if err != nil || c.Past(time.Now()) || c.Offset > -3*time.Hour+5*time.Second || c.Offset < -3*time.Hour-5*time.Second {
		t.Fatalf("%v, offset %v", err, c.Offset)
	}
	if r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{}); err != nil || r.Effect != credential.Noop {
		t.Errorf("%v, %v", r, err)
	}
	// The clock was set right; a small difference is no news.
	if err := s.NoteDate(t.Context(), a.URL+"/arc", time.Now().Add(20*time.Second)); err != nil {
		t.Fatal(err)
	}
	if c, _ := s.Resolve(t.Context(), a.target()); c.Offset != 0 {
		t.Errorf("offset %v", c.Offset)
	}
	before := content(t, s)
	if err := s.NoteDate(t.Context(), a.URL+"/arc", time.Now().Add(-20*time.Second)); err != nil || content(t, s) != before {
		t.Errorf("%v, or the file changed", err)
	}
}

// TestInstances: what one instance stores, the other does not see.
func TestInstances(t *testing.T) {
	a := newAuthority(t)
	environ := []string{"ARCD_STATE_DIR=" + t.TempDir(), "ARCD_KEYRING=off", "ARCD_CLIENT_SECRET=" + clientSecret, "ARCD_CLIENT_ID=" + clientID}
	var stores []*credential.Store
	for _, id := range []string{"a", "b"} {
		folders, err := credential.FindFolders(environ, id)
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, &credential.Store{Folder: folders.State, Environ: environ})
	}
	loginClient(t, a, stores[0])
	if _, err := stores[0].Resolve(t.Context(), a.target()); err != nil {
		t.Error(err)
	}
	if _, err := stores[1].Resolve(t.Context(), a.target()); !errors.Is(err, credential.ErrNone) {
		t.Error(err)
	}
}

// TestSource: what a client gets, with and without refreshing by itself.
func TestSource(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret()...)
	loginClient(t, a, s)
	var refreshed int
	plain := &credential.Source{Store: s, Target: a.target()}
	auto := &credential.Source{Store: s, Target: a.target(), Auto: true, Refreshed: func(*credential.Result) { refreshed++ }}
	first, err := plain.Token(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	if token, err := auto.Token(t.Context(), ""); err != nil || token != first || refreshed != 0 {
		t.Errorf("%v, %v", token == first, err)
	}
	if _, err := plain.Token(t.Context(), first); !errors.Is(err, client.ErrNoNewToken) {
		t.Errorf("without Auto: %v", err)
	}
	if c, err := s.Resolve(t.Context(), a.target()); err != nil || !c.Marked {
		t.Errorf("a token that the server called expired is not marked: %v", err)
	}
	second, err := auto.Token(t.Context(), first)
	if err != nil || second == first || refreshed != 1 {
		t.Fatalf("%v, refreshed %d", err, refreshed)
	}
	before := len(a.asked())
	if token, err := auto.Token(t.Context(), first); err != nil || token != second || len(a.asked()) != before {
		t.Errorf("the same once more: %v, %v", token == second, err)
	}
	static := newStore(t, "ARCD_TOKEN="+first)
	source := &credential.Source{Store: static, Target: a.target(), Auto: true}
	if _, err := source.Token(t.Context(), first); !errors.Is(err, client.ErrNoNewToken) {
		t.Errorf("with nothing to refresh with: %v", err)
	}
	mint := newStore(t, withSecret()...)
	if token, err := (&credential.Source{Store: mint, Target: a.target(), Auto: true}).Token(t.Context(), ""); err != nil || token == "" {
		t.Errorf("with nothing but client credentials: %v", err)
	}
	if _, err := (&credential.Source{Store: newStore(t, withSecret()...), Target: a.target()}).Token(t.Context(), ""); !errors.Is(err, credential.ErrNone) {
		t.Errorf("the same without Auto: %v", err)
	}
}

// TestSourceRenewsAhead: another token than one that is good, which stays good for
// others; without anything to get it with there is none, and nothing is marked.
func TestSourceRenewsAhead(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret()...)
	loginClient(t, a, s)
	var refreshed int
	source := &credential.Source{Store: s, Target: a.target(), Auto: true, Refreshed: func(*credential.Result) { refreshed++ }}
	first, err := source.Token(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	plain := &credential.Source{Store: s, Target: a.target()}
	if _, err := plain.Renew(t.Context(), first); !errors.Is(err, client.ErrNoNewToken) {
		t.Errorf("without Auto: %v", err)
	}
	second, err := source.Renew(t.Context(), first)
	if err != nil || second == first || refreshed != 1 {
		t.Fatalf("%v, refreshed %d", err, refreshed)
	}
	before := len(a.asked())
	for label, from := range map[string]*credential.Source{"the same source": source, "another one": plain} {
		if token, err := from.Renew(t.Context(), first); err != nil || token != second || len(a.asked()) != before {
			t.Errorf("once more, %s: %v, %v", label, token == second, err)
		}
	}
	static := newStore(t, "ARCD_TOKEN="+first)
	source = &credential.Source{Store: static, Target: a.target(), Auto: true}
	if _, err := source.Renew(t.Context(), first); !errors.Is(err, client.ErrNoNewToken) {
		t.Errorf("with nothing to renew with: %v", err)
	}
	if c, err := static.Resolve(t.Context(), a.target()); err != nil || c.Marked {
		t.Errorf("a good token is marked as expired: %v", err)
	}
}

// TestSignalDuringRotation: a call that is canceled after its refresh token was
// sent still stores what comes back.
func TestSignalDuringRotation(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t)
	loginRefresh(t, a, s)
	ctx, cancel := context.WithCancel(t.Context())
	a.set(func(a *authority) { a.hold = cancel })
	r, err := s.Refresh(ctx, a.target(), credential.RefreshOptions{Force: true})
	if err != nil || r.Effect != credential.Updated {
		t.Fatalf("%v, %v", r, err)
	}
	a.set(func(a *authority) { a.hold = nil })
	if _, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true}); err != nil {
		t.Errorf("the next refresh: %v", err)
	}
}

// TestOneLockEach: each stored credential at once has one lock of its own, so a
// token endpoint that hangs holds up nobody but those who wait for its token.
func TestOneLockEach(t *testing.T) {
	a, b := newAuthority(t), newAuthority(t)
	s := newStore(t, withSecret()...)
	loginClient(t, a, s)
	arrived, release := make(chan struct{}), make(chan struct{})
	a.set(func(a *authority) { a.hold = func() { close(arrived); <-release } })
	done := make(chan error, 1)
	go func() {
		_, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true})
		done <- err
	}()
	<-arrived
	other := b.target()
	other.Context = "other"
	_, err := s.LoginClient(t.Context(), other, credential.ClientLogin{})
	close(release)
	if err := errors.Join(err, <-done); err != nil {
		t.Error(err)
	}
	if names := stored(t, s); len(names) != 2 {
		t.Errorf("stored are %v", names)
	}
}

// TestDrippingEndpoint: an answer that never ends is a timeout like one that never
// comes.
func TestDrippingEndpoint(t *testing.T) {
	a := newAuthority(t)
	drip := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	}))
	defer drip.Close()
	s := newStore(t, withSecret()...)
	target := a.target()
	target.TokenURL = drip.URL
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := s.Refresh(ctx, target, credential.RefreshOptions{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Refresh: %v", err)
	}
}

package credential_test

import (
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/zalando/go-keyring"

	"github.com/arcd-io/arcd/internal/credential"
)

// ring is a keyring in memory that can fail.
type ring struct {
	mu      sync.Mutex
	items   map[string]string
	failure error         // of all calls
	forgets bool          // what is put in is not kept
	hangs   chan struct{} // if not nil: calls wait for its end
}

func (r *ring) begin() error {
	if r.hangs != nil {
		<-r.hangs
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failure
}

func (r *ring) Set(service, user, secret string) error {
	if err := r.begin(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.items == nil {
		r.items = map[string]string{}
	}
	if !r.forgets {
		r.items[service+" "+user] = secret
	}
	return nil
}

func (r *ring) Get(service, user string) (string, error) {
	if err := r.begin(); err != nil {
		return "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if secret, ok := r.items[service+" "+user]; ok {
		return secret, nil
	}
	return "", keyring.ErrNotFound
}

func (r *ring) Delete(service, user string) error {
	if err := r.begin(); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.items, service+" "+user)
	return nil
}

func (r *ring) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failure = err
}

// TestWhere: which logins put their secrets where.
func TestWhere(t *testing.T) {
	refused := errors.New("locked SECRET")
	for name, test := range map[string]struct {
		mode    string
		person  bool
		ring    *ring
		keyring bool
		err     error
	}{
		"a person":               {"auto", true, &ring{}, true, nil},
		"a person, by default":   {"", true, &ring{}, true, nil},
		"an agent":               {"auto", false, &ring{}, false, nil},
		"turned off":             {"off", true, &ring{}, false, nil},
		"required of an agent":   {"require", false, &ring{}, true, nil},
		"fails":                  {"auto", true, &ring{failure: refused}, false, nil},
		"too large":              {"auto", true, &ring{failure: keyring.ErrSetDataTooBig}, false, nil},
		"forgets":                {"auto", true, &ring{forgets: true}, false, nil},
		"required, and fails":    {"require", true, &ring{failure: refused}, false, credential.ErrKeyring},
		"required, and forgets":  {"require", true, &ring{forgets: true}, false, credential.ErrKeyring},
		"an unknown mode":        {"sometimes", true, &ring{}, false, credential.ErrInvalid},
		"a value no file may be": {"require", true, &ring{}, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			s.Environ, s.Keyring = []string{"ARCD_KEYRING=" + test.mode}, test.ring
			target := credential.Target{Server: "https://arc.example/arc"}
			login := func(token string) (*credential.Result, error) {
				return s.LoginToken(t.Context(), target, credential.TokenLogin{Token: credential.FromValue(token), Person: test.person})
			}
			r, err := login("TOKEN-1")
			if !errors.Is(err, test.err) {
				t.Fatalf("%v; want %v", err, test.err)
			}
			if err != nil {
				if _, err := os.Stat(s.Path()); err == nil {
					t.Error("something was stored")
				}
				return
			}
			if r.Keyring != test.keyring || (r.Kept == "keyring") != test.keyring || strings.Contains(content(t, s), "TOKEN-1") == test.keyring {
				t.Errorf("%+v, and the file:\n%s", r, content(t, s))
			}
			if _, err := login("TOKEN-2"); err != nil {
				t.Fatal(err)
			}
			if c, err := s.Resolve(t.Context(), target); err != nil || c.Token != "TOKEN-2" {
				t.Errorf("%v, %v", c, err)
			}
			if _, err := s.Logout(t.Context(), target, credential.LogoutOptions{}); err != nil || len(test.ring.items) != 0 {
				t.Errorf("left after a logout: %v, %v", test.ring.items, err)
			}
		})
	}
}

// TestKeyringLater: a keyring that fails after the login. Reading says so; a
// refresh that has spent its refresh token puts the next one into the file.
func TestKeyringLater(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t)
	r := &ring{}
	s.Environ, s.Keyring = nil, r
	login := credential.RefreshLogin{Token: credential.FromValue("refresh-0"), Person: true}
	if got, err := s.LoginRefreshToken(t.Context(), a.target(), login); err != nil || !got.Keyring {
		t.Fatalf("%+v, %v", got, err)
	}
	if strings.Contains(content(t, s), "refresh-1") {
		t.Error("the refresh token is in the file")
	}
	r.fail(errors.New("gone SECRET"))
	if _, err := s.Resolve(t.Context(), a.target()); !errors.Is(err, credential.ErrKeyring) {
		t.Errorf("Resolve: %v", err)
	}
	s.Environ = []string{"ARCD_KEYRING=off"}
	if _, err := s.Resolve(t.Context(), a.target()); !errors.Is(err, credential.ErrKeyring) || !strings.Contains(err.Error(), "ARCD_KEYRING") {
		t.Errorf("Resolve, turned off: %v", err)
	}
	s.Environ = nil
	r.fail(nil)
	a.set(func(a *authority) { a.hold = func() { r.fail(errors.New("gone")) } })
	got, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true})
	if err != nil || got.Keyring || !strings.Contains(content(t, s), "refresh-") {
		t.Fatalf("Refresh: %+v, %v", got, err)
	}
	a.set(func(a *authority) { a.hold = nil })
	if _, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true}); err != nil {
		t.Errorf("the next refresh: %v", err)
	}
}

// TestKeyringHangs: a keyring that waits for a person who is not there is given
// up after 5 s.
func TestKeyringHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		hangs := make(chan struct{})
		defer close(hangs)
		s.Environ, s.Keyring = nil, &ring{hangs: hangs}
		target := credential.Target{Server: "https://arc.example/arc"}
		began := time.Now()
		r, err := s.LoginToken(t.Context(), target, credential.TokenLogin{Token: credential.FromValue("x"), Person: true})
		if err != nil || r.Keyring || time.Since(began) != 5*time.Second {
			t.Errorf("after %v: %+v, %v", time.Since(began), r, err)
		}
	})
}

// TestSystemKeyring goes through the library's own mock, and does not touch a
// keyring where no session bus is.
func TestSystemKeyring(t *testing.T) {
	keyring.MockInit()
	target := credential.Target{Server: "https://arc.example/arc"}
	for _, test := range []struct {
		environ []string
		want    bool
	}{{[]string{"DBUS_SESSION_BUS_ADDRESS=unix:path=/none"}, true}, {nil, false}} {
		s := newStore(t)
		s.Environ = test.environ
		r, err := s.LoginToken(t.Context(), target, credential.TokenLogin{Token: credential.FromValue("x"), Person: true})
		if err != nil || r.Keyring != test.want {
			t.Errorf("%v: %+v, %v", test.environ, r, err)
		}
		if c, err := s.Resolve(t.Context(), target); err != nil || c.Token != "x" {
			t.Errorf("%v, %v", c, err)
		}
	}
	s := newStore(t)
	s.Environ = []string{"ARCD_KEYRING=require"}
	if _, err := s.LoginToken(t.Context(), target, credential.TokenLogin{Token: credential.FromValue("x")}); !errors.Is(err, credential.ErrKeyring) {
		t.Errorf("required, without a bus: %v", err)
	}
}

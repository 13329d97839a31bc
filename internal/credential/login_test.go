package credential_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/credential"
)

// TestLogins: each way to log in, and whether it can be refreshed without a
// person afterwards, in an environment without the secret.
func TestLogins(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(clientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		login       func(*credential.Store, credential.Target) (*credential.Result, error)
		refreshable bool
		kept        bool // the client secret is in the file
	}{
		"client, secret from a file": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginClient(t.Context(), to, credential.ClientLogin{Secret: credential.FromFile(file)})
		}, true, false},
		"client, secret kept": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginClient(t.Context(), to, credential.ClientLogin{Secret: credential.FromStdin(), Keep: true})
		}, true, true},
		"client, secret not kept": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginClient(t.Context(), to, credential.ClientLogin{Secret: credential.FromStdin()})
		}, false, false},
		"refresh token": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginRefreshToken(t.Context(), to, credential.RefreshLogin{Token: credential.FromValue("refresh-0")})
		}, true, false},
		"token": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginToken(t.Context(), to, credential.TokenLogin{Token: credential.FromValue("opaque")})
		}, false, false},
		"administrator": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginAdmin(t.Context(), to, credential.AdminLogin{Username: "admin", Password: credential.FromValue("open-sesame")})
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			s := newStore(t)
			s.Stdin = strings.NewReader(clientSecret + "\n")
			for _, want := range []credential.Effect{credential.Created, credential.Updated} {
				a.set(func(a *authority) { a.refresh = "refresh-0" })
				r, err := test.login(s, a.target())
				if err != nil {
					t.Fatal(err)
				}
				if r.Effect != want || r.Credential.Refreshable != test.refreshable || r.HiddenBy != "" || r.Kept != s.Path() {
					t.Errorf("%+v; want %s, refreshable %v", r, want, test.refreshable)
				}
			}
			if strings.Contains(content(t, s), clientSecret) != test.kept {
				t.Errorf("the secret is in the file: %v", !test.kept)
			}
			if strings.Contains(content(t, s), "open-sesame") {
				t.Error("the password is in the file")
			}
			if _, err := s.Resolve(t.Context(), a.target()); err != nil {
				t.Error(err)
			}
			r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true})
			if (err == nil) != test.refreshable || err == nil && r.Effect != credential.Updated {
				t.Errorf("Refresh: %v, %v", r, err)
			}
			if names := stored(t, s); !slices.Equal(names, []string{"context:staging"}) {
				t.Errorf("stored are %v", names)
			}
		})
	}
}

func TestRefusedLogins(t *testing.T) {
	a := newAuthority(t)
	for name, test := range map[string]struct {
		login func(*credential.Store, credential.Target) (*credential.Result, error)
		err   error
	}{
		"wrong secret": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginClient(t.Context(), to, credential.ClientLogin{Secret: credential.FromValue("WRONG-SECRET")})
		}, credential.ErrRejected},
		"no secret": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginClient(t.Context(), to, credential.ClientLogin{})
		}, credential.ErrInvalid},
		"spent refresh token": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginRefreshToken(t.Context(), to, credential.RefreshLogin{Token: credential.FromValue("WRONG-SECRET")})
		}, credential.ErrRejected},
		"wrong password": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginAdmin(t.Context(), to, credential.AdminLogin{Username: "admin", Password: credential.FromValue("WRONG-SECRET")})
		}, credential.ErrRejected},
		"expired token": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			return s.LoginToken(t.Context(), to, credential.TokenLogin{Token: credential.FromValue(a.like(-time.Hour))})
		}, credential.ErrInvalid},
		"plain http": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			to.TokenURL = "http://idp.example/token"
			return s.LoginClient(t.Context(), to, credential.ClientLogin{Secret: credential.FromValue("WRONG-SECRET")})
		}, nil},
		"odd context": {func(s *credential.Store, to credential.Target) (*credential.Result, error) {
			to.Context = "a b"
			return s.LoginToken(t.Context(), to, credential.TokenLogin{Token: credential.FromValue("x")})
		}, credential.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t)
			r, err := test.login(s, a.target())
			if err == nil || r != nil || test.err != nil && !errors.Is(err, test.err) {
				t.Fatalf("%v, %v; want %v", r, err, test.err)
			}
			if strings.Contains(err.Error(), "WRONG-SECRET") || strings.Contains(err.Error(), "SECRET-IN-BODY") {
				t.Errorf("the error tells a secret: %v", err)
			}
			if _, err := s.Resolve(t.Context(), a.target()); !errors.Is(err, credential.ErrNone) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

// TestLoginBehindVariable: a login closes the loop although ARCD_TOKEN goes before
// it, or says that it cannot.
func TestLoginBehindVariable(t *testing.T) {
	a := newAuthority(t)
	for name, test := range map[string]struct {
		token    string
		hidden   bool
		hiddenBy string
		used     string // the source of the next call
	}{
		"dead, same identity":  {a.like(-time.Hour), false, "", "store:staging"},
		"dead, other identity": {jwt(claims{"iss": a.URL, "sub": "x", "exp": 1}), true, "ARCD_TOKEN", "env:ARCD_TOKEN"},
		"alive":                {a.like(time.Hour), false, "ARCD_TOKEN", "env:ARCD_TOKEN"},
		"opaque":               {"opaque", false, "ARCD_TOKEN", "env:ARCD_TOKEN"},
		"no token":             {"two words", false, "ARCD_TOKEN", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, withSecret("ARCD_TOKEN="+test.token)...)
			r, err := s.LoginClient(t.Context(), a.target(), credential.ClientLogin{})
			hidden, _ := errors.AsType[*credential.HiddenError](err)
			if (hidden != nil) != test.hidden || hidden == nil && err != nil || r == nil || r.HiddenBy != test.hiddenBy {
				t.Fatalf("%+v, %v", r, err)
			}
			if hidden != nil && (!errors.Is(err, credential.ErrHidden) || !strings.Contains(err.Error(), "unset ARCD_TOKEN")) {
				t.Error(err)
			}
			c, err := s.Resolve(t.Context(), a.target())
			if test.used == "" {
				if !errors.Is(err, credential.ErrUnreadable) {
					t.Error(err)
				}
				return
			}
			if err != nil || c.Source != test.used {
				t.Errorf("the next call uses %v, %v", c, err)
			}
		})
	}
}

// TestRegistry: an administrator's token is renewed by itself, with the
// fingerprint of its login, and only while it is good.
func TestRegistry(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t)
	if _, err := s.LoginAdmin(t.Context(), a.target(), credential.AdminLogin{Username: "admin", Password: credential.FromValue("open-sesame")}); err != nil {
		t.Fatal(err)
	}
	first, err := s.Resolve(t.Context(), a.target())
	if err != nil || first.Fingerprint == "" {
		t.Fatalf("%v, %v", first, err)
	}
	r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true})
	if err != nil || r.Credential.Token == first.Token || r.Credential.Fingerprint != first.Fingerprint {
		t.Fatalf("%v, %v", r, err)
	}
	if !slices.Equal(a.prints, []string{first.Fingerprint, first.Fingerprint}) {
		t.Errorf("fingerprints %v", a.prints)
	}
	later(s, 2*time.Hour)
	c, err := s.Resolve(t.Context(), a.target())
	if err != nil || c.Refreshable {
		t.Errorf("refreshable after its end: %v", err)
	}
	if _, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{}); !errors.Is(err, credential.ErrNotRefreshable) {
		t.Error(err)
	}
	s.Now = nil
	out, err := s.Logout(t.Context(), a.target(), credential.LogoutOptions{})
	if err != nil || !out.Revoked || !slices.Equal(a.revoked, []string{r.Credential.Token}) {
		t.Errorf("%+v, %v", out, err)
	}
}

func TestDevice(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t)
	if _, err := s.PollDevice(t.Context(), a.target(), false); !errors.Is(err, credential.ErrNone) {
		t.Errorf("without a start: %v", err)
	}
	d, err := s.StartDevice(t.Context(), a.target(), credential.DeviceStart{})
	if err != nil {
		t.Fatal(err)
	}
	if d.UserCode != "WDJB-MJHT" || d.OpenURL != a.URL+"/activate" || d.OpenURLComplete == "" || strings.Contains(fmt.Sprintf("%+v", d), "device-secret") {
		t.Errorf("%+v", d)
	}
	if info, err := os.Stat(s.Path()); err != nil || info.Mode().Perm() != 0o600 {
		t.Error(info.Mode(), err)
	}
	pending := func(interval time.Duration, requests int) {
		t.Helper()
		before := len(a.asked())
		_, err := s.PollDevice(t.Context(), a.target(), false)
		p, ok := errors.AsType[*credential.PendingError](err)
		if !ok || !errors.Is(err, credential.ErrPending) || p.RetryAfter > interval || p.RetryAfter < interval-time.Second || p.Login.UserCode != d.UserCode {
			t.Fatalf("%v, %+v", err, p)
		}
		if got := len(a.asked()) - before; got != requests {
			t.Fatalf("%d requests; want %d", got, requests)
		}
	}
	pending(time.Second, 1)
	pending(time.Second, 0) // too early to ask
	later(s, 2*time.Second)
	a.set(func(a *authority) { a.polls = []string{"slow_down"} })
	pending(6*time.Second, 1)
	later(s, 10*time.Second)
	a.set(func(a *authority) { a.approved = true })
	r, err := s.PollDevice(t.Context(), a.target(), true)
	if err != nil || r.Effect != credential.Created || !r.Credential.Refreshable {
		t.Fatalf("%+v, %v", r, err)
	}
	if strings.Contains(content(t, s), "device-secret") {
		t.Error("the device code is kept")
	}
	if r, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true}); err != nil || r.Effect != credential.Updated {
		t.Errorf("%v, %v", r, err)
	}
}

// TestDeviceTwice: two processes wait for the same login, and both have it in the
// end.
func TestDeviceTwice(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t)
	if _, err := s.StartDevice(t.Context(), a.target(), credential.DeviceStart{}); err != nil {
		t.Fatal(err)
	}
	a.set(func(a *authority) { a.approved = true })
	results := make(chan *credential.Result, 2)
	for range 2 {
		go func() {
			r, err := s.PollDevice(t.Context(), a.target(), true)
			if err != nil && !errors.Is(err, credential.ErrNone) { // it came when all was over
				t.Error(err)
			}
			results <- r
		}()
	}
	first, second := <-results, <-results
	if first == nil {
		first, second = second, first
	}
	if first == nil || second != nil && second.Credential.Token != first.Credential.Token {
		t.Errorf("%+v, %+v", first, second)
	}
}

// TestDeviceRefused: a refusal ends the login; so does its time.
func TestDeviceRefused(t *testing.T) {
	for name, test := range map[string]struct {
		poll  string
		later time.Duration
		code  string
	}{"denied": {"access_denied", 0, "access_denied"}, "over": {"expired_token", 0, "expired_token"}, "over by our clock": {"authorization_pending", time.Hour, "expired_token"}} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			s := newStore(t)
			if _, err := s.StartDevice(t.Context(), a.target(), credential.DeviceStart{}); err != nil {
				t.Fatal(err)
			}
			a.set(func(a *authority) { a.polls = []string{test.poll} })
			later(s, test.later)
			_, err := s.PollDevice(t.Context(), a.target(), true)
			if e, ok := errors.AsType[*credential.RejectedError](err); !ok || e.Code != test.code {
				t.Errorf("%v", err)
			}
			if _, err := s.PollDevice(t.Context(), a.target(), false); !errors.Is(err, credential.ErrNone) {
				t.Errorf("afterwards: %v", err)
			}
		})
	}
}

func TestLogout(t *testing.T) {
	a := newAuthority(t)
	dead := a.like(-time.Hour)
	s := newStore(t, withSecret("ARCD_TOKEN="+dead)...)
	if out, err := s.Logout(t.Context(), a.target(), credential.LogoutOptions{}); err != nil || out.Effect != credential.Noop || out.Remains != "ARCD_TOKEN" {
		t.Fatalf("with nothing there: %+v, %v", out, err)
	}
	if _, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{}); err != nil { // a successor
		t.Fatal(err)
	}
	loginRefresh(t, a, s)
	before := content(t, s)
	out, err := s.Logout(t.Context(), a.target(), credential.LogoutOptions{DryRun: true})
	if err != nil || out.Effect != credential.Deleted || content(t, s) != before || len(a.revoked) != 0 {
		t.Fatalf("dry run: %+v, %v", out, err)
	}
	out, err = s.Logout(t.Context(), a.target(), credential.LogoutOptions{})
	if err != nil || out.Effect != credential.Deleted || !out.Revoked || out.RevokeErr != nil || out.KeyringErr != nil {
		t.Fatalf("%+v, %v", out, err)
	}
	if !slices.Contains(a.revoked, "refresh-2") || len(a.revoked) != 3 {
		t.Errorf("revoked: %v", a.revoked)
	}
	if text := content(t, s); strings.Contains(text, "access_token") || strings.Contains(text, "successors") {
		t.Errorf("left: %s", text)
	}
	if c, err := s.Resolve(t.Context(), a.target()); err != nil || c.Token != dead {
		t.Errorf("the next call: %v, %v", c, err)
	}
}

// TestLogoutWithoutServer: what the server says does not keep the login here.
func TestLogoutWithoutServer(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret()...)
	loginClient(t, a, s)
	a.Close()
	out, err := s.Logout(t.Context(), a.target(), credential.LogoutOptions{})
	if err != nil || out.Effect != credential.Deleted || out.Revoked || out.RevokeErr == nil {
		t.Fatalf("%+v, %v", out, err)
	}
	if _, err := s.Resolve(t.Context(), a.target()); !errors.Is(err, credential.ErrNone) {
		t.Error(err)
	}
}

// TestLogoutDuringRefresh: a refresh under way does not put back what a logout has
// deleted: the logout waits for it, for a successor of ARCD_TOKEN too.
func TestLogoutDuringRefresh(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret("ARCD_TOKEN="+a.like(-time.Hour))...)
	if _, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{}); err != nil { // a successor
		t.Fatal(err)
	}
	arrived, release := make(chan struct{}), make(chan struct{})
	a.set(func(a *authority) { a.hold = func() { close(arrived); <-release } })
	done := make(chan error, 1)
	go func() {
		_, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{Force: true})
		done <- err
	}()
	<-arrived
	hurried := &credential.Store{Folder: s.Folder, Environ: s.Environ, LockWait: 20 * time.Millisecond}
	_, err := hurried.Logout(t.Context(), a.target(), credential.LogoutOptions{Local: true})
	close(release)
	if !errors.Is(err, credential.ErrLocked) {
		t.Errorf("during the refresh: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	out, err := s.Logout(t.Context(), a.target(), credential.LogoutOptions{Local: true})
	if err != nil || out.Effect != credential.Deleted || strings.Contains(content(t, s), "access_token") {
		t.Errorf("%+v, %v; left: %s", out, err, content(t, s))
	}
}

package credential_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gofrs/flock"
	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/credential"
)

// write puts a text in the place of the store's file.
func write(t *testing.T, s *credential.Store, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path(), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Path(), mode); err != nil {
		t.Fatal(err)
	}
}

// TestDamaged: a file that is not understood is an error that names it, whoever
// needs it, and stays as it is. A token from elsewhere does not need it.
func TestDamaged(t *testing.T) {
	for name, text := range map[string]string{
		"empty":            "",
		"no JSON":          `{"version":1,"credentials":{"context:a":{"secrets":{"access_token":"TOP-SECRET"`,
		"other version":    `{"version":2}`,
		"no version":       `{}`,
		"unknown member":   `{"version":1,"future":true}`,
		"unknown member 2": `{"version":1,"credentials":{"context:a":{"server":"s","grant":"token","TOP-SECRET":1}}}`,
		"doubled name":     `{"version":1,"version":1}`,
		"wrong type":       `{"version":1,"credentials":{"context:a":{"server":"s","grant":"token","secrets":"TOP-SECRET"}}}`,
		"null credential":  `{"version":1,"credentials":{"context:a":null}}`,
		"unknown grant":    `{"version":1,"credentials":{"context:a":{"server":"s","grant":"TOP-SECRET"}}}`,
		"odd key":          `{"version":1,"credentials":{"a":{"server":"s","grant":"token"}}}`,
		"odd token":        `{"version":1,"credentials":{"context:a":{"server":"s","grant":"token","secrets":{"access_token":"TOP-SECRET\n"}}}}`,
		"null device":      `{"version":1,"devices":{"context:a":null}}`,
		"odd clock":        `{"version":1,"clocks":{"s":9223372036854775807}}`,
		"too large":        `{"version":1}` + strings.Repeat(" ", 1<<20),
		"a list":           `[]`,
		"null":             `null`,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAuthority(t)
			s := newStore(t)
			write(t, s, text, 0o600)
			calls := map[string]func() error{
				"Resolve": func() error { _, err := s.Resolve(t.Context(), a.target()); return err },
				"Refresh": func() error {
					_, err := s.Refresh(t.Context(), a.target(), credential.RefreshOptions{})
					return err
				},
				"Login": func() error {
					_, err := s.LoginToken(t.Context(), a.target(), credential.TokenLogin{Token: credential.FromValue("opaque")})
					return err
				},
				"Logout": func() error {
					_, err := s.Logout(t.Context(), a.target(), credential.LogoutOptions{})
					return err
				},
				"NoteDate": func() error { return s.NoteDate(t.Context(), a.URL, time.Now().Add(time.Hour)) },
			}
			for call, do := range calls {
				err := do()
				if !errors.Is(err, credential.ErrDamaged) || !strings.Contains(err.Error(), s.Path()) || strings.Contains(err.Error(), "TOP-SECRET\\n") {
					t.Errorf("%s: %v", call, err)
				}
			}
			if content(t, s) != text {
				t.Error("the file was changed")
			}
			s.Environ = append(s.Environ, "ARCD_TOKEN="+a.like(time.Hour))
			if _, err := s.Resolve(t.Context(), a.target()); err != nil {
				t.Errorf("with a token of the environment: %v", err)
			}
		})
	}
}

// TestExposed: what other users can read is not used, and the error says how to
// mend it.
func TestExposed(t *testing.T) {
	s := newStore(t)
	write(t, s, `{"version":1}`, 0o640)
	_, err := s.Resolve(t.Context(), credential.Target{Server: "https://arc.example"})
	if !errors.Is(err, credential.ErrExposed) || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("file: %v", err)
	}
	s = newStore(t)
	write(t, s, `{"version":1}`, 0o600)
	if err := os.Chmod(s.Folder, 0o770); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkExpired(t.Context(), "x"); !errors.Is(err, credential.ErrExposed) || !strings.Contains(err.Error(), "chmod 700") {
		t.Errorf("folder: %v", err)
	}
}

// TestFiles: what is made can be used by its owner only, and nothing is left
// behind, not even of a process that was killed while it wrote.
func TestFiles(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret()...)
	if err := os.MkdirAll(s.Folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.Path()+".new", []byte(`{"version":1,"crede`), 0o600); err != nil {
		t.Fatal(err)
	}
	loginClient(t, a, s)
	if text := content(t, s); strings.Contains(text, clientSecret) || !strings.Contains(text, "env:ARCD_CLIENT_SECRET") {
		t.Error("the secret is stored, or not where it is")
	}
	entries, err := os.ReadDir(s.Folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || info.Mode().Perm() != 0o600 || strings.HasSuffix(e.Name(), ".new") {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
	if info, err := os.Stat(s.Folder); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder: %v, %v", info.Mode(), err)
	}
	real := filepath.Join(t.TempDir(), "elsewhere.json")
	if err := errors.Join(os.Rename(s.Path(), real), os.Symlink(real, s.Path())); err != nil {
		t.Fatal(err)
	}
	if err := s.MarkExpired(t.Context(), "x"); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Lstat(s.Path()); err != nil || info.Mode()&fs.ModeSymlink == 0 {
		t.Errorf("the link was replaced: %v", err)
	}
}

// TestNoFolder: without a home, reading works and writing says what to set.
func TestNoFolder(t *testing.T) {
	folders, err := credential.FindFolders(nil, "")
	if err != nil || folders != (credential.Folders{}) {
		t.Fatalf("%+v, %v", folders, err)
	}
	s := &credential.Store{Folder: folders.State}
	target := credential.Target{Server: "https://arc.example"}
	if _, err := s.Resolve(t.Context(), target); !errors.Is(err, credential.ErrNone) {
		t.Error(err)
	}
	_, err = s.LoginToken(t.Context(), target, credential.TokenLogin{Token: credential.FromValue("x")})
	if !errors.Is(err, credential.ErrNoFolder) || !strings.Contains(err.Error(), "ARCD_STATE_DIR") {
		t.Error(err)
	}
	if _, err := (credential.ContextFile{}).Put(t.Context(), "a", credential.Context{Server: "https://arc.example"}); !errors.Is(err, credential.ErrNoFolder) {
		t.Error(err)
	}
	if c, err := (credential.ContextFile{}).Load(); err != nil || len(c.Contexts) != 0 {
		t.Error(c, err)
	}
}

func TestFindFolders(t *testing.T) {
	for name, test := range map[string]struct {
		environ  []string
		instance string
		want     credential.Folders
	}{
		"home":           {[]string{"HOME=/h"}, "", credential.Folders{Config: "/h/.config/arcd", State: "/h/.local/state/arcd/instances/default"}},
		"XDG":            {[]string{"HOME=/h", "XDG_CONFIG_HOME=/c", "XDG_STATE_HOME=/s"}, "a", credential.Folders{Config: "/c/arcd", State: "/s/arcd/instances/a"}},
		"own":            {[]string{"ARCD_CONFIG_DIR=/c", "ARCD_STATE_DIR=/s", "XDG_STATE_HOME=/x"}, "a.b-c", credential.Folders{Config: "/c", State: "/s/instances/a.b-c"}},
		"relative XDG":   {[]string{"HOME=/h", "XDG_CONFIG_HOME=c"}, "", credential.Folders{Config: "/h/.config/arcd", State: "/h/.local/state/arcd/instances/default"}},
		"path as a name": {[]string{"HOME=/h"}, "../x", credential.Folders{}},
		"dots":           {[]string{"HOME=/h"}, "..", credential.Folders{}},
	} {
		got, err := credential.FindFolders(test.environ, test.instance)
		if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != (test.want.State == "") {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
}

// TestLocked: a lock that is held for too long is told, with how long to wait;
// the end of the call ends the waiting.
func TestLocked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t)
		if err := s.MarkExpired(t.Context(), "x"); err != nil {
			t.Fatal(err)
		}
		l := flock.New(s.Path() + ".lock")
		if err := l.Lock(); err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		began := time.Now()
		err := s.MarkExpired(t.Context(), "y")
		held, ok := errors.AsType[*credential.LockedError](err)
		if !ok || !errors.Is(err, credential.ErrLocked) || held.RetryAfter <= 0 || time.Since(began) != 20*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		s.LockWait = time.Second
		if err := s.MarkExpired(t.Context(), "y"); !errors.Is(err, credential.ErrLocked) {
			t.Error(err)
		}
	})
}

// TestPruned: the file does not grow for ever.
func TestPruned(t *testing.T) {
	s := newStore(t)
	for i := range 300 {
		later(s, time.Duration(i)*time.Second)
		if err := s.MarkExpired(t.Context(), strings.Repeat("x", i+1)); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(content(t, s), `": "2`); n != 256 {
		t.Errorf("%d marks are kept", n)
	}
	later(s, 40*24*time.Hour)
	if err := s.MarkExpired(t.Context(), "y"); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(content(t, s), `": "2`); n != 1 {
		t.Errorf("%d marks are kept after 40 days", n)
	}
}

// FuzzStored: whatever is in the file, a call ends, with an error or a token that
// can be sent, and the file is only replaced by one that can be read.
func FuzzStored(f *testing.F) {
	f.Add([]byte(`{"version":1,"credentials":{"server:https://arc.example/arc":{"server":"https://arc.example/arc","grant":"token","secrets":{"access_token":"a"}}},"successors":{"x":"y"},"marks":{"m":"2026-01-01T00:00:00Z"},"clocks":{"s":31},"devices":{}}`))
	f.Add([]byte(`{"version":1,"credentials":null,"clocks":null}`))
	f.Add([]byte(`{"version":1,"credentials":{"context:":{}}}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text []byte) {
		s := &credential.Store{Folder: dir, Environ: []string{"ARCD_KEYRING=off"}}
		if err := os.WriteFile(s.Path(), text, 0o600); err != nil {
			t.Fatal(err)
		}
		target := credential.Target{Server: "https://arc.example/arc"}
		c, err := s.Resolve(t.Context(), target)
		if err == nil && (c.Token == "" || strings.ContainsAny(c.Token, " \r\n")) {
			t.Errorf("token %q", c.Token)
		}
		if err := s.MarkExpired(t.Context(), "x"); err != nil {
			return
		}
		if _, err := s.Resolve(t.Context(), target); errors.Is(err, credential.ErrDamaged) {
			t.Errorf("what was written cannot be read: %v", err)
		}
	})
}

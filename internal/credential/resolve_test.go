package credential_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/internal/credential"
)

func TestParseSource(t *testing.T) {
	for text, want := range map[string]string{
		"env:MY_TOKEN": "env:MY_TOKEN", "file:/run/token": "file:/run/token", "file:a b": "file:a b", "-": "stdin",
		"SECRET123": "", "": "", "env:": "", "env:a-b": "", "env:eyJ.eyJ.sig": "", "file:": "", "eyJhbGciOi.J9.x": "", "ENV:X": "", "--": "",
	} {
		o, err := credential.ParseSource(text)
		if o.String() != want || (want == "") != errors.Is(err, credential.ErrSecretInArgv) {
			t.Errorf("ParseSource(%q) = %q, %v; want %q", text, o, err, want)
		}
		if err != nil && len(text) > 5 && strings.Contains(err.Error(), text) {
			t.Errorf("the error repeats %q", text)
		}
	}
}

// TestPrecedence: flag, variable, file, store; what is set to nothing is not set.
func TestPrecedence(t *testing.T) {
	a := newAuthority(t)
	file := filepath.Join(t.TempDir(), "token")
	inFile, inEnv, other := jwt(claims{"sub": "file"}), jwt(claims{"sub": "env"}), jwt(claims{"sub": "other"})
	if err := os.WriteFile(file, []byte("\n "+inFile+"\r\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		environ []string
		flag    string
		stdin   string
		want    []string // source, setting, subject
	}{
		"store":                    {nil, "", "", []string{"store:staging", "", clientID}},
		"file before store":        {[]string{"ARCD_TOKEN_FILE=" + file}, "", "", []string{"file:" + file, "ARCD_TOKEN_FILE", "file"}},
		"variable before file":     {[]string{"ARCD_TOKEN_FILE=" + file, "ARCD_TOKEN=" + inEnv}, "", "", []string{"env:ARCD_TOKEN", "ARCD_TOKEN", "env"}},
		"flag before variable":     {[]string{"MINE=" + other, "ARCD_TOKEN=" + inEnv}, "env:MINE", "", []string{"env:MINE", "--token", "other"}},
		"flag with a file":         {nil, "file:" + file, "", []string{"file:" + file, "--token", "file"}},
		"flag with standard input": {nil, "-", other + "\n", []string{"stdin", "--token", "other"}},
		"empty variables":          {[]string{"ARCD_TOKEN=", "ARCD_TOKEN_FILE="}, "", "", []string{"store:staging", "", clientID}},
		"the last value counts":    {[]string{"ARCD_TOKEN=" + other, "ARCD_TOKEN=" + inEnv}, "", "", []string{"env:ARCD_TOKEN", "ARCD_TOKEN", "env"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, withSecret()...)
			loginClient(t, a, s)
			s.Environ, s.Stdin = append(s.Environ, test.environ...), strings.NewReader(test.stdin)
			target := a.target()
			if test.flag != "" {
				target.Token, _ = credential.ParseSource(test.flag)
			}
			for range 2 { // standard input can be read only once
				c, err := s.Resolve(t.Context(), target)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(test.want, []string{c.Source, c.Setting, c.Facts.Subject}); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestUnusableTokens(t *testing.T) {
	dir := t.TempDir()
	large := filepath.Join(dir, "large")
	if err := os.WriteFile(large, []byte(strings.Repeat("a", 64<<10)), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ environ, flag, says string }{
		"variable not set":     {"", "env:NOT_SET", "env:NOT_SET is not set"},
		"word Bearer":          {"ARCD_TOKEN=Bearer SECRET-1", "", "without the word Bearer"},
		"control character":    {"ARCD_TOKEN=SECRET-1\x01x", "", "characters"},
		"not ASCII":            {"ARCD_TOKEN=SECRET-1ü", "", "characters"},
		"blanks only":          {"ARCD_TOKEN=  ", "", "is empty"},
		"file not there":       {"ARCD_TOKEN_FILE=" + dir + "/none", "", "no such file"},
		"folder":               {"ARCD_TOKEN_FILE=" + dir, "", "is a folder"},
		"large file":           {"ARCD_TOKEN_FILE=" + large, "", "longer than"},
		"empty standard input": {"", "-", "is empty"},
		"device":               {"", "file:/dev/zero", "not a regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, test.environ)
			s.Stdin = strings.NewReader("")
			target := credential.Target{Server: "http://127.0.0.1:1/arc"}
			if test.flag != "" {
				target.Token, _ = credential.ParseSource(test.flag)
			}
			_, err := s.Resolve(t.Context(), target)
			if !errors.Is(err, credential.ErrUnreadable) || !strings.Contains(err.Error(), test.says) || strings.Contains(err.Error(), "SECRET-1") {
				t.Errorf("Resolve: %v", err)
			}
		})
	}
}

func TestNone(t *testing.T) {
	for name, test := range map[string]struct {
		environ []string
		want    bool
	}{
		"nothing":     {nil, false},
		"id only":     {[]string{"ARCD_CLIENT_ID=ci"}, false},
		"credentials": {withSecret(), true},
		"secret file": {[]string{"ARCD_CLIENT_ID=ci", "ARCD_CLIENT_SECRET_FILE=/run/secret"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStore(t, test.environ...)
			_, err := s.Resolve(t.Context(), credential.Target{Server: "https://arc.example"})
			none, ok := errors.AsType[*credential.NoneError](err)
			if !ok || !errors.Is(err, credential.ErrNone) || none.Mintable != test.want {
				t.Errorf("Resolve: %#v", err)
			}
			if _, err := os.Stat(s.Folder); err == nil {
				t.Error("reading made a folder")
			}
		})
	}
}

// TestOtherServer: a credential is given to the server it was made for, however
// its address is spelled, and to no other.
func TestOtherServer(t *testing.T) {
	a := newAuthority(t)
	s := newStore(t, withSecret()...)
	loginClient(t, a, s)
	for server, want := range map[string]bool{
		a.URL + "/arc": true, a.URL: true, a.URL + "/arc/": true, strings.Replace(a.URL, "http", "HTTP", 1): true,
		"https://evil.example/arc": false, a.URL + "/other": false, strings.Replace(a.URL, "http", "https", 1): false,
	} {
		target := a.target()
		target.Server = server
		c, err := s.Resolve(t.Context(), target)
		none, _ := errors.AsType[*credential.NoneError](err)
		if (c != nil) != want || !want && none.OtherServer != a.URL+"/arc" {
			t.Errorf("%s: %v, %v", server, c, err)
		}
	}
}

func TestInspect(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0).UTC() }
	for name, test := range map[string]struct {
		token string
		want  credential.Facts
	}{
		"usual": {
			jwt(claims{"iss": "https://i", "sub": "s", "client_id": "c", "aud": "a", "scope": "y x y", "iat": 5, "exp": 7}),
			credential.Facts{JWT: true, Issuer: "https://i", Subject: "s", ClientID: "c", Audience: []string{"a"}, Scopes: []string{"x", "y"}, IssuedAt: at(5), ExpiresAt: at(7)},
		},
		"other names":     {jwt(claims{"azp": "c", "scp": []string{"b", "a"}, "aud": []string{"a", "b"}}), credential.Facts{JWT: true, ClientID: "c", Scopes: []string{"a", "b"}, Audience: []string{"a", "b"}}},
		"fraction":        {jwt(claims{"exp": 7.9}), credential.Facts{JWT: true, ExpiresAt: at(7)}},
		"wrong types":     {jwt(claims{"exp": "7", "iss": 1, "sub": nil, "scope": []any{1, "a"}, "aud": 3}), credential.Facts{JWT: true, Scopes: []string{"a"}}},
		"date too large":  {jwt(claims{"exp": 1e300, "iat": -1}), credential.Facts{JWT: true}},
		"padded":          {"a." + "eyJleHAiOjd9" + "==.c", credential.Facts{JWT: true, ExpiresAt: at(7)}},
		"no JWT":          {"not.a.jwt", credential.Facts{}},
		"doubled name":    {"a.eyJleHAiOjEsImV4cCI6Mn0.c", credential.Facts{}},
		"opaque":          {"abc", credential.Facts{}},
		"payload a list":  {"a.W10.c", credential.Facts{}},
		"empty":           {"", credential.Facts{}},
		"nothing but dot": {"..", credential.Facts{}},
	} {
		if diff := cmp.Diff(test.want, credential.Inspect(test.token)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestExpiry is the rule of contract section 2.5 rows 2 and 4, with clocks that
// differ.
func TestExpiry(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for name, test := range map[string]struct {
		exp, offset   time.Duration
		expired, past bool
	}{
		"alive":                        {time.Second, 0, false, false},
		"just now":                     {0, 0, false, true},
		"within the allowance":         {-59 * time.Second, 0, false, true},
		"beyond the allowance":         {-60 * time.Second, 0, true, true},
		"our clock is an hour late":    {time.Minute, time.Hour, false, true}, // the server tells; the offset may be old
		"our clock is an hour too far": {-time.Minute * 30, -time.Hour, false, false},
	} {
		c := &credential.Credential{Facts: credential.Facts{ExpiresAt: now.Add(test.exp)}, Offset: test.offset}
		if got := []bool{c.ExpiredAt(now), c.Past(now)}; !cmp.Equal(got, []bool{test.expired, test.past}) {
			t.Errorf("%s: expired, past = %v", name, got)
		}
	}
	unknown := &credential.Credential{}
	if _, known := unknown.Left(now); known || unknown.ExpiredAt(now) || unknown.Past(now) {
		t.Error("a token without expiry has one")
	}
}

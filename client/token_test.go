package client_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

func TestSimpleTokenSources(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) client.FileToken {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return client.FileToken(path)
	}
	t.Setenv("C1_TOKEN", " env-token\n")
	t.Setenv("C1_EMPTY", " ")
	for label, c := range map[string]struct {
		source client.TokenSource
		want   string
		class  error // nil: it works
	}{
		"static":          {client.StaticToken("a"), "a", nil},
		"static, none":    {client.StaticToken(""), "", nil},
		"environment":     {client.EnvToken("C1_TOKEN"), "env-token", nil},
		"empty variable":  {client.EnvToken("C1_EMPTY"), "", arc.ErrAuthentication},
		"no variable":     {client.EnvToken("C1_ABSENT"), "", arc.ErrAuthentication},
		"file":            {file("f", "\n file-token \n"), "file-token", nil},
		"empty file":      {file("e", " \n"), "", arc.ErrAuthentication},
		"no file":         {client.FileToken(filepath.Join(dir, "absent")), "", os.ErrNotExist},
		"much too large":  {file("l", strings.Repeat("x", 64<<10+1)), "", nil},
		"a whole folder":  {client.FileToken(dir), "", nil},
		"as large as may": {file("m", strings.Repeat("x", 64<<10)), strings.Repeat("x", 64<<10), nil},
	} {
		got, err := c.source.Token(t.Context(), "")
		if got != c.want || c.class != nil && !errors.Is(err, c.class) || c.want != "" && err != nil {
			t.Errorf("%s: %q, %v; want %q, %v", label, got, err, c.want, c.class)
			continue
		}
		if got == "" {
			continue
		}
		if _, err := c.source.Token(t.Context(), got); !errors.Is(err, client.ErrNoNewToken) {
			t.Errorf("%s gives the expired token again: %v", label, err)
		}
		if again, err := c.source.Token(t.Context(), "another"); again != got || err != nil {
			t.Errorf("%s: another token has expired, and it gives %v", label, err)
		}
	}
}

// rotating gives one token after the other; the last stays.
type rotating struct {
	tokens []string
	asked  []string
	err    error // in place of a new token
}

func (r *rotating) Token(_ context.Context, expired string) (string, error) {
	r.asked = append(r.asked, expired)
	if expired != "" {
		if r.err != nil {
			return "", r.err
		}
		if len(r.tokens) == 1 {
			return "", client.ErrNoNewToken
		}
		r.tokens = r.tokens[1:]
	}
	return r.tokens[0], nil
}

const (
	expiredAnswer = `{"arc":"1.0","id":$ID,"result":null,"error":{"code":-44004,"message":"m","details":{}}}`
	refusedAnswer = `{"arc":"1.0","id":$ID,"result":null,"error":{"code":-44001,"message":"m","details":{}}}`
)

// TestOneRefresh: an expiry, however it is said, brings a new token and the same
// bytes once more; whatever else is said, and a second expiry, ends the call.
func TestOneRefresh(t *testing.T) {
	header := `WWW-Authenticate: Bearer error="invalid_token", error_description="expired"`
	for label, c := range map[string]struct {
		status int
		body   string
		header string
		bad    int // so many tokens are refused
		sent   string
		ok     bool
	}{
		"-44004 at 401":          {401, expiredAnswer, "", 1, "t1 t2", true},
		"-44004 at 200":          {200, expiredAnswer, "", 1, "t1 t2", true},
		"a header":               {401, "", header, 1, "t1 t2", true},
		"a problem document":     {401, `{"type":"token-invalid","error_code":"TOKEN_EXPIRED","detail":"m"}`, "", 1, "t1 t2", true},
		"the new one as well":    {401, expiredAnswer, "", 2, "t1 t2", false},
		"a refusal":              {401, refusedAnswer, "", 1, "t1", false},
		"a refusal, with header": {401, refusedAnswer, header, 1, "t1", false},
		"a bare 401":             {401, "", "", 1, "t1", false},
		"a 403":                  {403, "", "", 1, "t1", false},
	} {
		var sent, bodies []string
		source := &rotating{tokens: []string{"t1", "t2", "t3"}}
		web := over(func(r *http.Request) (*http.Response, error) {
			sent = append(sent, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
			whole, _ := r.GetBody()
			b := make([]byte, r.ContentLength)
			_, _ = whole.Read(b)
			bodies = append(bodies, string(b))
			if len(sent) <= c.bad {
				return says(r, c.status, c.body, c.header), nil
			}
			return says(r, 200, arcTask), nil
		})
		web.Token = source
		_, err := web.CreateTask(t.Context(), "a", arc.CreateTaskParams{InitialMessage: text("x")})
		if got := strings.Join(sent, " "); got != c.sent || (err == nil) != c.ok {
			t.Errorf("%s: sent %s, %v; want %s, success %t", label, got, err, c.sent, c.ok)
		}
		if !c.ok && !errors.Is(err, arc.ErrAuthentication) && !errors.Is(err, arc.ErrPermission) {
			t.Errorf("%s: %v is no refusal", label, err)
		}
		for _, body := range bodies {
			if body != bodies[0] {
				t.Errorf("%s: the call was made again as\n%s, was\n%s", label, body, bodies[0])
			}
		}
	}
}

// TestNoNewToken: the caller learns that the token has expired, and where the
// source failed, of that too.
func TestNoNewToken(t *testing.T) {
	outage := errors.New("the token service is down")
	for label, c := range map[string]struct {
		source client.TokenSource
		says   string
	}{
		"a static token":        {client.StaticToken("t1"), ""},
		"the same token again":  {sameAgain("t1"), ""},
		"a source that fails":   {&rotating{tokens: []string{"t1"}, err: outage}, outage.Error()},
		"a source with no more": {&rotating{tokens: []string{"t1"}}, ""},
	} {
		calls := 0
		web := over(func(r *http.Request) (*http.Response, error) {
			calls++
			return says(r, 401, expiredAnswer), nil
		})
		web.Token = c.source
		err := web.Call(t.Context(), "m", "a", nil, nil)
		if !errors.Is(err, arc.ErrExpired) || errors.Is(err, client.ErrNoNewToken) || !strings.Contains(fmt.Sprint(err), c.says) || calls != 1 {
			t.Errorf("%s: %v after %d calls, want the expiry, and %q", label, err, calls, c.says)
		}
		if c.says != "" && !errors.Is(err, outage) {
			t.Errorf("%s: %v does not hold its cause", label, err)
		}
	}
}

// sameAgain gives one token, whatever it is told of it.
type sameAgain string

func (s sameAgain) Token(context.Context, string) (string, error) { return string(s), nil }

// TestTokensStaySafe: nothing is sent that would show a token, and no error does.
func TestTokensStaySafe(t *testing.T) {
	for label, c := range map[string]struct {
		url, token string
		open, ok   bool
	}{
		"https":                   {"https://arc.test/arc", "secret-t", false, true},
		"http on this machine":    {"http://127.0.0.1:1/arc", "secret-t", false, true},
		"by name":                 {"http://LOCALHOST:1/arc", "secret-t", false, true},
		"a name below":            {"http://x.localhost/arc", "secret-t", false, false}, // DNS says where that is
		"by name, with a dot":     {"http://localhost./arc", "secret-t", false, false},
		"IPv6":                    {"http://[::1]:1/arc", "secret-t", false, true},
		"mapped":                  {"http://[::ffff:127.0.0.1]/arc", "secret-t", false, true},
		"http elsewhere":          {"http://arc.test/arc", "secret-t", false, false},
		"looks like this machine": {"http://127.0.0.1.test/arc", "secret-t", false, false},
		"with a user":             {"http://localhost@arc.test/arc", "secret-t", false, false},
		"allowed":                 {"http://arc.test/arc", "secret-t", true, true},
		"no token":                {"http://arc.test/arc", "", false, true},
		"a line end":              {"https://arc.test/arc", "secret-t\r\nX: y", false, false},
		"a space":                 {"https://arc.test/arc", "secret-t x", false, false},
		"no ASCII":                {"https://arc.test/arc", "secret-tä", false, false},
		"too large":               {"https://arc.test/arc", strings.Repeat("secret-t", 10000), false, false},
	} {
		sent := 0
		web := over(func(r *http.Request) (*http.Response, error) {
			sent++
			return says(r, 200, arcTask), nil
		})
		web.URL, web.Token, web.AllowHTTP = c.url, client.StaticToken(c.token), c.open
		_, err := web.GetTask(t.Context(), "a", arc.GetTaskParams{TaskID: "t"})
		if (err == nil) != c.ok || (sent == 1) != c.ok {
			t.Errorf("%s: %v after %d requests, want success %t", label, err, sent, c.ok)
		}
		if err != nil && strings.Contains(err.Error(), "secret-t") {
			t.Errorf("%s: the error shows the token: %v", label, err)
		}
	}
	insecure := over(func(r *http.Request) (*http.Response, error) { return nil, errors.New("not reached") })
	insecure.URL = "http://arc.test"
	if err := insecure.Call(t.Context(), "m", "a", nil, nil); !strings.Contains(fmt.Sprint(err), "AllowHTTP") {
		t.Errorf("%v does not name the cure", err)
	}
}

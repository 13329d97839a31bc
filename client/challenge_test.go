package client

// The reader of challenges is not exported; it is tested and fuzzed from inside.

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestChallenge(t *testing.T) {
	type params = map[string]string
	full := params{"realm": "arc", "error": "invalid_token", "error_description": "the token has expired"}
	for label, c := range map[string]struct {
		lines []string
		want  params
	}{
		"none":                        {nil, nil},
		"another scheme":              {[]string{`Basic realm="x"`}, nil},
		"nothing but the scheme":      {[]string{`Bearer`}, params{}},
		"quoted":                      {[]string{`Bearer realm="arc", error="invalid_token", error_description="the token has expired"`}, full},
		"tokens, any case, no space":  {[]string{`bEARER Realm=arc,ERROR=invalid_token,error_description="the token has expired"`}, full},
		"space around the sign":       {[]string{"Bearer  realm = \"arc\" ,\t error\t=\tinvalid_token , error_description = \"the token has expired\""}, full},
		"escapes":                     {[]string{`Bearer realm="a \"b\", c\\"`}, params{"realm": `a "b", c\`}},
		"a comma and a scheme inside": {[]string{`Bearer realm="Basic x, Bearer error=\"y\""`}, params{"realm": `Basic x, Bearer error="y"`}},
		"behind another":              {[]string{`Basic realm="x", charset="UTF-8", Bearer error="invalid_token"`}, params{"error": "invalid_token"}},
		"before another":              {[]string{`Bearer error="invalid_token", Basic realm="x"`}, params{"error": "invalid_token"}},
		"on a second line":            {[]string{`Digest nonce="x", qop="auth"`, `Bearer error="invalid_token"`}, params{"error": "invalid_token"}},
		"the one with an error":       {[]string{`Bearer realm="a", Bearer realm="b", error="invalid_token"`}, params{"realm": "b", "error": "invalid_token"}},
		"the first without errors":    {[]string{`Bearer realm="a", Bearer realm="b"`}, params{"realm": "a"}},
		"behind a token68":            {[]string{`Negotiate oYG2MIGzoAMKAQE+/x==, Bearer error="invalid_token"`}, params{"error": "invalid_token"}},
		"behind an unpadded token68":  {[]string{`Negotiate abc/def, Bearer error="invalid_token"`}, params{"error": "invalid_token"}},
		"empty elements":              {[]string{`, ,Bearer ,,error="invalid_token",,`}, params{"error": "invalid_token"}},
		"twice the same":              {[]string{`Bearer error="a", error="b"`}, params{"error": "a"}},
		"an open quote":               {[]string{`Bearer realm="a", error="x`}, params{"realm": "a"}},
		"an open escape":              {[]string{`Bearer realm="a", error="x\`}, params{"realm": "a"}},
		"no value":                    {[]string{`Bearer realm="a", error=`}, params{"realm": "a"}},
		"rubbish":                     {[]string{"\x00(){}[]=\"\"", `=`, `"Bearer"`}, nil},
	} {
		if diff := cmp.Diff(c.want, challenge(http.Header{"Www-Authenticate": c.lines})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
	}
}

func TestChallengeIsBounded(t *testing.T) {
	long := `Bearer ` + strings.Repeat(`a="x", `, 1<<20)
	if got := challenge(http.Header{"Www-Authenticate": {long}}); len(got) != 1 {
		t.Errorf("many doubles give %d parameters, want 1", len(got))
	}
	large := `Bearer error="` + strings.Repeat("x", 1<<20) + `"`
	if got := challenge(http.Header{"Www-Authenticate": {large}}); len(got) != 0 {
		t.Errorf("a huge parameter gives %d parameters, want none", len(got))
	}
}

// FuzzChallenge checks that no header makes the reader panic, hang, or give more
// than the header holds.
func FuzzChallenge(f *testing.F) {
	for _, seed := range []string{
		`Bearer realm="arc", error="invalid_token"`, `Basic a=b, Bearer`, `Negotiate abc==, Bearer a="\""`, `,,=",`, `Bearer a b c=d`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, line string) {
		got := challenge(http.Header{"Www-Authenticate": {line}})
		total := 0
		for name, value := range got {
			total += len(name) + len(value)
			if name == "" || name != strings.ToLower(name) {
				t.Errorf("%q gave the parameter %q", line, name)
			}
		}
		if total > len(line) {
			t.Errorf("%q gave more than it holds: %q", line, got)
		}
	})
}

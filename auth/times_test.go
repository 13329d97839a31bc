package auth_test

import (
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/auth"
)

// payload makes a token that holds nothing but this text.
func payload(text string) string {
	return "header." + base64.RawURLEncoding.EncodeToString([]byte(text)) + ".signature"
}

func TestUnverified(t *testing.T) {
	at := func(seconds int64) time.Time { return time.Unix(seconds, 0).UTC() }
	const seed = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZ2VudC0wMDEiLCJleHAiOjE3MDUzOTk4MDB9.signature"
	both := auth.Times{Issued: at(1), Expires: at(2)}
	for name, test := range map[string]struct {
		token string
		want  auth.Times
		ok    bool
	}{
		"the token of the page":   {seed, auth.Times{Expires: time.Date(2024, 1, 16, 10, 10, 0, 0, time.UTC)}, true},
		"both dates":              {payload(`{"iat":1,"exp":2}`), both, true},
		"nothing else is read":    {"." + strings.Split(payload(`{"iat":1,"exp":2}`), ".")[1] + ".", both, true},
		"no dates":                {payload(`{}`), auth.Times{}, true},
		"dates that are none":     {payload(`{"iat":"1","exp":-1}`), auth.Times{}, true},
		"dates out of range":      {payload(`{"iat":1e300,"exp":253402300800}`), auth.Times{}, true},
		"one of them":             {payload(`{"iat":null,"exp":2}`), auth.Times{Expires: at(2)}, true},
		"a fraction":              {payload(`{"exp":2.5}`), auth.Times{Expires: at(2).Add(time.Second / 2)}, true},
		"no token":                {"", auth.Times{}, false},
		"no segments":             {"expired-or-invalid-token", auth.Times{}, false},
		"segments of words":       {"invalid.token.format", auth.Times{}, false},
		"two segments":            {strings.TrimSuffix(payload(`{"exp":2}`), ".signature"), auth.Times{}, false},
		"four segments":           {payload(`{"exp":2}`) + ".more", auth.Times{}, false},
		"three dots":              {"header...", auth.Times{}, false},
		"no object":               {payload(`[2]`), auth.Times{}, false},
		"a name twice":            {payload(`{"exp":2,"exp":3}`), auth.Times{}, false},
		"text behind":             {payload(`{"exp":2} x`), auth.Times{}, false},
		"padding":                 {strings.Replace(payload(`{"exp":22}`), ".signature", "==.signature", 1), auth.Times{}, false},
		"line breaks":             {strings.Replace(payload(`{"exp":2}`), ".signature", "\n.signature", 1), auth.Times{}, false},
		"longer than a token":     {payload(`{"exp":2}`) + strings.Repeat("x", auth.MaxToken), auth.Times{}, false},
		"nested beyond the limit": {payload(strings.Repeat(`{"a":`, 40) + "1" + strings.Repeat("}", 40)), auth.Times{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := auth.Unverified(test.token); got != test.want || ok != test.ok {
				t.Errorf("Unverified: got %v, %v; want %v, %v", got, ok, test.want, test.ok)
			}
		})
	}
}

// Whatever the text, there is no panic, and a date is one that can be shown.
func FuzzUnverified(f *testing.F) {
	f.Add(payload(`{"iat":1,"exp":2}`))
	f.Add("invalid.token.format")
	f.Fuzz(func(t *testing.T, token string) {
		times, ok := auth.Unverified(token)
		if !ok && times != (auth.Times{}) {
			t.Fatalf("dates of a token that cannot be read: %v", times)
		}
		if ok && (strings.Count(token, ".") != 2 || len(token) > auth.MaxToken) {
			t.Fatalf("read: %q", token)
		}
		for _, at := range []time.Time{times.Issued, times.Expires} {
			if !at.IsZero() && (at.Year() < 1970 || at.Year() > 9999 || at.Location() != time.UTC) {
				t.Fatalf("date %v of %q", at, token)
			}
		}
	})
}

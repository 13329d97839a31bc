package client

import (
	"encoding/base64"
	"testing"
	"time"
)

func TestExpiryOf(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
	}
	for token, want := range map[string]time.Time{
		"":                          {},
		"opaque":                    {},
		"a.b":                       {},
		"a.!.c":                     {},
		jwt(`{`):                    {},
		jwt(`{}`):                   {},
		jwt(`{"exp":"1"}`):          {},
		jwt(`{"exp":-5}`):           {},
		jwt(`{"exp":1e300}`):        {},
		jwt(`{"exp":1700000000}`):   time.Unix(1700000000, 0),
		jwt(`{"exp":1700000000.9}`): time.Unix(1700000000, 0),
	} {
		if got := expiryOf(token); !got.Equal(want) {
			t.Errorf("%q expires at %v, want %v", token, got, want)
		}
	}
}

package auth

import (
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Times are the dates that a token says of itself.
type Times struct {
	Issued  time.Time // claim iat, UTC; zero if absent or no date from 1970 to 9999
	Expires time.Time // claim exp; likewise
}

// Unverified reads the dates in the payload of a token, whoever wrote it. It is
// for the words of a refusal alone: the HTTP API reports a refused token whose
// exp is past as expired, whatever else is wrong with it (contract 2.3, row T1,
// where the third segment is no base64url). Nothing may ever be granted on it.
//
// The token must be three segments of which the second is base64url, without
// padding, of one JSON object in the strict form that a [Providers] reads; ok is
// false otherwise, and for a token longer than [MaxToken]. Header and signature
// are not looked at.
func Unverified(token string) (t Times, ok bool) {
	if len(token) > MaxToken {
		return Times{}, false
	}
	_, rest, two := strings.Cut(token, ".")
	payload, signature, three := strings.Cut(rest, ".")
	if !two || !three || strings.Contains(signature, ".") {
		return Times{}, false
	}
	claims, err := object(payload)
	if err != nil {
		return Times{}, false
	}
	return Times{Issued: dateOf(claims, "iat"), Expires: dateOf(claims, "exp")}, true
}

// dateOf reads a date claim; zero if there is none that makes sense.
func dateOf(claims map[string]any, name string) time.Time {
	var date *jwt.NumericDate
	if err := dateClaim(claims, name, &date); err != nil || date == nil {
		return time.Time{}
	}
	return date.Time
}

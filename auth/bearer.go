package auth

import (
	"errors"
	"net/http"
	"strings"

	"github.com/arcd-io/arcd/arc"
)

// MaxToken is the longest bearer token in bytes that is looked at.
const MaxToken = 16 << 10

// Bearer takes the token out of a request's header fields (RFC 6750 section
// 2.1). The token comes back as it is; nothing about it has been checked.
//
// There must be exactly one Authorization field of the form "Bearer TOKEN",
// with the scheme in any case, one space, and nothing behind the token. No
// field at all, or another scheme, is -44001 missing_token; any other form is
// -44001 malformed.
func Bearer(h http.Header) (string, error) {
	fields := h.Values("Authorization")
	if len(fields) == 0 {
		return "", missingToken()
	}
	if len(fields) > 1 {
		return "", badHeader(errors.New("more than one Authorization field"))
	}
	scheme, token, spaced := strings.Cut(fields[0], " ")
	if !strings.EqualFold(scheme, "Bearer") {
		if strings.ContainsAny(scheme, "\t,") {
			return "", badHeader(errors.New("odd characters in the scheme"))
		}
		return "", missingToken()
	}
	switch {
	case !spaced || token == "":
		return "", badHeader(errors.New("no token behind the scheme"))
	case len(token) > MaxToken:
		return "", refuse(ReasonMalformed, errTooLong)
	case !isToken68(token):
		return "", badHeader(errors.New("not one b64token behind the scheme"))
	}
	return token, nil
}

// missingToken asks for credentials; RFC 6750 section 3.1 wants no error word
// in the challenge then.
func missingToken() *arc.Error {
	return arc.Errorf(arc.CodeUnauthenticated, "a bearer token is needed").
		With("reason", ReasonMissingToken).With("retryable", false)
}

// badHeader refuses the form of the Authorization header.
func badHeader(cause error) *arc.Error {
	return arc.Errorf(arc.CodeUnauthenticated, "the Authorization header must be one field of the form: Bearer TOKEN").
		With("reason", ReasonMalformed).With("retryable", false).With("field", headerField).Because(cause)
}

// isToken68 tells whether s is a b64token of RFC 6750 section 2.1: letters,
// digits and -._~+/ , then any number of equals signs.
func isToken68(s string) bool {
	s = strings.TrimRight(s, "=")
	for i := range len(s) {
		if !token68[s[i]] {
			return false
		}
	}
	return s != ""
}

// token68 holds the characters of a b64token: every call's whole token is
// compared with it.
var token68 = func() (set [256]bool) {
	for _, c := range "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~+/" {
		set[c] = true
	}
	return set
}()

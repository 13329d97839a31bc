package client

import (
	"net/http"
	"strings"
)

// Bounds of what is read of WWW-Authenticate.
const (
	maxChallenge = 8 << 10 // bytes of one header line
	maxParams    = 32      // of one challenge
)

// challenge gives the parameters of the Bearer challenge of an answer; nil if
// there is none. Of several it is the first that has an error, else the first.
func challenge(h http.Header) map[string]string {
	var found map[string]string
	for _, value := range h.Values("WWW-Authenticate") {
		s := &challengeScanner{rest: value[:min(len(value), maxChallenge)]}
		for scheme, params, ok := s.next(); ok; scheme, params, ok = s.next() {
			if !strings.EqualFold(scheme, "Bearer") {
				continue
			}
			if params["error"] != "" {
				return params
			}
			if found == nil {
				found = params
			}
		}
	}
	return found
}

// challengeScanner reads a list of challenges (RFC 9110 section 11.6.1):
//
//	challenge  = scheme [ 1*SP ( token68 / [ param *( OWS "," OWS param ) ] ) ]
//	param      = token BWS "=" BWS ( token / quoted-string )
//
// A comma ends a parameter or a challenge; only what follows tells which. What
// does not fit ends the reading.
type challengeScanner struct {
	rest   string
	scheme string // read already, as it ended the challenge before
}

// next gives the next challenge.
func (s *challengeScanner) next() (scheme string, params map[string]string, ok bool) {
	scheme, s.scheme = s.scheme, ""
	if scheme == "" {
		s.skip(" \t,")
		scheme = s.token()
	}
	if scheme == "" {
		return "", nil, false
	}
	params = make(map[string]string)
	for range maxParams {
		s.skip(" \t,")
		name := s.token()
		if name == "" {
			break
		}
		before := s.rest
		s.skip(" \t")
		if !strings.HasPrefix(s.rest, "=") || s.isToken68() {
			s.rest = before
			if s.pastToken68() {
				continue
			}
			s.scheme = name // the next challenge
			break
		}
		s.rest = s.rest[1:]
		s.skip(" \t")
		value, fits := s.value()
		if !fits {
			s.rest = ""
			break
		}
		if name = strings.ToLower(name); params[name] == "" { // of two the first counts
			params[name] = value
		}
	}
	return scheme, params, true
}

// isToken68 tells whether the "=" here is the padding of a token68: nothing but
// more of it comes before the next comma.
func (s *challengeScanner) isToken68() bool {
	padding := strings.TrimLeft(s.rest, "=")
	padding = strings.TrimLeft(padding, " \t")
	return padding == "" || padding[0] == ','
}

// pastToken68 passes over the padding, or the rest of a token68 that has
// characters that no token has. It is false if there is none.
func (s *challengeScanner) pastToken68() bool {
	rest := strings.TrimLeft(s.rest, "=/ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+")
	past := len(rest) < len(s.rest)
	s.rest = rest
	return past
}

// skip passes over any of these characters.
func (s *challengeScanner) skip(cutset string) { s.rest = strings.TrimLeft(s.rest, cutset) }

// token reads a token (RFC 9110 section 5.6.2); "" if there is none.
func (s *challengeScanner) token() string {
	end := 0
	for end < len(s.rest) && isTokenByte(s.rest[end]) {
		end++
	}
	token := s.rest[:end]
	s.rest = s.rest[end:]
	return token
}

// value reads a token or a quoted string.
func (s *challengeScanner) value() (value string, ok bool) {
	if !strings.HasPrefix(s.rest, `"`) {
		value = s.token()
		return value, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; c {
		case '"':
			s.rest = s.rest[i+1:]
			return b.String(), true
		case '\\':
			if i++; i == len(s.rest) {
				return "", false
			}
			b.WriteByte(s.rest[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", false // it does not end
}

// isTokenByte tells the characters of tokens.
func isTokenByte(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

package client

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// StatusError is an HTTP answer without a word of ARC: neither an error of one
// of the envelopes nor a problem document, as from a proxy or gateway.
type StatusError struct {
	// Status is the HTTP status, 300 or more.
	Status int
	// Challenge holds the parameters of the Bearer challenge of WWW-Authenticate
	// (RFC 9110 section 11.6.1, RFC 6750 section 3), names in lower case; nil if
	// there is none.
	Challenge map[string]string
	// RetryAfter is how long the server asks to wait; 0: it does not say.
	RetryAfter time.Duration
	// Date is when the answer was made by the server's clock; zero: it does not say.
	Date time.Time
	// RequestID is the header X-Request-Id; "" without.
	RequestID string
	// Detail is the beginning of the body, or where a redirect leads, as one short
	// line without markup and without anything that looks like a token.
	Detail string
}

// Error gives the status and the detail.
func (e *StatusError) Error() string {
	s := "HTTP status " + strconv.Itoa(e.Status)
	if text := http.StatusText(e.Status); text != "" {
		s += " (" + text + ")"
	}
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Class gives the class: that of the status, or the narrower one that the
// challenge names. A 401 is [arc.ErrExpired] only where nothing but expiry is
// named.
func (e *StatusError) Class() arc.Class {
	word := e.Challenge["error"]
	switch {
	case e.Status == http.StatusUnauthorized && word == "invalid_token" && namesExpiry(e.Challenge["error_description"]):
		return arc.ErrExpired
	case e.Status == http.StatusForbidden && word == "insufficient_scope":
		return arc.ErrScope
	}
	return arc.ClassOfStatus(e.Status)
}

// Is lets errors.Is tell the class.
func (e *StatusError) Is(target error) bool {
	class, ok := target.(arc.Class)
	return ok && errors.Is(e.Class(), class)
}

// otherFlaw finds what makes a description one of several possible flaws, as in
// the sentence of RFC 6750 section 3.1: "expired, revoked, malformed, or
// invalid for other reasons".
var otherFlaw = lazy(`(?i)\bor\b|revoked|malformed|invalid/expired|expired/invalid|(not|n't)( yet)? expired`)

// namesExpiry tells whether a description says that the token has run out and
// nothing else.
func namesExpiry(description string) bool {
	return strings.Contains(strings.ToLower(description), "expired") && !otherFlaw().MatchString(description)
}

// lazy compiles an expression when it is first used: programs that only link this
// package do not wait for it.
func lazy(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// statusError makes the error of an answer.
func statusError(resp *http.Response, body []byte) *StatusError {
	date, _ := http.ParseTime(resp.Header.Get("Date"))
	e := &StatusError{
		Status: resp.StatusCode, Challenge: challenge(resp.Header), RetryAfter: retryAfter(resp.Header), Date: date,
		RequestID: excerpt(resp.Header.Get("X-Request-Id"), ""), Detail: excerpt(string(body), sentToken(resp)),
	}
	if token := sentToken(resp); token != "" {
		for name, value := range e.Challenge {
			e.Challenge[name] = strings.ReplaceAll(value, token, "[hidden]")
		}
	}
	if to, err := resp.Location(); err == nil && resp.StatusCode < 400 {
		e.Detail = fmt.Sprintf("the server points to %s://%s%s", to.Scheme, to.Host, to.EscapedPath())
		e.Detail = excerpt(e.Detail, sentToken(resp))
	}
	return e
}

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// retryAfter reads the header Retry-After in both forms (RFC 9110 section
// 10.2.3); 0 without, at most a day. A date is taken by the server's clock.
func retryAfter(h http.Header) time.Duration {
	value := strings.TrimSpace(h.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if strings.Trim(value, "0123456789") == "" {
		seconds, err := strconv.Atoi(value)
		if err != nil || seconds > int(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	now, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		now = time.Now()
	}
	return min(max(at.Sub(now), 0), maxRetryAfter)
}

// sentToken gives the token that went with the request of an answer.
func sentToken(resp *http.Response) string {
	if resp.Request == nil {
		return ""
	}
	_, token, _ := strings.Cut(resp.Request.Header.Get("Authorization"), " ")
	return token
}

// What an excerpt leaves out: markup, and what looks like a JWT or a bearer
// credential.
var (
	markup    = lazy(`(?is)<(script|style)\b.*?</(script|style)\s*>|<[^>]*(>|$)`)
	tokenLike = lazy(`eyJ[A-Za-z0-9_-]{6,}[A-Za-z0-9_.-]*|(?i:bearer|basic) +[A-Za-z0-9_.~+/=-]{8,}`)
)

// Sizes of excerpts, in bytes and characters.
const (
	excerptFrom = 4 << 10
	excerptMost = 200
)

// excerpt makes one short line of a foreign text: its beginning, without markup,
// control characters, the secret, and whatever looks like a token.
func excerpt(text, secret string) string {
	if text = text[:min(len(text), 2*maxToken)]; secret != "" {
		text = strings.ReplaceAll(text, secret, "[hidden]")
	}
	text = text[:min(len(text), excerptFrom)]
	text = tokenLike().ReplaceAllString(text, "[hidden]")
	text = strings.ToValidUTF8(markup().ReplaceAllString(text, " "), "")
	text = strings.Join(strings.FieldsFunc(text, isGap), " ")
	if short := []rune(text); len(short) > excerptMost {
		text = string(short[:excerptMost-1]) + "…"
	}
	return text
}

// isGap tells the characters that an excerpt has no use for: space, and what
// could steer a terminal or turn the direction of writing.
func isGap(r rune) bool {
	return r == ' ' || !strconv.IsPrint(r)
}

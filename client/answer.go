package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"strings"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
)

// answer is what an answer's body may hold: either envelope, or an error whose
// members stand at the top level.
type answer struct {
	ARC     string          `json:"arc"`
	JSONRPC string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id"`
	Result  json.RawMessage `json:"result"`
	Error   json.RawMessage `json:"error"`

	Code    json.RawMessage `json:"code"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details"`
}

// failure is an error object of either envelope.
type failure struct {
	Code    arc.Code `json:"code"`
	Message string   `json:"message"`
	Details any      `json:"details"` // of ARC: anything
	Data    any      `json:"data"`    // of JSON-RPC: anything
}

// What is wrong with an answer that is readable, but not the one asked for.
var (
	errForeign = errors.New("the answer is for another call")
	errEmpty   = errors.New("the answer has neither a result nor an error")
)

// result takes the result out of an answer's body, or its error.
func (c *Client) result(resp *http.Response, body []byte, id string) (json.RawMessage, error) {
	if resp.StatusCode >= http.StatusMultipleChoices {
		return nil, refusal(resp, body)
	}
	var a answer
	if err := jsonv2.Unmarshal(body, &a); err != nil {
		return nil, unreadable(resp, err)
	}
	if e := a.failure(); e != nil {
		return nil, e.public(resp)
	}
	switch {
	case c.JSONRPC && a.JSONRPC != "2.0", !c.JSONRPC && a.ARC != arc.Version:
		return nil, unreadable(resp, errors.New("the answer is in another envelope"))
	case string(a.ID) != id:
		return nil, errForeign
	case len(a.Result) == 0 || string(a.Result) == "null":
		return nil, errEmpty
	}
	return a.Result, nil
}

// refusal gives the error of an answer whose status is no success: what the body
// says if it speaks ARC, JSON-RPC or RFC 9457, else the status itself.
func refusal(resp *http.Response, body []byte) error {
	if e := problemOf(resp, body); e != nil {
		return e
	}
	var a answer
	if jsonv2.Unmarshal(body, &a) == nil {
		if e := a.failure(); e != nil {
			return e.public(resp)
		}
	}
	return statusError(resp, body)
}

// failure gives the error object of an answer; nil if it has none. What proxies
// call "error", as a text, is none, nor is a positive code outside an envelope.
func (a *answer) failure() *failure {
	var e failure
	if len(a.Error) > maxRefusal || len(a.Details) > maxRefusal {
		return nil // decoded it is many times as large
	}
	if len(a.Error) > 0 && a.Error[0] == '{' {
		if jsonv2.Unmarshal(a.Error, &e) == nil && (e.Code < 0 || e.Code != 0 && a.ARC+a.JSONRPC != "") {
			return &e
		}
		return nil
	}
	if len(a.Result) == 0 && jsonv2.Unmarshal(a.Code, &e.Code) == nil && e.Code < 0 {
		e.Message = a.Message
		_ = json.Unmarshal(a.Details, &e.Details) // without them it is an error all the same
		return &e
	}
	return nil
}

// public makes the error that the caller of a method gets.
func (f *failure) public(resp *http.Response) *arc.Error {
	return complete(f.failed(), resp)
}

// failed makes the error without what the answer's header says.
func (f *failure) failed() *arc.Error {
	e := &arc.Error{Code: f.Code, Message: f.Message}
	if details, ok := f.Details.(map[string]any); ok {
		e.Details = details
	} else if f.Details != nil {
		e.With("details", f.Details)
	}
	if data, ok := f.Data.(map[string]any); ok && e.Details == nil {
		e.Details = data
	} else if !ok && f.Data != nil {
		e.With("data", f.Data)
	}
	return e
}

// complete adds what the answer's header says to an error of its body: the
// status, when to try again, the request's id, and the scopes that are missing.
func complete(e *arc.Error, resp *http.Response) *arc.Error {
	e.Status, e.RetryAfter = resp.StatusCode, retryAfter(resp.Header)
	if token := sentToken(resp); token != "" { // some servers say it again
		e.Message, _ = hide(e.Message, token).(string)
		hide(e.Details, token)
	}
	if id := excerpt(resp.Header.Get("X-Request-Id"), ""); id != "" && e.Details["request_id"] == nil {
		e.With("request_id", id)
	}
	if e.Code == arc.CodeInsufficientScope && e.Details["required_scopes"] == nil {
		if scopes := strings.Fields(challenge(resp.Header)["scope"]); len(scopes) > 0 {
			e.With("required_scopes", scopes)
		}
	}
	return e
}

// hide takes a token out of the texts of a decoded JSON value, in place where that
// can be done.
func hide(v any, token string) any {
	switch v := v.(type) {
	case string:
		return strings.ReplaceAll(v, token, "[hidden]")
	case []any:
		for i := range v {
			v[i] = hide(v[i], token)
		}
	case map[string]any:
		for name := range v {
			v[name] = hide(v[name], token)
		}
	}
	return v
}

// documentMembers are the members of a problem document that are not details of
// the error (RFC 9457 section 3.1, and arcd's error_code).
var documentMembers = []string{"type", "title", "status", "detail", "instance", "timestamp", "error_code"}

// problemOf reads the body as a problem document; nil if it is none. Its other
// members become details.
func problemOf(resp *http.Response, body []byte) *arc.Error {
	var members map[string]any
	if jsonv2.Unmarshal(body, &members) != nil {
		return nil
	}
	word := text(members["error_code"])
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if word == "" && media != "application/problem+json" {
		return nil
	}
	uri := text(members["type"])
	kind := arc.Problem(uri[strings.LastIndexByte(uri, '/')+1:])
	message := text(members["detail"])
	if message == "" {
		message = text(members["title"])
	}
	for _, name := range documentMembers {
		delete(members, name)
	}
	e := arc.Refuse(kind, strings.ToLower(word), "%s", message)
	for name, value := range members {
		if name != "reason" {
			e.With(name, value)
		}
	}
	if word == "" {
		delete(e.Details, "reason")
	}
	sharpen(e, resp, word)
	return complete(e, resp)
}

// sharpen gives a problem document the code that says more than its kind does:
// that of an expired token, and for a kind that is none of ARCP's what the
// challenge says.
func sharpen(e *arc.Error, resp *http.Response, word string) {
	if at := text(e.Details["token_expired_at"]); at != "" && e.Details["expired_at"] == nil {
		e.With("expired_at", at)
	}
	if strings.EqualFold(word, "TOKEN_EXPIRED") || strings.EqualFold(word, "SESSION_EXPIRED") {
		e.Code = arc.CodeTokenExpired
		return
	}
	if e.Code != arc.CodeInternal {
		return
	}
	switch (&StatusError{Status: resp.StatusCode, Challenge: challenge(resp.Header)}).Class() {
	case arc.ErrExpired:
		e.Code = arc.CodeTokenExpired
	case arc.ErrScope:
		e.Code = arc.CodeInsufficientScope
	case arc.ErrAuthentication:
		e.Code = arc.CodeUnauthenticated
	case arc.ErrPermission:
		e.Code = arc.CodeUnauthorized
	}
}

// text gives v if it is a text, else "".
func text(v any) string {
	s, _ := v.(string)
	return s
}

// unreadable reports an answer of success that no ARC server gave.
func unreadable(resp *http.Response, cause error) error {
	return fmt.Errorf("HTTP status %d with a body that is no answer: %w", resp.StatusCode, cause)
}

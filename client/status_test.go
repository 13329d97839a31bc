package client_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// trip is an HTTP transport that is a function: no socket, no goroutine.
type trip func(*http.Request) (*http.Response, error)

func (f trip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// says makes an answer of a trip. In header lines the name ends at the colon; in
// the body $ID stands for the call's id.
func says(r *http.Request, status int, body string, header ...string) *http.Response {
	resp := &http.Response{StatusCode: status, Header: http.Header{}, Request: r}
	for _, line := range header {
		name, value, _ := strings.Cut(line, ": ")
		resp.Header.Add(name, value)
	}
	if strings.Contains(body, "$ID") {
		sent, _ := io.ReadAll(r.Body)
		_, rest, _ := strings.Cut(string(sent), `"id":`)
		id, _, _ := strings.Cut(rest, ",")
		body = strings.ReplaceAll(body, "$ID", id)
	}
	resp.Body = io.NopCloser(strings.NewReader(body))
	return resp
}

// over makes a client over a trip, without pauses worth mentioning for a bubble
// of synctest.
func over(f trip) *client.Client {
	return &client.Client{URL: "https://arc.test/arc", HTTP: &http.Client{Transport: f}, Token: client.StaticToken("sent-token"), Attempts: 1}
}

// answered gives the error of a call that gets this answer.
func answered(t *testing.T, status int, body string, header ...string) error {
	t.Helper()
	c := over(func(r *http.Request) (*http.Response, error) { return says(r, status, body, header...), nil })
	err := c.Call(t.Context(), "m", "a", nil, nil)
	if err == nil {
		t.Fatalf("status %d with %q is no error", status, body)
	}
	return err
}

func TestStatusErrors(t *testing.T) {
	const page = "<html><head><title>Nope</title><style>a{}</style></head><body>no\x1b[31m\n way\u202e</body></html>"
	for label, c := range map[string]struct {
		status int
		header []string
		body   string
		want   client.StatusError
		class  arc.Class
	}{
		"a proxy's page": {
			502, []string{"X-Request-Id: r1", "Date: Mon, 04 May 2026 10:15:00 GMT"}, page,
			client.StatusError{Status: 502, Detail: "Nope no [31m way", RequestID: "r1", Date: time.Date(2026, 5, 4, 10, 15, 0, 0, time.UTC)}, arc.ErrUnavailable,
		},
		"a gateway's JSON": {
			403, nil, `{"code":16,"message":"denied","details":[]}`,
			client.StatusError{Status: 403, Detail: `{"code":16,"message":"denied","details":[]}`}, arc.ErrPermission,
		},
		"an OAuth error":  {400, nil, `{"error":"invalid_request"}`, client.StatusError{Status: 400, Detail: `{"error":"invalid_request"}`}, arc.ErrInvalid},
		"wrong types":     {500, nil, `{"error":[1],"code":"x","details":7,"message":{}}`, client.StatusError{Status: 500, Detail: `{"error":[1],"code":"x","details":7,"message":{}}`}, arc.ErrInternal},
		"nothing":         {503, nil, ``, client.StatusError{Status: 503}, arc.ErrUnavailable},
		"a request limit": {429, []string{"Retry-After: 7"}, ``, client.StatusError{Status: 429, RetryAfter: 7 * time.Second}, arc.ErrRateLimited},
		"no credentials":  {401, nil, ``, client.StatusError{Status: 401}, arc.ErrAuthentication},
		"expired": {
			401, []string{`WWW-Authenticate: Bearer error="invalid_token", error_description="The access token expired"`}, ``,
			client.StatusError{Status: 401, Challenge: map[string]string{"error": "invalid_token", "error_description": "The access token expired"}}, arc.ErrExpired,
		},
		"scope": {
			403, []string{`WWW-Authenticate: Bearer error=insufficient_scope, scope="a b"`}, ``,
			client.StatusError{Status: 403, Challenge: map[string]string{"error": "insufficient_scope", "scope": "a b"}}, arc.ErrScope,
		},
		"a redirect": {
			302, []string{"Location: https://login.test/start?token=secret"}, `gone`,
			client.StatusError{Status: 302, Detail: "the server points to https://login.test/start"}, "",
		},
		"an echo of the token": {
			400, nil, `you sent sent-token, Bearer abcdefghijkl, eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ4In0.c2ln`,
			client.StatusError{Status: 400, Detail: "you sent [hidden], [hidden], [hidden]"}, arc.ErrInvalid,
		},
		"a long text": {404, nil, strings.Repeat("ä", 300), client.StatusError{Status: 404, Detail: strings.Repeat("ä", 199) + "…"}, arc.ErrNotFound},
	} {
		err := answered(t, c.status, c.body, c.header...)
		got, ok := errors.AsType[*client.StatusError](err)
		if !ok {
			t.Errorf("%s: %v, want a StatusError", label, err)
			continue
		}
		if diff := cmp.Diff(&c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
		if got.Class() != c.class || c.class != "" && !errors.Is(err, c.class) {
			t.Errorf("%s is of class %q, want %q", label, got.Class(), c.class)
		}
		if !strings.Contains(err.Error(), fmt.Sprint("HTTP status ", c.status)) || strings.Contains(err.Error(), "sent-token") {
			t.Errorf("%s reads %q", label, err)
		}
	}
}

// TestExpiryIsNotGuessed: a 401 counts as expired only where the server names
// nothing else.
func TestExpiryIsNotGuessed(t *testing.T) {
	for description, want := range map[string]arc.Class{
		"The access token expired":                       arc.ErrExpired,
		"the token has expired":                          arc.ErrExpired,
		"Jwt is expired":                                 arc.ErrExpired,
		"token has invalid claims: token is expired":     arc.ErrExpired,
		"The token expired at '5/4/2026 10:15:00 AM'":    arc.ErrExpired,
		"TOKEN_EXPIRED":                                  arc.ErrExpired,
		"The token is expired or invalid":                arc.ErrAuthentication,
		"expired, revoked, malformed":                    arc.ErrAuthentication,
		"Invalid/expired token":                          arc.ErrAuthentication,
		"The token is not expired, but its key is wrong": arc.ErrAuthentication,
		"the claim exp is missing":                       arc.ErrAuthentication,
		"":                                               arc.ErrAuthentication,
	} {
		err := answered(t, 401, "", `WWW-Authenticate: Bearer error="invalid_token", error_description="`+description+`"`)
		if e, _ := errors.AsType[*client.StatusError](err); e.Class() != want {
			t.Errorf("%q is %q, want %q", description, e.Class(), want)
		}
	}
	for label, line := range map[string]string{
		"another error word": `Bearer error="invalid_request", error_description="expired"`,
		"another scheme":     `DPoP error="invalid_token", error_description="expired"`,
	} {
		if err := answered(t, 401, "", "WWW-Authenticate: "+line); errors.Is(err, arc.ErrExpired) {
			t.Errorf("%s is taken for an expiry", label)
		}
	}
	if err := answered(t, 403, "", `WWW-Authenticate: Bearer error="invalid_token", error_description="expired"`); errors.Is(err, arc.ErrExpired) {
		t.Error("a 403 is taken for an expiry")
	}
}

func TestRetryAfterOfAnswers(t *testing.T) {
	const date = "Date: Mon, 04 May 2026 10:15:00 GMT"
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "7": 7 * time.Second, " 7 ": 7 * time.Second, "-1": 0, "soon": 0, "1.5": 0,
		"99999999999999999999999": 24 * time.Hour, "9223372036854775807": 24 * time.Hour, "86401": 24 * time.Hour,
		"Mon, 04 May 2026 10:15:30 GMT": 30 * time.Second, "Mon, 04 May 2026 10:14:30 GMT": 0, "Fri, 31 Dec 9999 23:59:59 GMT": 24 * time.Hour,
	} {
		e, ok := errors.AsType[*client.StatusError](answered(t, 503, "", "Retry-After: "+value, date))
		if !ok || e.RetryAfter != want {
			t.Errorf("Retry-After %q is %v, want %v", value, e.RetryAfter, want)
		}
	}
}

// TestErrorsOfAnswersAreComplete: what only the header says is in the error.
func TestErrorsOfAnswersAreComplete(t *testing.T) {
	const scope = `WWW-Authenticate: Bearer error="insufficient_scope", scope="a b"`
	for label, c := range map[string]struct {
		err  error
		want arc.Error
	}{
		"status, wait and request id": {
			answered(t, 200, `{"arc":"1.0","id":$ID,"error":{"code":-44007,"message":"m","details":{}}}`, "Retry-After: 3", "X-Request-Id: r"),
			arc.Error{Code: -44007, Message: "m", Status: 200, RetryAfter: 3 * time.Second, Details: map[string]any{"request_id": "r"}},
		},
		"scopes of the challenge": {
			answered(t, 403, `{"arc":"1.0","id":$ID,"error":{"code":-44003,"message":"m","details":null}}`, scope),
			arc.Error{Code: -44003, Message: "m", Status: 403, Details: map[string]any{"required_scopes": []string{"a", "b"}}},
		},
		"scopes of the body": {
			answered(t, 403, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-44003,"message":"m","data":{"required_scopes":["c"]}}}`, scope),
			arc.Error{Code: -44003, Message: "m", Status: 403, Details: map[string]any{"required_scopes": []any{"c"}}},
		},
		"data that is no object": {
			answered(t, 200, `{"jsonrpc":"2.0","id":$ID,"error":{"code":-32603,"message":"m","data":"text"}}`),
			arc.Error{Code: -32603, Message: "m", Status: 200, Details: map[string]any{"data": "text"}},
		},
		"details that are no object": { // as the specification allows
			answered(t, 401, `{"arc":"1.0","id":$ID,"error":{"code":-44004,"message":"m","details":["text"]}}`),
			arc.Error{Code: -44004, Message: "m", Status: 401, Details: map[string]any{"details": []any{"text"}}},
		},
		"an application's positive code": {
			answered(t, 200, `{"jsonrpc":"2.0","id":$ID,"error":{"code":5,"message":"m"}}`),
			arc.Error{Code: 5, Message: "m", Status: 200},
		},
	} {
		got, ok := errors.AsType[*arc.Error](c.err)
		if !ok {
			t.Errorf("%s: %v", label, c.err)
			continue
		}
		plain := arc.Error{Code: got.Code, Message: got.Message, Status: got.Status, RetryAfter: got.RetryAfter, Details: got.Details}
		if diff := cmp.Diff(c.want, plain, cmp.AllowUnexported(arc.Error{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", label, diff)
		}
	}
}

func TestProblemDocumentsOfAnybody(t *testing.T) {
	const problem = "Content-Type: application/problem+json; charset=utf-8"
	for label, c := range map[string]struct {
		status  int
		body    string
		header  []string
		code    arc.Code
		class   arc.Class
		message string
		details map[string]any
	}{
		"an expired token of the registry": {
			401, `{"type":"https://x/token-invalid","title":"T","status":401,"detail":"JWT token has expired at T","instance":"/agents","timestamp":"T","request_id":"r",
			"token_expired_at":"2026-05-04T10:15:00Z","token_issued_at":"2026-05-04T09:15:00Z","error_code":"TOKEN_EXPIRED"}`, nil,
			arc.CodeTokenExpired, arc.ErrExpired, "JWT token has expired at T",
			map[string]any{"reason": "token_expired", "expired_at": "2026-05-04T10:15:00Z", "token_expired_at": "2026-05-04T10:15:00Z", "token_issued_at": "2026-05-04T09:15:00Z", "request_id": "r"},
		},
		"a session that ended": {401, `{"type":"session-expired","detail":"m","error_code":"SESSION_EXPIRED"}`, nil, arc.CodeTokenExpired, arc.ErrExpired, "m", map[string]any{"reason": "session_expired"}},
		"an invalid token": {
			401, `{"type":"token-invalid","detail":"m","error_code":"INVALID_SIGNATURE"}`, []string{"X-Request-Id: r2"},
			arc.CodeTokenInvalid, arc.ErrAuthentication, "m", map[string]any{"reason": "invalid_signature", "request_id": "r2"},
		},
		"somebody else's": {404, `{"type":"about:blank","title":"Not Found","status":404}`, []string{problem}, arc.CodeInternal, arc.ErrNotFound, "Not Found", map[string]any{}},
		"somebody else's about a token": {
			401, `{"title":"Unauthorized"}`, []string{problem, `WWW-Authenticate: Bearer error="invalid_token", error_description="expired"`},
			arc.CodeTokenExpired, arc.ErrExpired, "Unauthorized", map[string]any{},
		},
		"somebody else's about a scope": {
			403, `{"title":"Forbidden"}`, []string{problem, `WWW-Authenticate: Bearer error="insufficient_scope", scope="a"`},
			arc.CodeInsufficientScope, arc.ErrScope, "Forbidden", map[string]any{"required_scopes": []string{"a"}},
		},
		"of wrong types": {
			500, `{"type":7,"title":[],"detail":{},"error_code":"X","status":"y","token_expired_at":5}`, nil,
			arc.CodeInternal, arc.ErrInternal, "", map[string]any{"reason": "x", "token_expired_at": 5.0},
		},
		"that lies about its reason": {400, `{"type":"invalid-input","error_code":"INVALID_INPUT","reason":"y"}`, nil, arc.CodeInvalidParams, arc.ErrInvalid, "", map[string]any{"reason": "invalid_input"}},
	} {
		e, ok := errors.AsType[*arc.Error](answered(t, c.status, c.body, c.header...))
		if !ok || e.Code != c.code || e.Class() != c.class || e.Message != c.message || e.Status != c.status {
			t.Errorf("a problem %s: %#v, want code %d, class %q, message %q", label, e, c.code, c.class, c.message)
			continue
		}
		if diff := cmp.Diff(c.details, e.Details); diff != "" {
			t.Errorf("a problem %s (-want +got):\n%s", label, diff)
		}
	}
}

// endless is a body that does not end by itself.
type endless struct{ read int64 }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = ' '
	}
	e.read += int64(len(p))
	return len(p), nil
}

func (*endless) Close() error { return nil }

func TestEndlessBodiesEnd(t *testing.T) {
	for status, want := range map[int]string{200: "larger than", 401: "HTTP status 401", 500: "HTTP status 500"} {
		body := &endless{}
		c := over(func(r *http.Request) (*http.Response, error) {
			resp := says(r, status, "")
			resp.Body = body
			return resp, nil
		})
		c.MaxAnswer = 100_000
		if err := c.Call(t.Context(), "m", "a", nil, nil); err == nil || !strings.Contains(err.Error(), want) || body.read > 200_000 {
			t.Errorf("status %d: %v after %d bytes", status, err, body.read)
		}
	}
}

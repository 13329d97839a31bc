package server_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/arctest"
)

// refusal is what a caller sees of a refused token, in either envelope.
type refusal struct {
	Result json.RawMessage `json:"result"`
	Error  struct {
		Code    arc.Code `json:"code"`
		Message string   `json:"message"`
		Details reason   `json:"details"` // in ARC
		Data    reason   `json:"data"`    // in JSON-RPC
	} `json:"error"`
}

type reason struct {
	Reason string `json:"reason"`
}

// TestBadTokensOverHTTP sends every bad token that fits into a header field to
// a whole server. Whatever is wrong with it, the answer is 401 with the code,
// the reason and the challenge that belong to it, and nothing else.
func TestBadTokensOverHTTP(t *testing.T) {
	w := start(t, options{})
	table := arctest.BadTokens(t, w.issuer, audience, time.Now())
	requests, sent := w.issuer.Requests(), 0
	for _, bad := range table {
		if bad.Unsendable {
			continue
		}
		sent++
		for envelope, body := range map[string]string{
			"ARC": arcCall("task.create", "echo", hello), "JSON-RPC": rpcCall("task.create", "echo", hello),
		} {
			label := envelope + ", " + bad.Name
			checkRefusal(t, label, bad, w.do(ask{token: bad.Token, body: body}))
		}
	}
	if sent < 80 {
		t.Errorf("only %d tokens were sent, want at least 80", sent)
	}
	if n := w.issuer.Requests() - requests; n > 1 {
		t.Errorf("the table made %d key-set requests, want one at most", n)
	}
	if r := w.do(ask{token: w.token(), body: arcCall("task.create", "echo", hello)}); r.status != http.StatusOK {
		t.Errorf("a good token after them: %d %s", r.status, r.body)
	}
}

func checkRefusal(t *testing.T, label string, bad arctest.BadToken, r reply) {
	t.Helper()
	var got refusal
	if err := json.Unmarshal([]byte(r.body), &got); err != nil {
		t.Errorf("%s: answer %q: %v", label, r.body, err)
		return
	}
	why := got.Error.Details.Reason + got.Error.Data.Reason // one of them is empty
	if r.status != http.StatusUnauthorized || got.Error.Code != bad.Code || why != bad.Reason {
		t.Errorf("%s: %d, code %d, reason %q; want 401, %d, %q", label, r.status, got.Error.Code, why, bad.Code, bad.Reason)
	}
	if result := string(got.Result); result != "" && result != "null" {
		t.Errorf("%s: a result beside the refusal: %s", label, result)
	}
	challenge := strings.Join(r.header.Values("WWW-Authenticate"), "; ")
	word := `error="invalid_token"`
	if bad.Reason == auth.ReasonMalformed && !isToken68(bad.Token) {
		word = `error="invalid_request"` // the header field itself is malformed
	}
	if !strings.HasPrefix(challenge, `Bearer realm="arc", `+word+`, error_description="`) || !strings.Contains(challenge, "resource_metadata=") {
		t.Errorf("%s: WWW-Authenticate: %s; want %s", label, challenge, word)
	}
	// Equal texts for all, so that no internals slip out.
	switch got.Error.Message {
	case "the token is not valid", "the token has expired", "the Authorization header must be one field of the form: Bearer TOKEN":
	default:
		t.Errorf("%s: message %q", label, got.Error.Message)
	}
}

// isToken68 tells whether the token can stand in the header as RFC 6750 has it.
func isToken68(token string) bool {
	odd := func(c rune) bool {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		return !letter && !strings.ContainsRune("-._~+/", c)
	}
	token = strings.TrimRight(token, "=")
	return token != "" && !strings.ContainsFunc(token, odd)
}

// TestScopeRefusalsOverHTTP is the 403 beside the 401s: a good token without the
// scopes of the method.
func TestScopeRefusalsOverHTTP(t *testing.T) {
	w := start(t, options{})
	for _, body := range []string{arcCall("task.create", "echo", hello), rpcCall("task.create", "echo", hello)} {
		for _, scopes := range []string{auth.ScopeCaller, auth.ScopeTask, auth.ScopeTask + "\t" + auth.ScopeCaller, "ARC.AGENT.CALLER " + auth.ScopeTask} {
			r := w.do(ask{token: w.token(scopes), body: body})
			challenge := r.header.Get("WWW-Authenticate")
			if r.status != http.StatusForbidden || code(t, r.body) != int(arc.CodeInsufficientScope) ||
				!strings.Contains(challenge, `error="insufficient_scope"`) ||
				!strings.Contains(challenge, `scope="`+auth.ScopeTask+" "+auth.ScopeCaller+`"`) {
				t.Errorf("scope %q: %d %s, WWW-Authenticate: %s", scopes, r.status, r.body, challenge)
			}
		}
	}
}

package interop_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// golden is an answer that a page of the registry API's specification asks for.
// What differs from time to time is masked.
type golden struct {
	status int
	body   string
}

// goldens are the answers of the scenarios T1 to T6 (page token-invalid) and A1 to
// A8 (page authentication-failed), letter by letter.
var goldens = map[string]golden{
	"T1": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/token-invalid",
		"title": "Invalid or Expired Token",
		"status": 401,
		"detail": "JWT token has expired at 2024-01-16T10:10:00Z",
		"instance": "/agents",
		"timestamp": "<time>",
		"request_id": "<request>",
		"token_expired_at": "2024-01-16T10:10:00Z",
		"error_code": "TOKEN_EXPIRED"
	}`},
	"T1 with iat": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/token-invalid",
		"title": "Invalid or Expired Token",
		"status": 401,
		"detail": "JWT token has expired at 2024-01-15T09:30:00Z",
		"instance": "/agents",
		"timestamp": "<time>",
		"request_id": "<request>",
		"token_issued_at": "2024-01-15T08:30:00Z",
		"token_expired_at": "2024-01-15T09:30:00Z",
		"error_code": "TOKEN_EXPIRED"
	}`},
	"T2": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/token-invalid",
		"title": "Invalid or Expired Token",
		"status": 401,
		"detail": "JWT token format is invalid",
		"instance": "/agents",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "MALFORMED_TOKEN"
	}`},
	"T3": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/token-invalid",
		"title": "Invalid or Expired Token",
		"status": 401,
		"detail": "JWT token format is invalid",
		"instance": "/auth/validate",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "MALFORMED_TOKEN"
	}`},
	"T4": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/token-invalid",
		"title": "Invalid or Expired Token",
		"status": 401,
		"detail": "JWT token signature verification failed",
		"instance": "/agents",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "INVALID_SIGNATURE"
	}`},
	"T5": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/token-invalid",
		"title": "Invalid or Expired Token",
		"status": 401,
		"detail": "JWT token is missing required claims",
		"instance": "/agents",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "MISSING_CLAIMS",
		"missing_claims": ["agent_id", "scopes"]
	}`},
	"A1": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/authentication-failed",
		"title": "Authentication Failed",
		"status": 401,
		"detail": "Invalid admin credentials",
		"instance": "/auth/login",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "INVALID_CREDENTIALS"
	}`},
	"A2": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/authentication-failed",
		"title": "Authentication Failed",
		"status": 401,
		"detail": "Authentication required - missing or invalid Authorization header",
		"instance": "/agents",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "AUTH_REQUIRED"
	}`},
	"A2 at the configuration": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/authentication-failed",
		"title": "Authentication Failed",
		"status": 401,
		"detail": "Authentication required - missing or invalid Authorization header",
		"instance": "/dashboard/config",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "AUTH_REQUIRED"
	}`},
	"A2 at the registration": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/authentication-failed",
		"title": "Authentication Failed",
		"status": 401,
		"detail": "Authentication required - missing or invalid Authorization header",
		"instance": "/agents/register",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "AUTH_REQUIRED"
	}`},
	"A3": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/authentication-failed",
		"title": "Authentication Failed",
		"status": 401,
		"detail": "Authentication failed: Invalid agent key for agent 'my-agent'",
		"instance": "/auth/agent/request_temp_token",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "INVALID_AGENT_KEY"
	}`},
	"A4": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/authentication-failed",
		"title": "Authentication Failed",
		"status": 401,
		"detail": "X-Client-Fingerprint header is required for session binding",
		"instance": "/auth/login",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "FINGERPRINT_REQUIRED"
	}`},
	"A5": {401, `{
		"type": "https://arcp.0x001.tech/docs/problems/authentication-failed",
		"title": "Authentication Failed",
		"status": 401,
		"detail": "Direct agent login not allowed. Use agent registration flow with valid agent key",
		"instance": "/auth/login",
		"timestamp": "<time>",
		"request_id": "<request>",
		"error_code": "AGENT_LOGIN_BLOCKED"
	}`},
	"A6 as ARCP": {200, `{
		"access_token": "<token>",
		"token_type": "bearer",
		"expires_in": 1800,
		"agent_id": "user_ARCP"
	}`},
	"A6 as admin": {200, `{
		"access_token": "<token>",
		"token_type": "bearer",
		"expires_in": 1800,
		"agent_id": "user_admin"
	}`},
	"A8": {200, `{
		"temp_token": "<token>",
		"access_token": "<token>",
		"token_type": "bearer",
		"expires_in": 900,
		"message": "Temporary token issued; it is for validation and registration"
	}`},
	"no agents": {200, `[]`},
}

// What the golden calls send.
const (
	// expiredToken is the one of the page: sub and exp, and no signature at all.
	expiredToken = "eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZ2VudC0wMDEiLCJleHAiOjE3MDUzOTk4MDB9.signature"
	adminLogin   = `{"username": "ARCP", "password": "ARCP"}`
	tempRequest  = `{"agent_id": "my-agent", "agent_type": "processing", "agent_key": "valid-agent-key"}`
)

// goldenCalls are the calls of the scenarios, besides those for which a token has
// to be made.
var goldenCalls = []struct {
	name, golden       string
	method, path, body string
	headers            map[string]string
}{
	{"T1", "T1", "GET", "/agents", "", bearer(expiredToken)},
	{"T2", "T2", "GET", "/agents", "", bearer("invalid.token.format")},
	{"T2 with dots only", "T2", "GET", "/agents", "", bearer("eyJ0eXAiOiJKV1QiLCJhbGciOiJIUzI1NiJ9...")},
	{"T3", "T3", "POST", "/auth/validate", `{"token": "expired-or-invalid-token"}`, nil},
	{"A1", "A1", "POST", "/auth/login", `{"username": "admin", "password": "wrong-password"}`, fingerprint("unique-session-id")},
	{"A1 unknown name", "A1", "POST", "/auth/login", `{"username": "nobody", "password": "wrong-password"}`, fingerprint("unique-session-id")},
	{"A1 trailing blank", "A1", "POST", "/auth/login", `{"username": "ARCP", "password": "ARCP "}`, fingerprint("unique-session-id")},
	{"A2", "A2", "GET", "/agents", "", map[string]string{"Content-Type": "application/json"}},
	{"A2 other scheme", "A2", "GET", "/agents", "", map[string]string{"Authorization": "Basic QVJDUDpBUkNQ"}},
	{"A2 no token", "A2", "GET", "/agents", "", map[string]string{"Authorization": "Bearer "}},
	{"A2 no good form of a token", "A2 at the configuration", "GET", "/dashboard/config", "", bearer("<admin-token>")},
	{"A2 at the registration", "A2 at the registration", "POST", "/agents/register", `{"agent_id": "my-agent"}`, nil},
	{"A3", "A3", "POST", "/auth/agent/request_temp_token", `{"agent_id": "my-agent", "agent_type": "processing", "agent_key": "invalid-key"}`, nil},
	{"A4", "A4", "POST", "/auth/login", `{"username": "admin", "password": "correct-password"}`, nil},
	{"A4 right password", "A4", "POST", "/auth/login", adminLogin, nil},
	{"A5", "A5", "POST", "/auth/login", `{"agent_id": "my-agent", "agent_type": "processing"}`, fingerprint("unique-session-id")},
	{"A5 with a key", "A5", "POST", "/auth/login", `{"agent_id": "my-agent", "agent_type": "processing", "agent_key": "valid-agent-key"}`, nil},
	{"A6", "A6 as ARCP", "POST", "/auth/login", adminLogin, fingerprint("unique-session-id")},
	{"A6 fingerprint of uuidgen", "A6 as admin", "POST", "/auth/login", `{"username": "admin", "password": "your-admin-password"}`, fingerprint("0b6b8c1e-5b0a-4f0e-9f52-9b0b1f7c2d11")},
	{"A6 fingerprint of time and host", "A6 as ARCP", "POST", "/auth/login", adminLogin, fingerprint("1705399800-build-7.example.org")},
	{"A8", "A8", "POST", "/auth/temp-token", tempRequest, nil},
	{"A8 at the other path", "A8", "POST", "/auth/agent/request_temp_token", tempRequest, nil},
}

func bearer(token string) map[string]string {
	return map[string]string{"Authorization": "Bearer " + token}
}

func fingerprint(text string) map[string]string {
	return map[string]string{"X-Client-Fingerprint": text}
}

// TestGolden makes the calls of all scenarios back to back on one server: no limit
// may come in between.
func TestGolden(t *testing.T) {
	d := startedDev(t)
	for _, call := range goldenCalls {
		t.Run(call.name, func(t *testing.T) {
			want := goldens[call.golden]
			wantReply(t, request(t, d, call.method, call.path, call.body, call.headers), want.status, want.body)
		})
	}
}

// TestGoldenAdmin is scenario A7: an administrator reads the configuration without
// the fingerprint of the login, and no key is in the answer.
func TestGoldenAdmin(t *testing.T) {
	d := startedDev(t)
	headers := bearer(request(t, d, "POST", "/auth/login", adminLogin, fingerprint("unique-session-id")).member(t, "access_token"))
	for name, print := range map[string]map[string]string{"A7": nil, "A7 with the fingerprint": fingerprint("unique-session-id")} {
		t.Run(name, func(t *testing.T) {
			maps.Copy(headers, print)
			got := request(t, d, "GET", "/dashboard/config", "", headers)
			wantConfig(t, got)
		})
	}
	t.Run("A7 with another fingerprint", func(t *testing.T) {
		maps.Copy(headers, fingerprint("another-session-id"))
		wantReply(t, request(t, d, "GET", "/dashboard/config", "", headers), 401, `{
			"type": "https://arcp.0x001.tech/docs/problems/session-invalid",
			"title": "Session Validation Failed",
			"status": 401,
			"detail": "The session is not valid: the X-Client-Fingerprint of the login is needed, or another login",
			"instance": "/dashboard/config",
			"timestamp": "<time>",
			"request_id": "<request>",
			"error_code": "SESSION_INVALID"
		}`)
	})
}

// wantConfig looks at the answer of /dashboard/config.
func wantConfig(t *testing.T, got reply) {
	t.Helper()
	if got.status != 200 {
		t.Fatalf("answer %d %s", got.status, got.body)
	}
	for _, key := range []string{"valid-agent-key", "your-agent-key", `"agent-key"`} {
		if strings.Contains(string(got.body), key) {
			t.Errorf("the key %s is in the answer: %s", key, got.body)
		}
	}
	config, _ := object(t, got.body).(map[string]any)
	members := []string{"agent_keys", "allowed_agent_types", "log_buffer_maxlen", "log_message_maxlen", "timezone", "ui", "ws_ping_interval_ms"}
	if diff := cmp.Diff(members, slices.Sorted(maps.Keys(config))); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
	want(t, config, 3.0, "agent_keys", "count")
	keys, _ := at(config, "agent_keys", "ids").([]any)
	for _, id := range keys {
		if text, _ := id.(string); !keyIDForm.MatchString(text) {
			t.Errorf("a key is called %v, want a short digest", id)
		}
	}
	if len(keys) != 3 {
		t.Errorf("%d keys, want 3: %s", len(keys), got.body)
	}
}

// keyIDForm is how a key is called where it must not be shown.
var keyIDForm = regexp.MustCompile(`^[0-9a-f]{12}$`)

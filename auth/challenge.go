package auth

import (
	"strings"

	"github.com/arcd-io/arcd/arc"
)

// Challenge gives the value of the WWW-Authenticate header that goes with a
// refusal (RFC 6750 section 3, RFC 9728 section 5.1). realm names the protected
// space; resourceMetadata is the URL of the protected-resource document, left
// out when "".
//
// The error word follows from the code and the reason: none for a request
// without credentials, invalid_request for a bad header, insufficient_scope
// with the needed scopes, invalid_token for all other bad tokens. It is "" for
// errors that no other token would cure: the caller then sends no challenge.
func Challenge(e *arc.Error, realm, resourceMetadata string) string {
	word, text := challengeError(e)
	if word == "" && e.Reason() != ReasonMissingToken {
		return ""
	}
	var b strings.Builder
	b.WriteString("Bearer ")
	b.WriteString(param("realm", realm))
	if word != "" {
		b.WriteString(", " + param("error", word) + ", " + param("error_description", text))
	}
	if scopes := neededScopes(e); scopes != "" {
		b.WriteString(", " + param("scope", scopes))
	}
	if resourceMetadata != "" {
		b.WriteString(", " + param("resource_metadata", resourceMetadata))
	}
	return b.String()
}

// challengeError gives the error word and its description. The descriptions
// are fixed texts of the characters that RFC 6750 allows there.
func challengeError(e *arc.Error) (word, text string) {
	switch e.Code {
	case arc.CodeInsufficientScope:
		return "insufficient_scope", "the token lacks a scope that this call needs"
	case arc.CodeTokenExpired:
		return "invalid_token", "the token has expired"
	case arc.CodeTokenInvalid:
		return "invalid_token", invalidToken
	case arc.CodeUnauthenticated:
	default:
		return "", ""
	}
	switch e.Reason() {
	case ReasonMissingToken, ReasonKeysUnavailable, ReasonRevocationsUnknown:
		return "", ""
	}
	if e.Details["field"] == headerField {
		return "invalid_request", "the Authorization header is malformed"
	}
	return "invalid_token", invalidToken
}

// neededScopes joins the scopes that an insufficient_scope refusal asks for.
func neededScopes(e *arc.Error) string {
	if e.Code != arc.CodeInsufficientScope {
		return ""
	}
	scopes, _ := e.Details["required_scopes"].([]string)
	return strings.Join(scopes, " ")
}

// param writes one auth-param with a quoted-string value (RFC 9110 section
// 11.2). Characters that cannot stand in a header are dropped.
func param(name, value string) string {
	var b strings.Builder
	b.WriteString(name + `="`)
	for i := range len(value) {
		switch c := value[i]; {
		case c == '"' || c == '\\':
			b.WriteByte('\\')
			b.WriteByte(c)
		case c >= ' ' && c < 0x7f:
			b.WriteByte(c)
		}
	}
	b.WriteByte('"')
	return b.String()
}

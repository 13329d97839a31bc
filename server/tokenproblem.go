package server

import (
	"net/http"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// tokenProblem turns a refusal of package auth into what the HTTP API says of it
// (contract sections 2.3 and 2.4, A2). token is what was sent, "" if none could
// be read. Whatever is no refusal of a token comes back as it is.
//
// A refused token whose exp is past is reported as expired, whatever else is
// wrong with it: the seed page shows one with a dummy signature. Only /arc keeps
// to the order in which tokens are judged.
func tokenProblem(err *arc.Error, token string, now time.Time) *arc.Error {
	if err.Problem != "" || err.Code != arc.CodeUnauthenticated && err.Code != arc.CodeTokenExpired {
		return err
	}
	switch reason := err.Reason(); {
	case err.Outage():
		e := arc.Refuse(arc.ProblemUnavailable, reason, "%s", err.Message).Because(err)
		e.RetryAfter = err.RetryAfter
		return e
	case reason == auth.ReasonMissingToken, err.Details["field"] == "Authorization":
		return arc.Refuse(arc.ProblemAuthentication, "auth_required",
			"Authentication required - missing or invalid Authorization header").Because(err)
	}
	times, _ := auth.Unverified(token)
	if expired := err.Reason() == auth.ReasonExpired || !times.Expires.After(now); expired && !times.Expires.IsZero() {
		return tokenExpired(times).Because(err)
	}
	return badToken(err)
}

// tokenExpired names the times that the token says of itself.
func tokenExpired(times auth.Times) *arc.Error {
	at := times.Expires.UTC().Format(time.RFC3339)
	e := arc.Refuse(arc.ProblemToken, "token_expired", "JWT token has expired at %s", at).With("token_expired_at", at)
	if !times.Issued.IsZero() {
		e.With("token_issued_at", times.Issued.UTC().Format(time.RFC3339))
	}
	e.Code = arc.CodeTokenExpired
	return e
}

// badTokens is what the HTTP API says for the reasons of package auth.
var badTokens = map[string]struct{ reason, detail string }{
	auth.ReasonMalformed:     {"malformed_token", "JWT token format is invalid"},
	auth.ReasonUnknownIssuer: {"invalid_signature", "JWT token signature verification failed"},
	auth.ReasonUnknownKey:    {"invalid_signature", "JWT token signature verification failed"},
	auth.ReasonAlgNotAllowed: {"invalid_signature", "JWT token signature verification failed"},
	auth.ReasonBadSignature:  {"invalid_signature", "JWT token signature verification failed"},
	auth.ReasonWrongAudience: {"invalid_audience", "JWT token is for another audience"},
	auth.ReasonNotYetValid:   {"token_not_yet_valid", "JWT token is not valid yet"},
	auth.ReasonRevoked:       {"token_revoked", "JWT token has been revoked"},
	auth.ReasonMissingClaim:  {"missing_claims", "JWT token is missing required claims"},
	auth.ReasonExpired:       {"token_expired", "JWT token has expired"},
	auth.ReasonPolicy:        {"wrong_token_type", "JWT token is of a type that is not accepted here"},
}

// badToken translates the reason of a refusal.
func badToken(err *arc.Error) *arc.Error {
	reason := err.Reason()
	claim, _ := err.Details["claim"].(string)
	if reason == auth.ReasonMissingClaim && claim == "iss" { // nobody's token
		reason = auth.ReasonUnknownIssuer
	}
	said, ok := badTokens[reason]
	if !ok {
		return err
	}
	e := arc.Refuse(arc.ProblemToken, said.reason, "%s", said.detail).Because(err)
	switch reason {
	case auth.ReasonMissingClaim:
		e.With("missing_claims", []string{claim})
	case auth.ReasonPolicy:
		e.Status = http.StatusForbidden
	}
	return e
}

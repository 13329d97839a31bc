package auth

import (
	"time"

	"github.com/arcd-io/arcd/arc"
)

// The stable words that details.reason of a refusal can hold. All go with
// -44001, besides [ReasonExpired], which goes with -44004.
const (
	ReasonMissingToken    = "missing_token"    // no bearer credentials in the request
	ReasonMalformed       = "malformed"        // not a JWT in the strict form that is read here
	ReasonUnknownIssuer   = "unknown_issuer"   // claim iss names no provider
	ReasonUnknownKey      = "unknown_key"      // the provider publishes no such key
	ReasonAlgNotAllowed   = "alg_not_allowed"  // algorithm outside the provider's list, or not the key's
	ReasonBadSignature    = "bad_signature"    // the signature does not fit
	ReasonWrongAudience   = "wrong_audience"   // claim aud is absent or names somebody else
	ReasonNotYetValid     = "not_yet_valid"    // nbf or iat in the future
	ReasonRevoked         = "revoked"          // taken back by its issuer
	ReasonMissingClaim    = "missing_claim"    // details.claim names it
	ReasonPolicy          = "policy"           // genuine, but not to be used here, such as an ID token
	ReasonExpired         = "expired"          // exp is past, and nothing else is wrong
	ReasonKeysUnavailable = "keys_unavailable" // the issuer's keys cannot be had now; try again
	// ReasonRevocationsUnknown: what was revoked of late cannot be told now; try again.
	ReasonRevocationsUnknown = "revocations_unknown"
)

// invalidToken is the one sentence for every bad token: what exactly is wrong
// is told by the reason alone, so that no internals slip out.
const invalidToken = "the token is not valid"

// headerField marks, as details.field, refusals of the Authorization header
// itself; [Challenge] answers them with invalid_request.
const headerField = "Authorization"

// keysRetry is the Retry-After of keys_unavailable. It is the pace at which a
// provider without keys is asked again.
const keysRetry = 5 * time.Second

// refuse makes the -44001 of a bad token. The cause stays private.
func refuse(reason string, cause error) *arc.Error {
	return arc.Errorf(arc.CodeUnauthenticated, invalidToken).
		With("reason", reason).With("retryable", false).Because(cause)
}

// missingClaim refuses a token that lacks a claim it must have.
func missingClaim(name string) *arc.Error {
	return refuse(ReasonMissingClaim, nil).With("claim", name)
}

// keysUnavailable reports our trouble, not the token's: the server answers it
// with 503 and Retry-After, so that a caller does not drop a good token.
func keysUnavailable(cause error) *arc.Error {
	e := arc.Errorf(arc.CodeUnauthenticated, "the token cannot be checked now; its issuer's keys are not available").
		With("reason", ReasonKeysUnavailable).With("retryable", true).Because(cause)
	e.RetryAfter = keysRetry
	return e
}

// revocationsRetry is the Retry-After of revocations_unknown: a store that comes back
// is noticed within a second.
const revocationsRetry = 2 * time.Second

// revocationsUnknown reports our trouble too: nobody can tell whether the token was
// taken back.
func revocationsUnknown(cause error) *arc.Error {
	e := arc.Errorf(arc.CodeUnauthenticated, "the server cannot use its database now; whether the token was revoked is not known").
		With("reason", ReasonRevocationsUnknown).With("retryable", true).Because(cause)
	e.RetryAfter = revocationsRetry
	return e
}

// expired makes the -44004 that tells a caller that a fresh token is the cure.
// Both spellings of the time are there for the two published clients.
func expired(at time.Time) *arc.Error {
	text := at.UTC().Format(time.RFC3339)
	return arc.Errorf(arc.CodeTokenExpired, "the token has expired").
		With("reason", ReasonExpired).With("retryable", true).
		With("expired_at", text).With("expiredAt", text)
}

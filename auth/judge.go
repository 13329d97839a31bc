package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/arcd-io/arcd/arc"
)

// judge turns golang-jwt's report, which joins all that is wrong with the
// claims, into the one refusal that comes first in our order; then it adds the
// checks that golang-jwt does not have. It is the only place that decides
// between -44001 and -44004.
func (ps *Providers) judge(ctx context.Context, report error, p *provider, c *tokenClaims, who *Principal) *arc.Error {
	is := func(target error) bool { return errors.Is(report, target) }
	switch {
	case is(jwt.ErrTokenSignatureInvalid), is(jwt.ErrTokenUnverifiable):
		return refuse(ReasonBadSignature, report)
	case is(jwt.ErrTokenMalformed):
		return refuse(ReasonMalformed, report)
	case is(jwt.ErrTokenInvalidIssuer):
		return refuse(ReasonUnknownIssuer, report)
	case is(jwt.ErrTokenInvalidAudience), !slices.ContainsFunc(c.audience, func(a string) bool { return a != "" }):
		return refuse(ReasonWrongAudience, report)
	case is(jwt.ErrTokenNotValidYet), is(jwt.ErrTokenUsedBeforeIssued):
		return refuse(ReasonNotYetValid, report)
	}
	if refusal := ps.revoked(ctx, who); refusal != nil {
		return refusal
	}
	if refusal := p.complete(c, who); refusal != nil {
		return refusal
	}
	switch {
	case report == nil:
		return nil
	case is(jwt.ErrTokenExpired):
		return expired(who.Expires)
	}
	// Nothing that golang-jwt reports today comes here; what it may report
	// one day must not pass.
	return refuse(ReasonMalformed, report)
}

// revoked asks whether the token was taken back. Where that cannot be told it is not
// taken: a token that was stolen, and revoked for that, must not become good again
// because the store is down.
func (ps *Providers) revoked(ctx context.Context, who *Principal) *arc.Error {
	if ps.cfg.Revoked == nil {
		return nil
	}
	over, err := ps.cfg.Revoked(ctx, who)
	switch {
	case err != nil:
		return revocationsUnknown(err)
	case over:
		return refuse(ReasonRevoked, nil)
	}
	return nil
}

// complete checks that the token has the claims of its profile and is an access
// token that needs no further proof.
func (p *provider) complete(c *tokenClaims, who *Principal) *arc.Error {
	for _, claim := range []struct {
		name    string
		there   bool
		rfc9068 bool // required by that profile only
	}{
		{"sub", c.subject != "", false},
		{"exp", c.expires != nil, false},
		{"iat", c.issuedAt != nil, false},
		{"client_id", who.Claims["client_id"] != nil && c.clientID != "", true},
		{"jti", c.tokenID != "", true},
	} {
		if !claim.there && (!claim.rfc9068 || p.Profile == ProfileRFC9068) {
			return missingClaim(claim.name)
		}
	}
	if why := otherUse(who); why != nil {
		return refuse(ReasonPolicy, why)
	}
	return nil
}

// otherUse tells why a genuine token is not a bearer access token: it is bound
// to a key that we were not shown (RFC 7800), or it is an ID token, refresh
// token, logout token or security event, which many issuers sign with the same
// keys (RFC 8725 section 3.12).
func otherUse(who *Principal) error {
	for _, name := range []string{"cnf", "events", "at_hash", "c_hash"} {
		if _, there := who.Claims[name]; there {
			return fmt.Errorf("claim %s does not go with a bearer access token", name)
		}
	}
	if _, there := who.Claims["nonce"]; there && len(who.Scopes) == 0 {
		return errors.New("claim nonce without scopes: an ID token")
	}
	// Keycloak and Cognito tell the kinds of their tokens apart in a claim.
	switch who.Claims["typ"] {
	case "ID", "Refresh", "Offline", "Logout":
		return fmt.Errorf("claim typ is %v", who.Claims["typ"])
	}
	if who.Claims["token_use"] == "id" {
		return errors.New("claim token_use is id")
	}
	return nil
}

// startsAt is the later of nbf and iat; the zero time if there is neither.
func (c *tokenClaims) startsAt() time.Time {
	var at time.Time
	for _, date := range []*jwt.NumericDate{c.notBefore, c.issuedAt} {
		if date != nil && date.After(at) {
			at = date.Time
		}
	}
	return at
}

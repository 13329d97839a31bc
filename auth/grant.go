package auth

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// GrantRequest is a client's wish for a token (RFC 6749 section 4.4).
type GrantRequest struct {
	ClientID string
	Secret   string
	// Scope lists the scopes wanted, parted by single spaces. "": all that the
	// client has.
	Scope string
	// Audience and Resource (RFC 8707) name whom the token is for. None: the
	// client's audience, else the issuer's first.
	Audience []string
	Resource []string
	// Remote is the address of whoever asks, without a port. Failures count
	// against it.
	Remote string
}

// Grant is the answer to a [GrantRequest] (RFC 6749 section 5.1).
type Grant struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"` // "Bearer"
	ExpiresIn   int    `json:"expires_in"` // seconds
	// Scope lists the scopes granted, sorted, parted by spaces.
	Scope string `json:"scope,omitempty"`

	// What the log may want to know of the token.
	TokenID  string   `json:"-"` // claim jti
	Audience []string `json:"-"` // claim aud
}

// OAuthError is a refusal in the words of RFC 6749 section 5.2.
type OAuthError struct {
	// Status is the HTTP status that goes with it.
	Status int
	// Code is the registered word, invalid_client for one.
	Code string
	// Description is a sentence for the developer of the client.
	Description string
	// RetryAfter, if positive, is how long to wait before another try.
	RetryAfter time.Duration
	// Reason is a stable word for the log. It may tell more than the answer does
	// (unknown_client, wrong_secret) and is never sent.
	Reason string
}

// Error gives the code and the description.
func (e *OAuthError) Error() string { return e.Code + ": " + e.Description }

// The codes of RFC 6749 section 5.2 and RFC 8707 section 2 that arcd uses, and
// two more: temporarily_unavailable goes with 429 and 503, server_error with 500.
const (
	OAuthInvalidRequest       = "invalid_request"
	OAuthInvalidClient        = "invalid_client"
	OAuthInvalidScope         = "invalid_scope"
	OAuthInvalidTarget        = "invalid_target"
	OAuthUnauthorizedClient   = "unauthorized_client"
	OAuthUnsupportedGrantType = "unsupported_grant_type"
	OAuthUnavailable          = "temporarily_unavailable"
	OAuthServerError          = "server_error"
)

// invalidClient is one and the same answer to an unknown client and to a wrong
// secret; only the log is told which.
func invalidClient(reason string) *OAuthError {
	return &OAuthError{
		Status: http.StatusUnauthorized, Code: OAuthInvalidClient,
		Description: "the client is unknown or its secret is wrong", Reason: reason,
	}
}

// Grant gives a token to a client that proves who it is (grant type
// client_credentials). A refusal is an [*OAuthError]; any other error is a
// failure of the issuer.
func (i *Issuer) Grant(r GrantRequest) (Grant, error) {
	client, err := i.Authenticate(r.ClientID, r.Secret, r.Remote)
	if err != nil {
		return Grant{}, err
	}
	scopes, err := scopesFor(client, r.Scope)
	if err != nil {
		return Grant{}, err
	}
	audience, err := i.audienceFor(client, r)
	if err != nil {
		return Grant{}, err
	}
	made, err := i.sign(Claims{
		Subject: r.ClientID, Scopes: scopes, Agents: client.Agents, Audience: audience, TTL: i.cfg.TokenTTL,
	})
	if errors.Is(err, ErrKeysUnknown) {
		return Grant{}, &OAuthError{
			Status: http.StatusServiceUnavailable, Code: OAuthUnavailable, RetryAfter: keysRetry,
			Description: "no token can be signed now", Reason: "keys_unknown",
		}
	}
	if err != nil {
		return Grant{}, err
	}
	return Grant{
		AccessToken: made.Token, TokenType: "Bearer", ExpiresIn: int(i.cfg.TokenTTL / time.Second),
		Scope: strings.Join(scopes, " "), TokenID: made.ID, Audience: audience,
	}, nil
}

// scopesFor gives the scopes of the token, sorted: what was asked for if the
// client has all of it, else what the client has.
func scopesFor(c Client, asked string) ([]string, error) {
	if asked == "" {
		return uniqueSorted(slices.Clone(c.Scopes)), nil
	}
	scopes := strings.Split(asked, " ") // one space, RFC 6749 section 3.3
	if checkScopes(scopes) != nil {
		return nil, &OAuthError{
			Status: http.StatusBadRequest, Code: OAuthInvalidScope,
			Description: "scope is not a list of scopes parted by single spaces", Reason: "scope_malformed",
		}
	}
	for _, s := range scopes {
		if !slices.Contains(c.Scopes, s) {
			return nil, &OAuthError{
				Status: http.StatusBadRequest, Code: OAuthInvalidScope,
				Description: fmt.Sprintf("the client may not have the scope %q", s), Reason: "scope_not_allowed",
			}
		}
	}
	return uniqueSorted(scopes), nil
}

// audienceFor gives whom the token is for.
func (i *Issuer) audienceFor(c Client, r GrantRequest) ([]string, error) {
	asked := slices.Concat(r.Audience, r.Resource)
	if len(asked) == 0 {
		if c.Audience != "" {
			return []string{c.Audience}, nil
		}
		return i.cfg.Audience[:1], nil
	}
	var audience []string
	for n, a := range asked {
		if n >= len(r.Audience) && !absoluteURI(a) {
			return nil, &OAuthError{
				Status: http.StatusBadRequest, Code: OAuthInvalidTarget,
				Description: "resource is not an absolute URI without a fragment", Reason: "resource_malformed",
			}
		}
		if !slices.Contains(i.cfg.Audience, a) && (a == "" || a != c.Audience) {
			return nil, &OAuthError{
				Status: http.StatusBadRequest, Code: OAuthInvalidTarget,
				Description: "no tokens are issued for that audience or resource", Reason: "target_unknown",
			}
		}
		if !slices.Contains(audience, a) {
			audience = append(audience, a)
		}
	}
	return audience, nil
}

// absoluteURI is the form of a resource (RFC 8707 section 2).
func absoluteURI(s string) bool {
	u, err := url.Parse(s)
	return err == nil && u.IsAbs() && !strings.Contains(s, "#")
}

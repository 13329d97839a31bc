package auth

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Limits of claims.
const (
	maxText = 1024         // bytes of sub, jti and client_id
	maxDate = 253402300800 // first second of the year 10000
)

// tokenClaims are the claims that arcd reads, with their types checked. It is
// what golang-jwt validates: its own MapClaims takes exp 0 for no exp, and lets
// dates outside of int64 wrap around.
type tokenClaims struct {
	issuer, subject, tokenID, clientID string
	audience                           []string
	expires, notBefore, issuedAt       *jwt.NumericDate // nil: not there
}

// readClaims checks the types and sizes of the registered claims (RFC 7519
// section 4.1) and of client_id and azp. Absent claims are no error here.
func readClaims(o map[string]any) (*tokenClaims, error) {
	c := &tokenClaims{}
	var azp string
	for _, claim := range []struct {
		name string
		to   *string
	}{
		{"iss", &c.issuer}, {"sub", &c.subject}, {"jti", &c.tokenID}, {"client_id", &c.clientID}, {"azp", &azp},
	} {
		if err := textClaim(o, claim.name, claim.to); err != nil {
			return nil, err
		}
	}
	if c.clientID == "" {
		c.clientID = azp
	}
	for _, claim := range []struct {
		name string
		to   **jwt.NumericDate
	}{
		{"exp", &c.expires}, {"nbf", &c.notBefore}, {"iat", &c.issuedAt},
	} {
		if err := dateClaim(o, claim.name, claim.to); err != nil {
			return nil, err
		}
	}
	var err error
	if aud, ok := o["aud"]; ok {
		c.audience, err = texts("aud", aud)
	}
	return c, err
}

// textClaim reads an optional claim that must be a text of bounded length.
func textClaim(o map[string]any, name string, to *string) error {
	v, ok := o[name]
	if !ok {
		return nil
	}
	s, ok := v.(string)
	if !ok {
		return fmt.Errorf("claim %s is not a text", name)
	}
	if len(s) > maxText {
		return fmt.Errorf("claim %s is longer than %d bytes", name, maxText)
	}
	*to = s
	return nil
}

// dateClaim reads an optional NumericDate: seconds since 1970, a fraction
// allowed, up to the end of the year 9999.
func dateClaim(o map[string]any, name string, to **jwt.NumericDate) error {
	v, ok := o[name]
	if !ok {
		return nil
	}
	f, ok := v.(float64)
	if !ok {
		return fmt.Errorf("claim %s is not a number", name)
	}
	if !(f >= 0 && f < maxDate) { // in this form NaN fails too
		return fmt.Errorf("claim %s is not a date from 1970 to 9999", name)
	}
	whole, part := math.Modf(f)
	*to = &jwt.NumericDate{Time: time.Unix(int64(whole), int64(part*1e9)).UTC()}
	return nil
}

// texts reads a claim that is a text or a list of texts.
func texts(name string, v any) ([]string, error) {
	switch v := v.(type) {
	case string:
		return []string{v}, nil
	case []any:
		list := make([]string, 0, len(v))
		for _, e := range v {
			s, ok := e.(string)
			if !ok {
				return nil, fmt.Errorf("claim %s holds something else than texts", name)
			}
			list = append(list, s)
		}
		return list, nil
	}
	return nil, fmt.Errorf("claim %s is neither a text nor a list of texts", name)
}

// readScopes takes the scopes from the first of the named claims that is
// present, never from several. Claim scope is one text (RFC 8693 section 4.2),
// the others may be lists. A text is split at spaces and nothing else: other
// white space is part of a scope's name and makes it match nothing.
func readScopes(o map[string]any, names []string) ([]string, error) {
	for _, name := range names {
		v, ok := o[name]
		if !ok {
			continue
		}
		var scopes []string
		var err error
		if s, ok := v.(string); ok {
			scopes = strings.Split(s, " ")
		} else if name == "scope" {
			return nil, fmt.Errorf("claim %s is not a text", name)
		} else if scopes, err = texts(name, v); err != nil {
			return nil, err
		}
		scopes = slices.DeleteFunc(scopes, func(s string) bool { return s == "" })
		slices.Sort(scopes)
		return slices.Compact(scopes), nil
	}
	return []string{}, nil
}

// readAgents takes the agent ids that the token may send as from the named
// claim: nil if the claim is absent, an empty list if it names none.
func readAgents(o map[string]any, name string) ([]string, error) {
	v, ok := o[name]
	if !ok {
		return nil, nil
	}
	agents, err := texts(name, v)
	if err != nil {
		return nil, err
	}
	if slices.Contains(agents, "") {
		return nil, fmt.Errorf("claim %s holds an empty agent id", name)
	}
	return agents, nil
}

// UnmarshalJSON does nothing, on purpose: golang-jwt hands in the segment that
// preparse has read already, and there shall be only one reading of it.
func (c *tokenClaims) UnmarshalJSON([]byte) error { return nil }

// The methods of [jwt.Claims].

func (c *tokenClaims) GetExpirationTime() (*jwt.NumericDate, error) { return c.expires, nil }
func (c *tokenClaims) GetIssuedAt() (*jwt.NumericDate, error)       { return c.issuedAt, nil }
func (c *tokenClaims) GetNotBefore() (*jwt.NumericDate, error)      { return c.notBefore, nil }
func (c *tokenClaims) GetIssuer() (string, error)                   { return c.issuer, nil }
func (c *tokenClaims) GetSubject() (string, error)                  { return c.subject, nil }
func (c *tokenClaims) GetAudience() (jwt.ClaimStrings, error)       { return c.audience, nil }

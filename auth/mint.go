package auth

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Claims says what goes into a token.
type Claims struct {
	Subject  string   // claim sub; needed
	ClientID string   // claim client_id; default: Subject
	Scopes   []string // claim scope
	Agents   []string // claim agent_id; none: the token may speak as any agent
	Audience []string // claim aud, any names; default: the issuer's first
	ID       string   // claim jti; default: 128 random bits
	// TTL is the life of the token in whole seconds. Default: the issuer's. Negative:
	// it has expired that long ago already, which tests want.
	TTL time.Duration
	// Extra are private claims (RFC 7519 section 4.3). A name in it that the issuer
	// itself sets or gives a meaning to is an error: there is one place for each claim.
	Extra map[string]any
}

// Minted is a token that was made, and what has to be known to announce it and
// to take it back.
type Minted struct {
	Token   string
	ID      string    // claim jti
	Issued  time.Time // claim iat: whole seconds, UTC
	Expires time.Time // claim exp: Issued and exactly the life that was asked for
}

// issuerClaims are the claims that only the fields of [Claims] set, and nbf,
// which our tokens do not have.
var issuerClaims = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "jti", "client_id", "scope", "agent_id"}

// Issue signs a token with any claims, without asking whether somebody may have
// it: that is [Issuer.Grant]. A life beyond LongestTTL is noted beside the keys, so
// that a rotation keeps its key published for as long; up to it, nothing is written.
// Claims that no validator could read are an error, and so is that the keys are not
// known now ([ErrKeysUnknown]).
func (i *Issuer) Issue(c Claims) (Minted, error) {
	if c.TTL == 0 {
		c.TTL = i.cfg.TokenTTL
	}
	if err := c.check(); err != nil {
		return Minted{}, fmt.Errorf("minting a token: %w", err)
	}
	if c.TTL > i.cfg.LongestTTL {
		if err := i.noteLongToken(i.cfg.Now().Add(c.TTL + clockSlack)); err != nil {
			return Minted{}, fmt.Errorf("minting a token: %w", err)
		}
	}
	return i.sign(c)
}

// Mint is [Issuer.Issue] for those who want nothing but the token.
func (i *Issuer) Mint(c Claims) (token string, err error) {
	made, err := i.Issue(c)
	return made.Token, err
}

// check tells what would make a token that says something else than was meant.
func (c *Claims) check() error {
	if err := checkScopes(c.Scopes); err != nil {
		return err
	}
	if c.Subject == "" {
		return errors.New("the subject is missing")
	}
	for _, text := range []string{c.Subject, c.ClientID, c.ID} {
		if len(text) > maxText {
			return fmt.Errorf("a claim is longer than %d bytes", maxText)
		}
	}
	if slices.Contains(c.Audience, "") || slices.Contains(c.Agents, "") {
		return errors.New("an audience or an agent is empty")
	}
	if c.TTL%time.Second != 0 {
		return fmt.Errorf("the life %v is not whole seconds", c.TTL)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Extra)) {
		if slices.Contains(issuerClaims, name) {
			return fmt.Errorf("claim %s cannot be given as a private one", name)
		}
	}
	return nil
}

// noteLongToken keeps the signing key published until then, once it is retired.
func (i *Issuer) noteLongToken(until time.Time) error {
	return i.keys.change(func(f *keyFile) error {
		f.keepLong(i.cfg.Now(), until)
		return nil
	})
}

// sign makes the token (RFC 9068 section 2).
func (i *Issuer) sign(c Claims) (Minted, error) {
	keys := i.keys.get(false)
	if err := i.keys.current(); err != nil {
		return Minted{}, fmt.Errorf("signing a token: %w", err)
	}
	key := keys.signing(i.cfg.Now())
	made := Minted{ID: c.ID, Issued: i.cfg.Now().UTC().Truncate(time.Second)}
	made.Expires = made.Issued.Add(c.TTL)
	if c.TTL < 0 {
		made.Issued = made.Expires.Add(-i.cfg.TokenTTL) // as if it had been issued in its time
	}
	if made.ID == "" {
		bits := make([]byte, 16)
		rand.Read(bits) // never fails, see crypto/rand
		made.ID = base64.RawURLEncoding.EncodeToString(bits)
	}
	t := jwt.NewWithClaims(jwt.SigningMethodEdDSA, i.claims(c, made))
	t.Header["typ"], t.Header["kid"] = "at+jwt", key.ID
	var err error
	if made.Token, err = t.SignedString(key.private); err != nil {
		return Minted{}, fmt.Errorf("signing a token: %w", err)
	}
	if len(made.Token) > MaxToken {
		return Minted{}, fmt.Errorf("signing a token: it is %w", errTooLong)
	}
	return made, nil
}

// claims writes the claims of a token.
func (i *Issuer) claims(c Claims, made Minted) jwt.MapClaims {
	if c.ClientID == "" {
		c.ClientID = c.Subject
	}
	if len(c.Audience) == 0 {
		c.Audience = i.cfg.Audience[:1]
	}
	claims := jwt.MapClaims{}
	maps.Copy(claims, c.Extra)
	maps.Copy(claims, jwt.MapClaims{
		"iss": i.cfg.URL, "sub": c.Subject, "aud": oneOrMany(c.Audience), "client_id": c.ClientID,
		"iat": made.Issued.Unix(), "exp": made.Expires.Unix(), "jti": made.ID,
	})
	if len(c.Scopes) > 0 {
		claims["scope"] = strings.Join(c.Scopes, " ")
	}
	if len(c.Agents) > 0 {
		claims["agent_id"] = oneOrMany(c.Agents)
	}
	return claims
}

// oneOrMany is how JWT writes a list of names: a single one stands alone.
func oneOrMany(names []string) any {
	if len(names) == 1 {
		return names[0]
	}
	return names
}

package auth

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/arcd-io/arcd/arc"
)

// Providers is the standard [Validator]: it takes access tokens in JWT form
// from several issuers. Claim iss alone decides whose keys and rules a token is
// judged by; a token of one provider never touches another.
type Providers struct {
	cfg      Config
	byIssuer map[string]*provider
	list     []*provider // in the order of the configuration
	seen     *verdicts
}

// provider is a [Provider] at work.
type provider struct {
	Provider
	keys   *keyStore
	parser *jwt.Parser
}

// NewProviders checks the configuration and makes a validator of it. It fetches
// nothing; [Providers.Run] does. Every fault of the configuration is in the
// error, with the key it is under.
func NewProviders(cfg Config) (*Providers, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport()
	}
	client := newClient(cfg.Transport)
	ps := &Providers{cfg: cfg, byIssuer: map[string]*provider{}, seen: newVerdicts(cfg.CacheSize)}
	for _, p := range cfg.Providers {
		made := &provider{
			Provider: p,
			keys: &keyStore{
				provider: p, client: client, now: cfg.Now, log: cfg.Log, misses: map[string]time.Time{},
			},
			parser: newParser(p, cfg),
		}
		ps.byIssuer[p.Issuer] = made
		ps.list = append(ps.list, made)
	}
	return ps, nil
}

// newParser makes the reader of tokens with the provider's rules.
func newParser(p Provider, cfg Config) *jwt.Parser {
	return jwt.NewParser(
		jwt.WithValidMethods(p.Algorithms), jwt.WithIssuer(p.Issuer), jwt.WithAudience(p.Audience...),
		jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithLeeway(cfg.Leeway),
		jwt.WithStrictDecoding(), jwt.WithTimeFunc(cfg.Now),
	)
}

// Run fetches the keys of all providers and keeps them fresh. It blocks until
// ctx ends. Tokens can be judged before and without it, but then the first of
// each provider waits for its keys, and withdrawn keys are not noticed.
func (ps *Providers) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range ps.list {
		wg.Go(func() { p.keys.run(ctx) })
	}
	wg.Wait()
	if t, ok := ps.cfg.Transport.(*http.Transport); ok {
		t.CloseIdleConnections()
	}
}

// Ready tells whether every provider's keys are in hand; the error names those
// that are missing.
func (ps *Providers) Ready() error {
	var missing []error
	for _, p := range ps.list {
		if p.keys.current() == nil {
			missing = append(missing, fmt.Errorf("provider %s: no keys", p.Name))
		}
	}
	return errors.Join(missing...)
}

// Validate judges a token. The refusals are judged in a fixed order, so that
// -44004 means that expiry is the only thing wrong:
//
//	Validate ── seen before: recheck ──────────────── withdrawn key? once more from the start
//	  └─ preparse, readClaims                          malformed
//	       └─ provider by iss                          unknown_issuer
//	            └─ admit: scopes, agents, typ, alg     malformed, policy, alg_not_allowed
//	                 └─ keyStore.find                  unknown_key, alg_not_allowed, keys_unavailable
//	                      └─ golang-jwt, judge         bad_signature, wrong_audience, not_yet_valid,
//	                                                   revoked, revocations_unknown, missing_claim,
//	                                                   policy, expired
//
// The principal is shared by all calls with one token.
func (ps *Providers) Validate(ctx context.Context, token string) (*Principal, error) {
	if len(token) > MaxToken {
		return nil, refuse(ReasonMalformed, errTooLong)
	}
	// Most tokens fit the buffer, so that the common call takes no memory.
	var buffer [2048]byte
	hash := sha256.Sum256(append(buffer[:0], token...))
	if v := ps.seen.get(&hash); v != nil && !v.key.withdrawn.Load() && v.provider.keys.current() != nil {
		if err := ps.recheck(ctx, v); err != nil {
			return nil, err
		}
		return v.principal, nil
	}
	v, err := ps.verify(ctx, token)
	if err != nil {
		return nil, err
	}
	ps.seen.put(&hash, v)
	return v.principal, nil
}

// recheck judges again, in the same order, what time and revocation can have
// changed.
func (ps *Providers) recheck(ctx context.Context, v *verdict) *arc.Error {
	now := ps.cfg.Now()
	if now.Before(v.notBefore.Add(-ps.cfg.Leeway)) {
		return refuse(ReasonNotYetValid, nil)
	}
	if refusal := ps.revoked(ctx, v.principal); refusal != nil {
		return refusal
	}
	if !now.Before(v.principal.Expires.Add(ps.cfg.Leeway)) {
		return expired(v.principal.Expires)
	}
	return nil
}

// verify judges a token from its text.
func (ps *Providers) verify(ctx context.Context, token string) (*verdict, *arc.Error) {
	u, err := preparse(token)
	if err != nil {
		return nil, refuse(ReasonMalformed, err)
	}
	claims, err := readClaims(u.claims)
	if err != nil {
		return nil, refuse(ReasonMalformed, err)
	}
	if claims.issuer == "" {
		return nil, missingClaim("iss")
	}
	p := ps.byIssuer[claims.issuer]
	if p == nil {
		return nil, refuse(ReasonUnknownIssuer, nil)
	}
	who, refusal := p.admit(u, claims)
	if refusal != nil {
		return nil, refusal
	}
	key, refusal := p.keys.find(ctx, u.keyID, u.alg)
	if refusal != nil {
		return nil, refusal
	}
	who.KeyID = key.id
	_, err = p.parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return key.public, nil })
	if refusal := ps.judge(ctx, err, p, claims, who); refusal != nil {
		return nil, refusal
	}
	return &verdict{principal: who, provider: p, key: key, notBefore: claims.startsAt()}, nil
}

// admit checks what can be checked before a key is looked up, and writes down
// who the token says it is.
func (p *provider) admit(u *unverified, c *tokenClaims) (*Principal, *arc.Error) {
	scopes, err := readScopes(u.claims, p.ScopeClaims)
	if err != nil {
		return nil, refuse(ReasonMalformed, err)
	}
	agents, err := readAgents(u.claims, p.AgentClaim)
	if err != nil {
		return nil, refuse(ReasonMalformed, err)
	}
	if !p.takesType(u.typ) {
		return nil, refuse(ReasonPolicy, fmt.Errorf("typ %q is not that of an access token", u.typ))
	}
	if !slices.Contains(p.Algorithms, u.alg) {
		return nil, refuse(ReasonAlgNotAllowed, fmt.Errorf("alg %q", u.alg))
	}
	who := &Principal{
		Provider: p.Name, Issuer: c.issuer, Subject: c.subject, ClientID: c.clientID,
		Scopes: scopes, Agents: agents, TokenID: c.tokenID, Alg: u.alg, Claims: u.claims,
	}
	if c.issuedAt != nil {
		who.IssuedAt = c.issuedAt.Time
	}
	if c.expires != nil {
		who.Expires = c.expires.Time
	}
	return who, nil
}

// takesType compares the header's typ, in lower case, with the profile (RFC
// 8725 section 3.11, RFC 9068 section 4).
func (p *provider) takesType(typ string) bool {
	switch typ {
	case "at+jwt", "application/at+jwt":
		return true
	case "jwt", "":
		return p.Profile == ProfileLoose
	}
	return false
}

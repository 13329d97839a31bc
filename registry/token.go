package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// Subjects of the registry's tokens begin with one of these, so that nobody can
// become the owner of what a client of the token service has made by taking its
// name. Clients cannot have such ids (auth.Client).
const (
	agentSubject = "agent:"
	adminSubject = "admin:"
	userSubject  = "user:"
	tempSubject  = "temp:"
)

// grant says what goes into a token of the registry.
type grant struct {
	kind     string
	subject  string
	agent    string
	scopes   []string
	role     string
	audience string
	ttl      time.Duration
	begun    time.Time // when the first of a line of refreshed tokens was issued; zero: now
	more     map[string]any
}

// issue makes the token. Lives are whole seconds, and never longer than MaxAge
// after the first of their line.
func (r *Registry) issue(g grant) (auth.Minted, error) {
	now := r.now()
	if g.begun.IsZero() {
		g.begun = now
	}
	if left := g.begun.Add(r.cfg.MaxAge).Sub(now).Truncate(time.Second); g.ttl > left {
		g.ttl = left
	}
	if g.ttl < time.Second {
		return auth.Minted{}, r.tooOld()
	}
	extra := map[string]any{
		"token_type": g.kind, "scopes": nonNil(g.scopes), "role": g.role, "auth_time": g.begun.Unix(),
	}
	for name, value := range g.more {
		extra[name] = value
	}
	claims := auth.Claims{Subject: g.subject, Scopes: g.scopes, Agents: []string{g.agent}, TTL: g.ttl, Extra: extra}
	if g.audience != "" {
		claims.Audience = []string{g.audience}
	}
	minted, err := r.cfg.Issuer.Issue(claims)
	if errors.Is(err, auth.ErrKeysUnknown) {
		return minted, unavailable(err)
	}
	if err != nil {
		return minted, fmt.Errorf("issuing a token of kind %s: %w", g.kind, err)
	}
	return minted, nil
}

func seconds(d time.Duration) int { return int(d / time.Second) }

// granted is the answer that hands a token over.
func granted(m auth.Minted, agent string) *arc.TokenGrant {
	return &arc.TokenGrant{AccessToken: m.Token, TokenType: "bearer", ExpiresIn: seconds(m.Expires.Sub(m.Issued)), AgentID: agent}
}

// Verdict tells what a good token holds (/tokens/validate, /auth/validate). The
// principal comes from the validator.
//
// Errors: token-invalid MISSING_CLAIMS.
func (r *Registry) Verdict(c *Caller) (*arc.TokenVerdict, error) {
	if missing := missingClaims(c); len(missing) > 0 {
		return nil, claimsMissing(missing)
	}
	return &arc.TokenVerdict{Valid: true, AgentID: c.Principal.Agent(), Payload: c.Principal.Claims}, nil
}

// Refresh is POST /tokens/refresh: another token like the caller's, which itself
// is revoked. All that binds it stays: agent, registration, session, scopes,
// audience. The line of tokens ends MaxAge after its first.
//
// Errors: token-invalid (403 WRONG_TOKEN_TYPE for a token that is not the
// registry's or is for registering; 401 TOKEN_REVOKED if somebody was faster;
// 401 REFRESH_TOO_OLD at the end of the line); those of a session.
func (r *Registry) Refresh(ctx context.Context, c *Caller) (*arc.TokenGrant, error) {
	minted, err := r.refresh(ctx, c)
	if err != nil {
		r.refusedAs(c, entry{Event: "token_refreshed", Agent: c.agent(), AuthType: "token"}, err)
		return nil, err
	}
	r.record(c, entry{Event: "token_refreshed", Agent: c.agent(), AuthType: "token",
		Detail: map[string]any{"jti_hash": auth.TokenIDHash(minted.ID), "old_jti_hash": auth.TokenIDHash(c.Principal.TokenID)}})
	return granted(minted, c.agent()), nil
}

// agent is the agent that the caller's token names; "" without a token.
func (c *Caller) agent() string {
	if c.Principal == nil || len(c.Principal.Agents) == 0 {
		return ""
	}
	return c.Principal.Agents[0]
}

func (r *Registry) refresh(ctx context.Context, c *Caller) (auth.Minted, error) {
	p, now := c.Principal, r.now()
	ttl := r.cfg.AgentTTL
	switch c.kind() {
	case kindAdmin:
		if err := r.checkSession(c, false); err != nil {
			return auth.Minted{}, err
		}
		ttl = r.cfg.SessionTTL
	case kindAgent, kindAccess:
	case kindTemp, kindValidated:
		return auth.Minted{}, wrongKind("a token for registering cannot be refreshed; ask for another one with the agent key")
	default:
		return auth.Minted{}, wrongKind("only tokens of the registry can be refreshed; this one's issuer gives another one")
	}
	begun, _ := p.Claims["auth_time"].(float64)
	g := grant{
		kind: c.kind(), subject: p.Subject, agent: c.agent(), scopes: p.Scopes, ttl: ttl,
		begun: time.Unix(int64(begun), 0), more: map[string]any{},
	}
	g.role, _ = p.Claims["role"].(string)
	g.audience, _ = p.Claims["aud"].(string)
	for _, name := range []string{"registration", "sid", "agent_type"} {
		if value, ok := p.Claims[name]; ok {
			g.more[name] = value
		}
	}
	minted, err := r.issue(g)
	if err != nil {
		return minted, err
	}
	// Once more after the new token has its date: whatever is revoked from now on
	// by its subject finds it too, and what other replicas revoked before is seen.
	if err := r.look(ctx); err != nil {
		return minted, unavailable(err)
	}
	if r.over(p) {
		return minted, arc.Refuse(arc.ProblemToken, "token_revoked", "The token has been revoked")
	}
	return minted, r.replace(context.WithoutCancel(ctx), c, minted, now) // both tokens change, or none does
}

// tooOld refuses to go on with a line of tokens.
func (r *Registry) tooOld() *arc.Error {
	return arc.Refuse(arc.ProblemToken, "refresh_too_old", "The token cannot be refreshed any more; authenticate again").
		With("max_age", seconds(r.cfg.MaxAge))
}

// replace takes the caller's token out of use in favour of the next one. Of
// several at a time, one wins.
func (r *Registry) replace(ctx context.Context, c *Caller, next auth.Minted, now time.Time) error {
	p := c.Principal
	mine := []byte(next.ID) // the store may do it twice
	used, err := r.store.Mark(ctx, store.Mark{
		Kind: markOnce, Value: "refresh\n" + p.TokenID, Body: mine, Expires: p.Expires.Add(validatorLeeway),
	}, now)
	if err != nil {
		return err
	}
	if used != nil && !bytes.Equal(used.Body, mine) {
		return arc.Refuse(arc.ProblemToken, "token_revoked", "The token was refreshed already")
	}
	if c.kind() == kindAdmin {
		if err := r.prolong(ctx, p, next.Expires); err != nil {
			return err
		}
	}
	return r.RevokeToken(ctx, p)
}

// The kinds of marks in the store.
const (
	markOnce    = "once"    // a token was used for what it can be used for once
	markPin     = "pin"     // an agent key belongs to an agent
	markTemp    = "temp"    // a temp or validated token, and its agent key
	markSession = "session" // an administrator is logged in
	markSecret  = "secret"  // something random that this registry keeps
	markCheck   = "check"   // how a validation ended
	markChecked = "checked" // the validation that an idempotency key stands for
	markLease   = "lease"   // what one replica has to itself for a while
)

// Mint is POST /tokens/mint: an administrator makes a token for somebody. It
// cannot be an administrator's, which has a session, nor one for registering,
// which proves an agent key.
//
// Errors: validation-failed; invalid-input.
func (r *Registry) Mint(c *Caller, p arc.MintParams) (*arc.TokenGrant, error) {
	if issues := checkMint(&p); len(issues) > 0 {
		return nil, invalid(issues)
	}
	switch {
	case p.Role == "admin":
		return nil, badInput("role", "an administrator's token comes from /auth/login: it belongs to a session")
	case p.TempRegistration || p.TokenType != "" && p.TokenType != kindAccess:
		return nil, badInput("token_type", "only access tokens are minted; those for registering come from /auth/agent/request_temp_token")
	case p.UsedKey != "" || p.AgentKeyHash != "":
		return nil, badInput("agent_key_hash", "a token holds nothing of an agent key")
	case p.Audience != "" && !slices.Contains(r.cfg.Issuer.Provider().Audience, p.Audience):
		return nil, badInput("aud", "tokens are not issued for this audience")
	}
	g := grant{
		kind: kindAccess, subject: userSubject + p.UserID, agent: p.AgentID, scopes: unique(p.Scopes),
		role: p.Role, audience: p.Audience, ttl: r.cfg.AgentTTL,
	}
	defaultTo(&g.role, "user")
	if p.AgentType != "" {
		g.more = map[string]any{"agent_type": p.AgentType}
	}
	minted, err := r.issue(g)
	if err != nil {
		return nil, err
	}
	r.record(c, entry{Event: "token_issued", Agent: p.AgentID, AuthType: "admin",
		Detail: map[string]any{"kind": kindAccess, "subject": g.subject, "scopes": g.scopes, "jti_hash": auth.TokenIDHash(minted.ID)}})
	return granted(minted, p.AgentID), nil
}

func unique(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return slices.Compact(list)
}

// missingField refuses a request that lacks a field, or has one that cannot be
// read.
func missingField(name, text string) *arc.Error {
	return arc.Refuse(arc.ProblemInput, "invalid_input", "%s", text).With("field", name)
}

// badInput refuses a value that is well formed but cannot be had.
func badInput(field, why string) *arc.Error {
	return missingField(field, "The field '"+field+"' cannot be used: "+why)
}

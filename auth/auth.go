// Package auth answers two questions: who is asking (a [Validator] turns a
// bearer token into a [Principal]), and may they ([Principal.Require]). It also
// proves who may have a token at all: an [Issuer] makes tokens, for clients and
// administrators that it knows, and [AgentKeys] checks what agents register with.
package auth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// A Validator turns a bearer token into the principal it speaks for.
//
// A refusal is an [*arc.Error] with one of the codes -44001, -44004 or -44005
// and details reason and retryable. Validate is safe for concurrent use.
// An embedding program may implement it, or wrap the one of this package to add
// checks of its own.
type Validator interface {
	Validate(ctx context.Context, token string) (*Principal, error)
}

// Principal is who is asking. It is made by a [Validator] and never changed
// afterwards, so it may be shared.
type Principal struct {
	Provider string    // name of the provider that vouches for it
	Issuer   string    // claim iss
	Subject  string    // claim sub
	ClientID string    // claim client_id or azp; may be ""
	Scopes   []string  // granted scopes, sorted, without doubles
	Agents   []string  // agent ids it may speak as; nil: any
	TokenID  string    // claim jti; may be ""
	IssuedAt time.Time // claim iat; zero if absent
	Expires  time.Time // claim exp; zero: never (only without authentication)
	KeyID    string    // kid of the key that signed
	Alg      string    // JWS algorithm
	Claims   map[string]any
}

// Owner is the key under which what this principal creates is kept: issuer and
// subject.
func (p *Principal) Owner() string { return p.Issuer + "\n" + p.Subject }

// TokenIDHash stands for a token's id (claim jti) in logs and the audit log: it can
// be compared, not used.
func TokenIDHash(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:8])
}

// Agent is the agent id that the principal speaks as unless it says otherwise:
// the first of its agents, else its client id, else its subject.
func (p *Principal) Agent() string {
	switch {
	case len(p.Agents) > 0:
		return p.Agents[0]
	case p.ClientID != "":
		return p.ClientID
	}
	return p.Subject
}

// Anonymous tells whether nobody vouches for the principal: the server checks no
// tokens.
func (p *Principal) Anonymous() bool { return p.Issuer == AnonymousIssuer }

// AnonymousIssuer stands for the issuer of principals without a token.
const AnonymousIssuer = "arcd:insecure"

// Has tells whether the principal holds the scope.
func (p *Principal) Has(scope string) bool {
	_, ok := slices.BinarySearch(p.Scopes, scope)
	return ok
}

// Require reports -44003 unless the principal holds all the scopes.
func (p *Principal) Require(scopes ...string) error {
	for _, s := range scopes {
		if !p.Has(s) {
			provided := p.Scopes
			if provided == nil {
				provided = []string{}
			}
			return arc.Errorf(arc.CodeInsufficientScope, "the token lacks a scope that this call needs: %s", s).
				With("reason", "insufficient_scope").With("retryable", false).
				With("required", scopes).With("provided", provided).
				With("required_scopes", scopes).With("provided_scopes", provided)
		}
	}
	return nil
}

// SpeakAs reports -44002 unless the principal may send as this agent.
func (p *Principal) SpeakAs(agent string) error {
	if p.Agents == nil || slices.Contains(p.Agents, agent) {
		return nil
	}
	return arc.Errorf(arc.CodeUnauthorized, "the token may not speak as requestAgent %q", agent).
		With("reason", "agent_mismatch").With("retryable", false).With("requestAgent", agent)
}

// The scopes of the specification.
const (
	ScopeTask   = "arc.task.controller"
	ScopeChat   = "arc.chat.controller"
	ScopeCaller = "arc.agent.caller"
	ScopeNotify = "arc.task.notify"
	ScopeServe  = "arc.agent.receiver"
)

// Scopes lists the scopes of the specification.
var Scopes = []string{ScopeCaller, ScopeServe, ScopeChat, ScopeTask, ScopeNotify}

package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
)

// A Prober looks at the endpoint of an agent that wants to register. It must
// keep to a policy about addresses, and end by itself within some seconds.
type Prober func(ctx context.Context, endpoint, agentID string) Probed

// Probed is what a Prober found.
type Probed struct {
	Reached bool          // an answer came
	Status  int           // its HTTP status
	Latency time.Duration // until the answer
	// Failure says what is wrong with the endpoint. Nil: nothing is.
	Failure *arc.Error
	// Refused tells that Failure is the policy's: the endpoint must not be called.
	Refused bool
}

// check is a validation that was made.
type check struct {
	Agent   string         `json:"agent"`
	Outcome arc.Compliance `json:"outcome"` // without the token
	Hash    string         `json:"hash"`    // of what was asked
	key     string         // of the request: agent, key hash, idempotency key; "": none was given
	until   time.Time
}

// checks are the validations of the last minutes, by id.
type checks struct {
	mu      sync.Mutex // guards what follows
	done    map[string]*check
	running map[string]int // by agent id
	total   int
}

// Limits of validations, on each replica: each calls out to an address that a caller
// names.
const (
	checksAtOnce   = 16
	checksPerAgent = 2
	checkKept      = 10 * time.Minute
	maxChecks      = 4096
)

func (l *checks) begin(agent string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.total >= checksAtOnce || l.running[agent] >= checksPerAgent {
		return false
	}
	if l.running == nil {
		l.running = make(map[string]int)
	}
	l.total++
	l.running[agent]++
	return true
}

func (l *checks) end(agent string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.running[agent]--; l.running[agent] == 0 {
		delete(l.running, agent)
	}
}

// keep notes a check; false: there are too many.
func (l *checks) keep(id string, made *check) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.done) >= maxChecks {
		return false
	}
	l.done[id] = made
	return true
}

func (l *checks) forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, c := range l.done {
		if now.After(c.until) {
			delete(l.done, id)
		}
	}
}

// same finds the check that an equal request made before.
func (l *checks) same(key string) *check {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.done {
		if key != "" && c.key == key {
			return c
		}
	}
	return nil
}

// ValidateCompliance is POST /auth/agent/validate_compliance: the agent's
// endpoint is looked at, and if it is well, a token for one registration is given
// out at once (contract section 5.4).
//
// Errors: validation-failed; insufficient-permissions for another id than the
// token's; those of the Prober; rate-limit-exceeded; duplicate-agent
// IDEMPOTENCY_CONFLICT.
func (r *Registry) ValidateCompliance(ctx context.Context, c *Caller, p arc.ComplianceParams) (*arc.Compliance, error) {
	outcome, minted, err := r.validate(ctx, c, p)
	if err != nil {
		r.refusedAs(c, entry{Event: "validated", Agent: c.agent(), Type: p.AgentType, AuthType: "agent"}, err)
		return nil, err
	}
	r.record(c, entry{Event: "token_issued", Agent: c.agent(), AuthType: "agent", Detail: map[string]any{
		"kind": kindValidated, "jti_hash": auth.TokenIDHash(minted.ID), "validation_id": outcome.ValidationID,
	}})
	lives := seconds(minted.Expires.Sub(minted.Issued))
	outcome.ValidatedToken, outcome.ExpiresIn = &minted.Token, &lives
	return &outcome, nil
}

func (r *Registry) validate(ctx context.Context, c *Caller, p arc.ComplianceParams) (arc.Compliance, auth.Minted, error) {
	none, nothing := auth.Minted{}, arc.Compliance{}
	if issues := checkCompliance(&p); len(issues) > 0 {
		return nothing, none, invalid(issues)
	}
	if p.AgentID != c.agent() {
		return nothing, none, arc.Refuse(arc.ProblemPermission, "insufficient_permissions", "The token is for the agent '%s'", c.agent()).
			With("agent_id", c.agent()).With("request_agent_id", p.AgentID)
	}
	keyHash, ok := r.temporary(c.Principal)
	if !ok {
		return nothing, none, arc.Refuse(arc.ProblemToken, "token_revoked", "The token has been revoked")
	}
	if err := checkKey(c); err != nil {
		return nothing, none, err
	}
	made, err := r.checkOnce(ctx, c, &p, keyHash)
	if err != nil {
		return nothing, none, err
	}
	minted, err := r.issue(grant{
		kind: kindValidated, subject: tempSubject + p.AgentID, agent: p.AgentID, role: "agent",
		audience: AudienceRegister, ttl: r.cfg.ValidatedTTL,
		more: map[string]any{
			"agent_type": p.AgentType, "validation_id": made.Outcome.ValidationID, "endpoint_hash": endpointHash(p.Endpoint),
		},
	})
	if err != nil {
		return nothing, none, err
	}
	return made.Outcome, minted, r.keepTemp(ctx, minted, keyHash)
}

// endpointHash stands for a validated endpoint in its token.
func endpointHash(endpoint string) string {
	sum := sha256.Sum256([]byte(endpoint))
	return hex.EncodeToString(sum[:])
}

// sameAsValidated refuses to register something else than was validated.
func sameAsValidated(c *Caller, p *arc.Registration) error {
	if c.kind() != kindValidated {
		return nil
	}
	claims := c.Principal.Claims
	field := ""
	switch {
	case claims["endpoint_hash"] != endpointHash(p.Endpoint):
		field = "endpoint"
	case claims["agent_type"] != p.AgentType:
		field = "agent_type"
	default:
		return nil
	}
	return arc.Refuse(arc.ProblemRegistration, "not_validated", "The token was given for another %s than this one; validate this one first", field).
		With("agent_id", p.AgentID).With("field", field)
}

// checkOnce looks at the endpoint, unless an equal request with the same
// idempotency key has done so.
func (r *Registry) checkOnce(ctx context.Context, c *Caller, p *arc.ComplianceParams, keyHash string) (*check, error) {
	made := &check{Agent: p.AgentID, Hash: keyMark(fmt.Sprintf("%q", *p)), until: r.now().Add(checkKept)}
	if c.IdempotencyKey != "" {
		made.key = p.AgentID + "\n" + keyHash + "\n" + c.IdempotencyKey
	}
	before, err := r.sameCheck(ctx, made.key)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if before.Hash != made.Hash {
			return nil, arc.Refuse(arc.ProblemDuplicateAgent, "idempotency_conflict",
				"The idempotency key was used for a different validation").
				With("agent_id", p.AgentID).With("idempotency_key", c.IdempotencyKey)
		}
		c.Replayed = true
		return before, nil
	}
	if !r.checks.begin(p.AgentID) {
		e := arc.Refuse(arc.ProblemRateLimit, "rate_limited", "Too many endpoints are being validated").With("retry_after", 2)
		e.RetryAfter = 2 * time.Second
		return nil, e
	}
	defer r.checks.end(p.AgentID)
	start := time.Now()
	warnings, found, err := r.probe(ctx, p)
	if err != nil {
		return nil, err
	}
	bits := make([]byte, 8)
	rand.Read(bits) // never fails, see crypto/rand
	took := time.Since(start).Milliseconds()
	made.Outcome = arc.Compliance{
		Status: "passed", ValidationID: "val_" + hex.EncodeToString(bits), Message: "Validation passed",
		Errors: []arc.ComplianceIssue{}, Warnings: warnings, EndpointChecks: found, DurationMS: &took,
	}
	if r.checks.keep(made.Outcome.ValidationID, made) {
		err = r.writeCheck(ctx, made)
	}
	return made, err
}

// probe looks at the endpoint and judges what was found.
func (r *Registry) probe(ctx context.Context, p *arc.ComplianceParams) ([]arc.ComplianceIssue, map[string]any, error) {
	warnings := []arc.ComplianceIssue{}
	if r.cfg.Probe == nil {
		return warnings, map[string]any{"checked": false}, nil
	}
	found := r.cfg.Probe(ctx, p.Endpoint, p.AgentID)
	if err := found.Failure; err != nil {
		if found.Refused || !r.cfg.ProbeReported {
			return nil, nil, err
		}
		warnings = append(warnings, arc.ComplianceIssue{Type: err.Reason(), Message: err.Message, Field: "endpoint"})
	}
	return warnings, map[string]any{
		"checked": true, "reached": found.Reached, "status": found.Status, "latency_ms": found.Latency.Milliseconds(),
	}, nil
}

// Validation is GET /auth/agent/validation/{validation_id}: how a validation of
// the last ten minutes ended. The token that it gave is not shown again.
//
// Errors: not-found; forbidden for another agent's.
func (r *Registry) Validation(ctx context.Context, c *Caller, id string) (*arc.Compliance, error) {
	made, err := r.checkOf(ctx, id)
	if err != nil {
		return nil, err
	}
	if made == nil || r.now().After(made.until) {
		return nil, arc.Refuse(arc.ProblemNotFound, "not_found", "There is no such validation, or no more")
	}
	if made.Agent != c.agent() {
		return nil, arc.Refuse(arc.ProblemForbidden, "forbidden", "The validation is another agent's")
	}
	outcome := made.Outcome
	return &outcome, nil
}

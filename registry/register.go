package registry

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// setTypes reads the allowed types of agents.
func (r *Registry) setTypes() error {
	for _, t := range r.cfg.Types {
		if !ValidType(t) {
			return fmt.Errorf("registry: agent type %q is not 2 to 50 letters, digits, _ and -", t)
		}
		r.types[strings.ToLower(t)] = true
	}
	return nil
}

// Register is POST /agents/register: the agent is known from then on, here and as
// a targetAgent, and gets a token of its own. The same request again, by token or
// by idempotency key, gets the same registration and another token.
//
// Errors: validation-failed; insufficient-permissions for another id than the
// token's; token-invalid TOKEN_ALREADY_USED, WRONG_TOKEN_TYPE; duplicate-agent
// DUPLICATE_AGENT, IDEMPOTENCY_CONFLICT; agent-registration-failed.
func (r *Registry) Register(ctx context.Context, c *Caller, p arc.Registration) (*arc.Registered, error) {
	a, minted, err := r.register(ctx, c, p)
	if err != nil {
		r.refusedAs(c, entry{Event: "registered", Agent: p.AgentID, Type: p.AgentType, AuthType: "agent"}, err)
		return nil, err
	}
	r.record(c, entry{Event: "registered", Agent: p.AgentID, Type: p.AgentType, AuthType: "agent",
		Detail: map[string]any{"replayed": c.Replayed, "jti_hash": auth.TokenIDHash(minted.ID), "scopes": r.agentScopes()}})
	return &arc.Registered{
		Status: "success", Message: "Agent '" + p.AgentID + "' registered", AgentID: a.Registration.AgentID,
		AccessToken: minted.Token, TokenType: "bearer", ExpiresIn: seconds(minted.Expires.Sub(minted.Issued)),
	}, nil
}

func (r *Registry) register(ctx context.Context, c *Caller, p arc.Registration) (*agent, auth.Minted, error) {
	none := auth.Minted{}
	if err := r.checkWish(c, &p); err != nil {
		return nil, none, err
	}
	keyHash, ok := r.temporary(c.Principal)
	if !ok { // taken back since the validator looked
		return nil, none, arc.Refuse(arc.ProblemToken, "token_revoked", "The token has been revoked")
	}
	wish := &agent{record: record{
		Registration: p, Incarnation: rand.Text(), KeyHash: keyHash,
		Hash: digest(&p), Token: c.Principal.TokenID, Key: c.IdempotencyKey,
	}}
	a, err := r.settleWithOthers(context.WithoutCancel(ctx), c, wish) // whoever leaves must not leave half of it
	if err != nil {
		return nil, none, err
	}
	minted, err := r.issue(r.agentGrant(a))
	return a, minted, err
}

// settleTries is how often other replicas may be faster before a registration fails.
const settleTries = 3

// settleWithOthers settles a wish by what all replicas have done.
func (r *Registry) settleWithOthers(ctx context.Context, c *Caller, wish *agent) (*agent, error) {
	r.agents.registering.Lock()
	defer r.agents.registering.Unlock()
	for range settleTries {
		if err := r.lookHeld(ctx); err != nil {
			return nil, unavailable(err)
		}
		a, err := r.settle(ctx, c, wish)
		if !errors.Is(err, errFaster) {
			return a, err
		}
	}
	return nil, unavailable(errFaster)
}

// checkWish checks all that can be checked without looking at other agents.
func (r *Registry) checkWish(c *Caller, p *arc.Registration) error {
	if issues := checkRegistration(p); len(issues) > 0 {
		return invalid(issues)
	}
	if len(r.types) > 0 && !r.types[strings.ToLower(p.AgentType)] {
		return invalid([]arc.FieldIssue{{Field: "agent_type", Issue: "is not one of the types that this server takes; see /public/agent_types"}})
	}
	if p.AgentID != c.agent() {
		return arc.Refuse(arc.ProblemPermission, "insufficient_permissions", "The token is for the agent '%s'", c.agent()).
			With("agent_id", c.agent()).With("request_agent_id", p.AgentID)
	}
	if r.cfg.RequireValidation && c.kind() != kindValidated {
		return wrongKind("the endpoint has to be validated first, at /auth/agent/validate_compliance")
	}
	if err := sameAsValidated(c, p); err != nil {
		return err
	}
	if err := checkKey(c); err != nil {
		return err
	}
	if r.cfg.Taken(p.AgentID) {
		return arc.Refuse(arc.ProblemDuplicateAgent, "duplicate_agent", "The id '%s' belongs to an agent of the server itself", p.AgentID).
			With("agent_id", p.AgentID)
	}
	return nil
}

// checkKey bounds the idempotency key, which is kept.
func checkKey(c *Caller) error {
	if len(c.IdempotencyKey) > 255 {
		return missingField("Idempotency-Key", "The header Idempotency-Key is longer than 255 bytes")
	}
	return nil
}

// digest is of what is asked for; equal registrations have equal ones.
func digest(p *arc.Registration) []byte {
	b, _ := json.Marshal(p) // checked before: numbers are finite
	sum := sha256.Sum256(b)
	return sum[:]
}

// settle finds what becomes of a wish: the agent that it made before, a new one,
// or nothing. The directory's registering is held.
func (r *Registry) settle(ctx context.Context, c *Caller, wish *agent) (*agent, error) {
	id, now, d := wish.Registration.AgentID, r.now(), &r.agents
	d.mu.RLock()
	there, total := d.byID[id], len(d.byID)
	alive := there != nil && there.status(now, r.cfg.HeartbeatTimeout) == arc.AgentAlive
	d.mu.RUnlock()
	if there != nil && there.Incarnation == wish.Incarnation { // made before its answer was lost
		return there, nil
	}
	if there != nil {
		if again, err := sameWish(c, there, wish); again || err != nil {
			return there, err
		}
	}
	switch {
	case alive:
		return nil, arc.Refuse(arc.ProblemDuplicateAgent, "duplicate_agent", "The agent '%s' is registered and alive", id).With("agent_id", id)
	case there != nil && there.KeyHash != wish.KeyHash && r.cfg.Keys.Has(there.KeyHash):
		return nil, arc.Refuse(arc.ProblemRegistration, "agent_key_mismatch",
			"The agent '%s' was registered with another agent key", id).With("agent_id", id)
	case there == nil && total >= r.cfg.MaxAgents:
		return nil, arc.Refuse(arc.ProblemRegistration, "registry_full", "The server takes no more than %d agents", r.cfg.MaxAgents).
			With("agent_id", id)
	}
	if err := r.useUp(ctx, c, wish, now); err != nil {
		return nil, err
	}
	if err := r.add(ctx, wish, there, now); err != nil {
		if c.kind() == kindValidated && !errors.Is(err, errFaster) { // nothing was made: the token is still good for it
			_, undo := r.store.Unmark(ctx, markOnce, usedUp(wish.Token))
			err = errors.Join(err, undo)
		}
		return nil, err
	}
	return wish, nil
}

// sameWish tells whether the agent that is there was made by this very request.
func sameWish(c *Caller, there, wish *agent) (bool, error) {
	if there.KeyHash != wish.KeyHash {
		return false, nil
	}
	equal := bytes.Equal(there.Hash, wish.Hash)
	named := wish.Key != "" && wish.Key == there.Key
	if named && !equal {
		return false, arc.Refuse(arc.ProblemDuplicateAgent, "idempotency_conflict",
			"The idempotency key was used for a different registration").
			With("agent_id", wish.Registration.AgentID).With("idempotency_key", wish.Key)
	}
	if equal && (named || there.Token == wish.Token) {
		c.Replayed = true
		return true, nil
	}
	return false, nil
}

// usedUp names the mark of a token that has registered an agent.
func usedUp(tokenID string) string { return "register\n" + tokenID }

// useUp makes a validated token good for one registration only.
func (r *Registry) useUp(ctx context.Context, c *Caller, wish *agent, now time.Time) error {
	if c.kind() != kindValidated {
		return nil
	}
	mine := []byte(wish.Incarnation)
	used, err := r.store.Mark(ctx, store.Mark{
		Kind: markOnce, Value: usedUp(wish.Token), Body: mine, Expires: c.Principal.Expires.Add(validatorLeeway),
	}, now)
	if err != nil {
		return err
	}
	if used != nil && !bytes.Equal(used.Body, mine) {
		return arc.Refuse(arc.ProblemToken, "token_already_used", "The token has registered an agent already").
			With("agent_id", wish.Registration.AgentID)
	}
	return nil
}

// add stores an agent, in place of a dead one with its id if there is one.
func (r *Registry) add(ctx context.Context, a, dead *agent, now time.Time) error {
	if err := r.encode(a); err != nil {
		return err
	}
	now = now.Truncate(time.Millisecond) // as the store keeps it
	a.registered, a.seen, a.heard, a.written, a.alive = arc.At(now).Time, now, now, now, true
	body, err := json.Marshal(a.record)
	if err != nil {
		return err
	}
	row := store.Agent{
		ID: a.Registration.AgentID, Type: a.Registration.AgentType, Registered: now, Updated: now,
		Seen: now, Alive: true, Texts: textsOf(&a.Registration), Body: body,
	}
	if dead != nil {
		row.Rev = dead.rev
		if mine, err := r.claim(ctx, ending(dead)); err != nil || !mine {
			return cmp.Or(err, errFaster)
		}
	}
	if err := r.holdKey(ctx, a, dead); err != nil {
		return err
	}
	stored, err := r.store.PutAgent(ctx, row)
	if errors.Is(err, store.ErrExists) || errors.Is(err, store.ErrConflict) {
		return errFaster
	}
	if err != nil {
		return fmt.Errorf("storing an agent: %w", err)
	}
	a.rev = stored.Rev
	d := &r.agents
	d.mu.Lock()
	d.drop(row.ID)
	d.byID[row.ID] = a
	d.mu.Unlock()
	if dead != nil {
		r.revoked.tell() // the tokens of the one before are over
	}
	d.tell()
	return nil
}

// holdKey pins a key for as long as the agent is registered. It is asked for again,
// since the pin of the temp token may be over, and the key another's. The key of a
// dead agent that makes way is free again, if it was another.
func (r *Registry) holdKey(ctx context.Context, a, dead *agent) error {
	if dead != nil && dead.KeyHash != a.KeyHash {
		if err := r.freeKey(ctx, dead.KeyHash, dead.Registration.AgentID); err != nil {
			return err
		}
	}
	return r.hold(ctx, a.KeyHash, a.Registration.AgentID, time.Time{})
}

// agentScopes are what every registered agent's token holds.
func (r *Registry) agentScopes() []string {
	return unique(append([]string{auth.ScopeServe, auth.ScopeNotify}, r.cfg.AgentScopes...))
}

// agentSubject is who a registered agent is, and owns what it makes on /arc. Whoever
// the operator gave the id is that agent. With a plain key the id belongs to the
// key's holder only as long as it is registered, so the key is part of the subject:
// the next holder of the id must not own what this one made.
//
// The key's part is a digest under a secret of this registry: a subject is seen by
// many, and must be of no use for guessing the key.
func (r *Registry) agentSubject(a *agent) string {
	subject := agentSubject + a.Registration.AgentID
	if r.cfg.Keys.Bound(a.KeyHash) {
		return subject
	}
	mac := hmac.New(sha256.New, r.secret)
	mac.Write([]byte(a.KeyHash))
	return subject + ":" + hex.EncodeToString(mac.Sum(nil)[:8])
}

// loadSecret reads the secret of this registry's subjects, which the first start
// makes.
func (r *Registry) loadSecret(ctx context.Context, now time.Time) error {
	fresh := make([]byte, 32)
	rand.Read(fresh) // never fails, see crypto/rand
	there, err := r.store.Mark(ctx, store.Mark{Kind: markSecret, Value: "subjects", Body: fresh}, now)
	if err != nil {
		return err
	}
	if r.secret = fresh; there != nil {
		r.secret = there.Body
	}
	return nil
}

// agentGrant is the token of a registered agent: it speaks as that agent alone.
func (r *Registry) agentGrant(a *agent) grant {
	return grant{
		kind: kindAgent, subject: r.agentSubject(a), agent: a.Registration.AgentID,
		scopes: r.agentScopes(), role: "agent", ttl: r.cfg.AgentTTL,
		more: map[string]any{"agent_type": a.Registration.AgentType, "registration": a.Incarnation},
	}
}

// Unregister is DELETE /agents/{agent_id}: the agent is forgotten, its tokens are
// revoked, its key is free.
//
// Errors: insufficient-permissions for another's agent; agent-not-found.
func (r *Registry) Unregister(ctx context.Context, c *Caller, id string) (*arc.Unregistered, error) {
	err := own(c, id)
	if err == nil {
		err = r.unregister(ctx, c, id)
	}
	if err != nil {
		r.refused(c, "unregistered", id, err)
		return nil, err
	}
	r.record(c, entry{Event: "unregistered", Agent: id, Reason: "asked"})
	return &arc.Unregistered{Status: "success", Message: "Agent '" + id + "' unregistered", By: c.agent()}, nil
}

func (r *Registry) unregister(ctx context.Context, c *Caller, id string) error {
	r.agents.registering.Lock()
	defer r.agents.registering.Unlock()
	if err := r.lookHeld(ctx); err != nil {
		return unavailable(err)
	}
	r.agents.mu.RLock()
	a, err := r.agents.find(id)
	r.agents.mu.RUnlock()
	if err != nil {
		return err
	}
	if c.kind() == kindAgent && !r.standing(c.Principal) { // while this waited, the id went to another registration
		return arc.Refuse(arc.ProblemToken, "token_revoked", "The token has been revoked")
	}
	ctx = context.WithoutCancel(ctx) // as in register
	mine, err := r.remove(ctx, a)
	if mine || err != nil {
		return err
	}
	// Another replica removes it: once that is done this call came too late.
	if err := r.lookHeld(ctx); err == nil && !r.agents.is(id, a.Incarnation) {
		return notRegistered(id)
	}
	return unavailable(errFaster)
}

// ending names the claim to end a registration.
func ending(a *agent) string { return "end\n" + a.Incarnation }

// remove takes an agent out. mine is false if another replica does. The directory's
// registering is held.
func (r *Registry) remove(ctx context.Context, a *agent) (mine bool, err error) {
	id, d := a.Registration.AgentID, &r.agents
	if mine, err = r.claim(ctx, ending(a)); err != nil || !mine {
		return false, err
	}
	if err := r.store.DeleteAgent(ctx, id, a.rev); err != nil && !errors.Is(err, store.ErrNotFound) {
		return true, errors.Join(fmt.Errorf("removing an agent: %w", err), r.disclaim(ctx, ending(a)))
	}
	d.mu.Lock()
	d.drop(id)
	d.mu.Unlock()
	r.revoked.tell()
	d.tell()
	if err := r.freeKey(ctx, a.KeyHash, id); err != nil {
		return true, fmt.Errorf("freeing an agent key: %w", err)
	}
	return true, nil
}

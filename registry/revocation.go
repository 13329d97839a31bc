package registry

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// The kinds of revocations in the store.
const (
	byTokenID = "jti"
	bySubject = "sub"
	bySession = "sid"
)

// sessionKey names a session among what is revoked by an id.
func sessionKey(id string) string { return "session\n" + id }

// validatorLeeway is how much longer than its token a revocation is kept: more
// than the largest leeway of a validator.
const validatorLeeway = 5 * time.Minute

// revocations are those of the store, in memory.
type revocations struct {
	signal

	mu       sync.RWMutex         // guards what follows
	ids      map[string]time.Time // by issuer, line feed, token id, or sessionKey: when to forget
	subjects map[string]store.Revocation
}

func (r *Registry) loadRevocations(ctx context.Context, now time.Time) error {
	rows, err := r.store.Revocations(ctx, now)
	if err != nil {
		return err
	}
	r.revoked.begin(len(rows))
	for _, row := range rows {
		r.revoked.add(row)
	}
	return nil
}

// begin makes the maps. What is in them stays: revocations only grow.
func (r *revocations) begin(size int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ids == nil {
		r.ids, r.subjects = make(map[string]time.Time, size), make(map[string]store.Revocation)
	}
}

func (r *revocations) add(row store.Revocation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if row.Kind == bySubject {
		there := r.subjects[row.Value]
		row.Before, row.Expires = later(there.Before, row.Before), later(there.Expires, row.Expires)
		r.subjects[row.Value] = row
		return
	}
	r.ids[row.Value] = later(r.ids[row.Value], row.Expires)
}

// later is the later time; as in the store, it counts of two equal revocations.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// forget drops revocations of tokens that have expired anyway.
func (r *revocations) forget(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, expires := range r.ids {
		if now.After(expires) {
			delete(r.ids, key)
		}
	}
	for key, row := range r.subjects {
		if now.After(row.Expires) {
			delete(r.subjects, key)
		}
	}
}

// revoke stores a revocation and wakes whoever holds a connection open.
func (r *Registry) revoke(ctx context.Context, row store.Revocation) error {
	if err := r.store.Revoke(ctx, row); err != nil {
		return err
	}
	r.revoked.add(row)
	r.revoked.tell()
	return nil
}

// RevokeToken makes the principal's token invalid, at once and for good. Its
// issuer and token id name it.
//
// Errors: invalid-input if the token has no id; errors of the store.
func (r *Registry) RevokeToken(ctx context.Context, p *auth.Principal) error {
	if p.TokenID == "" {
		return arc.Refuse(arc.ProblemInput, "invalid_input", "the token has no jti and cannot be revoked").With("field", "token")
	}
	return r.revoke(ctx, store.Revocation{
		Kind: byTokenID, Value: p.Issuer + "\n" + p.TokenID, Expires: p.Expires.Add(validatorLeeway),
	})
}

// Revocations gives a channel that is closed when the next token stops being
// good before its time. Whoever keeps a connection open on a token judges it
// again then.
func (r *Registry) Revocations() <-chan struct{} { return r.revoked.next() }

// Revoked tells whether the principal's token was taken back, or the session,
// registration or agent key that it stands on is gone. The validator asks it on
// every call. An error is that it cannot be known now, because other replicas may
// have revoked it; the answer is true then, for whoever does not look at errors.
func (r *Registry) Revoked(ctx context.Context, p *auth.Principal) (bool, error) {
	if err := r.known(ctx); err != nil {
		return true, err
	}
	if !r.over(p) {
		return false, nil
	}
	if r.revoked.has(p) || !r.mayBeNew(p) {
		return true, nil
	}
	if err := r.look(ctx); err != nil {
		return true, err
	}
	return r.over(p), nil
}

// over is Revoked as far as memory knows.
func (r *Registry) over(p *auth.Principal) bool {
	if r.revoked.has(p) {
		return true
	}
	if p.Provider != auth.IssuerName {
		return false
	}
	switch kind, _ := p.Claims["token_type"].(string); kind {
	case kindAgent:
		return !r.standing(p)
	case kindAdmin:
		return r.session(p) == nil
	case kindTemp, kindValidated:
		_, ok := r.temporary(p)
		return !ok
	}
	return false
}

// hasSession tells whether a session was ended.
func (r *revocations) hasSession(id string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.ids[sessionKey(id)]
	return ok
}

func (r *revocations) has(p *auth.Principal) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if len(r.ids) > 0 && p.TokenID != "" {
		if _, ok := r.ids[p.Issuer+"\n"+p.TokenID]; ok {
			return true
		}
	}
	if len(r.subjects) == 0 {
		return false
	}
	owner := p.Owner()
	if r.hasSubject(owner, p) {
		return true
	}
	// An agent's subject may name its key too, behind one more colon; who revokes the
	// agent means it with any key.
	keyed := strings.HasPrefix(p.Subject, agentSubject) && strings.Count(p.Subject, ":") > 1
	return keyed && r.hasSubject(owner[:strings.LastIndexByte(owner, ':')], p)
}

// hasSubject tells whether the tokens of a subject were revoked after the principal's
// was issued. The lock is held.
func (r *revocations) hasSubject(owner string, p *auth.Principal) bool {
	row, ok := r.subjects[owner]
	// Dates in tokens are whole seconds: those of the very second of the revocation
	// count as from before.
	return ok && !p.IssuedAt.After(row.Before)
}

// Revoke takes back a token, given whole or by its id, or all tokens of a
// subject that arcd's issuer gave out until now (POST /tokens/revoke, an
// extension for administrators). What is revoked stays so: doing it again
// changes nothing.
//
// token is the principal of p.Token, which the caller of this method validated;
// nil if p.Token is no good token, and then nothing is left to do.
//
// Errors: invalid-input unless exactly one member is given.
func (r *Registry) Revoke(ctx context.Context, c *Caller, p arc.RevokeParams, token *auth.Principal) (*arc.Status, error) {
	given := 0
	for _, s := range []string{p.Token, p.TokenID, p.Subject} {
		if s != "" {
			given++
		}
	}
	if given != 1 {
		return nil, missingField("token", "send exactly one of token, token_id and subject")
	}
	issuer, now := r.cfg.Issuer.Provider().Issuer, r.now()
	var err error
	line, done := entry{Event: "token_revoked", Detail: map[string]any{}}, "The token was over already"
	switch {
	case p.Subject != "":
		done = "All tokens that the subject '" + p.Subject + "' was given until now are revoked, if there are any"
		line.Detail["subject"] = p.Subject
		err = r.revoke(ctx, store.Revocation{
			Kind: bySubject, Value: issuer + "\n" + p.Subject, Before: now, Expires: now.Add(longestLife + validatorLeeway),
		})
	case p.TokenID != "":
		done = "The token of that id is revoked, if there is one"
		line.Detail["jti_hash"] = auth.TokenIDHash(p.TokenID)
		err = r.revoke(ctx, store.Revocation{
			Kind: byTokenID, Value: issuer + "\n" + p.TokenID, Expires: now.Add(longestLife + validatorLeeway),
		})
	case token != nil:
		done = "The token of '" + token.Subject + "' is revoked"
		line.Detail["jti_hash"] = auth.TokenIDHash(token.TokenID)
		err = r.RevokeToken(ctx, token)
	}
	if err != nil {
		return nil, err
	}
	r.record(c, line)
	return &arc.Status{Status: "success", Message: done}, nil
}

// longestLife is the most that a token of arcd's own issuer lives.
const longestLife = 31 * 24 * time.Hour

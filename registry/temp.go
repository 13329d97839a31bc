package registry

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// temps are the tokens for registering that may still be in use, by id.
type temps struct {
	mu    sync.RWMutex // guards what follows
	byID  map[string]tempToken
	byKey map[string]int // how many stand on an agent key
}

// maxTemps bounds the tokens for registering that stand on one agent key.
const maxTemps = 200

// tempToken is what the server knows of a token for registering and the token
// does not say.
type tempToken struct {
	keyHash string
	expires time.Time
}

func (r *Registry) loadTemps(ctx context.Context, now time.Time) error {
	marks, err := r.store.Marks(ctx, markTemp, now)
	if err != nil {
		return err
	}
	r.temps.begin(len(marks))
	for _, m := range marks {
		r.temps.add(m.Value, tempToken{string(m.Body), m.Expires})
	}
	return nil
}

// begin makes the maps. What is in them stays: the tokens end by the clock.
func (t *temps) begin(size int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.byID == nil {
		t.byID, t.byKey = make(map[string]tempToken, size), make(map[string]int)
	}
}

func (t *temps) add(id string, token tempToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, there := t.byID[id]; there {
		return
	}
	t.byID[id] = token
	t.byKey[token.keyHash]++
}

// wait gives the time, in whole seconds, until an agent key can have one more
// token: until the first that it has is forgotten. Zero: now.
func (t *temps) wait(keyHash string, now time.Time) time.Duration {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.byKey[keyHash] < maxTemps {
		return 0
	}
	first := now.Add(longestLife)
	for _, token := range t.byID {
		if token.keyHash == keyHash && token.expires.Before(first) {
			first = token.expires
		}
	}
	return max(first.Sub(now), 0).Truncate(time.Second) + pruneEvery
}

func (t *temps) forget(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, token := range t.byID {
		if now.After(token.expires) {
			delete(t.byID, id)
			if t.byKey[token.keyHash]--; t.byKey[token.keyHash] == 0 {
				delete(t.byKey, token.keyHash)
			}
		}
	}
}

// temporary gives the hash of the agent key that a token for registering stands
// on; false if the key does not count any more.
func (r *Registry) temporary(p *auth.Principal) (keyHash string, ok bool) {
	r.temps.mu.RLock()
	token, ok := r.temps.byID[p.TokenID]
	r.temps.mu.RUnlock()
	return token.keyHash, ok && r.cfg.Keys.Has(token.keyHash)
}

// keepTemp notes which key a token for registering stands on.
func (r *Registry) keepTemp(ctx context.Context, m auth.Minted, keyHash string) error {
	token := tempToken{keyHash, m.Expires.Add(validatorLeeway)}
	if err := r.store.SetMark(ctx, store.Mark{Kind: markTemp, Value: m.ID, Body: []byte(keyHash), Expires: token.expires}); err != nil {
		return err
	}
	r.temps.add(m.ID, token)
	return nil
}

// RequestTempToken is POST /auth/agent/request_temp_token: an agent that proves a
// key gets a token to register with. A key that is for any agent belongs from
// then on to this one: for as long as the token lives, and if it registers until
// it is unregistered.
//
// Errors: invalid-input for a missing field; validation-failed;
// authentication-failed INVALID_AGENT_KEY; rate-limit-exceeded;
// agent-registration-failed AGENT_KEY_IN_USE.
func (r *Registry) RequestTempToken(ctx context.Context, c *Caller, p arc.TempTokenParams) (*arc.TempToken, error) {
	minted, err := r.requestTemp(ctx, c, p)
	if err != nil {
		r.refusedAs(c, entry{Event: "token_issued", Actor: tempSubject + p.AgentID, Agent: p.AgentID, AuthType: "agent"}, err)
		return nil, err
	}
	r.record(c, entry{Event: "token_issued", Actor: tempSubject + p.AgentID, Agent: p.AgentID, AuthType: "agent",
		Detail: map[string]any{"kind": kindTemp, "jti_hash": auth.TokenIDHash(minted.ID)}})
	return &arc.TempToken{
		TempToken: minted.Token, AccessToken: minted.Token, TokenType: "bearer",
		ExpiresIn: seconds(minted.Expires.Sub(minted.Issued)),
		Message:   "Temporary token issued; it is for validation and registration",
	}, nil
}

func (r *Registry) requestTemp(ctx context.Context, c *Caller, p arc.TempTokenParams) (auth.Minted, error) {
	for _, field := range []struct{ name, value string }{
		{"agent_id", p.AgentID}, {"agent_type", p.AgentType}, {"agent_key", p.AgentKey},
	} {
		if field.value == "" {
			return auth.Minted{}, missingField(field.name, "The field '"+field.name+"' is missing")
		}
	}
	if issues := checkTempToken(&p); len(issues) > 0 {
		return auth.Minted{}, invalid(issues)
	}
	key, err := r.cfg.Keys.Check(p.AgentID, p.AgentKey, c.Remote)
	if err != nil {
		return auth.Minted{}, err
	}
	if wait := r.temps.wait(key.Hash, r.now()); wait > 0 {
		e := arc.Refuse(arc.ProblemRateLimit, "rate_limited", "The agent key has %d tokens for registering already; they expire", maxTemps).
			With("retry_after", seconds(wait))
		e.RetryAfter = wait
		return auth.Minted{}, e
	}
	if key.Agent == "" {
		if err := r.pin(ctx, key.Hash, p.AgentID); err != nil {
			return auth.Minted{}, err
		}
	}
	minted, err := r.issue(grant{
		kind: kindTemp, subject: tempSubject + p.AgentID, agent: p.AgentID, role: "agent",
		audience: AudienceValidate, ttl: r.cfg.TempTTL,
		more: map[string]any{"agent_type": p.AgentType, "temp_registration": true},
	})
	if err != nil {
		return minted, err
	}
	return minted, r.keepTemp(ctx, minted, key.Hash)
}

// pin makes a key that is for any agent this agent's, for as long as a temp token
// lives. A registration makes it so without an end.
func (r *Registry) pin(ctx context.Context, keyHash, agent string) error {
	r.agents.registering.Lock()
	defer r.agents.registering.Unlock()
	return r.hold(ctx, keyHash, agent, r.now().Add(r.cfg.TempTTL))
}

// hold pins a key to an agent until then, the zero time for ever, unless it is
// another's. A pin that lasts longer stays as it is. The directory's registering is
// held.
func (r *Registry) hold(ctx context.Context, keyHash, agent string, until time.Time) error {
	m := store.Mark{Kind: markPin, Value: keyHash, Body: r.pinBody(agent), Expires: until}
	there, err := r.store.Mark(ctx, m, r.now())
	if err != nil || there == nil {
		return err
	}
	lasts := there.Expires.IsZero()
	if owner, _ := readPin(there.Body); owner != agent {
		free, err := r.leftOver(ctx, there)
		if err != nil {
			return err
		}
		if !free {
			return arc.Refuse(arc.ProblemRegistration, "agent_key_in_use", "The agent key belongs to another agent").With("agent_id", agent)
		}
		return r.store.SetMark(ctx, m)
	}
	if lasts || !until.IsZero() && !there.Expires.Before(until) {
		return nil
	}
	return r.store.SetMark(ctx, m)
}

// pinBody is what a pin says: its agent and, where replicas could meet at it, when it
// was made.
func (r *Registry) pinBody(agent string) []byte {
	if r.cfg.Alone {
		return []byte(agent)
	}
	return []byte(agent + "\n" + strconv.FormatInt(r.now().UnixMilli(), 10))
}

// readPin gives the agent of a pin, and when it was made; the zero time if it does not
// say so.
func readPin(body []byte) (agent string, made time.Time) {
	agent, text, _ := strings.Cut(string(body), "\n")
	if ms, err := strconv.ParseInt(text, 10, 64); err == nil {
		made = time.UnixMilli(ms)
	}
	return agent, made
}

// leftOver tells whether a pin may be taken over: it has no end, but its agent is not
// registered with the key. That is of a registration that failed, or of an agent that
// was not quite removed. A pin is made before its registration: where that may be
// under way on another replica, it has a minute. The directory's registering is held.
func (r *Registry) leftOver(ctx context.Context, pin *store.Mark) (bool, error) {
	if !pin.Expires.IsZero() {
		return false, nil
	}
	if err := r.lookHeld(ctx); err != nil {
		return false, unavailable(err)
	}
	owner, made := readPin(pin.Body)
	if r.agents.standsOn(owner, pin.Value) || !r.cfg.Alone && r.now().Sub(made) < time.Minute {
		return false, nil
	}
	return r.claim(ctx, "pin\n"+pin.Value+"\n"+string(pin.Body))
}

// freeKey ends the pin of a key, if it is this agent's.
func (r *Registry) freeKey(ctx context.Context, keyHash, agent string) error {
	pin, err := r.store.FindMark(ctx, markPin, keyHash, r.now())
	if err != nil || pin == nil {
		return err
	}
	if owner, _ := readPin(pin.Body); owner == agent {
		_, err = r.store.Unmark(ctx, markPin, keyHash)
	}
	return err
}

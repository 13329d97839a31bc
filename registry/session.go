package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// session is an administrator's login. Its id is in the tokens; what binds it to
// the client is not.
type session struct {
	ID          string    `json:"-"`
	User        string    `json:"user"`
	Account     string    `json:"account"`     // stamp of the account, which changes with its password
	Fingerprint []byte    `json:"fingerprint"` // digest, see bound
	Begun       time.Time `json:"begun"`
	Expires     time.Time `json:"-"`
}

// sessions are those that are open, by id.
type sessions struct {
	opening sync.Mutex // held while one is opened or ended, across its writes

	mu   sync.RWMutex // guards byID
	byID map[string]*session
}

func (r *Registry) loadSessions(ctx context.Context, now time.Time) error {
	marks, err := r.store.Marks(ctx, markSession, now)
	if err != nil {
		return err
	}
	byID := make(map[string]*session, len(marks))
	for _, m := range marks {
		if byID[m.Value], err = readSession(m); err != nil {
			return err
		}
	}
	r.sessions.mu.Lock()
	defer r.sessions.mu.Unlock()
	r.sessions.byID = byID
	return nil
}

// readSession reads what keepSession wrote.
func readSession(m store.Mark) (*session, error) {
	s := &session{ID: m.Value, Expires: m.Expires}
	if err := json.Unmarshal(m.Body, s); err != nil {
		return nil, fmt.Errorf("session %s: %w", m.Value, err)
	}
	return s, nil
}

func (l *sessions) forget(now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, s := range l.byID {
		if now.After(s.Expires.Add(validatorLeeway)) {
			delete(l.byID, id)
		}
	}
}

// maxFingerprint is the longest fingerprint in bytes.
const maxFingerprint = 512

// bound is the digest of a client's fingerprint within a session.
func bound(id, fingerprint string) []byte {
	sum := sha256.Sum256([]byte("arcd session\n" + id + "\n" + fingerprint))
	return sum[:]
}

// Login is POST /auth/login: an administrator gets a token whose session is
// bound to the client's fingerprint. The order of checks tells nothing about
// accounts: form, then fingerprint, then credentials (contract section 1.1).
//
// Errors: authentication-failed AGENT_LOGIN_BLOCKED, FINGERPRINT_REQUIRED,
// INVALID_CREDENTIALS; invalid-input for a missing field; validation-failed;
// rate-limit-exceeded.
func (r *Registry) Login(ctx context.Context, c *Caller, p arc.LoginParams) (*arc.TokenGrant, error) {
	minted, err := r.login(ctx, c, p)
	if err != nil {
		r.refusedAs(c, entry{Event: "login", Actor: adminSubject + p.Username, AuthType: "admin"}, err)
		return nil, err
	}
	r.record(c, entry{Event: "login", Actor: adminSubject + p.Username, AuthType: "admin",
		Detail: map[string]any{"jti_hash": auth.TokenIDHash(minted.ID)}})
	return granted(minted, adminAgent+p.Username), nil
}

// adminAgent begins the agent id of administrators (contract section 1.1).
const adminAgent = "user_"

// adminScopes are what the published server gives to administrators. None is of
// ARC: an administrator of agents is no caller of them.
var adminScopes = []string{"admin", "agent_management"}

func (r *Registry) login(ctx context.Context, c *Caller, p arc.LoginParams) (auth.Minted, error) {
	if p.AgentID != "" || p.AgentType != "" || p.AgentKey != "" {
		return auth.Minted{}, arc.Refuse(arc.ProblemAuthentication, "agent_login_blocked",
			"Direct agent login not allowed. Use agent registration flow with valid agent key")
	}
	if p.Username == "" || p.Password == "" {
		name := "username"
		if p.Username != "" {
			name = "password"
		}
		return auth.Minted{}, missingField(name, "The field '"+name+"' is missing")
	}
	if issues := checkLogin(&p); len(issues) > 0 {
		return auth.Minted{}, invalid(issues)
	}
	if strings.TrimSpace(c.Fingerprint) == "" {
		return auth.Minted{}, arc.Refuse(arc.ProblemAuthentication, "fingerprint_required",
			"X-Client-Fingerprint header is required for session binding")
	}
	if len(c.Fingerprint) > maxFingerprint {
		return auth.Minted{}, missingField("X-Client-Fingerprint", "The header X-Client-Fingerprint is too long")
	}
	account, err := r.cfg.Issuer.Login(p.Username, p.Password, c.Remote)
	if err != nil {
		return auth.Minted{}, err
	}
	if err := r.look(ctx); err != nil { // the account's other sessions count
		return auth.Minted{}, unavailable(err)
	}
	return r.openSession(ctx, p.Username, account.Stamp(), c.Fingerprint)
}

// openSession makes a session and its token. Of one administrator's, the oldest
// beyond the most end.
func (r *Registry) openSession(ctx context.Context, user, account, fingerprint string) (auth.Minted, error) {
	l := &r.sessions
	l.opening.Lock()
	defer l.opening.Unlock()
	s := &session{ID: rand.Text(), User: user, Account: account, Begun: r.now()}
	s.Fingerprint = bound(s.ID, fingerprint)
	minted, err := r.issue(grant{
		kind: kindAdmin, subject: adminSubject + user, agent: adminAgent + user, scopes: adminScopes, role: "admin",
		ttl: r.cfg.SessionTTL, more: map[string]any{"sid": s.ID},
	})
	if err != nil {
		return minted, err
	}
	s.Expires = minted.Expires
	for _, old := range l.beyond(user, r.cfg.MaxSessions-1) {
		if err := r.endSession(ctx, old); err != nil {
			return minted, err
		}
	}
	return minted, r.keepSession(ctx, s)
}

func (r *Registry) keepSession(ctx context.Context, s *session) error {
	body, err := json.Marshal(s)
	if err != nil {
		return err
	}
	// Kept as long as a validator may take its token, so that the answer is
	// "expired" and not "unknown".
	m := store.Mark{Kind: markSession, Value: s.ID, Body: body, Expires: s.Expires.Add(validatorLeeway)}
	if err := r.store.SetMark(ctx, m); err != nil {
		return err
	}
	r.sessions.mu.Lock()
	defer r.sessions.mu.Unlock()
	r.sessions.byID[s.ID] = s
	return nil
}

// beyond gives the ids of a user's sessions, the newest most of them left out.
func (l *sessions) beyond(user string, most int) []string {
	l.mu.RLock()
	defer l.mu.RUnlock()
	var own []*session
	for _, s := range l.byID {
		if s.User == user {
			own = append(own, s)
		}
	}
	slices.SortFunc(own, func(a, b *session) int { return b.Begun.Compare(a.Begun) })
	var ids []string
	for _, s := range own[min(max(most, 0), len(own)):] {
		ids = append(ids, s.ID)
	}
	return ids
}

// closeSession is endSession for those who do not hold sessions.opening. Without
// it, a refresh that is under way would write the session once more.
func (r *Registry) closeSession(ctx context.Context, id string) error {
	r.sessions.opening.Lock()
	defer r.sessions.opening.Unlock()
	return r.endSession(ctx, id)
}

// endSession ends a session; all its tokens end with it. The sessions' opening is
// held. That it has ended is written down too: another replica that prolongs it right
// now does not bring it back.
func (r *Registry) endSession(ctx context.Context, id string) error {
	if !r.cfg.Alone {
		expires := r.now().Add(r.cfg.SessionTTL + 2*validatorLeeway)
		if err := r.revoke(ctx, store.Revocation{Kind: bySession, Value: sessionKey(id), Expires: expires}); err != nil {
			return err
		}
	}
	if _, err := r.store.Unmark(ctx, markSession, id); err != nil {
		return err
	}
	r.sessions.mu.Lock()
	delete(r.sessions.byID, id)
	r.sessions.mu.Unlock()
	r.revoked.tell()
	return nil
}

// prolong lets a session last as long as its newest token.
func (r *Registry) prolong(ctx context.Context, p *auth.Principal, expires time.Time) error {
	r.sessions.opening.Lock()
	defer r.sessions.opening.Unlock()
	s := r.session(p)
	if s == nil {
		return sessionInvalid()
	}
	longer := *s
	longer.Expires = expires
	return r.keepSession(ctx, &longer)
}

// session gives the session of an administrator's token; nil if it is over, or its
// account is gone or has another password.
func (r *Registry) session(p *auth.Principal) *session {
	id, _ := p.Claims["sid"].(string)
	r.sessions.mu.RLock()
	s := r.sessions.byID[id]
	r.sessions.mu.RUnlock()
	if s == nil || r.revoked.hasSession(id) || p.Subject != adminSubject+s.User || s.Account == "" || s.Account != r.cfg.Issuer.AdminStamp(s.User) {
		return nil
	}
	return s
}

// checkSession tells whether an administrator's call belongs to the login that
// its token came from.
func (r *Registry) checkSession(c *Caller, absentOK bool) error {
	s := r.session(c.Principal)
	switch {
	case s == nil:
		return sessionInvalid()
	case !r.now().Before(s.Expires.Add(validatorLeeway)):
		return arc.Refuse(arc.ProblemSessionExpired, "session_expired", "The session has ended; log in again").
			With("session_timeout", seconds(r.cfg.SessionTTL))
	case c.Fingerprint == "" && absentOK:
		return nil
	case subtle.ConstantTimeCompare(bound(s.ID, c.Fingerprint), s.Fingerprint) != 1:
		return sessionInvalid()
	}
	return nil
}

// sessionInvalid is one answer to an unknown session and a wrong or absent
// fingerprint.
func sessionInvalid() *arc.Error {
	return arc.Refuse(arc.ProblemSession, "session_invalid",
		"The session is not valid: the X-Client-Fingerprint of the login is needed, or another login")
}

// Logout is POST /auth/logout: the session ends with all its tokens. The token of
// an agent or a minted one can be given up here too.
//
// Errors: those of [Registry.Admit].
func (r *Registry) Logout(ctx context.Context, c *Caller) (*arc.Status, error) {
	if c.kind() == kindAdmin {
		id, _ := c.Principal.Claims["sid"].(string)
		if err := r.closeSession(ctx, id); err != nil {
			return nil, err
		}
	}
	if err := r.RevokeToken(ctx, c.Principal); err != nil {
		return nil, err
	}
	r.record(c, entry{Event: "logout", Agent: c.agent(), Detail: map[string]any{"jti_hash": auth.TokenIDHash(c.Principal.TokenID)}})
	return &arc.Status{Status: "success", Message: "Logged out"}, nil
}

// SessionStatus is GET /auth/session_status.
func (r *Registry) SessionStatus(c *Caller) (*arc.SessionStatus, error) {
	s := r.session(c.Principal)
	if s == nil {
		return nil, sessionInvalid()
	}
	return &arc.SessionStatus{
		Valid: true, UserID: s.User, Role: "admin", AgentID: adminAgent + s.User, Expires: c.Principal.Expires.Unix(),
		IsAdmin: true, SessionExists: true,
	}, nil
}

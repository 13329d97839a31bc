package methods

import (
	"context"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// revocations is the set of revoked tokens in memory; the store has it too.
type revocations struct {
	mu  sync.RWMutex // guards ids
	ids map[string]time.Time
}

func loadRevocations(ctx context.Context, st store.Store, now time.Time) (*revocations, error) {
	rows, err := st.Revocations(ctx, now)
	if err != nil {
		return nil, err
	}
	r := &revocations{ids: make(map[string]time.Time, len(rows))}
	for _, row := range rows {
		r.ids[row.Value] = row.Expires
	}
	return r, nil
}

// RevokeToken makes the principal's token invalid, at once and for good. Its
// issuer and token id name it.
//
// Errors: -32602 if the token has no id; errors of the store.
func (s *Service) RevokeToken(ctx context.Context, p *auth.Principal) error {
	if p.TokenID == "" {
		return arc.InvalidParam("token", "has no jti and cannot be revoked")
	}
	key := p.Issuer + "\n" + p.TokenID
	// Kept somewhat longer than the token lives, for the validators' leeway.
	expires := p.Expires.Add(5 * time.Minute)
	if err := s.store.Revoke(ctx, store.Revocation{Kind: "jti", Value: key, Expires: expires}); err != nil {
		return err
	}
	s.revoked.mu.Lock()
	defer s.revoked.mu.Unlock()
	s.revoked.ids[key] = expires
	return nil
}

// Revoked tells whether the principal's token was revoked.
func (s *Service) Revoked(p *auth.Principal) bool {
	if p.TokenID == "" {
		return false
	}
	s.revoked.mu.RLock()
	defer s.revoked.mu.RUnlock()
	if len(s.revoked.ids) == 0 {
		return false
	}
	_, ok := s.revoked.ids[p.Issuer+"\n"+p.TokenID]
	return ok
}

// forgetExpired drops revocations of tokens that have expired anyway.
func (r *revocations) forgetExpired(now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, expires := range r.ids {
		if now.After(expires) {
			delete(r.ids, key)
		}
	}
}

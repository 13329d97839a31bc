package credential

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/arcd-io/arcd/client"
)

// Source gives the credential of a target to a [client.Client], as its
// TokenSource. With Auto it refreshes an expired one, with one token request for
// any number of goroutines and processes. It must not be copied after its first
// use.
type Source struct {
	// Store and Target are needed.
	Store  *Store
	Target Target
	// Auto refreshes without being asked (--auto-refresh). Default: the caller
	// gets the server's refusal.
	Auto bool
	// Refreshed, if not nil, is called when another token than before is used
	// because of a refresh. It may be called from several goroutines.
	Refreshed func(*Result)

	mu   sync.Mutex // guards what follows
	used *Credential
}

var _ client.RenewingSource = (*Source)(nil)

// Credential gives the credential in use; the first time, and after it has run
// out, it is resolved. Errors are those of [Store.Resolve].
func (s *Source) Credential(ctx context.Context) (*Credential, error) {
	s.mu.Lock()
	c := s.used
	s.mu.Unlock()
	if c != nil && !c.dead(s.Store.now()) {
		return c, nil
	}
	c, err := s.Store.Resolve(ctx, s.Target)
	if err != nil {
		return nil, err
	}
	s.use(c)
	return c, nil
}

func (s *Source) use(c *Credential) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used = c
}

// Token gives the token to send. expired is "", or a token that the server has
// called expired. Without Auto there is no other one, [client.ErrNoNewToken], but
// the token is marked as by [Store.MarkExpired], so that a refresh that follows
// does not call it good. With Auto the error is that too where nothing can be
// refreshed with, else that of [Store.Refresh].
func (s *Source) Token(ctx context.Context, expired string) (string, error) {
	c, err := s.Credential(ctx)
	none, missing := errors.AsType[*NoneError](err)
	if err != nil && !(missing && none.Mintable && s.Auto) {
		return "", err
	}
	if c != nil && c.Token != expired && !(s.Auto && c.dead(s.Store.now())) {
		return c.Token, nil // also when somebody else has refreshed it meanwhile
	}
	if !s.Auto {
		if err := s.Store.MarkExpired(ctx, expired); err != nil {
			return "", fmt.Errorf("%w: marking the expired one: %w", client.ErrNoNewToken, err)
		}
		return "", client.ErrNoNewToken
	}
	r, err := s.Store.Refresh(ctx, s.Target, RefreshOptions{Failed: expired})
	if errors.Is(err, ErrNotRefreshable) {
		if expired == "" && c != nil { // the server may still take it
			return c.Token, nil
		}
		return "", fmt.Errorf("%w: %w", client.ErrNoNewToken, err)
	}
	if err != nil {
		return "", err
	}
	s.use(r.Credential)
	if s.Refreshed != nil && (c == nil || r.Credential.Token != c.Token) {
		s.Refreshed(r)
	}
	return r.Credential.Token, nil
}

// Renew gives another token than one that is still good: the one that somebody else
// has put in its place, or with Auto that of a refresh. Without either the error is
// [client.ErrNoNewToken]. The token counts as good all the same.
func (s *Source) Renew(ctx context.Context, token string) (string, error) {
	c, err := s.Store.Resolve(ctx, s.Target)
	if err != nil {
		return "", err
	}
	if c.Token != token && !c.dead(s.Store.now()) {
		s.use(c)
		return c.Token, nil
	}
	if !s.Auto {
		return "", client.ErrNoNewToken
	}
	r, err := s.Store.Refresh(ctx, s.Target, RefreshOptions{Force: true})
	if errors.Is(err, ErrNotRefreshable) || errors.Is(err, ErrOtherIdentity) {
		return "", fmt.Errorf("%w: %w", client.ErrNoNewToken, err)
	}
	if err != nil {
		return "", err
	}
	s.use(r.Credential)
	if s.Refreshed != nil && r.Credential.Token != token {
		s.Refreshed(r)
	}
	return r.Credential.Token, nil
}

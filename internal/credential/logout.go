package credential

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"
)

// LogoutOptions says how far a logout goes. The zero value: all the way.
type LogoutOptions struct {
	// Local leaves the server out: nothing is revoked.
	Local bool
	// DryRun changes nothing and calls nobody; the effect is what would happen.
	DryRun bool
}

// LogoutResult is the outcome of a logout.
type LogoutResult struct {
	// Effect is [Deleted], or [Noop] if there was nothing.
	Effect Effect
	// Source is what was deleted, as of [Credential.Source]; "" for nothing.
	Source string
	// Revoked: the server took the token back. RevokeErr says why it did not,
	// where it was asked to.
	Revoked   bool
	RevokeErr error
	// KeyringErr says why secrets stayed in the keyring.
	KeyringErr error
	// Remains names the setting that still gives a token (ARCD_TOKEN,
	// ARCD_TOKEN_FILE); "" for none.
	Remains string
}

// revokeWait bounds what a logout asks of the server.
const revokeWait = 10 * time.Second

// Logout takes the target's credential back at the server, as far as it has a way
// for that, and deletes it here: the secrets in the keyring, a device login under
// way, and what succeeds tokens of the environment with the same identity. What
// the server says does not hold the rest up. Errors are those of storing.
func (s *Store) Logout(ctx context.Context, t Target, o LogoutOptions) (*LogoutResult, error) {
	r := &LogoutResult{Effect: Noop, Remains: s.remains()}
	st, err := s.load()
	if err != nil {
		return nil, err
	}
	if len(s.doomed(t, st)) == 0 && st.Devices[t.key()] == nil {
		return r, nil
	}
	r.Effect, r.Source = Deleted, t.label()
	if o.DryRun {
		return r, nil
	}
	err = s.holdingAll(ctx, append(s.doomed(t, st), t.key()), func() error {
		if st, err = s.load(); err != nil {
			return err
		}
		keys := s.doomed(t, st)
		if !o.Local {
			s.revokeAll(ctx, t, st, keys, r)
		}
		return s.forget(ctx, t, keys, r)
	})
	return r, err
}

// holdingAll runs do while no other process gets a token for any of the
// credentials: a refresh under way would put back what a logout deletes. Others
// hold one such lock at a time, so the order does not matter.
func (s *Store) holdingAll(ctx context.Context, keys []string, do func() error) error {
	if len(keys) == 0 {
		return do()
	}
	rest := slices.DeleteFunc(slices.Clone(keys[1:]), func(key string) bool { return key == keys[0] })
	return s.holding(ctx, keys[0], func() error { return s.holdingAll(ctx, rest, do) })
}

// doomed gives the keys of the credentials that go: the target's own, and those
// that stand in for tokens of the same identity or of the environment.
func (s *Store) doomed(t Target, st *state) []string {
	server := serverID(t.Server)
	var keys []string
	lineages := map[string]bool{}
	if e := st.Credentials[t.key()]; e != nil {
		keys = append(keys, t.key())
		lineages[e.identity().lineage(server)] = true
	}
	t.Token = Origin{}
	if given, err := s.presented(t, st); err == nil && given != nil {
		lineages[given.Facts.lineage(server)] = true
	}
	for _, lineage := range slices.Sorted(maps.Keys(lineages)) {
		if key := "lineage:" + lineage; lineage != "" && st.Credentials[key] != nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// remains names the setting that gives a token whatever is stored.
func (s *Store) remains() string {
	for _, name := range []string{EnvToken, EnvTokenFile} {
		if lookup(s.Environ, name) != "" {
			return name
		}
	}
	return ""
}

// revokeAll takes back what the server gave. A token that somebody else got is
// left alone.
func (s *Store) revokeAll(ctx context.Context, t Target, st *state, keys []string, r *LogoutResult) {
	ctx, cancel := context.WithTimeout(ctx, revokeWait)
	defer cancel()
	var failures []error
	for _, key := range keys {
		e := st.Credentials[key]
		sec, err := s.open(ctx, key, e)
		if err != nil || e.Grant == grantToken || sec.AccessToken == "" && sec.RefreshToken == "" {
			continue
		}
		done, err := s.revokeOne(ctx, t, e, sec)
		r.Revoked = r.Revoked || done
		failures = append(failures, err)
	}
	r.RevokeErr = errors.Join(failures...)
}

// revokeOne takes one credential back and tells whether it could.
func (s *Store) revokeOne(ctx context.Context, t Target, e *entry, sec *secrets) (bool, error) {
	if e.Grant == grantRegistry {
		c, _, err := s.caller(e, sec.AccessToken)
		if err == nil {
			err = c.Logout(ctx)
		}
		return err == nil, err
	}
	if e.RevocationURL == "" {
		found, err := s.discover(ctx, t.Server)
		if errors.Is(err, ErrNotRefreshable) || err == nil && (found.RevocationEndpoint == "" || found.TokenEndpoint != e.TokenURL) {
			return false, nil // there is no such way
		}
		if err != nil {
			return false, err
		}
		e.RevocationURL = found.RevocationEndpoint
	}
	secret, _ := s.clientSecret(e, sec) // without one the server decides
	token, hint := sec.RefreshToken, "refresh_token"
	if token != "" { // its access tokens end with it (RFC 7009 section 2.1)
		if err := s.revoke(ctx, e, token, hint, secret); err != nil {
			return false, err
		}
	}
	if token, hint = sec.AccessToken, "access_token"; token != "" {
		if err := s.revoke(ctx, e, token, hint, secret); err != nil {
			return sec.RefreshToken != "", err
		}
	}
	return true, nil
}

// forget deletes the credentials here.
func (s *Store) forget(ctx context.Context, t Target, keys []string, r *LogoutResult) error {
	return s.change(context.WithoutCancel(ctx), func(st *state) error {
		for _, key := range keys {
			if e := st.Credentials[key]; e != nil && e.Keyring {
				r.KeyringErr = errors.Join(r.KeyringErr, s.dropRing(ctx, key))
			}
			delete(st.Credentials, key)
		}
		delete(st.Devices, t.key())
		maps.DeleteFunc(st.Successors, func(_, key string) bool { return slices.Contains(keys, key) })
		return nil
	})
}

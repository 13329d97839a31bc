package credential

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// way is one way to another token.
type way struct {
	key      string // of the credential that gets the token
	template *entry // how to ask, where the credential is not stored yet; nil: as it is stored
	before   string // the token that the credential had when the way was chosen; "" for none
	wanted   Facts  // the new token must have this identity; without one, anybody's will do

	// Where the outcome is to be used instead of a token that was presented:
	link      string // the lineage of that token; "" if nothing was presented
	presented string
	source    string // as of Credential.Source
	setting   string // as of Credential.Setting
}

// ways gives the ways to another token for c, the best first (see
// [Store.Refresh]). Whether they lead anywhere is known only after asking.
func (s *Store) ways(ctx context.Context, t Target, st *state, c *Credential) []way {
	if c.Setting == "" {
		return s.storedWays(ctx, t, st, c)
	}
	lineage := c.Facts.lineage(serverID(t.Server))
	if lineage == "" || t.NoSuccessor {
		return nil
	}
	own := "lineage:" + lineage
	var ways []way
	successor, _ := st.successor(c.Facts, t.Server)
	for _, key := range []string{successor, t.key(), own} {
		e := st.Credentials[key]
		known := slices.ContainsFunc(ways, func(w way) bool { return w.key == key })
		// The identity is noted in the file, so that no keyring is opened for nothing.
		if e == nil || known || e.Server != serverID(t.Server) || !e.identity().sameIdentity(c.Facts) {
			continue
		}
		if sec, err := s.open(ctx, key, e); err == nil && e.facts(sec).sameIdentity(c.Facts) && s.useful(st, t, key, e, sec) {
			ways = append(ways, way{key: key, before: sec.AccessToken, wanted: c.Facts})
		}
	}
	asked := slices.ContainsFunc(ways, func(w way) bool { return w.key == own && st.Credentials[own].ClientID == s.envClient(t) })
	if !asked && s.mintable(t) && s.envFits(t, c.Facts) {
		w := s.envWay(t, own)
		w.wanted = c.Facts
		ways = append(ways, w)
	}
	for i := range ways {
		ways[i].link, ways[i].presented, ways[i].source, ways[i].setting = lineage, c.Token, c.Source, c.Setting
	}
	return ways
}

// useful tells whether a credential can take the place of a presented token: it
// can be renewed, or it is good.
func (s *Store) useful(st *state, t Target, key string, e *entry, sec *secrets) bool {
	return s.canRenew(st, e, sec) || sec.AccessToken != "" && s.credential(st, t, key, e, sec).good(s.now(), 0)
}

// storedWays gives the ways for the target's own credential.
func (s *Store) storedWays(ctx context.Context, t Target, st *state, c *Credential) []way {
	key := t.key()
	e := st.Credentials[key]
	if e == nil {
		return nil
	}
	sec, err := s.open(ctx, key, e)
	if err != nil {
		return nil
	}
	var ways []way
	if s.canRenew(st, e, sec) {
		ways = append(ways, way{key: key, before: c.Token, wanted: e.facts(sec)})
	}
	// The environment's client takes the place of another grant only if it is sure
	// to be the same identity.
	if e.Grant != grantClient && s.mintable(t) && c.Facts.Identified() && s.envFits(t, c.Facts) {
		w := s.envWay(t, key)
		w.before, w.wanted = c.Token, c.Facts
		ways = append(ways, w)
	}
	return ways
}

// canRenew tells whether there is all that the entry's grant needs.
func (s *Store) canRenew(st *state, e *entry, sec *secrets) bool {
	switch e.Grant {
	case grantClient:
		secret, err := s.clientSecret(e, sec)
		return err == nil && secret != ""
	case grantRefresh:
		return sec.RefreshToken != ""
	case grantRegistry: // the token itself is the grant, while it is good
		c := &Credential{Facts: e.facts(sec), Marked: st.marked(sec.AccessToken), Offset: st.offset(e.Server)}
		return sec.AccessToken != "" && c.good(s.now(), 0)
	}
	return false
}

// envClient is the client of the environment, or of the target where the
// environment has only its secret.
func (s *Store) envClient(t Target) string { return cmp.Or(lookup(s.Environ, EnvClientID), t.ClientID) }

// mintable tells whether the environment holds client credentials.
func (s *Store) mintable(t Target) bool { return s.envClient(t) != "" && !s.envSecret().IsZero() }

// envFits tells whether a token of the environment's client can have that
// identity.
func (s *Store) envFits(t Target, f Facts) bool {
	return f.ClientID == "" || f.ClientID == s.envClient(t)
}

// envWay asks with the environment's client credentials.
func (s *Store) envWay(t Target, key string) way {
	return way{key: key, template: &entry{
		Server: serverID(t.Server), Grant: grantClient, TokenURL: t.TokenURL, ClientID: s.envClient(t),
		SecretFrom: s.envSecret().String(), Scopes: t.Scopes, Audience: t.Audience,
	}}
}

// complete finds the token endpoint of an entry that has none. A secret goes only
// to an authorization server that issued the token in question, or that the
// server of the target names where there is no token yet.
func (s *Store) complete(ctx context.Context, t Target, e *entry, wanted Facts) error {
	if e.Grant == grantRegistry || e.TokenURL != "" {
		return nil
	}
	if t.TokenURL != "" {
		e.TokenURL = t.TokenURL
		return nil
	}
	found, err := s.discover(ctx, t.Server)
	if err != nil {
		return err
	}
	if wanted.Issuer != "" && wanted.Issuer != found.Issuer {
		return &classed{class: ErrNotRefreshable, text: fmt.Sprintf(
			"%s: the token is of %q, and the server's tokens come from %q; name the token endpoint", ErrNotRefreshable, wanted.Issuer, found.Issuer)}
	}
	if found.TokenEndpoint == "" {
		return &classed{class: ErrNotRefreshable, text: ErrNotRefreshable.Error() + ": the authorization server names no token endpoint"}
	}
	e.TokenURL, e.RevocationURL = found.TokenEndpoint, found.RevocationEndpoint
	return nil
}

// discoverWait bounds the search for the authorization server.
const discoverWait = 15 * time.Second

// discover asks the server where its tokens come from.
func (s *Store) discover(ctx context.Context, server string) (*client.AuthServer, error) {
	web, err := s.web()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, discoverWait)
	defer cancel()
	found, err := (&client.Client{URL: server, HTTP: web, AllowHTTP: s.AllowHTTP}).Discover(ctx)
	if errors.Is(err, arc.ErrNotFound) {
		return nil, &classed{class: ErrNotRefreshable, cause: err, text: ErrNotRefreshable.Error() +
			": the server does not say where its tokens come from; name the token endpoint"}
	}
	return found, err
}

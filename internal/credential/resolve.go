package credential

import (
	"context"
	"strings"
	"time"
)

// Resolve finds the credential of a call (contract section 4.3): the flag, then
// ARCD_TOKEN, then ARCD_TOKEN_FILE, each replaced by its successor if it is dead
// and was refreshed; else what is stored for the context, or for the server
// without one. It writes nothing and calls nobody.
//
// With nothing there the error is a [*NoneError]. Others: [ErrUnreadable] for a
// flag, variable or file that is named but holds no token; [ErrDamaged],
// [ErrExposed] and [ErrKeyring] only where the stored credential is needed.
func (s *Store) Resolve(ctx context.Context, t Target) (*Credential, error) {
	// A file that cannot be read is an error only where it is needed.
	st, unreadable := s.load()
	if unreadable != nil {
		st = newState()
	}
	given, err := s.presented(t, st)
	if err != nil {
		return nil, err
	}
	if given != nil {
		given.Refreshable = len(s.ways(ctx, t, st, given)) > 0
		if next := s.successor(ctx, t, st, given); next != nil {
			return next, nil
		}
		return given, nil
	}
	if unreadable != nil {
		return nil, unreadable
	}
	return s.stored(ctx, t, st)
}

// presented gives the token of the flag or the environment; nil if there is none.
func (s *Store) presented(t Target, st *state) (*Credential, error) {
	var from Origin
	var setting string
	switch path := lookup(s.Environ, EnvTokenFile); {
	case !t.Token.IsZero():
		from, setting = t.Token, "--token"
	case lookup(s.Environ, EnvToken) != "":
		from, setting = FromEnv(EnvToken), EnvToken
	case path != "":
		from, setting = FromFile(path), EnvTokenFile
	default:
		return nil, nil
	}
	token, err := s.readToken(from)
	if err != nil {
		return nil, err
	}
	return &Credential{
		Token: token, Source: from.String(), Setting: setting,
		Facts: Inspect(token), Marked: st.marked(token), Offset: st.offset(t.Server),
	}, nil
}

// successor gives what is used instead of a dead token that was presented; nil
// if there is nothing that is better.
func (s *Store) successor(ctx context.Context, t Target, st *state, given *Credential) *Credential {
	if t.NoSuccessor || !given.dead(s.now()) {
		return nil
	}
	key, e := st.successor(given.Facts, t.Server)
	if e == nil {
		return nil
	}
	sec, err := s.open(ctx, key, e)
	if err != nil || sec.AccessToken == "" || !e.facts(sec).sameIdentity(given.Facts) {
		return nil
	}
	next := s.credential(st, t, key, e, sec)
	if next.ExpiredAt(s.now()) {
		return nil
	}
	next.Superseded, next.Setting, next.Refreshable = given.Source, given.Setting, given.Refreshable
	return next
}

// successor gives the entry that is to be used instead of a token, and its key;
// nil if there is none for this server.
func (st *state) successor(dead Facts, server string) (string, *entry) {
	lineage := dead.lineage(serverID(server))
	key, ok := st.Successors[lineage]
	if lineage == "" || !ok {
		return "", nil
	}
	e := st.Credentials[key]
	if e == nil || e.Server != serverID(server) {
		return "", nil
	}
	return key, e
}

// stored gives the target's own credential.
func (s *Store) stored(ctx context.Context, t Target, st *state) (*Credential, error) {
	e := st.Credentials[t.key()]
	if e == nil || e.Server != serverID(t.Server) {
		none := &NoneError{Mintable: s.mintable(t)}
		if e != nil {
			none.OtherServer = e.Server
		}
		return nil, none
	}
	sec, err := s.open(ctx, t.key(), e)
	if err != nil {
		return nil, err
	}
	if sec.AccessToken == "" {
		return nil, &NoneError{Mintable: s.mintable(t)}
	}
	c := s.credential(st, t, t.key(), e, sec)
	c.Refreshable = len(s.ways(ctx, t, st, c)) > 0
	return c, nil
}

// credential makes the public form of an entry.
func (s *Store) credential(st *state, t Target, key string, e *entry, sec *secrets) *Credential {
	source := t.label()
	if strings.HasPrefix(key, "lineage:") {
		source = "store:successor"
	}
	return &Credential{
		Token: sec.AccessToken, Source: source, Facts: e.facts(sec), Marked: st.marked(sec.AccessToken),
		Fingerprint: e.Fingerprint, Offset: st.offset(t.Server),
	}
}

// envSecret is where the environment has the secret of ARCD_CLIENT_ID.
func (s *Store) envSecret() Origin {
	if lookup(s.Environ, EnvClientSecret) != "" {
		return FromEnv(EnvClientSecret)
	}
	if path := lookup(s.Environ, EnvClientSecretFile); path != "" {
		return FromFile(path).absolute()
	}
	return Origin{}
}

// good tells whether a credential needs no refresh: it lives for at least so long
// and nobody called it expired.
func (c *Credential) good(now time.Time, atLeast time.Duration) bool {
	left, known := c.Left(now)
	return !c.Marked && (!known || left > 0 && left >= atLeast)
}

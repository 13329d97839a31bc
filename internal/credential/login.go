package credential

import (
	"cmp"
	"context"
	"crypto/rand"

	"github.com/arcd-io/arcd/client"
)

// ClientLogin says how to log in with client credentials.
type ClientLogin struct {
	// Secret is where the client's secret is. Zero: ARCD_CLIENT_SECRET or
	// ARCD_CLIENT_SECRET_FILE.
	Secret Origin
	// Keep stores the secret itself. Default: only where it is, as env:NAME or
	// file:PATH; a secret from elsewhere is not there for a refresh then.
	Keep bool
	// AsJSON sends the request as JSON instead of a form (see
	// [client.ClientCredentials]).
	AsJSON bool
	// Person: somebody at a terminal does this, so the keyring may be used.
	Person bool
}

// LoginClient gets a token for the target's ClientID and stores it, with what it
// takes to get another.
//
// Errors of all logins: [*RejectedError]; [ErrUnreadable] and [ErrInvalid] for
// what was given; [*HiddenError], together with a Result, where the login is
// stored but an expired token of the environment goes before it; [*LockedError],
// [ErrDamaged], [ErrExposed], [ErrNoFolder], [ErrKeyring] (if required);
// [ErrNotRefreshable] if no token endpoint is known; what package client makes of
// an outage.
func (s *Store) LoginClient(ctx context.Context, t Target, l ClientLogin) (*Result, error) {
	e, sec, err := s.clientEntry(t, grantClient, l.Secret, l.Keep)
	if err != nil {
		return nil, err
	}
	if e.ClientID == "" {
		return nil, invalidf("the client id is missing: name it, or set %s", EnvClientID)
	}
	if e.SecretFrom == "" && sec.ClientSecret == "" {
		return nil, invalidf("the client secret is missing: name where it is, or set %s or %s", EnvClientSecret, EnvClientSecretFile)
	}
	e.AsJSON = l.AsJSON
	return s.loginGrant(ctx, t, e, sec, l.Secret, l.Keep, l.Person)
}

// RefreshLogin says how to log in with a refresh token.
type RefreshLogin struct {
	// Token is where the refresh token is. It is needed.
	Token Origin
	// Secret is where the secret of the client is, if it has one.
	Secret Origin
	// Keep and Person are those of [ClientLogin].
	Keep, Person bool
}

// LoginRefreshToken spends a refresh token, and stores the access token and the
// next refresh token. Errors: see [Store.LoginClient].
func (s *Store) LoginRefreshToken(ctx context.Context, t Target, l RefreshLogin) (*Result, error) {
	e, sec, err := s.clientEntry(t, grantRefresh, l.Secret, l.Keep)
	if err != nil {
		return nil, err
	}
	if sec.RefreshToken, err = s.read(l.Token); err != nil {
		return nil, err
	}
	return s.loginGrant(ctx, t, e, sec, l.Secret, l.Keep, l.Person)
}

// clientEntry begins an entry of a client.
func (s *Store) clientEntry(t Target, grant grantKind, secret Origin, keep bool) (*entry, *secrets, error) {
	e := s.newEntry(t, grant)
	e.TokenURL, e.ClientID, e.Scopes, e.Audience = t.TokenURL, cmp.Or(t.ClientID, lookup(s.Environ, EnvClientID)), t.Scopes, t.Audience
	sec := &secrets{}
	if secret.IsZero() && e.ClientID != "" && (grant == grantClient || e.ClientID == lookup(s.Environ, EnvClientID)) {
		secret = s.envSecret()
	}
	if secret.IsZero() {
		return e, sec, nil
	}
	text, err := s.read(secret)
	if err != nil {
		return nil, nil, err
	}
	if secret.lasting() && !keep {
		e.SecretFrom = secret.absolute().String()
	} else {
		sec.ClientSecret = text
	}
	return e, sec, nil
}

func (s *Store) newEntry(t Target, grant grantKind) *entry {
	return &entry{Server: serverID(t.Server), Grant: grant}
}

// loginGrant asks the token endpoint and stores what it gives.
func (s *Store) loginGrant(ctx context.Context, t Target, e *entry, sec *secrets, secret Origin, keep, person bool) (*Result, error) {
	if err := s.complete(ctx, t, e, Facts{}); err != nil {
		return nil, err
	}
	return s.login(ctx, t, e, person, func(ctx context.Context) (*secrets, *fetched, error) {
		f, err := s.fetch(ctx, e, sec)
		if err != nil {
			return nil, nil, err
		}
		next := s.next(e, sec, f)
		if !keep && !secret.lasting() {
			next.ClientSecret = "" // nobody asked to keep it
		}
		return next, f, nil
	})
}

// TokenLogin says how to log in with a token that somebody has.
type TokenLogin struct {
	// Token is where it is. It is needed.
	Token Origin
	// Person is that of [ClientLogin].
	Person bool
}

// LoginToken stores a token as it is; the server is not asked. Errors: see
// [Store.LoginClient], and [ErrInvalid] for a token that has expired.
func (s *Store) LoginToken(ctx context.Context, t Target, l TokenLogin) (*Result, error) {
	token, err := s.readToken(l.Token)
	if err != nil {
		return nil, err
	}
	if (&Credential{Facts: Inspect(token)}).ExpiredAt(s.now()) {
		return nil, invalidf("the token of %s has expired at %s", l.Token, Inspect(token).ExpiresAt.Format("2006-01-02T15:04:05Z"))
	}
	return s.login(ctx, t, s.newEntry(t, grantToken), l.Person, func(context.Context) (*secrets, *fetched, error) {
		f := &fetched{access: token}
		return s.next(&entry{}, &secrets{}, f), f, nil
	})
}

// AdminLogin says how an administrator of the registry logs in.
type AdminLogin struct {
	// Username is needed.
	Username string
	// Password is where the password is. It is needed, and never stored.
	Password Origin
	// Person is that of [ClientLogin].
	Person bool
}

// LoginAdmin logs in at the server's /auth/login with a fingerprint made for this
// login, and stores the token. It can be renewed while it is good, and not
// afterwards. Errors: see [Store.LoginClient].
func (s *Store) LoginAdmin(ctx context.Context, t Target, l AdminLogin) (*Result, error) {
	password, err := s.read(l.Password)
	if err != nil {
		return nil, err
	}
	e := s.newEntry(t, grantRegistry)
	e.Fingerprint = "arcd-" + rand.Text()
	return s.login(ctx, t, e, l.Person, func(ctx context.Context) (*secrets, *fetched, error) {
		f, err := s.openSession(ctx, t, e.Fingerprint, l.Username, password)
		if err != nil {
			return nil, nil, err
		}
		return s.next(e, &secrets{}, f), f, nil
	})
}

// openSession is POST /auth/login.
func (s *Store) openSession(ctx context.Context, t Target, fingerprint, username, password string) (*fetched, error) {
	if err := s.secure(t.Server); err != nil {
		return nil, err
	}
	web, clock, err := s.timedWeb()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenWait)
	defer cancel()
	c := &client.Client{URL: t.Server, Fingerprint: fingerprint, HTTP: web, AllowHTTP: s.AllowHTTP, Attempts: 1}
	grant, err := c.Login(ctx, username, password)
	return s.registryToken(grant, clock, err)
}

// login gets a token and stores it as the target's credential, under its lock, so
// that no refresh comes in between. get must not keep what it is given.
func (s *Store) login(ctx context.Context, t Target, e *entry, person bool, get func(context.Context) (*secrets, *fetched, error)) (*Result, error) {
	if t.Context != "" && !validName(t.Context) {
		return nil, invalidf("%q is no name of a context", t.Context)
	}
	if err := checkURL(t.Server); err != nil || t.Server == "" {
		return nil, invalidf("the server must be an http or https URL without a user in it")
	}
	var r *Result
	err := s.holding(ctx, t.key(), func() error {
		// What is damaged should be known before anything is spent.
		if _, err := s.load(); err != nil {
			return err
		}
		asking, cancel := undisturbed(ctx)
		defer cancel()
		sec, f, err := get(asking)
		if err != nil {
			return err
		}
		r, err = s.loggedIn(context.WithoutCancel(ctx), t, e, sec, f, person)
		return err
	})
	if err != nil {
		return nil, err
	}
	if r.HiddenBy != "" && r.Credential.Superseded == "" {
		return r, s.hidden(t, r)
	}
	return r, nil
}

// loggedIn stores a login.
func (s *Store) loggedIn(ctx context.Context, t Target, e *entry, sec *secrets, f *fetched, person bool) (*Result, error) {
	r := &Result{Effect: Created}
	err := s.change(ctx, func(st *state) error {
		old := st.Credentials[t.key()]
		if old != nil {
			r.Effect = Updated
			e.Keyring = old.Keyring // so that put takes the old secrets away
		}
		facts := e.facts(sec)
		e.describe(facts)
		st.setOffset(t.Server, f.ahead)
		if err := s.put(ctx, st, t.key(), e, sec, person); err != nil {
			return err
		}
		delete(st.Devices, t.key())
		r.Credential = s.credential(st, t, t.key(), e, sec)
		r.Keyring, r.Kept = e.Keyring, s.kept(e)
		s.supersede(t, st, facts, r)
		r.Credential.Refreshable = s.canRenew(st, e, sec)
		return nil
	})
	return r, err
}

// supersede looks at a token of the environment, which goes before a login. If it
// is dead and the same identity's, the login becomes its successor; else it is
// told that it hides the login, unless it is the login's own.
func (s *Store) supersede(t Target, st *state, facts Facts, r *Result) {
	t.Token = Origin{} // a flag is of this call only
	given, err := s.presented(t, st)
	if err != nil { // what cannot be read goes before it, too
		r.HiddenBy = s.remains()
		return
	}
	if given == nil || given.Token == r.Credential.Token {
		return
	}
	if given.dead(s.now()) && !t.NoSuccessor && given.Facts.sameIdentity(facts) {
		st.Successors[given.Facts.lineage(serverID(t.Server))] = t.key()
		r.Credential.Superseded, r.Credential.Setting = given.Source, given.Setting
		return
	}
	r.HiddenBy = given.Setting
}

// hidden gives the error for a login that a dead token hides, nil if the token is
// good.
func (s *Store) hidden(t Target, r *Result) error {
	t.Token = Origin{}
	st, err := s.load()
	if err != nil {
		return err
	}
	given, err := s.presented(t, st)
	if err != nil || given == nil || !given.dead(s.now()) {
		return nil
	}
	return &HiddenError{Setting: r.HiddenBy}
}

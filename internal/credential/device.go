package credential

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

// DeviceLogin is what to show to the person who finishes a device login (RFC 8628
// section 3.3). It holds no secret.
type DeviceLogin struct {
	// OpenURL is the page to open on any device, and UserCode what to enter there.
	OpenURL  string `json:"open_url"`
	UserCode string `json:"user_code"`
	// OpenURLComplete is the page with the code in it; "" if the server has none.
	OpenURLComplete string `json:"open_url_complete,omitempty"`
	// ExpiresAt is when the code is over, by this machine's clock.
	ExpiresAt time.Time `json:"expires_at"`
	// Interval is the pause between two polls, in seconds.
	Interval int64 `json:"interval_s"`
}

// device is a device login under way.
type device struct {
	Server     string      `json:"server"`
	TokenURL   string      `json:"token_url"`
	RevokeURL  string      `json:"revocation_url,omitempty"`
	ClientID   string      `json:"client_id"`
	SecretFrom string      `json:"client_secret_from,omitempty"`
	Scopes     []string    `json:"scopes,omitempty"`
	Code       string      `json:"device_code"` // a secret: whoever has it gets the token
	Shown      DeviceLogin `json:"shown"`
	Next       time.Time   `json:"next_poll,omitzero"` // not before
	Person     bool        `json:"person,omitempty"`
}

// DeviceStart says how a device login begins.
type DeviceStart struct {
	// Secret is where the secret of the client is, if it has one: a variable or a
	// file, since it is needed again.
	Secret Origin
	// Person is that of [ClientLogin].
	Person bool
}

// StartDevice begins a device login for the target's ClientID and stores it, so
// that [Store.PollDevice], in another process too, can end it. One that is under
// way is replaced. Errors: see [Store.LoginClient].
func (s *Store) StartDevice(ctx context.Context, t Target, l DeviceStart) (*DeviceLogin, error) {
	if t.Context != "" && !validName(t.Context) {
		return nil, invalidf("%q is no name of a context", t.Context)
	}
	if !l.Secret.IsZero() && !l.Secret.lasting() {
		return nil, invalidf("the client secret of a device login must come from a variable or a file")
	}
	e, sec, err := s.clientEntry(t, grantRefresh, l.Secret, false)
	if err != nil {
		return nil, err
	}
	if e.ClientID == "" {
		return nil, invalidf("the client id is missing: name it, or set %s", EnvClientID)
	}
	found, err := s.discover(ctx, t.Server)
	if err != nil {
		return nil, err
	}
	if e.TokenURL == "" {
		e.TokenURL, e.RevocationURL = found.TokenEndpoint, found.RevocationEndpoint
	}
	if found.DeviceEndpoint == "" || e.TokenURL == "" {
		return nil, &classed{class: ErrNotRefreshable, text: "the server's authorization server has no device login"}
	}
	d, err := s.authorizeDevice(ctx, t, e, sec, found.DeviceEndpoint)
	if err != nil {
		return nil, err
	}
	d.Person = l.Person
	err = s.change(ctx, func(st *state) error {
		st.Devices[t.key()] = d
		return nil
	})
	return &d.Shown, err
}

// authorizeDevice is the request of RFC 8628 section 3.1.
func (s *Store) authorizeDevice(ctx context.Context, t Target, e *entry, sec *secrets, address string) (*device, error) {
	for _, u := range []string{address, e.TokenURL} {
		if err := s.secure(u); err != nil {
			return nil, err
		}
	}
	web, _, err := s.timedWeb()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tokenWait)
	defer cancel()
	web.Transport = bound{ctx, web.Transport}
	config := &oauth2.Config{
		ClientID: e.ClientID, ClientSecret: sec.ClientSecret, Scopes: e.Scopes, Endpoint: oauth2.Endpoint{DeviceAuthURL: address},
	}
	var more []oauth2.AuthCodeOption
	if t.Audience != "" {
		more = append(more, oauth2.SetAuthURLParam("audience", t.Audience))
	}
	answer, err := config.DeviceAuth(context.WithValue(ctx, oauth2.HTTPClient, web), more...)
	if err != nil {
		return nil, rejected(err)
	}
	return s.readDevice(t, e, answer)
}

// bound is a transport whose requests end with ctx, since the library sends that
// of the device login without a context and does not close its answer.
type bound struct {
	ctx  context.Context
	next http.RoundTripper
}

// RoundTrip makes the request.
func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	return b.next.RoundTrip(r.WithContext(b.ctx))
}

// readDevice checks an answer: its texts are shown to a person, who acts on them.
func (s *Store) readDevice(t Target, e *entry, answer *oauth2.DeviceAuthResponse) (*device, error) {
	page, err := url.Parse(answer.VerificationURI)
	if err != nil || page.Scheme != "https" && page.Scheme != "http" || page.Host == "" || !printable(answer.VerificationURI) {
		return nil, errors.New("the device endpoint gave no page to open")
	}
	if !validToken(answer.DeviceCode) || answer.UserCode == "" || len(answer.UserCode) > 64 || !printable(answer.UserCode) {
		return nil, errors.New("the device endpoint gave no usable code")
	}
	shown := DeviceLogin{
		OpenURL: answer.VerificationURI, UserCode: answer.UserCode, Interval: min(max(answer.Interval, 1), 60),
		ExpiresAt: s.now().Add(10 * time.Minute).UTC().Truncate(time.Second),
	}
	if answer.Interval <= 0 {
		shown.Interval = 5 // RFC 8628 section 3.2
	}
	if !answer.Expiry.IsZero() {
		shown.ExpiresAt = s.now().Add(time.Until(answer.Expiry)).UTC().Truncate(time.Second)
	}
	if full, err := url.Parse(answer.VerificationURIComplete); err == nil && full.Host == page.Host && full.Scheme == page.Scheme && printable(full.String()) {
		shown.OpenURLComplete = answer.VerificationURIComplete
	}
	return &device{
		Server: serverID(t.Server), TokenURL: e.TokenURL, RevokeURL: e.RevocationURL, ClientID: e.ClientID,
		SecretFrom: e.SecretFrom, Scopes: e.Scopes, Code: answer.DeviceCode, Shown: shown,
	}, nil
}

// printable tells whether a text of a server is visible ASCII only, besides
// blanks.
func printable(text string) bool {
	return len(text) <= 2048 && !strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r > '~' })
}

// PollDevice asks whether somebody has entered the code of the target's device
// login, and stores the token then. wait goes on asking until the code is over or
// ctx ends; else one question is asked, and the error is a [*PendingError] while
// nobody has. [ErrNone]: there is no device login under way. A refusal, also of a
// code that is over, is a [*RejectedError] and ends the login. Other errors: see
// [Store.LoginClient].
func (s *Store) PollDevice(ctx context.Context, t Target, wait bool) (*Result, error) {
	for asked := false; ; asked = true {
		r, err := s.pollOnce(ctx, t)
		if errors.Is(err, errDone) || asked && errors.Is(err, ErrNone) {
			return s.ended(ctx, t)
		}
		pending, more := errors.AsType[*PendingError](err)
		if !more || !wait {
			return r, err
		}
		timer := time.NewTimer(pending.RetryAfter)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		}
	}
}

// pollOnce asks once, unless it is too early to.
func (s *Store) pollOnce(ctx context.Context, t Target) (*Result, error) {
	st, err := s.load()
	if err != nil {
		return nil, err
	}
	d := st.Devices[t.key()]
	if d == nil || d.Server != serverID(t.Server) {
		return nil, &NoneError{Mintable: s.mintable(t)}
	}
	if early := d.Next.Sub(s.now()); early > 0 {
		return nil, &PendingError{Login: &d.Shown, RetryAfter: min(early, time.Minute)}
	}
	e := s.newEntry(t, grantRefresh)
	e.TokenURL, e.RevocationURL, e.ClientID, e.SecretFrom, e.Scopes = d.TokenURL, d.RevokeURL, d.ClientID, d.SecretFrom, d.Scopes
	r, err := s.login(ctx, t, e, d.Person, func(ctx context.Context) (*secrets, *fetched, error) {
		// Another process may have ended it while this one waited for the lock.
		if now, err := s.load(); err != nil || now.Devices[t.key()] == nil || now.Devices[t.key()].Code != d.Code {
			return nil, nil, errors.Join(errDone, err)
		}
		secret, err := s.deviceSecret(e)
		if err != nil {
			return nil, nil, err
		}
		f, err := s.pollDevice(ctx, d, secret)
		if err != nil {
			return nil, nil, err
		}
		if f.refresh == "" {
			e.Grant = grantToken // nothing will get another one
		}
		return s.next(e, &secrets{}, f), f, nil
	})
	if r != nil {
		return r, err
	}
	return nil, s.polled(ctx, t, d, err)
}

// errDone ends a poll whose login another process has ended.
var errDone = errors.New("another process has ended the device login")

// ended gives what another process got for the login.
func (s *Store) ended(ctx context.Context, t Target) (*Result, error) {
	st, err := s.load()
	if err != nil {
		return nil, err
	}
	c, err := s.stored(ctx, t, st)
	if err != nil {
		return nil, err
	}
	return &Result{Effect: Noop, Credential: c, Kept: s.kept(st.Credentials[t.key()]), Keyring: st.Credentials[t.key()].Keyring}, nil
}

// deviceSecret gives the secret of the client, "" for one without.
func (s *Store) deviceSecret(e *entry) (string, error) {
	if e.SecretFrom == "" {
		return "", nil
	}
	return s.clientSecret(e, &secrets{})
}

// polled notes what a poll without a token means for the next one (RFC 8628
// section 3.5).
func (s *Store) polled(ctx context.Context, t Target, d *device, err error) error {
	if errors.Is(err, errDone) {
		return err
	}
	code := ""
	if e, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code = e.ErrorCode
	}
	over := errors.Is(err, ErrRejected) || !s.now().Before(d.Shown.ExpiresAt)
	if !over && code != "authorization_pending" && code != "slow_down" {
		return err
	}
	shown := d.Shown
	if code == "slow_down" {
		shown.Interval += 5
	}
	pause := time.Duration(shown.Interval) * time.Second
	stored := s.change(context.WithoutCancel(ctx), func(st *state) error {
		now := st.Devices[t.key()]
		if now == nil || now.Code != d.Code {
			return errUnchanged // another one began meanwhile
		}
		if over {
			delete(st.Devices, t.key())
			return nil
		}
		now.Shown, now.Next = shown, s.now().Add(pause).UTC()
		return nil
	})
	switch {
	case stored != nil:
		return stored
	case errors.Is(err, ErrRejected):
		return err
	case over:
		return &RejectedError{Code: "expired_token", cause: err}
	}
	return &PendingError{Login: &shown, RetryAfter: pause}
}

package cli

import (
	"context"
	"errors"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// authStatus is "arcd auth status".
type authStatus struct {
	MinTTL time.Duration `name:"min-ttl" placeholder:"TIME" help:"How long the credential must still be good. Less is exit code 10. Default: at all."`
	Verify bool          `help:"Ask the server too."`
}

// credentialState is the result of "auth status".
type credentialState struct {
	State       string   `json:"state"` // valid, expiring, expired, missing, invalid
	Source      *string  `json:"source"`
	User        *string  `json:"user"`
	Client      *string  `json:"client"`
	Issuer      *string  `json:"issuer"`
	Scopes      []string `json:"scopes"` // null: the token does not tell
	ExpiresAt   *string  `json:"expires_at"`
	ExpiresInS  *int64   `json:"expires_in_s"` // negative: over since
	Refreshable bool     `json:"refreshable"`
	Verified    *bool    `json:"verified"` // null: the server was not asked, or did not answer
	Server      string   `json:"server"`
	Context     *string  `json:"context"`
}

func (*authStatus) row() row {
	return row{
		danger: safe, data: credentialState{}, timeout: 30 * time.Second,
		exits: []outcome.Exit{outcome.ExitNotFound, outcome.ExitDenied, outcome.ExitExpired, outcome.ExitRateLimited, outcome.ExitUnavailable},
		long: "Exit code 0: good. 10: over, or over sooner than --min-ttl allows. 8: none, or the server refuses it. The data is filled in each time. " +
			"Without --verify nobody is called. A server that cannot be reached is exit code 12 and says nothing about the credential.",
		examples: []string{"arcd auth status", "arcd auth status --min-ttl 10m", "arcd auth status --verify"},
	}
}

func (s *authStatus) check(p *problems) {
	if s.MinTTL < 0 {
		p.add("--min-ttl", "must not be negative")
	}
}

func (s *authStatus) run(ctx context.Context, c *console) (any, error) {
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	data := credentialState{State: stateMissing, Server: l.server, Context: optional(l.name)}
	found, err := l.store.Resolve(ctx, l.target)
	if err != nil {
		if errors.Is(err, credential.ErrUnreadable) {
			data.State = stateInvalid
			return data, c.unusable(err)
		}
		return data, c.classify(err)
	}
	c.hold(l, found)
	data.describe(found, c.now())
	data.State = c.stateOf(found, s.MinTTL)
	switch {
	case data.State == stateExpired:
		return data, c.runOut(found)
	case s.Verify:
		err = data.verify(ctx, c, l)
	}
	if err == nil && data.State == stateExpiring {
		err = c.expiring(found, s.MinTTL)
	}
	return data, err
}

// describe takes over what is known of a credential.
func (s *credentialState) describe(found *credential.Credential, now time.Time) {
	f := found.Facts
	s.Source, s.User, s.Client, s.Issuer = &found.Source, user(f), optional(f.ClientID), optional(f.Issuer)
	s.Scopes, s.ExpiresAt, s.Refreshable = f.Scopes, outcome.Instant(f.ExpiresAt), found.Refreshable
	if left, known := found.Left(now); known {
		seconds := int64(left / time.Second)
		s.ExpiresInS = &seconds
	}
}

// unusable is the error of a token that is named and cannot be read, or cannot be
// one.
func (c *console) unusable(err error) *outcome.Error {
	e := outcome.Errorf(outcome.TokenInvalid, "The token cannot be used: %s.", outcome.Clean(err.Error())).Because(err)
	e.Auth = &outcome.Auth{DetectedBy: "client"}
	c.completeAuth(e)
	return e
}

// expiring is the error of a credential that is good for less than it must be.
func (c *console) expiring(found *credential.Credential, minTTL time.Duration) *outcome.Error {
	left, _ := found.Left(c.now())
	e := outcome.Errorf(outcome.Expiring, "The access token for %s is good for another %s only, and %s are asked for.",
		c.link.server, short(left.Round(time.Second)), short(minTTL))
	e.Auth = &outcome.Auth{ExpiresAt: outcome.Instant(found.Facts.ExpiresAt), DetectedBy: "client"}
	c.completeAuth(e)
	if e.RefreshCommand != nil { // a refresh that is content with any lifetime would not help
		refresh := c.nextCommand("auth refresh --min-ttl " + minTTL.String())
		e.ReauthCommand, e.RefreshCommand, e.FixCommand = refresh, &refresh, refresh
		e.Hint = "Run " + refresh + ", or put a fresh token into " + credential.EnvToken + "."
		e.Suggestion = "Run " + refresh + ", then send the same command again."
	}
	return e
}

// verify asks the server for its opinion of the credential. What is no opinion,
// as an outage, leaves verified null and is the error.
func (s *credentialState) verify(ctx context.Context, c *console, l *link) error {
	err := l.verdict(ctx, c)
	good, known := accepted(err)
	if !known {
		return c.classify(err)
	}
	s.Verified = &good
	if good {
		return nil
	}
	e := c.classify(err)
	s.State = stateInvalid
	if e.Code == outcome.Expired {
		s.State = stateExpired
	}
	return e
}

// verdict makes a cheap call for which the server has to look at the credential.
func (l *link) verdict(ctx context.Context, c *console) error {
	caller := l.speak(c, true)
	if l.found.Fingerprint != "" { // an administrator's token is for the registry alone
		_, err := caller.GetSession(ctx)
		return err
	}
	_, err := caller.ListTasks(ctx, "", arc.ListTasksParams{Limit: 1})
	return err
}

// accepted tells what the outcome of a call says about its credential: whether
// the server takes it, if that is known at all. A refusal of the call itself, for
// its scope say, means that the credential was taken.
func accepted(err error) (good, known bool) {
	wired, isWired := errors.AsType[*arc.Error](err)
	status, isStatus := errors.AsType[*client.StatusError](err)
	switch {
	case err == nil:
		return true, true
	case errors.Is(err, arc.ErrUnavailable), errors.Is(err, arc.ErrTimeout), errors.Is(err, arc.ErrRateLimited), errors.Is(err, arc.ErrInternal):
		return false, false
	case (isWired || isStatus) && (errors.Is(err, arc.ErrAuthentication) || errors.Is(err, arc.ErrExpired)):
		return false, true
	case isWired:
		// The method is refused or not there, after the look at the credential. Only
		// the envelope comes before it.
		taken := wired.Code != arc.CodeParse && wired.Code != arc.CodeInvalidRequest
		return taken, taken
	case isStatus:
		scope := status.Challenge["error"] == "insufficient_scope"
		return scope, scope
	}
	return false, false
}

func (s credentialState) show(p *page) {
	colour := green
	switch s.State {
	case stateExpiring:
		colour = yellow
	case stateExpired, stateMissing, stateInvalid:
		colour = red
	}
	p.line("%s %s", p.paint(dim, pad("state:", 12)), p.paint(colour, s.State))
	p.field("server", s.Server)
	p.field("context", value(s.Context))
	p.field("source", value(s.Source))
	p.field("user", value(s.User))
	showScopes(p, s.Scopes)
	if s.ExpiresAt != nil {
		left := remaining(time.Duration(*s.ExpiresInS)*time.Second, true)
		p.field("expires", *s.ExpiresAt+" ("+left+")")
	}
	if s.Verified != nil {
		p.field("verified", map[bool]string{true: "the server takes it", false: "the server refuses it"}[*s.Verified])
	}
	if s.Source != nil {
		p.field("refresh", map[bool]string{true: "possible: arcd auth refresh", false: "not possible"}[s.Refreshable])
	}
}

func (s credentialState) plain() []string { return []string{s.State} }

// showScopes lists scopes below each other.
func showScopes(p *page, scopes []string) {
	for i, scope := range scopes {
		label := "scopes"
		if i > 0 {
			p.line("%s %s", pad("", 12), outcome.Clean(scope))
			continue
		}
		p.field(label, scope)
	}
}

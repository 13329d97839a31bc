package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// authCommand groups the commands about credentials.
type authCommand struct {
	Login   authLogin   `cmd:"" help:"Get a credential and store it."`
	Refresh authRefresh `cmd:"" help:"Renew the credential if it has run out. Safe to repeat, and in parallel."`
	Status  authStatus  `cmd:"" help:"Tell whether the credential is good, and for how long."`
	Token   authToken   `cmd:"" help:"Show the access token that calls would send: in short, or whole with --unmask."`
	Check   authCheck   `cmd:"" aliases:"check-permissions" help:"Compare the scopes of the credential with those that commands need."`
	Logout  authLogout  `cmd:"" aliases:"revoke" help:"Take the stored credential back at the server and delete it here."`
}

// authExits are the exit codes of commands that ask a token endpoint.
func authExits(more ...outcome.Exit) []outcome.Exit {
	return append(more, outcome.ExitNotFound, outcome.ExitConflict, outcome.ExitDenied, outcome.ExitRateLimited, outcome.ExitUnavailable)
}

// States of a credential.
const (
	stateValid    = "valid"
	stateExpiring = "expiring" // sooner than --min-ttl asks for
	stateExpired  = "expired"
	stateMissing  = "missing"
	stateInvalid  = "invalid" // the server refuses it, or it cannot be read
)

// stateOf judges a credential by what is known without asking the server.
func (c *console) stateOf(found *credential.Credential, minTTL time.Duration) string {
	left, known := found.Left(c.now())
	switch {
	case found.Marked, found.Past(c.now()):
		return stateExpired
	case known && minTTL > 0 && left < minTTL:
		return stateExpiring
	}
	return stateValid
}

// hold makes found the credential of this call, without refusing an expired one
// as [console.present] does.
func (c *console) hold(l *link, found *credential.Credential) {
	c.uses(found)
	l.found = found
	l.source = &credential.Source{Store: l.store, Target: l.target}
}

// runOut is the error of a credential that is over.
func (c *console) runOut(found *credential.Credential) *outcome.Error {
	if !found.Facts.ExpiresAt.IsZero() {
		return c.expired(found)
	}
	e := outcome.Errorf(outcome.Expired, "The server called the access token for %s expired.", c.link.server)
	e.Auth = &outcome.Auth{Expired: true, DetectedBy: "server"}
	c.completeAuth(e)
	return e
}

// stored resolves what is stored, whatever the environment and --token give.
func (l *link) stored(ctx context.Context) (*credential.Credential, error) {
	environ := slices.DeleteFunc(slices.Clone(l.store.Environ), func(entry string) bool {
		name, _, _ := strings.Cut(entry, "=")
		return name == credential.EnvToken || name == credential.EnvTokenFile
	})
	target := l.target
	target.Token = credential.Origin{}
	return (&credential.Store{Folder: l.store.Folder, Environ: environ, HTTP: l.http}).Resolve(ctx, target)
}

// user is whose credential it is.
func user(f credential.Facts) *string {
	if f.Subject != "" {
		return &f.Subject
	}
	return optional(f.ClientID)
}

// optional gives null for "".
func optional(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// wouldBe is an effect as a dry run tells it.
func wouldBe(e credential.Effect) string {
	switch e {
	case credential.Created:
		return "would_create"
	case credential.Updated:
		return "would_update"
	case credential.Deleted:
		return "would_delete"
	}
	return string(e)
}

// remaining writes for people how long something lasts.
func remaining(left time.Duration, known bool) string {
	switch {
	case !known:
		return ""
	case left <= 0:
		return "expired " + short((-left).Round(time.Second)) + " ago"
	}
	return "for another " + short(left.Round(time.Second))
}

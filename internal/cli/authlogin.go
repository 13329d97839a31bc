package cli

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// Grants of "auth login".
const (
	grantAuto         = "auto"
	grantClient       = "client_credentials"
	grantToken        = "token"
	grantDevice       = "device"
	grantPassword     = "password"
	grantRefreshToken = "refresh_token"
)

// authLogin is "arcd auth login".
type authLogin struct {
	changing
	Grant    string `enum:"auto,client_credentials,token,device,password,refresh_token" default:"auto" help:"How: ${enum}. auto takes what is given."`
	Headless bool   `help:"Never ask a person."`
	Wait     bool   `help:"Device login: wait until somebody has entered the code."`

	ClientID     string   `name:"client-id" placeholder:"ID" help:"The client. Default: ARCD_CLIENT_ID, or that of the context."`
	ClientSecret string   `name:"client-secret" placeholder:"SOURCE" help:"Where its secret is: env:NAME, file:PATH or -. Default: ARCD_CLIENT_SECRET or ARCD_CLIENT_SECRET_FILE."`
	KeepSecret   bool     `name:"keep-secret" help:"Store the client's secret itself. Default: only where it is."`
	RefreshToken string   `name:"refresh-token" placeholder:"SOURCE" help:"Where a refresh token is: env:NAME, file:PATH or -."`
	Username     string   `placeholder:"NAME" help:"Administrator of the registry."`
	Password     string   `placeholder:"SOURCE" help:"Where the administrator's password is: env:NAME, file:PATH or -."`
	TokenURL     string   `name:"token-url" placeholder:"URL" help:"Token endpoint. Default: that of the context, else the server is asked."`
	Scope        []string `placeholder:"SCOPE" help:"Scopes to ask for; several with commas or by repeating."`
	Audience     string   `placeholder:"TEXT" help:"Audience to ask for."`
	JSONRequest  bool     `name:"json-request" help:"Ask the token endpoint with JSON instead of a form."`
}

// loggedIn is the result of "auth login".
type loggedIn struct {
	Effect      string   `json:"effect"`
	LoggedIn    bool     `json:"logged_in"`
	Status      string   `json:"status"` // logged_in, pending; not_started in a dry run
	Grant       string   `json:"grant"`
	User        *string  `json:"user"`
	Client      *string  `json:"client"`
	Server      string   `json:"server"`
	Context     *string  `json:"context"`
	Scopes      []string `json:"scopes"` // null: not told
	ExpiresAt   *string  `json:"expires_at"`
	Refreshable bool     `json:"refreshable"`
	StoredIn    *string  `json:"stored_in"` // a file, or keyring
	// OpenURL, UserCode and NextCommand are those of a device login that waits.
	OpenURL     *string `json:"open_url"`
	UserCode    *string `json:"user_code"`
	NextCommand *string `json:"next_command"`
}

func (*authLogin) row() row {
	return row{
		groups: []argumentGroup{
			{"needs", []string{"--grant client_credentials", "--client-id", "--client-secret"}}, {"needs", []string{"--grant token", "--token"}},
			{"needs", []string{"--grant refresh_token", "--refresh-token", "--client-id"}}, {"needs", []string{"--grant password", "--username", "--password"}},
		},
		danger: mutating, data: loggedIn{}, timeout: 10 * time.Minute, stdin: 32 << 10, exits: authExits(),
		long: "Secrets come from variables, files or standard input, never from arguments. auto: --username is a password login, --refresh-token and --token " +
			"are what they say, and a client id with a secret is client_credentials, also from the environment. A person with none of these is asked. " +
			"A token is shown to the server first, if it answers, and not stored if it is refused. Exit code 0 means that the next call uses the login. " +
			"A device login prints the address and the code; nothing is opened. Without a terminal it ends at once with status pending and the command that goes on.",
		examples: []string{
			"arcd auth login --headless",
			"arcd auth login --grant client_credentials --client-id ci --client-secret env:CI_SECRET",
			"arcd auth login --token file:token.txt", "arcd auth login --grant device --client-id cli --wait",
			"arcd auth login --username admin --password env:ADMIN_PASSWORD --server https://arc.example",
		},
	}
}

func (a *authLogin) check(p *problems) {
	stdin := 0
	for _, source := range []struct{ flag, text string }{
		{"--client-secret", a.ClientSecret}, {"--refresh-token", a.RefreshToken}, {"--password", a.Password},
	} {
		if _, err := credential.ParseSource(source.text); source.text != "" && err != nil {
			p.report(outcome.Problem{Code: outcome.SecretInArgv, Field: source.flag, Message: "takes env:NAME, file:PATH or - (standard input), never the secret itself"})
		}
		if source.text == "-" {
			if stdin++; stdin > 1 {
				p.add(source.flag, "cannot be standard input too")
			}
		}
	}
	if u, err := url.Parse(a.TokenURL); a.TokenURL != "" && (err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https") {
		p.add("--token-url", "must be a URL that begins with https:// or http://, without a user")
	}
	if a.Username != "" && a.Grant != grantAuto && a.Grant != grantPassword {
		p.add("--username", "goes with --grant password only")
	}
}

// login is one run of authLogin.
type login struct {
	*authLogin
	c      *console
	l      *link
	target credential.Target
	person bool // somebody at a terminal
}

func (a *authLogin) run(ctx context.Context, c *console) (any, error) {
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	in := &login{authLogin: a, c: c, l: l, target: l.target, person: c.asks() && !a.Headless}
	c.meta.Headless = !in.person
	in.aim()
	grant, err := in.choose(ctx)
	if err != nil {
		return nil, err
	}
	if lacks := in.missing(grant); len(lacks) > 0 {
		return nil, lacksPartners(grant, lacks)
	}
	if a.DryRun {
		return in.preview(ctx, grant), nil
	}
	result, err := in.do(ctx, grant)
	if pending, ok := errors.AsType[*credential.PendingError](err); ok {
		return in.pending(pending.Login), nil
	}
	if result == nil {
		return nil, in.failed(ctx, err)
	}
	return in.done(grant, result, err)
}

// aim takes over what the flags say about the token that is wanted.
func (in *login) aim() {
	t := &in.target
	t.Token = credential.Origin{}
	if in.TokenURL != "" {
		t.TokenURL = in.TokenURL
	}
	if in.ClientID != "" {
		t.ClientID = in.ClientID
	}
	if len(in.Scope) > 0 {
		t.Scopes = words(in.Scope)
	}
	if in.Audience != "" {
		t.Audience = in.Audience
	}
}

// clientKnown tells whether a client id is there.
func (in *login) clientKnown() bool {
	return in.target.ClientID != "" || in.c.variable(credential.EnvClientID) != ""
}

// secretKnown tells whether the client's secret is there.
func (in *login) secretKnown() bool {
	own := in.c.variable(credential.EnvClientSecret) != "" || in.c.variable(credential.EnvClientSecretFile) != ""
	return in.ClientSecret != "" || own && (in.target.ClientID == "" || in.target.ClientID == in.c.variable(credential.EnvClientID))
}

// choose finds the grant.
func (in *login) choose(ctx context.Context) (string, error) {
	switch {
	case in.Grant != grantAuto:
		return in.Grant, nil
	case in.Username != "":
		return grantPassword, nil
	case in.RefreshToken != "":
		return grantRefreshToken, nil
	case in.c.globals.Token != "":
		return grantToken, nil
	case in.clientKnown() && in.secretKnown(), in.ClientSecret != "":
		return grantClient, nil
	case !in.person:
		return "", in.nothing()
	case in.clientKnown() && in.hasDevice(ctx):
		return grantDevice, nil
	}
	return grantClient, nil // its id and secret are asked for
}

// hasDevice tells whether the server's authorization server has device logins.
func (in *login) hasDevice(ctx context.Context) bool {
	found, err := (&client.Client{URL: in.l.server, HTTP: in.l.http}).Discover(ctx)
	return err == nil && found.DeviceEndpoint != ""
}

// nothing is the error of a login without anything to log in with.
func (in *login) nothing() error {
	e := outcome.Errorf(outcome.InputRequired, "There is nothing to log in with, and nobody to ask.")
	e.Auth = &outcome.Auth{DetectedBy: "client"}
	in.c.completeAuth(e)
	e.Hint = fmt.Sprintf("Set %s with %s or %s, or %s, or use --token env:NAME or file:PATH.",
		credential.EnvClientID, credential.EnvClientSecret, credential.EnvClientSecretFile, credential.EnvToken)
	e.FixRequired, e.Suggestion = "Supply a credential.", e.Hint
	return e
}

// missing lists the partners that a grant needs and that are not there. What a
// person can be asked for is none of them.
func (in *login) missing(grant string) []outcome.Problem {
	var all []outcome.Problem
	lacks := func(flag, hint string) {
		all = append(all, outcome.Problem{Code: outcome.Validation, Field: flag, Message: "is missing for --grant " + grant, Suggestion: hint})
	}
	switch grant {
	case grantClient:
		if !in.clientKnown() && !in.person {
			lacks("--client-id", "Or set "+credential.EnvClientID+".")
		}
		if !in.secretKnown() && !in.person {
			lacks("--client-secret", "Or set "+credential.EnvClientSecret+" or "+credential.EnvClientSecretFile+".")
		}
	case grantToken:
		if in.c.globals.Token == "" {
			lacks("--token", "Say where the token is: env:NAME, file:PATH or -.")
		}
	case grantDevice:
		if !in.clientKnown() {
			lacks("--client-id", "Or set "+credential.EnvClientID+".")
		}
	case grantPassword:
		if in.Username == "" {
			lacks("--username", "The administrator's name.")
		}
		if in.Password == "" && !in.person {
			lacks("--password", "Say where the password is: env:NAME, file:PATH or -.")
		}
	case grantRefreshToken:
		if in.RefreshToken == "" {
			lacks("--refresh-token", "Say where the refresh token is: env:NAME, file:PATH or -.")
		}
		if !in.clientKnown() {
			lacks("--client-id", "Or set "+credential.EnvClientID+".")
		}
	}
	return all
}

// lacksPartners is the error of a grant that misses flags.
func lacksPartners(grant string, lacks []outcome.Problem) error {
	e := outcome.Invalid(lacks...)
	for _, p := range lacks {
		e.MissingArgs = append(e.MissingArgs, p.Field)
	}
	e.Message = "--grant " + grant + " needs " + strings.Join(e.MissingArgs, " and ") + "."
	return e
}

// preview tells what the login would do, without asking anybody.
func (in *login) preview(ctx context.Context, grant string) loggedIn {
	data := in.begin(grant)
	data.Effect, data.Status = "would_create", "not_started"
	if _, err := in.l.stored(ctx); err == nil {
		data.Effect = "would_update"
	}
	return data
}

// begin is what every result has.
func (in *login) begin(grant string) loggedIn {
	return loggedIn{Grant: grant, Client: optional(in.target.ClientID), Server: in.l.server, Context: optional(in.l.name)}
}

// done is the result of a login that was stored; err is set where another token
// hides it.
func (in *login) done(grant string, r *credential.Result, err error) (any, error) {
	data, found := in.begin(grant), r.Credential
	in.c.hold(in.l, found)
	f := found.Facts
	data.Effect, data.LoggedIn, data.Status = string(r.Effect), err == nil, "logged_in"
	data.User, data.Scopes, data.ExpiresAt, data.Refreshable = user(f), f.Scopes, outcome.Instant(f.ExpiresAt), found.Refreshable
	data.StoredIn = optional(r.Kept)
	if data.Client == nil {
		data.Client = optional(f.ClientID)
	}
	if hidden, ok := errors.AsType[*credential.HiddenError](err); ok {
		e := outcome.Errorf(outcome.Precondition, "The login is stored, but %s holds an expired token of another identity, which goes before it.", hidden.Setting).Because(err)
		e.FixRequired = "Unset " + hidden.Setting + "."
		return data, e.Suggest("Unset %s, then send your command again.", hidden.Setting)
	}
	if err != nil {
		return data, in.c.classify(err)
	}
	if r.HiddenBy != "" { // exit code 0 means that the next call uses the login
		data.LoggedIn = false
		e := outcome.Errorf(outcome.Precondition, "The login is stored, but %s holds another token, which goes before it.", r.HiddenBy)
		e.FixRequired = "Unset " + r.HiddenBy + "."
		return data, e.Suggest("Unset %s, then send your command again.", r.HiddenBy)
	}
	return data, in.lacksAsked(f.Scopes)
}

// failed is the error of a login.
func (in *login) failed(ctx context.Context, err error) error {
	if interrupted(err) && ctx.Err() != nil {
		return err
	}
	rejected, ok := errors.AsType[*credential.RejectedError](err)
	if !ok {
		e := in.c.classify(err)
		if errors.Is(err, credential.ErrNotRefreshable) {
			e.Suggest("Name the token endpoint with --token-url URL.")
		}
		if e.Network != nil {
			in.l.target.TokenURL = in.target.TokenURL
			in.c.noTokenService(e, err)
		}
		return e
	}
	code, cure := outcome.TokenInvalid, "Check the name and the secret that the login was made with."
	switch rejected.Code {
	case "invalid_scope", "access_denied", "unauthorized_client", "invalid_target":
		code, cure = outcome.PermissionDenied, "Ask whoever manages the token service, or ask for less with --scope and --audience."
	case "expired_token":
		cure = "The code is over; run the same command again for another one."
	}
	e := outcome.Errorf(code, "The login was refused (%s).", rejected.Code).Because(err)
	e.Auth = &outcome.Auth{DetectedBy: "server"}
	in.c.completeAuth(e)
	e.Hint, e.FixRequired, e.Detail, e.FixCommand = cure, cure, cure, ""
	return e.Suggest("%s", cure)
}

func (d loggedIn) show(p *page) {
	switch d.Status {
	case "pending":
		p.line("Open %s and enter the code %s", outcome.Clean(value(d.OpenURL)), p.paint(bold, value(d.UserCode)))
		p.field("then", value(d.NextCommand))
		return
	case "not_started":
		p.line("Would log in at %s (%s).", outcome.Clean(d.Server), d.Grant)
		return
	}
	p.line("%s", p.paint(green, "Logged in."))
	p.field("user", value(d.User))
	p.field("server", d.Server)
	p.field("context", value(d.Context))
	showScopes(p, d.Scopes)
	p.field("expires", value(d.ExpiresAt))
	p.field("refresh", map[bool]string{true: "possible: arcd auth refresh", false: "not possible"}[d.Refreshable])
	p.field("stored in", value(d.StoredIn))
}

func (d loggedIn) plain() []string {
	if d.Status == "pending" {
		return []string{value(d.OpenURL), value(d.UserCode)}
	}
	return []string{d.Status}
}

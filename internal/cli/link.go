package cli

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// defaultServer is the server of those who name none: that of "arcd serve" on
// this machine.
const defaultServer = "http://127.0.0.1:8001/arc"

// link is how a command calls a server: which one, with what credential.
type link struct {
	server   string // URL of the endpoint
	name     string // of the context, "" for none
	context  credential.Context
	contexts credential.ContextFile
	store    *credential.Store
	target   credential.Target
	http     *http.Client

	found   *credential.Credential // nil: no token is sent
	source  *credential.Source
	clients map[bool]*client.Client // by whether they speak JSON-RPC
}

// place finds the server and the context. It reads files, and calls nobody.
func (c *console) place(ctx context.Context) (*link, error) {
	if c.link != nil {
		return c.link, nil
	}
	l := &link{clients: map[bool]*client.Client{}}
	folders, err := credential.FindFolders(c.env, c.globals.InstanceID)
	if err != nil {
		return nil, c.classify(err)
	}
	if err := l.choose(c, folders); err != nil {
		return nil, err
	}
	l.http, err = client.NewHTTP(client.HTTPConfig{
		CAFile: cmp.Or(c.globals.CAFile, l.context.CAFile), ConnectTimeout: c.globals.ConnectTimeout,
	})
	if err != nil {
		return nil, outcome.Errorf(outcome.TLSConfig, "The file of authorities (--ca-file) cannot be used: %v.", err).Because(err)
	}
	c.traced(l.http)
	if u, err := url.Parse(l.server); err == nil {
		l.http.Transport = &dated{link: l, host: u.Host, next: l.http.Transport}
	}
	l.store = &credential.Store{Folder: folders.State, Environ: c.env, Stdin: c.stdin, HTTP: l.http}
	l.target = credential.Target{
		Server: l.server, Context: l.name, NoSuccessor: c.globals.NoTokenSuccessor,
		TokenURL: l.context.TokenURL, ClientID: l.context.ClientID, Scopes: l.context.Scopes, Audience: l.context.Audience,
	}
	if c.globals.Token != "" {
		if l.target.Token, err = credential.ParseSource(c.globals.Token); err != nil {
			return nil, c.classify(err)
		}
	}
	c.link = l
	c.meta.Server, c.meta.Context = l.server, l.name
	return l, nil
}

// choose finds which server is meant: --server, else that of the context.
func (l *link) choose(c *console, folders credential.Folders) error {
	g := c.globals
	l.contexts = credential.ContextFile{Folder: folders.Config}
	if !g.NoConfig {
		all, err := l.contexts.Load()
		if err != nil {
			return c.classify(err)
		}
		if len(all.Contexts) > 0 {
			c.meta.ConfigSources = append(c.meta.ConfigSources, l.contexts.Path())
		}
		l.name = g.Context
		if l.name == "" && g.Server == "" {
			l.name = all.Current
		}
		if l.name != "" {
			known, ok := all.Contexts[l.name]
			if !ok {
				return unknownContext(l.name, all)
			}
			l.context = known
		}
	} else if g.Context != "" {
		return outcome.Errorf(outcome.ContextNotFound, "--no-config leaves out the context %q.", g.Context)
	}
	l.server = cmp.Or(g.Server, l.context.Server, defaultServer)
	return nil
}

// client gives the client for calls to an agent. Without an agent it speaks
// JSON-RPC, in which the id of a task or chat says which agent it is.
func (c *console) client(ctx context.Context, agent string) (*client.Client, error) {
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	if l.found == nil {
		if err := c.present(ctx, l); err != nil {
			return nil, err
		}
	}
	return l.speak(c, agent == ""), nil
}

// speak makes a client, once for each envelope.
func (l *link) speak(c *console, jsonRPC bool) *client.Client {
	if made := l.clients[jsonRPC]; made != nil {
		return made
	}
	made := &client.Client{
		URL: l.server, Agent: cmp.Or(c.globals.As, l.context.Agent), TraceID: c.globals.TraceID, JSONRPC: jsonRPC,
		HTTP: l.http, Attempts: c.globals.Retries + 1,
	}
	if l.found != nil {
		made.Token, made.Fingerprint = l.source, l.found.Fingerprint
		if _, ok := checkIdentifier("--as", l.found.Facts.Agent); ok && !jsonRPC { // with JSON-RPC the server does that
			made.Agent = cmp.Or(made.Agent, l.found.Facts.Agent)
		}
	}
	l.clients[jsonRPC] = made
	return made
}

// present finds the credential, and refuses one that has certainly expired before
// anything is sent (contract section 2.5).
func (c *console) present(ctx context.Context, l *link) error {
	source := &credential.Source{Store: l.store, Target: l.target, Auto: c.globals.AutoRefresh, Refreshed: c.refreshed}
	found, err := l.store.Resolve(ctx, l.target)
	if errors.Is(err, credential.ErrUnreadable) {
		return c.unusable(err) // no token at all, as a malformed one
	}
	if none, ok := errors.AsType[*credential.NoneError](err); ok && none.Mintable && source.Auto {
		if _, err = source.Token(ctx, ""); err == nil {
			found, err = source.Credential(ctx)
		}
	}
	if err != nil {
		return c.classify(err)
	}
	c.uses(found)
	if found.ExpiredAt(c.now()) && !c.globals.AutoRefresh {
		return c.expired(found)
	}
	l.found, l.source = found, source
	return nil
}

// refreshed tells in the envelope that the credential was renewed on the way.
func (c *console) refreshed(r *credential.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.meta.Reauthenticated = true
	c.meta.Credential = credentialMeta(r.Credential, c.now())
}

// uses tells in the envelope which credential it is, and warns of one that runs
// out soon.
func (c *console) uses(found *credential.Credential) {
	c.meta.Credential = credentialMeta(found, c.now())
	c.warnExcess(found)
	if left, known := found.Left(c.now()); known && left > 0 && left < soon && !c.globals.AutoRefresh {
		c.warn("CREDENTIAL_EXPIRING", "the credential runs out in %d seconds", int64(left/time.Second))
	}
	if found.Superseded != "" {
		c.warn("ENV_TOKEN_SUPERSEDED", "the token of %s has expired; the one that replaced it is used", found.Setting)
	}
}

func credentialMeta(found *credential.Credential, now time.Time) *outcome.Credential {
	about := &outcome.Credential{Source: found.Source, ExpiresAt: outcome.Instant(found.Facts.ExpiresAt), Refreshable: found.Refreshable}
	if left, known := found.Left(now); known {
		seconds := int64(left / time.Second)
		about.ExpiresInS = &seconds
	}
	return about
}

// soon is when a credential that runs out is warned of.
const soon = 5 * time.Minute

// credentialErrors is the table from errors of package credential to codes.
var credentialErrors = []struct {
	err  error
	code outcome.Code
}{
	{credential.ErrLocked, outcome.LockHeld}, {credential.ErrDamaged, outcome.StateUnusable}, {credential.ErrExposed, outcome.StateUnusable},
	{credential.ErrNoFolder, outcome.StateUnusable}, {credential.ErrSecretInArgv, outcome.SecretInArgv}, {credential.ErrUnreadable, outcome.Precondition},
	{credential.ErrRejected, outcome.RefreshRejected}, {credential.ErrNotRefreshable, outcome.Precondition}, {credential.ErrOtherIdentity, outcome.RefreshRejected},
	{credential.ErrHidden, outcome.Precondition}, {credential.ErrPending, outcome.Precondition}, {credential.ErrKeyring, outcome.StateUnusable},
	{credential.ErrInvalid, outcome.Validation},
}

// classify makes the error object of whatever went wrong.
func (c *console) classify(err error) *outcome.Error {
	if e, ok := errors.AsType[*outcome.Error](err); ok {
		return e
	}
	if errors.Is(err, credential.ErrNone) {
		return c.noCredential(err)
	}
	for _, row := range credentialErrors {
		if errors.Is(err, row.err) {
			e := outcome.Errorf(row.code, "%s", outcome.Sentence(outcome.Clean(err.Error()))).Because(err)
			if locked, ok := errors.AsType[*credential.LockedError](err); ok {
				e.After(locked.RetryAfter)
			}
			if row.code == outcome.RefreshRejected {
				c.completeAuth(e)
			}
			return e
		}
	}
	if c.link == nil {
		return outcome.Of(err)
	}
	if e := tokenService(err); e != nil {
		return e
	}
	e := outcome.Classify(err, c.callFacts())
	if e.Network != nil {
		c.nameProxy(e.Network)
	}
	if e.Auth != nil {
		c.completeAuth(e)
	}
	return e
}

// callFacts is what is known of a call that failed.
func (c *console) callFacts() outcome.Call {
	l := c.link
	facts := outcome.Call{Server: l.server, Now: c.now()}
	if c.parsed.command != nil {
		r := c.parsed.command.row()
		facts.Method, facts.Required, facts.ReadOnly = r.method, r.requiredScopes(), r.danger == safe
	}
	if l.found != nil {
		facts.Sent, facts.Expires, facts.Scopes = true, l.found.Facts.ExpiresAt, l.found.Facts.Scopes
		facts.Now = facts.Now.Add(l.found.Offset)
	}
	return facts
}

// classifyTimeout adds to a timeout whether it may be repeated, and where the
// command was.
func (c *console) classifyTimeout(e *outcome.Error, err error) {
	e.Repeatable(c.parsed.command != nil && c.parsed.command.row().danger == safe)
	if known, ok := errors.AsType[*outcome.Error](err); ok {
		e.ResumeFrom, e.CompletedSteps, e.FailedStep = known.ResumeFrom, known.CompletedSteps, known.FailedStep
		if known.Code == outcome.Timeout {
			e.Suggestion = known.Suggestion // the command knows better what to do then
		}
	}
}

// nameProxy tells whether a proxy stood between, and which variable named it.
func (c *console) nameProxy(n *outcome.Network) {
	n.NoProxy = optional(cmp.Or(c.variable("NO_PROXY"), c.variable("no_proxy")))
	u, err := url.Parse(c.link.server)
	if err != nil {
		return
	}
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	if err != nil || proxy == nil {
		return
	}
	n.ProxyUsed, n.Proxy = true, proxy.Redacted()
	for _, name := range []string{strings.ToUpper(u.Scheme) + "_PROXY", u.Scheme + "_proxy"} {
		if c.variable(name) != "" {
			n.ProxySource = &name
			return
		}
	}
}

// mintable tells whether the environment holds client credentials from which a
// token can be made.
func (c *console) mintable(e *outcome.Error) bool {
	none, ok := errors.AsType[*credential.NoneError](e)
	return ok && none.Mintable
}

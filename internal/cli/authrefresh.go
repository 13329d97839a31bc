package cli

import (
	"context"
	"errors"
	"strconv"
	"time"

	"golang.org/x/oauth2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// authRefresh is "arcd auth refresh".
type authRefresh struct {
	changing
	Force  bool          `help:"Get another token although the one at hand is good."`
	MinTTL time.Duration `name:"min-ttl" placeholder:"TIME" help:"How long the credential must still be good. Default: at all."`
}

// refreshed is the result of "auth refresh".
type refreshed struct {
	Effect     string  `json:"effect"` // updated; noop: the token at hand is good, or another process has renewed it
	Source     *string `json:"source"` // of the credential that the next call uses
	User       *string `json:"user"`
	ExpiresAt  *string `json:"expires_at"`
	ExpiresInS *int64  `json:"expires_in_s"`
	StoredIn   *string `json:"stored_in"` // a file, or keyring; null: nothing was stored
	Superseded *string `json:"supersedes"`
}

func (*authRefresh) row() row {
	return row{
		danger: mutating, data: refreshed{}, timeout: 30 * time.Second, exits: authExits(),
		long: "After exit code 0 the next call does not fail because of an expired credential. A token that is good is left alone (effect noop). " +
			"Any number of processes may do this at once: one asks the token service, the others take what it got. " +
			"An expired token of ARCD_TOKEN or ARCD_TOKEN_FILE gets a stored successor of the same identity, which is used in its place.",
		examples: []string{"arcd auth refresh", "arcd auth refresh --min-ttl 10m"},
	}
}

func (r *authRefresh) check(p *problems) {
	if r.MinTTL < 0 {
		p.add("--min-ttl", "must not be negative")
	}
}

func (r *authRefresh) run(ctx context.Context, c *console) (any, error) {
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	found, err := l.store.Resolve(ctx, l.target)
	if err == nil {
		l.found = found // so that errors can say which credential it is
	}
	if r.DryRun {
		return r.preview(c, found, err)
	}
	result, err := l.store.Refresh(ctx, l.target, credential.RefreshOptions{Force: r.Force, MinTTL: r.MinTTL})
	if err != nil {
		return nil, c.refreshFailed(ctx, err)
	}
	c.hold(l, result.Credential)
	data := refreshedBy(c, string(result.Effect), result.Credential)
	data.StoredIn = optional(result.Kept)
	if left, known := result.Credential.Left(c.now()); known && left < r.MinTTL {
		e := outcome.Errorf(outcome.Precondition, "The token service has just given a token for %s, and %s are asked for.", short(left.Round(time.Second)), short(r.MinTTL))
		return data, e.Suggest("Ask for a shorter --min-ttl.")
	}
	return data, nil
}

// preview tells what a refresh would do.
func (r *authRefresh) preview(c *console, found *credential.Credential, err error) (any, error) {
	if err != nil {
		e := c.classify(err)
		if e.Code == outcome.AuthRequired && c.mintable(e) {
			return refreshed{Effect: "would_update"}, nil
		}
		return nil, e
	}
	c.uses(found)
	state := c.stateOf(found, r.MinTTL)
	effect := "would_update"
	if state == stateValid && !r.Force {
		effect = "noop"
	} else if !found.Refreshable {
		return nil, c.refreshFailed(context.Background(), credential.ErrNotRefreshable)
	}
	return refreshedBy(c, effect, found), nil
}

func refreshedBy(c *console, effect string, used *credential.Credential) refreshed {
	data := refreshed{
		Effect: effect, Source: &used.Source, User: user(used.Facts), ExpiresAt: outcome.Instant(used.Facts.ExpiresAt), Superseded: optional(used.Superseded),
	}
	if left, known := used.Left(c.now()); known {
		seconds := int64(left / time.Second)
		data.ExpiresInS = &seconds
	}
	return data
}

// refreshFailed is the error of a refresh. It is never that of an expired
// credential, whose cure is a refresh: that would go in circles.
func (c *console) refreshFailed(ctx context.Context, err error) error {
	if interrupted(err) && ctx.Err() != nil {
		return err
	}
	e := c.classify(err)
	switch {
	case errors.Is(err, credential.ErrNotRefreshable):
		e.Message = "There is nothing to renew the credential with."
		e.Detail = outcome.Clean(err.Error())
		c.completeAuth(e)
		e.FixCommand = ""
	case e.Network != nil:
		c.noTokenService(e, err)
	case e.Code == outcome.RefreshRejected:
		e.Message = "The token service refuses to renew the credential."
		e.Detail = outcome.Clean(err.Error())
	case e.Code == outcome.Expired:
		e = outcome.Errorf(outcome.RefreshRejected, "The token service takes the credential for expired, and renews it no more.").Because(err)
		c.completeAuth(e)
	}
	return e
}

// noTokenService makes the error of a call one of a token request: what is down
// need not be the server.
func (c *console) noTokenService(e *outcome.Error, err error) {
	if e.Code == outcome.ConnectionFailed || e.Code == outcome.Timeout || e.Code == outcome.TLSConfig {
		e.Message = "The token service gives no answer: " + shorten(outcome.Clean(err.Error())) + "."
		e.Suggestion = "Check the token endpoint: " + c.nextCommand("doctor auth")
	}
	if address := c.link.target.TokenURL; address != "" {
		e.Network.Server = address
	}
}

// tokenService makes the error of a token endpoint that asks for a pause or failed,
// nil for what is neither. It is not what the server says.
func tokenService(err error) *outcome.Error {
	refused, ok := errors.AsType[*oauth2.RetrieveError](err)
	switch {
	case !ok || refused.Response == nil:
		return nil
	case errors.Is(err, arc.ErrRateLimited):
		seconds, _ := strconv.Atoi(refused.Response.Header.Get("Retry-After")) // a date is as good as nothing
		pause := time.Duration(min(max(seconds, 1), 3600)) * time.Second
		return outcome.Errorf(outcome.RateLimited, "The token service asks for a pause.").Because(err).After(pause)
	case errors.Is(err, arc.ErrInternal):
		return outcome.Errorf(outcome.ServerError, "The token service failed: HTTP status %d.", refused.Response.StatusCode).Because(err)
	}
	return nil
}

func (r refreshed) show(p *page) {
	switch r.Effect {
	case "noop":
		p.line("The credential is good.")
	case "would_update":
		p.line("The credential would be renewed.")
	default:
		p.line("%s", p.paint(green, "The credential was renewed."))
	}
	p.field("user", value(r.User))
	p.field("expires", value(r.ExpiresAt))
	p.field("stored in", value(r.StoredIn))
	p.field("instead of", value(r.Superseded))
}

func (r refreshed) plain() []string { return []string{r.Effect} }

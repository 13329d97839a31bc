package cli

import (
	"context"
	"time"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// authLogout is "arcd auth logout".
type authLogout struct {
	destroying
	Local bool `help:"Only delete it here; the server is not asked to take it back."`
}

// loggedOut is the result of "auth logout".
type loggedOut struct {
	Effect  string  `json:"effect"`  // deleted, noop, would_delete
	Source  *string `json:"source"`  // what was deleted; null: nothing
	Revoked *bool   `json:"revoked"` // the server took it back; null: it was not asked
	Remains *string `json:"remains"` // the variable that still gives a token
	Server  string  `json:"server"`
	Context *string `json:"context"`
	// Audit says who destroyed what; null where nothing was.
	Audit *audit `json:"audit"`
}

func (*authLogout) row() row {
	return row{
		danger: destructive, data: loggedOut{}, timeout: 30 * time.Second, exits: authExits(),
		long:     "Nothing stored is no failure (effect noop). What the server says does not hold the deletion up.",
		examples: []string{"arcd auth logout --confirm-destructive", "arcd auth logout --dry-run"},
	}
}

func (a *authLogout) run(ctx context.Context, c *console) (any, error) {
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	ahead, err := l.store.Logout(ctx, l.target, credential.LogoutOptions{DryRun: true})
	if err != nil {
		return nil, c.classify(err)
	}
	data := loggedOut{Effect: wouldBe(ahead.Effect), Source: optional(ahead.Source), Remains: optional(ahead.Remains), Server: l.server, Context: optional(l.name)}
	if ahead.Effect != credential.Noop {
		if err := a.gate(c, "delete", "the credential "+ahead.Source+" for "+l.server); err != nil {
			return data, err
		}
	}
	if a.DryRun || ahead.Effect == credential.Noop {
		return data, nil
	}
	done, err := l.store.Logout(ctx, l.target, credential.LogoutOptions{Local: a.Local})
	if err != nil {
		return nil, c.classify(err)
	}
	data.Effect = string(done.Effect)
	if !a.Local {
		data.Revoked = &done.Revoked
	}
	data.Audit = c.auditOf(ahead.Source)
	c.warnLogout(done)
	return data, nil
}

// warnLogout tells what a logout could not do.
func (c *console) warnLogout(done *credential.LogoutResult) {
	if done.RevokeErr != nil {
		c.warn("NOT_REVOKED", "the server did not take the token back, so it stays good until it expires: %s", outcome.Clean(done.RevokeErr.Error()))
	}
	if done.KeyringErr != nil {
		c.warn("KEYRING_NOT_CLEARED", "secrets stay in the keyring: %s", outcome.Clean(done.KeyringErr.Error()))
	}
	if done.Remains != "" {
		c.warn("TOKEN_REMAINS", "%s still holds a token, which calls go on using; unset it", done.Remains)
	}
}

func (d loggedOut) show(p *page) {
	switch d.Effect {
	case "noop":
		p.line("Nothing was stored.")
	case "would_delete":
		p.line("Would delete %s for %s.", outcome.Clean(value(d.Source)), outcome.Clean(d.Server))
	default:
		p.line("Deleted %s for %s.", outcome.Clean(value(d.Source)), outcome.Clean(d.Server))
	}
}

func (d loggedOut) plain() []string { return []string{d.Effect} }

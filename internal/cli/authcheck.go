package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// authCheck is "arcd auth check".
type authCheck struct {
	For string `placeholder:"COMMAND" help:"The command, as task.create. Default: all that need scopes."`
}

// permissions is the result of "auth check".
type permissions struct {
	Command        *string  `json:"command"`         // null: all
	RequiredScopes []string `json:"required_scopes"` // of the command, or of all
	ActiveScopes   []string `json:"active_scopes"`   // null: the token does not tell
	MissingScopes  []string `json:"missing_scopes"`  // null: unknown
	OverPrivileged *bool    `json:"over_privileged"` // it has scopes that are not needed; null: unknown
	ExtraScopes    []string `json:"extra_scopes"`    // those
	// Commands are all commands that need scopes; null with --for.
	Commands map[string]commandScopes `json:"commands"`
}

// commandScopes says whether one command is allowed.
type commandScopes struct {
	RequiredScopes []string `json:"required_scopes"`
	MissingScopes  []string `json:"missing_scopes"`
	Allowed        *bool    `json:"allowed"` // null: unknown
}

func (*authCheck) row() row {
	return row{
		danger: safe, data: permissions{}, timeout: 30 * time.Second, exits: authExits(outcome.ExitExpired),
		long: "The scopes are those that the token itself names, and the matrix is that of the specification; the server may be set up otherwise. " +
			"Nobody is called, unless --auto-refresh has something to renew. With --for, missing scopes are exit code 8.",
		examples: []string{"arcd auth check", "arcd auth check --for task.create"},
	}
}

func (a *authCheck) run(ctx context.Context, c *console) (any, error) {
	needs := c.scopesByCommand()
	name := strings.Join(strings.Fields(a.For), ".")
	required, known := needs[name]
	if a.For != "" && !known {
		return nil, unknownFor(a.For, needs, c)
	}
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.present(ctx, l); err != nil {
		return nil, err
	}
	active := l.found.Facts.Scopes
	if active == nil {
		c.warn("SCOPES_UNKNOWN", "the token of %s does not tell its scopes", l.found.Source)
	}
	data := permissions{ActiveScopes: active}
	if a.For == "" {
		data.Commands = map[string]commandScopes{}
		for name, scopes := range needs {
			data.Commands[name] = judgeScopes(scopes, active)
			required = append(required, scopes...)
		}
		slices.Sort(required)
		required = slices.Compact(required)
	} else {
		data.Command = &name
	}
	verdict := judgeScopes(required, active)
	data.RequiredScopes, data.MissingScopes = verdict.RequiredScopes, verdict.MissingScopes
	if active != nil {
		data.ExtraScopes = outcome.Without(active, required)
		over := len(data.ExtraScopes) > 0
		data.OverPrivileged = &over
	}
	if a.For != "" && len(data.MissingScopes) > 0 {
		return data, c.lacksScopes(name, data)
	}
	return data, nil
}

// scopesByCommand gives the scopes that each command needs, by its name in dots.
// Commands that need none are there only if they call a server.
func (c *console) scopesByCommand() map[string][]string {
	all := map[string][]string{}
	for _, leaf := range c.parsed.whole().Leaves(true) {
		if command, ok := commandOf(leaf); ok {
			if r := command.row(); r.calls() || len(r.requiredScopes()) > 0 {
				all[strings.ReplaceAll(commandPath(leaf), " ", ".")] = r.requiredScopes()
			}
		}
	}
	return all
}

// unknownFor is the error of a --for that names no command which calls a server.
func unknownFor(name string, needs map[string][]string, c *console) error {
	problem := outcome.Problem{Code: outcome.Validation, Field: "--for", Input: shorten(name), Message: "names no command that calls a server"}
	for _, leaf := range c.parsed.whole().Leaves(true) {
		if strings.Join(strings.Fields(commandPath(leaf)), ".") == strings.Join(strings.Fields(name), ".") {
			problem.Message = "names a command that needs no credential"
		}
	}
	problem.Corrected = nearest(name, sortedNames(needs))
	return outcome.Invalid(problem)
}

// judgeScopes compares what is needed with what is there.
func judgeScopes(required, active []string) commandScopes {
	s := commandScopes{RequiredScopes: append([]string{}, required...)}
	if active != nil || len(required) == 0 {
		s.MissingScopes = outcome.Without(required, active)
		allowed := len(s.MissingScopes) == 0
		s.Allowed = &allowed
	}
	return s
}

// lacksScopes is the error of a credential that may not do what is asked about.
func (c *console) lacksScopes(name string, data permissions) *outcome.Error {
	e := outcome.Errorf(outcome.PermissionDenied, "The credential lacks scopes that %s needs.", name)
	missing := strings.Join(data.MissingScopes, " ")
	e.RequiredScopes, e.ActiveScopes, e.MissingScopes = data.RequiredScopes, data.ActiveScopes, data.MissingScopes
	e.Auth = &outcome.Auth{ExpiresAt: outcome.Instant(c.link.found.Facts.ExpiresAt), RequiredPermission: &missing, DetectedBy: "client"}
	c.completeAuth(e)
	return e
}

// warnExcess warns of a credential that can both call agents and act as one: no
// command needs that, and whoever gets hold of it can do more than the caller
// meant. Finer differences are for "auth check".
func (c *console) warnExcess(found *credential.Credential) {
	if c.parsed.command == nil || c.parsed.command.row().daemon { // what its programs call is not known
		return
	}
	required, active := c.parsed.command.row().requiredScopes(), found.Facts.Scopes
	agents := []string{auth.ScopeServe, auth.ScopeNotify}
	for _, role := range [][2][]string{{{auth.ScopeCaller}, agents}, {agents, {auth.ScopeCaller, auth.ScopeTask, auth.ScopeChat}}} {
		needed, other := role[0], role[1]
		if !slices.ContainsFunc(required, func(s string) bool { return slices.Contains(needed, s) }) {
			continue
		}
		if extra := slices.DeleteFunc(slices.Clone(other), func(s string) bool { return !slices.Contains(active, s) || slices.Contains(required, s) }); len(extra) > 0 {
			c.warn("OVER_PRIVILEGED", "the credential has scopes that this command does not need: %s; one with fewer would do", strings.Join(extra, " "))
		}
		return
	}
}

func (d permissions) show(p *page) {
	if d.Command == nil {
		var rows [][]string
		for _, name := range sortedNames(d.Commands) {
			need := d.Commands[name]
			allowed := "?"
			if need.Allowed != nil {
				allowed = map[bool]string{true: "yes", false: "no"}[*need.Allowed]
			}
			rows = append(rows, []string{strings.ReplaceAll(name, ".", " "), allowed, strings.Join(need.MissingScopes, " ")})
		}
		p.table([]string{"COMMAND", "ALLOWED", "MISSING"}, rows)
		p.line("")
	} else {
		p.field("command", *d.Command)
		p.field("needs", strings.Join(d.RequiredScopes, "\n"))
		p.field("missing", strings.Join(d.MissingScopes, "\n"))
		p.field("not needed", strings.Join(d.ExtraScopes, "\n"))
	}
	showScopes(p, d.ActiveScopes)
}

func (d permissions) plain() []string { return d.MissingScopes }

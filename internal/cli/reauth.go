package cli

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// expired is the error of a credential that has run out by its own word.
func (c *console) expired(found *credential.Credential) *outcome.Error {
	at := outcome.Instant(found.Facts.ExpiresAt)
	e := outcome.Errorf(outcome.Expired, "The access token for %s ran out at %s.", c.link.server, *at)
	e.Auth = &outcome.Auth{Expired: true, ExpiredAt: at, ExpiresAt: at, DetectedBy: "client"}
	c.link.found = found
	c.completeAuth(e)
	return e
}

// noCredential is the error of a call that nothing was found for.
func (c *console) noCredential(err error) *outcome.Error {
	e := outcome.Errorf(outcome.AuthRequired, "No credential was found for %s.", c.link.server).Because(err)
	e.Auth = &outcome.Auth{DetectedBy: "client"}
	c.completeAuth(e)
	return e
}

// completeAuth fills in how the credential is cured (contract sections 2.4 and
// 2.6). Its commands are made of what the caller typed, never of what a server
// said, since an agent runs them blindly.
func (c *console) completeAuth(e *outcome.Error) {
	if e.Auth == nil {
		e.Auth = &outcome.Auth{DetectedBy: "server"}
	}
	a := e.Auth
	a.ReauthEnvVar = credential.EnvToken
	a.AuthMethods = authMethods()
	login := c.nextCommand("auth login --headless")
	refresh := c.nextCommand("auth refresh")
	named := c.globals.Token == "" || splittable(c.globals.Token)
	if !named { // only the caller can give another one; a refresh could not tell which token it is about
		login = c.nextCommand("auth login --headless --token env:" + credential.EnvToken)
	}
	found := c.foundCredential()
	if found != nil {
		a.CredentialSource = &found.Source
		if e.Code == outcome.Expired {
			e.Message = "The access token for " + c.link.server + " ran out" + at(a.ExpiredAt) + "."
		}
	}
	refreshable := named && (found != nil && found.Refreshable || found == nil && c.mintable(e))
	switch e.Code {
	case outcome.Expired, outcome.Expiring:
		a.ReauthCommand, a.Refreshable = login, refreshable
		e.FixRequired = "Renew the credential, then send the same command again."
		a.Hint = "Put a fresh token into " + credential.EnvToken + ", or log in: " + login + "."
		if refreshable {
			a.ReauthCommand, a.RefreshCommand, e.FixCommand = refresh, &refresh, refresh
			a.Hint = "Run " + refresh + ", or put a fresh token into " + credential.EnvToken + "."
		}
		e.Suggestion = "Run " + a.ReauthCommand + ", then send the same command again. arcd auth status shows the remaining time."
	case outcome.PermissionDenied:
		a.ReauthCommand, a.AuthMethods = login, []outcome.AuthMethod{}
		if a.RequiredPermission != nil {
			if known := c.knownScopes(*a.RequiredPermission); len(known) > 0 {
				a.ReauthCommand = login + " --scope " + strings.Join(known, ",")
			}
			a.Hint = "Ask whoever manages the credential for the scope " + *a.RequiredPermission + "."
		} else if e.ServerReason == reasonMismatch {
			a.Hint = "Use a token that names this agent (arcd client add NAME --agent ID makes such a client), or call as the agent that the token names, with --as."
		} else {
			a.Hint = "Ask whoever manages the server for the permission."
		}
		e.FixRequired = "Obtain the permission."
		e.Suggestion = a.Hint
	default: // AuthRequired, TokenInvalid, RefreshRejected
		a.ReauthCommand = login
		if refreshable && e.Code != outcome.RefreshRejected && (found == nil || found.Setting == "") {
			e.FixCommand = login
		}
		a.Hint = "Put a token into " + credential.EnvToken + ", or log in: " + login + "."
		e.FixRequired = "Supply a valid credential."
		e.Suggestion = a.Hint
	}
	if id := c.variable(credential.EnvClientID); id != "" && found != nil && strings.HasPrefix(found.Source, "store:") && found.Facts.ClientID != id {
		e.Suggestion += " " + credential.EnvClientID + " was not used: a stored login (" + found.Source + ") comes first; " + c.nextCommand("auth logout") + " removes it."
	}
}

// reasonMismatch is the server's reason for refusing a token that names another agent:
// the same login again cures nothing.
const reasonMismatch = "agent_mismatch"

// at writes when something was, if that is known.
func at(instant *string) string {
	if instant == nil {
		return ""
	}
	return " at " + *instant
}

// foundCredential is the credential of the call, nil if there is none.
func (c *console) foundCredential() *credential.Credential {
	if c.link == nil {
		return nil
	}
	return c.link.found
}

// authMethods lists how a credential can be given.
func authMethods() []outcome.AuthMethod {
	return []outcome.AuthMethod{
		{Type: "env_var", Name: credential.EnvToken, Hint: "an access token"},
		{Type: "env_var", Name: credential.EnvTokenFile, Hint: "the path of a file that holds an access token"},
		{Type: "env_var", Name: credential.EnvClientID, Hint: "a client id, with " + credential.EnvClientSecret + " or " + credential.EnvClientSecretFile + "; then: arcd auth login --headless"},
		{Type: "command", Name: "arcd auth login", Hint: "log in and store the credential"},
	}
}

// nextCommand makes the command line of a command that follows this call, to cure
// its credential or to go on: this program, the same server and credential, besides
// flags that the command has itself. It has no quotes and no blanks within an
// argument, because it is split at blanks.
func (c *console) nextCommand(command string) string {
	g := c.globals
	words := []string{c.program(), command}
	for _, flag := range []struct{ name, value string }{
		{"--context", g.Context}, {"--server", g.Server}, {"--instance-id", g.InstanceID}, {"--token", g.Token}, {"--ca-file", g.CAFile},
	} {
		if flag.value == "" || !splittable(flag.value) || c.fromEnvironment(flag.name) || strings.Contains(command, " "+flag.name+" ") {
			continue // the variable is there for the next command, too
		}
		words = append(words, flag.name, flag.value)
	}
	if g.NoConfig {
		words = append(words, "--no-config")
	}
	if g.NoTokenSuccessor && !c.fromEnvironment("--no-token-successor") {
		words = append(words, "--no-token-successor")
	}
	return strings.Join(words, " ")
}

// splittable tells whether a flag's value stays one word however the command line
// is split, and means the same in the next command: standard input is read only
// once. The brackets of an IPv6 address are let through.
func splittable(value string) bool {
	return value != "-" && !strings.ContainsFunc(value, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || strings.ContainsRune("\"'\\$`&|;<>()*?", r)
	})
}

// knownScopes gives those scopes of a text that a command of ours needs. The text
// may be a server's, and such must not get into a command line.
func (c *console) knownScopes(text string) []string {
	wanted := strings.Fields(text)
	known := map[string]bool{}
	for _, scopes := range c.scopesByCommand() {
		for _, scope := range scopes {
			known[scope] = true
		}
	}
	return slices.DeleteFunc(wanted, func(scope string) bool { return !known[scope] })
}

// fromEnvironment tells whether a global flag has its value from a variable.
func (c *console) fromEnvironment(flag string) bool {
	return strings.HasPrefix(c.parsed.origins[strings.TrimPrefix(flag, "--")], "env:")
}

// program is how this program is called: by its name, if that is what the name
// finds, else by its path.
func (c *console) program() string {
	const name = "arcd"
	own, err := os.Executable()
	if err != nil || strings.ContainsAny(own, " \t\n\"'\\$`") {
		return name
	}
	if found, err := exec.LookPath(name); err == nil && samePath(found, own) {
		return name
	}
	return own
}

// samePath tells whether two paths lead to one file.
func samePath(a, b string) bool {
	x, errA := filepath.EvalSymlinks(a)
	y, errB := filepath.EvalSymlinks(b)
	if errA != nil || errB != nil {
		return false
	}
	fx, errA := os.Stat(x)
	fy, errB := os.Stat(y)
	return errA == nil && errB == nil && os.SameFile(fx, fy)
}

// again is the command line that was typed, with more flags. "" if it holds what
// would have to be quoted, or what flags cannot stand behind.
func (c *console) again(extra ...string) string {
	for _, word := range c.args {
		if word == "" || word == "--" || strings.ContainsAny(word, " \t\n\"'\\$`&|;<>()*?[]{}~#!") {
			return ""
		}
	}
	return strings.Join(slices.Concat([]string{c.program()}, c.args, extra), " ")
}

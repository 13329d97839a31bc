package credential

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Store keeps the credentials of one instance. It is safe for concurrent use, by
// other processes too. It must not be copied after its first use.
//
// Secrets are in the file credentials.json (mode 0600 in a folder of 0700), or in
// the keyring of the operating system. ARCD_KEYRING says which: "auto" (default)
// takes the keyring for logins that a person made at a terminal, if it works;
// "require" takes it always or fails; "off" never touches it. A credential stays
// where its login put it, and moves to the file when the keyring fails.
type Store struct {
	// Folder is the instance's folder, as of [FindFolders]. It is made when
	// something is stored. "": nothing is stored.
	Folder string
	// Environ is the environment, as of os.Environ.
	Environ []string
	// Stdin is standard input, read once and only if an [Origin] names it.
	Stdin io.Reader
	// Now is the clock. Default time.Now.
	Now func() time.Time
	// HTTP makes the token requests. Default: client.NewHTTP with its defaults.
	HTTP *http.Client
	// AllowHTTP lets secrets go over plain http to other hosts than this one.
	AllowHTTP bool
	// LockWait is how long to wait for other processes. Default 20 s.
	LockWait time.Duration
	// Keyring replaces the operating system's keyring. Default: that one.
	Keyring Keyring

	mu    sync.Mutex   // guards what follows
	stdin *string      // what was read of Stdin
	own   *http.Client // what makes the requests without HTTP
}

// Target says whose credential is meant, and what is known about getting one.
type Target struct {
	// Server is the URL of the ARC endpoint. It is needed: a credential is given
	// to no other server than the one it was made for.
	Server string
	// Context is the name of the context; "" for a server without one.
	Context string
	// Token is the flag --token; zero: not given.
	Token Origin
	// NoSuccessor keeps to a dead token of the flag or the environment, even if
	// it was refreshed (--no-token-successor).
	NoSuccessor bool
	// TokenURL is the token endpoint. "": that of the login, else it is asked of
	// the server ([client.Client.Discover]).
	TokenURL string
	// ClientID is the client to ask tokens for. "": ARCD_CLIENT_ID, or that of
	// the login.
	ClientID string
	// Scopes to ask for; nil: what the token endpoint gives by itself.
	Scopes []string
	// Audience to ask for; "": none.
	Audience string
}

// key is the name under which the target's own credential is stored.
func (t Target) key() string {
	if t.Context != "" {
		return "context:" + t.Context
	}
	return "server:" + serverID(t.Server)
}

// label is how the stored credential is called in texts.
func (t Target) label() string {
	if t.Context != "" {
		return "store:" + t.Context
	}
	return "store:default"
}

// serverID gives a server's URL in one spelling, so that two spellings of one
// server are the same: scheme and host in lower case, no default port, no slash
// at the end, /arc where there is no path.
func serverID(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return text
	}
	u.Scheme, u.Host = strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if port := u.Port(); port == "80" && u.Scheme == "http" || port == "443" && u.Scheme == "https" {
		u.Host = strings.TrimSuffix(u.Host, ":"+port)
	}
	if u.Path = strings.TrimRight(u.Path, "/"); u.Path == "" {
		u.Path = "/arc"
	}
	u.RawPath, u.User, u.Fragment = "", nil, ""
	return u.String()
}

// Credential is a token that was found, and what is known of it.
type Credential struct {
	// Token goes into the header Authorization. It is never printed: String
	// hides it.
	Token string
	// Source names where it was found: "env:NAME", "file:PATH", "stdin",
	// "store:CONTEXT", or "store:default" where no context is named.
	Source string
	// Setting is what gave it: "--token", "ARCD_TOKEN", "ARCD_TOKEN_FILE", or ""
	// for a stored one.
	Setting string
	// Superseded is the Source of the dead token that this one is used instead
	// of; "" if there is none. Setting is that token's then.
	Superseded string
	// Facts is what is known of the token.
	Facts Facts
	// Refreshable: [Store.Refresh] can get another one without a person, as far
	// as it can be told without asking.
	Refreshable bool
	// Marked: a server called it expired, or it was replaced.
	Marked bool
	// Fingerprint goes as X-Client-Fingerprint with an administrator's token of
	// the registry; "" for all others.
	Fingerprint string
	// Offset is how far the server's clock is ahead of this one, as far as it is
	// known; 0 below 30 s.
	Offset time.Duration
}

// allowance is how long after its expiry a token may still be good, since clocks
// differ (contract section 2.5 row 2).
const allowance = 60 * time.Second

// ExpiredAt tells whether the token has certainly expired at the time now of this
// machine's clock: 60 s or more ago by the server's clock. No call is needed to
// know (contract section 2.5 row 2). That the server's clock is ahead is not enough:
// it may have been set right since, or this one, and nobody would learn of it
// without a call. A token that does not tell its expiry never has.
func (c *Credential) ExpiredAt(now time.Time) bool {
	exp := c.Facts.ExpiresAt
	return !exp.IsZero() && !now.Add(min(c.Offset, 0)).Before(exp.Add(allowance))
}

// Past tells whether the expiry is reached, without allowance (row 4).
func (c *Credential) Past(now time.Time) bool {
	left, known := c.Left(now)
	return known && left <= 0
}

// Left is how much longer the token is good, by the server's clock; negative if it
// has expired. known is false for a token that does not tell.
func (c *Credential) Left(now time.Time) (left time.Duration, known bool) {
	exp := c.Facts.ExpiresAt
	if exp.IsZero() {
		return 0, false
	}
	return exp.Sub(now.Add(c.Offset)), true
}

// dead tells whether another token should be used if there is one.
func (c *Credential) dead(now time.Time) bool { return c.Marked || c.Past(now) }

// String describes the credential without its token.
func (c *Credential) String() string { return fmt.Sprintf("credential from %s", c.Source) }

// GoString is String, so that %#v shows no token either.
func (c *Credential) GoString() string { return c.String() }

// Effect says what a change has done (contract C-003).
type Effect string

// The effects.
const (
	Created Effect = "created"
	Updated Effect = "updated"
	Deleted Effect = "deleted"
	Noop    Effect = "noop"
)

// Result is the outcome of a refresh or a login.
type Result struct {
	// Effect of a refresh is [Updated], or [Noop] when the token at hand is good
	// (also when another process has just got it); of a login [Created] or
	// [Updated].
	Effect Effect
	// Credential is what the next call will use.
	Credential *Credential
	// HiddenBy names the setting (ARCD_TOKEN, ARCD_TOKEN_FILE) whose living token
	// goes before a login; "" usually.
	HiddenBy string
	// Keyring: the secrets are in the keyring of the operating system.
	Keyring bool
	// Kept tells where the secrets are: a file's path, or "keyring".
	Kept string
}

func (s *Store) now() time.Time {
	if s.Now != nil {
		return s.Now()
	}
	return time.Now()
}

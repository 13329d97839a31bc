package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/arcd-io/arcd/client"
	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// auth looks at where the credential comes from and how it would be renewed.
func (x *examination) auth(ctx context.Context) {
	found := x.sources(ctx)
	x.stored(ctx, found)
	x.files()
	x.keyring()
	if found != nil {
		if found.Refreshable {
			x.pass("auth.refresh", "the credential can be renewed without a person")
		} else {
			x.fail("auth.refresh", false, "the credential cannot be renewed without a person",
				"Log in with client credentials or a refresh token, or set "+credential.EnvClientID+" and "+credential.EnvClientSecret+".")
		}
	}
	if x.offline {
		x.skip("auth.token_endpoint", "nobody is asked (--offline)")
		return
	}
	if !x.reach(ctx) {
		x.skip("auth.token_endpoint", "the server cannot be reached")
		return
	}
	x.endpoint(ctx)
	x.clock()
}

// sources tells which of the credentials that are there is used, and why.
func (x *examination) sources(ctx context.Context) *credential.Credential {
	var given []string
	for _, source := range []struct {
		name  string
		there bool
	}{
		{"--token", x.c.globals.Token != ""}, {credential.EnvToken, x.c.variable(credential.EnvToken) != ""}, {credential.EnvTokenFile, x.c.variable(credential.EnvTokenFile) != ""},
	} {
		if source.there {
			given = append(given, source.name)
		}
	}
	found, err := x.l.store.Resolve(ctx, x.l.target)
	none, _ := errors.AsType[*credential.NoneError](err)
	switch {
	case none != nil && none.OtherServer != "":
		x.fail("auth.source", true, "the credential of this context is for "+none.OtherServer+", and is given to no other server", x.login())
	case none != nil && none.Mintable:
		x.fail("auth.source", true, "there is no credential yet, but "+credential.EnvClientID+" and its secret can get one", "Get one: "+x.c.nextCommand("auth refresh"))
	case none != nil:
		x.fail("auth.source", true, "there is no credential", x.login())
	case err != nil:
		e := x.c.classify(err)
		x.fail("auth.source", true, e.Message, e.Suggestion)
	case found.Superseded != "":
		x.pass("auth.source", "%s, in place of the expired token of %s", found.Source, found.Superseded)
	case len(given) > 0:
		detail := found.Source + ", because " + given[0] + " goes before what is stored"
		if len(given) > 1 {
			detail += " and before " + strings.Join(given[1:], " and ")
		}
		x.pass("auth.source", "%s", detail)
	default:
		x.pass("auth.source", "%s, because neither --token nor a variable gives another", found.Source)
	}
	return found
}

// stored looks at the stored credential, whatever is used.
func (x *examination) stored(ctx context.Context, used *credential.Credential) {
	found, err := x.l.stored(ctx)
	switch {
	case errors.Is(err, credential.ErrNone):
		x.skip("auth.stored", "nothing is stored for this server")
	case err != nil:
		e := x.c.classify(err)
		x.fail("auth.stored", used == nil, e.Message, e.Suggestion)
	default:
		left, known := found.Left(x.c.now())
		x.pass("auth.stored", "%s of %s %s", found.Source, value(user(found.Facts)), remaining(left, known))
	}
}

// files looks at the rights of files with secrets.
func (x *examination) files() {
	path := x.l.store.Path()
	if path == "" {
		x.fail("auth.files", false, "neither a home folder nor "+credential.EnvStateDir+" is set, so nothing can be stored", "Set "+credential.EnvStateDir+" to a folder of yours.")
		return
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, os.ErrNotExist):
		x.pass("auth.files", "%s is not there yet", path)
	case err != nil:
		x.fail("auth.files", false, fileCause(err), "Make the folder readable for yourself.")
	case runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0:
		x.fail("auth.files", true, fmt.Sprintf("%s has mode %s, so others may read it", path, modeText(info.Mode())), "Run chmod 600 "+path+", and log in anew if others use this machine.")
	default:
		x.pass("auth.files", "%s, mode %s", path, modeText(info.Mode()))
	}
}

// keyring tells whether the operating system's keyring may be used.
func (x *examination) keyring() {
	err := x.l.store.CheckKeyring()
	switch {
	case err == nil:
		x.pass("auth.keyring", "there; logins at a terminal put their secrets there")
	case errors.Is(err, credential.ErrInvalid), x.c.variable(credential.EnvKeyring) == "require":
		x.fail("auth.keyring", true, outcome.Clean(err.Error()), "Set "+credential.EnvKeyring+" to auto, off or require.")
	default:
		x.skip("auth.keyring", outcome.Clean(err.Error())+"; secrets are in the file")
	}
}

// endpoint looks for the token endpoint and asks whether it answers. No secret is
// sent.
func (x *examination) endpoint(ctx context.Context) {
	address, detail := x.l.target.TokenURL, ""
	found, err := (&client.Client{URL: x.l.server, HTTP: x.l.http}).Discover(ctx)
	if err == nil {
		detail = "issuer " + found.Issuer + ", grants " + strings.Join(found.Grants, " ")
		if address == "" {
			address = found.TokenEndpoint
		}
	}
	if address == "" {
		problem := "the server does not say where tokens come from"
		if err != nil {
			problem += ": " + outcome.Clean(shorten(err.Error()))
		}
		x.fail("auth.token_endpoint", false, problem, "Name it: arcd context set NAME --server URL --token-url URL.")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		x.fail("auth.token_endpoint", false, "the address of the token endpoint cannot be read", "Correct --token-url.")
		return
	}
	resp, err := x.l.http.Do(req)
	if err != nil {
		x.fail("auth.token_endpoint", false, address+" cannot be reached", "Check that the token service runs.")
		return
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection serves again
	x.pass("auth.token_endpoint", "%s answers; %s", address, detail)
}

// clock compares the clocks. A header has whole seconds only.
func (x *examination) clock() {
	if x.reached.date.IsZero() {
		x.skip("auth.clock", "the server does not tell the time")
		return
	}
	ahead := x.reached.date.Sub(x.c.now()).Round(time.Second)
	if max(ahead, -ahead) <= doctorLeeway {
		x.pass("auth.clock", "differs from the server's by %s at most", short(max(ahead, -ahead, time.Second)))
		return
	}
	which := "behind"
	if ahead < 0 {
		which, ahead = "ahead of", -ahead
	}
	x.fail("auth.clock", false, fmt.Sprintf("this machine's clock is %s %s the server's", short(ahead), which), "Set the clock of this machine, or of the server, by NTP.")
}

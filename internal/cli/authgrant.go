package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/arcd-io/arcd/internal/credential"
	"github.com/arcd-io/arcd/internal/outcome"
)

// source reads a flag that check has looked at.
func source(text string) credential.Origin {
	origin, err := credential.ParseSource(text)
	if err != nil {
		return credential.Origin{}
	}
	return origin
}

// do logs in.
func (in *login) do(ctx context.Context, grant string) (*credential.Result, error) {
	store := in.l.store
	switch grant {
	case grantToken:
		if err := in.prove(ctx); err != nil {
			return nil, err
		}
		return store.LoginToken(ctx, in.target, credential.TokenLogin{Token: in.l.target.Token, Person: in.person})
	case grantRefreshToken:
		return store.LoginRefreshToken(ctx, in.target, credential.RefreshLogin{
			Token: source(in.RefreshToken), Secret: source(in.ClientSecret), Keep: in.KeepSecret, Person: in.person,
		})
	case grantPassword:
		password := source(in.Password)
		if password.IsZero() {
			text, err := in.askSecret(ctx, "Password of "+in.Username)
			if err != nil {
				return nil, err
			}
			password = credential.FromValue(text)
		}
		return store.LoginAdmin(ctx, in.target, credential.AdminLogin{Username: in.Username, Password: password, Person: in.person})
	case grantDevice:
		return in.device(ctx)
	}
	return in.client(ctx)
}

// client logs in with client credentials; a person is asked for what is missing.
func (in *login) client(ctx context.Context) (*credential.Result, error) {
	how := credential.ClientLogin{Secret: source(in.ClientSecret), Keep: in.KeepSecret, AsJSON: in.JSONRequest, Person: in.person}
	if !in.clientKnown() {
		id, err := in.ask("Client id")
		if err != nil {
			return nil, err
		}
		in.target.ClientID = id
	}
	if !in.secretKnown() {
		secret, err := in.askSecret(ctx, "Client secret")
		if err != nil {
			return nil, err
		}
		how.Secret = credential.FromValue(secret)
		how.Keep = in.KeepSecret || in.c.confirm("Keep the secret, so that the token can be renewed without you?")
	}
	return in.l.store.LoginClient(ctx, in.target, how)
}

// device goes on with the device login that is under way, or begins one. The
// error is a [*credential.PendingError] where nobody waits for its end.
func (in *login) device(ctx context.Context) (*credential.Result, error) {
	store, wait := in.l.store, in.Wait || in.person
	result, err := store.PollDevice(ctx, in.target, false)
	shown := &credential.DeviceLogin{}
	rejected, _ := errors.AsType[*credential.RejectedError](err)
	pending, waiting := errors.AsType[*credential.PendingError](err)
	switch {
	case waiting:
		shown = pending.Login
	case errors.Is(err, credential.ErrNone), rejected != nil && rejected.Code == "expired_token":
		shown, err = store.StartDevice(ctx, in.target, credential.DeviceStart{Secret: source(in.ClientSecret), Person: in.person})
		if err != nil {
			return nil, err
		}
	default:
		return result, err
	}
	if !wait {
		return nil, &credential.PendingError{Login: shown}
	}
	in.c.note("Open %s on any device and enter the code %s", outcome.Clean(shown.OpenURL), outcome.Clean(shown.UserCode))
	in.c.note("Waiting until it is entered. Ctrl-C ends the waiting; the same command goes on with it.")
	return store.PollDevice(ctx, in.target, true)
}

// pending is the result of a device login that waits for a person.
func (in *login) pending(shown *credential.DeviceLogin) loggedIn {
	data := in.begin(grantDevice)
	data.Effect, data.Status = string(credential.Created), "pending"
	command := "auth login --grant device --headless --wait"
	if in.ClientID != "" && !strings.ContainsAny(in.ClientID, " \t\n\"'\\$`") {
		command += " --client-id " + in.ClientID
	}
	next := in.c.nextCommand(command)
	data.OpenURL, data.UserCode, data.NextCommand = &shown.OpenURL, &shown.UserCode, &next
	return data
}

// ask asks the person for a line.
func (in *login) ask(what string) (string, error) {
	fmt.Fprintf(in.c.stderr, "%s: ", what)
	text, err := bufio.NewReader(oneByte{in.c.stdin}).ReadString('\n')
	if text = strings.TrimSpace(text); text == "" {
		return "", outcome.Errorf(outcome.InputRequired, "No %s was entered.", strings.ToLower(what)).Because(err)
	}
	return text, nil
}

// oneByte reads byte by byte, so that what follows the line stays for the next
// question.
type oneByte struct{ r io.Reader }

func (o oneByte) Read(b []byte) (int, error) { return o.r.Read(b[:min(len(b), 1)]) }

// askSecret asks the person for a secret, which is not shown. Who stops there gets
// back a terminal that shows what is typed.
func (in *login) askSecret(ctx context.Context, what string) (string, error) {
	terminal, ok := in.c.stdin.(*os.File)
	if !ok {
		return "", in.nothing()
	}
	fd := int(terminal.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("asking for the %s: %w", strings.ToLower(what), err)
	}
	fmt.Fprintf(in.c.stderr, "%s: ", what)
	entered := make(chan secretRead, 1)
	go func() { // reading cannot be stopped: it ends with the program
		text, err := term.ReadPassword(fd)
		entered <- secretRead{string(text), err}
	}()
	select {
	case <-ctx.Done():
		err := term.Restore(fd, before)
		fmt.Fprintln(in.c.stderr)
		return "", errors.Join(context.Cause(ctx), err)
	case read := <-entered:
		fmt.Fprintln(in.c.stderr)
		if read.err != nil || read.text == "" {
			return "", outcome.Errorf(outcome.InputRequired, "No %s was entered.", strings.ToLower(what)).Because(read.err)
		}
		return read.text, nil
	}
}

// secretRead is what came of reading a secret.
type secretRead struct {
	text string
	err  error
}

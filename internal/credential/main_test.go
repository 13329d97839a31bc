package credential_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/arcd-io/arcd/internal/credential"
)

// childVariable, if set, makes the test's program one of several processes.
const childVariable = "CREDENTIAL_TEST_CHILD"

func TestMain(m *testing.M) {
	if work := os.Getenv(childVariable); work != "" {
		os.Exit(child(work))
	}
	goleak.VerifyTestMain(m)
}

// childReport is what a child prints.
type childReport struct {
	Effect credential.Effect
	Token  string
	Err    string
	Locked bool
}

// child does one thing and prints how it went. It begins when its standard input
// ends, so that many begin at once.
func child(work string) int {
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	s := &credential.Store{Folder: os.Getenv("TEST_FOLDER"), Environ: os.Environ()}
	t := credential.Target{Server: os.Getenv("TEST_SERVER"), Context: "staging"}
	var report childReport
	var err error
	switch work {
	case "refresh", "force":
		var r *credential.Result
		if r, err = s.Refresh(ctx, t, credential.RefreshOptions{Force: work == "force"}); err == nil {
			report = childReport{Effect: r.Effect, Token: r.Credential.Token}
		}
	case "source":
		source := &credential.Source{Store: s, Target: t, Auto: true}
		report.Token, err = source.Token(ctx, os.Getenv("TEST_EXPIRED"))
	case "context":
		f := credential.ContextFile{Folder: s.Folder}
		report.Effect, err = f.Put(ctx, os.Getenv("TEST_NAME"), credential.Context{Server: t.Server})
	case "keyring":
		report.Token, err = throughKeyring(ctx, s, t)
	}
	if err != nil {
		report.Err, report.Locked = err.Error(), errors.Is(err, credential.ErrLocked)
	}
	if err := json.NewEncoder(os.Stdout).Encode(report); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// throughKeyring logs in with the keyring of this process's session bus, reads it
// back, and logs out.
func throughKeyring(ctx context.Context, s *credential.Store, t credential.Target) (string, error) {
	r, err := s.LoginToken(ctx, t, credential.TokenLogin{Token: credential.FromEnv("TEST_TOKEN"), Person: true})
	if err != nil {
		return "", err
	}
	if !r.Keyring {
		return "", errors.New("the keyring was not used")
	}
	c, err := s.Resolve(ctx, t)
	if err != nil {
		return "", err
	}
	out, err := s.Logout(ctx, t, credential.LogoutOptions{Local: true})
	if err != nil {
		return "", err
	}
	return c.Token, out.KeyringErr
}

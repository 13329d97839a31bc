package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/arcd-io/arcd/arc"
)

// TokenSource gives the bearer tokens of calls. It may be asked from many
// goroutines at once.
type TokenSource interface {
	// Token gives the token to send; "" to send none. expired is "", or a token
	// that the server has called expired, or, of an [Agent] whose source is no
	// [RenewingSource], that soon will: then the source gives another one, or an
	// error that is [ErrNoNewToken]. The error never shows a token or a secret.
	Token(ctx context.Context, expired string) (string, error)
}

// ErrNoNewToken is the error of a source whose token has run out and that cannot
// get another. The caller of a method gets the server's refusal, not this.
var ErrNoNewToken = errors.New("there is no other token than the expired one")

// StaticToken is a token that stays as it is; "" sends none.
type StaticToken string

// Token gives the token, unless it is the expired one.
func (t StaticToken) Token(_ context.Context, expired string) (string, error) {
	return unless(string(t), expired)
}

// EnvToken is the name of an environment variable that holds the token. It is
// read at every call.
type EnvToken string

// Token reads the variable. One that is empty or not set is an error that is
// [arc.ErrAuthentication].
func (name EnvToken) Token(_ context.Context, expired string) (string, error) {
	token := strings.TrimSpace(os.Getenv(string(name)))
	if token == "" {
		return "", fmt.Errorf("the environment variable %s holds no token: %w", string(name), arc.ErrAuthentication)
	}
	return unless(token, expired)
}

// FileToken is the path of a file that holds the token and nothing else but
// space around it. It is read at every call, so that whoever renews the file
// renews the token.
type FileToken string

// Token reads the file. One that is empty or larger than 64 KiB is an error; an
// empty one is [arc.ErrAuthentication].
func (path FileToken) Token(_ context.Context, expired string) (string, error) {
	f, err := os.Open(string(path))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return "", fmt.Errorf("reading the token: %w", err)
	}
	token := strings.TrimSpace(string(b))
	switch {
	case len(b) > maxToken:
		return "", fmt.Errorf("the file %s is too large for a token", string(path))
	case token == "":
		return "", fmt.Errorf("the file %s holds no token: %w", string(path), arc.ErrAuthentication)
	}
	return unless(token, expired)
}

// maxToken is the largest token, in bytes: far above what servers take in a
// header.
const maxToken = 64 << 10

// unless gives the token if it is not the expired one.
func unless(token, expired string) (string, error) {
	if expired != "" && token == expired {
		return "", ErrNoNewToken
	}
	return token, nil
}

// checkToken looks whether a token can stand in a header (RFC 6750 section 2.1,
// with all visible characters, as some servers' tokens have). The error does not
// show it.
func checkToken(token string) error {
	if len(token) > maxToken {
		return fmt.Errorf("the token is larger than %d bytes", maxToken)
	}
	for i := range len(token) {
		if c := token[i]; c <= ' ' || c >= 0x7f {
			return fmt.Errorf("the token holds a character that no token has, at byte %d: %w", i, arc.ErrAuthentication)
		}
	}
	return nil
}

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/arcd-io/arcd/internal/outcome"
)

// authToken is "arcd auth token".
type authToken struct {
	Unmask     bool   `help:"Show the token itself."`
	OutputFile string `name:"output-file" placeholder:"FILE" help:"Write the token itself into this file (mode 0600) instead."`
}

// shownToken is the result of "auth token".
type shownToken struct {
	mintedToken
	Source string  `json:"source"`
	File   *string `json:"file"` // that it was written to
}

func (*authToken) row() row {
	return row{
		danger: safe, data: shownToken{}, timeout: 30 * time.Second, exits: authExits(outcome.ExitExpired),
		long:     "The token is shown in short unless --unmask is given. An expired one is exit code 10; only with --auto-refresh anybody is called.",
		examples: []string{"arcd auth token", "arcd auth token --output-file token.txt"},
	}
}

func (a *authToken) run(ctx context.Context, c *console) (any, error) {
	l, err := c.place(ctx)
	if err != nil {
		return nil, err
	}
	if err := c.present(ctx, l); err != nil {
		return nil, err
	}
	// With --auto-refresh an expired one is renewed first.
	token, err := l.source.Token(ctx, "")
	if err != nil {
		return nil, c.refreshFailed(ctx, err)
	}
	found, err := l.source.Credential(ctx)
	if err != nil {
		return nil, c.classify(err)
	}
	if found.ExpiredAt(c.now()) {
		return nil, c.runOut(found)
	}
	data := shownToken{mintedToken: newMintedToken(token, a.Unmask && a.OutputFile == ""), Source: found.Source}
	if data.ExpiresAt == nil {
		data.ExpiresAt = outcome.Instant(found.Facts.ExpiresAt)
	}
	if a.OutputFile == "" {
		return data, nil
	}
	path, err := filepath.Abs(a.OutputFile)
	if err == nil {
		err = writePrivate(path, token+"\n")
	}
	if err != nil {
		return nil, outcome.Errorf(outcome.Precondition, "The token cannot be written: %s.", fileCause(err)).Because(err)
	}
	data.File = &path
	return data, nil
}

// replaceable refuses what a file must not take the place of: a folder, or a device
// such as /dev/stdout.
func replaceable(path string) error {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", path)
	}
	return nil
}

// writePrivate writes a file that nobody else may read, whole or not at all.
func writePrivate(path, content string) error {
	if err := replaceable(path); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails after the renaming, as it should
	_, err = f.WriteString(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// fileCause tells why a file cannot be used, without the name of a temporary one.
func fileCause(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return fmt.Sprintf("%s: %v", filepath.Dir(p.Path), p.Err)
	}
	return err.Error()
}

func (t shownToken) show(p *page) {
	if t.File != nil {
		p.line("wrote the token to %s", outcome.Clean(*t.File))
		return
	}
	t.mintedToken.show(p)
}

func (t shownToken) plain() []string {
	if t.File != nil {
		return []string{*t.File}
	}
	return t.mintedToken.plain()
}

package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/arcd-io/arcd/internal/outcome"
)

// Bounds of what a command reads, in bytes.
const (
	maxStdin   = 65_536  // standard input, and a --message
	maxFile    = 8 << 20 // a file of --input-file or --raw-payload
	maxPartRaw = 6 << 20 // a file of --part, which grows by a third on the way
)

// readInput reads a file, or standard input for "-". flag names the flag for
// errors.
func (c *console) readInput(ctx context.Context, flag, path string, most int64) ([]byte, error) {
	if path == "-" {
		return c.readStdin(ctx, flag)
	}
	return readFile(flag, path, most)
}

// readStdin reads all of standard input. Nothing there, or a terminal, is an error
// at once: nobody may be there to type.
//
// A pipe that stays open without a word cannot be told from a slow one; the wait
// for it ends with ctx, and the reading goroutine with the process.
func (c *console) readStdin(ctx context.Context, flag string) ([]byte, error) {
	if c.globals.Token == "-" {
		return nil, outcome.Invalid(outcome.Problem{
			Code: outcome.Validation, Field: flag, Message: "and --token cannot both be read from standard input",
			Suggestion: "Give the token as env:NAME or file:PATH.",
		})
	}
	if isTerminal(c.stdin) {
		return nil, stdinRequired(flag, "is a terminal")
	}
	type read struct {
		text []byte
		err  error
	}
	done := make(chan read, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(c.stdin, maxStdin+1))
		done <- read{text, err}
	}()
	select {
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for standard input: %w", context.Cause(ctx))
	case r := <-done:
		switch {
		case len(r.text) > maxStdin:
			e := outcome.Errorf(outcome.StdinTooLarge, "Standard input holds more than %d bytes.", maxStdin)
			e.Context = map[string]any{"max_bytes": maxStdin}
			return nil, e
		case r.err != nil || len(bytes.TrimSpace(r.text)) == 0:
			return nil, stdinRequired(flag, "is empty")
		}
		return r.text, nil
	}
}

// stdinRequired is the error of a command that was to read standard input.
func stdinRequired(flag, state string) error {
	return outcome.Errorf(outcome.StdinRequired, "%s is to be read from standard input, which %s.", flag, state)
}

// readFile reads a file of at most so many bytes.
func readFile(flag, path string, most int64) ([]byte, error) {
	whole, err := filepath.Abs(path)
	if err != nil {
		whole = path
	}
	text, err := readBounded(whole, most)
	problem := outcome.Problem{Code: outcome.Validation, Field: flag, Input: shorten(path)}
	switch {
	case err == nil:
		return text, nil
	case errors.Is(err, fs.ErrNotExist):
		e := outcome.Errorf(outcome.FileNotFound, "There is no file %s.", whole)
		problem.Code, problem.Message = outcome.FileNotFound, "names no file: "+whole
		if near := neighbour(whole); near != "" {
			problem.Corrected = near
			e.Suggest("Did you mean %s?", near)
		}
		e.Errors = []outcome.Problem{problem}
		return nil, e
	case errors.Is(err, errTooLong):
		problem.Message = fmt.Sprintf("names a file of more than %d bytes: %s", most, whole)
	case errors.Is(err, errFolder):
		problem.Message = "names a folder: " + whole
	default:
		problem.Message = "cannot be read: " + whole
	}
	return nil, outcome.Invalid(problem).Because(err)
}

var (
	errTooLong = errors.New("too long")
	errFolder  = errors.New("a folder")
)

// readBounded reads a file, unless it is a folder or too long.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if stat, err := f.Stat(); err == nil && stat.IsDir() {
		return nil, errFolder
	}
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = errTooLong
	}
	return text, err
}

// neighbour finds a file in the same folder whose name is like that of a missing
// one; "" if there is none.
func neighbour(path string) string {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return ""
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if near := nearest(filepath.Base(path), names); near != "" {
		return filepath.Join(filepath.Dir(path), near)
	}
	return ""
}

// plainText takes a text that was read, or tells why it is none. A byte order mark
// at its beginning is no part of it.
func plainText(flag string, text []byte) (string, error) {
	text = bytes.TrimPrefix(text, []byte("\xef\xbb\xbf"))
	problem := outcome.Problem{Code: outcome.Validation, Field: flag, Suggestion: "Send bytes that are no text as --part file=PATH."}
	if !utf8.Valid(text) {
		problem.Message = fmt.Sprintf("is not valid UTF-8 at byte %d", invalidAt(text))
		return "", outcome.Invalid(problem)
	}
	if i := bytes.IndexByte(text, 0); i >= 0 {
		problem.Message = fmt.Sprintf("holds a NUL at byte %d", i)
		return "", outcome.Invalid(problem)
	}
	return string(text), nil
}

// invalidAt gives where a text stops being UTF-8.
func invalidAt(text []byte) int {
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return len(text)
}

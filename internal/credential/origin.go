package credential

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Origin is where a secret comes from. The zero value is nowhere.
type Origin struct {
	kind originKind
	name string // of the variable or file; for a value, the secret itself
}

type originKind int

const (
	fromNowhere originKind = iota
	fromEnv
	fromFile
	fromStdin
	fromValue
)

// FromEnv is the variable of that name.
func FromEnv(name string) Origin { return Origin{fromEnv, name} }

// FromFile is the file at path.
func FromFile(path string) Origin { return Origin{fromFile, path} }

// FromStdin is standard input.
func FromStdin() Origin { return Origin{kind: fromStdin} }

// FromValue is the secret itself, as somebody typed it at a terminal or a server
// has just given it. Where it came from cannot be asked again, and nothing prints
// it.
func FromValue(secret string) Origin { return Origin{fromValue, secret} }

// variableName is what env: takes.
var variableName = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]{0,127}$`) })

// ParseSource reads the value of a flag for a secret: "env:NAME", "file:PATH" or
// "-" for standard input (contract D9). Anything else may be the secret itself:
// the error Is [ErrSecretInArgv] and does not repeat it.
func ParseSource(text string) (Origin, error) {
	if text == "-" {
		return FromStdin(), nil
	}
	switch kind, name, _ := strings.Cut(text, ":"); {
	case kind == "env" && variableName().MatchString(name):
		return FromEnv(name), nil
	case kind == "file" && name != "" && !strings.ContainsRune(name, 0):
		return FromFile(name), nil
	}
	return Origin{}, ErrSecretInArgv
}

// IsZero tells whether it is nowhere.
func (o Origin) IsZero() bool { return o.kind == fromNowhere }

// String gives "env:NAME", "file:PATH", "stdin", "value" or "".
func (o Origin) String() string {
	switch o.kind {
	case fromEnv:
		return "env:" + o.name
	case fromFile:
		return "file:" + o.name
	case fromStdin:
		return "stdin"
	case fromValue:
		return "value"
	}
	return ""
}

// GoString is String, so that %#v shows no secret either.
func (o Origin) GoString() string { return o.String() }

// lasting tells whether the secret can be read from there again.
func (o Origin) lasting() bool { return o.kind == fromEnv || o.kind == fromFile }

// absolute makes a file's path independent of the working folder.
func (o Origin) absolute() Origin {
	if o.kind == fromFile {
		if abs, err := filepath.Abs(o.name); err == nil {
			o.name = abs
		}
	}
	return o
}

// maxSecret bounds tokens and secrets, in bytes. More does not fit into a header.
const maxSecret = 32 << 10

// read gives the secret, without blanks and line ends around it.
func (s *Store) read(o Origin) (string, error) {
	var text string
	switch o.kind {
	case fromEnv:
		if text = lookup(s.Environ, o.name); text == "" {
			return "", unusable(o, "is not set")
		}
	case fromFile:
		content, err := readSecretFile(o.name)
		if err != nil {
			return "", unusable(o, "%s", plainCause(err))
		}
		text = content
	case fromStdin:
		content, err := s.readStdin()
		if err != nil {
			return "", unusable(o, "%s", plainCause(err))
		}
		text = content
	case fromValue:
		text = o.name
	default:
		return "", unusable(o, "is not given")
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", unusable(o, "is empty")
	}
	if len(text) > maxSecret {
		return "", unusable(o, "is longer than %d bytes", maxSecret)
	}
	return text, nil
}

// readToken is read for what goes into the header Authorization.
func (s *Store) readToken(o Origin) (string, error) {
	token, err := s.read(o)
	if err != nil {
		return "", err
	}
	if !validToken(token) {
		return "", unusable(o, "has characters that no token has; it must be the bare token, without the word Bearer")
	}
	return token, nil
}

// unusable reports an origin without the secret.
func unusable(o Origin, format string, args ...any) error {
	where := o.String()
	if where == "" {
		where = "the secret"
	}
	return &classed{class: ErrUnreadable, text: where + " " + fmt.Sprintf(format, args...)}
}

// plainCause gives the cause of a file error without the path, which stands in
// front of it already.
func plainCause(err error) string {
	if p, ok := errors.AsType[*os.PathError](err); ok {
		return "cannot be read: " + p.Err.Error()
	}
	return err.Error()
}

// readSecretFile reads a small file. Its rights are not judged: tokens that a
// platform mounts are often readable by all within their container.
func readSecretFile(path string) (string, error) {
	// A pipe without a writer would hold the call up for ever.
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.IsDir() {
		return "", errors.New("is a folder")
	}
	if !info.Mode().IsRegular() {
		return "", errors.New("is not a regular file")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	return readBounded(f)
}

// readBounded reads one byte more than a secret may have, so that the length
// tells.
func readBounded(r io.Reader) (string, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxSecret+1))
	return string(b), err
}

// readStdin reads standard input once; later calls get the same text.
func (s *Store) readStdin() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stdin == nil {
		if s.Stdin == nil {
			return "", errors.New("is not there")
		}
		text, err := readBounded(s.Stdin)
		if err != nil {
			return "", err
		}
		s.stdin = &text
	}
	return *s.stdin, nil
}

// validToken tells whether the text can stand in a header as a bearer token: the
// characters of RFC 6750 section 2.1, and for foreign servers all other visible
// ASCII.
func validToken(token string) bool {
	if token == "" || len(token) > maxSecret {
		return false
	}
	for _, b := range []byte(token) {
		if b <= ' ' || b >= 0x7f {
			return false
		}
	}
	return true
}

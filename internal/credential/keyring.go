package credential

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/zalando/go-keyring"
)

// Keyring keeps texts by service and user, as the operating system's keyring
// does. Its functions may block; they are given up after 5 s.
type Keyring interface {
	Set(service, user, secret string) error
	// Get gives an error that Is keyring.ErrNotFound for what is not there.
	Get(service, user string) (string, error)
	Delete(service, user string) error
}

// systemKeyring is that of the operating system: Keychain, Credential Manager,
// Secret Service.
type systemKeyring struct{}

func (systemKeyring) Set(service, user, secret string) error {
	return keyring.Set(service, user, secret)
}
func (systemKeyring) Get(service, user string) (string, error) {
	return keyring.Get(service, user)
}
func (systemKeyring) Delete(service, user string) error { return keyring.Delete(service, user) }

const (
	keyringService = "arcd"
	keyringWait    = 5 * time.Second
)

// keyringMode reads ARCD_KEYRING.
func (s *Store) keyringMode() (string, error) {
	switch mode := lookup(s.Environ, EnvKeyring); mode {
	case "":
		return "auto", nil
	case "auto", "off", "require":
		return mode, nil
	default:
		return "", invalidf("%s must be auto, off or require", EnvKeyring)
	}
}

// keyring gives the keyring, or why there is none. Without a session bus the
// library would start one, which nobody asked for.
func (s *Store) keyring() (Keyring, error) {
	mode, err := s.keyringMode()
	switch {
	case err != nil:
		return nil, err
	case mode == "off":
		return nil, &classed{class: ErrKeyring, text: "the keyring is turned off by " + EnvKeyring}
	case s.Keyring != nil:
		return s.Keyring, nil
	case runtime.GOOS != "windows" && runtime.GOOS != "darwin" && !s.sessionBus():
		return nil, &classed{class: ErrKeyring, text: "there is no keyring: no session bus runs"}
	}
	return systemKeyring{}, nil
}

// sessionBus tells whether there is a bus to ask, without asking it.
func (s *Store) sessionBus() bool {
	if lookup(s.Environ, "DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	dir := lookup(s.Environ, "XDG_RUNTIME_DIR")
	return dir != "" && fileExists(filepath.Join(dir, "bus"))
}

// ask calls the keyring and gives it up after a while: it may wait for a person
// who is not there. The goroutine that is left ends when the call does, at the
// latest with the process.
func ask[T any](ctx context.Context, call func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	done := make(chan answer, 1)
	go func() {
		value, err := call()
		done <- answer{value, err}
	}()
	ctx, cancel := context.WithTimeout(ctx, keyringWait)
	defer cancel()
	select {
	case a := <-done:
		return a.value, a.err
	case <-ctx.Done():
		var zero T
		return zero, errNoAnswer
	}
}

var errNoAnswer = errors.New("it did not answer in time; it may be locked")

// item is the user part of an entry's name in the keyring: instances of several
// folders share one keyring.
func (s *Store) item(key string) string { return digest(s.Folder)[:16] + "/" + key }

// ringError makes a keyring's failure ErrKeyring.
func ringError(doing string, err error) error {
	if errors.Is(err, ErrKeyring) || errors.Is(err, ErrInvalid) {
		return err
	}
	return &classed{class: ErrKeyring, cause: err, text: fmt.Sprintf("%s the keyring: %s", doing, plainRing(err))}
}

// plainRing gives the cause without what a keyring's tool may have repeated.
func plainRing(err error) string {
	switch {
	case errors.Is(err, errNoAnswer), errors.Is(err, errMixedUp), errors.Is(err, keyring.ErrNotFound), errors.Is(err, keyring.ErrSetDataTooBig):
		return err.Error()
	}
	return strconv.Quote(cut(err.Error(), 200))
}

// cut shortens a text.
func cut(text string, most int) string {
	if len(text) > most {
		return text[:most] + "…"
	}
	return text
}

var errMixedUp = errors.New("it gives back something else than was put in")

// putRing stores secrets in the keyring. probe: it is read again, since some
// keyrings take what they do not keep.
func (s *Store) putRing(ctx context.Context, key string, sec *secrets, probe bool) error {
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	content, err := jsonv2.Marshal(sec)
	if err != nil {
		return fmt.Errorf("encoding a credential: %w", err)
	}
	_, err = ask(ctx, func() (struct{}, error) {
		return struct{}{}, ring.Set(keyringService, s.item(key), string(content))
	})
	if err != nil || !probe {
		return ringWrap("writing to", err)
	}
	back, err := ask(ctx, func() (string, error) { return ring.Get(keyringService, s.item(key)) })
	if err == nil && back != string(content) {
		err = errMixedUp
	}
	return ringWrap("reading", err)
}

func ringWrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return ringError(doing, err)
}

// getRing reads secrets from the keyring.
func (s *Store) getRing(ctx context.Context, key string) (*secrets, error) {
	ring, err := s.keyring()
	if err != nil {
		return nil, err
	}
	text, err := ask(ctx, func() (string, error) { return ring.Get(keyringService, s.item(key)) })
	if err != nil {
		return nil, ringError("reading", err)
	}
	sec := &secrets{}
	if len(text) > maxFile || jsonv2.Unmarshal([]byte(text), sec, jsonv2.RejectUnknownMembers(true)) != nil || sec.check(key) != nil {
		return nil, ringError("reading", errMixedUp)
	}
	return sec, nil
}

// dropRing removes secrets from the keyring. What is not there is removed.
func (s *Store) dropRing(ctx context.Context, key string) error {
	ring, err := s.keyring()
	if err != nil {
		return err
	}
	_, err = ask(ctx, func() (struct{}, error) { return struct{}{}, ring.Delete(keyringService, s.item(key)) })
	if errors.Is(err, keyring.ErrNotFound) {
		return nil
	}
	return ringWrap("deleting from", err)
}

// open gives the secrets of an entry, from wherever they are.
func (s *Store) open(ctx context.Context, key string, e *entry) (*secrets, error) {
	if e.Keyring {
		return s.getRing(ctx, key)
	}
	if e.Secrets == nil {
		return &secrets{}, nil
	}
	return e.Secrets, nil
}

// put stores an entry with its secrets. They go where ARCD_KEYRING says; person
// tells that somebody at a terminal has just logged in. A keyring that fails is
// replaced by the file, unless it is required.
func (s *Store) put(ctx context.Context, st *state, key string, e *entry, sec *secrets, person bool) error {
	mode, err := s.keyringMode()
	if err != nil {
		return err
	}
	before := e.Keyring
	wanted := mode == "require" || mode == "auto" && (before || person)
	e.Keyring, e.Secrets = false, sec
	if wanted {
		err := s.putRing(ctx, key, sec, !before)
		if err != nil && mode == "require" {
			return err
		}
		if err == nil {
			e.Keyring, e.Secrets = true, nil
		}
	}
	if before && !e.Keyring {
		_ = s.dropRing(ctx, key) // what is in the file counts; an old item is no harm
	}
	st.Credentials[key] = e
	return nil
}

// CheckKeyring tells why the keyring would not be used: ErrKeyring where it is
// turned off or there is none, ErrInvalid for a bad ARCD_KEYRING; nil otherwise.
// The keyring itself is not asked.
func (s *Store) CheckKeyring() error {
	_, err := s.keyring()
	return err
}

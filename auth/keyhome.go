package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

// Keys is where issuers that run in several processes keep their signing keys
// together. Its methods are safe for concurrent use. What it keeps is secret: whoever
// can read it can sign tokens.
type Keys interface {
	// Load gives what was stored last and its version; nil and 0 if nothing ever was.
	// What was stored before the call is seen.
	Load(ctx context.Context) (content []byte, version int64, err error)
	// Swap stores content in the place of that version, 0 for what is there first.
	// swapped is false, and nothing is changed, if the version is another by now.
	Swap(ctx context.Context, version int64, content []byte) (swapped bool, err error)
}

// ErrKeysUnknown is that the signing keys that several processes share could not be
// looked at for so long that others may have replaced them. It passes.
var ErrKeysUnknown = errors.New("the signing keys cannot be had now")

// keyHome keeps an issuer's keys.
type keyHome interface {
	// get gives the keys as they were at most a second ago; if fresh is set as they
	// are now, as far as that is not asked too often.
	get(fresh bool) *keyFile
	// change runs change on the keys and stores the outcome.
	change(change func(*keyFile) error) error
	// current is [ErrKeysUnknown] if what get gives is too old to sign with.
	current() error
}

// fileKeys are the keys of a file.
type fileKeys struct{ watchedFile[*keyFile] }

func (k *fileKeys) current() error { return nil }

func (k *fileKeys) change(change func(*keyFile) error) error {
	err := changeKeyFile(k.path, change)
	k.get(true)
	return err
}

// Times of shared keys.
const (
	// keyLead is the time between the making of a key and its first token. Within it
	// every process has looked, so that none meets a token of a key it does not know.
	keyLead = 3 * time.Second
	// keyLook is how often they are looked at for tokens with a key that is not among
	// them. Anybody can make such tokens.
	keyLook = 200 * time.Millisecond
	// keyPatience is how long a look may take.
	keyPatience = 2 * time.Second
	// keysKnown is how long a look counts when those after it fail.
	keysKnown = 10 * time.Second
	// keySwaps is how many others may be faster before a change fails.
	keySwaps = 50
)

// sharedKeys are the keys of a [Keys]. They have no goroutine: they are looked at when
// somebody asks.
type sharedKeys struct {
	store Keys
	now   func() time.Time // by which keys begin and end
	log   zerolog.Logger

	looking sync.Mutex // held by the one who looks

	mu      sync.Mutex // guards what follows
	content *keyFile
	version int64
	looked  time.Time // when the last look that went well began, by this machine's clock
	tried   time.Time // when the last look began
	failed  bool      // the last look failed
}

// open reads the keys. If there are none it makes them: of the file's if that is there,
// else new ones. It sees to it that rotations wait for tokens of this life.
func (k *sharedKeys) open(file string, ttl time.Duration) error {
	seconds := int64(ttl / time.Second)
	return k.swap(func(f *keyFile) (*keyFile, error) {
		if f == nil {
			var err error
			if f, err = k.first(file); err != nil {
				return nil, err
			}
		} else if f.TokenTTL >= seconds {
			return nil, nil
		}
		f.TokenTTL = max(f.TokenTTL, seconds)
		return f, nil
	})
}

// first makes the first keys.
func (k *sharedKeys) first(file string) (*keyFile, error) {
	if file != "" {
		f, _, err := loadKeyFile(file)
		if err == nil {
			k.log.Info().Str("event", "keys_taken").Str("file", file).Msg("the keys of the file are kept in the store from now on")
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return f, err
		}
	}
	f := &keyFile{Version: 1}
	return f, f.rotate(k.now(), 0)
}

func (k *sharedKeys) change(change func(*keyFile) error) error {
	return k.swap(func(f *keyFile) (*keyFile, error) {
		if f == nil {
			return nil, errNoKeys
		}
		return f, change(f)
	})
}

var errNoKeys = errors.New("there are no signing keys yet; the first start of the server makes them")

// swap runs change on the keys, nil if there are none, and stores what it gives; nil is
// to leave them as they are. Where somebody else is faster it begins again.
func (k *sharedKeys) swap(change func(*keyFile) (*keyFile, error)) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*keyPatience)
	defer cancel()
	k.looking.Lock()
	defer k.looking.Unlock()
	for range keySwaps {
		began := time.Now()
		f, version, err := k.load(ctx)
		if err != nil {
			return err
		}
		changed, err := change(f)
		if err != nil {
			return err
		}
		if changed == nil {
			k.take(f, version, began)
			return nil
		}
		content, err := json.Marshal(changed)
		if err != nil {
			return err
		}
		swapped, err := k.store.Swap(ctx, version, content)
		if err != nil {
			return err
		}
		if swapped {
			k.take(changed, version+1, began)
			return nil
		}
	}
	return fmt.Errorf("somebody else changed the keys %d times meanwhile", keySwaps)
}

// load reads and checks what is stored. Members that it does not know are those of a
// newer arcd beside this one.
func (k *sharedKeys) load(ctx context.Context) (*keyFile, int64, error) {
	content, version, err := k.store.Load(ctx)
	if err != nil || version == 0 {
		return nil, 0, err
	}
	f := new(keyFile)
	if err := json.Unmarshal(content, f); err != nil {
		return nil, 0, fmt.Errorf("reading the signing keys: %w", err)
	}
	return f, version, f.check("what the store has")
}

// take puts keys into force. looking is held.
func (k *sharedKeys) take(f *keyFile, version int64, began time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if version != k.version && k.version != 0 {
		k.log.Info().Str("event", "keys_reloaded").Int64("version", version).Send()
	}
	k.content, k.version, k.looked, k.tried, k.failed = f, version, began, began, false
}

func (k *sharedKeys) get(fresh bool) *keyFile {
	age := lookEvery
	if fresh {
		age = keyLook
	}
	asked := time.Now()
	if k.triedWithin(age, asked) {
		return k.inForce()
	}
	// Whoever waits for a look that is under way needs none of its own.
	k.looking.Lock()
	defer k.looking.Unlock()
	if !k.triedWithin(age, asked) {
		k.look()
	}
	return k.inForce()
}

func (k *sharedKeys) inForce() *keyFile {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.content
}

// triedWithin tells whether the last look began after that time before asked. A look
// that failed counts for a second: nobody waits for a store that is down again and
// again.
func (k *sharedKeys) triedWithin(age time.Duration, asked time.Time) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.failed {
		age = lookEvery
	}
	return elapsed(k.tried, asked) < age
}

// look reads the keys. If it fails the last ones stay in force; current says for how
// long. looking is held.
func (k *sharedKeys) look() {
	ctx, cancel := context.WithTimeout(context.Background(), keyPatience)
	defer cancel()
	began := time.Now()
	f, version, err := k.load(ctx)
	if err == nil && version == 0 {
		err = errNoKeys
	}
	if err == nil {
		k.take(f, version, began)
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.failed {
		k.log.Error().Err(err).Str("event", "keys_unread").Msg("the signing keys that are known stay in force for some seconds")
	}
	k.tried, k.failed = time.Now(), true
}

func (k *sharedKeys) current() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if elapsed(k.looked, time.Now()) > keysKnown {
		return ErrKeysUnknown
	}
	return nil
}

// elapsed is the time between two readings of this machine's clock. Of its two ways to
// tell, the steady one may stand still while the machine sleeps, and the other be put
// back: the longer time counts.
func elapsed(from, to time.Time) time.Duration {
	return max(to.Sub(from), to.Round(0).Sub(from.Round(0)))
}

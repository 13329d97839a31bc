package auth

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// The states of a key of the issuer.
const (
	keySigning = "signing" // signs new tokens; there is exactly one
	keyRetired = "retired" // verifies what it signed, until Until
)

// keyFile is the content of an issuer's key file, and of the [Keys] that issuers of
// several processes share.
type keyFile struct {
	Version int `json:"version"` // 1
	// TokenTTL is the longest life that an issuer of this file gives to tokens
	// without a note (IssuerConfig.LongestTTL), in seconds. It is what a rotation
	// has to wait for.
	TokenTTL int64       `json:"token_ttl_seconds"`
	Keys     []issuerKey `json:"keys"`
}

// issuerKey is an Ed25519 key of the issuer.
type issuerKey struct {
	ID      string    `json:"kid"` // RFC 7638 thumbprint
	State   string    `json:"state"`
	Created time.Time `json:"created"`
	// From is when the key begins to sign: a while after it was made, where several
	// processes have to learn of it before they meet its tokens. Zero: at once.
	From time.Time `json:"from,omitzero"`
	// Until is when the last token that the key signed has surely expired. On a
	// signing key it is set only by tokens that live longer than TokenTTL.
	Until time.Time `json:"until,omitzero"`
	// Seed is the private key (RFC 8032 section 5.1.5), base64url.
	Seed string `json:"seed"`

	private ed25519.PrivateKey
}

// clockSlack is how much longer than its tokens a retired key stays published:
// the largest leeway that arcd allows to a validator.
const clockSlack = 2 * time.Minute

// newIssuerKey makes the signing key.
func newIssuerKey(now time.Time) (issuerKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return issuerKey{}, fmt.Errorf("making a key: %w", err)
	}
	return issuerKey{
		ID: thumbprint(private.Public().(ed25519.PublicKey)), State: keySigning, Created: now.UTC().Truncate(time.Second),
		Seed: base64.RawURLEncoding.EncodeToString(private.Seed()), private: private,
	}, nil
}

// thumbprint names a public key by its own content (RFC 7638, RFC 8037 section 2),
// so that two keys never share a name.
func thumbprint(public ed25519.PublicKey) string {
	x := base64.RawURLEncoding.EncodeToString(public)
	sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + x + `"}`))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// loadKeyFile reads and checks a key file.
func loadKeyFile(path string) (*keyFile, fs.FileInfo, error) {
	f := new(keyFile)
	seen, err := readPrivateJSON(path, f)
	if err != nil {
		return nil, nil, err
	}
	return f, seen, f.check(path)
}

// check tells what is wrong with keys that were read from a place, and fills in their
// private halves.
func (f *keyFile) check(place string) error {
	if f.Version != 1 {
		return fmt.Errorf("%s is of version %d, which this arcd does not know", place, f.Version)
	}
	signing := 0
	for i := range f.Keys {
		k := &f.Keys[i]
		seed, err := base64.RawURLEncoding.Strict().DecodeString(k.Seed)
		if err != nil || len(seed) != ed25519.SeedSize {
			return fmt.Errorf("%s: the seed of key %q is not base64url of %d bytes", place, k.ID, ed25519.SeedSize)
		}
		k.private = ed25519.NewKeyFromSeed(seed)
		switch {
		case k.ID != thumbprint(k.public()):
			return fmt.Errorf("%s: kid %q is not the thumbprint of its key", place, k.ID)
		case k.State == keySigning:
			signing++
		case k.State != keyRetired:
			return fmt.Errorf("%s: key %q has the unknown state %q", place, k.ID, k.State)
		}
	}
	if signing != 1 {
		return fmt.Errorf("%s has %d signing keys, not one", place, signing)
	}
	return nil
}

// openKeyFile makes the file if it is missing and sees to it that rotations wait
// for tokens of this life.
func openKeyFile(path string, ttl time.Duration, now time.Time) error {
	seconds := int64(ttl / time.Second)
	f, _, err := loadKeyFile(path)
	if err == nil && f.TokenTTL >= seconds {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return withLock(path, func() error {
		f, _, err := loadKeyFile(path) // another process may have been faster
		if errors.Is(err, fs.ErrNotExist) {
			f = &keyFile{Version: 1}
			err = f.rotate(now, 0)
		}
		if err != nil {
			return err
		}
		f.TokenTTL = max(f.TokenTTL, seconds)
		return writePrivateJSON(path, f)
	})
}

// changeKeyFile runs change on the content of the file and stores the outcome.
func changeKeyFile(path string, change func(*keyFile) error) error {
	return withLock(path, func() error {
		f, _, err := loadKeyFile(path)
		if err != nil {
			return err
		}
		if err := change(f); err != nil {
			return err
		}
		return writePrivateJSON(path, f)
	})
}

// RotateKeys gives the key file a new signing key. The old one stays published
// until the last token that it signed has surely expired; keys for which that
// time has passed are removed. A running [Issuer] of the file notices within a
// second.
func RotateKeys(file string) error { return rotateKeys(file, time.Now()) }

func rotateKeys(file string, now time.Time) error {
	if err := changeKeyFile(file, func(f *keyFile) error { return f.rotate(now, 0) }); err != nil {
		return fmt.Errorf("rotating keys: %w", err)
	}
	return nil
}

// rotate is one rotation as of now. The new key signs after lead, if there is
// another until then.
func (f *keyFile) rotate(now time.Time, lead time.Duration) error {
	next, err := newIssuerKey(now)
	if err != nil {
		return err
	}
	if lead > 0 && len(f.Keys) > 0 {
		next.From = now.Add(lead).UTC()
	}
	for i := range f.Keys {
		if k := &f.Keys[i]; k.State == keySigning {
			k.State = keyRetired
			last := now.Add(lead + time.Duration(f.TokenTTL)*time.Second + clockSlack)
			if k.Until.Before(last) {
				k.Until = last.UTC().Truncate(time.Second)
			}
		}
	}
	f.Keys = append(slices.DeleteFunc(f.Keys, func(k issuerKey) bool { return !k.published(now) }), next)
	return nil
}

// signing gives the key that signs: until the newest one may, the newest of those
// before it that may.
func (f *keyFile) signing(now time.Time) *issuerKey {
	at := slices.IndexFunc(f.Keys, func(k issuerKey) bool { return k.State == keySigning }) // check saw to it that there is one
	for i := at; i >= 0; i-- {
		if k := &f.Keys[i]; !now.Before(k.From) && k.published(now) {
			return k
		}
	}
	return &f.Keys[at]
}

// keepLong keeps keys published until then: that which signs now, and that which does
// next.
func (f *keyFile) keepLong(now, until time.Time) {
	for i := range f.Keys {
		k := &f.Keys[i]
		if (k.State == keySigning || k == f.signing(now)) && k.Until.Before(until) {
			k.Until = until.UTC().Truncate(time.Second)
		}
	}
}

func (k *issuerKey) public() ed25519.PublicKey { return k.private.Public().(ed25519.PublicKey) }

// published tells whether tokens of this key are still good.
func (k *issuerKey) published(now time.Time) bool {
	return k.State == keySigning || now.Before(k.Until)
}

// jwks gives the JWK Set document (RFC 7517, RFC 8037) of the keys that are good
// now. It is written with fixed names and holds public halves only.
func (f *keyFile) jwks(now time.Time) []byte {
	type publicKey struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		X   string `json:"x"`
		Kid string `json:"kid"`
		Use string `json:"use"`
		Alg string `json:"alg"`
	}
	set := struct {
		Keys []publicKey `json:"keys"`
	}{[]publicKey{}}
	for _, k := range f.Keys {
		if k.published(now) {
			x := base64.RawURLEncoding.EncodeToString(k.public())
			set.Keys = append(set.Keys, publicKey{"OKP", "Ed25519", x, k.ID, "sig", "EdDSA"})
		}
	}
	doc, _ := json.Marshal(set) // strings only: cannot fail
	return doc
}

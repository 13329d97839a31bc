package registry

import (
	"bytes"
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// markKeys are the signing keys of the issuer, each version of them one mark. Its value
// is the version's number.
const markKeys = "issuer_keys"

// keysKept is how long a version of the keys is kept after the next one: longer than
// anybody takes between reading one and writing the next.
const keysKept = 24 * time.Hour

// SigningKeys keeps the signing keys of an [auth.Issuer] in a store, so that all
// replicas have the same without a file that they share.
type SigningKeys struct {
	store store.Registry
	now   func() time.Time
}

var _ auth.Keys = (*SigningKeys)(nil)

// NewSigningKeys gives the keys that s keeps. now is the clock that all replicas share.
func NewSigningKeys(s store.Registry, now func() time.Time) *SigningKeys {
	return &SigningKeys{store: s, now: now}
}

// keysVersion makes versions sort like numbers.
const keysVersion = "%019d"

// Load implements [auth.Keys].
func (k *SigningKeys) Load(ctx context.Context) (content []byte, version int64, err error) {
	marks, err := k.store.Marks(ctx, markKeys, k.now())
	if err != nil || len(marks) == 0 {
		return nil, 0, err
	}
	last := marks[len(marks)-1]
	if version, err = strconv.ParseInt(last.Value, 10, 64); err != nil {
		return nil, 0, fmt.Errorf("reading the version of the signing keys: %w", err)
	}
	return last.Body, version, nil
}

// Swap implements [auth.Keys]. A mark is set by one caller only; that makes it a
// compare-and-set.
func (k *SigningKeys) Swap(ctx context.Context, version int64, content []byte) (swapped bool, err error) {
	now := k.now()
	there, err := k.store.Mark(ctx, store.Mark{Kind: markKeys, Value: fmt.Sprintf(keysVersion, version+1), Body: content}, now)
	// Equal content is of this call: the store may have done it twice.
	if err != nil || there != nil && !bytes.Equal(there.Body, content) {
		return false, err
	}
	k.retire(ctx, version, now)
	return true, nil
}

// retire has the versions up to this one forgotten some day. What fails of it the next
// change makes up for.
func (k *SigningKeys) retire(ctx context.Context, version int64, now time.Time) {
	marks, err := k.store.Marks(ctx, markKeys, now)
	if err != nil {
		return
	}
	for _, m := range marks {
		if m.Expires.IsZero() && m.Value <= fmt.Sprintf(keysVersion, version) {
			m.Expires = now.Add(keysKept)
			_ = k.store.SetMark(ctx, m)
		}
	}
}

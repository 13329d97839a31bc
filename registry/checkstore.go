package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"

	"github.com/arcd-io/arcd/store"
)

// What one replica has validated the others know: validations are in the store too,
// where several processes use it. A process that is alone keeps them in memory only.

// keyMark names what an idempotency key stands for.
func keyMark(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// writeCheck stores a validation for the other replicas.
func (r *Registry) writeCheck(ctx context.Context, made *check) error {
	if r.cfg.Alone {
		return nil
	}
	body, err := json.Marshal(made)
	if err != nil {
		return err
	}
	id := made.Outcome.ValidationID
	err = r.store.SetMark(ctx, store.Mark{Kind: markCheck, Value: id, Body: body, Expires: made.until})
	if err != nil || made.key == "" {
		return err
	}
	return r.store.SetMark(ctx, store.Mark{Kind: markChecked, Value: keyMark(made.key), Body: []byte(id), Expires: made.until})
}

// sameCheck finds the validation that an equal request made before, here or on another
// replica. nil: there is none.
func (r *Registry) sameCheck(ctx context.Context, key string) (*check, error) {
	if made := r.checks.same(key); made != nil || r.cfg.Alone || key == "" {
		return made, nil
	}
	m, err := r.store.FindMark(ctx, markChecked, keyMark(key), r.now())
	if err != nil || m == nil {
		return nil, err
	}
	return r.checkOf(ctx, string(m.Body))
}

// checkOf finds a validation by its id. nil: there is none.
func (r *Registry) checkOf(ctx context.Context, id string) (*check, error) {
	r.checks.mu.Lock()
	made := r.checks.done[id]
	r.checks.mu.Unlock()
	if made != nil || r.cfg.Alone {
		return made, nil
	}
	m, err := r.store.FindMark(ctx, markCheck, id, r.now())
	if err != nil || m == nil {
		return nil, err
	}
	made = &check{until: m.Expires}
	if err := json.Unmarshal(m.Body, made); err != nil {
		return nil, fmt.Errorf("reading validation %s: %w", id, err)
	}
	return made, nil
}

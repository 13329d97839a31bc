package methods

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"strconv"

	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// maxKey is the longest idempotency key in bytes.
const maxKey = 255

// key reads the call's idempotency key, from the header or the param; nil if there is
// none. Whether it was used before is for the commit to find, and for replayed where
// there is none.
func (s *Service) key(c *rpc.Call, param string) (*store.Key, error) {
	name := c.IdempotencyKey
	if name == "" {
		name = param
	}
	if name == "" {
		return nil, nil
	}
	if param != "" && param != name {
		return nil, arc.InvalidParam("idempotencyKey", "differs from the Idempotency-Key header")
	}
	if len(name) > maxKey {
		return nil, arc.InvalidParam("idempotencyKey", "must be at most "+strconv.Itoa(maxKey)+" bytes")
	}
	hash, err := requestHash(c)
	if err != nil {
		return nil, err
	}
	return &store.Key{Owner: c.Principal.Owner(), Name: c.Method + "\n" + name, Hash: hash, Expires: s.now().Add(s.cfg.KeyTTL)}, nil
}

// replayed finds what an equal call did under the key, if one was made before; nil if
// not. A different call under the same key is refused with -32602, reason
// idempotency_mismatch. failed is why the call would else be refused, or nil: what was
// done once is done, even if it would not be now.
func (s *Service) replayed(ctx context.Context, key *store.Key, failed error) (*store.ReplayError, error) {
	replay, made := errors.AsType[*store.ReplayError](failed)
	if key == nil || !made && errors.Is(failed, ErrOutage) {
		return nil, failed
	}
	if !made {
		var err error
		if replay, err = s.store.Replay(ctx, key.Owner, key.Name, s.now()); err != nil {
			return nil, err
		}
	}
	if replay == nil {
		return nil, failed
	}
	return replay, sameRequest(key, replay)
}

// requestHash is a digest of what is asked: equal for equal params, however
// they are written (RFC 8785 canonical form, but for numbers, which stay as they
// are written: as float64 some large ones would be the same).
func requestHash(c *rpc.Call) ([]byte, error) {
	// The key itself is no part of it: it may come as a header one time and as a
	// param the next.
	var members map[string]jsontext.Value
	if err := jsonv2.Unmarshal(c.Params, &members); err != nil {
		return nil, arc.InvalidParam("params", "must be an object").Because(err)
	}
	delete(members, "idempotencyKey")
	params := jsontext.Value(encode(members))
	if err := params.Canonicalize(jsontext.CanonicalizeRawInts(false), jsontext.CanonicalizeRawFloats(false)); err != nil {
		return nil, arc.InvalidParam("params", "cannot be compared").Because(err)
	}
	h := sha256.New()
	h.Write([]byte(c.Method + "\n" + c.From + "\n" + c.To + "\n"))
	h.Write(params)
	return h.Sum(nil), nil
}

func sameRequest(key *store.Key, replay *store.ReplayError) error {
	if subtle.ConstantTimeCompare(key.Hash, replay.Hash) == 1 {
		return nil
	}
	return arc.InvalidParam("idempotencyKey", "was used for a different call").
		With("reason", "idempotency_mismatch").With("retryable", false)
}

// replayTask answers a repeated task.create with the task that the first made.
func (s *Service) replayTask(ctx context.Context, c *rpc.Call, replay *store.ReplayError) (any, error) {
	t, _, err := s.store.Recent(ctx, replay.Thread)
	if err != nil {
		return nil, gone(err, replay.Thread)
	}
	th, err := decode(t)
	if err != nil {
		return nil, err
	}
	c.Replayed = true
	return th.created(), nil
}

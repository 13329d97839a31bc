package auth

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

// verdict is what is remembered of a token whose signature and claims were
// right: all that can still turn against it.
type verdict struct {
	principal *Principal
	provider  *provider
	key       *verifyKey
	notBefore time.Time // the later of nbf and iat
	used      atomic.Bool
}

// tokenHash is the SHA-256 of a whole token, signature included, so that no
// other text can meet its verdict.
type tokenHash = [sha256.Size]byte

// verdicts remembers verified tokens, so that a client that calls often pays
// for its signature once. A token names its provider and its key, and the
// verdict points at both: it is void as soon as that key is withdrawn.
//
// Memory is bounded: each shard is a ring that overwrites its oldest verdict,
// passing over those used since the last round.
type verdicts struct{ shards [16]verdictShard }

type verdictShard struct {
	mu   sync.RWMutex // guards what follows
	by   map[tokenHash]*verdict
	ring []tokenHash
	next int // where the ring goes on once it is full
	size int
}

// newVerdicts makes a memory for about size tokens; none at all if size is not
// positive.
func newVerdicts(size int) *verdicts {
	v := &verdicts{}
	for i := range v.shards {
		v.shards[i].by = make(map[tokenHash]*verdict)
		if size > 0 {
			v.shards[i].size = max(1, size/len(v.shards))
		}
	}
	return v
}

func (v *verdicts) shard(h *tokenHash) *verdictShard { return &v.shards[int(h[0])%len(v.shards)] }

// get gives the verdict on the token with this hash; nil if there is none.
func (v *verdicts) get(h *tokenHash) *verdict {
	s := v.shard(h)
	s.mu.RLock()
	found := s.by[*h]
	s.mu.RUnlock()
	// Written only if it changes: many readers share the line.
	if found != nil && !found.used.Load() {
		found.used.Store(true)
	}
	return found
}

// put remembers a verdict.
func (v *verdicts) put(h *tokenHash, made *verdict) {
	s := v.shard(h)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, there := s.by[*h]; there || s.size == 0 {
		if there {
			s.by[*h] = made
		}
		return
	}
	if len(s.ring) < s.size {
		s.ring = append(s.ring, *h)
	} else {
		s.makeRoomLocked()
		s.ring[s.next] = *h
		s.next = (s.next + 1) % s.size
	}
	s.by[*h] = made
}

// makeRoomLocked moves next to a verdict that may go and forgets it. Each
// verdict passed over loses its mark, so it ends within one round.
func (s *verdictShard) makeRoomLocked() {
	for {
		old := s.by[s.ring[s.next]]
		if old == nil || !old.used.Swap(false) {
			delete(s.by, s.ring[s.next])
			return
		}
		s.next = (s.next + 1) % s.size
	}
}

// len counts the tokens remembered.
func (v *verdicts) len() int {
	n := 0
	for i := range v.shards {
		v.shards[i].mu.RLock()
		n += len(v.shards[i].by)
		v.shards[i].mu.RUnlock()
	}
	return n
}

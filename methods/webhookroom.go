package methods

import (
	"crypto/rand"
	"encoding/binary"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// mailroom is what a Service keeps for its subscriptions.
type mailroom struct {
	poke     chan struct{} // one slot: "look for what is due"
	counting queues        // where a task's subscriptions are counted
	larges   *shares       // of large events
	replays  *shares
	paces    paces         // of replays
	serial   atomic.Uint32 // of deliveries
}

func newMailroom() *mailroom {
	return &mailroom{
		poke:    make(chan struct{}, 1),
		larges:  newShares(maxLarges, ownerLarges),
		replays: newShares(maxReplays, ownerReplays),
	}
}

// deliveryPrefix is what the ids of attempts begin with.
const deliveryPrefix = "dlv-"

// newDeliveryID makes the id of an attempt. In the order of ids an attempt comes after
// those that this process made before: behind the time stands a count.
func (m *mailroom) newDeliveryID(now time.Time) string {
	var b [24]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16|uint64(uint16(m.serial.Add(1))))
	_, _ = rand.Read(b[8:]) // never fails
	return deliveryPrefix + idEncoding.EncodeToString(b[:])
}

// Replays of one owner: so many at once, and then one in so much time. Each is a row
// until its task goes, and a request to wherever the owner likes.
const (
	replayBurst = 20
	replayEvery = time.Second
)

// paces limits how often owners may do something.
type paces struct {
	mu sync.Mutex // guards of
	of map[string]*rate.Limiter
}

// maxPaces is of how many owners it is remembered how often they did it.
const maxPaces = 10_000

// allow tells whether the owner may do it now.
func (p *paces) allow(owner string, now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.of == nil || len(p.of) >= maxPaces {
		p.of = make(map[string]*rate.Limiter)
	}
	limiter, ok := p.of[owner]
	if !ok {
		limiter = rate.NewLimiter(rate.Every(replayEvery), replayBurst)
		p.of[owner] = limiter
	}
	return limiter.AllowN(now, 1)
}

// shares are places of which no owner can take all.
type shares struct {
	most, each int // of all owners, of one

	mu    sync.Mutex     // guards what follows
	taken map[string]int // by owner
	total int            // of them
}

func newShares(most, each int) *shares {
	return &shares{most: most, each: each, taken: make(map[string]int)}
}

// take takes a place, if there is one for this owner.
func (s *shares) take(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.total >= s.most || s.taken[owner] >= s.each {
		return false
	}
	s.total++
	s.taken[owner]++
	return true
}

// give gives it back.
func (s *shares) give(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total--
	if s.taken[owner]--; s.taken[owner] == 0 {
		delete(s.taken, owner)
	}
}

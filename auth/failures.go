package auth

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// failures slows down guessing. A failed try is counted three times: for the
// client id from that address, for the address, and for the client id from
// anywhere. Counts drain with time and the memory for them is bounded.
//
// The third count alone refuses nobody: it only takes away the patience with
// addresses that have failed for that client already. So a good secret from a
// clean address passes, however many others guess at its client.
type failures struct {
	seed maphash.Seed

	// mu guards the tables; their keys are hashes, because the texts come from
	// whoever asks.
	mu      sync.Mutex
	pairs   generations[uint64, *bucket]
	remotes generations[uint64, *bucket]
	clients generations[uint64, *bucket]
}

// A failureRate allows burst failures at once and one more every so often.
type failureRate struct {
	burst float64
	every time.Duration
}

// The rates. An address may stand for many clients behind one proxy.
var (
	pairRate   = failureRate{burst: 5, every: 12 * time.Second}
	remoteRate = failureRate{burst: 100, every: time.Second}
	clientRate = failureRate{burst: 50, every: time.Second}
)

// failureEntries is the size of one generation of each table.
const failureEntries = 4096

func newFailures() *failures {
	table := generations[uint64, *bucket]{size: failureEntries}
	return &failures{seed: maphash.MakeSeed(), pairs: table, remotes: table, clients: table}
}

// admit counts a try as failed before it is made, so that tries side by side
// count too, and says how long to wait if it must not be made at all. After a
// good try, forgive takes the count back.
func (f *failures) admit(id, remote string, now time.Time) (forgive func(), wait time.Duration) {
	remote = addressGroup(remote)
	f.mu.Lock()
	defer f.mu.Unlock()
	pair := f.bucket(&f.pairs, remote+"\n"+id, now)
	address := f.bucket(&f.remotes, remote, now)
	client := f.bucket(&f.clients, id, now)
	wait = max(pair.wait(pairRate, now), address.wait(remoteRate, now))
	if pair.drained(pairRate, now) > 0 {
		wait = max(wait, client.wait(clientRate, now))
	}
	if wait > 0 {
		return nil, wait
	}
	pair.add(1, pairRate, now)
	address.add(1, remoteRate, now)
	client.add(1, clientRate, now)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		pair.add(-1, pairRate, now)
		address.add(-1, remoteRate, now)
		client.add(-1, clientRate, now)
	}, 0
}

func (f *failures) bucket(table *generations[uint64, *bucket], key string, now time.Time) *bucket {
	k := maphash.String(f.seed, key)
	b, ok := table.get(k, now)
	if !ok {
		b = &bucket{at: now}
		table.put(k, b, now)
	}
	return b
}

// addressGroup gives the part of an address that one party surely holds: a whole
// IPv4 address, the /64 of an IPv6 one.
func addressGroup(remote string) string {
	a, err := netip.ParseAddr(remote)
	if err != nil {
		return remote
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	p, _ := a.Prefix(64) // cannot fail: 64 is in range
	return p.String()
}

// A bucket holds a count of failures that drains.
type bucket struct {
	level float64
	at    time.Time // when level was true
}

// drained gives the count as of now.
func (b *bucket) drained(r failureRate, now time.Time) float64 {
	passed := max(0, now.Sub(b.at)) // a clock set back drains nothing
	return max(0, b.level-passed.Seconds()/r.every.Seconds())
}

// wait gives the time until one more failure is allowed, in whole seconds, the
// unit of Retry-After; zero: now.
func (b *bucket) wait(r failureRate, now time.Time) time.Duration {
	over := b.drained(r, now) + 1 - r.burst
	if over <= 0 {
		return 0
	}
	return time.Duration(math.Ceil(over*r.every.Seconds())) * time.Second
}

func (b *bucket) add(n float64, r failureRate, now time.Time) {
	b.level = max(0, b.drained(r, now)+n)
	if now.After(b.at) {
		b.at = now
	}
}

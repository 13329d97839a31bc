package auth

import (
	"hash/maphash"
	"math"
	"net/netip"
	"sync"
	"time"
)

// failures slows down guessing. A failed try is counted three times: for the
// id (of a client, of an agent) from that address, for the address, and for the
// id from anywhere. Counts drain with time and the memory for them is bounded.
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
// good try, forgive takes the count back, and no other: neither a good try nor a
// bad request ever resets what was counted before.
func (f *failures) admit(id, remote string, now time.Time) (forgive func(), wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.countsLocked(id, remote, now)
	if wait = c.wait(now); wait > 0 {
		return nil, wait
	}
	f.addLocked(&c, now)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		c.pair.add(-1, pairRate, now)
		c.remote.add(-1, remoteRate, now)
		c.client.add(-1, clientRate, now)
	}, 0
}

// judge is admit for a try whose outcome is known already, because to find it out
// costs nothing. With a wait, the outcome must not be told.
func (f *failures) judge(id, remote string, good bool, now time.Time) (wait time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.countsLocked(id, remote, now)
	if wait = c.wait(now); wait == 0 && !good {
		f.addLocked(&c, now)
	}
	return wait
}

// counts are the three counts of a try, and where they are kept. [failures.mu]
// guards them.
type counts struct {
	pair, remote, client          *bucket
	pairKey, remoteKey, clientKey uint64
}

// countsLocked finds the counts. New ones are not kept before they count
// something: tries that are refused, or good, cannot push out what others count.
func (f *failures) countsLocked(id, remote string, now time.Time) counts {
	remote = addressGroup(remote)
	find := func(table *generations[uint64, *bucket], text string) (*bucket, uint64) {
		key := maphash.String(f.seed, text)
		if b, ok := table.get(key, now); ok {
			return b, key
		}
		return &bucket{at: now}, key
	}
	var c counts
	c.pair, c.pairKey = find(&f.pairs, remote+"\n"+id)
	c.remote, c.remoteKey = find(&f.remotes, remote)
	c.client, c.clientKey = find(&f.clients, id)
	return c
}

// wait gives the time until one more try is allowed; zero: now.
func (c *counts) wait(now time.Time) time.Duration {
	wait := max(c.pair.wait(pairRate, now), c.remote.wait(remoteRate, now))
	if c.pair.drained(pairRate, now) > 0 {
		wait = max(wait, c.client.wait(clientRate, now))
	}
	return wait
}

// addLocked counts a failure.
func (f *failures) addLocked(c *counts, now time.Time) {
	c.pair.add(1, pairRate, now)
	c.remote.add(1, remoteRate, now)
	c.client.add(1, clientRate, now)
	f.pairs.put(c.pairKey, c.pair, now)
	f.remotes.put(c.remoteKey, c.remote, now)
	f.clients.put(c.clientKey, c.client, now)
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

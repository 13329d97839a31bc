package sqlite

import (
	"hash/maphash"
	"sync"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// Limits of what one thread may take of the cache, in bytes.
const (
	maxCachedItems  = 1 << 20
	maxCachedEvents = 64 << 10
)

// entry is a thread with what is known of its history. It is never changed: the
// next commit makes the next entry, which may share the front of its slices.
type entry struct {
	n     int64
	t     store.Thread
	items []store.Item // all of them, if whole
	whole bool
	evs   []arc.Event // the last ones

	itemBytes, eventBytes int
}

// next gives the entry after a commit. t has its new numbers already.
func (e *entry) next(t store.Thread, items []store.Item, evs []arc.Event) *entry {
	x := *e
	x.t = t
	for i := range items {
		x.itemBytes += len(items[i].Body) + 40
	}
	if x.whole = x.whole && x.itemBytes <= maxCachedItems; x.whole {
		x.items = append(x.items, items...)
	} else {
		x.items, x.itemBytes = nil, 0
	}
	for i := range evs {
		x.eventBytes += eventSize(&evs[i])
	}
	x.evs = append(x.evs, evs...)
	for x.eventBytes > maxCachedEvents {
		x.eventBytes -= eventSize(&x.evs[0])
		x.evs = x.evs[1:]
	}
	return &x
}

// withItems gives the entry with the thread's items, which a reader has found.
func (e *entry) withItems(items []store.Item) *entry {
	x := *e
	x.itemBytes = 0
	for i := range items {
		x.itemBytes += len(items[i].Body) + 40
	}
	if x.itemBytes <= maxCachedItems {
		x.items, x.whole = items, true
	}
	return &x
}

func eventSize(e *arc.Event) int { return len(e.Data) + 100 }

func (e *entry) size() int {
	return 600 + len(e.t.Body) + e.eventBytes + e.itemBytes
}

// cache keeps recent threads. It never disagrees with the database, because the
// process owns the file, only the writer changes it, and a reader may put what
// it read only if the writer has not touched the thread meanwhile (see stamp).
//
// There are two generations: what is used moves to the young one; when that has
// taken half of the budget it becomes the old one, and the old one is dropped.
type cache struct {
	budget int // bytes of one generation
	seed   maphash.Seed

	mu         sync.RWMutex // guards all below
	young, old map[string]*entry
	used       int // bytes in young
	stamps     [256]uint64
}

func newCache(bytes int) *cache {
	return &cache{budget: bytes / 2, seed: maphash.MakeSeed(), young: map[string]*entry{}, old: map[string]*entry{}}
}

// get gives nil if the thread is not there.
func (c *cache) get(id string) *entry {
	c.mu.RLock()
	e, isYoung := c.young[id]
	if e == nil {
		e = c.old[id]
	}
	c.mu.RUnlock()
	if e == nil || isYoung {
		return e
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e = c.old[id]; e != nil { // the writer may have been here meanwhile
		delete(c.old, id)
		c.insert(id, e)
		return e
	}
	return c.young[id]
}

// stamp counts the writer's changes to the thread and those that share its
// counter. A reader takes it before it reads the database and gives it to fill.
func (c *cache) stamp(id string) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.stamps[c.slot(id)]
}

// fill puts what a reader read, unless that may be out of date.
func (c *cache) fill(e *entry, stamp uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stamps[c.slot(e.t.ID)] == stamp {
		delete(c.old, e.t.ID)
		c.insert(e.t.ID, e)
	}
}

// settle puts what a transaction left; a nil entry is a thread that is gone.
func (c *cache) settle(fresh map[string]*entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range fresh {
		c.stamps[c.slot(id)]++
		delete(c.old, id)
		c.insert(id, e)
	}
}

// insert expects the lock.
func (c *cache) insert(id string, e *entry) {
	if was := c.young[id]; was != nil {
		c.used -= was.size()
		delete(c.young, id)
	}
	if e == nil {
		return
	}
	size := e.size()
	if c.used+size > c.budget {
		c.old, c.young, c.used = c.young, make(map[string]*entry, len(c.young)), 0
	}
	c.young[id] = e
	c.used += size
}

func (c *cache) slot(id string) int {
	return int(maphash.String(c.seed, id) % uint64(len(c.stamps)))
}

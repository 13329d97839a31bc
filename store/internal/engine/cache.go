package engine

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

// Entry is a thread with what is known of its history. It is never changed: the
// next commit makes the next Entry, which may share the front of its slices.
type Entry struct {
	N      int64 // the engine's own number of the thread
	T      store.Thread
	Items  []store.Item // all of them, if Whole
	Whole  bool
	Events []arc.Event // the last ones

	itemBytes, eventBytes int
}

// Next gives the Entry after a commit. t has its new numbers already.
func (e *Entry) Next(t store.Thread, items []store.Item, evs []arc.Event) *Entry {
	x := *e
	x.T = t
	for i := range items {
		x.itemBytes += len(items[i].Body) + 40
	}
	if x.Whole = x.Whole && x.itemBytes <= maxCachedItems; x.Whole {
		x.Items = append(x.Items, items...)
	} else {
		x.Items, x.itemBytes = nil, 0
	}
	for i := range evs {
		x.eventBytes += eventSize(&evs[i])
	}
	x.Events = append(x.Events, evs...)
	for x.eventBytes > maxCachedEvents {
		x.eventBytes -= eventSize(&x.Events[0])
		x.Events = x.Events[1:]
	}
	return &x
}

// WithItems gives the Entry with the thread's items, which a reader has found.
func (e *Entry) WithItems(items []store.Item) *Entry {
	x := *e
	x.itemBytes = 0
	for i := range items {
		x.itemBytes += len(items[i].Body) + 40
	}
	if x.itemBytes <= maxCachedItems {
		x.Items, x.Whole = items, true
	}
	return &x
}

func eventSize(e *arc.Event) int { return len(e.Data) + 100 }

func (e *Entry) size() int {
	return 600 + len(e.T.Body) + e.eventBytes + e.itemBytes
}

// Cache keeps recent threads. Where one process owns the database it never disagrees
// with it: only the writer changes it, and a reader may put what it read only if the
// writer has not touched the thread meanwhile (see Stamp).
//
// There are two generations: what is used moves to the young one; when that has
// taken half of the budget it becomes the old one, and the old one is dropped.
type Cache struct {
	budget int // bytes of one generation
	seed   maphash.Seed

	mu         sync.RWMutex // guards all below
	young, old map[string]*Entry
	used       int // bytes in young
	stamps     [256]uint64
}

// NewCache makes a cache of about so many bytes.
func NewCache(bytes int) *Cache {
	return &Cache{budget: bytes / 2, seed: maphash.MakeSeed(), young: map[string]*Entry{}, old: map[string]*Entry{}}
}

// Get gives nil if the thread is not there.
func (c *Cache) Get(id string) *Entry {
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

// Stamp counts the writer's changes to the thread and those that share its
// counter. A reader takes it before it reads the database and gives it to Fill.
func (c *Cache) Stamp(id string) uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.stamps[c.slot(id)]
}

// Fill puts what a reader read, unless that may be out of date.
func (c *Cache) Fill(e *Entry, stamp uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stamps[c.slot(e.T.ID)] == stamp {
		delete(c.old, e.T.ID)
		c.insert(e.T.ID, e)
	}
}

// Settle puts what a transaction left; a nil Entry is a thread that is gone.
func (c *Cache) Settle(fresh map[string]*Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, e := range fresh {
		c.stamps[c.slot(id)]++
		delete(c.old, id)
		c.insert(id, e)
	}
}

// insert expects the lock.
func (c *Cache) insert(id string, e *Entry) {
	if was := c.young[id]; was != nil {
		c.used -= was.size()
		delete(c.young, id)
	}
	if e == nil {
		return
	}
	size := e.size()
	if c.used+size > c.budget {
		c.old, c.young, c.used = c.young, make(map[string]*Entry, len(c.young)), 0
	}
	c.young[id] = e
	c.used += size
}

func (c *Cache) slot(id string) int {
	return int(maphash.String(c.seed, id) % uint64(len(c.stamps)))
}

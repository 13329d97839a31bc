package methods

import "sync"

// hub wakes those who wait for something to happen to a thread. It carries no
// data: whoever is woken reads the stored log.
type hub struct {
	mu      sync.Mutex // guards waiters, and seen of each
	waiters map[string]map[*waiter]struct{}
}

type waiter struct {
	hub  *hub
	id   string
	wake chan struct{} // one slot
	seen int64         // the newest event that it was told of, or has read
}

func newHub() *hub { return &hub{waiters: make(map[string]map[*waiter]struct{})} }

// join registers interest in a thread. Whatever is committed after it returns
// fills the waiter's slot: at once, or where other replicas' hints get lost, when
// [Service.catchUp] finds that the thread has more events than were seen.
func (h *hub) join(id string) *waiter {
	w := &waiter{hub: h, id: id, wake: make(chan struct{}, 1)}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.waiters[id] == nil {
		h.waiters[id] = make(map[*waiter]struct{}, 1)
	}
	h.waiters[id][w] = struct{}{}
	return w
}

func (w *waiter) leave() {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	delete(w.hub.waiters[w.id], w)
	if len(w.hub.waiters[w.id]) == 0 {
		delete(w.hub.waiters, w.id)
	}
}

// read says that the waiter has read the thread's events up to seq.
func (w *waiter) read(seq int64) {
	w.hub.mu.Lock()
	defer w.hub.mu.Unlock()
	w.seen = max(w.seen, seq)
}

// notify tells the waiters of a thread that it has events up to seq. Those who know
// already are left alone. It never blocks.
func (h *hub) notify(id string, seq int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waiters[id] {
		if seq > w.seen {
			w.seen = seq
			poke(w.wake)
		}
	}
}

// dismiss wakes the waiters of a thread that is not there any more.
func (h *hub) dismiss(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waiters[id] {
		poke(w.wake)
	}
}

// appendIDs appends the ids of the threads that somebody waits for.
func (h *hub) appendIDs(ids []string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.waiters {
		ids = append(ids, id)
	}
	return ids
}

// poke fills a one-slot channel, or leaves it full.
func poke(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

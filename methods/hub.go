package methods

import "sync"

// hub wakes those who wait for something to happen to a thread. It carries no
// data: whoever is woken reads the stored log.
type hub struct {
	mu      sync.Mutex // guards waiters
	waiters map[string]map[*waiter]struct{}
}

type waiter struct {
	hub  *hub
	id   string
	wake chan struct{} // one slot
}

func newHub() *hub { return &hub{waiters: make(map[string]map[*waiter]struct{})} }

// join registers interest in a thread. Whatever is committed after it returns
// fills the waiter's slot.
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

// notify never blocks.
func (h *hub) notify(id string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for w := range h.waiters[id] {
		poke(w.wake)
	}
}

// poke fills a one-slot channel, or leaves it full.
func poke(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

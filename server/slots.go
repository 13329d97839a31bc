package server

import "sync"

// slots counts what each owner holds, up to a most.
type slots struct {
	most int

	mu   sync.Mutex // guards held
	held map[string]int
}

// take takes one slot for owner; false if it holds the most already.
func (s *slots) take(owner string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[owner] >= s.most {
		return false
	}
	if s.held == nil {
		s.held = make(map[string]int)
	}
	s.held[owner]++
	return true
}

// give returns a slot.
func (s *slots) give(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held[owner]--; s.held[owner] <= 0 {
		delete(s.held, owner)
	}
}

package registry

import "sync"

// signal tells any number of waiters that something happened. The zero value is
// ready.
type signal struct {
	mu sync.Mutex // guards ch
	ch chan struct{}
}

// next gives a channel that is closed the next time. Whoever wants to miss
// nothing takes it before looking at what it is about.
func (s *signal) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) tell() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

package ratelimit

// Known is how many callers are remembered.
func (l *Limiter) Known() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.callers)
}

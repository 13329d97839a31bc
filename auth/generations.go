package auth

import "time"

// generations is a bounded map that forgets what was not used for a while: two
// maps, of which the older is thrown away when the younger is full or old. It
// costs no list and no timer. It is not safe for concurrent use; the zero value
// with size set is ready.
type generations[K comparable, V any] struct {
	// size is the most entries of one of the two maps.
	size int
	// age is how long a map stays the younger one; zero: until it is full. What is
	// not used is forgotten between age and twice age after its last use.
	age time.Duration

	young, old map[K]V
	born       time.Time // of the younger map
}

// get finds the value and keeps it from being forgotten.
func (g *generations[K, V]) get(k K, now time.Time) (V, bool) {
	g.turn(now)
	v, ok := g.young[k]
	if ok {
		return v, true
	}
	if v, ok = g.old[k]; ok {
		g.put(k, v, now)
	}
	return v, ok
}

// put sets the value.
func (g *generations[K, V]) put(k K, v V, now time.Time) {
	g.turn(now)
	if _, there := g.young[k]; !there && len(g.young) >= g.size {
		g.old, g.young, g.born = g.young, nil, now
	}
	if g.young == nil {
		g.young = make(map[K]V)
		g.born = now
	}
	g.young[k] = v
}

// turn ages the maps by the clock.
func (g *generations[K, V]) turn(now time.Time) {
	if g.age == 0 || g.young == nil && g.old == nil {
		return
	}
	switch since := now.Sub(g.born); {
	case since >= 2*g.age:
		g.old, g.young, g.born = nil, nil, now
	case since >= g.age:
		g.old, g.young, g.born = g.young, nil, now
	}
}

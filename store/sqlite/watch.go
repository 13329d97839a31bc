package sqlite

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/arcd-io/arcd/store"
)

// watchers are called by the goroutines that commit, not by the writer: a slow
// one delays the caller whose change it looks at, and nobody else.
type watchers struct {
	mu   sync.Mutex // guards changes of list
	list atomic.Pointer[[]*func(store.Hint)]
}

// Watch implements [store.Store]. A call that has begun may end after stop has
// returned.
func (s *Engine) Watch(f func(store.Hint)) (stop func()) {
	w := &s.watch
	w.change(func(l []*func(store.Hint)) []*func(store.Hint) { return append(l, &f) })
	return func() {
		w.change(func(l []*func(store.Hint)) []*func(store.Hint) {
			return slices.DeleteFunc(l, func(g *func(store.Hint)) bool { return g == &f })
		})
	}
}

func (w *watchers) change(f func([]*func(store.Hint)) []*func(store.Hint)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*func(store.Hint)
	if p := w.list.Load(); p != nil {
		list = slices.Clone(*p)
	}
	list = f(list)
	w.list.Store(&list)
}

func (w *watchers) tell(h store.Hint) {
	p := w.list.Load()
	if p == nil {
		return
	}
	for _, f := range *p {
		(*f)(h)
	}
}

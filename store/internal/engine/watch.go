package engine

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/arcd-io/arcd/store"
)

// Watchers are the functions that an engine tells what happened. They are called by the goroutines that commit, not by the writer: a slow
// one delays the caller whose change it looks at, and nobody else.
type Watchers struct {
	mu   sync.Mutex // guards changes of list
	list atomic.Pointer[[]*func(store.Hint)]
}

// Watch adds one, until stop is called. A call that has begun may end after that.
func (w *Watchers) Watch(f func(store.Hint)) (stop func()) {
	w.change(func(l []*func(store.Hint)) []*func(store.Hint) { return append(l, &f) })
	return func() {
		w.change(func(l []*func(store.Hint)) []*func(store.Hint) {
			return slices.DeleteFunc(l, func(g *func(store.Hint)) bool { return g == &f })
		})
	}
}

func (w *Watchers) change(f func([]*func(store.Hint)) []*func(store.Hint)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var list []*func(store.Hint)
	if p := w.list.Load(); p != nil {
		list = slices.Clone(*p)
	}
	list = f(list)
	w.list.Store(&list)
}

// Tell calls them all.
func (w *Watchers) Tell(h store.Hint) {
	p := w.list.Load()
	if p == nil {
		return
	}
	for _, f := range *p {
		(*f)(h)
	}
}

package registry

import (
	"context"
	"slices"
	"time"

	"github.com/arcd-io/arcd/store"
)

// countLease is how long one replica may have the counts to itself, countWork how long
// what it does may take.
const (
	countLease = 30 * time.Second
	countWork  = 10 * time.Second
)

// flushCounts adds what is pending to the counts that the store has. Replicas do so one
// after the other, under a lease: what one adds, the next reads. Whoever does not get
// it tries again soon. The directory's registering is held.
func (r *Registry) flushCounts(ctx context.Context) error {
	since, pending := r.agents.pendingSince()
	if !pending {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, countWork) // well within the lease
	defer cancel()
	now := r.now()
	there, err := r.store.Mark(ctx, store.Mark{
		Kind: markLease, Value: "counts", Body: []byte(r.others.self), Expires: now.Add(countLease),
	}, now)
	if err != nil {
		return err
	}
	if there != nil && string(there.Body) != r.others.self {
		r.agents.hasten()
		return nil
	}
	err = r.addCounts(ctx, since)
	if ctx.Err() != nil {
		return err // what was under way may not be over: the lease ends by itself
	}
	if _, unmark := r.store.Unmark(ctx, markLease, "counts"); err == nil {
		err = unmark
	}
	return err
}

// pendingSince tells whether something is pending, and from when on the store has signs
// of life of those that it is of.
func (d *directory) pendingSince() (since time.Time, found bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id := range d.counted {
		a := d.byID[id]
		if a == nil {
			delete(d.counted, id)
			continue
		}
		if !found || a.written.Before(since) {
			since, found = a.written, true
		}
	}
	return since, found
}

// addCounts reads the stored counts, adds to them and writes them.
func (r *Registry) addCounts(ctx context.Context, since time.Time) error {
	if err := r.lookHeld(ctx); err != nil { // an id may be somebody else's by now
		return err
	}
	stored, err := r.store.Beats(ctx, since)
	if err != nil {
		return err
	}
	beats, added := r.agents.added(stored)
	if len(beats) == 0 {
		return nil
	}
	if err := r.store.Beat(ctx, beats); err != nil {
		return err
	}
	r.agents.written(beats, added)
	return nil
}

// added gives the counts to be written, and how many observations of each agent are in
// them.
func (d *directory) added(stored []store.Beat) (beats []store.Beat, added []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range stored {
		a := d.byID[b.ID]
		if a == nil || len(a.pending) == 0 {
			continue
		}
		n, _ := readCounts(b.Counts, a.Incarnation) // what cannot be read is replaced
		for i := range a.pending {
			a.pending[i].apply(&n)
		}
		// A time before all others: nothing but the counts is written.
		beats = append(beats, store.Beat{ID: b.ID, Seen: time.UnixMilli(0), Counts: n.encode(a.Incarnation)})
		added = append(added, len(a.pending))
	}
	return beats, added
}

// written notes that counts are in the store.
func (d *directory) written(beats []store.Beat, added []int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, b := range beats {
		a := d.byID[b.ID]
		if a == nil {
			continue
		}
		a.stored = b.Counts
		a.pending = slices.Delete(a.pending, 0, min(added[i], len(a.pending)))
		_ = a.recount() // it has just been written
		if len(a.pending) == 0 {
			delete(d.counted, b.ID)
		}
	}
}

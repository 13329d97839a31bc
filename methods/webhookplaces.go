package methods

import (
	"context"
	"slices"
	"time"
)

// start has workers send for those that have a place, the owners with the fewest
// first.
func (o *outbox) start(ctx context.Context) {
	for {
		h := o.next()
		if h == nil {
			break
		}
		o.workers.Go(func() {
			begun := time.Now()
			if o.s.sendEvents(ctx, h.sub) {
				poke(o.s.webhooks.poke)
			}
			o.leave(h, time.Since(begun))
			poke(o.freed)
		})
	}
	o.dropLate(ctx)
}

// dropLate gives back those that have been held for too long.
func (o *outbox) dropLate(ctx context.Context) {
	now := o.s.now()
	var late []*heldSubscription
	for owner, queue := range o.held {
		queue = slices.DeleteFunc(queue, func(h *heldSubscription) bool {
			if h.startBy.After(now) {
				return false
			}
			late = append(late, h)
			return true
		})
		if o.held[owner] = queue; len(queue) == 0 {
			delete(o.held, owner)
		}
	}
	if len(late) == 0 {
		return
	}
	o.count -= len(late)
	o.giveBack(ctx, late, atOnce) // so that it is claimed anew
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, h := range late {
		for _, p := range o.placesOf(h) {
			p.held--
		}
		o.forget(h)
	}
}

// next takes one out of those that are held, and takes a place for it; nil if there
// is none for any of them.
func (o *outbox) next() *heldSubscription {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.busy >= maxSending {
		return nil
	}
	now := o.s.now()
	var of string
	best, fewest := -1, ownerSending
	for owner, queue := range o.held {
		if o.owners[owner].busy >= fewest {
			continue
		}
		if i := slices.IndexFunc(queue, func(h *heldSubscription) bool {
			return h.startBy.After(now) && o.hosts[h.host].busy < hostSending
		}); i >= 0 {
			of, best, fewest = owner, i, o.owners[owner].busy
		}
	}
	if best < 0 {
		return nil
	}
	queue := o.held[of]
	h := queue[best]
	o.count--
	if o.held[of] = slices.Delete(queue, best, best+1); len(o.held[of]) == 0 {
		delete(o.held, of)
	}
	o.busy++
	for _, p := range o.placesOf(h) {
		p.held--
		p.busy++
	}
	return h
}

// leave gives a place back.
func (o *outbox) leave(h *heldSubscription, took time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.busy--
	for _, p := range o.placesOf(h) {
		p.busy--
		p.pace += (took - p.pace) / 4
	}
	o.forget(h)
}

// placesOf are those where one that is held or sent to is counted; mu is held.
func (o *outbox) placesOf(h *heldSubscription) [2]*place {
	return [2]*place{o.hosts[h.host], o.owners[h.sub.Owner]}
}

// forget drops its host and its owner if nothing goes on there; mu is held.
func (o *outbox) forget(h *heldSubscription) {
	if p := o.hosts[h.host]; p.busy == 0 && p.held == 0 {
		delete(o.hosts, h.host)
	}
	if p := o.owners[h.sub.Owner]; p.busy == 0 && p.held == 0 {
		delete(o.owners, h.sub.Owner)
	}
}

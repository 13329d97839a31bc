package methods

import (
	"context"
	"slices"
	"sync"
	"time"
)

// How subscriptions are worked off. One that is claimed is held, until there is a
// place for it, for holdTime, and then begins attempts for workTime; with the last
// attempt that is less than the lease, so that leases need no renewal.
const (
	webhookLease = 30 * time.Second
	holdTime     = 8 * time.Second
	workTime     = 6 * time.Second

	maxSending   = 64   // subscriptions at once
	hostSending  = 8    // of these to one host
	ownerSending = 32   // of these of one owner
	maxHeld      = 2048 // that wait for a place
	ownersHeld   = 1792 // of these of all owners that have many
	claimBatch   = 256
)

// sendWebhooks sends events to subscriptions until ctx ends. The store's log is the
// outbox: a subscription is due when the log is ahead of its cursor, or when a failed
// attempt is to be repeated. Whoever claims it sends what is there, in order.
func (s *Service) sendWebhooks(ctx context.Context) {
	o := &outbox{s: s, hosts: make(map[string]*place), owners: make(map[string]*place), held: make(map[string][]*heldSubscription), freed: make(chan struct{}, 1)}
	ticker := time.NewTicker(lookAgain)
	defer ticker.Stop()
	more := true
	for ctx.Err() == nil {
		o.start(ctx)
		if more && o.room() > 0 {
			more = o.claim(ctx)
			continue
		}
		select {
		case <-ctx.Done():
		case <-ticker.C:
			more = true
		case <-s.webhooks.poke:
			more = true
		case <-o.freed:
			more = more || !o.back.IsZero() && !o.back.After(s.now())
		}
	}
	o.workers.Wait()
	for _, queue := range o.held {
		o.giveBack(ctx, queue, atOnce)
	}
}

// outbox is what sendWebhooks has in hand.
type outbox struct {
	s       *Service
	workers sync.WaitGroup
	freed   chan struct{} // one slot: a worker is done

	held  map[string][]*heldSubscription // by owner, in the order of tried; of sendWebhooks alone
	count int                            // of all held
	back  time.Time                      // when the first of those has its turn that were given back; zero: none were

	mu     sync.Mutex // guards what follows
	busy   int
	hosts  map[string]*place
	owners map[string]*place
}

// place is what goes on at one host, or of one owner.
type place struct {
	busy, held int
	pace       time.Duration // that a subscription took there lately
	turn       time.Time     // of the last one that was given back
}

// wait is after what time one more has its turn, where so many are sent to at once:
// behind those that are held, and those that were given back before.
func (p *place) wait(now time.Time, sending int) time.Duration {
	const least, most = 100 * time.Millisecond, 30 * time.Second
	if p == nil {
		return least
	}
	each := p.pace / time.Duration(sending)
	if held := now.Add(time.Duration(p.held) * each); held.After(p.turn) {
		p.turn = held
	}
	p.turn = p.turn.Add(each)
	if last := now.Add(most); p.turn.After(last) {
		p.turn = last
	}
	return max(p.turn.Sub(now), least)
}

// heldSubscription is a claimed one that waits for its place.
type heldSubscription struct {
	sub     *subscription
	host    string
	tried   time.Time // zero: never
	startBy time.Time
}

// room is how many more can be claimed.
func (o *outbox) room() int { return min(maxHeld-o.count, claimBatch) }

// claim claims what is due, and reports whether there may be more. What would
// crowd out the receivers of others is given back for a while.
func (o *outbox) claim(ctx context.Context) bool {
	now, most := o.s.now(), o.room()
	found, err := o.s.store.ClaimSubscriptions(ctx, now, now.Add(webhookLease), newID("", now), most)
	if err != nil {
		o.s.logFailure(err, "claiming subscriptions", "")
		return false
	}
	var surplus []*heldSubscription
	if !o.back.After(now) {
		o.back = time.Time{}
	}
	for _, f := range found {
		sub, err := decodeSubscription(f)
		if err != nil {
			o.s.logFailure(err, "reading a subscription", "")
			continue
		}
		h := &heldSubscription{sub: sub, host: sub.host(), startBy: now.Add(holdTime)}
		if sub.rec.Last != nil {
			h.tried = sub.rec.Last.At.Time
		}
		if o.hold(h) {
			o.enqueue(h)
		} else {
			surplus = append(surplus, h)
		}
	}
	o.giveBack(ctx, surplus, o.later)
	for _, h := range surplus {
		if o.back.IsZero() || h.sub.Due.Before(o.back) {
			o.back = h.sub.Due
		}
	}
	return len(found) == most
}

// enqueue puts one into its owner's queue: who was never tried, or not for long, comes
// first, or those that fail would take the turns of those behind them.
func (o *outbox) enqueue(h *heldSubscription) {
	queue := o.held[h.sub.Owner]
	i, _ := slices.BinarySearchFunc(queue, h.tried, func(other *heldSubscription, tried time.Time) int {
		if other.tried.After(tried) {
			return 1
		}
		return -1 // also if they are equal: behind all of these
	})
	o.held[h.sub.Owner] = slices.Insert(queue, i, h)
	o.count++
}

// hold counts one in at its host and for its owner, unless one of them has its share of
// those that wait.
func (o *outbox) hold(h *heldSubscription) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	host, owner := placeIn(o.hosts, h.host), placeIn(o.owners, h.sub.Owner)
	if host.held >= max(hostSending, maxHeld/(len(o.hosts)+1)) || owner.held >= max(ownerSending, ownersHeld/len(o.owners)) {
		o.forget(h)
		return false
	}
	host.held++
	owner.held++
	return true
}

func placeIn(all map[string]*place, name string) *place {
	p := all[name]
	if p == nil {
		p = &place{}
		all[name] = p
	}
	return p
}

// later is after what time there may be a place for one more of the host and the owner.
func (o *outbox) later(h *heldSubscription) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := o.s.now()
	return max(o.hosts[h.host].wait(now, hostSending), o.owners[h.sub.Owner].wait(now, ownerSending))
}

func atOnce(*heldSubscription) time.Duration { return 0 }

// giveBack gives claimed ones up, for somebody to claim after a while.
func (o *outbox) giveBack(ctx context.Context, all []*heldSubscription, after func(*heldSubscription) time.Duration) {
	ctx = context.WithoutCancel(ctx)
	for some := range slices.Chunk(all, claimBatch) {
		var settling sync.WaitGroup
		for _, h := range some {
			h.sub.Due = o.s.now().Add(after(h))
			settling.Go(func() { o.s.settleSubscription(ctx, h.sub, nil) })
		}
		settling.Wait()
	}
}

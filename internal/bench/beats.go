package main

import (
	"context"
	"fmt"
	"time"
)

// heartbeats is what the heartbeats of a run cost the store.
type heartbeats struct {
	calls   int           // heartbeats that were answered
	writes  int64         // transactions that wrote them
	every   time.Duration // how often the registry writes
	elapsed time.Duration
}

// beatsEvery is how often a registry writes heartbeats (registry.Run).
func beatsEvery(silence time.Duration) time.Duration { return max(silence/6, time.Second) }

// countBeats waits until all heartbeats since begin are written, and makes sure
// that they cost no more than a transaction for each batch, and that nothing else
// was written meanwhile: none of the workloads changes anything.
func (b *bench) countBeats(ctx context.Context, before usage, begin time.Time, rounds []measured) (heartbeats, error) {
	h := heartbeats{every: beatsEvery(b.silence)}
	for _, m := range rounds {
		h.calls += m.requests
	}
	now, err := b.registry.ask(plain)
	if err != nil {
		return h, err
	}
	// One more heartbeat makes sure that there is something left to be written.
	if _, err := b.onceOn(ctx, b.registry, b.heartbeat()); err != nil {
		return h, err
	}
	h.calls++
	last := now.Writes.Beats
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for now.Writes.Beats == last {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return h, ctx.Err()
		}
		if now, err = b.registry.ask(plain); err != nil {
			return h, err
		}
	}
	h.elapsed = time.Since(begin)
	h.writes = now.Writes.Beats - before.Writes.Beats
	// Besides those within the time, one at each end may be late.
	if most := int64(h.elapsed/h.every) + 2; h.writes > most {
		return h, fmt.Errorf("%d transactions for heartbeats in %v, more than one each %v", h.writes, h.elapsed, h.every)
	}
	if others := now.Writes.Other - before.Writes.Other; others > 0 {
		return h, fmt.Errorf("%d transactions besides those for heartbeats", others)
	}
	return h, nil
}

package registry

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Signs of life are kept in memory and written together. Each replica writes what it
// heard and reads what the others did, so the silence of an agent is that on all of
// them.

// hurryPause lets heartbeats gather that are to be written at once.
const hurryPause = 200 * time.Millisecond

// hasten has beats written soon.
func (d *directory) hasten() {
	select {
	case d.hurry <- struct{}{}:
	default:
	}
}

// beats takes the signs of life that are to be written, with the counts if nobody else
// writes those.
func (d *directory) beats(counts bool) []store.Beat {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.dirty) == 0 {
		return nil
	}
	beats := make([]store.Beat, 0, len(d.dirty))
	for id := range d.dirty {
		a := d.byID[id]
		if a == nil {
			continue
		}
		b := store.Beat{ID: id, Seen: a.seen, Alive: a.alive}
		if counts {
			b.Counts = a.counts.encode(a.Incarnation)
		}
		beats = append(beats, b)
	}
	clear(d.dirty)
	return beats
}

// flush writes what the agents said since the last time, in one transaction.
func (r *Registry) flush(ctx context.Context) {
	// Nobody registers meanwhile: the next agent with an id must not get the signs of
	// life and the counts of the one before.
	r.agents.registering.Lock()
	defer r.agents.registering.Unlock()
	r.flushBeats(ctx)
	if r.cfg.Alone {
		return
	}
	if err := r.flushCounts(ctx); err != nil {
		r.log.Error().Str("event", "metrics_unwritten").Err(err).Send()
	}
}

func (r *Registry) flushBeats(ctx context.Context) {
	d := &r.agents
	beats := d.beats(r.cfg.Alone)
	if len(beats) == 0 {
		return
	}
	err := r.store.Beat(ctx, beats)
	if err != nil {
		r.log.Error().Str("event", "heartbeats_unwritten").Err(err).Int("agents", len(beats)).Send()
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, b := range beats {
		switch a := d.byID[b.ID]; {
		case err != nil:
			d.dirty[b.ID] = struct{}{}
		case a != nil:
			a.written = later(a.written, b.Seen)
		}
	}
}

// hear reads what all replicas wrote of agents that were heard of since then.
func (r *Registry) hear(ctx context.Context, since time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, lookPatience)
	defer cancel()
	beats, err := r.store.Beats(ctx, since)
	if err != nil {
		if ctx.Err() == nil {
			r.log.Error().Str("event", "heartbeats_unread").Err(err).Send()
		}
		return fmt.Errorf("reading heartbeats: %w", err)
	}
	now, d, changed := r.now(), &r.agents, false
	d.mu.Lock()
	for i := range beats {
		b := &beats[i]
		a := d.byID[b.ID]
		if a == nil {
			continue
		}
		was := a.status(now, r.cfg.HeartbeatTimeout)
		_, ahead := d.dirty[b.ID]
		if a.merge(b, now, r.cfg.HeartbeatTimeout, ahead) {
			d.dirty[b.ID] = struct{}{}
		}
		changed = changed || a.status(now, r.cfg.HeartbeatTimeout) != was
	}
	d.mu.Unlock()
	if changed {
		d.tell()
	}
	return nil
}

// merge takes over what the store has of an agent. ahead says that memory has something
// to write, tells that now it has.
func (a *agent) merge(b *store.Beat, now time.Time, timeout time.Duration, ahead bool) (tells bool) {
	a.written = later(a.written, b.Seen)
	if !bytes.Equal(a.stored, b.Counts) {
		a.stored = b.Counts
		_ = a.recount() // counts that cannot be read are as if there were none
	}
	switch {
	case b.Seen.After(a.seen):
		return a.heardElsewhere(b, timeout)
	case ahead || !b.Seen.Equal(a.seen) || b.Alive == a.alive:
	case !b.Alive: // somebody has judged its silence who knew as much
		a.alive, a.streak = false, 0
	case now.Sub(b.Seen) <= timeout:
		a.alive = true
	}
	return false
}

// heardElsewhere takes a heartbeat that another replica heard. It counts as much as one
// that came here; tells says that the agent is alive by both together.
func (a *agent) heardElsewhere(b *store.Beat, timeout time.Duration) (tells bool) {
	steady := b.Seen.Sub(a.seen) <= timeout
	a.seen, a.heard, a.elsewhere = b.Seen, later(a.heard, b.Seen), true
	switch {
	case b.Alive:
		a.alive = true
		return false
	case a.alive && steady:
		return true
	case !steady:
		a.streak = 0
	}
	a.streak++
	a.alive = a.streak >= revival
	return a.alive
}

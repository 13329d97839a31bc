package registry

import (
	"context"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// revival is how many heartbeats in a row, each within the timeout of the one
// before, make a dead agent count as alive again. One could be the last sign of
// an agent that comes and goes.
const revival = 2

// status tells whether the agent counts as alive.
func (a *agent) status(now time.Time, timeout time.Duration) string {
	if a.alive && now.Sub(a.heard) <= timeout {
		return arc.AgentAlive
	}
	return arc.AgentDead
}

// Beat is POST /agents/{agent_id}/heartbeat: the agent says that it is alive. It
// is written to the store together with those of all others, within a sixth of
// the timeout.
//
// Errors: insufficient-permissions for another's agent; agent-not-found.
func (r *Registry) Beat(c *Caller, id string) (*arc.Heartbeat, error) {
	if err := own(c, id); err != nil {
		r.refused(c, "heartbeat", id, err)
		return nil, err
	}
	now, d := r.now(), &r.agents
	d.mu.Lock()
	a, err := d.find(id)
	revived := false
	if err == nil {
		revived = a.beat(now, r.cfg.HeartbeatTimeout)
		d.dirty[id] = struct{}{}
	}
	d.mu.Unlock()
	if err != nil {
		r.cfg.Observe(Happening{Event: "heartbeat", Outcome: outcomeRefused})
		return nil, err
	}
	if revived {
		d.tell()
	}
	r.cfg.Observe(Happening{Event: "heartbeat", Outcome: outcomeOK})
	return &arc.Heartbeat{AgentID: id, Status: "success", LastSeen: arc.At(now)}, nil
}

// beat notes a heartbeat and tells whether the agent came back to life by it.
func (a *agent) beat(now time.Time, timeout time.Duration) (revived bool) {
	wasAlive := a.status(now, timeout) == arc.AgentAlive
	steady := now.Sub(a.seen) <= timeout
	a.seen, a.heard = now, now
	if wasAlive {
		return false
	}
	if a.alive { // found dead just now, before the sweep could
		a.alive, a.streak = false, 0
	}
	if !steady {
		a.streak = 0
	}
	a.streak++
	a.alive = a.streak >= revival
	return a.alive
}

// beats takes the signs of life that are to be written.
func (d *directory) beats() []store.Beat {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.dirty) == 0 {
		return nil
	}
	beats := make([]store.Beat, 0, len(d.dirty))
	for id := range d.dirty {
		if a := d.byID[id]; a != nil {
			beats = append(beats, store.Beat{ID: id, Seen: a.seen, Alive: a.alive, Counts: a.counts.encode()})
		}
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
	beats := r.agents.beats()
	if len(beats) == 0 {
		return
	}
	if err := r.store.Beat(ctx, beats); err != nil {
		r.log.Error().Str("event", "heartbeats_unwritten").Err(err).Int("agents", len(beats)).Send()
		d := &r.agents
		d.mu.Lock()
		defer d.mu.Unlock()
		for _, b := range beats {
			d.dirty[b.ID] = struct{}{}
		}
	}
}

// sweep finds the agents that have fallen silent, and removes those that have been
// for long.
func (r *Registry) sweep(ctx context.Context) {
	now, d := r.now(), &r.agents
	var gone []string
	fell := false
	d.mu.Lock()
	for id, a := range d.byID {
		if a.alive && a.status(now, r.cfg.HeartbeatTimeout) == arc.AgentDead {
			a.alive, a.streak, fell = false, 0, true
			d.dirty[id] = struct{}{}
		}
		if r.cfg.RemoveAfter > 0 && !a.alive && now.Sub(a.heard) > r.cfg.RemoveAfter {
			gone = append(gone, id)
		}
	}
	d.mu.Unlock()
	if fell {
		d.tell()
	}
	for _, id := range gone {
		if ctx.Err() == nil {
			r.removeSilent(ctx, id, now)
		}
	}
}

// removeSilent removes an agent unless it has been heard of in the meantime.
func (r *Registry) removeSilent(ctx context.Context, id string, now time.Time) {
	d := &r.agents
	d.registering.Lock()
	defer d.registering.Unlock()
	d.mu.Lock()
	a := d.byID[id]
	silent := a != nil && now.Sub(a.heard) > r.cfg.RemoveAfter
	if silent { // off the list first: a heartbeat comes in time or is refused, none is taken in vain
		delete(d.byID, id)
		d.ids = nil
	}
	d.mu.Unlock()
	if !silent {
		return
	}
	if err := r.remove(context.WithoutCancel(ctx), a); err != nil { // as in unregister
		d.mu.Lock()
		d.byID[id], d.ids = a, nil
		d.mu.Unlock()
		r.log.Error().Str("event", "removal_failed").Str("agent_id", id).Err(err).Send()
		return
	}
	r.record(&Caller{}, entry{Event: "unregistered", Agent: id, Reason: "silent"})
}

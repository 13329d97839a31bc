package registry

import (
	"context"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// revival is how many heartbeats in a row, each within the timeout of the one
// before, make a dead agent count as alive again. One could be the last sign of
// an agent that comes and goes.
const revival = 2

// elsewhereGrace is how much longer the silence of an agent may last whose last
// heartbeat another replica heard: the next one may be on its way from there.
const elsewhereGrace = 2 * time.Second

// status tells whether the agent counts as alive.
func (a *agent) status(now time.Time, timeout time.Duration) string {
	if a.elsewhere {
		timeout += elsewhereGrace
	}
	if a.alive && now.Sub(a.heard) <= timeout {
		return arc.AgentAlive
	}
	return arc.AgentDead
}

// Beat is POST /agents/{agent_id}/heartbeat: the agent says that it is alive. It
// is written to the store together with those of all others, within a sixth of
// the timeout; at once if what other replicas can know of it is old.
//
// Errors: insufficient-permissions for another's agent; agent-not-found.
func (r *Registry) Beat(c *Caller, id string) (*arc.Heartbeat, error) {
	if err := own(c, id); err != nil {
		r.refused(c, "heartbeat", id, err)
		return nil, err
	}
	now, d := r.now().Truncate(time.Millisecond), &r.agents // as the store keeps it
	d.mu.Lock()
	a, err := d.find(id)
	revived, urgent := false, false
	if err == nil {
		revived = a.beat(now, r.cfg.HeartbeatTimeout)
		d.dirty[id] = struct{}{}
		urgent = !r.cfg.Alone && (revived || now.Sub(a.written) > r.cfg.HeartbeatTimeout/2)
	}
	d.mu.Unlock()
	if urgent {
		d.hasten()
	}
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
	a.seen, a.heard, a.elsewhere = now, now, false
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

// sweep finds the agents that have fallen silent, and removes those that have been
// for long. Every replica does; what comes of it is the same whoever is first.
func (r *Registry) sweep(ctx context.Context) {
	now, d := r.now(), &r.agents
	if since, silent := r.silent(now); silent && !r.cfg.Alone {
		if err := r.hear(ctx, since); err != nil {
			return // others may have heard of them
		}
	}
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

// silent tells whether there are agents to be declared dead or removed, and from when
// on others may have heard of them.
func (r *Registry) silent(now time.Time) (since time.Time, found bool) {
	d := &r.agents
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, a := range d.byID {
		falls := a.alive && now.Sub(a.heard) > r.cfg.HeartbeatTimeout
		if !falls && (a.alive || r.cfg.RemoveAfter <= 0 || now.Sub(a.heard) <= r.cfg.RemoveAfter) {
			continue
		}
		if !found || a.seen.Before(since) {
			since, found = a.seen, true
		}
	}
	return since, found
}

// removeSilent removes an agent unless it has been heard of in the meantime.
func (r *Registry) removeSilent(ctx context.Context, id string, now time.Time) {
	d := &r.agents
	d.registering.Lock()
	defer d.registering.Unlock()
	if err := r.lookHeld(ctx); err != nil {
		return // it may be another one by now
	}
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
	mine, err := r.remove(context.WithoutCancel(ctx), a) // as in unregister
	if mine && err == nil {
		r.record(&Caller{}, entry{Event: "unregistered", Agent: id, Reason: "silent"})
		return
	}
	d.mu.Lock() // until it is seen to be gone
	d.byID[id], d.ids = a, nil
	d.mu.Unlock()
	if err != nil {
		r.log.Error().Str("event", "removal_failed").Str("agent_id", id).Err(err).Send()
	}
}

package registry

import (
	"encoding/json"
	"time"

	"github.com/arcd-io/arcd/store"
)

// apply takes over what was written, by this replica or another. To do so twice does no
// harm. The locks of lookSince are held.
func (r *Registry) apply(c *store.Changes, now time.Time) {
	over, listed := r.applyAgents(c, now)
	if r.applyMarks(c) {
		over = true
	}
	for _, row := range c.Revocations {
		r.revoked.add(row)
		over = true
	}
	if over {
		r.revoked.tell()
	}
	if listed {
		r.agents.tell()
	}
}

// applyAgents takes over agents. over tells that tokens may be over with one, listed
// that the list changed.
func (r *Registry) applyAgents(c *store.Changes, now time.Time) (over, listed bool) {
	d := &r.agents
	gone := c.Gone
	var come []*agent
	for _, row := range c.Agents {
		var rec record
		if err := json.Unmarshal(row.Body, &rec); err == nil && d.is(row.ID, rec.Incarnation) {
			continue // it is here, and what changes of it comes with its signs of life
		}
		a, err := r.restore(row, now)
		if err != nil { // of a newer arcd perhaps: better no agent than a wrong one
			r.log.Error().Str("event", "agent_unread").Str("agent_id", row.ID).Err(err).Send()
			gone = append(gone, row.ID)
			continue
		}
		come = append(come, a)
	}
	if len(come)+len(gone) == 0 {
		return false, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range come {
		id := a.Registration.AgentID
		over = over || d.byID[id] != nil
		d.drop(id)
		d.byID[id] = a
	}
	for _, id := range gone {
		over = over || d.byID[id] != nil
		d.drop(id)
	}
	d.ids = nil
	return over, true
}

// is tells whether an id belongs to this registration.
func (d *directory) is(id, incarnation string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	a := d.byID[id]
	return a != nil && a.Incarnation == incarnation
}

// drop takes an agent off the list, with all that was to be written of it. The
// directory is locked.
func (d *directory) drop(id string) {
	delete(d.byID, id)
	delete(d.dirty, id)
	delete(d.counted, id)
	d.ids = nil
}

// applyMarks takes over sessions and tokens for registering. It tells whether a session
// has ended.
func (r *Registry) applyMarks(c *store.Changes) (over bool) {
	l := &r.sessions
	for _, m := range c.Marks {
		switch m.Kind {
		case markTemp:
			r.temps.add(m.Value, tempToken{string(m.Body), m.Expires})
		case markSession:
			s, err := readSession(m)
			if err != nil {
				r.log.Error().Str("event", "session_unread").Err(err).Send()
				continue
			}
			l.mu.Lock()
			l.byID[s.ID] = s
			l.mu.Unlock()
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range c.Unmarked {
		if _, there := l.byID[m.Value]; m.Kind == markSession && there {
			delete(l.byID, m.Value)
			over = true
		}
	}
	return over
}

package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/store"
)

// agent is a registered agent in memory. What a registration says never changes;
// the rest is guarded by the directory's mutex.
type agent struct {
	record
	card   json.RawMessage // the registration, encoded
	public json.RawMessage // what anybody may see of it, encoded; nil: nothing
	words  []string        // what a search looks at, in lower case

	rev        int64
	registered time.Time
	seen       time.Time // last heartbeat
	heard      time.Time // from when its silence counts: seen, or the start of this process
	elsewhere  bool      // another replica heard the last heartbeat
	written    time.Time // seen, as far as it is known to be in the store
	alive      bool
	streak     int // heartbeats since it was dead

	counts  counts        // as stored, and what is pending
	stored  []byte        // the counts that the store had at the last look
	pending []observation // what is to be added to those of the store
}

// record is the part of an agent that the store keeps as one text.
type record struct {
	Registration arc.Registration `json:"registration"`
	// Incarnation names this registration: tokens of an earlier one of the same id
	// are not good for it.
	Incarnation string `json:"incarnation"`
	// KeyHash is that of the agent key it was registered with.
	KeyHash string `json:"key_hash"`
	// Hash, Token and Key say which request made it, so that the same request gets
	// the same answer: digest of the registration, id of the token, idempotency key.
	Hash  []byte `json:"hash"`
	Token string `json:"token"`
	Key   string `json:"key,omitempty"`
}

// directory holds all registered agents.
type directory struct {
	signal // when the list changes

	registering sync.Mutex    // held by what adds and removes agents, across its writes
	hurry       chan struct{} // has beats written soon

	mu      sync.RWMutex // guards what follows
	byID    map[string]*agent
	ids     []string            // sorted; nil: to be made
	dirty   map[string]struct{} // ids whose beats are to be written
	counted map[string]struct{} // ids that have something pending
}

// loadAgents reads all agents; of those that are there already memory knows more. The
// silence of those that were alive counts from now on: they could not reach a server
// that was not there.
func (r *Registry) loadAgents(ctx context.Context, now time.Time) error {
	const page = 1000
	byID := make(map[string]*agent)
	for after := ""; ; {
		rows, err := r.store.Agents(ctx, after, page)
		if err != nil {
			return err
		}
		for _, row := range rows {
			a, err := r.restore(row, now)
			if err != nil {
				return fmt.Errorf("agent %s: %w", row.ID, err)
			}
			byID[row.ID] = a
			after = row.ID
		}
		if len(rows) < page {
			break
		}
	}
	r.agents.replace(byID)
	return nil
}

// replace makes these the agents.
func (d *directory) replace(byID map[string]*agent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.byID == nil {
		d.byID, d.dirty, d.counted = make(map[string]*agent), make(map[string]struct{}), make(map[string]struct{})
		d.hurry = make(chan struct{}, 1)
	}
	for id, a := range d.byID {
		if fresh := byID[id]; fresh == nil || fresh.Incarnation != a.Incarnation {
			d.drop(id)
		}
	}
	for id, a := range byID {
		if d.byID[id] == nil {
			d.byID[id] = a
		}
	}
	d.ids = nil
}

// restore makes an agent of its row.
func (r *Registry) restore(row store.Agent, now time.Time) (*agent, error) {
	a := &agent{
		rev: row.Rev, registered: row.Registered, seen: row.Seen, heard: row.Seen, written: row.Seen,
		alive: row.Alive, stored: row.Counts,
	}
	if err := json.Unmarshal(row.Body, &a.record); err != nil {
		return nil, fmt.Errorf("reading the record: %w", err)
	}
	if err := a.recount(); err != nil {
		return nil, fmt.Errorf("reading the counts: %w", err)
	}
	if a.alive {
		a.heard = now
	}
	return a, r.encode(a)
}

// encode fills in what is made of the registration.
func (r *Registry) encode(a *agent) (err error) {
	if a.card, err = encoded(a.Registration); err != nil {
		return err
	}
	if shown, ok := r.publicCard(a.Registration); ok {
		if a.public, err = encoded(shown); err != nil {
			return err
		}
	}
	a.words = wordsOf(textsOf(&a.Registration))
	return nil
}

// encoded is JSON without escapes for HTML.
func encoded(v any) (json.RawMessage, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n")), err
}

// standing tells whether the registration that an agent's token was made for is
// still there, and the key it was made with still counts.
func (r *Registry) standing(p *auth.Principal) bool {
	id, _ := p.Claims["agent_id"].(string)
	incarnation, _ := p.Claims["registration"].(string)
	r.agents.mu.RLock()
	a := r.agents.byID[id]
	r.agents.mu.RUnlock()
	return a != nil && a.Incarnation == incarnation && r.cfg.Keys.Has(a.KeyHash)
}

// Filter selects agents of a list.
type Filter struct {
	Type   string   // exactly, in any case; "": any
	Status string   // [arc.AgentAlive] or [arc.AgentDead]; "": both
	AnyOf  []string // capabilities, one of which an agent must have
	AllOf  []string // capabilities, all of which it must have
	After  string   // only ids above this
	Offset int      // how many to pass over
	Limit  int      // most agents; 0: all
	// Metrics adds what is known of the agents' work.
	Metrics bool
}

// takes tells whether the filter lets the agent through.
func (f *Filter) takes(a *agent, status string) bool {
	reg := &a.Registration
	switch {
	case f.Status != "" && f.Status != status,
		f.Type != "" && !strings.EqualFold(f.Type, reg.AgentType),
		len(f.AnyOf) > 0 && !slices.ContainsFunc(f.AnyOf, reg.Has):
		return false
	}
	return !slices.ContainsFunc(f.AllOf, func(c string) bool { return !reg.Has(c) })
}

// List gives the agents that the filter selects, by id.
func (r *Registry) List(f Filter) arc.AgentInfos { return r.list(f, false) }

// PublicList gives of the living agents that the filter selects what anybody may
// see, by id.
func (r *Registry) PublicList(f Filter) arc.AgentInfos {
	f.Status, f.Metrics = arc.AgentAlive, false
	return r.list(f, true)
}

func (r *Registry) list(f Filter, public bool) arc.AgentInfos {
	now, list := r.now(), make(arc.AgentInfos, 0, min(max(f.Limit, 0), 1024))
	ids := r.agents.sorted()
	at, found := slices.BinarySearch(ids, f.After)
	if found {
		at++
	}
	d := &r.agents
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, id := range ids[at:] {
		a := d.byID[id]
		if a == nil || !f.takes(a, a.status(now, r.cfg.HeartbeatTimeout)) {
			continue
		}
		if f.Offset > 0 {
			f.Offset--
			continue
		}
		if public && a.public == nil {
			continue
		}
		list = append(list, r.view(a, now, f.Metrics, public))
		if len(list) == f.Limit {
			break
		}
	}
	return list
}

// count tells how many agents the filter selects, whatever its limits.
func (r *Registry) count(f Filter) (n int) {
	now := r.now()
	r.agents.mu.RLock()
	defer r.agents.mu.RUnlock()
	for _, a := range r.agents.byID {
		if f.takes(a, a.status(now, r.cfg.HeartbeatTimeout)) {
			n++
		}
	}
	return n
}

// Count tells how many agents are registered, alive or not.
func (r *Registry) Count() int {
	r.agents.mu.RLock()
	defer r.agents.mu.RUnlock()
	return len(r.agents.byID)
}

// CountPublic tells how many agents PublicList would give without a limit.
func (r *Registry) CountPublic(f Filter) int {
	if r.cfg.Public == "off" {
		return 0
	}
	f.Status = arc.AgentAlive
	return r.count(f)
}

// sorted gives all ids in order. The list is never changed once it is given.
func (d *directory) sorted() []string {
	d.mu.RLock()
	ids := d.ids
	d.mu.RUnlock()
	if ids != nil {
		return ids
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ids == nil {
		d.ids = slices.AppendSeq(make([]string, 0, len(d.byID)), maps.Keys(d.byID))
		slices.Sort(d.ids)
	}
	return d.ids
}

// Agent gives one agent, with what is known of its work.
func (r *Registry) Agent(id string) (arc.AgentInfo, bool) {
	r.agents.mu.RLock()
	defer r.agents.mu.RUnlock()
	a, ok := r.agents.byID[id]
	if !ok {
		return arc.AgentInfo{}, false
	}
	return r.view(a, r.now(), true, false), true
}

// view shows an agent. The directory is locked.
func (r *Registry) view(a *agent, now time.Time, metrics, public bool) arc.AgentInfo {
	v := arc.AgentInfo{
		Registration: a.Registration, Card: a.card, Status: a.status(now, r.cfg.HeartbeatTimeout),
		LastSeen: arc.At(a.seen), RegisteredAt: arc.At(a.registered),
	}
	if public {
		v.Registration, _ = r.publicCard(a.Registration)
		v.Card = a.public
	} else if metrics {
		v.Metrics = a.counts.view(a.Registration.AgentID, a.seen)
	}
	return v
}

// find gives the agent with this id; the lock is the caller's.
func (d *directory) find(id string) (*agent, error) {
	if a, ok := d.byID[id]; ok {
		return a, nil
	}
	return nil, notRegistered(id)
}

// standsOn tells whether an agent is registered with a key.
func (d *directory) standsOn(id, keyHash string) bool {
	d.mu.RLock()
	defer d.mu.RUnlock()
	a := d.byID[id]
	return a != nil && a.KeyHash == keyHash
}

func notRegistered(id string) *arc.Error {
	return arc.Refuse(arc.ProblemAgentNotFound, "agent_not_found", "There is no agent '%s'", id).With("agent_id", id)
}

// Changes gives a channel that is closed when the list of agents changes next:
// one is registered, removed, found dead or alive again.
func (r *Registry) Changes() <-chan struct{} { return r.agents.next() }

// GetAgent is GET /agents/{agent_id}.
//
// Errors: agent-not-found.
func (r *Registry) GetAgent(id string, metrics bool) (arc.AgentInfo, error) {
	a, ok := r.Agent(id)
	if !ok {
		return a, notRegistered(id)
	}
	if !metrics {
		a.Metrics = nil
	}
	return a, nil
}

func (r *Registry) now() time.Time { return r.cfg.Now() }

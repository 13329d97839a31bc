package carrier

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// Peer is a connection on which agents dialled in. Package server has the real one.
type Peer interface {
	// Call makes a call and waits for its answer, at most until ctx ends or the
	// connection does; its errors are those of [Line]. event, if not nil, gets the
	// events of the answer's stream in their order, all of them before Call returns; an
	// error of it ends the call. settled is called once, when nothing more can come of
	// the call: it was answered, be it after Call has returned, or the connection is
	// gone.
	Call(ctx context.Context, c Call, event func(name string, data json.RawMessage) error, settled func()) (json.RawMessage, error)
}

// Sockets knows the agents that dialled in: which connections serve an agent, and
// how much more each of them takes; and which agents dialled in to other replicas. It is
// a [methods.Presence]. The zero value is ready for use; its fields must be set before.
type Sockets struct {
	// Wake is called, without delay and without locks held, when an agent takes tasks
	// that it did not take before. Nil: nobody wants to know.
	Wake func(agent string)
	// Taken tells the ids that nobody may dial in with: agents that this server has
	// elsewhere. Nil: all may be used.
	Taken func(agent string) bool
	// Now is the clock. Default time.Now.
	Now func() time.Time

	mu      sync.Mutex // guards agents and all that they and their posts hold, and changed
	agents  map[string]*dialled
	changed chan struct{} // closed when other agents are connected; nil: nobody waits
}

// remembered is how long an agent is known whose last connection has ended: its
// tasks wait for it, and its card says that it is inactive.
const remembered = 24 * time.Hour

// dialled is an agent that dialled in.
type dialled struct {
	posts   []*Post
	there   bool      // it is connected to another replica
	waiting []*waiter // calls for want of a place, oldest first
	starved bool      // somebody was told that there is no room
	left    time.Time // when the last of its connections ended, anywhere; zero: there are some
}

// waiter waits for a place at an agent. Who answers it closes the channel first to
// set post; nil: there is no connection left.
type waiter struct {
	post  *Post
	ready chan struct{}
}

// Post is one connection and the agents that it serves. It takes so many calls at
// once for all of them together.
type Post struct {
	sockets  *Sockets
	peer     Peer
	ids      []string
	capacity int
	inHand   int
	gone     bool
}

// Join brings in a connection. It serves nobody yet.
func (s *Sockets) Join(peer Peer) *Post { return &Post{sockets: s, peer: peer} }

// Serve sets the agents that the connection serves from now on, none to take no
// more work, and how many calls it takes at once. What it has in hand stays with it.
func (p *Post) Serve(ids []string, capacity int) { p.set(ids, capacity, false) }

// Leave ends it: the connection is gone, or its token is. Its calls end by
// themselves, each with an error.
func (p *Post) Leave() { p.set(nil, 0, true) }

// set does both in one step: a call of agent.serve that runs while the connection
// ends must not bring it back.
func (p *Post) set(ids []string, capacity int, leaves bool) {
	s := p.sockets
	s.mu.Lock()
	if p.gone {
		s.mu.Unlock()
		return
	}
	p.gone = leaves
	for _, id := range p.ids {
		if !slices.Contains(ids, id) {
			s.withdraw(id, p)
		}
	}
	p.ids, p.capacity = slices.Clone(ids), capacity
	for _, id := range ids {
		a := s.dialled(id)
		if len(a.posts) == 0 {
			s.change()
		}
		if a.left = (time.Time{}); !slices.Contains(a.posts, p) {
			a.posts = append(a.posts, p)
		}
		a.starved = true
	}
	awake := s.fill(p)
	s.mu.Unlock()
	s.wake(awake)
}

// dialled gives an agent's entry.
func (s *Sockets) dialled(id string) *dialled {
	a := s.agents[id]
	if a == nil {
		if s.agents == nil {
			s.agents = make(map[string]*dialled)
		}
		a = &dialled{}
		s.agents[id] = a
	}
	return a
}

// withdraw ends a post's service for one agent.
func (s *Sockets) withdraw(id string, p *Post) {
	a := s.agents[id]
	a.posts = slices.DeleteFunc(a.posts, func(other *Post) bool { return other == p })
	if len(a.posts) > 0 {
		return
	}
	s.change()
	if !a.there {
		a.left = s.now()
	}
	for _, w := range a.waiting {
		close(w.ready)
	}
	a.waiting = nil
}

// fill gives the free places of a post to the calls that wait for one, and lists the
// agents that may have more work now.
func (s *Sockets) fill(p *Post) (awake []string) {
	for _, id := range p.ids {
		a := s.agents[id]
		for len(a.waiting) > 0 && p.inHand < p.capacity {
			p.inHand++
			a.waiting[0].post = p
			close(a.waiting[0].ready)
			a.waiting = a.waiting[1:]
		}
		if a.starved && p.inHand < p.capacity {
			a.starved = false
			awake = append(awake, id)
		}
	}
	return awake
}

func (s *Sockets) wake(ids []string) {
	if s.Wake == nil {
		return
	}
	for _, id := range ids {
		s.Wake(id)
	}
}

func (s *Sockets) now() time.Time {
	if s.Now == nil {
		return time.Now()
	}
	return s.Now()
}

// give returns a place.
func (s *Sockets) give(p *Post) {
	s.mu.Lock()
	p.inHand--
	awake := s.fill(p)
	s.mu.Unlock()
	s.wake(awake)
}

// take takes a place at the connection that has most of them free, and waits for
// one, but not for a connection.
func (s *Sockets) take(ctx context.Context, id string) (*Post, error) {
	s.mu.Lock()
	a := s.agents[id]
	if a == nil || len(a.posts) == 0 {
		s.mu.Unlock()
		return nil, errAway
	}
	best := a.posts[0]
	for _, p := range a.posts[1:] {
		if p.capacity-p.inHand > best.capacity-best.inHand {
			best = p
		}
	}
	if best.inHand < best.capacity {
		best.inHand++
		s.mu.Unlock()
		return best, nil
	}
	w := &waiter{ready: make(chan struct{})}
	a.waiting = append(a.waiting, w)
	s.mu.Unlock()
	select {
	case <-w.ready:
	case <-ctx.Done():
		s.mu.Lock()
		a.waiting = slices.DeleteFunc(a.waiting, func(other *waiter) bool { return other == w })
		s.mu.Unlock()
		select {
		case <-w.ready: // too late for it
			if w.post != nil {
				s.give(w.post)
			}
		default:
		}
		return nil, context.Cause(ctx)
	}
	if w.post == nil {
		return nil, errAway
	}
	return w.post, nil
}

// Line gives the way to an agent that has a connection now; false if it has none.
// It is for one stretch of work: the connection that takes the work keeps it, and
// gets whatever else is said about it.
func (s *Sockets) Line(id string) (Line, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	if a == nil || len(a.posts) == 0 {
		return nil, false
	}
	return &socketLine{sockets: s, id: id}, true
}

// Room tells how many more calls the agent's connections take now; negative: it
// has none.
func (s *Sockets) Room(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	if a == nil || len(a.posts) == 0 {
		return -1
	}
	room := -len(a.waiting)
	for _, p := range a.posts {
		room += max(p.capacity-p.inHand, 0)
	}
	if room <= 0 {
		a.starved = true
	}
	return max(room, 0)
}

// change tells who waits that other agents are connected.
func (s *Sockets) change() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}

// Here gives the ids of the agents that are connected to this process, sorted, and a
// channel that is closed when they are others.
func (s *Sockets) Here() (ids []string, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, a := range s.agents {
		if len(a.posts) > 0 {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	if s.changed == nil {
		s.changed = make(chan struct{})
	}
	return ids, s.changed
}

// There takes the ids of the agents that are connected to other replicas, in place of
// those before.
func (s *Sockets) There(ids []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	there := make(map[string]bool, len(ids))
	for _, id := range ids {
		there[id] = true
		a := s.dialled(id)
		a.there, a.left = true, time.Time{}
	}
	for id, a := range s.agents {
		if a.there && !there[id] {
			if a.there = false; len(a.posts) == 0 {
				a.left = s.now()
			}
		}
	}
}

// Elsewhere tells whether the agent is connected to another replica.
func (s *Sockets) Elsewhere(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	return a != nil && a.there
}

// Seen tells whether the agent has dialled in, to this process or another replica, now
// or lately.
func (s *Sockets) Seen(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.agents[id]
	if a != nil && a.forgotten(s.now()) {
		delete(s.agents, id)
		a = nil
	}
	return a != nil
}

// Cards gives the cards of the agents that dialled in, to this process or another
// replica, now or lately, by id. Such an agent says nothing of itself but its id.
func (s *Sockets) Cards() []arc.Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget()
	cards := make([]arc.Agent, 0, len(s.agents))
	for _, id := range slices.Sorted(maps.Keys(s.agents)) {
		card := arc.Agent{ID: id, Name: id, Capabilities: []string{}, Status: arc.AgentActive}
		if a := s.agents[id]; len(a.posts) == 0 && !a.there {
			card.Status = arc.AgentInactive
		}
		cards = append(cards, card)
	}
	return cards
}

// forget forgets the agents that have been away for long.
func (s *Sockets) forget() {
	now := s.now()
	maps.DeleteFunc(s.agents, func(_ string, a *dialled) bool { return a.forgotten(now) })
}

// forgotten tells whether the agent has been away for long.
func (a *dialled) forgotten(now time.Time) bool {
	return !a.left.IsZero() && now.Sub(a.left) >= remembered
}

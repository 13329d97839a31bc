package carrier

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// longestQueue is how long a call waits for a place at an agent whose connections
// have their hands full.
const longestQueue = 30 * time.Second

// socketLine is the way to an agent that dialled in, for one stretch of work.
type socketLine struct {
	sockets *Sockets
	id      string

	mu   sync.Mutex // guards post
	post *Post      // that has the work; nil: none yet
}

// Call makes a call. Those that are work take one of the connection's places until
// they are answered, also when nobody waits for the answer any more: an agent that
// does not let go of its work gets no more.
func (l *socketLine) Call(ctx context.Context, c Call) (json.RawMessage, error) {
	if !isWork(c.Method) {
		return l.tell(ctx, c)
	}
	waiting, cancel := context.WithTimeout(ctx, longestQueue)
	post, err := l.sockets.take(waiting, l.id)
	cancel()
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, context.Cause(ctx)
	case err == context.DeadlineExceeded:
		return nil, errFull
	case err != nil:
		return nil, err
	}
	l.mu.Lock()
	l.post = post
	l.mu.Unlock()
	var event func(string, json.RawMessage) error
	if c.Piece != nil {
		stream := &streamed{call: &c}
		event = func(name string, data json.RawMessage) error {
			return stream.take(client.Event{Name: name, Data: data})
		}
	}
	return post.peer.Call(ctx, c, event, func() { l.sockets.give(post) })
}

// isWork tells the calls for which the agent has to work until it answers.
func isWork(method string) bool {
	return method == "task.create" || method == "chat.start" || method == "chat.message"
}

// tell makes a call about work: to the connection that has it, or, if that is not
// known, to all of the agent's.
func (l *socketLine) tell(ctx context.Context, c Call) (json.RawMessage, error) {
	l.mu.Lock()
	post := l.post
	l.mu.Unlock()
	if post != nil {
		return post.peer.Call(ctx, c, nil, func() {})
	}
	var result json.RawMessage
	err := errAway
	var all sync.WaitGroup
	var mu sync.Mutex // guards result and err
	for _, peer := range l.sockets.peers(l.id) {
		all.Go(func() {
			answer, failure := peer.Call(ctx, c, nil, func() {})
			mu.Lock()
			defer mu.Unlock()
			if failure == nil || err == errAway {
				result, err = answer, failure
			}
		})
	}
	all.Wait()
	return result, err
}

// peers gives an agent's connections.
func (s *Sockets) peers(id string) []Peer {
	s.mu.Lock()
	defer s.mu.Unlock()
	var peers []Peer
	if a := s.agents[id]; a != nil {
		for _, p := range a.posts {
			peers = append(peers, p.peer)
		}
	}
	return peers
}

// errFull says that no connection of the agent had a place for the call in time.
var errFull error = &lineError{"the agent has as much in hand as it takes at once"}

// ErrLost says that the connection ended while the agent had the call in hand. It
// is what a [Peer] gives.
var ErrLost = errLost

// Refusal checks that an agent may dial in with an id, as far as this server's other
// agents are concerned; -41010 if not.
func (s *Sockets) Refusal(id string) *arc.Error {
	if s.Taken == nil || !s.Taken(id) {
		return nil
	}
	return arc.Errorf(arc.CodeDuplicateAgent, "the agent %q is served in another way here, and cannot dial in", id).
		With("agentId", id).With("reason", "agent_id_taken").With("retryable", false)
}

package server

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// outgoing are the calls that a socket makes to its agent and that are not answered
// yet, by their numbers.
type outgoing struct {
	serving atomic.Bool // an agent serves here: answers may come

	mu     sync.Mutex // guards what follows
	last   uint64
	open   map[uint64]*outcall
	closed bool
}

// outcall is one call to an agent.
type outcall struct {
	number  uint64
	settled func()
	refusal *arc.Error // the answer, if it is an error; set before jsonrpc2 hears of it
	events  *events    // nil: no stream was asked for
}

// unanswered is how many calls besides those that are work an agent may leave
// without an answer.
const unanswered = 1000

// errUnanswered ends the connection of an agent that answers nothing.
var errUnanswered = errors.New("too many calls without an answer")

// expected tells whether an answer may come.
func (o *outgoing) expected() bool { return o.serving.Load() }

// add opens a call; false if the socket is gone.
func (o *outgoing) add(stream bool, settled func()) (*outcall, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return nil, errClosed
	case len(o.open) >= maxCapacity+unanswered:
		return nil, errUnanswered
	}
	o.last++ // from 1, since jsonrpc2 takes 0 for none
	call := &outcall{number: o.last, settled: settled}
	if stream {
		call.events = newEvents()
	}
	if o.open == nil {
		o.open = make(map[uint64]*outcall)
	}
	o.open[call.number] = call
	return call, nil
}

// errClosed says that the socket has ended.
var errClosed = errors.New("the socket is closed")

// take closes a call; nil if there is none with that number.
func (o *outgoing) take(number uint64) *outcall {
	o.mu.Lock()
	defer o.mu.Unlock()
	call := o.open[number]
	delete(o.open, number)
	return call
}

// answer settles a call; false if there is none with that number.
func (o *outgoing) answer(number uint64, refusal *arc.Error) bool {
	call := o.take(number)
	if call == nil {
		return false
	}
	call.refusal = refusal
	call.settled()
	return true
}

// event gives an event to the call that it belongs to, if that has a stream. It
// waits for a call that has too many of them.
func (o *outgoing) event(number uint64, name string, data json.RawMessage) {
	o.mu.Lock()
	call := o.open[number]
	o.mu.Unlock()
	if call != nil && call.events != nil {
		call.events.push(event{name, data})
	}
}

// close settles all calls: no answer will come.
func (o *outgoing) close() {
	o.mu.Lock()
	open := o.open
	o.open, o.closed = nil, true
	o.mu.Unlock()
	for _, call := range open {
		call.settled()
	}
}

// event is one event of a stream that an agent sends.
type event struct {
	name string
	data json.RawMessage
}

// Limits of the events that wait to be taken over.
const (
	queuedEvents = 1024
	queuedBytes  = 1 << 20
	queuePause   = 5 * time.Second // for which the socket waits when that is reached
)

// errFlood ends a call whose agent sends faster than its answer can be stored.
var errFlood = errors.New("the agent sends faster than it can be heard")

// events is the queue between the reader of a socket and who takes over the events
// of one call.
type events struct {
	room, more chan struct{} // one slot each: something was taken, or put in
	done       chan struct{} // closed when nobody takes any more

	mu    sync.Mutex // guards what follows
	queue []event
	bytes int
	ended bool  // nothing more is put in
	fault error // why
}

func newEvents() *events {
	return &events{room: make(chan struct{}, 1), more: make(chan struct{}, 1), done: make(chan struct{})}
}

// push puts an event in. While the queue is full the agent is held back, as nothing
// more is read from its connection; but not for ever.
func (q *events) push(e event) {
	var pause *time.Timer
	for !q.put(e) {
		if pause == nil {
			pause = time.NewTimer(queuePause)
			defer pause.Stop()
		}
		select {
		case <-q.room:
		case <-q.done:
			return
		case <-pause.C:
			q.end(errFlood)
			return
		}
	}
}

// put puts an event in if there is room, or drops it behind the end.
func (q *events) put(e event) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.ended {
		return true
	}
	if len(q.queue) >= queuedEvents || q.bytes >= queuedBytes {
		return false
	}
	q.queue = append(q.queue, e)
	q.bytes += len(e.data)
	signal(q.more)
	return true
}

// end lets nothing more in. What is in the queue is still taken unless there is a
// fault.
func (q *events) end(fault error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	if q.fault == nil {
		q.fault = fault
	}
	signal(q.more)
}

// drain hands the events to take until the end of them, or of ctx.
func (q *events) drain(ctx context.Context, take func(name string, data json.RawMessage) error) error {
	defer close(q.done)
	for {
		q.mu.Lock()
		queue, ended, fault := q.queue, q.ended, q.fault
		q.queue, q.bytes = nil, 0
		q.mu.Unlock()
		if fault != nil {
			return fault
		}
		signal(q.room)
		for _, e := range queue {
			if err := take(e.name, e.data); err != nil {
				return err
			}
		}
		if len(queue) > 0 {
			continue
		}
		if ended {
			return nil
		}
		select {
		case <-q.more:
		case <-ctx.Done():
			return nil
		}
	}
}

// signal fills a slot that may be full.
func signal(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

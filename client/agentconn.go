package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/coder/websocket"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
)

// agentConn is one connection of an agent.
//
//	run
//	├─ Handle (jsonrpc2)   calls of the server, each on a goroutine of its own
//	│  ├─ work             task.create, chat.start, chat.message → Agent.Handle
//	│  └─ about work       task.send, task.cancel, agent.cancel, …
//	├─ silence             ends a connection whose server is not heard of
//	└─ drain               no new work, wait, hand back the rest
type agentConn struct {
	agent   *Agent
	token   string
	refused string // the token, if the server has closed because of it; set when run has returned
	ws      *websocket.Conn
	conn    *jsonrpc2.Conn
	ctx     context.Context // of the connection
	end     context.CancelCauseFunc
	calls   sync.WaitGroup // goroutines of the server's calls
	silent  atomic.Bool    // it was cut because the server was not heard of
	worked  atomic.Bool    // work was done over it
	room    chan struct{}  // holds one for each stretch of work that the handler does, here or on the connection before
	moving  chan struct{}  // closed when the server is about to stop
	moved   sync.Once      // closes it

	mu       sync.Mutex // guards what follows
	patience time.Duration
	silence  *time.Timer // nil: the server promised no heartbeat
	maxBytes int64       // of a frame; 0: not known
	works    map[*Work]struct{}
	ending   bool          // no more goroutines
	idle     chan struct{} // closed when there are no works; nil: nobody waits
	fault    error         // that ended the reading
}

func newAgentConn(a *Agent, token string) *agentConn {
	return &agentConn{
		agent: a, token: token, works: make(map[*Work]struct{}), room: make(chan struct{}, a.capacity()), moving: make(chan struct{}),
	}
}

// begin starts to read.
func (c *agentConn) begin(ws *websocket.Conn) {
	c.ws = ws
	c.ctx, c.end = context.WithCancelCause(context.Background())
	frames := &agentFrames{c: c}
	c.conn = jsonrpc2.NewConn(c.ctx, frames, c, jsonrpc2.SetLogger(silentLog{}), jsonrpc2.OnRecv(frames.received))
}

// ended notes why nothing can be read any more.
func (c *agentConn) ended(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fault == nil {
		c.fault = err
	}
}

// promised notes what the server has said of itself.
func (c *agentConn) promised(heartbeat time.Duration, maxBytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.maxBytes = maxBytes
	if heartbeat > 0 && c.silence == nil {
		c.patience = 2*heartbeat + 10*time.Second
		c.silence = time.AfterFunc(c.patience, func() {
			c.silent.Store(true)
			_ = c.ws.CloseNow()
		})
	}
}

// heard notes that the server is there.
func (c *agentConn) heard() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.silence != nil {
		c.silence.Reset(c.patience)
	}
}

// run serves until the connection ends or ctx does; its error tells why the
// connection has ended.
func (c *agentConn) run(ctx context.Context) error {
	select {
	case <-c.conn.DisconnectNotify():
	case <-ctx.Done():
		c.drain()
	}
	c.close(websocket.StatusNormalClosure, "")
	c.mu.Lock()
	fault := c.fault
	c.mu.Unlock()
	if fault == nil {
		fault = ErrLost
	}
	return c.closedError(fault)
}

// close ends the connection and waits for its goroutines.
func (c *agentConn) close(status websocket.StatusCode, reason string) {
	select {
	case <-c.conn.DisconnectNotify():
	default:
		_ = c.ws.Close(status, reason) // fails only if the server is gone already
	}
	_ = c.conn.Close()
	c.mu.Lock()
	c.ending = true
	if c.silence != nil {
		c.silence.Stop()
	}
	for w := range c.works {
		w.end(ErrLost)
	}
	c.mu.Unlock()
	c.end(ErrLost)
	c.calls.Wait()
}

// handBack is how long work may take to end whose time is over: more than a program
// gets between SIGTERM and SIGKILL, so that its work still counts as given back.
const handBack = 8 * time.Second

// drain takes no more work, waits for what is running, and gives the rest back.
func (c *agentConn) drain() {
	asking, cancel := context.WithTimeout(c.ctx, replyTime)
	err := c.serve(asking, nil)
	cancel()
	if err != nil || c.atRest(c.agent.grace()) {
		return
	}
	c.mu.Lock()
	for w := range c.works {
		w.end(ErrDraining)
	}
	c.mu.Unlock()
	c.atRest(handBack)
}

// atRest waits until nothing is running; false if that takes too long.
func (c *agentConn) atRest(longest time.Duration) bool {
	timer := time.NewTimer(longest)
	defer timer.Stop()
	select {
	case <-c.resting():
		return true
	case <-c.conn.DisconnectNotify():
		return true
	case <-timer.C:
		return false
	}
}

// resting gives a channel that is closed when nothing is running.
func (c *agentConn) resting() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.idle == nil {
		c.idle = make(chan struct{})
		if len(c.works) == 0 {
			close(c.idle)
		}
	}
	idle := c.idle
	if len(c.works) == 0 {
		c.idle = nil
	}
	return idle
}

// start runs f on a goroutine of the connection, unless that is ending.
func (c *agentConn) start(f func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending {
		c.calls.Go(f)
	}
}

// enter takes work in hand; false if there is too much, or the connection is ending.
func (c *agentConn) enter(w *Work) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ending || len(c.works) >= 2*c.agent.capacity() { // the server counts too
		return false
	}
	c.works[w] = struct{}{}
	return true
}

// leave lets go of work.
func (c *agentConn) leave(w *Work) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.works, w)
	if len(c.works) == 0 && c.idle != nil {
		close(c.idle)
		c.idle = nil
	}
}

// find gives the work that matches; nil if there is none.
func (c *agentConn) find(match func(*Work) bool) *Work {
	c.mu.Lock()
	defer c.mu.Unlock()
	for w := range c.works {
		if match(w) {
			return w
		}
	}
	return nil
}

// call makes a call to the server as one of the agents.
func (c *agentConn) call(ctx context.Context, method, from string, params, result any) error {
	raw, err := jsonv2.Marshal(params, jsonv1.OmitEmptyWithLegacySemantics(true))
	if err != nil {
		return fmt.Errorf("encoding %s: %w", method, err)
	}
	if !c.fits(len(raw)) {
		return fmt.Errorf("calling %s: %w", method, errFrame)
	}
	var opts []jsonrpc2.CallOption
	if from != "" {
		opts = append(opts, jsonrpc2.ExtraField("requestAgent", from))
	}
	ctx, cancel := context.WithTimeout(ctx, replyTime)
	defer cancel()
	err = c.conn.Call(ctx, method, json.RawMessage(raw), result, opts...)
	if e, ok := errors.AsType[*jsonrpc2.Error](err); ok {
		said := &failure{Code: arc.Code(e.Code), Message: e.Message}
		if e.Data != nil {
			_ = json.Unmarshal(*e.Data, &said.Data) // without details the error is one all the same
		}
		return said.failed()
	}
	if errors.Is(err, jsonrpc2.ErrClosed) {
		return broken(ErrLost)
	}
	return err
}

// errFrame says that something is too large for the server.
var errFrame = errors.New("it is larger than the server takes at once")

// frameMargin is what stands around params or a result in a frame, at most.
const frameMargin = 4 << 10

func (c *agentConn) fits(size int) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.maxBytes == 0 || int64(size)+frameMargin <= c.maxBytes
}

// reply answers a call of the server.
func (c *agentConn) reply(id jsonrpc2.ID, result any, failure *arc.Error) {
	resp := &jsonrpc2.Response{ID: id}
	raw, err := jsonv2.Marshal(result, jsonv1.OmitEmptyWithLegacySemantics(true))
	switch {
	case failure == nil && err != nil:
		failure = arc.Errorf(arc.CodeTaskFailed, "the agent's answer cannot be encoded").With("reason", "bad_answer")
	case failure == nil && !c.fits(len(raw)):
		failure = arc.Errorf(arc.CodeTaskFailed, "the agent's answer is larger than the server takes").With("reason", "answer_too_large")
	}
	if failure == nil {
		resp.Result = (*json.RawMessage)(&raw)
	} else {
		resp.Error = &jsonrpc2.Error{Code: int64(failure.Code), Message: failure.Message}
		if data, err := jsonv2.Marshal(failure.Details); err == nil && failure.Details != nil {
			resp.Error.Data = (*json.RawMessage)(&data)
		}
	}
	// A connection that is gone has its own way of saying so.
	if c.conn.SendResponse(c.ctx, resp) == nil {
		c.worked.Store(true)
	}
}

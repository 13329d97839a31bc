package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"
	jsonv1 "github.com/go-json-experiment/json/v1"

	"github.com/coder/websocket"
	"github.com/sourcegraph/jsonrpc2"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/auth"
	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/rpc"
)

// The methods that exist on sockets only.
const (
	// serveMethod is a call of an agent: it serves these ids on this connection.
	serveMethod = "agent.serve"
	// moveMethod is a notification to an agent: the server is about to stop, and takes no
	// more agents. It had better connect to another one before it takes no more work here.
	moveMethod = "agent.move"
	// cancelMethod is a notification to an agent: nobody waits for the answer to a call
	// any more.
	cancelMethod = "agent.cancel"
)

// Limits of what one connection serves.
const (
	maxServed       = 1000 // agents
	maxCapacity     = 1000 // calls at once
	defaultCapacity = 16
)

// serveParams are the params of agent.serve.
type serveParams struct {
	Agents   []string `json:"agents"`
	Capacity int      `json:"capacity"` // default 16
}

// serveResult is the result of agent.serve.
type serveResult struct {
	Type        string   `json:"type"` // "agent"
	Agents      []string `json:"agents"`
	Capacity    int      `json:"capacity"`
	HeartbeatMs int64    `json:"heartbeatMs"` // between two pings
	MaxBytes    int64    `json:"maxBytes"`    // of a frame to the server
}

// service is what a socket does for an agent at its other end: it is the
// [carrier.Peer] of that agent.
type service struct {
	calls outgoing
	ctx   context.Context // ends when nothing may be asked of the agent any more
	end   context.CancelCauseFunc
	says  sync.WaitGroup // goroutines of say

	mu   sync.Mutex    // guards what follows
	post *carrier.Post // nil: it has served nobody yet
	gone bool
}

// leave ends the service: nothing more is asked of the agent, and who waits for an
// answer learns that none will come.
func (v *service) leave() {
	v.end(carrier.ErrLost)
	v.mu.Lock()
	v.gone = true
	post := v.post
	v.mu.Unlock()
	if post != nil {
		post.Leave()
	}
}

// join gives the post of the socket; nil if that has ended.
func (v *service) join(sockets *carrier.Sockets, peer carrier.Peer) *carrier.Post {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.post == nil && !v.gone {
		v.post = sockets.Join(peer)
		v.calls.serving.Store(true)
	}
	return v.post
}

// say runs something that nobody waits for, unless the socket has ended.
func (v *service) say(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if !v.gone {
		v.says.Go(f)
	}
}

// serves tells whether a call is for the socket itself.
func (c *socket) serves(q *arc.Request) bool {
	return q.Method == serveMethod && c.server.cfg.Sockets != nil
}

// serve makes a call of agent.serve and writes its audit line.
//
//	serve
//	├─ scope, requestAgent   -44003, -44002
//	├─ params                -32602, -41004
//	├─ each id               the token names it -44002; not this server's own -41010
//	└─ Post.Serve
func (c *socket) serve(ctx context.Context, call *rpc.Call) (result any, failure *arc.Error) {
	start := c.server.cfg.Now()
	defer func() {
		c.server.cfg.Metrics.call(serveMethod, failure, c.server.cfg.Now().Sub(start))
		c.server.audit(c.remote, call, failure)
	}()
	result, err := rpc.Handle(c.serveAgents)(ctx, call, call.Params)
	if err != nil {
		return nil, c.server.public(err, c.requestID)
	}
	return result, nil
}

func (c *socket) serveAgents(_ context.Context, call *rpc.Call, p serveParams) (*serveResult, error) {
	principal := call.Principal
	if err := principal.Require(auth.ScopeServe); err != nil {
		return nil, err
	}
	if call.From != "" {
		if err := principal.SpeakAs(call.From); err != nil {
			return nil, err
		}
	}
	if p.Capacity == 0 {
		p.Capacity = defaultCapacity
	}
	switch {
	case p.Agents == nil:
		return nil, arc.InvalidParam("agents", "is required; an empty list ends the service")
	case len(p.Agents) > maxServed:
		return nil, arc.InvalidParam("agents", fmt.Sprintf("must be %d ids at most", maxServed))
	case p.Capacity < 1 || p.Capacity > maxCapacity:
		return nil, arc.InvalidParam("capacity", fmt.Sprintf("must be 1 to %d", maxCapacity))
	}
	for _, id := range p.Agents {
		if err := c.mayServe(principal, id); err != nil {
			return nil, err
		}
	}
	slices.Sort(p.Agents)
	p.Agents = slices.Compact(p.Agents)
	if (c.server.leaving.Load() || c.server.draining.Load()) && len(p.Agents) > 0 {
		return nil, goingAway()
	}
	post := c.agent.join(c.server.cfg.Sockets, c)
	if post == nil {
		return nil, goingAway()
	}
	post.Serve(p.Agents, p.Capacity)
	return &serveResult{
		Type: "agent", Agents: p.Agents, Capacity: p.Capacity,
		HeartbeatMs: c.server.cfg.KeepAlive.Milliseconds(), MaxBytes: c.server.cfg.Limits.BodyBytes,
	}, nil
}

// mayServe refuses ids that the token does not name: one that names none may speak
// as anybody, but that makes it nobody's agent.
func (c *socket) mayServe(p *auth.Principal, id string) error {
	switch {
	case !arc.ValidAgentID(id):
		return arc.Errorf(arc.CodeInvalidAgentID, "an agent's id %s", arc.AgentIDIssue).
			With("field", "agents").With("agentId", id).With("retryable", false)
	case !slices.Contains(p.Agents, id) && !p.Anonymous():
		return arc.Errorf(arc.CodeUnauthorized, "the token does not name the agent %q", id).
			With("reason", "agent_mismatch").With("agentId", id).With("retryable", false)
	}
	if refusal := c.server.cfg.Sockets.Refusal(id); refusal != nil {
		return refusal
	}
	return nil
}

// Call makes a call to the agent ([carrier.Peer]).
func (c *socket) Call(
	ctx context.Context, call carrier.Call, event func(string, json.RawMessage) error, settled func(),
) (json.RawMessage, error) {
	text, err := callText(&call)
	if err != nil {
		settled()
		return nil, fmt.Errorf("encoding %s: %w", call.Method, err)
	}
	out, err := c.agent.calls.add(event != nil, settled)
	if err != nil {
		settled()
		if errors.Is(err, errUnanswered) {
			c.agent.say(func() { _ = c.ws.Close(websocket.StatusPolicyViolation, err.Error()) })
		}
		return nil, carrier.ErrLost
	}
	waiter, err := c.conn.DispatchCall(ctx, call.Method, text, jsonrpc2.PickID(jsonrpc2.ID{Num: out.number}))
	if err != nil {
		if c.agent.calls.take(out.number) != nil {
			settled()
		}
		return nil, carrier.ErrLost
	}
	return c.await(ctx, &call, out, waiter, event)
}

// await waits for the answer to a call, and has its events taken over meanwhile.
func (c *socket) await(
	ctx context.Context, call *carrier.Call, out *outcall, waiter jsonrpc2.Waiter, event func(string, json.RawMessage) error,
) (json.RawMessage, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(c.agent.ctx, func() { cancel(context.Cause(c.agent.ctx)) })()
	var draining sync.WaitGroup
	if event != nil {
		draining.Go(func() {
			if err := out.events.drain(ctx, event); err != nil {
				cancel(err)
			}
		})
	}
	var result json.RawMessage
	err := waiter.Wait(ctx, &result)
	if err != nil && errors.Is(err, ctx.Err()) && errors.Is(context.Cause(ctx), carrier.ErrLost) {
		err = lastAnswer(waiter, &result)
	}
	if event != nil {
		out.events.end(nil)
		draining.Wait()
	}
	switch {
	case err == nil:
		return result, nil
	case errors.Is(err, jsonrpc2.ErrClosed), errors.Is(err, carrier.ErrLost):
		return nil, carrier.ErrLost
	case ctx.Err() != nil && errors.Is(err, ctx.Err()):
		c.callOff(call, out.number)
		return nil, context.Cause(ctx)
	case out.refusal == unreadable:
		return nil, errors.New("the agent's answer cannot be read") // none of its own errors
	case out.refusal != nil:
		return nil, out.refusal
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	}
	return nil, err
}

// answerTime is how long an answer is waited for that may have come just before its
// connection ended: until jsonrpc2 has told everybody who waits.
const answerTime = time.Second

// lastAnswer gives the answer to a call whose connection has ended, if it came before
// that: an agent may say its last word and leave. [carrier.ErrLost] if not.
func lastAnswer(waiter jsonrpc2.Waiter, result *json.RawMessage) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerTime)
	defer cancel()
	err := waiter.Wait(ctx, result)
	if _, answered := errors.AsType[*jsonrpc2.Error](err); err == nil || answered {
		return err
	}
	return carrier.ErrLost
}

// callOff tells the agent that nobody waits for an answer any more, if it is still
// there.
func (c *socket) callOff(call *carrier.Call, number uint64) {
	about := struct {
		ID     uint64 `json:"id"`
		Method string `json:"method"`
		TaskID string `json:"taskId,omitempty"`
		ChatID string `json:"chatId,omitempty"`
		Reason string `json:"reason"`
	}{ID: number, Method: call.Method, Reason: "nobody waits for the answer any more"}
	if isChat(call.Method) {
		about.ChatID = call.Thread
	} else {
		about.TaskID = call.Thread
	}
	b, err := rpc.AppendJSON([]byte(`{"jsonrpc":"2.0","method":"`+cancelMethod+`","params":`), about)
	if err != nil {
		return
	}
	frame := json.RawMessage(append(b, '}'))
	c.agent.say(func() { _ = c.conn.Notify(context.Background(), cancelMethod, &frame) })
}

// move tells the agent, if there is one, that the server is about to stop.
func (c *socket) move() {
	if !c.agent.calls.expected() {
		return
	}
	frame := json.RawMessage(`{"jsonrpc":"2.0","method":"` + moveMethod + `","params":{"reason":"the server is going down"}}`)
	c.agent.say(func() { _ = c.conn.Notify(context.Background(), moveMethod, &frame) })
}

func isChat(method string) bool { return len(method) > 5 && method[:5] == "chat." }

// callText encodes a call without its id, which is put in front of the rest when it
// is sent.
func callText(c *carrier.Call) (json.RawMessage, error) {
	return jsonv2.Marshal(struct {
		Version     string `json:"jsonrpc"`
		Method      string `json:"method"`
		From        string `json:"requestAgent,omitempty"`
		To          string `json:"targetAgent,omitempty"`
		TraceID     string `json:"traceId,omitempty"`
		TraceParent string `json:"traceparent,omitempty"`
		Hops        int    `json:"hops,omitempty"`
		Attempt     int    `json:"attempt,omitempty"`
		Params      any    `json:"params"`
	}{"2.0", c.Method, c.From, c.To, c.TraceID, c.TraceParent, c.Hops, c.Attempt, c.Params}, jsonv1.OmitEmptyWithLegacySemantics(true))
}

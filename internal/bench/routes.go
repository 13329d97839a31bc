package main

import (
	"context"
	"fmt"
	"path/filepath"
)

// The names of the workloads on routed work in the results.
const (
	routeL0     = "L0 routed"
	routeDirect = "task.create, agent itself"
	routeEcho   = "in-process agent"
	routeHTTP   = "HTTP agent"
	routeSocket = "WebSocket agent"
)

// What is measured of a route, behind its name.
const (
	accepted  = ": accepted"
	completed = ": COMPLETED"
	talked    = ": chat"
	streamed  = ": chat stream"
)

// route is a way to an agent.
type route struct {
	name  string
	on    *process
	agent string
	chat  string // the agent for chats, if it is another one
}

// routes lists the ways, the direct one first.
func (b *bench) routes() []route {
	return []route{
		{name: routeDirect, on: b.far, agent: farID, chat: farID},
		{name: routeEcho, on: b.relay, agent: "echo", chat: "chat"},
		{name: routeHTTP, on: b.relay, agent: farID, chat: farID},
		{name: routeSocket, on: b.relay, agent: dialledID, chat: dialledID},
	}
}

// startRoutes starts the servers of routed work and waits until the agent has
// dialled in.
func (b *bench) startRoutes(ctx context.Context) (err error) {
	if err := publish(b.keys, filepath.Join(b.dir, "relay")); err != nil {
		return err
	}
	if b.far, err = b.start(ctx, "far"); err != nil {
		return err
	}
	if b.receiver, err = b.start(ctx, "receiver"); err != nil {
		return err
	}
	if b.relay, err = b.start(ctx, "relay", childFar+"=http://"+b.far.address+"/arc"); err != nil {
		return err
	}
	token, err := b.keys.agentToken(dialledID)
	if err != nil {
		return err
	}
	if b.dialled, err = b.start(ctx, "dialled", childRelay+"=http://"+b.relay.address+"/arc", childToken+"="+token); err != nil {
		return err
	}
	return b.dialledIn(ctx)
}

// dialledIn waits until the agent that dials in has done a task.
func (b *bench) dialledIn(ctx context.Context) error {
	before, err := b.relay.ask(counting)
	if err != nil {
		return err
	}
	if _, err := b.onceOn(ctx, b.relay, b.create(dialledID)); err != nil {
		return err
	}
	if err := b.relay.await(ctx, before.Done+1); err != nil {
		return fmt.Errorf("waiting for the agent that dials in: %w", err)
	}
	return nil
}

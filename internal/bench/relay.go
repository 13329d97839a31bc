package main

import (
	"context"
	"net"
	"net/netip"
	"os"

	"github.com/arcd-io/arcd/carrier"
	"github.com/arcd-io/arcd/internal/egress"
	"github.com/arcd-io/arcd/internal/webhook"
	"github.com/arcd-io/arcd/methods"
)

// childFar is the environment variable that tells the relay where the agent with a
// server of its own is.
const childFar = "ARCD_BENCH_FAR"

// The ids of the agents that are not in arcd's process.
const (
	farID     = "far"     // has a server of its own
	dialledID = "dialled" // dials in
)

// places is how many tasks each agent of the relay may have in hand, wherever it is:
// the default of those elsewhere. Then the ways to them differ in nothing else.
const places = 100

// serveRelay serves arcd as "arcd serve" puts it together, with the agents of
// serveArcd, two elsewhere, and webhooks.
func serveRelay(ctx context.Context, ln net.Listener, dir string) (served, error) {
	p, err := openArcd(ctx, ln, dir)
	if err != nil {
		return served{}, err
	}
	sockets := &carrier.Sockets{}
	p.server.Sockets = sockets
	p.wake = func(s *methods.Service) { sockets.Wake = s.Wake }
	echo := p.service.Agents["echo"]
	echo.Concurrency = places
	p.service.Agents["echo"] = echo
	p.service.Agents[farID] = carrier.HTTP(farID, carrier.HTTPConfig{Endpoint: os.Getenv(childFar)}, p.log)
	p.service.Remote = carrier.NewDirectory(carrier.Config{
		Sockets: sockets, Agents: map[string]carrier.Settings{dialledID: {DialsIn: true}}, Log: p.log,
	})
	calls := egress.New(egress.Policy{Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}, KeepAlive: true, MaxIdle: 256})
	p.service.Webhooks = webhook.New(webhook.Config{Calls: calls, AllowHTTP: true})
	s, err := p.serve(ctx, ln)
	if err != nil {
		return served{}, err
	}
	stopped := s.wait
	s.wait = func() error {
		defer calls.Close()
		return stopped()
	}
	return s, nil
}

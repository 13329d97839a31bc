package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/arcd-io/arcd/client"
)

// The environment variables that tell the agent that dials in where, and with which
// token.
const (
	childRelay = "ARCD_BENCH_RELAY"
	childToken = "ARCD_BENCH_TOKEN"
)

// serveDialled is an agent that dials in and answers at once, as farAgent does. It
// has no port.
func serveDialled(ctx context.Context, ln net.Listener, _ string) (served, error) {
	if err := ln.Close(); err != nil {
		return served{}, err
	}
	agent := &client.Agent{
		Client: &client.Client{URL: os.Getenv(childRelay), Token: client.StaticToken(os.Getenv(childToken))},
		IDs:    []string{dialledID}, Capacity: places, Grace: -1, Handle: handleDialled,
		Failed: func(err error) {
			if ctx.Err() == nil {
				fmt.Fprintln(os.Stderr, "bench: the agent that dials in:", err)
			}
		},
	}
	ended := make(chan error, 1)
	go func() { ended <- agent.Run(ctx) }()
	return served{wait: func() error {
		if err := <-ended; ctx.Err() == nil {
			return err
		}
		return nil
	}}, nil
}

// handleDialled answers a chat in as many pieces as farAgent, and all else with one
// message.
func handleDialled(ctx context.Context, w *client.Work) error {
	if w.ChatID == "" || !strings.Contains(string(w.Message.Parts[0].Content), story) {
		return w.Write(ctx, farSummary)
	}
	for i := range chunks {
		if err := w.Write(ctx, chunk(i)); err != nil {
			return err
		}
	}
	return nil
}

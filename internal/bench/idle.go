package main

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"
)

// idleMemory gives the memory of one idle stream, on arcd (task.events of a
// task that waits) and on the bare handler.
func (b *bench) idleMemory(ctx context.Context) (arcd, bare int64, err error) {
	answer, err := b.once(ctx, b.create("queue"))
	if err != nil {
		return 0, 0, err
	}
	task, err := taskID(answer)
	if err != nil {
		return 0, 0, err
	}
	body := eventsBody("queue", task)
	if bare, err = b.idleOn(ctx, b.bare, post("/idle", b.token, "application/arc+json", body)); err != nil {
		return 0, 0, fmt.Errorf("idle bare streams: %w", err)
	}
	if arcd, err = b.idleOn(ctx, b.arcd, post("/arc", b.token, "application/arc+json", body)); err != nil {
		return 0, 0, fmt.Errorf("idle streams: %w", err)
	}
	return arcd, bare, nil
}

// idleOn opens the streams, waits for the first bytes of each, and divides the
// server's growth by their number.
func (b *bench) idleOn(ctx context.Context, p *process, request []byte) (int64, error) {
	before, err := p.ask(trimmed)
	if err != nil {
		return 0, err
	}
	conns := make([]*conn, b.idle)
	defer func() {
		for _, c := range conns {
			if c != nil {
				_ = c.Close()
			}
		}
	}()
	opening, ctx := errgroup.WithContext(ctx)
	opening.SetLimit(b.connections)
	for i := range conns {
		opening.Go(func() error {
			c, err := dial(ctx, p.address, 1<<10)
			if err != nil {
				return err
			}
			conns[i] = c
			return c.open(request)
		})
	}
	if err := opening.Wait(); err != nil {
		return 0, err
	}
	after, err := p.ask(trimmed)
	if err != nil {
		return 0, err
	}
	return (after.Resident - before.Resident) / int64(b.idle), nil
}

// open sends a request for a stream and reads up to its first bytes.
func (c *conn) open(request []byte) error {
	if _, err := c.Write(request); err != nil {
		return err
	}
	_, chunked, err := c.head()
	if err != nil {
		return err
	}
	if !chunked {
		return fmt.Errorf("the answer is no stream")
	}
	_, err = c.in.Peek(1)
	return err
}

package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// operation is what is done again and again on a connection: one call or some, and
// the look at the answers. n counts those of the connection.
type operation func(c *conn, connection, n int) error

// timing is how long each of many operations took.
type timing struct {
	elapsed time.Duration // of all
	each    []time.Duration
}

func (t timing) perSecond() float64 { return float64(len(t.each)) / t.elapsed.Seconds() }

// spread is how long something took.
type spread struct {
	middle, most time.Duration // median; the time within which 99 of 100 are done
}

// spread gives the median and the 99th of a hundred; zero of none.
func (t timing) spread() spread {
	if len(t.each) == 0 {
		return spread{}
	}
	slices.Sort(t.each)
	return spread{middle: t.each[len(t.each)/2], most: t.each[len(t.each)*99/100]}
}

// connect opens connections, spread over the addresses. The caller closes them.
func connect(ctx context.Context, addresses []string, connections int) ([]*conn, error) {
	conns := make([]*conn, connections)
	for i := range conns {
		c, err := dial(ctx, addresses[i%len(addresses)], 16<<10)
		if err != nil {
			closeAll(conns)
			return nil, err
		}
		conns[i] = c
	}
	return conns, nil
}

func closeAll(conns []*conn) {
	for _, c := range conns {
		if c != nil {
			_ = c.Close()
		}
	}
}

// closedLoop has each of the connections do one operation after the other until the
// time is over or limit of them are done (0: no limit). The first error ends it all.
func closedLoop(ctx context.Context, addresses []string, connections int, d time.Duration, limit int, op operation) (timing, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conns, err := connect(ctx, addresses, connections)
	if err != nil {
		return timing{}, err
	}
	defer closeAll(conns)
	times := make([][]time.Duration, connections)
	start := time.Now()
	deadline := start.Add(d)
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			begin := time.Now()
			for n := 0; (limit == 0 || n < limit) && ctx.Err() == nil && begin.Before(deadline); n++ {
				if err := op(c, i, n); err != nil {
					cancel(fmt.Errorf("connection %d, operation %d: %w", i, n, err))
					return
				}
				end := time.Now()
				times[i] = append(times[i], end.Sub(begin))
				begin = end
			}
		})
	}
	wg.Wait()
	return timing{elapsed: time.Since(start), each: slices.Concat(times...)}, context.Cause(ctx)
}

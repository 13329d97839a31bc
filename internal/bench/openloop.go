package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// openLoop begins operations at a fixed rate, whether those before are done or not, and
// measures each from the moment when it should have begun: an answer that is late makes
// those behind it late as well, and that counts. If all connections are busy,
// operations wait for one, and that counts too.
func openLoop(ctx context.Context, addresses []string, connections int, perSecond float64, d time.Duration, op operation) (timing, error) {
	if perSecond <= 0 {
		return timing{}, errors.New("a rate of nothing")
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	conns, err := connect(ctx, addresses, connections)
	if err != nil {
		return timing{}, err
	}
	defer closeAll(conns)
	total := max(1, int(d.Seconds()*perSecond))
	due := make(chan time.Time, total)
	times := make([][]time.Duration, connections)
	start := time.Now()
	var wg sync.WaitGroup
	for i, c := range conns {
		wg.Go(func() {
			n := 0
			for begin := range due {
				if err := op(c, i, n); err != nil {
					cancel(fmt.Errorf("connection %d, operation %d: %w", i, n, err))
					return
				}
				times[i] = append(times[i], time.Since(begin))
				n++
			}
		})
	}
	for n := 0; n < total && ctx.Err() == nil; n++ {
		begin := start.Add(time.Duration(float64(n) / perSecond * float64(time.Second)))
		rest(time.Until(begin))
		due <- begin
	}
	close(due)
	wg.Wait()
	t := timing{elapsed: time.Since(start)}
	for _, some := range times {
		t.each = append(t.each, some...)
	}
	return t, context.Cause(ctx)
}

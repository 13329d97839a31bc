package main

import (
	"bytes"
	"context"
	"fmt"
	"time"
)

// latency measures how long a task takes from its creation until the caller knows
// that it is COMPLETED. Through arcd that takes two calls: one that creates the
// task, and one that follows its events to the end.
func (b *bench) latency(ctx context.Context, way route) (spread, error) {
	c, err := dial(ctx, way.on.address, 16<<10)
	if err != nil {
		return spread{}, err
	}
	defer c.Close()
	create := b.post(createBody(way.agent))
	times := make([]time.Duration, b.tasks)
	for n := range times {
		begin := time.Now()
		if err := c.call(create); err != nil {
			return spread{}, err
		}
		if way.on != b.far {
			task, err := taskID(c.body)
			if err != nil {
				return spread{}, err
			}
			if err := c.call(b.post(eventsBody(way.agent, task))); err != nil {
				return spread{}, err
			}
		}
		if times[n] = time.Since(begin); !bytes.Contains(c.body, []byte(`"COMPLETED"`)) {
			return spread{}, fmt.Errorf("a task is not completed: %s", c.body)
		}
	}
	return timing{each: times}.spread(), nil
}

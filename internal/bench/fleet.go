package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// fleet is some servers that are measured as one: calls are spread over them, and what
// they use up is added up.
type fleet []*process

// measured is one round against one fleet.
type measured struct {
	requests  int
	perSecond float64
	cpu       time.Duration // of the servers, for one request
	commits   float64       // of the store, for one request; 0: not counted
	engine    time.Duration // CPU time of the database server, for one request; 0: there is none
}

// addresses are where the servers listen.
func (f fleet) addresses() []string {
	all := make([]string, len(f))
	for i, p := range f {
		all[i] = p.address
	}
	return all
}

// ask gives what the servers have used up and done together. Only the first begins a
// profile.
func (f fleet) ask(question string) (sum usage, err error) {
	for i, p := range f {
		if i > 0 && strings.HasPrefix(question, profiling) {
			question = plain
		}
		u, err := p.ask(question)
		if err != nil {
			return usage{}, err
		}
		sum.CPU += u.CPU
		sum.Resident += u.Resident
		sum.Done += u.Done
		sum.Writes.Beats += u.Writes.Beats
		sum.Writes.Other += u.Writes.Other
	}
	return sum, nil
}

// longestStill is after what time without progress await gives up.
const longestStill = 30 * time.Second

// await waits until the servers have done so much together. It is an error if nothing
// is done for a while.
func (f fleet) await(ctx context.Context, done int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	still := time.NewTimer(longestStill)
	defer still.Stop()
	for last := int64(-1); ; {
		now, err := f.ask(counting)
		if err != nil || now.Done >= done {
			return err
		}
		if now.Done > last {
			last = now.Done
			still.Reset(longestStill)
		}
		select {
		case <-tick.C:
		case <-still.C:
			return fmt.Errorf("%d of %d were done, and then nothing for %v", last, done, longestStill)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// measure runs the load and puts the servers' CPU time beside it.
func (f fleet) measure(ctx context.Context, l load, connections int, d time.Duration, limit int) (measured, error) {
	return f.measureFrom(ctx, plain, l, connections, d, limit)
}

// measureFrom is measure with the question to begin with.
func (f fleet) measureFrom(ctx context.Context, question string, l load, connections int, d time.Duration, limit int) (measured, error) {
	before, err := f.ask(question)
	if err != nil {
		return measured{}, err
	}
	t, err := closedLoop(ctx, f.addresses(), connections, d, limit, l.call)
	if err != nil {
		return measured{}, err
	}
	after, err := f.ask(plain)
	requests := len(t.each)
	if err != nil || requests == 0 {
		return measured{}, errors.Join(errors.New("nothing was measured"), err)
	}
	return measured{
		requests:  requests,
		perSecond: t.perSecond(),
		cpu:       (after.CPU - before.CPU) / time.Duration(requests),
		commits:   float64(after.Writes.Other-before.Writes.Other) / float64(requests),
	}, nil
}

// measure is fleet.measure on this server alone.
func (p *process) measure(ctx context.Context, l load, connections int, d time.Duration, limit int) (measured, error) {
	return fleet{p}.measure(ctx, l, connections, d, limit)
}

// measureFrom is fleet.measureFrom on this server alone.
func (p *process) measureFrom(ctx context.Context, question string, l load, connections int, d time.Duration, limit int) (measured, error) {
	return fleet{p}.measureFrom(ctx, question, l, connections, d, limit)
}

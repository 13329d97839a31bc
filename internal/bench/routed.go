package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// measureRouted measures routed work: rates, then the time that one task takes.
func (b *bench) measureRouted(ctx context.Context, r *results) (err error) {
	if err := b.measureRoutes(ctx, r); err != nil {
		return err
	}
	r.latency = map[string]spread{}
	for _, way := range b.routes() {
		if r.latency[way.name], err = b.latency(ctx, way); err != nil {
			return fmt.Errorf("latency, %s: %w", way.name, err)
		}
	}
	return b.profileRoutes(ctx)
}

// measureRoutes measures the rates of routed work in interleaved rounds.
func (b *bench) measureRoutes(ctx context.Context, r *results) error {
	size, err := b.sizeOn(ctx, b.relay, b.create("queue"))
	if err != nil {
		return err
	}
	bare := b.same("/plain/%d", createBody("queue"), size)
	warm := min(1, b.rounds-1) // rounds that do not count
	for n := range b.rounds + warm {
		round := map[string]measured{}
		if round[routeL0], err = b.bare.measure(ctx, bare, b.connections, b.duration/2, b.limit); err != nil {
			return fmt.Errorf("%s: %w", routeL0, err)
		}
		for _, way := range b.routes() {
			if err := b.measureRoute(ctx, way, round, noProfile); err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
		}
		if err := b.measureWebhooks(ctx, round, noProfile); err != nil {
			return fmt.Errorf("webhooks: %w", err)
		}
		if n >= warm {
			for name, m := range round {
				r.rounds[name] = append(r.rounds[name], m)
			}
		}
	}
	return nil
}

// noProfile is the question with which a workload begins.
func noProfile(string) string { return plain }

// profileRoutes runs each workload of routed work once more, with a CPU profile of
// arcd, if the options ask for that.
func (b *bench) profileRoutes(ctx context.Context) error {
	if b.profile == "" {
		return nil
	}
	question := func(workload string) string {
		name := strings.NewReplacer(" ", "-", ":", "").Replace(workload)
		return profiling + filepath.Join(b.profile, name+".prof")
	}
	ignored := map[string]measured{}
	for _, way := range b.routes() {
		if way.on != b.relay {
			continue
		}
		if err := b.measureRoute(ctx, way, ignored, question); err != nil {
			return fmt.Errorf("profile, %s: %w", way.name, err)
		}
	}
	if err := b.measureWebhooks(ctx, ignored, question); err != nil {
		return fmt.Errorf("profile, webhooks: %w", err)
	}
	return nil
}

// measureRoute measures the rates of one way: tasks, chats, and streamed chats.
// question gives what the server is asked at the begin of a workload.
func (b *bench) measureRoute(ctx context.Context, way route, round map[string]measured, question func(string) string) (err error) {
	if way.on == b.far {
		l := load{next: same(b.post(createBody(way.agent))), right: contains(`"COMPLETED"`)}
		round[way.name+completed], err = way.on.measure(ctx, l, b.connections, b.duration/2, b.limit)
	} else {
		round[way.name+accepted], round[way.name+completed], err = b.throughput(ctx, fleet{way.on}, question(way.name+completed), way.agent, b.duration/2)
	}
	if err != nil {
		return fmt.Errorf("tasks: %w", err)
	}
	for kind, l := range map[string]load{
		talked:   {next: same(b.post(chatBody(way.chat, false))), right: contains(`"ACTIVE"`)},
		streamed: {next: same(b.post(chatBody(way.chat, true))), right: rightStream},
	} {
		name := way.name + kind
		if round[name], err = way.on.measureFrom(ctx, question(name), l, b.connections, b.duration/2, b.limit); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// throughput gives tasks to an agent for a while and waits until the last is
// completed. The first rate is that of the tasks that were accepted, while the agent
// was at work; the second that of completed ones over the whole time.
func (b *bench) throughput(ctx context.Context, on fleet, question, agent string, d time.Duration) (taken, done measured, err error) {
	before, err := on.ask(question)
	if err != nil {
		return taken, done, err
	}
	start := time.Now()
	t, err := closedLoop(ctx, on.addresses(), b.connections, d, b.limit, b.create(agent).call)
	if err != nil {
		return taken, done, err
	}
	requests := len(t.each)
	if err := on.await(ctx, before.Done+int64(requests)); err != nil {
		return taken, done, err
	}
	elapsed := time.Since(start)
	after, err := on.ask(plain)
	if err != nil {
		return taken, done, err
	}
	taken = measured{requests: requests, perSecond: t.perSecond()}
	done = measured{
		requests: requests, perSecond: float64(requests) / elapsed.Seconds(),
		cpu:     (after.CPU - before.CPU) / time.Duration(max(requests, 1)),
		commits: float64(after.Writes.Other-before.Writes.Other) / float64(max(requests, 1)),
	}
	return taken, done, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// run starts the servers and measures everything.
func run(ctx context.Context, o options) (results results, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var started *startup
	if o.arcd != "" && !o.routed { // first, while nothing else of ours runs
		s, err := measureStartup(ctx, o.arcd, o.dir, o.starts)
		if err != nil {
			return results, fmt.Errorf("start-up: %w", err)
		}
		started = &s
	}
	keys, err := newIssuer()
	if err != nil {
		return results, err
	}
	if err := publish(keys, filepath.Join(o.dir, "arcd")); err != nil {
		return results, err
	}
	b := bench{options: o, keys: keys}
	defer func() { err = errors.Join(err, b.stop()) }()
	if b.token, err = keys.token("RS256"); err != nil {
		return results, err
	}
	if b.bare, err = b.start(ctx, "bare"); err != nil {
		return results, err
	}
	if b.arcd, err = b.start(ctx, "arcd"); err != nil {
		return results, err
	}
	if err := b.startRoutes(ctx); err != nil {
		return results, err
	}
	if !o.routed { // last, because its agents count as dead if they are silent for long
		if b.registry, err = b.startRegistry(ctx); err != nil {
			return results, err
		}
	}
	results, err = b.all(ctx)
	results.startup = started
	return results, err
}

// publish writes the issuer's key set where the server finds it.
func publish(keys *issuer, dir string) error {
	set, err := keys.keySet()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, keysFile), set, 0o600)
}

// bench is one run of the benchmark.
type bench struct {
	options
	keys  *issuer
	token string
	bare  *process
	arcd  *process

	registry *process
	members  []string // tokens of the registered agents

	far, dialled *process // agents that are not in arcd's process
	relay        *process // the arcd that has them
	receiver     *process // of its webhooks

	started []*process
}

// start starts a server, which stop ends.
func (b *bench) start(ctx context.Context, kind string, more ...string) (*process, error) {
	p, err := start(ctx, kind, b.dir, more...)
	if err == nil {
		b.started = append(b.started, p)
	}
	return p, err
}

// stop ends the servers, the last one first.
func (b *bench) stop() (err error) {
	for _, p := range slices.Backward(b.started) {
		err = errors.Join(err, p.stop())
	}
	return err
}

// all measures in this order: the interleaved rounds, then what needs only one
// go.
func (b *bench) all(ctx context.Context) (results, error) {
	r := results{rounds: map[string][]measured{}, firsts: map[string]measured{}}
	if b.routed {
		err := b.measureRouted(ctx, &r) // before r is read
		return r, err
	}
	loads, err := b.loads(ctx)
	if err != nil {
		return r, err
	}
	if r.firstBeats, err = b.firstBeats(ctx); err != nil {
		return r, fmt.Errorf("first heartbeats: %w", err)
	}
	for _, w := range loads { // warm up
		if _, err := w.on.measure(ctx, w.load, b.connections, b.duration/5, b.limit); err != nil {
			return r, fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if err := b.measureRounds(ctx, loads, &r); err != nil {
		return r, err
	}
	if err := b.profiles(ctx, loads); err != nil {
		return r, err
	}
	if err := b.measureRouted(ctx, &r); err != nil {
		return r, fmt.Errorf("routed: %w", err)
	}
	if r.endToEnd, err = b.endToEnd(ctx); err != nil {
		return r, fmt.Errorf("end to end: %w", err)
	}
	for _, alg := range algorithms {
		if r.firsts[alg], err = b.firstSight(ctx, alg); err != nil {
			return r, fmt.Errorf("first sight of %s: %w", alg, err)
		}
	}
	r.idle, r.idleBare, err = b.idleMemory(ctx)
	return r, err
}

// measureRounds runs all workloads in turn, again and again, and counts what the
// heartbeats among them cost.
func (b *bench) measureRounds(ctx context.Context, loads []workload, r *results) error {
	before, err := b.registry.ask(plain)
	if err != nil {
		return err
	}
	begin := time.Now()
	for range b.rounds {
		for _, w := range loads {
			m, err := w.on.measure(ctx, w.load, b.connections, b.duration, b.limit)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			r.rounds[w.name] = append(r.rounds[w.name], m)
		}
	}
	if r.beats, err = b.countBeats(ctx, before, begin, r.rounds[beatArcd]); err != nil {
		return fmt.Errorf("what heartbeats cost: %w", err)
	}
	return nil
}

// profiles runs each workload on arcd once more, with a CPU profile, if the
// options ask for that.
func (b *bench) profiles(ctx context.Context, loads []workload) error {
	if b.profile == "" {
		return nil
	}
	for _, w := range loads {
		if w.on == b.bare {
			continue
		}
		file := filepath.Join(b.profile, strings.ReplaceAll(w.name, " ", "-")+".prof")
		if _, err := w.on.measureFrom(ctx, profiling+file, w.load, b.connections, b.duration, b.limit); err != nil {
			return fmt.Errorf("profile of %s: %w", w.name, err)
		}
	}
	return nil
}

// endToEnd gives tasks to the agent echo for a while and waits until the last
// is completed: the rate is that of completed tasks over the whole time.
func (b *bench) endToEnd(ctx context.Context) (measured, error) {
	_, completed, err := b.throughput(ctx, b.arcd, plain, "echo", 2*b.duration)
	return completed, err
}

// firstSight reads a task with tokens of one algorithm that the server has
// never seen, each once.
func (b *bench) firstSight(ctx context.Context, alg string) (measured, error) {
	each := b.tokens / b.connections
	task, err := b.completedTask(ctx)
	if err != nil {
		return measured{}, err
	}
	requests := make([][]byte, each*b.connections)
	for i := range requests {
		token, err := b.keys.token(alg)
		if err != nil {
			return measured{}, err
		}
		requests[i] = post("/arc", token, "application/arc+json", infoBody(task))
	}
	l := load{
		next:  func(connection, n int) []byte { return requests[connection*each+n] },
		right: contains(`"COMPLETED"`),
	}
	return b.arcd.measure(ctx, l, b.connections, time.Minute, each)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
)

// run starts the servers and measures everything.
func run(ctx context.Context, o options) (results results, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var started *startup
	if o.arcd != "" && o.withRest() { // first, while nothing else of ours runs
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
	if o.withStores() {
		if err := b.startReplicas(ctx); err != nil {
			return results, fmt.Errorf("replicas: %w", err)
		}
	}
	if o.withRoutes() {
		if err := b.startRoutes(ctx); err != nil {
			return results, err
		}
	}
	if o.withRest() { // last, because its agents count as dead if they are silent for long
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

	postgres *pgtest.Server
	one, two *replicated // arcd on PostgreSQL: as one replica, and as two

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

// forget leaves a server alone that has been ended.
func (b *bench) forget(p *process) {
	b.started = slices.DeleteFunc(b.started, func(other *process) bool { return other == p })
}

// stop ends the servers, the last one first.
func (b *bench) stop() (err error) {
	for _, p := range slices.Backward(b.started) {
		err = errors.Join(err, p.stop())
	}
	if b.postgres != nil {
		b.postgres.Remove()
	}
	return err
}

// all measures in this order: the interleaved rounds, then what needs only one
// go.
func (b *bench) all(ctx context.Context) (results, error) {
	r := results{rounds: map[string][]measured{}, firsts: map[string]measured{}}
	if b.withStores() {
		if err := b.measureLoads(ctx, &r); err != nil {
			return r, err
		}
		if err := b.measureReplicas(ctx, &r); err != nil {
			return r, fmt.Errorf("replicas: %w", err)
		}
	}
	if b.withRoutes() {
		if err := b.measureRouted(ctx, &r); err != nil {
			return r, fmt.Errorf("routed: %w", err)
		}
	}
	if !b.withRest() {
		return r, nil
	}
	var err error
	for _, alg := range algorithms {
		if r.firsts[alg], err = b.firstSight(ctx, alg); err != nil {
			return r, fmt.Errorf("first sight of %s: %w", alg, err)
		}
	}
	r.idle, r.idleBare, err = b.idleMemory(ctx)
	return r, err
}

// measureLoads measures the loads of single calls, and those of the registry.
func (b *bench) measureLoads(ctx context.Context, r *results) error {
	loads, err := b.loads(ctx)
	if err != nil {
		return err
	}
	rounds := b.measureRounds
	if b.withRest() {
		members, err := b.memberLoads(ctx)
		if err != nil {
			return err
		}
		loads, rounds = append(loads, members...), b.measureMembers
		if r.firstBeats, err = b.firstBeats(ctx); err != nil {
			return fmt.Errorf("first heartbeats: %w", err)
		}
	}
	for _, w := range loads { // warm up
		if _, err := w.on.measure(ctx, w.load, b.connections, b.duration/5, b.limit); err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
	}
	if err := rounds(ctx, loads, r); err != nil {
		return err
	}
	return b.profiles(ctx, loads)
}

// measureMembers is measureRounds, and counts what the heartbeats among the loads cost.
func (b *bench) measureMembers(ctx context.Context, loads []workload, r *results) error {
	before, err := b.registry.ask(plain)
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := b.measureRounds(ctx, loads, r); err != nil {
		return err
	}
	if r.beats, err = b.countBeats(ctx, before, begin, r.rounds[beatArcd]); err != nil {
		return fmt.Errorf("what heartbeats cost: %w", err)
	}
	return nil
}

// measureRounds runs all workloads in turn, again and again.
func (b *bench) measureRounds(ctx context.Context, loads []workload, r *results) error {
	for range b.rounds {
		for _, w := range loads {
			m, err := b.measureOn(ctx, w)
			if err != nil {
				return fmt.Errorf("%s: %w", w.name, err)
			}
			r.rounds[w.name] = append(r.rounds[w.name], m)
		}
	}
	return nil
}

// firstSight reads a task with tokens of one algorithm that the server has
// never seen, each once.
func (b *bench) firstSight(ctx context.Context, alg string) (measured, error) {
	each := b.tokens / b.connections
	task, err := b.completedTask(ctx, b.arcd)
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

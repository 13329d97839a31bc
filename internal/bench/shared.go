package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// shared is what was measured of arcd with the state in PostgreSQL, beside rates.
type shared struct {
	half     map[string][]halfLoad // by workload
	crossing map[string]spread     // from a write to the event at a reader, by where that one is
	commits  float64               // transactions of the database for one task that was completed
}

// halfLoad is how long calls took when half as many came as could be done.
type halfLoad struct {
	perSecond float64
	spread
}

// measureOn measures a workload, with the CPU time of PostgreSQL if that keeps the state.
func (b *bench) measureOn(ctx context.Context, w workload) (measured, error) {
	return b.withEngine(ctx, w.on, func() (measured, error) {
		return w.on.measure(ctx, w.load, b.connections, b.duration, b.limit)
	})
}

// withEngine adds PostgreSQL's CPU time to what f measures on replicas.
func (b *bench) withEngine(ctx context.Context, on fleet, f func() (measured, error)) (measured, error) {
	if b.replicatedOn(on) == nil {
		return f()
	}
	before, err := engineCPU(ctx, b.postgres)
	if err != nil {
		return measured{}, err
	}
	m, err := f()
	if err != nil {
		return m, err
	}
	after, err := engineCPU(ctx, b.postgres)
	m.engine = (after - before) / time.Duration(max(m.requests, 1))
	return m, err
}

// measureReplicas measures what needs more than a load on a server: tasks up to their
// end, half of the load, events on their way from one replica to another, and
// transactions.
func (b *bench) measureReplicas(ctx context.Context, r *results) (err error) {
	r.shared = shared{half: map[string][]halfLoad{}, crossing: map[string]spread{}}
	for range b.rounds {
		if err := b.endToEnd(ctx, r); err != nil {
			return fmt.Errorf("end to end: %w", err)
		}
		if err := b.halfLoads(ctx, r); err != nil {
			return fmt.Errorf("half load: %w", err)
		}
	}
	if err := b.crossings(ctx, r.shared.crossing); err != nil {
		return fmt.Errorf("events across replicas: %w", err)
	}
	if err := b.profileTasks(ctx); err != nil {
		return err
	}
	if r.shared.commits, err = b.countTransactions(ctx); err != nil {
		return fmt.Errorf("counting transactions: %w", err)
	}
	return nil
}

// endToEnd gives tasks to the agent echo for a while and waits until the last
// is completed: the rate is that of completed tasks over the whole time.
func (b *bench) endToEnd(ctx context.Context, r *results) error {
	for _, w := range []struct {
		name string
		on   fleet
	}{{doneArcd, fleet{b.arcd}}, {doneOne, b.one.servers}, {doneTwo, b.two.servers}} {
		m, err := b.withEngine(ctx, w.on, func() (measured, error) {
			_, done, err := b.throughput(ctx, w.on, plain, "echo", b.duration)
			return done, err
		})
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		r.rounds[w.name] = append(r.rounds[w.name], m)
	}
	return nil
}

// halfLoads creates tasks at half of the rate that was measured, and calls the bare
// handlers as often as arcd with SQLite.
func (b *bench) halfLoads(ctx context.Context, r *results) error {
	create := b.create("queue")
	body := createBody("queue")
	for _, w := range []workload{
		{createL0, fleet{b.bare}, b.same("/plain/%d", body, len(body))}, {createLD, fleet{b.bare}, b.same("/durable/%d", body, len(body))},
		{createArcd, fleet{b.arcd}, create}, {createOne, b.one.servers, create}, {createTwo, b.two.servers, create},
	} {
		of := w.name
		if of == createL0 || of == createLD {
			of = createArcd
		}
		rate, d := medianOf(r.rounds[of]).perSecond/2, b.duration
		if b.limit > 0 {
			d = min(d, time.Duration(float64(b.limit*b.connections)/rate*float64(time.Second)))
		}
		t, err := openLoop(ctx, w.on.addresses(), b.connections, rate, d, w.load.call)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		r.shared.half[w.name] = append(r.shared.half[w.name], halfLoad{rate, t.spread()})
	}
	return nil
}

// What is promised of replicas.
const (
	mostTail    = 3.0 // at half load: the 99th of a hundred beside the median
	mostCommits = 1.3 // transactions of the database for a task that is created and completed
)

// print writes what was measured of replicas.
func (s shared) print(w io.Writer) {
	fmt.Fprintln(w, "\nat half of that load\tper second\tmedian\t99 of 100\tbeside the median\twanted\tverdict")
	for _, name := range []string{createL0, createLD, createArcd, createOne, createTwo} {
		var rates, middles, mosts, tails []float64
		for _, h := range s.half[name] {
			rates, tails = append(rates, h.perSecond), append(tails, float64(h.most)/float64(h.middle))
			middles, mosts = append(middles, float64(h.middle)), append(mosts, float64(h.most))
		}
		tail, wanted := median(tails), "\t"
		if name != createL0 && name != createLD {
			wanted = fmt.Sprintf("at most %.0f\t%s", mostTail, verdict(tail <= mostTail))
		}
		fmt.Fprintf(w, "%s\t%.0f\t%v\t%v\t%.1f\t%s\n", name, median(rates), micros(time.Duration(median(middles))),
			micros(time.Duration(median(mosts))), tail, wanted)
	}
	fmt.Fprintln(w, "\nfrom a write to the event at a reader\tmedian\t99 of 100")
	for _, where := range []string{readHere, readThere} {
		c := s.crossing[where]
		fmt.Fprintf(w, "%s\t%v\t%v\n", where, micros(c.middle), micros(c.most))
	}
	fmt.Fprintf(w, "\ntransactions for a task, created to COMPLETED\t%.2f\tat most %.1f\t%s\n", s.commits, mostCommits, verdict(s.commits <= mostCommits))
}

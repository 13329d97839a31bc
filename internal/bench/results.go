package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"text/tabwriter"
	"time"
)

// results is all that a run measured.
type results struct {
	rounds         map[string][]measured // by workload
	shared         shared                // what many replicas are about
	firsts         map[string]measured   // by algorithm
	idle, idleBare int64                 // bytes for one stream
	firstBeats     measured              // heartbeats with tokens that are new to the server
	beats          heartbeats            // what those of the rounds cost
	latency        map[string]spread     // of one task, by way
	startup        *startup              // nil: not measured
}

// target is a promise about two workloads: a is at least this part of b. Least
// is 0 where the ratio is of interest but nothing is promised.
type target struct {
	a, b  string
	least float64
}

var targets = []target{
	{createArcd, createL0, 0.25},
	{createArcd, createLD, 0.60},
	{createOne, createArcd, 0.90},
	{createTwo, createOne, 1.00},
	{createOne, createL0, 0},
	{infoOne, infoArcd, 0},
	{streamOne, streamArcd, 0},
	{doneOne, doneArcd, 0},
	{doneTwo, doneOne, 0},
	{infoArcd, infoL0, 0.45},
	{streamArcd, streamL0, 0.40},
	{listArcd, listL0, 0},
	{getArcd, getL0, 0},
	{searchArcd, searchL0, 0},
	{beatArcd, beatL0, 0},
}

// mostIdle is the promise about the memory of idle streams: at most this many
// times the bare handler's.
const mostIdle = 1.5

// print writes the results as tables. In a short run nothing is judged.
func (r results) print(out io.Writer, o options) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d CPUs, %s/%s, %s\n\n", runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version())
	fmt.Fprintln(w, "workload\tper second\tserver CPU each\t(medians)")
	if o.withStores() {
		r.printRows(w, createL0, createLD, createArcd, createOne, createTwo, infoL0, infoArcd, infoOne,
			streamL0, streamArcd, streamOne, doneArcd, doneOne, doneTwo)
	}
	if o.withRest() {
		r.printRest(w)
	}
	if o.withRoutes() {
		r.printRouted(w)
	}
	if o.short {
		fmt.Fprintln(w, "\nall answers are right; a short run judges no speed")
		return w.Flush()
	}
	fmt.Fprintln(w, "\ntarget\tratio\twanted\tverdict\tratio of CPU each")
	printRatios(w, r, targets)
	if o.withRest() {
		idle := float64(r.idle) / float64(max(r.idleBare, 1))
		fmt.Fprintf(w, "idle stream / bare\t%.2f\tat most %.2f\t%s\n", idle, mostIdle, verdict(idle <= mostIdle))
	}
	printRatios(w, r, routedTargets)
	if o.withStores() {
		r.shared.print(w)
	}
	if r.startup != nil {
		r.startup.print(w)
	}
	return w.Flush()
}

// printRows writes a row for each of the workloads.
func (r results) printRows(w io.Writer, names ...string) {
	for _, name := range names {
		row(w, name, medianOf(r.rounds[name]))
	}
}

// printRest writes rows of the registry, of tokens and of idle streams.
func (r results) printRest(w io.Writer) {
	r.printRows(w, listL0, listArcd, getL0, getArcd, searchL0, searchArcd, beatL0, beatArcd)
	row(w, "heartbeat, new token", r.firstBeats)
	for _, alg := range algorithms {
		row(w, "task.info, new "+alg+" token", r.firsts[alg])
	}
	fmt.Fprintf(w, "heartbeats written\t%d calls\t%d transactions\tin %v, one each %v\n",
		r.beats.calls, r.beats.writes, r.beats.elapsed.Round(time.Second), r.beats.every)
	fmt.Fprintf(w, "idle stream\t%.1f KiB\tbare %.1f KiB\n", kib(r.idle), kib(r.idleBare))
}

// printRatios writes a row for each target whose workloads were measured.
func printRatios(w io.Writer, r results, targets []target) {
	for _, t := range targets {
		if len(r.rounds[t.a]) == 0 {
			continue
		}
		rate, cpu := r.ratio(t)
		switch {
		case t.least == 0 && cpu == 0:
			fmt.Fprintf(w, "%s / %s\t%.3f\n", t.a, t.b, rate)
			continue
		case t.least == 0:
			fmt.Fprintf(w, "%s / %s\t%.3f\t\t\t%.1f\n", t.a, t.b, rate, cpu)
			continue
		}
		fmt.Fprintf(w, "%s / %s\t%.2f\tat least %.2f\t%s\t%.1f\n", t.a, t.b, rate, t.least, verdict(rate >= t.least), cpu)
	}
}

func row(w io.Writer, name string, m measured) {
	if m.cpu == 0 { // was not measured
		fmt.Fprintf(w, "%s\t%.0f\n", name, m.perSecond)
		return
	}
	fmt.Fprintf(w, "%s\t%.0f\t%s", name, m.perSecond, m.cpu.Round(100*time.Nanosecond))
	if m.engine > 0 {
		fmt.Fprintf(w, "\tand PostgreSQL's %s", m.engine.Round(100*time.Nanosecond))
	}
	if m.commits >= 0.05 {
		fmt.Fprintf(w, "\t%.1f commits each", m.commits)
	}
	fmt.Fprintln(w)
}

func verdict(ok bool) string {
	if ok {
		return "pass"
	}
	return "MISS"
}

func kib(bytes int64) float64 { return float64(bytes) / 1024 }

// ratio gives the median over the rounds of a's rate to b's, and of a's CPU
// time to b's; 0 if that of either was not measured.
func (r results) ratio(t target) (rate, cpu float64) {
	var rates, cpus []float64
	for i, a := range r.rounds[t.a] {
		b := r.rounds[t.b][i]
		rates = append(rates, a.perSecond/b.perSecond)
		if b.cpu > 0 {
			cpus = append(cpus, float64(a.cpu)/float64(b.cpu))
		}
	}
	return median(rates), median(cpus)
}

func medianOf(rounds []measured) measured {
	var rates, cpus, commits, engines []float64
	for _, m := range rounds {
		rates, cpus = append(rates, m.perSecond), append(cpus, float64(m.cpu))
		commits, engines = append(commits, m.commits), append(engines, float64(m.engine))
	}
	return measured{
		perSecond: median(rates), cpu: time.Duration(median(cpus)),
		commits: median(commits), engine: time.Duration(median(engines)),
	}
}

// median gives the middle value; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	slices.Sort(values)
	return values[len(values)/2]
}

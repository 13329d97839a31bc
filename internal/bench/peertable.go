package main

import (
	"fmt"
	"io"
	"runtime"
	"text/tabwriter"
	"time"
)

// print writes the comparison as one table for what was asked for, one for what the
// programs are, and what each of them does and does not do.
func (c *comparison) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "%d CPUs, %s/%s, %s; medians of %d rounds of %v\n\n",
		runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), c.rounds, c.duration)
	fmt.Fprint(w, "per second, p50 / p99")
	for _, connections := range levels {
		fmt.Fprintf(w, "\tconnections: %d\t\tbeside arcd", connections)
	}
	fmt.Fprintln(w, "\tCPU each")
	for _, what := range compared {
		fmt.Fprintln(w, what)
		for _, p := range c.peers {
			c.printRow(w, what, p)
		}
	}
	fmt.Fprintln(w, "\nprogram\tversion\tfirst answer after\tmemory then\tmemory at the end\tprogram and packages")
	for _, p := range c.peers {
		fmt.Fprintf(w, "%s\t%s\t%v\t%s\t%s\t%s\n", p.name, p.versionText, p.running.startup.Round(time.Millisecond),
			mib(p.before.Resident), mib(p.after.Resident), mib(p.bytes))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for _, p := range c.peers {
		if _, err := fmt.Fprintf(out, "\n%s: %s.", p.name, p.note); err != nil {
			return err
		}
	}
	_, err := fmt.Fprint(out, "\n", howCompared)
	return err
}

// howCompared is what has to be known beside the table.
const howCompared = `
A2A has no call that only creates a task: its agent is called at once, and leaves the task
SUBMITTED. A2A answers "until COMPLETED" in one call; arcd takes two, one that creates and
one that follows the events. Its stream is a task with an artifact in 20 pieces. Servers
that keep tasks in memory hold all of them at the end. Each server is one process; those
in Python use one of the CPUs, and cannot use more without a store that processes share.
`

// printRow writes what one server showed.
func (c *comparison) printRow(w io.Writer, what string, p *peer) {
	fmt.Fprintf(w, "  %s", p.name)
	for _, connections := range levels {
		f := c.figure(what, connections, p)
		fmt.Fprintf(w, "\t%.0f\t%s / %s\t%s", f.perSecond, millis(f.spread.middle), millis(f.spread.most), ratioText(c.ratio(what, connections, p)))
	}
	fmt.Fprintf(w, "\t%v\n", c.figure(what, levels[len(levels)-1], p).cpu.Round(time.Microsecond))
}

// ratioText writes a ratio with two digits that count.
func ratioText(r float64) string {
	if r >= 0.1 {
		return fmt.Sprintf("%.2f", r)
	}
	return fmt.Sprintf("%.2g", r)
}

func millis(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()*1000) }

func mib(bytes int64) string { return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20)) }

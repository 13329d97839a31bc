package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/arcd-io/arcd/client"
)

// options say how long and how hard.
type options struct {
	lasts   time.Duration // the faults on each engine
	seed    uint64
	engines []string
	callers int           // for each owner
	pause   time.Duration // the longest between two acts of a caller
	faults  time.Duration // between two of one kind, on average
}

func main() {
	o := options{callers: 5, pause: 100 * time.Millisecond, faults: 4 * time.Second}
	minutes := flag.Float64("minutes", 3, "how long things fail, on each engine; a fraction is fine")
	flag.Uint64Var(&o.seed, "seed", 0, "what is done, and what fails; 0: any")
	engines := flag.String("engines", "postgres,sqlite", "the stores, one after the other")
	flag.IntVar(&o.callers, "callers", o.callers, "callers of each of the three owners")
	flag.Parse()
	o.lasts = time.Duration(*minutes * float64(time.Minute))
	o.engines = strings.Split(*engines, ",")
	o.seed = cmp.Or(o.seed, rand.Uint64N(1_000_000))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	violations, err := run(ctx, o, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
	}
	if err != nil || violations > 0 {
		stop()
		os.Exit(1)
	}
}

// run does it on each engine and gives the number of violations. Logs are kept if there is
// one.
func run(ctx context.Context, o options, out io.Writer) (violations int, err error) {
	dir, err := os.MkdirTemp("", "arcd-soak-")
	if err != nil {
		return 0, err
	}
	defer func() {
		if violations == 0 && err == nil {
			err = os.RemoveAll(dir)
		} else {
			fmt.Fprintln(out, "the logs are in", dir)
		}
	}()
	fmt.Fprintf(out, "seed %d, %v of faults on each of %s\n", o.seed, o.lasts, strings.Join(o.engines, ", "))
	binary, err := buildArcd(ctx, dir)
	if err != nil {
		return 0, err
	}
	for _, engine := range o.engines {
		s := &soak{o: o, out: out, dir: filepath.Join(dir, engine), engine: engine, book: newLedger()}
		if err := s.run(ctx, binary); err != nil {
			return violations, fmt.Errorf("%s: %w", engine, err)
		}
		violations += len(s.book.violations)
	}
	return violations, nil
}

// soak is a run on one engine.
type soak struct {
	o      options
	out    io.Writer
	dir    string
	engine string
	book   *ledger
	place  *place
	hooks  *receiver

	mu sync.Mutex // guards writing to out
}

// say prints a line with the time.
func (s *soak) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%6.1fs %s\n", time.Since(s.book.began).Seconds(), fmt.Sprintf(format, args...))
}

// run builds the place, breaks it while it is used, and checks what is left.
func (s *soak) run(ctx context.Context, binary string) (err error) {
	if s.place, err = newPlace(ctx, s.engine, s.dir, binary); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.place.remove()) }()
	s.hooks = newReceiver(rand.New(rand.NewPCG(s.o.seed, 1)))
	defer s.hooks.Close()
	s.book.began = time.Now()
	s.say("%s: %d replicas, %d callers", s.engine, len(s.place.replicas), s.o.callers*len(owners))
	if s.place.disk != nil {
		s.say("a full disk is %s", s.place.disk.kind())
	}
	agent, leave := context.WithCancel(ctx)
	defer leave()
	var serving sync.WaitGroup
	serving.Go(func() {
		if err := s.place.serve(agent, s.book); err != nil {
			s.book.wrong("the agent that dials in: %v", err)
		}
	})
	k := s.load(ctx)
	s.say("the faults are over: %d tasks, %d chats", len(s.book.jobs), len(s.book.talks))
	if ctx.Err() != nil {
		return ctx.Err()
	}
	k.settle(ctx)
	s.say("everything is answered")
	k.check(ctx, k.listed)
	leave()
	serving.Wait()
	s.close(ctx)
	s.report()
	return nil
}

// checking is a checker, and what the callers' lists showed.
type checking struct {
	checker
	listed []map[string]bool // by owner
}

// load has callers work and things break for the time of the run.
func (s *soak) load(ctx context.Context) *checking {
	k := &checking{checker: checker{book: s.book, hooks: s.hooks}}
	within, cancel := context.WithTimeout(ctx, s.o.lasts)
	defer cancel()
	var working, breaking sync.WaitGroup
	var callers []*caller
	for owner, name := range owners {
		shared := s.place.client(s.place.tokens[owner], false)
		fresh := s.place.client(s.place.tokens[owner], true)
		k.clients, k.listed = append(k.clients, shared), append(k.listed, map[string]bool{})
		for n := range s.o.callers {
			c := &caller{
				place: s.place, book: s.book, hooks: s.hooks, owner: owner, name: fmt.Sprint(name, n+1), c: []*client.Client{shared, fresh}[n%2],
				rng: rand.New(rand.NewPCG(s.o.seed, uint64(100+100*owner+n))), listed: map[string]bool{},
			}
			callers = append(callers, c)
			working.Go(func() { c.work(within, s.o.pause) })
		}
	}
	b := &breaker{place: s.place, book: s.book, say: s.say, pause: s.o.faults}
	for n, hand := range b.hands() {
		breaking.Go(func() { b.work(within, hand, rand.New(rand.NewPCG(s.o.seed, uint64(10+n)))) })
	}
	over, end := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { b.watch(over) })
	breaking.Wait()
	for _, r := range s.place.replicas {
		if err := r.ready(ctx, nil); err != nil {
			s.book.wrong("after the faults: %v", err)
		}
	}
	working.Wait()
	end()
	watching.Wait()
	for _, c := range callers {
		maps.Copy(k.listed[c.owner], c.listed)
	}
	return k
}

// close ends the replicas politely, has arcd read through its store, and looks through the
// logs.
func (s *soak) close(ctx context.Context) {
	for _, r := range s.place.replicas {
		if err := r.stop(); err != nil {
			s.book.wrong("%v", err)
		}
	}
	if _, err := s.place.run(ctx, "store", "check"); err != nil {
		s.book.wrong("%v", err)
	}
	for _, r := range s.place.replicas {
		log, err := os.ReadFile(r.log())
		if err != nil {
			s.book.wrong("%v", err)
		}
		for line := range strings.Lines(string(log)) {
			if strings.Contains(line, "panic") || strings.HasPrefix(line, "fatal error") || strings.Contains(line, `"level":"fatal"`) {
				s.book.wrong("the log of %s: %s", r.name, strings.TrimSpace(line))
			}
		}
	}
}

// report prints the counts and the violations.
func (s *soak) report() {
	came, refused := s.hooks.counts()
	s.book.counts["webhooks that came"], s.book.counts["webhooks that were refused by their receiver"] = came, refused
	table := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(table, "\n%s\tcount\n", s.engine)
	for _, what := range slices.Sorted(maps.Keys(s.book.counts)) {
		fmt.Fprintf(table, "%s\t%d\n", what, s.book.counts[what])
	}
	fmt.Fprintf(table, "longest call that was answered\t%v\n", short(s.book.slowest))
	for _, what := range slices.Sorted(maps.Keys(s.book.retries)) {
		fmt.Fprintf(table, "not answered, %s\t%d\n", what, s.book.retries[what])
	}
	fmt.Fprintf(table, "violations\t%d\n", len(s.book.violations))
	_ = table.Flush() // of a report to a terminal or a log
	for _, v := range s.book.violations {
		fmt.Fprintln(s.out, v)
	}
}

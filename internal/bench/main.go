// Command bench measures arcd against bare net/http handlers that move the same
// number of bytes, all in one run, and says which targets it meets:
//
//	L0      reads the body, answers as many bytes as arcd
//	LD      as L0, and the body is on disk (fdatasync, in groups) before the answer
//	create  task.create: token of an outside provider, scopes, durable, left queued
//	info    task.info of a completed task, with its message and artifact
//	stream  chat.start with a stream of 20 chunks, against 21 bare events
//	stores  create, info, stream and whole tasks on SQLite, and on PostgreSQL with one
//	        and with two replicas; half of the load; events across replicas
//	agents  the registry with 10,000 agents: a page of 100, one, a search with three
//	        words, and heartbeats of all of them with a token each
//	routed  tasks and chats for an agent with a server of its own, directly and through
//	        arcd, and for one that dials in; webhooks
//	startup commands of a built arcd that need no network, against an empty program
//
// Servers run in processes of their own, so that CPU per request is theirs
// alone. Rounds are interleaved, because a shared machine changes under the run;
// ratios are taken within a round and the median round counts.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"
)

func main() {
	if childMain() {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := command(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options says how much is measured.
type options struct {
	rounds      int
	duration    time.Duration // of one workload in one round
	connections int
	limit       int           // most calls of one connection in one round; 0: no limit
	tokens      int           // fresh tokens for each algorithm
	idle        int           // idle streams
	agents      int           // registered agents
	silence     time.Duration // after which they count as dead
	tasks       int           // of which each is waited for before the next, for each way to an agent
	hooks       int           // webhooks of one round
	routed      bool          // nothing but routed work
	stores      bool          // nothing but what differs by the store
	short       bool          // nothing is judged
	dir         string
	arcd        string // the program whose start-up is measured; "": none
	starts      int    // of each program
	profile     string // directory for CPU profiles; "": none
	peers       string // directory of the installed foreign servers; "": they are not compared with
}

// What is measured: the load of single calls on each store, routed work, and the rest.
func (o options) withStores() bool { return !o.routed }
func (o options) withRoutes() bool { return !o.stores }
func (o options) withRest() bool   { return !o.routed && !o.stores }

func command(ctx context.Context, args []string, out io.Writer) error {
	o := options{rounds: 7, duration: 1500 * time.Millisecond, connections: 32, tokens: 1600, idle: 5000,
		agents: 10_000, silence: time.Minute, tasks: 500, hooks: 1000, starts: 301}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.BoolVar(&o.short, "short", false, "some 160 calls each: tells whether all answers are right, not how fast they come")
	flags.IntVar(&o.rounds, "rounds", o.rounds, "number of rounds")
	flags.DurationVar(&o.duration, "time", o.duration, "time for each workload in each round")
	flags.IntVar(&o.connections, "connections", o.connections, "number of connections")
	flags.IntVar(&o.agents, "agents", o.agents, "number of registered agents, at least 100")
	flags.IntVar(&o.idle, "idle", o.idle, "number of idle streams")
	flags.StringVar(&o.dir, "dir", "", "directory of the servers' files (default: a temporary one)")
	flags.StringVar(&o.arcd, "arcd", "", "the built arcd whose start-up is measured (default: start-up is not measured)")
	flags.StringVar(&o.profile, "profile", "", "directory for one CPU profile of arcd per workload (default: none)")
	flags.BoolVar(&o.routed, "routed", false, "measure only routed work: agents that are not in arcd's process, and webhooks")
	flags.BoolVar(&o.stores, "stores", false, "measure only what differs by the store: tasks and chats on SQLite and on PostgreSQL, replicas")
	flags.StringVar(&o.peers, "peers", "", "compare the built arcd with the foreign servers in this directory (.cache), and measure nothing else")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if o.short {
		o.rounds, o.limit, o.tokens, o.idle = 1, 5, 64, 100
		o.starts, o.tasks, o.hooks = 3, 10, 64
		o.agents, o.silence = 200, 18*time.Second // heartbeats are written every three seconds
	}
	if o.dir == "" {
		dir, err := os.MkdirTemp("", "arcd-bench-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		o.dir = dir
	}
	if o.peers != "" {
		c, err := compare(ctx, o)
		if err != nil {
			return err
		}
		return c.print(out)
	}
	r, err := run(ctx, o)
	if err != nil {
		return err
	}
	return r.print(out, o)
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"strings"
	"syscall"
	"time"
)

// childKind is the environment variable that makes this program a server; its
// value says which. childDir names the server's directory.
const (
	childKind = "ARCD_BENCH_CHILD"
	childDir  = "ARCD_BENCH_DIR"
)

// servers are the kinds of servers.
var servers = map[string]func(ctx context.Context, ln net.Listener, dir string) (served, error){
	"bare": serveBare, "arcd": serveArcd, "registry": serveRegistry,
	"replica": serveReplica,
	"far":     serveFar, "dialled": serveDialled, "receiver": serveReceiver, "relay": serveRelay,
}

// usage is what a server has used up so far, and holds.
type usage struct {
	CPU      time.Duration `json:"cpu"`      // user and system time
	Resident int64         `json:"resident"` // bytes in RAM
	Done     int64         `json:"done"`     // tasks that are COMPLETED, or webhooks that were taken
	Writes   writes        `json:"writes"`   // of the store
	Error    string        `json:"error,omitempty"`
}

// child serves in a process of its own, so that its CPU time is apart from the
// client's. It says where it listens, then answers each line of stdin with one
// JSON line, and ends when stdin does:
//
//	usage          the CPU time so far; ends a CPU profile that was begun
//	count          the same, and lets a profile go on
//	trim           the same as usage, after giving unused memory back
//	profile FILE   begins a CPU profile
func child(kind, dir string, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	which, _, _ := strings.Cut(kind, "-")
	serve, ok := servers[which]
	if !ok {
		return fmt.Errorf("there is no server %q", kind)
	}
	s, err := serve(ctx, ln, dir)
	if err != nil {
		return err
	}
	fmt.Fprintln(stdout, ln.Addr())
	lines := bufio.NewScanner(stdin)
	defer pprof.StopCPUProfile()
	for lines.Scan() {
		if lines.Text() != counting {
			pprof.StopCPUProfile()
		}
		if file, ok := strings.CutPrefix(lines.Text(), profiling); ok {
			if err := profileTo(file); err != nil {
				return err
			}
		}
		u := report(s, lines.Text() == "trim")
		if err := json.NewEncoder(stdout).Encode(u); err != nil {
			return err
		}
	}
	cancel()
	return s.wait()
}

// profileTo begins a CPU profile.
func profileTo(file string) error {
	f, err := os.Create(file)
	if err != nil {
		return err
	}
	return pprof.StartCPUProfile(f)
}

// served is a server at work.
type served struct {
	wait   func() error  // until it has ended, after its context
	done   func() int64  // tasks that are COMPLETED, or webhooks that were taken; nil: neither
	writes func() writes // of the store; nil: there is none
}

func report(s served, trim bool) usage {
	if trim {
		runtime.GC()
		debug.FreeOSMemory()
	}
	var u usage
	var r syscall.Rusage
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	u.CPU = time.Duration(r.Utime.Nano() + r.Stime.Nano())
	if err == nil {
		u.Resident, err = residentBytes()
	}
	if s.done != nil {
		u.Done = s.done()
	}
	if s.writes != nil {
		u.Writes = s.writes()
	}
	if err != nil {
		u.Error = err.Error()
	}
	return u
}

func serveBare(ctx context.Context, ln net.Listener, dir string) (served, error) {
	handler, closeLog, err := bare(dir)
	if err != nil {
		return served{}, err
	}
	s := serveHandler(ctx, ln, handler)
	stopped := s.wait
	s.wait = func() error { return errors.Join(stopped(), closeLog()) }
	return s, nil
}

// childMain runs this process as a server if the environment says so.
func childMain() (ran bool) {
	kind := os.Getenv(childKind)
	if kind == "" {
		return false
	}
	if err := child(kind, os.Getenv(childDir), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", strings.TrimSpace(err.Error()))
		os.Exit(1)
	}
	return true
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// process is a server in a process of its own, seen from the client's side.
type process struct {
	address string
	cmd     *exec.Cmd
	in      io.WriteCloser
	out     *bufio.Reader
	mu      sync.Mutex // one question at a time
}

// start runs this very program again as a server of the given kind, with its
// files in a directory of its own below dir and what else it has to know in
// more, as name=value. ctx's end kills it.
func start(ctx context.Context, kind, dir string, more ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	own := filepath.Join(dir, kind)
	if err := os.MkdirAll(own, 0o700); err != nil {
		return nil, err
	}
	p := &process{cmd: exec.CommandContext(ctx, self)}
	p.cmd.Env = append(os.Environ(), append(more, childKind+"="+kind, childDir+"="+own)...)
	p.cmd.Stderr = os.Stderr
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.out = bufio.NewReader(out)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the server %s: %w", kind, err)
	}
	line, err := p.out.ReadString('\n')
	if err != nil {
		return nil, errors.Join(fmt.Errorf("the server %s does not start", kind), p.stop())
	}
	p.address = strings.TrimSpace(line)
	return p, nil
}

// The questions that a server answers; see child.
const (
	plain     = "usage"
	counting  = "count"
	trimmed   = "trim"
	profiling = "profile " // and the file
)

// ask gives what the server has used up and holds.
func (p *process) ask(question string) (usage, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := io.WriteString(p.in, question+"\n"); err != nil {
		return usage{}, err
	}
	line, err := p.out.ReadBytes('\n')
	if err != nil {
		return usage{}, err
	}
	var u usage
	if err := json.Unmarshal(line, &u); err != nil {
		return usage{}, err
	}
	if u.Error != "" {
		return usage{}, errors.New(u.Error)
	}
	return u, nil
}

// longestStill is after what time without progress await gives up.
const longestStill = 30 * time.Second

// await waits until the server has done so much. It is an error if nothing is done
// for a while.
func (p *process) await(ctx context.Context, done int64) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	still := time.NewTimer(longestStill)
	defer still.Stop()
	for last := int64(-1); ; {
		now, err := p.ask(counting)
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

// stop ends the server and waits for it.
func (p *process) stop() error {
	_ = p.in.Close()
	return p.cmd.Wait()
}

// measured is one round against one server.
type measured struct {
	requests  int
	perSecond float64
	cpu       time.Duration // of the server, for one request
	commits   float64       // of the store, for one request; 0: not counted
}

// measure runs the load and puts the server's CPU time beside it.
func (p *process) measure(ctx context.Context, l load, connections int, d time.Duration, limit int) (measured, error) {
	return p.measureFrom(ctx, plain, l, connections, d, limit)
}

// measureFrom is measure with the question to begin with.
func (p *process) measureFrom(ctx context.Context, question string, l load, connections int, d time.Duration, limit int) (measured, error) {
	before, err := p.ask(question)
	if err != nil {
		return measured{}, err
	}
	l.address = p.address
	o, err := l.run(ctx, connections, d, limit)
	if err != nil {
		return measured{}, err
	}
	after, err := p.ask(plain)
	if err != nil || o.requests == 0 {
		return measured{}, errors.Join(errors.New("nothing was measured"), err)
	}
	return measured{
		requests:  o.requests,
		perSecond: float64(o.requests) / o.elapsed.Seconds(),
		cpu:       (after.CPU - before.CPU) / time.Duration(o.requests),
		commits:   float64(after.Writes.Other-before.Writes.Other) / float64(o.requests),
	}, nil
}

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
// more, as name=value. Of one kind there may be several, as kind-1, kind-2 and so
// on. ctx's end kills it.
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

// await waits until the server has done so much. It is an error if nothing is done
// for a while.
func (p *process) await(ctx context.Context, done int64) error { return fleet{p}.await(ctx, done) }

// stop ends the server and waits for it.
func (p *process) stop() error {
	_ = p.in.Close()
	return p.cmd.Wait()
}

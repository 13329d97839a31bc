package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// program is a server that is not this program: what it uses is seen from outside.
type program struct {
	address string
	startup time.Duration // until its first right answer
	cmd     *exec.Cmd
	log     *os.File
	ended   chan error
}

// longestStartup is how long a program may take until it answers.
const longestStartup = time.Minute

// startProgram runs a program that listens at the port, with its output in
// dir/name.log, and waits until it does an operation. ctx's end kills it.
func startProgram(ctx context.Context, dir, name string, port int, args []string, first operation) (*program, error) {
	log, err := os.Create(filepath.Join(dir, name+".log"))
	if err != nil {
		return nil, err
	}
	p := &program{address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), log: log, ended: make(chan error, 1)}
	p.cmd = exec.CommandContext(ctx, args[0], args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	begin := time.Now()
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(err, log.Close())
	}
	go func() { p.ended <- p.cmd.Wait() }()
	if err := p.await(ctx, first); err != nil {
		_ = p.stop() // it ended in another way than it should in any case
		said, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%s does not start: %w\n%s", name, err, said)
	}
	p.startup = time.Since(begin)
	return p, nil
}

// await waits until the program does an operation.
func (p *program) await(ctx context.Context, first operation) error {
	ctx, cancel := context.WithTimeout(ctx, longestStartup)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		c, err := dial(ctx, p.address, 16<<10)
		if err == nil {
			err = errors.Join(first(c, 0, 0), c.Close())
		}
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case ended := <-p.ended:
			p.ended <- ended
			return fmt.Errorf("it has ended: %v", ended)
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// stop ends the program as somebody at a terminal does, and if that does not help
// within ten seconds, at once.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(os.Interrupt) // it may have ended by itself
	kill := time.AfterFunc(10*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer kill.Stop()
	<-p.ended // exit codes after a signal differ from one program to the next
	return p.log.Close()
}

// use is what the program has used up so far and holds.
func (p *program) use() (usage, error) { return usageOf(p.cmd.Process.Pid) }

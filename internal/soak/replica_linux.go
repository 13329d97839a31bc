package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// replica is one process of arcd, with its files in a folder of its own.
type replica struct {
	name   string
	dir    string
	addr   string
	binary string

	turn sync.Mutex // held by whoever does something to the process

	mu   sync.Mutex // guards what follows
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
	ends bool          // its end is wanted
	code int           // how it ended by itself; -1: it did not
}

func (r *replica) config() string { return filepath.Join(r.dir, "arcd.yaml") }
func (r *replica) clock() string  { return filepath.Join(r.dir, "clock") }
func (r *replica) log() string    { return filepath.Join(r.dir, "log") }

// start runs the process and waits until it takes calls.
func (r *replica) start(ctx context.Context) error {
	log, err := os.OpenFile(r.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	cmd := exec.Command(r.binary, "serve", "--config", r.config())
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), clockVariable+"="+r.clock())
	said, err := cmd.StdoutPipe() // not the file itself: a limit on files must not end the log
	if err != nil {
		return errors.Join(err, log.Close())
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return errors.Join(err, log.Close())
	}
	done, copied := make(chan struct{}), make(chan struct{})
	r.mu.Lock()
	r.cmd, r.done, r.ends, r.code = cmd, done, false, -1
	r.mu.Unlock()
	go func() {
		defer close(copied)
		defer log.Close()
		_, _ = io.Copy(log, said) // ends with the process
	}()
	go func() {
		<-copied
		_ = cmd.Wait() // how it ended is in its state
		r.mu.Lock()
		if !r.ends {
			r.code = cmd.ProcessState.ExitCode()
		}
		r.mu.Unlock()
		close(done)
	}()
	return r.ready(ctx, done)
}

// recovers is how long a replica may take until it takes calls.
const recovers = time.Minute

// ready waits until the process takes calls.
func (r *replica) ready(ctx context.Context, done chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, recovers)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if r.isReady(ctx) {
			return nil
		}
		select {
		case <-tick.C:
		case <-done:
			return fmt.Errorf("%s ended at its start", r.name)
		case <-ctx.Done():
			return fmt.Errorf("%s does not take calls after %v", r.name, recovers)
		}
	}
}

// isReady asks once.
func (r *replica) isReady(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.addr+"/readyz", nil)
	if err != nil {
		return false
	}
	request.Close = true
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK
}

// process gives the process and what tells of its end.
func (r *replica) process() (*os.Process, chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cmd == nil {
		return nil, nil
	}
	return r.cmd.Process, r.done
}

// kill ends the process as a crash does.
func (r *replica) kill() {
	r.want()
	if p, done := r.process(); p != nil {
		_ = p.Kill() // it may have ended
		<-done
	}
}

// want notes that the process is to end.
func (r *replica) want() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.ends = true
}

// longestDrain is how long a replica may take to leave.
const longestDrain = 40 * time.Second

// stop ends the process politely. It must end with exit code 0.
func (r *replica) stop() error {
	r.want()
	p, done := r.process()
	if p == nil {
		return nil
	}
	if err := p.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping %s: %w", r.name, err)
	}
	select {
	case <-done:
	case <-time.After(longestDrain):
		_ = p.Kill()
		<-done
		return fmt.Errorf("%s did not end within %v of SIGTERM", r.name, longestDrain)
	}
	if code := r.cmd.ProcessState.ExitCode(); code != 0 {
		return fmt.Errorf("%s ended with exit code %d after SIGTERM", r.name, code)
	}
	return nil
}

// ended tells whether the process ended by itself, and with which exit code.
func (r *replica) ended() (code int, ended bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.code, r.code >= 0
}

// runs tells whether the process is there.
func (r *replica) runs() bool {
	_, done := r.process()
	if done == nil {
		return false
	}
	select {
	case <-done:
		return false
	default:
		return true
	}
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// server is an arcd with its store in a folder.
type server struct {
	url string
	cmd *exec.Cmd
	log *os.File
}

// start starts an arcd and waits until it takes calls. Without flushes: see
// withoutFlushes.
func (o options) start(ctx context.Context, folder string, flushes bool) (_ *server, err error) {
	log, err := os.CreateTemp(o.dir, "log-")
	if err != nil {
		return nil, err
	}
	args := []string{o.arcd, "serve", "--insecure-no-auth", "--listen", "127.0.0.1:0", "--log-level", "warn",
		"--log-format", "json", "--store", "sqlite:" + filepath.Join(folder, "arcd.db"), "-o", "json"}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ARCD_") })
	env = append(env, "ARCD_AGENTS__ECHO__KIND=demo", "ARCD_LEASE=1s")
	if !flushes {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		args, env = append([]string{self}, args...), append(env, asEnv+"="+asLiar)
	}
	s := &server{cmd: exec.CommandContext(ctx, args[0], args[1:]...), log: log}
	s.cmd.Env, s.cmd.Stderr, s.cmd.Dir = env, log, o.dir
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	var ready struct{ URL string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	if err == nil && ready.URL == "" {
		err = errors.New("its first line is no ready line")
	}
	if err != nil {
		s.kill()
		said, _ := os.ReadFile(log.Name()) // what there is
		return nil, fmt.Errorf("arcd does not start: %w\n%s%s", err, line, said)
	}
	s.url = ready.URL
	return s, nil
}

// stop stops the process where it is, and waits until none of its threads runs: a
// system call that one of them is in ends first.
func (s *server) stop(ctx context.Context) error {
	if err := s.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", s.cmd.Process.Pid))
		if err != nil {
			return err
		}
		running := 0
		for _, name := range stats {
			stat, err := os.ReadFile(name)
			// The state stands behind the name, which is in brackets (proc(5)).
			if _, state, ok := strings.Cut(string(stat), ") "); err != nil || !ok || !strings.HasPrefix(state, "T") {
				running++
			}
		}
		if len(stats) > 0 && running == 0 {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return errors.New("arcd does not stop")
		}
	}
}

// kill ends the process, however it is.
func (s *server) kill() {
	_ = s.cmd.Process.Kill() // it may have ended
	_ = s.cmd.Wait()         // by a signal
	_ = s.log.Close()
}

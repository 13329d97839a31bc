//go:build unix

package cli

import (
	"context"
	"errors"
	"os/exec"
	"syscall"
)

// shellCommand makes the command that a shell runs.
func shellCommand(ctx context.Context, line string) *exec.Cmd {
	return exec.CommandContext(ctx, "sh", "-c", line)
}

// ownGroup puts a program and what it starts into a process group of its own, which
// gets SIGTERM when the context ends.
func ownGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
}

// killGroup ends what the program has left running. The group's number is not used
// for another as long as something runs in it.
func killGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // mostly there is nobody left
	}
}

// brokenPipe tells that the program did not read its input to the end.
func brokenPipe(err error) bool { return errors.Is(err, syscall.EPIPE) }

//go:build !unix

package cli

import (
	"context"
	"os/exec"
)

// shellCommand makes the command that the system's command interpreter runs.
func shellCommand(ctx context.Context, line string) *exec.Cmd {
	return exec.CommandContext(ctx, "cmd", "/C", line)
}

// ownGroup does nothing: there are no process groups, and the program alone ends.
func ownGroup(*exec.Cmd) {}

// killGroup does nothing.
func killGroup(*exec.Cmd) {}

// brokenPipe is false: an unread input shows as something else.
func brokenPipe(error) bool { return false }

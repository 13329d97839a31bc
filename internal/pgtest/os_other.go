//go:build !linux

package pgtest

import (
	"os/exec"
	"syscall"
)

const quit = syscall.SIGQUIT

func (s *Server) reach(bin string) (string, error) { return bin, nil }
func (s *Server) own(...string) error              { return nil }
func (s *Server) drop(cmd *exec.Cmd)               { cmd.Dir = s.dir }

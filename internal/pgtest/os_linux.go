package pgtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

const quit = syscall.SIGQUIT

// nobody is the user and group in whose name the server runs when the tests run as
// root: PostgreSQL refuses root.
const nobody = 65534

// reach gives a folder of programs that the server's user can get at: the one it is
// given or, if that is below a folder which is closed to others, a copy with what
// stands beside it.
func (s *Server) reach(bin string) (string, error) {
	if os.Getuid() != 0 {
		return bin, nil
	}
	for dir := bin; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return "", err
		}
		if info.Mode()&0o005 == 0o005 {
			continue
		}
		copied := filepath.Join(s.dir, "programs")
		if out, err := exec.Command("cp", "-a", filepath.Dir(bin), copied).CombinedOutput(); err != nil {
			return "", fmt.Errorf("pgtest: copying PostgreSQL: %w\n%s", err, out)
		}
		return filepath.Join(copied, filepath.Base(bin)), os.Chmod(copied, 0o755)
	}
	return bin, nil
}

// own gives folders to the user of the server.
func (s *Server) own(dirs ...string) error {
	if os.Getuid() != 0 {
		return nil
	}
	for _, dir := range dirs {
		if err := os.Chown(dir, nobody, nobody); err != nil {
			return err
		}
	}
	return nil
}

// drop has a command run as that user, and end with this process.
func (s *Server) drop(cmd *exec.Cmd) {
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
}

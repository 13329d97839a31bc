package main

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
)

// disk is where SQLite has its file, and how it is made to be full.
type disk interface {
	// kind says in words how.
	kind() string
	// fill has writes of the process fail from now on.
	fill(p *os.Process) error
	// free ends that.
	free(p *os.Process) error
	// heals tells whether arcd is to go on by itself then. After an error that is not that
	// of a full disk it acknowledges nothing more until it is started again.
	heals() bool
	// remove gives it back.
	remove() error
}

// newDisk gives a file system of its own at dir if this user may mount one, else a limit on
// how far files of the process may reach.
func newDisk(dir string) (disk, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if exec.Command("mount", "-t", "tmpfs", "-o", "size="+roomy, "soak", dir).Run() == nil {
		return &tmpfs{dir}, nil
	}
	return fileLimit{}, nil
}

// roomy is more than a run of minutes writes.
const roomy = "4g"

// tmpfs is a file system in memory. It is full when its size is made what is used: ENOSPC.
type tmpfs struct{ dir string }

func (*tmpfs) kind() string { return "a tmpfs shrunk to what is used (ENOSPC)" }

func (d *tmpfs) fill(*os.Process) (err error) {
	for range 20 { // what is written meanwhile makes the size too small
		var now syscall.Statfs_t
		if err := syscall.Statfs(d.dir, &now); err != nil {
			return err
		}
		if err = d.size(fmt.Sprint((now.Blocks - now.Bfree) * uint64(now.Bsize))); err == nil {
			return nil
		}
	}
	return err
}

func (d *tmpfs) free(*os.Process) error { return d.size(roomy) }

func (*tmpfs) heals() bool { return true }

func (d *tmpfs) size(bytes string) error {
	if out, err := exec.Command("mount", "-o", "remount,size="+bytes, d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("changing the size of %s: %w: %s", d.dir, err, out)
	}
	return nil
}

func (d *tmpfs) remove() error {
	if out, err := exec.Command("umount", "--lazy", d.dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unmounting %s: %w: %s", d.dir, err, out)
	}
	return nil
}

// fileLimit is RLIMIT_FSIZE of the process: what would make a file longer fails (EFBIG).
type fileLimit struct{}

func (fileLimit) kind() string { return "a limit on the length of files (RLIMIT_FSIZE: EFBIG)" }

func (fileLimit) fill(p *os.Process) error { return limitFiles(p, "4096") }
func (fileLimit) free(p *os.Process) error { return limitFiles(p, "unlimited") }
func (fileLimit) heals() bool              { return false }
func (fileLimit) remove() error            { return nil }

// limitFiles sets the soft limit of a process that runs; the hard one stays.
func limitFiles(p *os.Process, bytes string) error {
	if p == nil || p.Signal(syscall.Signal(0)) != nil {
		return nil // it has ended
	}
	if out, err := exec.Command("prlimit", "--pid", fmt.Sprint(p.Pid), "--fsize="+bytes+":").CombinedOutput(); err != nil {
		return fmt.Errorf("limiting the files of arcd: %w: %s", err, out)
	}
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// disk is a file system on an image file, mounted.
type disk struct {
	image  string
	folder string // where it is mounted
}

// newDisk makes an image of so many bytes with an empty ext4 on it, and mounts it.
func newDisk(ctx context.Context, dir string, bytes int64) (*disk, error) {
	image := filepath.Join(dir, "disk.img")
	f, err := os.OpenFile(image, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(f.Truncate(bytes), f.Close()); err != nil {
		return nil, err
	}
	// All of it now: what the kernel would initialise later is writes that nobody asked for.
	if err := run(ctx, "mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image); err != nil {
		return nil, err
	}
	return mounted(ctx, image)
}

// mounted mounts an image beside itself. The kernel replays its journal.
func mounted(ctx context.Context, image string) (*disk, error) {
	d := &disk{image: image, folder: strings.TrimSuffix(image, ".img")}
	if err := os.Mkdir(d.folder, 0o700); err != nil {
		return nil, err
	}
	return d, run(ctx, "mount", "-o", "loop", image, d.folder)
}

// unmount gives the loop device back too.
func (d *disk) unmount() error {
	return run(context.Background(), "umount", d.folder)
}

// copied copies the image as it is at one moment. Nobody may write to the file system
// meanwhile; what the kernel sends to the device by itself would still tear the copy,
// so one during which that happened is made again.
func (d *disk) copied(ctx context.Context, to string) error {
	for range 20 {
		before, err := d.writes()
		if err != nil {
			return err
		}
		if err := run(ctx, "cp", "--sparse=always", d.image, to); err != nil {
			return err
		}
		if after, err := d.writes(); err != nil || after == before {
			return err
		}
	}
	return errors.New("the device does not come to rest, so there is no whole copy of it")
}

// writes gives the device's counters of writes, and of what is on its way to it
// (Documentation/block/stat.rst of the kernel).
func (d *disk) writes() (string, error) {
	var at syscall.Stat_t
	if err := syscall.Stat(d.folder, &at); err != nil {
		return "", err
	}
	major, minor := at.Dev>>8&0xfff, at.Dev&0xff|at.Dev>>12&0xfff00
	line, err := os.ReadFile(fmt.Sprintf("/sys/dev/block/%d:%d/stat", major, minor))
	if err != nil {
		return "", err
	}
	fields := strings.Fields(string(line))
	if len(fields) < 9 {
		return "", fmt.Errorf("the counters of the device are %q", line)
	}
	return strings.Join([]string{fields[4], fields[6], fields[8]}, " "), nil
}

// run runs a program of the system to its end.
func run(ctx context.Context, name string, args ...string) error {
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

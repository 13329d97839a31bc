package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
)

// dataSync puts the file's content on disk.
func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// residentBytes is the memory of this process that is in RAM.
func residentBytes() (int64, error) {
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("odd /proc/self/statm: %q", text)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

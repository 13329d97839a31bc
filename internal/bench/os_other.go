//go:build !linux

package main

import (
	"os"
	"runtime"
	"time"
)

// dataSync puts the file's content on disk. Only Linux has a call that leaves
// out the file's times.
func dataSync(f *os.File) error { return f.Sync() }

// rest waits.
func rest(d time.Duration) { time.Sleep(d) }

// residentBytes is the memory that this process holds, as far as Go's runtime
// knows of it.
func residentBytes() (int64, error) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys - m.HeapReleased), nil
}

// usageOf is what a process has used up so far and holds: only on Linux is that looked
// up.
func usageOf(int) (usage, error) { return usage{}, nil }

// familyCPU is the CPU time of a database server: only on Linux is that looked up.
func familyCPU(int) (time.Duration, error) { return 0, nil }

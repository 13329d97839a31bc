package hostload

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// processors gives the time that all processors together worked, and that they
// could have worked, in ticks since the machine's start.
//
// It reads the kernel's file itself: gopsutil's package for it reads the file
// twice whenever a program starts that only links it, which shows in the start-up
// of every command. Like gopsutil it takes HOST_PROC for another place of /proc.
func processors() (busy, total float64, err error) {
	proc := os.Getenv("HOST_PROC")
	if proc == "" {
		proc = "/proc"
	}
	f, err := os.Open(filepath.Join(proc, "stat"))
	if err != nil {
		return 0, 0, err
	}
	defer f.Close()
	var start [512]byte // the sums are the first line; a line for each processor follows
	n, err := f.Read(start[:])
	if err != nil {
		return 0, 0, fmt.Errorf("reading the times of the processors: %w", err)
	}
	line, _, _ := bytes.Cut(start[:n], []byte("\n"))
	return parseTimes(line)
}

// parseTimes reads the line of the sums, see proc_stat(5): "cpu", then ticks of user,
// nice, system, idle, iowait, irq, softirq, and more that is not counted: guests
// are within user, and what other guests of the host stole is not ours.
func parseTimes(line []byte) (busy, total float64, err error) {
	fields := bytes.Fields(line)
	if len(fields) < 8 || string(fields[0]) != "cpu" {
		return 0, 0, fmt.Errorf("the times of the processors do not look like those of proc_stat(5): %q", line)
	}
	for i, field := range fields[1:8] {
		ticks, err := strconv.ParseUint(string(field), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("reading the times of the processors: %w", err)
		}
		total += float64(ticks)
		if i != 3 && i != 4 { // idle, iowait
			busy += float64(ticks)
		}
	}
	return busy, total, nil
}

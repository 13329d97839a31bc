package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// dataSync puts the file's content on disk.
func dataSync(f *os.File) error { return syscall.Fdatasync(int(f.Fd())) }

// rest waits some 50 microseconds too long; a timer of the runtime may be a whole
// millisecond late where nothing else goes on.
func rest(d time.Duration) {
	if d > 0 {
		t := syscall.NsecToTimespec(d.Nanoseconds())
		_ = syscall.Nanosleep(&t, nil) // a signal may end it: the next one is in time again
	}
}

// residentBytes is the memory of this process that is in RAM.
func residentBytes() (int64, error) { return residentOf("self") }

// residentOf is the memory in RAM of a process, which may be "self".
func residentOf(process string) (int64, error) {
	text, err := os.ReadFile("/proc/" + process + "/statm")
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(text)
	if len(fields) < 2 {
		return 0, fmt.Errorf("odd /proc/%s/statm: %q", process, text)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// tick is the unit of the times in /proc/PID/stat: Linux has it so on all machines.
const tick = 10 * time.Millisecond

// processTimes is what /proc/PID/stat tells of a process.
type processTimes struct {
	parent        int
	own, children time.Duration // CPU time; of the children only those that it has waited for
}

func timesOf(pid string) (t processTimes, err error) {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return t, err
	}
	_, rest, _ := bytes.Cut(text, []byte(") ")) // behind the name, which may hold blanks
	fields := bytes.Fields(rest)                // the first is the third of proc(5)
	if len(fields) < 15 {
		return t, fmt.Errorf("odd /proc/%s/stat: %q", pid, text)
	}
	var numbers [15]int64
	for _, i := range []int{1, 11, 12, 13, 14} { // ppid, utime, stime, cutime, cstime
		if numbers[i], err = strconv.ParseInt(string(fields[i]), 10, 64); err != nil {
			return t, err
		}
	}
	return processTimes{
		parent: int(numbers[1]),
		own:    time.Duration(numbers[11]+numbers[12]) * tick, children: time.Duration(numbers[13]+numbers[14]) * tick,
	}, nil
}

// familyCPU is the CPU time of the parent of a process and of all its children, past
// and present: of a database server, if the process is one that serves a connection.
func familyCPU(member int) (time.Duration, error) {
	m, err := timesOf(strconv.Itoa(member))
	if err != nil {
		return 0, err
	}
	parent, err := timesOf(strconv.Itoa(m.parent))
	if err != nil {
		return 0, err
	}
	sum := parent.own + parent.children
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0, err
	}
	for _, entry := range entries {
		if _, err := strconv.Atoi(entry.Name()); err != nil {
			continue
		}
		if t, err := timesOf(entry.Name()); err == nil && t.parent == m.parent { // others end at any time
			sum += t.own
		}
	}
	return sum, nil
}

// usageOf is what a process has used up so far and holds.
func usageOf(pid int) (u usage, err error) {
	t, err := timesOf(strconv.Itoa(pid))
	if err != nil {
		return u, err
	}
	u.CPU = t.own
	u.Resident, err = residentOf(strconv.Itoa(pid))
	return u, err
}

package exposition

import (
	"bytes"
	"os"
	"strconv"
	"syscall"
)

// process writes what the kernel knows of this process; what cannot be read is
// left out.
func process(p *Page) {
	var used syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &used) == nil {
		p.Counter("process_cpu_seconds_total", "Processor time of user and system.", float64(used.Utime.Nano()+used.Stime.Nano())/1e9)
	}
	if open, err := os.ReadDir("/proc/self/fd"); err == nil {
		p.Gauge("process_open_fds", "Open file descriptors.", float64(len(open)-1)) // one reads the directory
	}
	var files syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files) == nil {
		p.Gauge("process_max_fds", "File descriptors that may be open.", float64(files.Cur))
	}
	var memory syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_AS, &memory) == nil {
		p.Gauge("process_virtual_memory_max_bytes", "Virtual memory that may be had.", float64(memory.Cur))
	}
	text, err := os.ReadFile("/proc/self/statm") // proc_pid_statm(5), in pages
	fields := bytes.Fields(text)
	if err != nil || len(fields) < 2 {
		return
	}
	for i, g := range []struct{ name, help string }{
		{"process_virtual_memory_bytes", "Virtual memory."},
		{"process_resident_memory_bytes", "Memory in RAM."},
	} {
		if pages, err := strconv.ParseUint(string(fields[i]), 10, 64); err == nil {
			p.Gauge(g.name, g.help, float64(pages)*float64(os.Getpagesize()))
		}
	}
}

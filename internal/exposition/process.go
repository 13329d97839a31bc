package exposition

import (
	"runtime"
	"runtime/debug"
	"time"
)

// Process gives a source with the usual series about the Go runtime (go_*) and the
// process (process_*; most of them on Linux only). started is when the process
// began.
func Process(started time.Time) func(*Page) {
	return func(p *Page) {
		goRuntime(p)
		p.Gauge("process_start_time_seconds", "Start of the process, in seconds since 1970.", float64(started.UnixMilli())/1e3)
		process(p)
	}
}

func goRuntime(p *Page) {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	p.Gauge("go_info", "The Go release.", 1, "version", runtime.Version())
	p.Gauge("go_goroutines", "Goroutines that exist.", float64(runtime.NumGoroutine()))
	threads, _ := runtime.ThreadCreateProfile(nil)
	p.Gauge("go_threads", "Threads of the system that were made.", float64(threads))
	p.Gauge("go_sched_gomaxprocs_threads", "Threads that run Go code at the same time, at most.", float64(runtime.GOMAXPROCS(0)))
	p.Gauge("go_gc_gomemlimit_bytes", "Limit of the runtime's memory, GOMEMLIMIT.", float64(debug.SetMemoryLimit(-1))) // -1 changes nothing
	collections(p)
	for _, g := range []struct {
		name, help string
		value      uint64
	}{
		{"alloc_bytes", "Bytes of objects on the heap, dead ones included that were not swept yet.", m.HeapAlloc},
		{"sys_bytes", "Bytes taken from the system.", m.Sys},
		{"heap_alloc_bytes", "As go_memstats_alloc_bytes.", m.HeapAlloc},
		{"heap_sys_bytes", "Bytes of the heap taken from the system.", m.HeapSys},
		{"heap_idle_bytes", "Bytes of the heap without objects.", m.HeapIdle},
		{"heap_inuse_bytes", "Bytes of the heap with objects.", m.HeapInuse},
		{"heap_released_bytes", "Bytes of the heap given back to the system.", m.HeapReleased},
		{"heap_objects", "Objects on the heap.", m.HeapObjects},
		{"stack_inuse_bytes", "Bytes of stacks.", m.StackInuse},
		{"stack_sys_bytes", "Bytes of stacks taken from the system.", m.StackSys},
		{"mspan_inuse_bytes", "Bytes of the heap's span records in use.", m.MSpanInuse},
		{"mspan_sys_bytes", "Bytes of the heap's span records taken from the system.", m.MSpanSys},
		{"mcache_inuse_bytes", "Bytes of the heap's cache records in use.", m.MCacheInuse},
		{"mcache_sys_bytes", "Bytes of the heap's cache records taken from the system.", m.MCacheSys},
		{"buck_hash_sys_bytes", "Bytes of the profiler's table.", m.BuckHashSys},
		{"other_sys_bytes", "Bytes taken from the system for other needs of the runtime.", m.OtherSys},
		{"gc_sys_bytes", "Bytes that the collector needs for itself.", m.GCSys},
		{"next_gc_bytes", "Size of the heap at which the next collection begins.", m.NextGC},
	} {
		p.Gauge("go_memstats_"+g.name, g.help, float64(g.value))
	}
	p.Gauge("go_memstats_last_gc_time_seconds", "End of the last collection, in seconds since 1970.", float64(m.LastGC)/1e9)
	p.Counter("go_memstats_alloc_bytes_total", "Bytes allocated on the heap.", float64(m.TotalAlloc))
	p.Counter("go_memstats_mallocs_total", "Objects allocated on the heap.", float64(m.Mallocs))
	p.Counter("go_memstats_frees_total", "Objects freed on the heap.", float64(m.Frees))
}

// collections writes how long the garbage collector stopped everything.
func collections(p *Page) {
	const name = "go_gc_duration_seconds"
	s := debug.GCStats{PauseQuantiles: make([]time.Duration, 5)}
	debug.ReadGCStats(&s)
	p.begin(name, "summary", "Time for which the garbage collector stopped the program.")
	for i, quantile := range []string{"0", "0.25", "0.5", "0.75", "1"} {
		p.sample(name, s.PauseQuantiles[i].Seconds(), "quantile", quantile)
	}
	p.sample(name+"_sum", s.PauseTotal.Seconds())
	p.sample(name+"_count", float64(s.NumGC))
}

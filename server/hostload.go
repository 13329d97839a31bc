package server

import (
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	"github.com/shirou/gopsutil/v4/net"
)

// hostLoad tells how busy the machine is, when somebody asks; the published ARCP
// client reads it. What cannot be had on a system is 0.
type hostLoad struct {
	mu    sync.Mutex // guards what follows
	taken time.Time
	last  [4]float64 // percent, in the order of hostDescs
	bytes uint64     // sent and received by all interfaces, when taken
}

// hostEvery keeps frequent scrapes from costing much.
const hostEvery = 2 * time.Second

// fullNetwork is what counts as a network that is used up: a gigabit a second in
// bytes. No system tells the capacity of its links reliably.
const fullNetwork = 125e6

var hostDescs = [4]*prometheus.Desc{
	prometheus.NewDesc("arcp_system_cpu_utilization_percent", "Use of all processors since the last look.", nil, nil),
	prometheus.NewDesc("arcp_system_memory_utilization_percent", "Use of the memory.", nil, nil),
	prometheus.NewDesc("arcp_system_disk_utilization_percent", "Use of the disk of the working directory.", nil, nil),
	prometheus.NewDesc("arcp_system_network_utilization_percent", "Traffic since the last look, as a share of 1 Gbit/s.", nil, nil),
}

// Describe implements [prometheus.Collector].
func (h *hostLoad) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range hostDescs {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (h *hostLoad) Collect(ch chan<- prometheus.Metric) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if now := time.Now(); now.Sub(h.taken) >= hostEvery {
		h.lookLocked(now)
	}
	for i, d := range hostDescs {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, h.last[i])
	}
}

// lookLocked takes new figures. A figure that cannot be had is no failure of the
// server's, so errors leave it at 0.
func (h *hostLoad) lookLocked(now time.Time) {
	passed := now.Sub(h.taken).Seconds()
	h.last = [4]float64{}
	if busy, err := cpu.Percent(0, false); err == nil && len(busy) == 1 {
		h.last[0] = busy[0]
	}
	if m, err := mem.VirtualMemory(); err == nil {
		h.last[1] = m.UsedPercent
	}
	if d, err := disk.Usage("."); err == nil {
		h.last[2] = d.UsedPercent
	}
	if all, err := net.IOCounters(false); err == nil && len(all) == 1 {
		bytes := all[0].BytesSent + all[0].BytesRecv
		if !h.taken.IsZero() && bytes >= h.bytes {
			h.last[3] = math.Min(100, float64(bytes-h.bytes)/passed/fullNetwork*100)
		}
		h.bytes = bytes
	}
	h.taken = now
}

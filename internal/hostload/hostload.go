// Package hostload tells how busy the machine is.
package hostload

import (
	"math"
	"net"
	"sync"
	"time"

	"github.com/shirou/gopsutil/v4/disk"
	"github.com/shirou/gopsutil/v4/mem"
	gopsnet "github.com/shirou/gopsutil/v4/net"
)

// Load is how busy the machine is, each in percent from 0 to 100; NaN: it is not
// known.
type Load struct {
	CPU     float64 // share of the time of all processors that was used
	Memory  float64 // share of the main memory that is not available
	Disk    float64 // share of the file system that is used
	Network float64 // share of the capacity that the busier direction used
}

// Config says what a [Meter] measures.
type Config struct {
	// Directory names the file system. Default ".", the working directory's.
	Directory string
	// Capacity is what the network interfaces together carry in one direction, in
	// bits a second. Default 1e9. What an interface says of itself is no measure:
	// virtual ones say nothing, or 10 Gbit/s.
	Capacity float64
	// MaxAge is how long a measurement is good. CPU and Network are means over the
	// time since the one before. Default 5 s.
	MaxAge time.Duration

	// Read reads the machine's counters. Default: those of the operating system.
	Read func() Counters
	// Now is the clock. Default time.Now.
	Now func() time.Time
}

// Counters are the figures that a [Load] is made of. What cannot be read is NaN.
type Counters struct {
	Busy, Total    float64 // processor time since the start, both in the same unit
	Memory, Disk   float64 // percent used
	Sent, Received float64 // bytes since the start, loopback aside
}

// Meter measures how busy the machine is. Its methods are safe for concurrent
// use.
type Meter struct {
	cfg Config

	mu   sync.Mutex // guards what follows
	at   time.Time  // of counters
	last Counters
	load Load
}

// New makes a Meter and takes the first counters, so that the first [Meter.Load]
// is about the time from now on.
func New(cfg Config) *Meter {
	if cfg.Directory == "" {
		cfg.Directory = "."
	}
	if cfg.Capacity == 0 {
		cfg.Capacity = 1e9
	}
	if cfg.MaxAge == 0 {
		cfg.MaxAge = 5 * time.Second
	}
	if cfg.Read == nil {
		cfg.Read = func() Counters { return read(cfg.Directory) }
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	m := &Meter{cfg: cfg, at: cfg.Now(), last: cfg.Read()}
	m.load = Load{0, m.last.Memory, m.last.Disk, 0}
	return m
}

// Load gives how busy the machine is, measured at most MaxAge ago.
func (m *Meter) Load() Load {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.cfg.Now()
	passed := now.Sub(m.at)
	if passed < m.cfg.MaxAge {
		return m.load
	}
	next := m.cfg.Read()
	bytes := max(next.Sent-m.last.Sent, next.Received-m.last.Received)
	m.load = Load{
		CPU:     percent(next.Busy-m.last.Busy, next.Total-m.last.Total),
		Memory:  next.Memory,
		Disk:    next.Disk,
		Network: percent(bytes*8, passed.Seconds()*m.cfg.Capacity),
	}
	m.at, m.last = now, next
	return m.load
}

// percent is a share, kept to 0 to 100: counters of different moments, or that
// began anew, may give more or less.
func percent(part, whole float64) float64 {
	if whole <= 0 {
		return 0
	}
	return min(max(part/whole*100, 0), 100) // NaN stays NaN
}

// read asks the operating system.
func read(directory string) Counters {
	unknown := math.NaN()
	c := Counters{unknown, unknown, unknown, unknown, unknown, unknown}
	if busy, total, err := processors(); err == nil {
		c.Busy, c.Total = busy, total
	}
	if m, err := mem.VirtualMemory(); err == nil {
		c.Memory = m.UsedPercent
	}
	if d, err := disk.Usage(directory); err == nil {
		c.Disk = d.UsedPercent
	}
	if all, err := gopsnet.IOCounters(true); err == nil {
		c.Sent, c.Received = 0, 0
		for _, one := range all {
			if !loopback(one.Name) {
				c.Sent += float64(one.BytesSent)
				c.Received += float64(one.BytesRecv)
			}
		}
	}
	return c
}

// loopback tells whether an interface leads back to the machine itself.
func loopback(name string) bool {
	i, err := net.InterfaceByName(name)
	return err == nil && i.Flags&net.FlagLoopback != 0
}

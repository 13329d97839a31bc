package hostload_test

import (
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/arcd-io/arcd/internal/hostload"
)

// machine is a clock and counters that a test turns.
type machine struct {
	now      time.Time
	counters hostload.Counters
	reads    int
}

func (m *machine) meter() *hostload.Meter {
	return hostload.New(hostload.Config{
		Capacity: 1e6, MaxAge: 10 * time.Second,
		Read: func() hostload.Counters { m.reads++; return m.counters },
		Now:  func() time.Time { return m.now },
	})
}

func TestLoad(t *testing.T) {
	before := hostload.Counters{Busy: 100, Total: 1000, Memory: 40, Disk: 70, Sent: 5000, Received: 9000}
	unknown := math.NaN()
	for label, c := range map[string]struct {
		after hostload.Counters
		want  hostload.Load
	}{
		"some work":         {hostload.Counters{Busy: 105, Total: 1020, Memory: 50, Disk: 71, Sent: 255_000, Received: 10_000}, hostload.Load{CPU: 25, Memory: 50, Disk: 71, Network: 10}},
		"more is received":  {hostload.Counters{Busy: 100, Total: 1020, Memory: 50, Disk: 71, Sent: 5001, Received: 509_000}, hostload.Load{CPU: 0, Memory: 50, Disk: 71, Network: 20}},
		"beyond capacity":   {hostload.Counters{Busy: 1e6, Total: 1020, Sent: 1e12}, hostload.Load{CPU: 100, Network: 100}},
		"counters restart":  {hostload.Counters{Memory: 1}, hostload.Load{Memory: 1}},
		"nothing is known":  {hostload.Counters{Busy: unknown, Total: unknown, Memory: unknown, Disk: unknown, Sent: unknown, Received: unknown}, hostload.Load{CPU: unknown, Memory: unknown, Disk: unknown, Network: unknown}},
		"no time was given": {hostload.Counters{Busy: 101, Total: 1000, Memory: 40, Disk: 70, Sent: 5000, Received: 9000}, hostload.Load{Memory: 40, Disk: 70}},
	} {
		m := &machine{now: time.Unix(1000, 0), counters: before}
		meter := m.meter()
		if got, want := meter.Load(), (hostload.Load{Memory: 40, Disk: 70}); got != want {
			t.Errorf("%s: at the start %+v, want %+v", label, got, want)
		}
		m.now, m.counters = m.now.Add(20*time.Second), c.after
		got := meter.Load()
		if d := cmp.Diff(c.want, got, cmpopts.EquateNaNs(), cmpopts.EquateApprox(0, 1e-9)); d != "" {
			t.Errorf("%s (-want +got):\n%s", label, d)
		}
	}
}

func TestLoadIsKeptForAWhile(t *testing.T) {
	m := &machine{now: time.Unix(1000, 0)}
	meter := m.meter()
	for range 9 {
		m.now = m.now.Add(time.Second)
		meter.Load()
	}
	if m.reads != 1 {
		t.Errorf("the counters were read %d times within MaxAge, want once", m.reads)
	}
	m.now = m.now.Add(time.Second)
	if meter.Load(); m.reads != 2 {
		t.Errorf("the counters were read %d times after MaxAge, want twice", m.reads)
	}
}

// TestThisMachine reads the real counters.
func TestThisMachine(t *testing.T) {
	now := time.Now()
	meter := hostload.New(hostload.Config{Now: func() time.Time { return now }})
	now = now.Add(time.Minute)
	got := meter.Load()
	for name, value := range map[string]float64{"cpu": got.CPU, "memory": got.Memory, "disk": got.Disk, "network": got.Network} {
		if !(value >= 0 && value <= 100) {
			t.Errorf("%s is %v, want 0 to 100", name, value)
		}
	}
	if got.Memory == 0 || got.Disk == 0 {
		t.Errorf("memory %v, disk %v: some of both is always used", got.Memory, got.Disk)
	}
}

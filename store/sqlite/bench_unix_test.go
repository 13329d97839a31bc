//go:build unix

package sqlite_test

import (
	"fmt"
	"runtime"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// Measured on two cores that others used too (Linux, ext4, a flush of 0.15 to
// 0.25 ms alone). Processor time is the steadier figure: rates fell to a quarter
// while the other work took the cores and the disk.
//
//	create                     30..36 µs, up to 26,000/s
//	create, claim, end         85..99 µs, up to 9,500/s
//	thread and items, memory   0.1 µs
//	thread and items, file     15 µs
//	32 ready threads           45 µs of one owner, 65 µs of 8, 115 µs of 32
//	create, subscribe, wake,
//	claim, settle              160 µs
//
// What was tried for create: pages of 2, 8 and 16 KiB and copying the log back
// at 1,000 or 16,000 pages (no difference beyond noise), no yield in
// writer.collect (5 to 9 µs more). The owner in thread_ready costs a create 3 µs:
// longer entries, and a page to append to for each owner.

// cpu gives the processor time that the process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measure runs f from 32 goroutines and reports rates.
func measure(b *testing.B, f func(n int64)) {
	var n atomic.Int64
	b.SetParallelism(max(1, callers/runtime.GOMAXPROCS(0)))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			f(n.Add(1))
		}
	})
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e3, "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkCreate(b *testing.B) {
	s := openIn(b, b.TempDir(), 0)
	defer closeIt(b, s)
	measure(b, func(n int64) {
		if _, err := s.Commit(b.Context(), creation(n, time.Now())); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkLife is a task from creation over the claim to the end.
func BenchmarkLife(b *testing.B) {
	s := openIn(b, b.TempDir(), 0)
	defer closeIt(b, s)
	measure(b, func(n int64) {
		c := creation(n, time.Now())
		t, err := s.Commit(b.Context(), c)
		if err != nil {
			b.Error(err)
			return
		}
		t.Status, t.Ready, t.Due = "WORKING", false, time.Now().Add(time.Minute)
		if t, err = s.Commit(b.Context(), store.Change{Thread: t, Events: c.Events[:1]}); err != nil {
			b.Error(err)
			return
		}
		t.Status, t.Ended, t.Due = "COMPLETED", time.Now(), time.Time{}
		if _, err = s.Commit(b.Context(), store.Change{Thread: t, Events: c.Events, Items: c.Items}); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkRead reads a thread with its items as task.info does, from memory
// and from the file.
func BenchmarkRead(b *testing.B) {
	for name, cacheBytes := range map[string]int{"memory": 0, "file": 1} {
		b.Run(name, func(b *testing.B) {
			s := openIn(b, b.TempDir(), cacheBytes)
			defer closeIt(b, s)
			made := make([]store.Thread, 1000)
			for i := range made {
				made[i] = mustCommit(b, s, creation(int64(i), epoch))
			}
			measure(b, func(n int64) {
				id := made[n%int64(len(made))].ID
				t, err := s.Thread(b.Context(), id)
				if err != nil {
					b.Error(err)
				}
				if items, err := s.Items(b.Context(), t); err != nil || len(items) != 1 {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkReady reads what a dispatcher reads, 32 rows at a time, and from half
// of 64 owners the best of each.
func BenchmarkReady(b *testing.B) {
	for name, q := range map[string]store.ReadyQuery{
		"eight owners":   {Agent: "echo", Owners: 8, Each: callers / 8},
		"many owners":    {Agent: "many", Owners: callers, Each: 1},
		"a single owner": {Agent: "one", Owners: callers, Each: callers},
	} {
		b.Run(name, func(b *testing.B) {
			s := openIn(b, b.TempDir(), 0)
			defer closeIt(b, s)
			for i := range 1000 {
				c := creation(int64(i), epoch.Add(time.Duration(i)*time.Millisecond))
				if c.Thread.Agent = q.Agent; q.Agent == "many" {
					c.Thread.Owner = fmt.Sprint("owner-", i%64)
				} else if q.Agent == "one" {
					c.Thread.Owner = "owner"
				}
				mustCommit(b, s, c)
			}
			measure(b, func(int64) {
				if ts, err := s.Ready(b.Context(), q); err != nil || len(ts) != callers {
					b.Error(err)
				}
			})
		})
	}
}

// BenchmarkDeliver is what a webhook costs the store: the event that wakes its
// subscription, the claim, and the settlement with one attempt. 32 at a time are
// claimed.
func BenchmarkDeliver(b *testing.B) {
	s := openIn(b, b.TempDir(), 0)
	defer closeIt(b, s)
	c := creation(0, epoch)
	measure(b, func(n int64) {
		x := c
		x.Thread.ID = fmt.Sprintf("task-%020d", n)
		sub := store.Subscription{ID: fmt.Sprintf("sub-%020d", n), Thread: x.Thread.ID, Owner: c.Thread.Owner, Cursor: 2, Body: c.Thread.Body}
		t, err := s.Commit(b.Context(), x)
		if err == nil {
			err = s.Subscribe(b.Context(), sub, epoch)
		}
		if err == nil {
			_, err = s.Commit(b.Context(), store.Change{Thread: t, Events: c.Events, Wake: true})
		}
		if err != nil {
			b.Error(err)
		}
		if n%callers == 0 {
			deliverDue(b, s, fmt.Sprint("lease-", n))
		}
	})
	b.StopTimer()
	deliverDue(b, s, "last")
}

// deliverDue claims and settles once.
func deliverDue(b *testing.B, s store.Store, lease string) {
	now := time.Now()
	due, err := s.ClaimSubscriptions(b.Context(), now, now.Add(time.Minute), lease, callers)
	if err != nil {
		b.Error(err)
	}
	for _, sub := range due {
		sub.Cursor, sub.Due = sub.Cursor+2, time.Time{}
		made := []store.Delivery{{ID: "attempt-" + sub.ID, Seq: sub.Cursor, At: now, State: store.Delivered, Body: sub.Body}}
		if err := s.SettleSubscription(b.Context(), sub, now, made); err != nil {
			b.Error(err)
		}
	}
}

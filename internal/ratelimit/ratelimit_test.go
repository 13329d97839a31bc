package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arcd-io/arcd/internal/ratelimit"
	"github.com/arcd-io/arcd/store"
)

// shared is a [store.Quota] in memory that answers after a while.
type shared struct {
	mu      sync.Mutex // guards what follows
	buckets map[string]bucket
	delay   time.Duration
	err     error
	looks   int
}

type bucket struct {
	tokens float64
	at     time.Time
}

// set changes how it answers.
func (s *shared) set(delay time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.delay, s.err = delay, err
}

func (s *shared) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.looks
}

func (s *shared) Take(ctx context.Context, asks []store.Ask, now time.Time) ([]int64, error) {
	s.mu.Lock()
	delay, err := s.delay, s.err
	s.looks++
	s.mu.Unlock()
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	took := make([]int64, len(asks))
	for i, a := range asks {
		b, ok := s.buckets[a.Key]
		if !ok {
			b = bucket{float64(a.Burst), now}
		}
		if gone := now.Sub(b.at); gone > 0 {
			b.tokens, b.at = min(float64(a.Burst), b.tokens+gone.Seconds()*a.Rate), now
		}
		took[i] = min(a.Want, int64(math.Floor(b.tokens+1e-9)))
		b.tokens -= float64(took[i])
		s.buckets[a.Key] = b
	}
	return took, nil
}

func newShared() *shared {
	return &shared{buckets: map[string]bucket{}, delay: time.Millisecond}
}

// limiter makes one that ends with the test.
func limiter(t *testing.T, cfg ratelimit.Config) *ratelimit.Limiter {
	t.Helper()
	l := ratelimit.New(cfg)
	t.Cleanup(l.Close)
	return l
}

// passed makes calls one after the other and counts those that may be made.
func passed(t *testing.T, l *ratelimit.Limiter, name string, calls int) (n int) {
	t.Helper()
	for range calls {
		wait, ok := l.Take(t.Context(), name)
		if ok {
			n++
		} else if wait <= 0 {
			t.Fatalf("refused without a time to wait: %v", wait)
		}
	}
	return n
}

func TestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{Rate: 0.5, Burst: 3})
		if n := passed(t, l, "a", 10); n != 3 {
			t.Errorf("%d calls at once, want 3", n)
		}
		if n := passed(t, l, "b", 10); n != 3 {
			t.Errorf("%d calls of another caller, want 3", n)
		}
		if wait, ok := l.Take(t.Context(), "a"); ok || wait != 2*time.Second {
			t.Errorf("the next: %v after %v, want after 2 s", ok, wait)
		}
		time.Sleep(2 * time.Second)
		if n := passed(t, l, "a", 10); n != 1 {
			t.Errorf("%d calls after 2 s, want 1", n)
		}
		time.Sleep(time.Hour)
		if n := passed(t, l, "a", 10); n != 3 {
			t.Errorf("%d calls after an hour, want 3", n)
		}
	})
}

func TestBurstOfNone(t *testing.T) {
	for rate, want := range map[float64]int{0.1: 1, 1: 1, 2.5: 3, 100: 100} {
		l := limiter(t, ratelimit.Config{Rate: rate})
		if n := passed(t, l, "a", 200); n < want || n > want+1 {
			t.Errorf("%d calls at once with a rate of %v, want %d", n, rate, want)
		}
	}
}

func TestForgetsCallersThatRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for label, quota := range map[string]store.Quota{"alone": nil, "shared": newShared()} {
			l := limiter(t, ratelimit.Config{Rate: 10, Quota: quota})
			for i := range 5000 {
				l.Take(t.Context(), fmt.Sprintf("caller %d", i))
				if i%100 == 0 {
					time.Sleep(2 * time.Second)
				}
			}
			if n := l.Known(); n > 1200 {
				t.Errorf("%s: %d callers are remembered, most of which rest", label, n)
			}
		}
	})
}

func TestRemembersNoMoreThanTheMost(t *testing.T) {
	l := limiter(t, ratelimit.Config{Rate: 1e-6})
	for i := range 150_000 {
		l.Take(t.Context(), fmt.Sprint(i))
	}
	if n := l.Known(); n > 100_000 {
		t.Errorf("%d callers are remembered", n)
	}
}

// TestSharedByThree floods three replicas: together they let through what the limit
// says, and each asks the store about ten times a second.
func TestSharedByThree(t *testing.T) {
	for _, c := range []struct {
		rate  float64
		burst int
		calls int // a second, of each replica
	}{
		{rate: 100, burst: 100, calls: 400},
		{rate: 100, burst: 1000, calls: 300},
		{rate: 3, burst: 5, calls: 100},
		{rate: 5000, burst: 5000, calls: 4000},
		{rate: 5000, burst: 5000, calls: 1000}, // below the limit
		{rate: 1000, burst: 10, calls: 900},
	} {
		t.Run(fmt.Sprintf("%v, %d at once, %d calls", c.rate, c.burst, c.calls), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const replicas, seconds = 3, 10
				quota := newShared()
				var pass, waited [replicas]int
				var work sync.WaitGroup
				for i := range replicas {
					l := limiter(t, ratelimit.Config{Rate: c.rate, Burst: c.burst, Quota: quota})
					var mu sync.Mutex
					work.Go(func() {
						var calls sync.WaitGroup
						for range seconds * c.calls {
							time.Sleep(time.Second / time.Duration(c.calls))
							calls.Go(func() {
								began := time.Now()
								_, ok := l.Take(t.Context(), "a")
								mu.Lock()
								defer mu.Unlock()
								if ok {
									pass[i]++
								}
								if time.Since(began) > 0 {
									waited[i]++
								}
							})
						}
						calls.Wait()
					})
				}
				work.Wait()
				total, late := pass[0]+pass[1]+pass[2], waited[0]+waited[1]+waited[2]
				most := min(max(float64(c.burst), c.rate/10)+c.rate*seconds, float64(replicas*seconds*c.calls))
				if float64(total) > most+1 {
					t.Errorf("%d calls passed, the limit is %v", total, most)
				}
				if float64(total) < most*0.85 {
					t.Errorf("%d calls passed, want about %v", total, most)
				}
				looks := quota.count()
				if looks > replicas*seconds*14 {
					t.Errorf("%d looks at the store in %d s by %d replicas", looks, seconds, replicas)
				}
				t.Logf("%v by %v: %d of %v passed, %d looks at the store, %d of %d waited",
					c.rate, c.burst, total, most, looks, late, replicas*seconds*c.calls)
			})
		})
	}
}

func TestBurstThatComesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := limiter(t, ratelimit.Config{Rate: 10, Burst: 50, Quota: newShared()})
		var mu sync.Mutex
		var calls sync.WaitGroup
		n := 0
		for range 60 {
			calls.Go(func() {
				if _, ok := l.Take(t.Context(), "a"); ok {
					mu.Lock()
					defer mu.Unlock()
					n++
				}
			})
		}
		calls.Wait()
		if n != 50 {
			t.Errorf("%d of 60 calls passed, want 50", n)
		}
	})
}

// TestSeldomCalls makes calls just as often as the limit allows: nothing may be lost
// of what is taken ahead.
func TestSeldomCalls(t *testing.T) {
	for _, every := range []time.Duration{200 * time.Millisecond, time.Second, 10 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			l := limiter(t, ratelimit.Config{Rate: 1 / every.Seconds(), Burst: 2, Quota: newShared()})
			for i := range 100 {
				if _, ok := l.Take(t.Context(), "a"); !ok {
					t.Errorf("call %d, each %v: refused", i, every)
				}
				time.Sleep(every)
			}
		})
	}
}

// TestStoreAway takes the store away in several ways: no call waits longer than
// 50 ms, and the replica goes on with the full rate.
func TestStoreAway(t *testing.T) {
	for label, away := range map[string]func(*shared){
		"fails":           func(s *shared) { s.set(0, errors.New("no")) },
		"fails late":      func(s *shared) { s.set(time.Second, errors.New("no")) },
		"is slow":         func(s *shared) { s.set(300*time.Millisecond, nil) },
		"does not answer": func(s *shared) { s.set(time.Hour, nil) },
	} {
		t.Run(label, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				quota := newShared()
				l := limiter(t, ratelimit.Config{Rate: 10, Burst: 10, Quota: quota})
				passed(t, l, "a", 20)
				time.Sleep(time.Minute)
				away(quota)
				before := quota.count()
				n := 0
				for range 1000 { // in 10 s
					began := time.Now()
					if _, ok := l.Take(t.Context(), "a"); ok {
						n++
					}
					if took := time.Since(began); took > 51*time.Millisecond {
						t.Fatalf("a call waited for %v", took)
					}
					time.Sleep(10 * time.Millisecond)
				}
				if n < 90 || n > 135 { // 10 at once and 10 a second, and what was taken before
					t.Errorf("%d calls passed in 10 s, want about 110", n)
				}
				if looks := quota.count() - before; label != "is slow" && looks > 12 {
					t.Errorf("%d looks at a store that does not answer in 10 s", looks)
				}
				quota.set(time.Millisecond, nil)
				time.Sleep(time.Minute)
				passed(t, l, "a", 1) // finds out
				time.Sleep(2 * time.Second)
				before = quota.count()
				passed(t, l, "a", 1)
				if quota.count() == before {
					t.Error("the store is back, and nobody asks it")
				}
			})
		})
	}
}

func TestCallerWhoLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota := newShared()
		quota.set(time.Hour, nil)
		l := limiter(t, ratelimit.Config{Rate: 10, Quota: quota})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		began := time.Now()
		l.Take(ctx, "a")
		if took := time.Since(began); took > time.Millisecond {
			t.Errorf("it came back after %v", took)
		}
	})
}

func TestCloseWhileAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		quota := newShared()
		quota.set(time.Hour, nil)
		l := ratelimit.New(ratelimit.Config{Rate: 10, Quota: quota})
		go l.Take(t.Context(), "a")
		synctest.Wait()
		l.Close()
		if n := passed(t, l, "a", 20); n < 9 || n > 10 {
			t.Errorf("%d calls after Close, want the bucket in memory", n)
		}
	})
}

package storetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
)

// OpenQuota opens the buckets that live in dir. What it opens with the same dir shares
// them, as replicas do. An open that fails ends the test.
type OpenQuota func(t testing.TB, dir string) Quota

// Quota is a [store.Quota] that can be closed.
type Quota interface {
	store.Quota
	Close() error
}

// RunQuota runs the suite of [store.Quota].
func RunQuota(t *testing.T, open OpenQuota) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, q []Quota)
	}{
		{"take", testTake},
		{"gain", testGain},
		{"another rate", testOtherRate},
		{"a clock that goes back", testClockBack},
		{"many keys at once", testManyKeys},
		{"one key twice", testKeyTwice},
		{"no asks", testNoAsks},
		{"no more than there is, for 16", testTakeRace},
		{"keys in any order", testTakeOrder},
		{"full buckets are removed", testFullBuckets},
		{"model", testQuotaModel},
		{"canceled", testTakeCanceled},
	} {
		t.Run(part.name, func(t *testing.T) {
			dir := t.TempDir()
			q := []Quota{open(t, dir), open(t, dir)}
			t.Cleanup(func() {
				for _, one := range q {
					if err := one.Close(); err != nil {
						t.Errorf("Close: %v", err)
					}
				}
			})
			part.test(t, q)
		})
	}
	t.Run("close", func(t *testing.T) {
		q := open(t, t.TempDir())
		check(t, q.Close())
		if _, err := q.Take(t.Context(), []store.Ask{{Key: "a", Rate: 1, Burst: 1, Want: 1}}, start); !errors.Is(err, store.ErrClosed) {
			t.Errorf("Take after Close: %v, want ErrClosed", err)
		}
	})
}

// takes asks for tokens at some milliseconds after start and compares what it gets.
func takes(t testing.TB, q store.Quota, ms int, want []int64, asks ...store.Ask) {
	t.Helper()
	got, err := q.Take(t.Context(), asks, at(ms))
	if err != nil {
		t.Fatalf("Take at %d: %v", ms, err)
	}
	same(t, fmt.Sprintf("Take at %d", ms), got, want)
}

// ten is an ask of a bucket of 10 that gains 2 a second.
func ten(want int64) store.Ask { return store.Ask{Key: "k", Rate: 2, Burst: 10, Want: want} }

func testTake(t *testing.T, q []Quota) {
	takes(t, q[0], 0, []int64{4}, ten(4))
	takes(t, q[1], 0, []int64{5}, ten(5))
	takes(t, q[0], 0, []int64{1}, ten(5))
	takes(t, q[1], 0, []int64{0}, ten(5))
	takes(t, q[0], 0, []int64{10}, store.Ask{Key: "K", Rate: 2, Burst: 10, Want: 11})
	takes(t, q[0], 0, []int64{10}, store.Ask{Key: "", Rate: 2, Burst: 10, Want: math.MaxInt64})
	takes(t, q[0], 0, []int64{10}, store.Ask{Key: "a\x00b\x01", Rate: 2, Burst: 10, Want: 11})
}

func testGain(t *testing.T, q []Quota) {
	takes(t, q[0], 0, []int64{10}, ten(10))
	takes(t, q[1], 499, []int64{0}, ten(1))
	takes(t, q[0], 500, []int64{1}, ten(5))
	takes(t, q[1], 999, []int64{0}, ten(5)) // what was looked at too early is not lost
	takes(t, q[1], 1000, []int64{1}, ten(5))
	takes(t, q[0], 3_000_000, []int64{10}, ten(100)) // full, not more
	takes(t, q[0], 3_000_250, []int64{0}, ten(100))
	takes(t, q[0], 3_000_500, []int64{1}, ten(100))

	slow := store.Ask{Key: "slow", Rate: 0.1, Burst: 1, Want: 1}
	const later = 4_000_000
	takes(t, q[0], later, []int64{1}, slow)
	for ms := 1000; ms < 10_000; ms += 1000 {
		takes(t, q[ms/1000%2], later+ms, []int64{0}, slow)
	}
	takes(t, q[1], later+10_001, []int64{1}, slow)
}

// testOtherRate takes from one bucket as replicas do that are configured differently,
// during a change of the setting.
func testOtherRate(t *testing.T, q []Quota) {
	takes(t, q[0], 0, []int64{4}, ten(4))
	takes(t, q[1], 0, []int64{3}, store.Ask{Key: "k", Rate: 2, Burst: 3, Want: 100})
	takes(t, q[0], 0, []int64{0}, ten(1))
	takes(t, q[0], 1000, []int64{2}, ten(10))
	takes(t, q[1], 2000, []int64{50}, store.Ask{Key: "k", Rate: 100, Burst: 50, Want: 100})
}

func testClockBack(t *testing.T, q []Quota) {
	takes(t, q[0], 1000, []int64{10}, ten(10))
	takes(t, q[1], 0, []int64{0}, ten(1))
	takes(t, q[1], 900, []int64{0}, ten(1))
	takes(t, q[0], 1500, []int64{1}, ten(2))
}

func testManyKeys(t *testing.T, q []Quota) {
	var asks []store.Ask
	var want []int64
	for i := range 500 {
		asks = append(asks, store.Ask{Key: fmt.Sprintf("%d", i*7919%500), Rate: 1, Burst: int64(i%9 + 1), Want: 5})
		want = append(want, min(5, int64(i%9+1)))
	}
	takes(t, q[0], 0, want, asks...)
	for i := range want {
		want[i] = min(5, int64(i%9+1)-want[i])
	}
	takes(t, q[1], 0, want, asks...)
}

func testKeyTwice(t *testing.T, q []Quota) {
	takes(t, q[0], 0, []int64{4, 3, 3, 0}, ten(4), ten(3), ten(math.MaxInt64), ten(math.MaxInt64))
}

func testNoAsks(t *testing.T, q []Quota) { takes(t, q[0], 0, nil) }

func testTakeRace(t *testing.T, q []Quota) {
	var mu sync.Mutex
	var work sync.WaitGroup
	total := int64(0)
	for i := range 16 {
		work.Go(func() {
			for range 10 {
				got, err := q[i%2].Take(t.Context(), []store.Ask{{Key: "k", Rate: 0.001, Burst: 100, Want: 3}}, start)
				if err != nil {
					t.Errorf("Take: %v", err)
					return
				}
				mu.Lock()
				total += got[0]
				mu.Unlock()
			}
		})
	}
	work.Wait()
	if total != 100 {
		t.Errorf("%d tokens of 100 were taken", total)
	}
}

// testTakeOrder has 8 take from the same buckets, each in an order of its own: none may
// wait for another in a circle.
func testTakeOrder(t *testing.T, q []Quota) {
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(i)))
			for range 20 {
				var asks []store.Ask
				for _, k := range random.Perm(30) {
					asks = append(asks, store.Ask{Key: fmt.Sprint(k), Rate: 1, Burst: 1e6, Want: 1})
				}
				began := time.Now()
				if _, err := q[i%2].Take(t.Context(), asks, start); err != nil {
					t.Errorf("Take: %v", err)
				}
				if took := time.Since(began); took > 5*time.Second {
					t.Errorf("Take: %v", took)
				}
			}
		})
	}
	work.Wait()
	for k := range 30 {
		takes(t, q[0], 0, []int64{1e6 - 160}, store.Ask{Key: fmt.Sprint(k), Rate: 1, Burst: 1e6, Want: 1e6})
	}
}

// testFullBuckets passes an hour, in which an engine may forget what is full: what is
// not stays as it is.
func testFullBuckets(t *testing.T, q []Quota) {
	slow := store.Ask{Key: "slow", Rate: 0.0001, Burst: 10, Want: 8}
	takes(t, q[0], 0, []int64{8, 8}, slow, ten(8))
	for minute := range 60 {
		takes(t, q[0], minute*60_000, []int64{1}, store.Ask{Key: "other", Rate: 1, Burst: 1, Want: 1})
	}
	takes(t, q[1], 3_600_000, []int64{2, 10}, slow, ten(10))
}

// testQuotaModel takes at random and compares with a bucket in memory.
func testQuotaModel(t *testing.T, q []Quota) {
	type bucket struct{ tokens, at float64 }
	random := rand.New(rand.NewPCG(1, 2))
	model := map[string]*bucket{}
	ms := 0
	for range 300 {
		ms += random.IntN(2000)
		key := random.IntN(3)
		a := store.Ask{Key: fmt.Sprint(key), Rate: []float64{0.25, 2, 512}[key], Burst: []int64{4, 1, 1000}[key], Want: 1 + random.Int64N(8)}
		b := model[a.Key]
		if b == nil {
			b = &bucket{tokens: float64(a.Burst)}
			model[a.Key] = b
		}
		b.tokens = min(float64(a.Burst), b.tokens+(float64(ms)-b.at)/1000*a.Rate)
		b.at = float64(ms)
		want := min(a.Want, int64(math.Floor(b.tokens)))
		b.tokens -= float64(want)
		takes(t, q[random.IntN(2)], ms, []int64{want}, a)
	}
}

func testTakeCanceled(t *testing.T, q []Quota) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := q[0].Take(ctx, []store.Ask{ten(1)}, start); err == nil {
		t.Error("Take with a context that has ended gave no error")
	}
}

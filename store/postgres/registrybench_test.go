package postgres_test

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

const manyAgents = 10_000

// registration is an agent of the size that a registration makes.
func registration(n int) store.Agent {
	skills := []string{"translate", "summarize", "invoice", "calendar", "weather", "search", "plan", "review"}
	return store.Agent{
		ID: fmt.Sprintf("agent-%05d", n), Type: []string{"worker", "planner"}[n%2],
		Registered: epoch, Updated: epoch, Seen: epoch, Alive: true, Counts: []byte(`{"total":12,"failed":1,"ms":40321}`),
		Texts: [4]string{
			fmt.Sprintf("agent-%05d Agent %d", n, n),
			skills[n%8] + " " + skills[n/8%8] + " skill" + fmt.Sprint(n%500),
			"An agent that can " + skills[n%8] + " whatever it is given, for those who have no time to do it themselves",
			"worker owner" + fmt.Sprint(n%100) + " 1.0.0 remote streaming batch",
		},
		Body: []byte(strings.Repeat(`{"endpoint":"https://agent.example/arc","public_key":"MCowBQYDK2VwAyEA"}`, 16)),
	}
}

// onBoth runs a measurement on either engine, each with a disk that is flushed, so that
// the two figures are of one run.
func onBoth(b *testing.B, measure func(b *testing.B, s store.Registry)) {
	b.Run("postgres", func(b *testing.B) {
		s := durable(b)
		b.ResetTimer()
		measure(b, s)
	})
	b.Run("sqlite", func(b *testing.B) {
		s, err := sqlite.Open(b.Context(), sqlite.Config{File: filepath.Join(b.TempDir(), "arcd.db")})
		if err != nil {
			b.Fatal(err)
		}
		defer s.Close()
		b.ResetTimer()
		measure(b, s)
	})
}

// register makes many agents.
func register(b *testing.B, s store.Registry) {
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := w; i < manyAgents; i += 32 {
				if _, err := s.PutAgent(b.Context(), registration(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	b.ResetTimer()
}

// BenchmarkPutAgent writes new agents. 32 callers.
func BenchmarkPutAgent(b *testing.B) {
	onBoth(b, func(b *testing.B, s store.Registry) {
		var n atomic.Int64
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := s.PutAgent(b.Context(), registration(int(n.Add(1)))); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
}

// BenchmarkMark sets marks, as the use of a token does. 32 callers.
func BenchmarkMark(b *testing.B) {
	onBoth(b, func(b *testing.B, s store.Registry) {
		var n atomic.Int64
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				m := store.Mark{Kind: "once", Value: fmt.Sprint(n.Add(1)), Expires: epoch}
				if _, err := s.Mark(b.Context(), m, epoch); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
}

// BenchmarkBeat10k writes one beat of each of 10,000 agents.
func BenchmarkBeat10k(b *testing.B) {
	onBoth(b, func(b *testing.B, s store.Registry) {
		register(b, s)
		beats := make([]store.Beat, manyAgents)
		now := epoch
		for b.Loop() {
			now = now.Add(time.Second)
			for i := range beats { // not in order
				beats[i] = store.Beat{ID: fmt.Sprintf("agent-%05d", i*7919%manyAgents), Seen: now, Alive: true}
			}
			if err := s.Beat(b.Context(), beats); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkBeats10k reads the beats of 10,000 agents of which 100 have changed.
func BenchmarkBeats10k(b *testing.B) {
	onBoth(b, func(b *testing.B, s store.Registry) {
		register(b, s)
		var beats []store.Beat
		for i := range 100 {
			beats = append(beats, store.Beat{ID: fmt.Sprintf("agent-%05d", i*97), Seen: epoch.Add(time.Hour), Alive: true})
		}
		if err := s.Beat(b.Context(), beats); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if got, err := s.Beats(b.Context(), epoch.Add(time.Minute)); err != nil || len(got) != 100 {
				b.Fatal(len(got), err)
			}
		}
	})
}

// BenchmarkChanges asks for changes where there are none, and for 100 of 10,000 agents.
func BenchmarkChanges(b *testing.B) {
	onBoth(b, func(b *testing.B, s store.Registry) {
		register(b, s)
		now, err := s.Changes(b.Context(), 0)
		if err != nil {
			b.Fatal(err)
		}
		for name, back := range map[string]int64{"none": 0, "100": 100} {
			b.Run(name, func(b *testing.B) {
				for b.Loop() {
					if c, err := s.Changes(b.Context(), max(now.Version-back, 1)); err != nil || c.Whole {
						b.Fatal(c.Whole, err)
					}
				}
			})
		}
	})
}

// BenchmarkSearch10k searches among 10,000 agents, one caller.
func BenchmarkSearch10k(b *testing.B) {
	onBoth(b, func(b *testing.B, s store.Registry) {
		register(b, s)
		for _, tc := range []struct {
			name string
			q    store.Search
		}{
			{"20 hits", store.Search{Prefixes: []string{"skill123"}}},
			{"2400 hits", store.Search{Prefixes: []string{"invoice"}}},
			{"three words", store.Search{Prefixes: []string{"invoice", "review", "owner42"}}},
			{"three words, all", store.Search{Prefixes: []string{"invoice", "review", "owner42"}, Least: 3}},
			{"all, one letter", store.Search{Prefixes: []string{"a"}}},
			{"all, sixteen words", store.Search{Prefixes: []string{"an", "agent", "that", "can", "whatever", "it", "is", "given",
				"for", "those", "who", "have", "no", "time", "to", "do"}}},
		} {
			b.Run(tc.name, func(b *testing.B) {
				tc.q.Limit = 100
				for b.Loop() {
					if hits, err := s.SearchAgents(b.Context(), tc.q); err != nil || len(hits) == 0 && tc.q.Least < 3 {
						b.Fatal(hits, err)
					}
				}
			})
		}
	})
}

// BenchmarkAppendAudit appends single entries. 32 callers.
func BenchmarkAppendAudit(b *testing.B) {
	onBoth(b, func(b *testing.B, s store.Registry) {
		var n atomic.Int64
		b.SetParallelism(16)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				at := epoch.Add(time.Duration(n.Add(1)) * time.Millisecond)
				if err := s.AppendAudit(b.Context(), []store.AuditEntry{{At: at, Event: "login", Outcome: "ok", Actor: "a", Body: []byte("{}")}}); err != nil {
					b.Error(err)
				}
			}
		})
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	})
}

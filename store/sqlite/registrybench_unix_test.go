//go:build unix

package sqlite_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/store"
	"github.com/arcd-io/arcd/store/sqlite"
)

// Measured on two cores that others used too (Linux, ext4). Processor time is
// the steadier figure.
//
//	10,000 beats in one transaction    30 ms
//	search, 20 hits of 10,000          0.17 ms
//	search, 2,500 hits                 8 ms
//	search, 10,000 hits                31 ms, with sixteen words 70 ms
//	a new agent                        72 µs, up to 13,000/s
//	100 agents of a list               0.47 ms
//	an audit entry                     27 µs, up to 20,000/s
//	50 entries of a log of 200,000     0.09 to 0.12 ms

const manyAgents = 10_000

// openMany opens a database with many agents.
func openMany(b *testing.B) *sqlite.Engine {
	s := openIn(b, b.TempDir(), 0)
	var wg sync.WaitGroup
	for w := range callers {
		wg.Go(func() {
			for i := w; i < manyAgents; i += callers {
				if _, err := s.PutAgent(b.Context(), registration(i)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	return s
}

// BenchmarkBeat10k writes one beat of each of 10,000 agents.
func BenchmarkBeat10k(b *testing.B) {
	for name, counts := range map[string][]byte{"bare": nil, "counts": []byte(`{"total":13,"failed":1,"ms":40321}`)} {
		b.Run(name, func(b *testing.B) {
			s := openMany(b)
			defer closeIt(b, s)
			beats := make([]store.Beat, manyAgents)
			now := epoch
			before := cpu(b)
			for b.Loop() {
				now = now.Add(time.Second)
				for i := range beats { // not in order
					n := i * 7919 % manyAgents
					beats[i] = store.Beat{ID: fmt.Sprintf("agent-%05d", n), Seen: now, Alive: true, Counts: counts}
				}
				if err := s.Beat(b.Context(), beats); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/1e6, "cpu-ms/op")
		})
	}
}

// BenchmarkSearch10k searches among 10,000 agents.
func BenchmarkSearch10k(b *testing.B) {
	s := openMany(b)
	defer closeIt(b, s)
	for _, tc := range []struct {
		name string
		q    store.Search
	}{
		{"20 hits", store.Search{Prefixes: []string{"skill123"}}},
		{"2400 hits", store.Search{Prefixes: []string{"invoice"}}},
		{"2400 hits of a type", store.Search{Prefixes: []string{"invoice"}, Type: "worker"}},
		{"three words", store.Search{Prefixes: []string{"invoice", "review", "owner42"}}},
		{"all, one letter", store.Search{Prefixes: []string{"a"}}},
		{"all, sixteen words", store.Search{Prefixes: []string{"an", "agent", "that", "can", "whatever", "it", "is", "given",
			"for", "those", "who", "have", "no", "time", "to", "do"}}},
	} {
		b.Run(tc.name, func(b *testing.B) {
			tc.q.Limit = 100
			measure(b, func(int64) {
				if hits, err := s.SearchAgents(b.Context(), tc.q); err != nil || len(hits) == 0 {
					b.Error(hits, err)
				}
			})
		})
	}
}

// BenchmarkPutAgent writes new agents.
func BenchmarkPutAgent(b *testing.B) {
	s := openIn(b, b.TempDir(), 0)
	defer closeIt(b, s)
	measure(b, func(n int64) {
		if _, err := s.PutAgent(b.Context(), registration(int(n))); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkAgents10k reads a page of 100 of 10,000 agents.
func BenchmarkAgents10k(b *testing.B) {
	s := openMany(b)
	defer closeIt(b, s)
	measure(b, func(n int64) {
		as, err := s.Agents(b.Context(), fmt.Sprintf("agent-%05d", n*100%9000), 100)
		if err != nil || len(as) != 100 {
			b.Error(len(as), err)
		}
	})
}

// auditEntry is the n-th entry of a log with one each second.
func auditEntry(n int64) store.AuditEntry {
	return store.AuditEntry{
		At: epoch.Add(time.Duration(n) * time.Second), Event: []string{"login", "refused"}[n%2], Outcome: "ok",
		Actor: fmt.Sprint("actor-", n%1000), Agent: fmt.Sprint("agent-", n%1000), Body: registration(1).Counts,
	}
}

// BenchmarkAppendAudit appends single entries, as a call does.
func BenchmarkAppendAudit(b *testing.B) {
	s := openIn(b, b.TempDir(), 0)
	defer closeIt(b, s)
	measure(b, func(n int64) {
		if err := s.AppendAudit(b.Context(), []store.AuditEntry{auditEntry(n)}); err != nil {
			b.Error(err)
		}
	})
}

// BenchmarkAudit200k reads pages of a long log.
func BenchmarkAudit200k(b *testing.B) {
	s := openIn(b, b.TempDir(), 0)
	defer closeIt(b, s)
	var long []store.AuditEntry
	for n := range int64(200_000) {
		long = append(long, auditEntry(n))
	}
	if err := s.AppendAudit(b.Context(), long); err != nil {
		b.Fatal(err)
	}
	span := store.AuditQuery{From: auditEntry(5000).At, To: auditEntry(6000).At}
	agent := store.AuditQuery{Agent: "agent-7"}
	for name, q := range map[string]store.AuditQuery{"newest": {}, "span": span, "agent": agent} {
		b.Run(name, func(b *testing.B) {
			q.Limit = 50
			measure(b, func(int64) {
				if es, err := s.Audit(b.Context(), q); err != nil || len(es) != 50 {
					b.Error(len(es), err)
				}
			})
		})
	}
}

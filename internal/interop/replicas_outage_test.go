package interop_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

const (
	outageClients = 12
	longestAnswer = 40 * time.Second // of a call: the store tries for ten seconds to begin a change, and for thirty to end it
)

// stubborn callers create tasks and repeat what was not acknowledged until it is.
type stubborn struct {
	t    *testing.T
	work sync.WaitGroup

	mu     sync.Mutex        // guards what follows
	acked  map[string]string // key to task
	failed map[string]int    // calls without success, by what was answered
	slow   time.Duration     // the longest call
}

// retryable tells whether an error says that the same call may be made again.
func retryable(err error) bool {
	if e, ok := errors.AsType[*arc.Error](err); ok {
		again, _ := e.Details["retryable"].(bool)
		return again
	}
	return errors.Is(err, arc.ErrUnavailable) || errors.Is(err, arc.ErrTimeout)
}

// start has them work until ctx ends; nobody leaves a key without an answer.
func (s *stubborn) start(ctx context.Context, c *client.Client) {
	for i := range outageClients {
		s.work.Go(func() {
			for n := 0; ctx.Err() == nil && !s.t.Failed(); n++ {
				key := fmt.Sprintf("client %d, task %d", i, n)
				for !s.once(c, key) && !s.t.Failed() {
					again := time.NewTimer(20 * time.Millisecond)
					<-again.C
				}
			}
		})
	}
}

// once makes one call and tells whether it was acknowledged.
func (s *stubborn) once(c *client.Client, key string) bool {
	began := time.Now()
	task, err := c.CreateTask(context.WithoutCancel(s.t.Context()), "echo", keyed(key))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slow = max(s.slow, time.Since(began))
	if err != nil {
		what := err.Error()
		if e, ok := errors.AsType[*arc.Error](err); ok {
			what = fmt.Sprintf("%d %s", e.Status, e.Reason())
		}
		s.failed[what]++
		if !retryable(err) {
			s.t.Errorf("%s: answered with what must not be repeated: %v", key, err)
		}
		return false
	}
	s.acked[key] = task.ID
	return true
}

// counts gives how many calls were acknowledged, and how many were not.
func (s *stubborn) counts() (acked, failed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.failed {
		failed += n
	}
	return len(s.acked), failed
}

// TestDatabaseRestarts stops the database under load, and crashes it, and starts it again:
// what was acknowledged is there and done once, calls in between fail in time and say that
// they may be repeated, a stream goes on, and the replicas recover by themselves.
func TestDatabaseRestarts(t *testing.T) {
	f := newFleet(t, "lease: 3s\nmax_attempts: 20\n")
	c := f.client(t)
	c.Attempts = 1 // repeating is what the callers do
	s := &stubborn{t: t, acked: map[string]string{}, failed: map[string]int{}}
	l := &load{t: t, c: f.client(t), acked: s.acked}
	l.c.Retries, l.c.Attempts = 20, 20
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	s.start(ctx, c)
	more := func(what string, than int) {
		t.Helper()
		eventuallyWithin(t, time.Minute, what, func() bool { acked, _ := s.counts(); return acked >= than || t.Failed() })
	}
	more("there is load", 200)
	for _, way := range []struct {
		name string
		end  func()
	}{{"stopped", f.database.Stop}, {"crashed", f.database.Kill}} {
		follower := make(chan struct{})
		go func() {
			defer close(follower)
			l.follow(t.Context(), 0)
		}()
		_, before := s.counts()
		began := time.Now()
		way.end()
		eventually(t, "calls fail", func() bool { _, failed := s.counts(); return failed >= before+outageClients || t.Failed() })
		if err := f.database.Start(); err != nil {
			t.Fatal(err)
		}
		up := time.Now()
		acked, failed := s.counts()
		more("calls succeed again", acked+100)
		t.Logf("%s: away for %v, %d calls failed, 100 more acknowledged %v after its start", way.name,
			up.Sub(began).Round(time.Millisecond), failed-before, time.Since(up).Round(time.Millisecond))
		for i, d := range f.replicas {
			eventually(t, fmt.Sprintf("replica %d is ready", i+1), func() bool {
				r, err := http.Get(d.url() + "/readyz")
				if err != nil {
					return false
				}
				_ = r.Body.Close()
				return r.StatusCode == http.StatusOK
			})
		}
		<-follower
	}
	stop()
	s.work.Wait()
	checkList(t, l.c, &ledger{acked: s.acked})
	l.checkAll()
	if s.slow > longestAnswer {
		t.Errorf("a call took %v, want an answer within %v", s.slow, longestAnswer)
	}
	t.Logf("%d tasks acknowledged, calls that failed: %v, the longest call took %v", len(s.acked), s.failed, s.slow.Round(time.Millisecond))
}

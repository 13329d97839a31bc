package server_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/client"
)

// shortTokens gives tokens that live for some seconds.
type shortTokens struct {
	w    *world
	id   string
	life time.Duration

	mu    sync.Mutex // guards what follows
	token string
	given int
}

// Token gives the same token until it is called expired.
func (s *shortTokens) Token(_ context.Context, expired string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token == "" || s.token == expired {
		claims := s.w.issuer.Claims(audience, time.Now())
		claims["agent_id"], claims["sub"] = s.id, "agent-"+s.id
		claims["exp"] = time.Now().Add(s.life).Unix()
		s.token = s.w.issuer.Mint(s.w.t, "ES256", claims)
		s.given++
	}
	return s.token, nil
}

func (s *shortTokens) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.given
}

// TestAgentRenewsItsTokenAhead has work go on through a renewal: a new connection
// serves before the old one's token expires, and that one stays for what it has.
func TestAgentRenewsItsTokenAhead(t *testing.T) {
	w := start(t, options{})
	tokens := &shortTokens{w: w, id: "worker", life: 6 * time.Second}
	begun, end := make(chan struct{}), make(chan struct{})
	var mu sync.Mutex
	var failures []error
	a := w.agent("worker", func(ctx context.Context, work *client.Work) error {
		if work.Message.Text() != "long" {
			return work.Write(ctx, "at once")
		}
		close(begun)
		select {
		case <-end:
			return work.Write(ctx, "the whole way")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	a.Client.Token, a.Capacity = tokens, 2
	a.Failed = func(err error) { mu.Lock(); defer mu.Unlock(); failures = append(failures, err) }
	stop := w.running(a)
	long := w.create("worker", "long")
	<-begun
	for tokens.count() < 2 { // each short task is a look at the world
		if got := w.ended(w.create("worker", "short")); said(got) != "at once" {
			t.Fatalf("a short task: %s %q", got.Status, said(got))
		}
	}
	if got := w.ended(w.create("worker", "short")); said(got) != "at once" || got.Attempt != 1 {
		t.Errorf("after the renewal: %s %q in attempt %d", got.Status, said(got), got.Attempt)
	}
	close(end)
	if got := w.ended(long); got.Status != arc.TaskCompleted || said(got) != "the whole way" || got.Attempt != 1 {
		t.Errorf("the long task: %s %q in attempt %d", got.Status, said(got), got.Attempt)
	}
	if err := stop(); err != nil {
		t.Errorf("Run: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(failures) > 0 {
		t.Errorf("failures: %v", failures)
	}
}

// TestAgentKeepsItsCapacityThroughARenewal lets no more work run than the capacity
// says, over the old connection and the new one together.
func TestAgentKeepsItsCapacityThroughARenewal(t *testing.T) {
	w := start(t, options{})
	begun, end := make(chan string, 2), make(chan struct{})
	a := w.agent("worker", func(ctx context.Context, work *client.Work) error {
		begun <- work.Message.Text()
		select {
		case <-end:
			return work.Write(ctx, "done")
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	served := make(chan struct{}, 10)
	a.Client.Token, a.Capacity = &shortTokens{w: w, id: "worker", life: 6 * time.Second}, 1
	a.Served = func() { served <- struct{}{} }
	w.running(a)
	<-served
	first := w.create("worker", "first")
	<-begun
	<-served // with the second token
	second := w.create("worker", "second")
	if got := w.ended(second, arc.TaskWorking); got.Status != arc.TaskWorking {
		t.Fatalf("the second task is %s", got.Status)
	}
	select {
	case text := <-begun:
		t.Errorf("%s runs beside the first", text)
	default:
	}
	close(end)
	for _, task := range []*arc.Task{first, second} {
		if got := w.ended(task); got.Status != arc.TaskCompleted || got.Attempt != 1 {
			t.Errorf("%s in attempt %d", got.Status, got.Attempt)
		}
	}
}

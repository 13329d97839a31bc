package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arcd-io/arcd/internal/pgtest"
)

func TestSpread(t *testing.T) {
	var times timing
	for n := range 1000 {
		times.each = append(times.each, time.Duration(1000-n)*time.Millisecond) // 1 ms to 1 s, backwards
	}
	got := times.spread()
	if got.middle != 501*time.Millisecond || got.most != 991*time.Millisecond {
		t.Errorf("median %v, 99 of 100 %v", got.middle, got.most)
	}
	if none := (timing{}).spread(); none != (spread{}) {
		t.Errorf("of nothing: %v", none)
	}
}

// countingServer gives the address of a server that counts calls.
func countingServer(t *testing.T) (address string, calls *atomic.Int64) {
	calls = new(atomic.Int64)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		_, _ = io.WriteString(w, "right")
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://"), calls
}

var readRoot = load{next: same(get("/", "none")), right: contains("right")}

// TestClosedLoop: each connection does as many as it may, over all addresses.
func TestClosedLoop(t *testing.T) {
	first, firstCalls := countingServer(t)
	second, secondCalls := countingServer(t)
	got, err := closedLoop(t.Context(), []string{first, second}, 4, time.Minute, 3, readRoot.call)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.each) != 12 || firstCalls.Load() != 6 || secondCalls.Load() != 6 {
		t.Errorf("%d operations; %d calls of the first server, %d of the second", len(got.each), firstCalls.Load(), secondCalls.Load())
	}
}

func TestClosedLoopEndsWithAnError(t *testing.T) {
	address, _ := countingServer(t)
	wrong := load{next: readRoot.next, right: contains("wrong")}
	if _, err := closedLoop(t.Context(), []string{address}, 2, time.Minute, 0, wrong.call); err == nil {
		t.Error("a wrong answer is no error")
	}
}

// TestOpenLoop: a server that holds the first call up makes those late that were due
// meanwhile.
func TestOpenLoop(t *testing.T) {
	address, _ := countingServer(t)
	const held = 200 * time.Millisecond
	var first atomic.Bool
	slow := func(c *conn, connection, n int) error {
		if first.CompareAndSwap(false, true) {
			rest(held)
		}
		return readRoot.call(c, connection, n)
	}
	got, err := openLoop(t.Context(), []string{address}, 1, 100, held, slow)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.each) != 20 {
		t.Fatalf("%d operations, want 20", len(got.each))
	}
	if s := got.spread(); s.middle < held/4 {
		t.Errorf("median %v: those that waited do not count", s.middle)
	}
}

// TestProgramThatEnds: who waits for a server that has ended learns so.
func TestProgramThatEnds(t *testing.T) {
	port, err := pgtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	_, err = startProgram(t.Context(), t.TempDir(), "false", port, []string{"false"}, readRoot.call)
	if err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

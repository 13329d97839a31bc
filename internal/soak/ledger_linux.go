package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// ledger is all that callers were told, and what was wrong with it.
type ledger struct {
	began time.Time
	// excused: the store has failed for good, as it must, and calls fail until arcd is
	// started again.
	excused atomic.Bool

	mu         sync.Mutex // guards what follows
	jobs       []*job
	talks      []*talk
	counts     map[string]int
	retries    map[string]int // calls that failed at last, by how
	violations []string
	slowest    time.Duration // call that was answered
}

// job is a task of a caller. Its fields are the caller's until it is in the ledger; then
// they do not change but in the settling.
type job struct {
	owner    int
	agent    string
	key      string // its idempotency key, and the text that it is to give back
	text     string // its first message
	id       string // "": it was not acknowledged
	said     []saying
	answered bool // of input: the answer is among said
	cancel   int  // 0: nobody asked; 1: asked, and not answered; 2: acknowledged
	views    [][]seen
	sub      *hook
}

// saying is a message that was sent with a key.
type saying struct {
	text  string
	acked bool
}

// seen is an event as a reader got it.
type seen struct {
	seq  int64
	text string // its data, byte for byte
}

// talk is a chat with one answer.
type talk struct {
	owner int
	agent string
	id    string
	want  string // the whole answer
	whole bool   // it came to a good end
}

// hook is a subscription that was acknowledged.
type hook struct {
	id     string
	path   string
	head   int64 // an event of the task that was there after the acknowledgement
	secret string
}

func newLedger() *ledger {
	return &ledger{began: time.Now(), counts: map[string]int{}, retries: map[string]int{}}
}

// count counts something that was done.
func (l *ledger) count(what string, n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.counts[what] += n
}

// wrong notes a violation.
func (l *ledger) wrong(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violations = append(l.violations, fmt.Sprintf("%6.1fs ", time.Since(l.began).Seconds())+fmt.Sprintf(format, args...))
}

// enter adds a job.
func (l *ledger) enter(j *job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, j)
}

// pick gives a job that was acknowledged, by a number that chooses; nil: there is none.
func (l *ledger) pick(choice int) *job {
	l.mu.Lock()
	defer l.mu.Unlock()
	for n := range min(len(l.jobs), 20) {
		if j := l.jobs[(choice+n)%len(l.jobs)]; j.id != "" {
			return j
		}
	}
	return nil
}

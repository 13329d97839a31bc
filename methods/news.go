package methods

import (
	"context"
	"errors"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// news is what a piece of work knows of its thread, and whether another replica may
// have changed it: canceled it, ended it as its agent said there, taken it over.
// Whatever this process commits is known; of the rest hints tell at once, and
// [Service.catchUp] within a second, if it made an event.
type news struct {
	mu       sync.Mutex // guards what follows
	held     bool       // the work has the lease, or had it
	seen     int64      // the thread's last event that is known
	told     int64      // the last one that a hint has told of
	due      bool       // there may be something that nobody has looked at
	looking  bool       // somebody looks at the thread
	notified bool       // the carrier knows of a notice of its agent
}

// learn notes what this process has just stored under the work's lease.
func (w *work) learn(th *thread) {
	w.news.mu.Lock()
	if !w.news.held {
		w.news.held, w.news.due = true, w.news.told > th.Seq
	}
	w.news.seen = max(w.news.seen, th.Seq)
	due := w.news.due
	w.news.mu.Unlock()
	w.nudge(th)
	if due {
		w.s.lookAt(th.ID, 0)
	}
}

// nudge tells the carrier, once, that its agent has said how the task ended.
func (w *work) nudge(th *thread) {
	if th.rec.Notice == nil {
		return
	}
	w.news.mu.Lock()
	told := w.news.notified
	w.news.notified = true
	w.news.mu.Unlock()
	if !told {
		poke(w.nudged)
	}
}

// begun tells whether the work has its lease, or had it.
func (n *news) begun() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.held
}

// lookAt has the work under way on a thread, if there is any, find out what became of
// that, which has events up to seq, unless it knows. One looks at a time, however many
// hints there are.
func (s *Service) lookAt(id string, seq int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.running[id]
	if w == nil || !w.news.heard(seq) {
		return
	}
	s.runs.Go(w.look) // the work itself is one of the runs, so nobody waits for them in vain
}

// heard notes that there are events up to seq, and reports whether the caller has to
// look.
func (n *news) heard(seq int64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.told = max(n.told, seq)
	n.due = n.due || seq > n.seen
	if !n.held || n.looking || !n.due {
		return false
	}
	n.looking = true
	return true
}

// lookTime is how long one look at a thread may take.
const lookTime = 10 * time.Second

// look reads the thread and ends the work if that has lost it, for the same cause for
// which it would have ended had it happened here.
func (w *work) look() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), lookTime)
	defer cancel()
	for w.news.begin() {
		th, err := w.s.read(ctx, w.id)
		switch {
		case errors.Is(err, store.ErrNotFound):
			w.cancel(errLost)
		case err != nil: // the next hint looks again, or the next second
			w.news.fail()
			return
		case th.rec.Lease != w.lease:
			w.cancel(th.whyLost())
		default:
			w.news.read(th.Seq)
			w.nudge(th)
		}
	}
}

// begin reports whether whoever looks has to read the thread now; false: no more.
func (n *news) begin() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looking, n.due = n.due, false
	return n.looking
}

// read notes that the thread was read with events up to seq.
func (n *news) read(seq int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.seen = max(n.seen, seq)
}

// fail says that the thread could not be read.
func (n *news) fail() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.looking, n.due = false, true
}

// read reads a thread as it is now.
func (s *Service) read(ctx context.Context, id string) (*thread, error) {
	t, err := s.store.Thread(ctx, id)
	if err != nil {
		return nil, err
	}
	return decode(t)
}

// whyLost gives the cause for which the work ends that had the thread's lease.
func (th *thread) whyLost() error {
	switch {
	case th.Ended.IsZero() || th.rec.Said:
		return errLost
	case th.Kind == store.Chat:
		return errClosed
	case th.status() == arc.TaskCanceled:
		return &canceledError{th.rec.Reason}
	case th.rec.Error != nil && th.rec.Error.Code == arc.CodeTaskTimeout && th.rec.Error.Reason == timeout().Reason:
		return errDeadline
	}
	return errLost
}

// Looks for what hints have not told.
const (
	catchUpEvery = time.Second
	headsBatch   = 1000 // threads that the store is asked for at once
)

// catchUp looks whether the threads that somebody here waits for or works on have
// events that nobody here knows of: hints get lost.
func (s *Service) catchUp(ctx context.Context) {
	ids := s.hub.appendIDs(nil)
	s.mu.Lock()
	for id := range s.running {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	for batch := range slices.Chunk(ids, headsBatch) {
		heads, err := s.store.Heads(ctx, batch)
		if err != nil {
			s.logFailure(err, "looking for news", "")
			return
		}
		for _, id := range batch {
			if head, there := heads[id]; there {
				s.hub.notify(id, head)
				s.lookAt(id, head)
			} else {
				s.hub.dismiss(id)
				if w := s.work(id); w != nil && w.news.begun() {
					s.lookAt(id, math.MaxInt64)
				}
			}
		}
	}
}

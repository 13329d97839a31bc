package methods

import (
	"sync"
	"time"

	"github.com/arcd-io/arcd/arc"
)

// tail holds the events of a running chat turn, so that streams get them before
// they are stored. Readers go through it at their own pace, by sequence number;
// nobody waits for them.
type tail struct {
	grace time.Duration // how long the turn goes on without readers; negative: for ever
	gone  func()        // called after that

	mu      sync.Mutex // guards what follows
	base    int64      // number of the last event before the turn; -1 until it has begun
	events  []arc.Event
	over    bool
	wake    chan struct{} // closed at the next event; nil while nobody waits
	readers int
	held    time.Time // until then there are readers at other replicas
	timer   *time.Timer

	// What follows is for readers at other replicas.
	holding  time.Duration // that they were held for the last time; 0: there were none
	silences int           // how often in a row nothing was heard of them for so long
	hears    func() bool   // tells whether there may be something to hear; nil: always
}

func newTail(grace time.Duration, gone func()) *tail {
	return &tail{grace: grace, gone: gone, base: -1, events: make([]arc.Event, 0, usualPieces)}
}

// usualPieces is room for the pieces of a short answer.
const usualPieces = 32

// start says that the turn follows the event with this number.
func (t *tail) start(base int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.base = base
}

// covers tells whether the tail has all events after seq.
func (t *tail) covers(seq int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.base >= 0 && seq >= t.base && seq <= t.base+int64(len(t.events))
}

// append numbers an event and wakes the readers.
func (t *tail) append(ev arc.Event) arc.Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	ev.Seq = t.base + int64(len(t.events)) + 1
	t.events = append(t.events, ev)
	t.wakeLocked()
	return ev
}

// close says that no event will follow.
func (t *tail) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.over = true
	if t.timer != nil {
		t.timer.Stop()
	}
	t.wakeLocked()
}

func (t *tail) wakeLocked() {
	if t.wake != nil {
		close(t.wake)
		t.wake = nil
	}
}

// after gives the events with a greater number. If there are none it gives a
// channel that is closed when there may be, or over.
func (t *tail) after(seq int64) (evs []arc.Event, over bool, wake <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if i := max(seq-t.base, 0); i < int64(len(t.events)) {
		return t.events[i:len(t.events):len(t.events)], false, nil
	}
	if t.over {
		return nil, true, nil
	}
	if t.wake == nil {
		t.wake = make(chan struct{})
	}
	return nil, false, t.wake
}

// attach counts a reader in, detach counts it out. The turn's work ends some
// time after the last one has left.
func (t *tail) attach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers++
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

func (t *tail) detach() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.readers--
	t.wait()
}

// hold keeps the turn going for d from now: it is read at another replica. What is
// held once goes on without readers twice as long, see [tail.expire].
func (t *tail) hold(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holding, t.silences = d, 0
	if until := time.Now().Add(d); until.After(t.held) {
		t.held = until
	}
	t.wait()
}

// wait has the turn's work end some time after the last reader has left.
func (t *tail) wait() {
	if t.readers > 0 || t.over || t.grace < 0 {
		return
	}
	if t.timer != nil {
		t.timer.Stop()
	}
	t.timer = time.AfterFunc(max(t.grace, time.Until(t.held)), t.expire)
}

// expire ends the turn's work if nobody reads it. That readers at other replicas are
// silent can mean that they are not heard: the database, which carries hints too, is
// restarted, or this process stood still. So they count as gone at the second silence
// in a row at whose end the store answers.
func (t *tail) expire() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.unread() {
		return
	}
	if t.holding > 0 {
		hears := t.hears
		t.mu.Unlock()
		heard := hears == nil || hears()
		t.mu.Lock()
		if !t.unread() {
			return
		}
		if t.silences++; !heard {
			t.silences = 0
		}
		if t.silences < 2 {
			t.held = time.Now().Add(t.holding)
			t.wait()
			return
		}
	}
	t.gone()
}

// unread tells whether nobody reads a turn that goes on.
func (t *tail) unread() bool { return t.readers == 0 && !t.over && !time.Now().Before(t.held) }

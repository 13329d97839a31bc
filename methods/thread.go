package methods

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// record is what a thread's Body holds: the part of a task or chat that no
// store needs to look into. Times are Unix milliseconds, 0 for none.
type record struct {
	ChatID    string          `json:"chat,omitempty"` // the public id of a chat whose caller chose it
	Metadata  json.RawMessage `json:"metadata,omitzero"`
	Deadline  int64           `json:"deadline,omitempty"`
	Paused    int64           `json:"paused,omitempty"`
	RetryAt   int64           `json:"retryAt,omitempty"`
	Lease     string          `json:"lease,omitempty"`     // token of the process that works on it
	LeaseEnd  int64           `json:"leaseEnd,omitempty"`  // when it may be worked on by another
	Step      int             `json:"step,omitempty"`      // number of the last group that was stored under the lease
	Attempt   int             `json:"attempt,omitempty"`   // how often it was begun
	LastInput int             `json:"lastInput,omitempty"` // number of the caller's last message among the items
	Inputs    int             `json:"inputs,omitempty"`    // messages of the caller
	Bytes     int             `json:"bytes,omitempty"`     // of all items
	Messages  int             `json:"messages,omitempty"`  // messages of anybody
	Artifacts []string        `json:"artifacts,omitempty"`
	Made      int             `json:"made,omitempty"` // number of artifacts before the last question
	Reason    string          `json:"reason,omitempty"`
	Error     *arc.TaskError  `json:"error,omitempty"`
	Progress  *arc.Progress   `json:"progress,omitempty"`
	TurnSeq   int64           `json:"turnSeq,omitempty"`  // of a chat: number of the event that opened the last turn
	TurnHash  []byte          `json:"turnHash,omitempty"` // digest of the message that it answers
	Streams   bool            `json:"streams,omitempty"`  // of a chat whose turn waits to be claimed: its caller reads it piece by piece

	Binding     Binding               `json:"binding,omitzero"`      // what its carrier knows
	Notice      *arc.NotifyTaskParams `json:"notice,omitempty"`      // how its agent said that it ended
	Notices     [][]byte              `json:"notices,omitempty"`     // digests of the last ones that it sent
	StateAt     int64                 `json:"stateAt,omitempty"`     // agent's time of the newest notice of its state
	Noted       [][]byte              `json:"noted,omitempty"`       // digests of what it said by notice, and no look has found
	Found       [][]byte              `json:"found,omitempty"`       // of what a look has found, or it asked, and it has not notified
	Away        int64                 `json:"away,omitempty"`        // since when its agent cannot be reached
	Tries       int                   `json:"tries,omitempty"`       // to reach it since then
	Said        bool                  `json:"said,omitempty"`        // it ended as its agent said by notice
	Hops        int                   `json:"hops,omitempty"`        // agents that passed the work on before
	TraceParent string                `json:"traceParent,omitempty"` // W3C traceparent of the work
	Subscribed  bool                  `json:"subscribed,omitempty"`  // it has, or had, a subscription
}

// thread is a store.Thread with its Body decoded.
type thread struct {
	store.Thread
	rec    record
	answer json.RawMessage // of a chat whose turn has just ended: what the agent said
}

func decode(t store.Thread) (*thread, error) {
	th := &thread{Thread: t}
	if err := jsonv2.Unmarshal(t.Body, &th.rec); err != nil {
		return nil, fmt.Errorf("decoding thread %s: %w", t.ID, err)
	}
	return th, nil
}

func (th *thread) status() arc.TaskStatus { return arc.TaskStatus(th.Status) }

// setDue derives when somebody must look at the thread again.
func (th *thread) setDue() {
	var due int64
	for _, at := range []int64{th.rec.Deadline, th.rec.LeaseEnd, th.rec.RetryAt} {
		if at != 0 && (due == 0 || at < due) {
			due = at
		}
	}
	th.Due = time.Time{}
	if due != 0 && th.Ended.IsZero() {
		th.Due = time.UnixMilli(due)
	}
}

// change is what an edit of a thread adds to it.
type change struct {
	events []arc.Event
	items  []store.Item
	key    *store.Key
}

func (c *change) event(at time.Time, kind arc.EventType, data any) {
	c.events = append(c.events, arc.Event{Type: kind, At: arc.At(at), Data: encode(data)})
}

// and adds what another change adds.
func (c *change) and(more *change) *change {
	c.events = append(c.events, more.events...)
	c.items = append(c.items, more.items...)
	return c
}

func (c *change) item(kind store.ItemKind, body []byte) {
	c.items = append(c.items, store.Item{Kind: kind, Body: body})
}

// encode encodes values of our own types, for which it cannot fail.
func encode(v any) json.RawMessage {
	var b []byte
	var err error
	if fast, ok := v.(interface {
		AppendJSON([]byte) ([]byte, error)
	}); ok {
		b, err = fast.AppendJSON(make([]byte, 0, 256))
	} else {
		b, err = jsonv2.Marshal(v)
	}
	if err != nil {
		panic(fmt.Sprintf("methods: encoding %T: %v", v, err))
	}
	return b
}

// commit writes the thread and what was added to it.
func (s *Service) commit(ctx context.Context, th *thread, c *change) error {
	before := th.rec.Bytes
	for _, item := range c.items {
		th.rec.Bytes += len(item.Body)
	}
	th.setDue()
	th.Body = encode(&th.rec)
	stored, err := s.store.Commit(ctx, store.Change{
		Thread: th.Thread, Events: c.events, Items: c.items, Key: c.key,
		Wake: th.rec.Subscribed && slices.ContainsFunc(c.events, subscribableEvent),
	})
	if err != nil {
		th.rec.Bytes = before // it may be tried again
		return err
	}
	th.Thread = stored
	if w := s.work(th.ID); w != nil && w.lease == th.rec.Lease {
		w.learn(th)
	}
	return nil
}

// maxEdits bounds how often an edit is tried again after losing a race. Each
// loss means that somebody else's commit went through.
const maxEdits = 50

// queues are where the edits wait that have lost a race, those of one thread in
// the same: of many at once, only those on their first try disturb each other.
type queues [256]sync.Mutex

func (q *queues) of(id string) *sync.Mutex {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // never fails
	return &q[h.Sum32()%uint32(len(q))]
}

// edit reads a thread, lets f change it, and commits; after a lost race it does
// so again. f may refuse by an error. When f gives a nil change nothing is
// written. Where f refuses, or writes nothing, the thread that it was given was the
// newest; before that it may have been called with older ones.
func (s *Service) edit(ctx context.Context, id string, f func(*thread) (*change, error)) (*thread, error) {
	t, current, err := s.store.Recent(ctx, id)
	if err != nil {
		return nil, err
	}
	return s.editFrom(ctx, t, current, f)
}

// editFrom is edit of a thread that was read before. Unless that was just now
// (current), what f decides by it counts only if it can be committed.
func (s *Service) editFrom(ctx context.Context, t store.Thread, current bool, f func(*thread) (*change, error)) (*thread, error) {
	queued := false
	for lost := 0; lost < maxEdits; {
		th, err := decode(t)
		if err != nil {
			return nil, err
		}
		c, err := f(th)
		if current && (err != nil || c == nil) {
			return th, err
		}
		if err == nil && c != nil {
			th.Updated = s.now()
			if err = s.commit(ctx, th, c); !errors.Is(err, store.ErrConflict) {
				return th, err
			}
			if lost++; current && !queued {
				queued = true
				queue := s.editing.of(t.ID)
				queue.Lock()
				defer queue.Unlock()
			}
		}
		if t, err = s.store.Thread(ctx, t.ID); err != nil {
			return nil, err
		}
		current = true
	}
	return nil, arc.Errorf(arc.CodeInternal, "too many changes at once; try again").
		With("reason", "contention").With("retryable", true)
}

// now is the clock, cut to what the store keeps.
func (s *Service) now() time.Time { return s.cfg.Now().UTC().Truncate(time.Millisecond) }

var idEncoding = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding)

// newID makes an id: the prefix, 48 bits of time, so that new rows go to the
// end of the store's indexes, and 128 random bits.
func newID(prefix string, now time.Time) string {
	var b [22]byte
	ms := now.UnixMilli()
	for i := range 6 {
		b[i] = byte(ms >> (40 - 8*i))
	}
	_, _ = rand.Read(b[6:]) // never fails
	return prefix + idEncoding.EncodeToString(b[:])
}

// madeID tells whether id has the form of newID.
func madeID(id, prefix string) bool {
	rest, ok := strings.CutPrefix(id, prefix)
	if !ok || len(rest) != idEncoding.EncodedLen(22) {
		return false
	}
	_, err := idEncoding.DecodeString(rest)
	return err == nil
}

package methods

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/store"
)

// Limits of what a turn may hold back or produce.
const (
	// stopGrace is how long a runner may take to return after its context has
	// ended. Then its work ends without it.
	stopGrace  = 5 * time.Second
	flushAfter = 50 * time.Millisecond
	flushBytes = 4 << 10
	maxAnswer  = 8 << 20  // bytes of one answer
	maxPieces  = 100_000  // of one answer
	maxMade    = 32 << 20 // bytes of artifacts of one attempt
)

// work is a turn in progress: it collects what the runner says and stores it.
//
//	Turn.Write, Artifact, …
//	└─ add        into the buffer (and, in a chat, the tail that streams read)
//	   └─ flush   one commit for all that is buffered, soon or when it is much
//	finish        one commit for the rest and the end of the turn
type work struct {
	s       *Service
	id      string // thread
	agent   *agent
	lease   string
	ctx     context.Context
	cancel  context.CancelCauseFunc
	given   atomic.Int64  // number of the last item that the runner got, as history or by Receive
	nudged  chan struct{} // one slot: the agent has something to tell
	news    news          // from other replicas
	history []store.Item  // of a task that is just made; nil: it is in the store
	reached atomic.Bool   // the agent has answered
	done    chan struct{} // closed when the turn is over and stored
	tail    *tail         // nil in a task
	chatID  string        // the public id of the chat
	streams bool          // its caller reads the answer piece by piece

	reading sync.Mutex // held while the history is read for given

	saving turnstile // held during a commit, taken before mu
	step   int       // number of the last group that was handed to the store; guarded by saving
	chat   *thread   // of a chat: as last committed; guarded by saving

	mu        sync.Mutex // guards what follows
	buf       change
	size      int // bytes in buf
	timer     *time.Timer
	parts     []arc.Part // of the answer so far
	answered  int        // bytes of the answer
	pieces    int        // of the answer
	made      int        // bytes of artifacts
	artifacts int        // made in this attempt
	names     []string   // ids of buffered artifacts
	heard     []heard    // of buffered messages of the agent
	newest    *arc.Progress
	over      bool
	failed    *arc.Error // of a chat turn: how it ended, valid once done is closed
}

// newWork makes work on a thread; it does nothing before begin.
func (s *Service) newWork(id string, a *agent) *work {
	w := &work{s: s, id: id, agent: a, lease: s.replicas.lease(), done: make(chan struct{}), nudged: make(chan struct{}, 1), saving: make(turnstile, 1)}
	w.ctx, w.cancel = context.WithCancelCause(s.background)
	return w
}

// begin registers the work, so that it can be found and interrupted. It gives
// errDraining when the service takes no more work, and errBusy when another turn
// of the same chat is running.
func (w *work) begin() error {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errDraining
	}
	if before := s.running[w.id]; before != nil {
		if w.tail != nil {
			return errBusy
		}
		before.cancel(errLost) // or nothing would ever end it
	}
	s.running[w.id] = w
	s.runs.Add(1)
	return nil
}

// withdraw makes room for the next turn: the work is not found any more.
func (w *work) withdraw() {
	w.s.mu.Lock()
	defer w.s.mu.Unlock()
	if w.s.running[w.id] == w {
		delete(w.s.running, w.id)
	}
}

// endOnce gives the function that ends the work, which does so only once: when
// the runner has returned, or without it, if it does not heed the end of its
// context for the time of stopGrace. So no runner can hold up a drain or keep a
// lease for work that is dead. Whatever it says later is dropped.
func (w *work) endOnce(store func(err error)) (end func(err error)) {
	var once sync.Once
	finish := func(err error) {
		once.Do(func() {
			defer w.release()
			defer w.caught(w.giveUp)
			store(err)
		})
	}
	stop := context.AfterFunc(w.ctx, func() {
		timer := time.NewTimer(stopGrace)
		defer timer.Stop()
		select {
		case <-w.done:
		case <-timer.C:
			w.s.log.Warn().Str("thread", w.id).Str("agent", w.agent.id).AnErr("cause", context.Cause(w.ctx)).
				Msg("a runner does not heed its context; its work ends without it")
			finish(context.Cause(w.ctx))
		}
	})
	return func(err error) {
		stop()
		finish(err)
	}
}

// caught keeps a fault in what a runner made from ending the process, and calls
// then. The lease runs out, and the attempts are counted.
func (w *work) caught(then func()) {
	if fault := recover(); fault != nil {
		w.s.log.Error().Str("thread", w.id).Str("agent", w.agent.id).Any("panic", fault).Msg("storing an agent's work failed")
		then()
	}
}

// giveUp tells the readers of a chat turn that its end could not be stored.
func (w *work) giveUp() {
	if w.tail != nil {
		w.failed = arc.Errorf(arc.CodeInternal, "the agent's answer could not be stored")
		w.tail.append(arc.Event{Type: arc.TurnEndEvent, Data: encode(turnEnd(w.failed))})
		w.tail.close()
	}
}

// release ends what begin began.
func (w *work) release() {
	w.withdraw()
	w.cancel(context.Canceled)
	close(w.done)
	w.s.runs.Done()
}

func (s *Service) work(id string) *work {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running[id]
}

// interrupt ends the context of whoever works on the thread here.
func (s *Service) interrupt(id string, cause error) {
	if w := s.work(id); w != nil {
		w.cancel(cause)
	}
}

// run calls the runner and turns a panic into an error.
func (w *work) run(t *Turn) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("the runner of agent %s panicked: %v", w.agent.id, v)
		}
	}()
	ctx, span := w.span(t)
	defer func() { w.endSpan(span, err) }() // before a panic is an error
	err = errVanished
	err = w.agent.Runner.Run(ctx, t)
	return err
}

func (w *work) answer(ctx context.Context, p arc.Part) error {
	return w.add(ctx, func(now time.Time) error {
		w.answered += len(p.Content)
		w.pieces++
		if w.answered > maxAnswer || w.pieces > maxPieces {
			return arc.Errorf(arc.CodeChatOverflow, "the agent's answer is too long").
				With("max_bytes", maxAnswer).With("max_pieces", maxPieces).With("retryable", false)
		}
		w.parts = joinParts(w.parts, p)
		if w.tail != nil {
			data, err := encodeChunk(p)
			if err != nil {
				return err
			}
			ev := arc.Event{Type: arc.ChunkEvent, At: arc.At(now), Data: data}
			w.buf.events = append(w.buf.events, w.tail.append(ev))
			w.size += len(ev.Data)
		}
		return nil
	})
}

// encodeChunk encodes the message of one part that a chunk event holds. It is
// what a chat's stream spends its time on, so it goes without reflection.
func encodeChunk(p arc.Part) ([]byte, error) {
	b := make([]byte, 0, len(p.Content)+80)
	b, err := p.AppendJSON(append(b, `{"role":"agent","parts":[`...))
	return append(b, `]}`...), err
}

// joinParts appends a part; text is put behind text. The parts own their
// contents, so that joining many pieces copies each byte about once.
func joinParts(parts []arc.Part, p arc.Part) []arc.Part {
	if n := len(parts); n > 0 && plainText(p) && plainText(parts[n-1]) {
		last := &parts[n-1]
		// Both are JSON texts: the second without its opening quote continues
		// the first without its closing one.
		last.Content = append(last.Content[:len(last.Content)-1], p.Content[1:]...)
		return parts
	}
	p.Content = append(make(json.RawMessage, 0, 2*len(p.Content)+512), p.Content...)
	return append(parts, p)
}

func plainText(p arc.Part) bool { return p.Type == arc.PartText && len(p.Extra) == 0 }

func (w *work) artifact(ctx context.Context, a arc.Artifact) error {
	return w.add(ctx, func(now time.Time) error {
		w.artifacts++
		if w.artifacts > maxItems/2 {
			return errors.New("methods: too many artifacts")
		}
		if a.ID == "" {
			a.ID = fmt.Sprintf("artifact-%d", w.artifacts)
		}
		if a.CreatedAt.IsZero() {
			a.CreatedAt = arc.At(now)
		}
		if a.CreatedBy == "" {
			a.CreatedBy = w.agent.id
		}
		body := encode(a)
		if w.made += len(body); w.made > maxMade {
			return errors.New("methods: the artifacts are too large")
		}
		w.names = append(w.names, a.ID)
		w.buf.item(store.ArtifactItem, body)
		w.size += len(body)
		return nil
	})
}

// heard is a message of an agent elsewhere, with its number there.
type heard struct {
	n       int
	message arc.Message
}

func (w *work) progress(ctx context.Context, p arc.Progress) error {
	return w.add(ctx, func(now time.Time) error {
		p.At = arc.At(now)
		w.newest = &p
		w.buf.event(now, arc.ProgressEvent, p)
		w.size += 100
		return nil
	})
}

// add lets f change the buffer and sees to it that it is stored soon. A buffer
// that is full is stored first, so the runner is held back.
func (w *work) add(ctx context.Context, f func(now time.Time) error) error {
	for {
		if err := ended(ctx, w.ctx); err != nil {
			return err
		}
		w.mu.Lock()
		if w.over {
			w.mu.Unlock()
			return errLost
		}
		if w.size <= flushBytes {
			break
		}
		w.mu.Unlock()
		if err := w.flush(); err != nil {
			return err
		}
	}
	defer w.mu.Unlock()
	if err := f(w.s.now()); err != nil {
		return err
	}
	if w.timer == nil && w.size > 0 {
		w.timer = time.AfterFunc(flushAfter, func() {
			defer w.caught(func() { w.cancel(errLost) })
			_ = w.flush()
		})
	}
	return nil
}

func ended(ctxs ...context.Context) error {
	for _, ctx := range ctxs {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// buffered is what take took out of the buffer.
type buffered struct {
	change
	artifacts []string
	heard     []heard // of the messages
	progress  *arc.Progress
}

// take empties the buffer. After the last take nothing more gets in.
func (w *work) take(last bool) buffered {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := buffered{w.buf, w.names, w.heard, w.newest}
	w.buf, w.names, w.heard, w.newest, w.size, w.over = change{}, nil, nil, nil, 0, w.over || last
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	return b
}

// flush stores what is buffered, even if the runner's context has ended: it is
// out of the buffer, and a stream may have told it. A failure interrupts the
// turn; unless the lease is lost, a task is run again.
func (w *work) flush() error {
	ctx := context.WithoutCancel(w.ctx)
	w.saving.Lock()
	defer w.saving.Unlock()
	b := w.take(false)
	if len(b.events) == 0 && len(b.items) == 0 {
		return nil
	}
	var err error
	if w.tail != nil {
		err = w.persistChat(ctx, &b.change)
	} else {
		err = w.persistGroup(ctx, &b)
	}
	if err != nil && !errors.Is(err, errLost) {
		err = &unsavedError{err}
	}
	if err != nil {
		w.cancel(err)
	}
	return err
}

// persistGroup stores a group of what a runner made.
func (w *work) persistGroup(ctx context.Context, b *buffered) error {
	w.step++
	return w.persist(ctx, func() error {
		_, err := w.edit(ctx, func(th *thread) (*change, error) {
			if th.rec.Step == w.step {
				return nil, nil // it was stored, and only the word of it got lost
			}
			th.rec.Step = w.step
			return th.collect(b, w.s.now()), nil
		})
		return err
	})
}

// unsavedError says that the store did not take what a runner made.
type unsavedError struct{ cause error }

func (e *unsavedError) Error() string { return "methods: not stored: " + e.cause.Error() }
func (e *unsavedError) Unwrap() error { return e.cause }

// fenced makes an edit that is refused once the thread is no longer ours.
func (w *work) fenced(f func(*thread) (*change, error)) func(*thread) (*change, error) {
	return func(th *thread) (*change, error) {
		if th.rec.Lease != w.lease {
			return nil, errLost
		}
		return f(th)
	}
}

// edit changes the task under the lease of the work. Work that has lost that ends, for
// the cause that the thread shows.
func (w *work) edit(ctx context.Context, f func(*thread) (*change, error)) (*thread, error) {
	th, err := w.s.edit(ctx, w.id, w.fenced(f))
	if th != nil && errors.Is(err, errLost) {
		w.cancel(th.whyLost())
	}
	return th, err
}

// collect adds what a runner made to its task, without the artifacts that an
// earlier attempt already made, and the messages that were heard before.
func (th *thread) collect(b *buffered, now time.Time) *change {
	ch := &change{}
	if len(b.events)+len(b.items) > 0 {
		th.begin(ch, now) // the agent has it, or could not say anything
	}
	ch.events = append(ch.events, b.events...)
	artifacts, heard := b.artifacts, b.heard
	for _, item := range b.items {
		if item.Kind == store.ArtifactItem {
			id := artifacts[0]
			artifacts = artifacts[1:]
			th.addArtifact(ch, id, item.Body, now)
			continue
		}
		next := heard[0]
		if heard = heard[1:]; next.n > th.rec.Binding.Heard {
			th.rec.Binding.Heard = next.n
			if !paired(&th.rec.Found, &th.rec.Noted, &next.message) {
				th.saidBy(ch, item.Body, now)
			}
		}
	}
	if b.progress != nil {
		th.rec.Progress = b.progress
	}
	return ch
}

// addArtifact adds an artifact, unless the task has one with its id.
func (th *thread) addArtifact(ch *change, id string, body []byte, now time.Time) {
	if slices.Contains(th.rec.Artifacts, id) {
		return
	}
	th.rec.Artifacts = append(th.rec.Artifacts, id)
	ch.event(now, arc.NewArtifactEvent, arc.EventData{
		Status: th.Status, Message: "artifact added", CreatedAt: arc.At(now), Artifact: json.RawMessage(body),
	})
	ch.item(store.ArtifactItem, body)
}

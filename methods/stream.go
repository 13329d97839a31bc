package methods

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"iter"
	"time"

	jsonv2 "github.com/go-json-experiment/json"

	"github.com/arcd-io/arcd/arc"
	"github.com/arcd-io/arcd/rpc"
	"github.com/arcd-io/arcd/store"
)

// eventBatch is how many stored events are read at once.
const eventBatch = 500

// TaskEvents is the extension task.events: the task's events after a number,
// then, unless params.follow is false, those that are still to come, until the
// task has ended. Where the caller takes no stream it gives the stored ones as
// one list.
//
// Errors: -42001, -32602 (reason gap: the events after that number are no
// longer kept).
func (s *Service) TaskEvents(ctx context.Context, c *rpc.Call, p arc.TaskEventsParams) (any, error) {
	th, err := s.task(ctx, c, p.TaskID)
	if err != nil {
		return nil, err
	}
	after := p.After
	if c.Resume {
		after = c.LastSeq
	}
	if after < 0 || after > th.Seq {
		return nil, gapError("after", after, th.Seq)
	}
	evs, gap, err := s.store.Events(ctx, th.ID, after, 2*eventBatch)
	if err != nil {
		return nil, err
	}
	if gap {
		return nil, gapError("after", after, th.Seq)
	}
	if !c.Streaming {
		list := &arc.EventList{Type: "events", TaskID: th.ID, Events: []arc.TaskEvent{}, More: len(evs) == 2*eventBatch}
		for _, ev := range evs {
			list.Events = append(list.Events, arc.TaskEvent{TaskID: th.ID, Event: ev})
		}
		return list, nil
	}
	return s.taskStream(ctx, c, th, after, p.Follow == nil || *p.Follow), nil
}

func gapError(field string, after, last int64) error {
	return arc.InvalidParam(field, "names an event that is not kept").
		With("reason", "gap").With("after", after).With("lastSeq", last).With("retryable", false)
}

func (s *Service) taskStream(ctx context.Context, c *rpc.Call, th *thread, after int64, follow bool) rpc.Stream {
	last := th.Seq
	return func(yield func(rpc.StreamEvent, error) bool) {
		status := th.Status
		done := func() {
			yield(rpc.StreamEvent{Name: "done", Data: arc.StreamDone{TaskID: th.ID, Status: status, Done: true, RequestID: c.RequestID}}, nil)
		}
		if after == last && (!follow || th.status().Terminal()) {
			done()
			return
		}
		pace := pacer{gap: c.Gap}
		for ev, err := range s.follow(ctx, th.ID, after, c.Tick) {
			if err != nil {
				yield(rpc.StreamEvent{}, err)
				return
			}
			if ev.Seq == 0 { // a tick
				if !yield(rpc.StreamEvent{}, nil) {
					return
				}
				continue
			}
			if ev.Type == arc.StatusChangeEvent {
				status = statusOf(ev)
			}
			if !pace.wait(ctx) ||
				!yield(rpc.StreamEvent{Name: "stream", Seq: ev.Seq, Data: arc.TaskEvent{TaskID: th.ID, Event: ev}}, nil) {
				return
			}
			if arc.TaskStatus(status).Terminal() && ev.Type == arc.StatusChangeEvent || !follow && ev.Seq >= last {
				if pace.wait(ctx) {
					done()
				}
				return
			}
		}
	}
}

func statusOf(ev arc.Event) string {
	var data struct {
		Status string `json:"status"`
	}
	_ = json.Unmarshal(ev.Data, &data) // our own encoding
	return data.Status
}

// follow gives the stored events after a number and then waits for more, until
// ctx ends or the service drains. When nothing comes for the time of a tick it
// gives an Event without Seq.
func (s *Service) follow(ctx context.Context, id string, after int64, tick time.Duration) iter.Seq2[arc.Event, error] {
	return func(yield func(arc.Event, error) bool) {
		waiter := s.hub.join(id)
		defer waiter.leave()
		for {
			evs, gap, err := s.store.Events(ctx, id, after, eventBatch)
			if err == nil && gap {
				err = gapError("after", after, 0)
			}
			if errors.Is(err, ErrOutage) {
				if !s.sitOut(ctx, waiter, tick, yield) {
					return
				}
				continue
			}
			if err != nil {
				if ctx.Err() == nil {
					yield(arc.Event{}, err)
				}
				return
			}
			for _, ev := range evs {
				if !yield(ev, nil) {
					return
				}
				after = ev.Seq
			}
			if waiter.read(after); len(evs) == eventBatch {
				continue
			}
			switch s.await(ctx, waiter.wake, tick) {
			case ticked:
				if !yield(arc.Event{}, nil) {
					return
				}
			case stopped:
				return
			}
		}
	}
}

// sitOut waits a second while the store cannot be reached, and reports false if the
// stream ends meanwhile: its reader would only come back.
func (s *Service) sitOut(ctx context.Context, waiter *waiter, tick time.Duration, yield func(arc.Event, error) bool) bool {
	if ctx.Err() != nil || tick > 0 && !yield(arc.Event{}, nil) {
		return false
	}
	return s.await(ctx, waiter.wake, time.Second) != stopped
}

type awaited int

const (
	woken awaited = iota
	ticked
	stopped
)

// await waits for wake, a tick, or the end of the stream.
func (s *Service) await(ctx context.Context, wake <-chan struct{}, tick time.Duration) awaited {
	var ticks <-chan time.Time
	if tick > 0 {
		timer := time.NewTimer(tick)
		defer timer.Stop()
		ticks = timer.C
	}
	select {
	case <-wake:
		return woken
	case <-ticks:
		return ticked
	case <-ctx.Done():
		return stopped
	case <-s.draining:
		return stopped
	}
}

// pacer keeps a least time between events.
type pacer struct {
	gap  time.Duration
	last time.Time
}

// wait waits until the next event may go out. It reports false if ctx ends
// first.
func (p *pacer) wait(ctx context.Context) bool {
	if p.gap <= 0 {
		return true
	}
	if rest := p.gap - time.Since(p.last); rest > 0 {
		timer := time.NewTimer(rest)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return false
		}
	}
	p.last = time.Now()
	return true
}

// chatStream streams a running turn from its tail. The caller was attached to
// the tail already and is detached when the stream ends.
func (s *Service) chatStream(ctx context.Context, c *rpc.Call, w *work, after int64) rpc.Stream {
	return func(yield func(rpc.StreamEvent, error) bool) {
		defer w.tail.detach()
		out := chatWriter{id: w.chatID, c: c, yield: yield, pace: pacer{gap: c.Gap}, resumed: c.Resume}
		for {
			evs, over, wake := w.tail.after(after)
			if len(evs) > 0 {
				after = evs[len(evs)-1].Seq
				if !out.write(ctx, evs) {
					return
				}
				continue
			}
			if over {
				return
			}
			switch s.await(ctx, wake, c.Tick) {
			case ticked:
				out.started = true
				if !yield(rpc.StreamEvent{}, nil) {
					return
				}
			case stopped:
				return
			case woken:
				if !out.pace.wait(ctx) { // gather what comes within the gap
					return
				}
				out.pace.last = time.Time{}
			}
		}
	}
}

// chatWriter turns the events of a chat turn into those of its stream.
type chatWriter struct {
	id      string
	c       *rpc.Call
	yield   func(rpc.StreamEvent, error) bool
	pace    pacer
	started bool // something has gone out
	resumed bool // an earlier stream had the beginning
}

// chunk is arc.ChatChunk with the message still encoded.
type chunk struct {
	ChatID  string          `json:"chatId"`
	Message json.RawMessage `json:"message"`
}

// AppendJSON appends the chunk as JSON. Ids of chats need no escapes.
func (c chunk) AppendJSON(b []byte) ([]byte, error) {
	b = append(append(append(b, `{"chatId":"`...), c.ChatID...), `","message":`...)
	return append(append(b, c.Message...), '}'), nil
}

// write sends events; it reports false when the stream has ended.
func (o *chatWriter) write(ctx context.Context, evs []arc.Event) bool {
	if o.pace.gap > 0 {
		evs = mergeChunks(evs)
	}
	for i, ev := range evs {
		switch ev.Type {
		case arc.ChunkEvent:
			more := i+1 < len(evs) && o.pace.gap == 0
			if !o.pace.wait(ctx) ||
				!o.yield(rpc.StreamEvent{Name: "stream", Seq: ev.Seq, Data: chunk{o.id, ev.Data}, More: more}, nil) {
				return false
			}
			o.started = true
		case arc.TurnEndEvent:
			o.end(ctx, ev)
			return false
		}
	}
	return true
}

// end closes the stream: a failure before anything went out is the call's own.
func (o *chatWriter) end(ctx context.Context, ev arc.Event) {
	var end arc.TurnEnd
	if len(ev.Data) > len("{}") { // our own encoding
		_ = jsonv2.Unmarshal(ev.Data, &end)
	}
	status := arc.ChatActive
	if e := end.Error; e != nil {
		if !o.started && !o.resumed {
			o.yield(rpc.StreamEvent{}, &arc.Error{Code: e.Code, Message: e.Message, Details: e.Details})
			return
		}
		if e.Code == arc.CodeChatClosed {
			status = arc.ChatClosed
		}
		if !o.pace.wait(ctx) || !o.yield(rpc.StreamEvent{Name: "error", Seq: ev.Seq, Data: arc.StreamError{ChatID: o.id, Error: *e}}, nil) {
			return
		}
	}
	if o.pace.wait(ctx) {
		o.done(ev.Seq, status)
	}
}

func (o *chatWriter) done(seq int64, status arc.ChatStatus) {
	o.yield(rpc.StreamEvent{Name: "done", Seq: seq, Data: arc.StreamDone{
		ChatID: o.id, Status: string(status), Done: true, RequestID: o.c.RequestID,
	}}, nil)
}

// mergeChunks joins runs of chunks to one, numbered as the last of them.
func mergeChunks(evs []arc.Event) []arc.Event {
	var merged []arc.Event
	var parts []arc.Part
	flush := func(last arc.Event) {
		if parts != nil {
			last.Data = encode(arc.Message{Role: arc.RoleAgent, Parts: parts})
			merged, parts = append(merged, last), nil
		}
	}
	for i, ev := range evs {
		if ev.Type != arc.ChunkEvent {
			if i > 0 {
				flush(evs[i-1])
			}
			merged = append(merged, ev)
			continue
		}
		var m arc.Message
		_ = json.Unmarshal(ev.Data, &m) // our own encoding
		for _, p := range m.Parts {
			parts = joinParts(parts, p)
		}
	}
	if n := len(evs); n > 0 {
		flush(evs[n-1])
	}
	return merged
}

// messageHash is a digest of a caller's message as it came.
func messageHash(m *arc.Message) []byte {
	sum := sha256.Sum256(encode(*m))
	return sum[:16]
}

// resumeChat goes on with the stream of an earlier call, after the event that
// Last-Event-ID names. The call may hold that call's message again; with another
// one it is refused, so that nobody's new message is lost to a header that a
// client left in by mistake.
func (s *Service) resumeChat(ctx context.Context, c *rpc.Call, id, field string, m *arc.Message) (any, error) {
	if id == "" {
		return nil, arc.InvalidParam("chatId", "is required to resume a stream; the events of the stream hold it")
	}
	if !c.Streaming {
		return nil, arc.InvalidParam("stream", "cannot be resumed where no stream is accepted")
	}
	th, err := s.chat(ctx, c, id)
	if err != nil {
		return nil, err
	}
	if m != nil {
		if err := checkMessage(field, m, arc.CodeInvalidMessage); err != nil {
			return nil, err
		}
		if !bytes.Equal(messageHash(m), th.rec.TurnHash) {
			return nil, arc.InvalidParam(field, "is not the one that the latest turn answers; leave out Last-Event-ID to say something new").
				With("reason", "other_message").With("chatId", id)
		}
	}
	c.LastSeq = max(c.LastSeq, th.rec.TurnSeq) // of the turn before nothing is left to say
	if w := s.work(th.ID); w != nil && w.tail != nil && w.tail.covers(c.LastSeq) {
		w.tail.attach()
		return s.chatStream(ctx, c, w, c.LastSeq), nil
	}
	// Read again: a turn that was running a moment ago is stored now.
	if th, err = s.chat(ctx, c, id); err != nil {
		return nil, err
	}
	if th, err = s.upTo(ctx, th, c.LastSeq); err != nil {
		return nil, err
	}
	if c.LastSeq < 0 || c.LastSeq > th.Seq {
		return nil, gapError("Last-Event-ID", c.LastSeq, th.Seq)
	}
	return s.storedTurn(ctx, c, th, c.LastSeq), nil
}

// failedEnd gives the end of a chat's latest turn if that failed and is the last event. A
// reader who names its number may have seen something else under it: a piece that was lost
// with the process that said it. So the failure is told once more.
func (s *Service) failedEnd(ctx context.Context, th *thread) (end arc.Event, ok bool) {
	evs, gap, err := s.store.Events(ctx, th.ID, th.Seq-1, 1)
	if err != nil || gap || len(evs) != 1 || evs[0].Type != arc.TurnEndEvent {
		return arc.Event{}, false
	}
	return evs[0], len(evs[0].Data) > len("{}")
}

// storedTurn streams a turn from the stored log, behind the event with number after.
func (s *Service) storedTurn(ctx context.Context, c *rpc.Call, th *thread, after int64) rpc.Stream {
	return func(yield func(rpc.StreamEvent, error) bool) {
		out := chatWriter{id: th.chatID(), c: c, yield: yield, pace: pacer{gap: c.Gap}, resumed: c.Resume}
		idle := th.rec.Lease == "" // no turn was running: what is stored is all
		if after == th.Seq && idle {
			if failed, ok := s.failedEnd(ctx, th); ok {
				out.end(ctx, failed)
				return
			}
			out.done(th.Seq, arc.ChatStatus(th.Status))
			return
		}
		if !idle {
			defer s.followTurn(th.ID)()
		}
		for ev, err := range s.follow(ctx, th.ID, after, c.Tick) {
			switch {
			case err != nil && errors.Is(err, store.ErrNotFound):
				return
			case err != nil:
				yield(rpc.StreamEvent{}, err)
				return
			case ev.Seq == 0:
				if !yield(rpc.StreamEvent{}, nil) {
					return
				}
			case !out.write(ctx, []arc.Event{ev}):
				return
			case idle && ev.Seq >= th.Seq: // only what does not belong to a turn
				out.done(ev.Seq, arc.ChatStatus(th.Status))
				return
			}
		}
	}
}
